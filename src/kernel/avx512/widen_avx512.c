/*
 * widen_avx512.c - vectors stored in less than f32, to f32 and back, for AVX-512
 *
 * bf16 is rounded by integer arithmetic: vcvtneps2bf16 takes denormals for zeros.
 */
#include <immintrin.h>

#include "kernel/avx512/half_avx512.h"
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/half.h"

#define TARGET DK_TARGET("avx512f,avx512bw,avx512vl")

enum { LANES = 16, LINE = 32 /* halves in a cache line */ };

DK_INLINE TARGET void
widen_half(const enum dk_half kind, const uint16_t *from, size_t count, float *out)
{
    size_t i = 0;

    for (; i + LINE <= count; i += LINE) {
        const __m512i line = _mm512_loadu_si512(from + i);
        _mm512_storeu_ps(out + i, dk_widen_lanes_avx512(kind, _mm512_castsi512_si256(line)));
        _mm512_storeu_ps(out + i + LANES,
                         dk_widen_lanes_avx512(kind, _mm512_extracti64x4_epi64(line, 1)));
    }
    for (; i < count; i += LANES) {
        const __mmask16 lanes = count - i < LANES ? (__mmask16)((1u << (count - i)) - 1)
                                                  : (__mmask16)0xffff;
        _mm512_mask_storeu_ps(
            out + i, lanes, dk_widen_lanes_avx512(kind, _mm256_maskz_loadu_epi16(lanes, from + i)));
    }
}

/* As dk_f32_to_bf16(), lane by lane. */
DK_INLINE TARGET __m256i
round_to_bf16(__m512 x)
{
    const __m512i bits = _mm512_castps_si512(x), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
    const __mmask16 nan = _mm512_cmpgt_epi32_mask(
        _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)),
        _mm512_set1_epi32((int)DK_F32_INFINITY));
    return _mm512_cvtepi32_epi16(
        _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32((int)DK_BF16_QUIET)));
}

DK_INLINE TARGET void
narrow_half(const enum dk_half kind, const float *from, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i += LANES) {
        const __mmask16 lanes = count - i < LANES ? (__mmask16)((1u << (count - i)) - 1)
                                                  : (__mmask16)0xffff;
        const __m512 x = _mm512_maskz_loadu_ps(lanes, from + i);
        const __m256i halves = kind == DK_HALF_F16 ? _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT |
                                                                            _MM_FROUND_NO_EXC)
                                                   : round_to_bf16(x);
        _mm256_mask_storeu_epi16(out + i, lanes, halves);
    }
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
    enum { STEP = DK_I8_GROUP * DK_PANEL };
    const __m512 times = _mm512_set1_ps(scale);
    const __m512i zero = _mm512_set1_epi32(128);
    size_t d = 0;

    for (; d + LANES <= dim; d += LANES, codes += 4 * (size_t)STEP) {
        int32_t group[LANES / DK_I8_GROUP];
        for (size_t g = 0; g < LANES / DK_I8_GROUP; g++)
            memcpy(&group[g], codes + g * STEP, sizeof group[g]);
        const __m512i wide = _mm512_cvtepu8_epi32(
            _mm_setr_epi32(group[0], group[1], group[2], group[3]));
        _mm512_storeu_ps(out + d,
                         _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(wide, zero)), times));
    }
    for (size_t i = 0; d < dim; i++, d++)
        out[d] = dk_widened_code(codes, i, scale);
}

const struct dk_widen_kernels dk_widen_avx512 = {
    .widen_half = {[DK_HALF_F16] = widen_f16, [DK_HALF_BF16] = widen_bf16},
    .narrow_half = {[DK_HALF_F16] = narrow_f16, [DK_HALF_BF16] = narrow_bf16},
    .widen_i8 = widen_i8,
};
