/*
 * rotation.h - a random rotation of all of space, from a seed
 *
 * The matrix is drawn uniformly among the orthogonal ones (Haar), as a product of reflections
 * (Stewart, The efficient generation of random orthogonal matrices, 1980), not by orthogonalising
 * a random matrix: each reflection depends on its own random direction alone, so that rounding
 * errors add up and are not multiplied by the condition of anything (doc/math/screening4.md).
 */
#ifndef DOTK_CODEC_ROTATION_H
#define DOTK_CODEC_ROTATION_H

#include <stdint.h>

#include "kernel/kernel.h"
#include "platform/status.h"

enum { DK_ROTATION_DIM_MAX = 4096 }; /* 64 MiB; drawing one takes dim^3 steps */

struct dk_rotation {
    const struct dk_kernels *kernels;
    size_t dim, padded; /* padded: a multiple of 16 */
    float *rows;        /* (padded, dim), zeros beyond dim */
};

/* Errors: DOTK_NO_MEMORY. */
dotk_status dk_rotation_create(const struct dk_kernels *kernels, size_t dim, uint64_t seed,
                               struct dk_rotation **out);

void dk_rotation_destroy(struct dk_rotation *rotation); /* NULL allowed */

/*
 * Rotates 'count' (1 .. 64) rows, 'stride' apart: element d of row r goes to out[d * 64 + r]. Each
 * element is a score in the defined order (kernel.h). 'packed' and 'out' are 64 * dim floats each,
 * 64-byte aligned; 'rows' may lie in 'out'. Any number of threads.
 */
void dk_rotate_rows(const struct dk_rotation *rotation, const float *rows, size_t stride,
                    size_t count, float *packed, float *out);

/* out (padded values) = one vector rotated, to the same bits. Any number of threads. */
void dk_rotate(const struct dk_rotation *rotation, const float *x, float *out);

#endif /* DOTK_CODEC_ROTATION_H */
