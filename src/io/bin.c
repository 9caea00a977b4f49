/*
 * bin.c - .fbin, .u8bin and .i8bin: how many rows, how many values in each, and all the values
 *
 *     rows (u32)  dim (u32)  rows * dim values of f32, u8 or i8, little-endian
 *
 * Format: https://big-ann-benchmarks.com. An .ibin file is the same with row numbers in it, a
 * ground truth.
 */
#include "io/read.h"
#include "platform/status.h"

enum { HEADER = 8 };

bool
dk_fits_bin(const struct dk_source *source, size_t value_size)
{
    if (source->size < HEADER)
        return false;
    const uint64_t rows = dk_read_u32(source->bytes), dim = dk_read_u32(source->bytes + 4);
    const uint64_t left = source->size - HEADER;
    return left % value_size == 0 && left / value_size == rows * dim;
}

static dotk_status
read_bin(const struct dk_source *source, const char *format, enum dk_element element,
         struct dk_found *found)
{
    if (source->size < HEADER)
        return dk_fail(DOTK_CORRUPT, "%s: ends inside the header", source->name);
    *found = (struct dk_found){
        .format = format,
        .element = element,
        .axes = 2,
        .shape = {dk_read_u32(source->bytes), dk_read_u32(source->bytes + 4)},
        .offset = HEADER,
    };
    return dk_found_dense(source, found, 1);
}

dotk_status
dk_read_fbin(const struct dk_source *source, struct dk_found *found)
{
    return read_bin(source, "fbin", DK_ELEMENT_F32, found);
}

dotk_status
dk_read_u8bin(const struct dk_source *source, struct dk_found *found)
{
    return read_bin(source, "u8bin", DK_ELEMENT_U8, found);
}

dotk_status
dk_read_i8bin(const struct dk_source *source, struct dk_found *found)
{
    return read_bin(source, "i8bin", DK_ELEMENT_I8, found);
}

dotk_status
dk_read_ibin(const struct dk_source *source, struct dk_found *found)
{
    (void)found;
    return dk_fail(DOTK_UNSUPPORTED,
                   "%s: .ibin files hold row numbers (a ground truth), not vectors: give the "
                   ".fbin, .u8bin or .i8bin file",
                   source->name);
}
