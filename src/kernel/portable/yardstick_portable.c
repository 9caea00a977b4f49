/*
 * yardstick_portable.c - what plain C reaches
 *
 * The multiply-add is the one the portable kernels use, which on a CPU without the instruction
 * takes some twenty operations: a yardstick for these kernels, not for the machine.
 */
#include "kernel/portable/fma_portable.h"
#include "kernel/portable/kernels_portable.h"

enum { ACCUMULATORS = 24, WORDS = DK_READ_UNIT / 8 };

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

static float
fma_f32_portable(size_t steps)
{
    float sum[ACCUMULATORS], total = 0;

    for (int i = 0; i < ACCUMULATORS; i++)
        sum[i] = (float)(steps + (size_t)i);
    for (size_t step = 0; step < steps; step++) {
        DK_UNROLL
        for (int i = 0; i < ACCUMULATORS; i++)
            sum[i] = dk_fma_portable(sum[i], 0.999f, 0.001f);
    }
    for (int i = 0; i < ACCUMULATORS; i++)
        total += sum[i];
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
    .fma_f32 = fma_f32_portable,
    .fma_flop = 2 * ACCUMULATORS,
    .adds = dk_adds_portable,
};
