/*
 * widen_avx2.c - vectors stored in less than f32, to f32 and back, for AVX2 with F16C
 *
 * F16C keeps denormal halves and rounds as it is told, whatever the floating-point mode says.
 */
#include <immintrin.h>

#include "kernel/avx2/half_avx2.h"
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/half.h"

#define TARGET DK_TARGET("avx2,f16c")

enum { LANES = 8 };

DK_INLINE TARGET void
widen_half(const enum dk_half kind, const uint16_t *from, size_t count, float *out)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES)
        _mm256_storeu_ps(out + i, dk_widen_lanes_avx2(kind, from + i));
    for (; i < count; i++)
        out[i] = kind == DK_HALF_F16 ? dk_f16_to_f32(from[i]) : dk_bf16_to_f32(from[i]);
}

/* As dk_f32_to_bf16(), the result in the lower half of each lane. */
DK_INLINE TARGET __m256i
round_to_bf16(__m256 x)
{
    const __m256i bits = _mm256_castps_si256(x), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32((int)DK_BF16_QUIET));
    const __m256i nan = _mm256_cmpgt_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)),
                                           _mm256_set1_epi32((int)DK_F32_INFINITY));
    return _mm256_blendv_epi8(rounded, quiet, nan);
}

DK_INLINE TARGET void
narrow_half(const enum dk_half kind, const float *from, size_t count, uint16_t *out)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        const __m256 x = _mm256_loadu_ps(from + i);
        __m128i halves;
        if (kind == DK_HALF_F16) {
            halves = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        } else {
            const __m256i wide = round_to_bf16(x);
            halves = _mm_packus_epi32(_mm256_castsi256_si128(wide),
                                      _mm256_extracti128_si256(wide, 1));
        }
        _mm_storeu_si128((__m128i *)(void *)(out + i), halves);
    }
    for (; i < count; i++)
        out[i] = kind == DK_HALF_F16 ? dk_f32_to_f16(from[i]) : dk_f32_to_bf16(from[i]);
}

TARGET static void
widen_f16(const uint16_t *from, size_t count, float *out)
{
    widen_half(DK_HALF_F16, from, count, out);
}

TARGET static void
widen_bf16(const uint16_t *from, size_t count, float *out)
{
    widen_half(DK_HALF_BF16, from, count, out);
}

TARGET static void
narrow_f16(const float *from, size_t count, uint16_t *out)
{
    narrow_half(DK_HALF_F16, from, count, out);
}

TARGET static void
narrow_bf16(const float *from, size_t count, uint16_t *out)
{
    narrow_half(DK_HALF_BF16, from, count, out);
}

TARGET static void
widen_i8(const uint8_t *codes, size_t dim, float scale, float *out)
{
    const __m256 times = _mm256_set1_ps(scale);
    const __m256i zero = _mm256_set1_epi32(128);
    size_t d = 0;

    for (; d + LANES <= dim; d += LANES) {
        const uint8_t *const group = codes + d * DK_PANEL;
        int32_t lo, hi;
        memcpy(&lo, group, sizeof lo);
        memcpy(&hi, group + DK_I8_GROUP * DK_PANEL, sizeof hi);
        const __m256i wide = _mm256_cvtepu8_epi32(_mm_insert_epi32(_mm_cvtsi32_si128(lo), hi, 1));
        _mm256_storeu_ps(out + d,
                         _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(wide, zero)), times));
    }
    for (; d < dim; d++)
        out[d] = dk_widened_code(codes, d, scale);
}

const struct dk_widen_kernels dk_widen_avx2 = {
    .widen_half = {[DK_HALF_F16] = widen_f16, [DK_HALF_BF16] = widen_bf16},
    .narrow_half = {[DK_HALF_F16] = narrow_f16, [DK_HALF_BF16] = narrow_bf16},
    .widen_i8 = widen_i8,
};
