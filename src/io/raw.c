/* raw.c - files without a header: the caller knows the type and the dimension */
#include "io/read.h"
#include "platform/memory.h"
#include "platform/status.h"

dotk_status
dk_read_raw(const struct dk_source *source, dotk_raw_type type, size_t dim, struct dk_found *found)
{
    const enum dk_element element = dk_raw_element(type);
    size_t row_bytes;

    if (!dk_mul(dim, dk_element_size(element), &row_bytes))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->dim is %zu: no row is that long", dim);
    if (source->size % row_bytes != 0)
        return dk_fail(DOTK_CORRUPT,
                       "%s: %zu bytes are no whole number of rows of %zu %s values (%zu bytes): "
                       "check the type and dim",
                       source->name, source->size, dim, dk_element_name(element), row_bytes);
    *found = (struct dk_found){
        .format = "raw",
        .element = element,
        .axes = 2,
        .shape = {source->size / row_bytes, dim},
        .rows = source->size / row_bytes,
        .dim = dim,
        .row_bytes = row_bytes,
    };
    return DOTK_OK;
}
