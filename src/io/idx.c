/*
 * idx.c - IDX, the format of MNIST
 *
 *     0  0  type  axes      then one big-endian uint32 an axis, then the values, big-endian
 *
 * Format: http://yann.lecun.com/exdb/mnist. The first axis counts rows: an image is one row.
 * Types read: u8 (0x08) and f32 (0x0d).
 */
#include "io/read.h"
#include "platform/status.h"

enum { U8 = 0x08, F32 = 0x0d, WORD = 4 };

dotk_status
dk_read_idx(const struct dk_source *source, struct dk_found *found)
{
    const uint8_t *const bytes = source->bytes;

    if (source->size < WORD)
        return dk_fail(DOTK_CORRUPT, "%s: ends inside the header", source->name);
    if (bytes[2] == 0 && bytes[3] == 0 && bytes[1] >= U8)
        return dk_fail(DOTK_UNSUPPORTED, "%s: is little-endian IDX: write it big-endian",
                       source->name);
    if (bytes[0] != 0 || bytes[1] != 0 || bytes[3] == 0)
        return dk_fail(DOTK_CORRUPT, "%s: does not start as an IDX file does", source->name);
    if (bytes[2] != U8 && bytes[2] != F32)
        return dk_fail(DOTK_UNSUPPORTED,
                       "%s: IDX element type 0x%02x is not read (0x08 u8 and 0x0d f32 are)",
                       source->name, bytes[2]);
    found->axes = bytes[3];
    if (found->axes > DOTK_MAX_AXES)
        return dk_fail(DOTK_UNSUPPORTED, "%s: has %zu axes: at most %d are read", source->name,
                       found->axes, DOTK_MAX_AXES);
    found->offset = WORD + found->axes * WORD;
    if (source->size < found->offset)
        return dk_fail(DOTK_CORRUPT, "%s: ends inside the header", source->name);
    for (size_t axis = 0; axis < found->axes; axis++)
        found->shape[axis] = dk_read_u32_big(bytes + WORD + axis * WORD);
    found->element = bytes[2] == U8 ? DK_ELEMENT_U8 : DK_ELEMENT_F32_BIG;
    found->format = "idx";
    return dk_found_dense(source, found, 1);
}
