/* blocks.c - which cells a list of blocks covers */
#include "mask/blocks.h"

/* n / size, for which most sizes, being powers of two, need no division. */
static inline size_t
block_of(size_t n, size_t size)
{
    return (size & (size - 1)) == 0 ? n >> __builtin_ctzll(size) : n / size;
}

/* The first entry of columns[first .. last - 1] that is at least 'column'. */
static size_t
lower_bound(const size_t *columns, size_t first, size_t last, size_t column)
{
    while (first < last) {
        const size_t middle = first + (last - first) / 2;
        if (columns[middle] < column)
            first = middle + 1;
        else
            last = middle;
    }
    return first;
}

enum dk_cover
dk_blocks_cover(const struct dk_blocks *blocks, size_t row, size_t rows, size_t col, size_t cols)
{
    const size_t first_row = block_of(row, blocks->rows);
    const size_t last_row = block_of(row + rows - 1, blocks->rows);
    const size_t first = block_of(col, blocks->cols);
    const size_t last = block_of(col + cols - 1, blocks->cols);
    bool all = true, any = false;

    for (size_t r = first_row; r <= last_row; r++) {
        const size_t end = blocks->starts[r + 1];
        const size_t from = lower_bound(blocks->columns, blocks->starts[r], end, first);
        size_t to = from;
        while (to < end && blocks->columns[to] <= last)
            to++;
        any = any || to > from;
        all = all && to - from == last - first + 1;
        if (any && !all)
            return DK_COVER_SOME;
    }
    return all ? DK_COVER_ALL : DK_COVER_NONE;
}

uint64_t
dk_blocks_bits(const struct dk_blocks *blocks, size_t row, size_t col)
{
    const size_t r = block_of(row, blocks->rows), end = blocks->starts[r + 1];
    size_t at = lower_bound(blocks->columns, blocks->starts[r], end, block_of(col, blocks->cols));
    uint64_t bits = 0;

    for (; at < end; at++) {
        const size_t begin = blocks->columns[at] * blocks->cols;
        if (begin >= col + 64)
            break;
        const size_t from = begin > col ? begin - col : 0;
        const size_t to = dk_min(begin + blocks->cols - col, 64);
        const uint64_t below_to = to == 64 ? ~UINT64_C(0) : (UINT64_C(1) << to) - 1;
        bits |= below_to & ~((UINT64_C(1) << from) - 1);
    }
    return bits;
}
