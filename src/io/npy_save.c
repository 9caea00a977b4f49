/* npy_save.c - writes an array as .npy, version 1 */
#include "io/write.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <stdio.h>
#include <string.h>

enum { PREFIX = 10, ALIGNMENT = 64 };

size_t
dk_npy_header(const char *descr, size_t axes, const size_t *shape, uint8_t out[DK_NPY_HEADER])
{
    char *const text = (char *)out;
    size_t length = PREFIX;

    memcpy(text, "\x93NUMPY\1\0", 8);
    length += (size_t)snprintf(text + length, DK_NPY_HEADER - length,
                               "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (size_t axis = 0; axis < axes; axis++)
        length += (size_t)snprintf(text + length, DK_NPY_HEADER - length, "%s%zu",
                                   axis > 0 ? ", " : "", shape[axis]);
    length += (size_t)snprintf(text + length, DK_NPY_HEADER - length, "%s), }",
                               axes == 1 ? "," : "");
    const size_t padded = dk_round_up(length + 1, ALIGNMENT);
    memset(text + length, ' ', padded - length - 1);
    text[padded - 1] = '\n';
    out[8] = (uint8_t)(padded - PREFIX);
    out[9] = (uint8_t)((padded - PREFIX) >> 8);
    return padded;
}

dotk_status
dotk_npy_save(const char *path, dotk_npy_type type, const void *data, size_t axes,
              const size_t *shape)
{
    uint8_t header[DK_NPY_HEADER];
    size_t bytes = type == DOTK_NPY_I64 ? 8 : 4;

    if (path == NULL || (shape == NULL && axes > 0))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", path == NULL ? "path" : "shape");
    if (type != DOTK_NPY_F32 && type != DOTK_NPY_I64)
        return dk_fail(DOTK_BAD_ARGUMENT, "type is %d: it is no dotk_npy_type", (int)type);
    if (axes > DOTK_MAX_AXES)
        return dk_fail(DOTK_BAD_ARGUMENT, "axes is %zu: at most %d", axes, DOTK_MAX_AXES);
    for (size_t axis = 0; axis < axes; axis++) {
        if (!dk_mul(bytes, shape[axis], &bytes))
            return dk_fail(DOTK_BAD_ARGUMENT, "shape[%zu] is %zu: the array's size overflows", axis,
                           shape[axis]);
    }
    if (data == NULL && bytes > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "data is NULL");
    const size_t length = dk_npy_header(type == DOTK_NPY_I64 ? "<i8" : "<f4", axes, shape, header);
    const struct dk_piece pieces[] = {{header, length}, {data, bytes}};
    return dk_write_file(path, pieces, 2);
}
