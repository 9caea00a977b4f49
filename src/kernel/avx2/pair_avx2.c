/*
 * pair_avx2.c - one score of two vectors, with the FMA instruction
 *
 * Scalar on purpose: lanes would have to be chains, whose elements lie 1 KiB apart, and loading
 * those one by one costs more than the additions. The avx512 table has the same kernels.
 */
#include "kernel/avx2/kernels_avx2.h"

#define PAIR_TARGET       DK_TARGET("avx2,fma")
#define PAIR_FMA(a, b, c) __builtin_fmaf(a, b, c)
#include "kernel/pair_body.h"

PAIR_TARGET float
dk_pair_dot_f32_avx2(const float *a, const float *b, size_t dim)
{
    return pair(DK_SCORE_DOT, a, b, dim);
}

PAIR_TARGET float
dk_pair_l2_f32_avx2(const float *a, const float *b, size_t dim)
{
    return pair(DK_SCORE_L2, a, b, dim);
}
