/*
 * latent.h - the strongest directions of a sparse matrix
 *
 * Legend: n passages, m terms, r directions, l = r + some more (the sketch).
 */
#ifndef DOTK_TEXT_LATENT_H
#define DOTK_TEXT_LATENT_H

#include <dotk/base.h>

/* Rows of (column, value) pairs: row i owns entries start[i] .. start[i + 1] - 1. */
struct dk_sparse {
    size_t rows, columns;
    size_t *start; /* rows + 1 */
    uint32_t *column;
    float *value;
};

/*
 * What turns a sparse row x (m) into its coordinates x V (r): x times sketch (m, l), times the
 * transpose of directions (r, l).
 */
struct dk_latent {
    size_t width, dim; /* l, r; both 0: nothing was fitted */
    float *sketch;     /* (m, l) */
    float *directions; /* (r, l): as dotk_dense() takes weights */
};

/*
 * Fits at most 'dim' directions to a (n, m); fewer when the matrix has no more.
 * Memory:  *out is the caller's: release it with dk_latent_release().
 * Errors:  DOTK_NO_MEMORY, DOTK_CANCELLED; *out is then empty.
 */
dotk_status dk_latent_fit(dotk_context *context, const struct dk_sparse *a, size_t dim,
                          uint64_t seed, struct dk_latent *out);

void dk_latent_release(struct dk_latent *latent);

#endif /* DOTK_TEXT_LATENT_H */
