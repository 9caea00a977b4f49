/*
 * few_avx2.c - scores of up to 8 queries against 16 row-major rows, for AVX2 and FMA
 *
 * As few_avx512.c, with blocks of 8 x 8 and 4 queries at a time, which is what 16 registers
 * hold; the 8 rows in work stay in L1 while the other queries pass.
 */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx2/transpose_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum { LANES = 8, QUERIES = 4 };

/* 'queries' (1 .. 4) queries against 8 rows; 'score' and 'queries' are constants. */
DK_INLINE TARGET void
few_8(const enum dk_score score, const size_t queries, const float *const *query,
      const float *const *row, size_t dim, float *const out[QUERIES])
{
    __m256 sum[QUERIES], chain[QUERIES];

    DK_UNROLL
    for (size_t q = 0; q < queries; q++)
        sum[q] = _mm256_setzero_ps();
    for (size_t start = 0; start < dim; start += DK_CHAIN) {
        const size_t end = dim - start < DK_CHAIN ? dim : start + DK_CHAIN;

        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            chain[q] = _mm256_setzero_ps();
        for (size_t d = start; d < end; d += LANES) {
            const size_t wide = end - d < LANES ? end - d : LANES;
            const __m256i lanes = dk_first_lanes(wide);
            __m256 block[LANES];
            DK_UNROLL
            for (int r = 0; r < LANES; r++)
                block[r] = wide == LANES ? _mm256_loadu_ps(row[r] + d)
                                         : _mm256_maskload_ps(row[r] + d, lanes);
            dk_transpose_8x8(block);
            DK_UNROLL
            for (size_t i = 0; i < LANES; i++) {
                if (i >= wide)
                    break;
                DK_UNROLL
                for (size_t q = 0; q < queries; q++) {
                    const __m256 x = _mm256_broadcast_ss(query[q] + d + i);
                    if (score == DK_SCORE_DOT) {
                        chain[q] = _mm256_fmadd_ps(x, block[i], chain[q]);
                    } else {
                        const __m256 difference = _mm256_sub_ps(block[i], x);
                        chain[q] = _mm256_fnmadd_ps(difference, difference, chain[q]);
                    }
                }
            }
        }
        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            sum[q] = start == 0 ? chain[q] : _mm256_add_ps(sum[q], chain[q]);
    }
    DK_UNROLL
    for (size_t q = 0; q < queries; q++)
        _mm256_store_ps(out[q], sum[q]);
}

DK_INLINE TARGET void
few_body(const enum dk_score score, const struct dk_few_f32 *args)
{
    for (size_t r = 0; r < DK_FEW_ROWS; r += LANES) {
        for (size_t q = 0; q < args->queries; q += QUERIES) {
            const size_t left = args->queries - q;
            float *out[QUERIES];
            for (size_t i = 0; i < QUERIES && i < left; i++)
                out[i] = args->score[q + i] + r;
            switch (left) {
            case 1: few_8(score, 1, args->query + q, args->row + r, args->dim, out); break;
            case 2: few_8(score, 2, args->query + q, args->row + r, args->dim, out); break;
            case 3: few_8(score, 3, args->query + q, args->row + r, args->dim, out); break;
            default: few_8(score, 4, args->query + q, args->row + r, args->dim, out); break;
            }
        }
    }
}

TARGET void
dk_few_dot_f32_avx2(const struct dk_few_f32 *args)
{
    few_body(DK_SCORE_DOT, args);
}

TARGET void
dk_few_l2_f32_avx2(const struct dk_few_f32 *args)
{
    few_body(DK_SCORE_L2, args);
}
