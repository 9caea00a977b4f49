/*
 * few_avx512.c - scores of up to 8 queries against 16 row-major rows, for AVX-512
 *
 * The textbook's dot product adds lanes along the dimensions and so in an order of its own; here
 * a block of 16 rows by 16 dimensions is transposed in registers, so that a lane is a row and the
 * sum runs in the defined order. The 64 shuffles of a block take 32 to 64 cycles, so from cache
 * this is nearly as fast as any other order; from memory, the 16 streams of rows it reads at once
 * reach only 0.75 of the bandwidth: a scan screens first (screen_avx512.c) and comes here with what
 * is left, or, where nothing is, with the next rows on their way.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512/transpose_avx512.h"

#define TARGET DK_TARGET("avx512f")

enum { LANES = 16, BLOCK_LINES = 16 };

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
DK_INLINE TARGET void
few_body(const enum dk_score score, const size_t queries, const struct dk_few_f32 *args)
{
    const float *const *const row = args->row;
    const size_t dim = args->dim;
    const float *query[DK_FEW_QUERIES];
    __m512 sum[DK_FEW_QUERIES], chain[DK_FEW_QUERIES];
    const char *ahead = args->ahead;
    size_t ahead_blocks = args->ahead_lines / BLOCK_LINES;

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
            if (ahead_blocks > 0) {
                DK_UNROLL
                for (int i = 0; i < BLOCK_LINES; i++)
                    PREFETCH_L2(ahead + i * 64);
                ahead += BLOCK_LINES * 64;
                ahead_blocks--;
            }
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
    DK_UNROLL
    for (size_t q = 0; q < queries; q++)
        _mm512_store_ps(args->score[q], sum[q]);
}

#define QUERIES(score)                                                                             \
    switch (args->queries) {                                                                       \
    case 1: few_body(score, 1, args); break;                                                       \
    case 2: few_body(score, 2, args); break;                                                       \
    case 3: few_body(score, 3, args); break;                                                       \
    case 4: few_body(score, 4, args); break;                                                       \
    case 5: few_body(score, 5, args); break;                                                       \
    case 6: few_body(score, 6, args); break;                                                       \
    case 7: few_body(score, 7, args); break;                                                       \
    case 8: few_body(score, 8, args); break;                                                       \
    default: __builtin_unreachable();                                                              \
    }

TARGET void
dk_few_dot_f32_avx512(const struct dk_few_f32 *args){QUERIES(DK_SCORE_DOT)}

TARGET void dk_few_l2_f32_avx512(const struct dk_few_f32 *args)
{
    QUERIES(DK_SCORE_L2)
}
