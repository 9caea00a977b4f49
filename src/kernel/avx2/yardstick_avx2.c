/*
 * yardstick_avx2.c - what AVX2 can read and multiply at best
 *
 * Twelve accumulators, as two FMAs a cycle of up to five cycles each keep ten in flight; with
 * the two constants they leave 2 of the 16 registers. Reads come in halves of 32 bytes.
 */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum { ACCUMULATORS = 12, LANES = 8, LOADS = 8 };

static TARGET uint64_t
read_avx2(const void *bytes, size_t size)
{
    const __m256i *vector = bytes;
    __m256i seen[LOADS];
    uint64_t words[LOADS * 4], all = 0;

    DK_UNROLL
    for (size_t i = 0; i < LOADS; i++)
        seen[i] = _mm256_setzero_si256();
    for (const __m256i *const end = vector + size / sizeof *vector; vector < end; vector += LOADS) {
        DK_UNROLL
        for (size_t i = 0; i < LOADS; i++)
            seen[i] = _mm256_or_si256(seen[i], _mm256_load_si256(vector + i));
    }
    DK_UNROLL
    for (size_t i = 0; i < LOADS; i++)
        _mm256_storeu_si256((__m256i *)words + i, seen[i]);
    for (size_t i = 0; i < LOADS * 4; i++)
        all |= words[i];
    return all;
}

static TARGET float
fma_f32_avx2(size_t steps)
{
    const __m256 factor = _mm256_set1_ps(0.999f), term = _mm256_set1_ps(0.001f);
    __m256 sum[ACCUMULATORS];
    float lanes[LANES], total = 0;

    /* Beginnings that the compiler does not know and that differ: it would merge equal sums. */
    DK_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        sum[i] = _mm256_set1_ps((float)(steps + (size_t)i));
    for (size_t step = 0; step < steps; step++) {
        DK_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], factor, term);
    }
    DK_UNROLL
    for (int i = 1; i < ACCUMULATORS; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    _mm256_storeu_ps(lanes, sum[0]);
    for (int i = 0; i < LANES; i++)
        total += lanes[i];
    return total;
}

const struct dk_yardstick_kernels dk_yardstick_avx2 = {
    .read = read_avx2,
    .fma_f32 = {fma_f32_avx2, 2 * LANES *ACCUMULATORS},
    .fma_bf16 = {fma_f32_avx2, 2 * LANES *ACCUMULATORS},
    .adds = dk_adds_portable,
};
