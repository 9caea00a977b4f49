/*
 * fvecs.c - .fvecs and .bvecs: each row is its dimension (int32) and then that many f32 or u8
 *
 * Format: http://corpus-texmex.irisa.fr. Values are little-endian. The dimension stands before
 * every row, so rows lie dim + 1 words apart and .fvecs can be used where it is mapped.
 */
#include "io/read.h"
#include "platform/status.h"

#include <stdbool.h>

enum { COUNT = 4 /* bytes of the dimension */ };

/* Whether rows of 'dim' values would fill the source exactly. */
static bool
is_plausible(const struct dk_source *source, uint32_t dim, size_t value)
{
    return dim >= 1 && dim <= INT32_MAX && source->size % (COUNT + dim * value) == 0;
}

static dotk_status
read_rows(const struct dk_source *source, enum dk_element element, struct dk_found *found)
{
    const size_t value = dk_element_size(element);

    if (source->size < COUNT)
        return dk_fail(DOTK_CORRUPT, "%s: ends inside the dimension of row 0", source->name);
    const uint32_t dim = dk_read_u32(source->bytes);
    if (!is_plausible(source, dim, value)) {
        if (is_plausible(source, dk_read_u32_big(source->bytes), value))
            return dk_fail(DOTK_UNSUPPORTED, "%s: is big-endian: write it little-endian",
                           source->name);
        return dk_fail(DOTK_CORRUPT,
                       "%s: row 0 claims %ld values, but the %zu bytes are no whole number of such "
                       "rows",
                       source->name, (long)(int32_t)dim, source->size);
    }
    const size_t row_bytes = COUNT + dim * value;
    const size_t rows = source->size / row_bytes;
    for (size_t row = 1; row < rows; row++) {
        const uint32_t other = dk_read_u32(source->bytes + row * row_bytes);
        if (other != dim)
            return dk_fail(DOTK_CORRUPT, "%s: row %zu (byte %zu) claims %ld values, row 0 has %lu",
                           source->name, row, row * row_bytes, (long)(int32_t)other,
                           (unsigned long)dim);
    }
    *found = (struct dk_found){
        .element = element,
        .axes = 2,
        .shape = {rows, dim},
        .rows = rows,
        .dim = dim,
        .offset = COUNT,
        .row_bytes = row_bytes,
    };
    return DOTK_OK;
}

dotk_status
dk_read_fvecs(const struct dk_source *source, struct dk_found *found)
{
    const dotk_status status = read_rows(source, DK_ELEMENT_F32, found);
    found->format = "fvecs";
    return status;
}

dotk_status
dk_read_bvecs(const struct dk_source *source, struct dk_found *found)
{
    const dotk_status status = read_rows(source, DK_ELEMENT_U8, found);
    found->format = "bvecs";
    return status;
}

dotk_status
dk_read_ivecs(const struct dk_source *source, struct dk_found *found)
{
    (void)found;
    return dk_fail(DOTK_UNSUPPORTED,
                   "%s: .ivecs files hold row numbers (a ground truth), not vectors: give the "
                   ".fvecs or .bvecs file",
                   source->name);
}
