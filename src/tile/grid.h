/*
 * grid.h - every score of rows against columns, tile by tile
 *
 * Where a scan (tile.h) looks for the few scores that matter, a grid wants each of them once and
 * hands every tile to its epilogue. Columns are packed in panels, or row-major and packed on the
 * way.
 */
#ifndef DOTK_TILE_GRID_H
#define DOTK_TILE_GRID_H

#include "tile/tile.h"

/* What becomes of a tile. */
struct dk_grid_epilogue {
    /*
     * Takes the scores of rows row .. row + rows - 1 and columns col .. col + cols - 1, where col
     * is a multiple of 64 and cols at most 64; columns up to the next multiple of 16 are scores
     * of nothing. Called by several threads at once, once for each cell.
     */
    void (*take)(const struct dk_grid_epilogue *epilogue, const struct dk_kernels *kernels,
                 size_t row, size_t rows, size_t col, size_t cols, float (*tile)[DK_PANEL]);
};

struct dk_grid {
    enum dk_score score;
    size_t dim;        /* at least 1                                                          */
    const float *rows; /* (row_count, dim), row_stride apart                                  */
    size_t row_count, row_stride;
    const float *panels; /* NULL, or the columns, packed: 64 * dim floats for each 64 of them */
    const float *cols;   /* where panels is NULL: (col_count, dim), col_stride apart          */
    size_t col_count, col_stride;
    const struct dk_grid_epilogue *epilogue;
};

/*
 * Which way dk_grid_run() goes, as static text: "panels", "pack" or "few"; see grid.c. The kernel
 * that way runs, and why it is taken.
 */
const char *dk_grid_path(size_t row_count, bool packed);
const char *dk_grid_kernel(const struct dk_kernels *kernels, size_t row_count, bool packed);
const char *dk_grid_reason(size_t row_count, bool packed);

/* Errors: DOTK_NO_MEMORY, DOTK_CANCELLED. */
dotk_status dk_grid_run(struct dk_call *call, const struct dk_grid *grid);

#endif /* DOTK_TILE_GRID_H */
