/*
 * yardstick_avx512.c - what AVX-512 can read and multiply at best
 *
 * Twelve accumulators: two FMAs a cycle of four cycles each keep eight in flight.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f")

enum { LANES = 16, ACCUMULATORS = DK_FMA_FLOP_AVX512 / 2 / LANES, LOADS = 8 };

TARGET uint64_t
dk_read_avx512(const void *bytes, size_t size)
{
    const __m512i *vector = bytes;
    __m512i seen[LOADS];
    uint64_t words[LOADS * 8], all = 0;

    DK_UNROLL
    for (size_t i = 0; i < LOADS; i++)
        seen[i] = _mm512_setzero_si512();
    for (const __m512i *const end = vector + size / sizeof *vector; vector < end; vector += LOADS) {
        DK_UNROLL
        for (size_t i = 0; i < LOADS; i++)
            seen[i] = _mm512_or_si512(seen[i], _mm512_load_si512(vector + i));
    }
    DK_UNROLL
    for (size_t i = 0; i < LOADS; i++)
        _mm512_storeu_si512((__m512i *)words + i, seen[i]);
    for (size_t i = 0; i < LOADS * 8; i++)
        all |= words[i];
    return all;
}

TARGET float
dk_fma_f32_avx512(size_t steps)
{
    const __m512 factor = _mm512_set1_ps(0.999f), term = _mm512_set1_ps(0.001f);
    __m512 sum[ACCUMULATORS];
    float lanes[LANES], total = 0;

    /* Beginnings that the compiler does not know and that differ: it would merge equal sums. */
    DK_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        sum[i] = _mm512_set1_ps((float)(steps + (size_t)i));
    for (size_t step = 0; step < steps; step++) {
        DK_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], factor, term);
    }
    DK_UNROLL
    for (int i = 1; i < ACCUMULATORS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    _mm512_storeu_ps(lanes, sum[0]);
    for (int i = 0; i < LANES; i++)
        total += lanes[i];
    return total;
}

const struct dk_yardstick_kernels dk_yardstick_avx512 = {
    .read = dk_read_avx512,
    .fma_f32 = {dk_fma_f32_avx512, DK_FMA_FLOP_AVX512},
    .fma_bf16 = {dk_fma_f32_avx512, DK_FMA_FLOP_AVX512},
    .adds = dk_adds_portable,
};
