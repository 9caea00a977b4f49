/* pack_avx2.c - rows to a panel, 8 x 8 blocks transposed in registers */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx2/transpose_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum { LANES = 8 };

TARGET void
dk_pack_f32_avx2(const float *rows, size_t stride, size_t count, size_t dim, float factor,
                 float *panel)
{
    const __m256 times = _mm256_set1_ps(factor);

    for (size_t c = 0; c < DK_PANEL; c += LANES) {
        for (size_t d = 0; d < dim; d += LANES) {
            const size_t wide = dim - d < LANES ? dim - d : LANES;
            const __m256i lanes = dk_first_lanes(wide);
            __m256 block[LANES];
            for (size_t r = 0; r < LANES; r++)
                block[r] = c + r < count ? _mm256_maskload_ps(rows + (c + r) * stride + d, lanes)
                                         : _mm256_setzero_ps();
            dk_transpose_8x8(block);
            for (size_t i = 0; i < wide; i++)
                _mm256_store_ps(panel + (d + i) * DK_PANEL + c, _mm256_mul_ps(block[i], times));
        }
    }
}

TARGET void
dk_scale_f32_avx2(const float *from, size_t count, float factor, float *out)
{
    const __m256 times = _mm256_set1_ps(factor), zero = _mm256_setzero_ps();

    for (size_t i = 0; i < count; i += LANES) {
        const size_t wide = count - i < LANES ? count - i : LANES;
        const __m256i lanes = dk_first_lanes(wide);
        const __m256 x = _mm256_maskload_ps(from + i, lanes);
        _mm256_maskstore_ps(out + i, lanes, _mm256_add_ps(_mm256_mul_ps(x, times), zero));
    }
}
