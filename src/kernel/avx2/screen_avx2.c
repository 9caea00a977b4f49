/*
 * screen_avx2.c - which of 16 rows may score above a threshold, for AVX2 and FMA
 *
 * As screen_avx512.c: rows are read as they lie. One row at a time against 4 queries, two
 * vectors of partial sums each: 8 accumulators, 2 of the row. Prefetched as there,
 * with the first 4 queries.
 */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx2/transpose_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum { LANES = 8, VECS = 2, STEP = DK_SCREEN_LANES, QUERIES = 4, PREFETCHING_QUERIES = 3 };

#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

DK_INLINE TARGET __m256
add_term(const enum dk_score score, __m256 query, __m256 row, __m256 sum)
{
    if (score == DK_SCORE_DOT)
        return _mm256_fmadd_ps(query, row, sum);
    const __m256 difference = _mm256_sub_ps(query, row);
    return _mm256_fnmadd_ps(difference, difference, sum);
}

DK_INLINE TARGET float
reduce(__m256 a, __m256 b)
{
    const __m256 sum = _mm256_add_ps(a, b);
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}

/* Sums of one row with 'count' (1 .. 4, a constant) queries from 'first' on. */
DK_INLINE TARGET void
screen_row(const enum dk_score score, const size_t count, const bool prefetch,
           const struct dk_screen_f32 *args, size_t first, const float *row, const float *later,
           float out[QUERIES])
{
    const float *query = args->query + first * STEP;
    const size_t dim = args->dim;
    __m256 sum[QUERIES][VECS];

    DK_UNROLL
    for (size_t q = 0; q < count; q++)
        sum[q][0] = sum[q][1] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d += STEP, query += args->queries * STEP) {
        __m256 lo, hi;
        if (d + STEP <= dim) {
            if (prefetch)
                PREFETCH_L2(later + d);
            lo = _mm256_loadu_ps(row + d);
            hi = _mm256_loadu_ps(row + d + LANES);
        } else {
            const size_t left = dim - d, beyond = left < LANES ? 0 : left - LANES;
            lo = _mm256_maskload_ps(row + d, dk_first_lanes(left));
            hi = _mm256_maskload_ps(row + d + (beyond > 0 ? LANES : 0), dk_first_lanes(beyond));
        }
        DK_UNROLL
        for (size_t q = 0; q < count; q++) {
            sum[q][0] = add_term(score, _mm256_load_ps(query + q * STEP), lo, sum[q][0]);
            sum[q][1] = add_term(score, _mm256_load_ps(query + q * STEP + LANES), hi, sum[q][1]);
        }
    }
    DK_UNROLL
    for (size_t q = 0; q < count; q++)
        out[q] = reduce(sum[q][0], sum[q][1]);
}

DK_INLINE TARGET uint32_t
screen_body(const enum dk_score score, const struct dk_screen_f32 *args)
{
    const bool prefetch = args->queries >= PREFETCHING_QUERIES || dk_rows_lie_apart(args);
    uint32_t above = 0;

    for (size_t r = 0; r < args->count; r++) {
        const float *const row = args->row[r], *const later = args->later[r];
        float sum[DK_FEW_QUERIES];
        for (size_t q = 0; q < args->queries; q += QUERIES) {
            const bool first = prefetch && q == 0;
            switch (args->queries - q) {
            case 1: screen_row(score, 1, first, args, q, row, later, sum + q); break;
            case 2: screen_row(score, 2, first, args, q, row, later, sum + q); break;
            case 3: screen_row(score, 3, first, args, q, row, later, sum + q); break;
            default: screen_row(score, 4, first, args, q, row, later, sum + q); break;
            }
        }
        for (size_t q = 0; q < args->queries; q++)
            above |= (uint32_t)(sum[q] > args->threshold[q]) << r;
    }
    return above;
}

TARGET uint32_t
dk_screen_dot_f32_avx2(const struct dk_screen_f32 *args)
{
    return screen_body(DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_f32_avx2(const struct dk_screen_f32 *args)
{
    return screen_body(DK_SCORE_L2, args);
}
