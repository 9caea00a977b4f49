/* pack_avx512.c - rows to a panel, 16 x 16 blocks transposed in registers */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512/transpose_avx512.h"

#define TARGET DK_TARGET("avx512f")

enum { LANES = 16 };

/* Columns c0 .. c0 + 15 of the panel, of which 'count' (1 .. 16) exist. */
DK_INLINE TARGET void
pack_16(const float *rows, size_t stride, size_t count, size_t dim, __m512 factor, float *panel)
{
    for (size_t d = 0; d < dim; d += LANES) {
        const size_t wide = dim - d < LANES ? dim - d : LANES;
        const __mmask16 lanes = (__mmask16)((1u << wide) - 1);
        __m512 block[LANES];
        DK_UNROLL
        for (size_t r = 0; r < LANES; r++)
            block[r] = r < count ? _mm512_maskz_loadu_ps(lanes, rows + r * stride + d)
                                 : _mm512_setzero_ps();
        dk_transpose_16x16(block);
        if (wide == LANES) {
            DK_UNROLL
            for (size_t i = 0; i < LANES; i++)
                _mm512_store_ps(panel + (d + i) * DK_PANEL, _mm512_mul_ps(block[i], factor));
        } else {
            for (size_t i = 0; i < wide; i++)
                _mm512_store_ps(panel + (d + i) * DK_PANEL, _mm512_mul_ps(block[i], factor));
        }
    }
}

TARGET void
dk_pack_f32_avx512(const float *rows, size_t stride, size_t count, size_t dim, float factor,
                   float *panel)
{
    const __m512 times = _mm512_set1_ps(factor);

    for (size_t c = 0; c < DK_PANEL; c += LANES) {
        if (c + LANES <= count)
            pack_16(rows + c * stride, stride, LANES, dim, times, panel + c);
        else if (c < count)
            pack_16(rows + c * stride, stride, count - c, dim, times, panel + c);
        else
            for (size_t d = 0; d < dim; d++)
                _mm512_store_ps(panel + d * DK_PANEL + c, _mm512_setzero_ps());
    }
}

TARGET void
dk_scale_f32_avx512(const float *from, size_t count, float factor, float *out)
{
    const __m512 times = _mm512_set1_ps(factor), zero = _mm512_setzero_ps();
    size_t i = 0;

    for (; i + LANES <= count; i += LANES)
        _mm512_storeu_ps(out + i,
                         _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(from + i), times), zero));
    if (i < count) {
        const __mmask16 lanes = (__mmask16)((1u << (count - i)) - 1);
        const __m512 x = _mm512_maskz_loadu_ps(lanes, from + i);
        _mm512_mask_storeu_ps(out + i, lanes, _mm512_add_ps(_mm512_mul_ps(x, times), zero));
    }
}
