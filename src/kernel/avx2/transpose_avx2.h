/* transpose_avx2.h - an 8 x 8 block of f32, rows to columns, in registers */
#ifndef DOTK_KERNEL_TRANSPOSE_AVX2_H
#define DOTK_KERNEL_TRANSPOSE_AVX2_H

#include <immintrin.h>

#include "kernel/kernel.h"

/* x[i][j] <-> x[j][i]: pairs of rows, quadruples, then the 128-bit halves. */
DK_INLINE DK_TARGET("avx2") void dk_transpose_8x8(__m256 x[8])
{
    __m256 y[8];

    DK_UNROLL
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    DK_UNROLL
    for (int i = 0; i < 8; i += 4) {
        x[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
        x[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xee);
        x[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        x[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
    DK_UNROLL
    for (int i = 0; i < 4; i++) {
        y[i] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x20);
        y[i + 4] = _mm256_permute2f128_ps(x[i], x[i + 4], 0x31);
    }
    DK_UNROLL
    for (int i = 0; i < 8; i++)
        x[i] = y[i];
}

/* The first 'count' (0 .. 8) of 8 lanes, for _mm256_maskload_ps(). */
DK_INLINE DK_TARGET("avx2") __m256i dk_first_lanes(size_t count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

#endif /* DOTK_KERNEL_TRANSPOSE_AVX2_H */
