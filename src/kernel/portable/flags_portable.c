/* flags_portable.c - what a boolean mask says of a tile: the definition. Contract: softmax_v.h */
#include "kernel/bits.h"
#include "kernel/portable/kernels_portable.h"

void
dk_flags_portable(const uint8_t *const *flags, size_t rows, size_t count,
                  uint64_t (*keep)[DK_ATTEND_ROWS])
{
    for (size_t p = 0; p * DK_PANEL < count; p++) {
        const size_t first = p * DK_PANEL, rest = count - first;
        for (size_t r = 0; r < rows; r++)
            keep[p][r] = dk_bits_of_bytes(flags[r] + first, rest < DK_PANEL ? rest : DK_PANEL);
    }
}
