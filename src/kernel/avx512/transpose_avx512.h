/* transpose_avx512.h - a 16 x 16 block of f32, rows to columns, in registers */
#ifndef DOTK_KERNEL_TRANSPOSE_AVX512_H
#define DOTK_KERNEL_TRANSPOSE_AVX512_H

#include <immintrin.h>

#include "kernel/kernel.h"

/*
 * x[i][j] <-> x[j][i]. Four rounds of 16 shuffles: pairs of rows, quadruples, and twice the
 * 128-bit quarters. 64 shuffles for 1 KiB is 32 to 64 cycles, less than memory takes to
 * deliver that KiB.
 */
DK_INLINE DK_TARGET("avx512f") void dk_transpose_16x16(__m512 x[16])
{
    __m512 y[16];

    DK_UNROLL
    for (int i = 0; i < 16; i += 4) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
        y[i + 2] = _mm512_unpacklo_ps(x[i + 2], x[i + 3]);
        y[i + 3] = _mm512_unpackhi_ps(x[i + 2], x[i + 3]);
    }
    /* x[i + j] = column j of each quarter, for rows i .. i + 3 */
    DK_UNROLL
    for (int i = 0; i < 16; i += 4) {
        x[i] = _mm512_castpd_ps(
            _mm512_unpacklo_pd(_mm512_castps_pd(y[i]), _mm512_castps_pd(y[i + 2])));
        x[i + 1] = _mm512_castpd_ps(
            _mm512_unpackhi_pd(_mm512_castps_pd(y[i]), _mm512_castps_pd(y[i + 2])));
        x[i + 2] = _mm512_castpd_ps(
            _mm512_unpacklo_pd(_mm512_castps_pd(y[i + 1]), _mm512_castps_pd(y[i + 3])));
        x[i + 3] = _mm512_castpd_ps(
            _mm512_unpackhi_pd(_mm512_castps_pd(y[i + 1]), _mm512_castps_pd(y[i + 3])));
    }
    /* Quarters: y[j], y[j + 4] hold quarters 0, 2 of rows 0-7, and so on. */
    DK_UNROLL
    for (int j = 0; j < 4; j++) {
        y[j] = _mm512_shuffle_f32x4(x[j], x[j + 4], 0x88);
        y[j + 4] = _mm512_shuffle_f32x4(x[j], x[j + 4], 0xdd);
        y[j + 8] = _mm512_shuffle_f32x4(x[j + 8], x[j + 12], 0x88);
        y[j + 12] = _mm512_shuffle_f32x4(x[j + 8], x[j + 12], 0xdd);
    }
    DK_UNROLL
    for (int j = 0; j < 4; j++) {
        x[j] = _mm512_shuffle_f32x4(y[j], y[j + 8], 0x88);
        x[j + 8] = _mm512_shuffle_f32x4(y[j], y[j + 8], 0xdd);
        x[j + 4] = _mm512_shuffle_f32x4(y[j + 4], y[j + 12], 0x88);
        x[j + 12] = _mm512_shuffle_f32x4(y[j + 4], y[j + 12], 0xdd);
    }
}

#endif /* DOTK_KERNEL_TRANSPOSE_AVX512_H */
