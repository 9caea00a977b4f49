/* dropout_portable.c - the definition of what dropout keeps. Contract: dropout.h. */
#include "kernel/portable/kernels_portable.h"

uint64_t
dk_dropout_portable(const struct dk_dropout *dropout, size_t head, size_t query, size_t key)
{
    uint64_t kept = 0;

    for (size_t c = 0; c < 64; c += 4) {
        const uint64_t four = (key + c) / 4;
        uint32_t word[4] = {(uint32_t)four, (uint32_t)query, (uint32_t)head,
                            (uint32_t)(four >> 32)};
        dk_philox(dropout->seed, word);
        for (size_t w = 0; w < 4; w++)
            kept |= (uint64_t)(word[w] >= dropout->threshold) << (c + w);
    }
    return kept;
}
