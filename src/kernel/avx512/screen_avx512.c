/*
 * screen_avx512.c - which of 16 rows may score above a threshold, for AVX-512
 *
 * Rows are read exactly as they lie in memory, one after the other, because that is what reaches
 * the read bandwidth: 0.95 of it, where two rows side by side reached 0.80 and 16 transposed rows
 * (few_avx512.c) 0.75, with every prefetch tried. Lanes add along the dimensions, so the sums are
 * not in the defined order: this is a screen, and its bound is in kernel.h.
 *
 * Queries are interleaved, 16 dimensions of each in turn. As separate rows 3,072 bytes apart they
 * fell into few cache sets, and 8 queries took 1.3 times as long.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f,avx512vl,avx512dq")

enum { LANES = DK_SCREEN_LANES };

#define PREFETCH_L1(address) __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)(address)))

DK_INLINE TARGET __m512
add_term(const enum dk_score score, __m512 query, __m512 row, __m512 sum)
{
    if (score == DK_SCORE_DOT)
        return _mm512_fmadd_ps(query, row, sum);
    const __m512 difference = _mm512_sub_ps(query, row);
    return _mm512_fnmadd_ps(difference, difference, sum);
}

/* In each 128-bit quarter: the sums of four quarters of a, b, c, d. */
DK_INLINE TARGET __m512
add_quads(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512d ab = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
}

/* The sums over the lanes of 8 vectors, in order. */
DK_INLINE TARGET __m256
add_lanes(const __m512 sum[DK_FEW_QUERIES])
{
    const __m512 lo = add_quads(sum[0], sum[1], sum[2], sum[3]);
    const __m512 hi = add_quads(sum[4], sum[5], sum[6], sum[7]);
    const __m512 halves = _mm512_add_ps(_mm512_shuffle_f32x4(lo, hi, 0x44),
                                        _mm512_shuffle_f32x4(lo, hi, 0xee));
    const __m512 all = _mm512_add_ps(halves, _mm512_shuffle_f32x4(halves, halves, 0xb1));
    return _mm512_castps512_ps256(_mm512_shuffle_f32x4(all, all, 0x08));
}

/* 'score' and 'queries' are constants at every call. */
DK_INLINE TARGET uint32_t
screen_body(const enum dk_score score, const size_t queries, const struct dk_screen_f32 *args)
{
    const __m256 threshold = _mm256_load_ps(args->threshold);
    const size_t dim = args->dim, whole = dim / LANES * LANES;
    const __mmask16 tail = (__mmask16)((1u << (dim - whole)) - 1);
    uint32_t above = 0;

    for (size_t r = 0; r < args->count; r++) {
        const float *const row = args->row[r];
        const float *const later = args->later[r];
        const float *query = args->query;
        __m512 sum[DK_FEW_QUERIES];

        DK_UNROLL
        for (size_t q = 0; q < DK_FEW_QUERIES; q++)
            sum[q] = _mm512_setzero_ps();
        for (size_t d = 0; d < whole; d += LANES) {
            const __m512 x = _mm512_loadu_ps(row + d);
            PREFETCH_L1(later + d);
            DK_UNROLL
            for (size_t q = 0; q < queries; q++)
                sum[q] = add_term(score, _mm512_load_ps(query + q * LANES), x, sum[q]);
            query += queries * LANES;
        }
        if (tail != 0) {
            const __m512 x = _mm512_maskz_loadu_ps(tail, row + whole);
            DK_UNROLL
            for (size_t q = 0; q < queries; q++)
                sum[q] = add_term(score, _mm512_load_ps(query + q * LANES), x, sum[q]);
        }
        const __mmask8 hit = _mm256_cmp_ps_mask(add_lanes(sum), threshold, _CMP_GT_OQ);
        above |= (uint32_t)(hit != 0) << r;
    }
    return above;
}

#define QUERIES(score)                                                                             \
    switch (args->queries) {                                                                       \
    case 1: return screen_body(score, 1, args);                                                    \
    case 2: return screen_body(score, 2, args);                                                    \
    case 3: return screen_body(score, 3, args);                                                    \
    case 4: return screen_body(score, 4, args);                                                    \
    case 5: return screen_body(score, 5, args);                                                    \
    case 6: return screen_body(score, 6, args);                                                    \
    case 7: return screen_body(score, 7, args);                                                    \
    case 8: return screen_body(score, 8, args);                                                    \
    default: __builtin_unreachable();                                                              \
    }

TARGET uint32_t
dk_screen_dot_f32_avx512(const struct dk_screen_f32 *args){QUERIES(DK_SCORE_DOT)}

TARGET uint32_t dk_screen_l2_f32_avx512(const struct dk_screen_f32 *args)
{
    QUERIES(DK_SCORE_L2)
}
