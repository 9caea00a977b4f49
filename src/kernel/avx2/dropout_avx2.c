/*
 * dropout_avx2.c - what dropout keeps, for AVX2
 *
 * 16 counters as four vectors of 4 lanes of 64 bits. A lane's low half is a word; what its high
 * half holds does not matter, because vpmuludq does not look at it, so words are never cut out.
 *
 * Contract: dropout.h.
 */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"

#define TARGET DK_TARGET("avx2")

enum { QUARTERS = 4 };

/* Bits 0 .. 7: which of 8 words reach the threshold. */
DK_INLINE TARGET uint64_t
reach(__m256i words, __m256i threshold)
{
    const __m256i equal = _mm256_cmpeq_epi32(_mm256_max_epu32(words, threshold), words);
    return (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(equal));
}

/* Bits 0 .. 15: which words of counters first .. first + 3 reach the threshold. */
DK_INLINE TARGET uint64_t
kept_of(const __m256i word[4], __m256i threshold)
{
    const __m256i first = _mm256_blend_epi32(word[0], _mm256_slli_epi64(word[1], 32), 0xaa);
    const __m256i last = _mm256_blend_epi32(word[2], _mm256_slli_epi64(word[3], 32), 0xaa);
    /* lanes 0 and 2 hold counters 0 and 1, the others 2 and 3 */
    return reach(_mm256_unpacklo_epi64(first, last), threshold) |
           reach(_mm256_unpackhi_epi64(first, last), threshold) << 8;
}

TARGET uint64_t
dk_dropout_avx2(const struct dk_dropout *dropout, size_t head, size_t query, size_t key)
{
    const __m256i m0 = _mm256_set1_epi64x(DK_PHILOX_M0), m1 = _mm256_set1_epi64x(DK_PHILOX_M1);
    const __m256i threshold = _mm256_set1_epi32((int)dropout->threshold);
    const uint64_t four = key / 4;
    uint64_t kept = 0;

    for (size_t q = 0; q < QUARTERS; q += 2) { /* two at a time: eight registers of words */
        uint32_t k0 = (uint32_t)dropout->seed, k1 = (uint32_t)(dropout->seed >> 32);
        __m256i word[2][4];
        DK_UNROLL
        for (size_t h = 0; h < 2; h++) {
            word[h][0] = _mm256_add_epi64(_mm256_set1_epi64x((long long)(four + 4 * (q + h))),
                                          _mm256_setr_epi64x(0, 2, 1, 3));
            word[h][1] = _mm256_set1_epi64x((long long)query);
            word[h][2] = _mm256_set1_epi64x((long long)head);
            word[h][3] = _mm256_set1_epi64x((long long)(four >> 32));
        }
        for (int round = 0; round < DK_PHILOX_ROUNDS; round++) {
            const __m256i add0 = _mm256_set1_epi64x(k0), add1 = _mm256_set1_epi64x(k1);
            DK_UNROLL
            for (size_t h = 0; h < 2; h++) {
                const __m256i a = _mm256_mul_epu32(word[h][0], m0);
                const __m256i b = _mm256_mul_epu32(word[h][2], m1);
                word[h][0] = _mm256_xor_si256(_mm256_srli_epi64(b, 32),
                                              _mm256_xor_si256(word[h][1], add0));
                word[h][1] = b;
                word[h][2] = _mm256_xor_si256(_mm256_srli_epi64(a, 32),
                                              _mm256_xor_si256(word[h][3], add1));
                word[h][3] = a;
            }
            k0 += DK_PHILOX_W0;
            k1 += DK_PHILOX_W1;
        }
        kept |= (kept_of(word[0], threshold) | kept_of(word[1], threshold) << 16) << 16 * q;
    }
    return kept;
}
