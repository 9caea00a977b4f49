/* flags_avx512.c - what a boolean mask says of a tile, for AVX-512. Contract: softmax_v.h */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f,avx512bw")

TARGET void
dk_flags_avx512(const uint8_t *const *flags, size_t rows, size_t count,
                uint64_t (*keep)[DK_ATTEND_ROWS])
{
    for (size_t p = 0; p * DK_PANEL < count; p++) {
        const size_t first = p * DK_PANEL, rest = count - first;
        const __mmask64 exist = rest < DK_PANEL ? (UINT64_C(1) << rest) - 1 : ~UINT64_C(0);
        for (size_t r = 0; r < rows; r++) {
            const __m512i bytes = _mm512_maskz_loadu_epi8(exist, flags[r] + first);
            keep[p][r] = _mm512_test_epi8_mask(bytes, bytes);
        }
    }
}
