/*
 * yardstick_portable.c - what plain C can read, multiply and add at best
 *
 * Without a fused instruction at hand a product and a sum are two operations, and the peak is
 * that of the pair. Portable scores stay far below it, because they emulate the fused result;
 * portable attention, which need not, comes near.
 */
#include "kernel/portable/kernels_portable.h"

/* Four lanes are what every x86-64 and aarch64 has; twelve fit the registers of both. */
typedef float lanes __attribute__((vector_size(16)));
enum { LANES = 4, ACCUMULATORS = 12, WORDS = DK_READ_UNIT / 8 };

static uint64_t
read_portable(const void *bytes, size_t size)
{
    const uint64_t *word = bytes;
    uint64_t seen[8] = {0};

    for (size_t i = 0; i < size / 8; i += WORDS) {
        for (size_t j = 0; j < WORDS; j += 8) {
            DK_UNROLL
            for (size_t s = 0; s < 8; s++)
                seen[s] |= word[i + j + s];
        }
    }
    return seen[0] | seen[1] | seen[2] | seen[3] | seen[4] | seen[5] | seen[6] | seen[7];
}

DK_INLINE lanes
multiply_add(lanes sum)
{
#if defined(__FMA__) || defined(__aarch64__)
    for (int i = 0; i < LANES; i++)
        sum[i] = __builtin_fmaf(sum[i], 0.999f, 0.001f);
    return sum;
#else
    return sum * 0.999f + 0.001f;
#endif
}

static float
fma_f32_portable(size_t steps)
{
    lanes sum[ACCUMULATORS];
    float total = 0;

    DK_UNROLL
    for (int i = 0; i < ACCUMULATORS; i++)
        sum[i] = (lanes){0} + (float)(steps + (size_t)i);
    for (size_t step = 0; step < steps; step++) {
        DK_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            sum[i] = multiply_add(sum[i]);
    }
    DK_UNROLL
    for (int i = 1; i < ACCUMULATORS; i++)
        sum[0] += sum[i];
    for (int i = 0; i < LANES; i++)
        total += sum[0][i];
    return total;
}

/* The empty asm keeps the compiler from adding several steps at once. */
uint64_t
dk_adds_portable(uint64_t count)
{
    uint64_t sum = count;
    const uint64_t step = count | 1;

    for (uint64_t i = 0; i < count; i += 16) {
        DK_UNROLL
        for (int j = 0; j < 16; j++) {
            sum += step;
            __asm__ volatile("" : "+r"(sum));
        }
    }
    return sum;
}

const struct dk_yardstick_kernels dk_yardstick_portable = {
    .read = read_portable,
    .fma_f32 = {fma_f32_portable, 2 * LANES *ACCUMULATORS},
    .fma_bf16 = {fma_f32_portable, 2 * LANES *ACCUMULATORS},
    .adds = dk_adds_portable,
};
