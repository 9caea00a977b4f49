/* prefix.c - masks that cut each row of the score matrix at one place */
#include "mask/prefix.h"

size_t
dk_prefix_mask_end(const struct dk_prefix_mask *prefix, size_t row)
{
    size_t end;

    if (!prefix->causal)
        return prefix->length;
    if (prefix->offset >= 0) {
        /* row < SIZE_MAX, as rows are counted */
        if (!dk_add(row + 1, (size_t)prefix->offset, &end))
            return prefix->length;
    } else {
        const size_t back = (size_t)0 - (size_t)prefix->offset;
        end = row + 1 > back ? row + 1 - back : 0;
    }
    return dk_min(end, prefix->length);
}

static const struct dk_prefix_mask *
of(const struct dk_mask *mask)
{
    return (const struct dk_prefix_mask *)(const void *)mask; /* its first member */
}

static enum dk_cover
cover(const struct dk_mask *mask, size_t row, size_t rows, size_t col, size_t cols)
{
    if (dk_prefix_mask_end(of(mask), row + rows - 1) <= col)
        return DK_COVER_NONE;
    return dk_prefix_mask_end(of(mask), row) >= col + cols ? DK_COVER_ALL : DK_COVER_SOME;
}

static uint64_t
bits(const struct dk_mask *mask, size_t row, size_t col)
{
    const size_t end = dk_prefix_mask_end(of(mask), row);

    if (end <= col)
        return 0;
    return end - col >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << (end - col)) - 1;
}

struct dk_prefix_mask
dk_prefix_mask(size_t length, bool causal, int64_t offset)
{
    return (struct dk_prefix_mask){
        .mask = {.cover = cover, .bits = bits},
        .length = length,
        .causal = causal,
        .offset = offset,
    };
}
