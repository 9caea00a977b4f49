/*
 * widen.h - vectors stored in less than f32, to f32 and back
 *
 * Every instruction set gives the same bits, those of half.h and of the lines below, so that a
 * score of a stored vector is one number: the score of its widened f32 values (kernel.h).
 *
 *     widen_half     out[i] = the f32 of from[i]                                  exact
 *     narrow_half    out[i] = the half nearest to from[i], of two the even one
 *     widen_i8       out[d] = (float)(code of d) * scale                          rounded once
 *
 * 'from' and 'out' have no alignment beyond that of their elements, do not overlap, and are
 * touched for exactly 'count' (or dim) elements. Halves do not depend on the floating-point mode.
 */
#ifndef DOTK_KERNEL_WIDEN_H
#define DOTK_KERNEL_WIDEN_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/screen_i8.h"

enum dk_half { DK_HALF_F16, DK_HALF_BF16, DK_HALF_KINDS };

typedef void dk_widen_half_fn(const uint16_t *from, size_t count, float *out);
typedef void dk_narrow_half_fn(const float *from, size_t count, uint16_t *out);

/*
 * One vector of a panel of codes (screen_i8.h): 'codes' is its first group, and the next group is
 * 256 bytes further on. Only the vector's own groups are read.
 */
typedef void dk_widen_i8_fn(const uint8_t *codes, size_t dim, float scale, float *out);

/* Element d of that vector: what every dk_widen_i8_fn gives. */
static inline float
dk_widened_code(const uint8_t *codes, size_t d, float scale)
{
    const uint8_t *const group = codes + d / DK_I8_GROUP * DK_I8_GROUP * 64;
    return (float)(group[d % DK_I8_GROUP] - 128) * scale;
}

struct dk_widen_kernels {
    dk_widen_half_fn *widen_half[DK_HALF_KINDS];
    dk_narrow_half_fn *narrow_half[DK_HALF_KINDS];
    dk_widen_i8_fn *widen_i8;
};

#endif /* DOTK_KERNEL_WIDEN_H */
