/* dense.c - kinds of elements, and values that follow each other to the end of the file */
#include "io/read.h"
#include "platform/memory.h"
#include "platform/status.h"

size_t
dk_element_size(enum dk_element element)
{
    switch (element) {
    case DK_ELEMENT_F64: return 8;
    case DK_ELEMENT_F16:
    case DK_ELEMENT_BF16: return 2;
    case DK_ELEMENT_U8:
    case DK_ELEMENT_I8: return 1;
    default: return 4;
    }
}

const char *
dk_element_name(enum dk_element element)
{
    static const char *const names[] = {
        [DK_ELEMENT_F32] = "f32", [DK_ELEMENT_F32_BIG] = "f32", [DK_ELEMENT_F64] = "f64",
        [DK_ELEMENT_F16] = "f16", [DK_ELEMENT_BF16] = "bf16",   [DK_ELEMENT_U8] = "u8",
        [DK_ELEMENT_I8] = "i8",
    };
    return names[element];
}

enum dk_element
dk_raw_element(dotk_raw_type type)
{
    static const enum dk_element elements[] = {
        [DOTK_RAW_F32] = DK_ELEMENT_F32, [DOTK_RAW_U8] = DK_ELEMENT_U8,
        [DOTK_RAW_F16] = DK_ELEMENT_F16, [DOTK_RAW_BF16] = DK_ELEMENT_BF16,
        [DOTK_RAW_I8] = DK_ELEMENT_I8,
    };
    return elements[type];
}

dotk_status
dk_found_dense(const struct dk_source *source, struct dk_found *found, size_t row_axes)
{
    size_t rows = 1, dim = 1, bytes = 0;
    bool fits = true;

    for (size_t axis = 0; axis < found->axes; axis++)
        fits &= axis < row_axes ? dk_mul(rows, found->shape[axis], &rows)
                                : dk_mul(dim, found->shape[axis], &dim);
    fits = fits && dk_mul(dim, dk_element_size(found->element), &found->row_bytes) &&
           dk_mul(rows, found->row_bytes, &bytes);
    if (!fits)
        return dk_fail(DOTK_CORRUPT, "%s: the header asks for more values than can be counted",
                       source->name);
    const size_t left = source->size - found->offset;
    if (bytes != left)
        return dk_fail(DOTK_CORRUPT,
                       "%s: %zu bytes follow the header, which promises %zu (%zu rows of %zu): "
                       "the file was %s",
                       source->name, left, bytes, rows, dim,
                       left < bytes ? "cut short" : "added to or its header is wrong");
    found->rows = rows;
    found->dim = dim;
    return DOTK_OK;
}
