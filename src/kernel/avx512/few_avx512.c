/*
 * few_avx512.c - scores of up to 8 queries against 16 row-major rows, for AVX-512
 *
 * A batch too small to fill a panel is bound by reading the rows. The textbook's dot product
 * adds lanes along the dimensions and so in an order of its own; here a block of 16 rows by 16
 * dimensions is transposed in registers, so that a lane is a row and the sum runs in the defined
 * order. The 64 shuffles cost less time than memory needs for the block's 1 KiB.
 *
 * Packing keys once would save the shuffles and is what attention and dense do; a search index
 * keeps rows as they came, because everything else (files, updates, re-scoring) wants rows.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512/transpose_avx512.h"

#define TARGET DK_TARGET("avx512f")

enum { LANES = 16 };

#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

DK_INLINE TARGET __m512
fma_step(const enum dk_score score, float query, __m512 rows, __m512 chain)
{
    const __m512 x = _mm512_set1_ps(query);
    if (score == DK_SCORE_DOT)
        return _mm512_fmadd_ps(x, rows, chain);
    const __m512 difference = _mm512_sub_ps(rows, x);
    return _mm512_fnmadd_ps(difference, difference, chain);
}

/* 'score' and 'queries' are constants at every call. */
DK_INLINE TARGET uint32_t
few_body(const enum dk_score score, const size_t queries, const struct dk_few_f32 *args)
{
    const float *const *const row = args->row;
    const size_t dim = args->dim;
    const char *ahead = args->ahead;
    const char *const ahead_end = ahead + args->ahead_lines * 64;
    const float *query[DK_FEW_QUERIES];
    __m512 sum[DK_FEW_QUERIES], chain[DK_FEW_QUERIES];

    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        query[q] = args->query[q];
        sum[q] = _mm512_setzero_ps();
    }
    for (size_t start = 0; start < dim; start += DK_CHAIN) {
        const size_t end = dim - start < DK_CHAIN ? dim : start + DK_CHAIN;
        size_t d = start;

        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            chain[q] = _mm512_setzero_ps();
        for (; d + LANES <= end; d += LANES) {
            __m512 block[LANES];
            DK_UNROLL
            for (int r = 0; r < LANES; r++)
                block[r] = _mm512_loadu_ps(row[r] + d);
            for (int i = 0; i < LANES && ahead < ahead_end; i++, ahead += 64)
                PREFETCH_L2(ahead);
            dk_transpose_16x16(block);
            DK_UNROLL
            for (int i = 0; i < LANES; i++) {
                DK_UNROLL
                for (size_t q = 0; q < queries; q++)
                    chain[q] = fma_step(score, query[q][d + i], block[i], chain[q]);
            }
        }
        if (d < end) {
            const __mmask16 tail = (__mmask16)((1u << (end - d)) - 1);
            __m512 block[LANES];
            DK_UNROLL
            for (int r = 0; r < LANES; r++)
                block[r] = _mm512_maskz_loadu_ps(tail, row[r] + d);
            dk_transpose_16x16(block);
            for (size_t i = 0; d + i < end; i++) {
                for (size_t q = 0; q < queries; q++)
                    chain[q] = fma_step(score, query[q][d + i], block[i], chain[q]);
            }
        }
        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            sum[q] = start == 0 ? chain[q] : _mm512_add_ps(sum[q], chain[q]);
    }

    uint32_t above = args->threshold == NULL ? ~UINT32_C(0) : 0;
    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        _mm512_store_ps(args->score[q], sum[q]);
        if (args->threshold != NULL) {
            const __m512 threshold = _mm512_set1_ps(args->threshold[q]);
            above |= (uint32_t)(_mm512_cmp_ps_mask(sum[q], threshold, _CMP_GT_OQ) != 0) << q;
        }
    }
    return above;
}

#define QUERIES(score)                                                                             \
    switch (args->queries) {                                                                       \
    case 1: return few_body(score, 1, args);                                                       \
    case 2: return few_body(score, 2, args);                                                       \
    case 3: return few_body(score, 3, args);                                                       \
    case 4: return few_body(score, 4, args);                                                       \
    case 5: return few_body(score, 5, args);                                                       \
    case 6: return few_body(score, 6, args);                                                       \
    case 7: return few_body(score, 7, args);                                                       \
    case 8: return few_body(score, 8, args);                                                       \
    default: __builtin_unreachable();                                                              \
    }

TARGET uint32_t
dk_few_dot_f32_avx512(const struct dk_few_f32 *args){QUERIES(DK_SCORE_DOT)}

TARGET uint32_t dk_few_l2_f32_avx512(const struct dk_few_f32 *args)
{
    QUERIES(DK_SCORE_L2)
}
