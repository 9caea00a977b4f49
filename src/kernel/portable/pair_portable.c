/* pair_portable.c - one score of two vectors, in plain C */
#include "kernel/portable/fma_portable.h"
#include "kernel/portable/kernels_portable.h"

#define PAIR_TARGET
#define PAIR_FMA(a, b, c) dk_fma_portable(a, b, c)
#include "kernel/pair_body.h"

float
dk_pair_dot_f32_portable(const float *a, const float *b, size_t dim)
{
    return pair(DK_SCORE_DOT, a, b, dim);
}

float
dk_pair_l2_f32_portable(const float *a, const float *b, size_t dim)
{
    return pair(DK_SCORE_L2, a, b, dim);
}
