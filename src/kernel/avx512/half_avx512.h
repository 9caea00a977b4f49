/* half_avx512.h - 16 numbers of 16 bits to f32, in registers */
#ifndef DOTK_KERNEL_HALF_AVX512_H
#define DOTK_KERNEL_HALF_AVX512_H

#include <immintrin.h>

#include "kernel/kernel.h"

DK_INLINE DK_TARGET("avx512f") __m512 dk_widen_lanes_avx512(const enum dk_half kind, __m256i halves)
{
    if (kind == DK_HALF_F16)
        return _mm512_cvtph_ps(halves);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

#endif /* DOTK_KERNEL_HALF_AVX512_H */
