/* half_avx2.h - 8 numbers of 16 bits to f32, in registers */
#ifndef DOTK_KERNEL_HALF_AVX2_H
#define DOTK_KERNEL_HALF_AVX2_H

#include <immintrin.h>

#include "kernel/kernel.h"

DK_INLINE
DK_TARGET("avx2,f16c") __m256 dk_widen_lanes_avx2(const enum dk_half kind, const uint16_t *from)
{
    const __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)from);

    if (kind == DK_HALF_F16)
        return _mm256_cvtph_ps(halves);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

#endif /* DOTK_KERNEL_HALF_AVX2_H */
