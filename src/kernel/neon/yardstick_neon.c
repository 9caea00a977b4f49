/*
 * yardstick_neon.c - what Neon can read and multiply at best
 *
 * 24 accumulators, as four FMAs a cycle of four cycles each keep 16 in flight; with the two
 * constants they leave 6 of the 32 registers. An FMA here adds to its first register, so what
 * grows is the sum and not a factor: no value has to be copied.
 */
#include <arm_neon.h>

#include "kernel/neon/kernels_neon.h"

enum { ACCUMULATORS = 24, LANES = 4, LOADS = 8 };

static uint64_t
read_neon(const void *bytes, size_t size)
{
    const uint64_t *word = bytes;
    uint64x2_t seen[LOADS];
    uint64_t all = 0;

    DK_UNROLL
    for (size_t i = 0; i < LOADS; i++)
        seen[i] = vdupq_n_u64(0);
    for (const uint64_t *const end = word + size / sizeof *word; word < end; word += 2 * LOADS) {
        DK_UNROLL
        for (size_t i = 0; i < LOADS; i++)
            seen[i] = vorrq_u64(seen[i], vld1q_u64(word + 2 * i));
    }
    for (size_t i = 0; i < LOADS; i++)
        all |= vgetq_lane_u64(seen[i], 0) | vgetq_lane_u64(seen[i], 1);
    return all;
}

static float
fma_f32_neon(size_t steps)
{
    const float32x4_t factor = vdupq_n_f32(0.999f), term = vdupq_n_f32(0.001f);
    float32x4_t sum[ACCUMULATORS];

    /* Beginnings that the compiler does not know and that differ: it would merge equal sums. */
    DK_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        sum[i] = vdupq_n_f32((float)(steps + (size_t)i));
    for (size_t step = 0; step < steps; step++) {
        DK_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            sum[i] = vfmaq_f32(sum[i], factor, term);
    }
    DK_UNROLL
    for (int i = 1; i < ACCUMULATORS; i++)
        sum[0] = vaddq_f32(sum[0], sum[i]);
    return vaddvq_f32(sum[0]);
}

const struct dk_yardstick_kernels dk_yardstick_neon = {
    .read = read_neon,
    .fma_f32 = {fma_f32_neon, 2 * LANES *ACCUMULATORS},
    .fma_bf16 = {fma_f32_neon, 2 * LANES *ACCUMULATORS},
    .adds = dk_adds_portable,
};
