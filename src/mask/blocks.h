/* blocks.h - masks that list the blocks of the score matrix that count (CSR) */
#ifndef DOTK_MASK_BLOCKS_H
#define DOTK_MASK_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "tile/tile.h"

/* Block row i lists columns[starts[i] .. starts[i + 1] - 1], ascending. */
struct dk_blocks {
    size_t rows, cols; /* of a block */
    const size_t *starts, *columns;
};

/* How the blocks cover rows x cols cells from (row, col). */
enum dk_cover
dk_blocks_cover(const struct dk_blocks *blocks, size_t row, size_t rows, size_t col, size_t cols);

/* Cells (row, col .. col + 63) as bits, bit i for col + i. */
uint64_t dk_blocks_bits(const struct dk_blocks *blocks, size_t row, size_t col);

#endif /* DOTK_MASK_BLOCKS_H */
