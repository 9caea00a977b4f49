/*
 * dropout_avx512.c - what dropout keeps, for AVX-512
 *
 * 16 counters as two vectors of 8 lanes of 64 bits. A lane's low half is a word; what its high
 * half holds does not matter, because vpmuludq does not look at it, so words are never cut out.
 *
 * Contract: dropout.h.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f")

enum { HALVES = 2 };

/* Bits 0 .. 31: which words of counters first .. first + 7 reach the threshold. */
DK_INLINE TARGET uint64_t
kept_of(const __m512i word[4], __m512i threshold)
{
    const __mmask16 high = 0xaaaa;
    const __m512i first = _mm512_mask_blend_epi32(high, word[0], _mm512_slli_epi64(word[1], 32));
    const __m512i last = _mm512_mask_blend_epi32(high, word[2], _mm512_slli_epi64(word[3], 32));
    /* lanes 0, 2, 4, 6 hold counters 0 .. 3, the others 4 .. 7 */
    const __m512i low = _mm512_unpacklo_epi64(first, last);
    const __m512i rest = _mm512_unpackhi_epi64(first, last);

    return _mm512_cmpge_epu32_mask(low, threshold) |
           (uint64_t)_mm512_cmpge_epu32_mask(rest, threshold) << 16;
}

TARGET uint64_t
dk_dropout_avx512(const struct dk_dropout *dropout, size_t head, size_t query, size_t key)
{
    const __m512i m0 = _mm512_set1_epi64(DK_PHILOX_M0), m1 = _mm512_set1_epi64(DK_PHILOX_M1);
    const __m512i threshold = _mm512_set1_epi32((int)dropout->threshold);
    const uint64_t four = key / 4;
    uint32_t k0 = (uint32_t)dropout->seed, k1 = (uint32_t)(dropout->seed >> 32);
    __m512i word[HALVES][4];

    DK_UNROLL
    for (size_t h = 0; h < HALVES; h++) {
        word[h][0] = _mm512_add_epi64(_mm512_set1_epi64((long long)(four + 8 * h)),
                                      _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
        word[h][1] = _mm512_set1_epi64((long long)query);
        word[h][2] = _mm512_set1_epi64((long long)head);
        word[h][3] = _mm512_set1_epi64((long long)(four >> 32));
    }
    for (int round = 0; round < DK_PHILOX_ROUNDS; round++) {
        const __m512i add0 = _mm512_set1_epi64(k0), add1 = _mm512_set1_epi64(k1);
        DK_UNROLL
        for (size_t h = 0; h < HALVES; h++) {
            const __m512i a = _mm512_mul_epu32(word[h][0], m0);
            const __m512i b = _mm512_mul_epu32(word[h][2], m1);
            word[h][0] = _mm512_xor_si512(_mm512_srli_epi64(b, 32),
                                          _mm512_xor_si512(word[h][1], add0));
            word[h][1] = b;
            word[h][2] = _mm512_xor_si512(_mm512_srli_epi64(a, 32),
                                          _mm512_xor_si512(word[h][3], add1));
            word[h][3] = a;
        }
        k0 += DK_PHILOX_W0;
        k1 += DK_PHILOX_W1;
    }
    return kept_of(word[0], threshold) | kept_of(word[1], threshold) << 32;
}
