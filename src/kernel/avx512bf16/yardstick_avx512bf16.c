/* yardstick_avx512bf16.c - what AVX-512 can multiply of bf16 at best */
#include <immintrin.h>

#include "kernel/avx512bf16/kernels_avx512bf16.h"

#define TARGET DK_TARGET("avx512f")

enum { LANES = 16, ACCUMULATORS = DK_FMA_FLOP_AVX512BF16 / 4 / LANES };

/* Each step adds 2 to every sum; what is returned is divided by the steps, as sums grow. */
TARGET float
dk_fma_bf16_avx512bf16(size_t steps)
{
    const __m512i ones = _mm512_set1_epi16(0x3f80);
    __m512 sum[ACCUMULATORS];
    float lanes[LANES], total = 0;

    DK_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (size_t step = 0; step < steps; step++) {
        DK_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            __asm__("vdpbf16ps %1, %1, %0" : "+v"(sum[i]) : "v"(ones)); /* as the kernels do it */
    }
    DK_UNROLL
    for (int i = 1; i < ACCUMULATORS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    _mm512_storeu_ps(lanes, sum[0]);
    for (int i = 0; i < LANES; i++)
        total += lanes[i];
    return total / (float)steps;
}
