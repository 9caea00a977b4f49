/*
 * screen_avx2.c - which of 16 rows may score above a threshold, for AVX2 and FMA
 *
 * As screen_avx512.c: rows are read as they lie. One row at a time against 4 queries, two
 * vectors of partial sums each: 8 accumulators, 2 of the row. Prefetched as there, with the first 4
 * queries; halves for one or two queries, too, which then take 0.55 to 0.68 of f32's time instead
 * of 0.65 to 1.1.
 */
#include <immintrin.h>

#include "kernel/avx2/half_avx2.h"
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx2/transpose_avx2.h"

#define TARGET DK_TARGET("avx2,fma,f16c")

enum {
    LANES = 8,
    VECS = 2,
    STEP = DK_SCREEN_LANES,
    LINE = 64,
    QUERIES = 4,
    PREFETCHING_QUERIES = 3
};

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

/* 16 numbers of a row, or the first of them, the others zeros; 'kind' is a constant. */
DK_INLINE TARGET void
load(const enum dk_row kind, const void *from, __m256 x[VECS])
{
    DK_UNROLL
    for (size_t v = 0; v < VECS; v++) {
        const size_t at = v * LANES;
        x[v] = kind == DK_ROW_F32
                   ? _mm256_loadu_ps((const float *)from + at)
                   : dk_widen_lanes_avx2(dk_half_of(kind), (const uint16_t *)from + at);
    }
}

DK_INLINE TARGET void
load_first(const enum dk_row kind, const void *from, size_t count, __m256 x[VECS])
{
    uint16_t halves[STEP] = {0};

    if (kind == DK_ROW_F32) {
        const size_t beyond = count < LANES ? 0 : count - LANES;
        const float *const next = (const float *)from + (beyond > 0 ? LANES : 0);
        x[0] = _mm256_maskload_ps(from, dk_first_lanes(count));
        x[1] = _mm256_maskload_ps(next, dk_first_lanes(beyond));
        return;
    }
    for (size_t i = 0; i < count; i++)
        halves[i] = ((const uint16_t *)from)[i];
    load(kind, halves, x);
}

/* Sums of one row with 'count' (1 .. 4, a constant) queries from 'first' on. */
DK_INLINE TARGET void
screen_row(const enum dk_row kind, const enum dk_score score, const size_t count,
           const bool prefetch, const struct dk_screen *args, size_t first, const char *row,
           const char *later, float out[QUERIES])
{
    const float *query = args->query + first * STEP;
    const size_t dim = args->dim;
    __m256 sum[QUERIES][VECS];

    DK_UNROLL
    for (size_t q = 0; q < count; q++)
        sum[q][0] = sum[q][1] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d += STEP, query += args->queries * STEP) {
        const size_t at = dk_row_bytes(kind, d);
        __m256 x[VECS];
        if (prefetch && at % LINE == 0)
            PREFETCH_L2(later + at);
        if (d + STEP <= dim)
            load(kind, row + at, x);
        else
            load_first(kind, row + at, dim - d, x);
        DK_UNROLL
        for (size_t q = 0; q < count; q++) {
            sum[q][0] = add_term(score, _mm256_load_ps(query + q * STEP), x[0], sum[q][0]);
            sum[q][1] = add_term(score, _mm256_load_ps(query + q * STEP + LANES), x[1], sum[q][1]);
        }
    }
    DK_UNROLL
    for (size_t q = 0; q < count; q++)
        out[q] = reduce(sum[q][0], sum[q][1]);
}

DK_INLINE TARGET uint32_t
screen_body(const enum dk_row kind, const enum dk_score score, const struct dk_screen *args)
{
    const bool prefetch = kind != DK_ROW_F32 || args->queries >= PREFETCHING_QUERIES ||
                          dk_rows_lie_apart(kind, args);
    uint32_t above = 0;

    for (size_t r = 0; r < args->count; r++) {
        const char *const row = args->row[r], *const later = args->later[r];
        float sum[DK_FEW_QUERIES];
        for (size_t q = 0; q < args->queries; q += QUERIES) {
            const bool first = prefetch && q == 0;
            switch (args->queries - q) {
            case 1: screen_row(kind, score, 1, first, args, q, row, later, sum + q); break;
            case 2: screen_row(kind, score, 2, first, args, q, row, later, sum + q); break;
            case 3: screen_row(kind, score, 3, first, args, q, row, later, sum + q); break;
            default: screen_row(kind, score, 4, first, args, q, row, later, sum + q); break;
            }
        }
        for (size_t q = 0; q < args->queries; q++)
            above |= (uint32_t)(sum[q] > args->threshold[q]) << r;
    }
    return above;
}

TARGET uint32_t
dk_screen_dot_f32_avx2(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F32, DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_f32_avx2(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F32, DK_SCORE_L2, args);
}

TARGET uint32_t
dk_screen_dot_f16_avx2(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F16, DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_f16_avx2(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F16, DK_SCORE_L2, args);
}

TARGET uint32_t
dk_screen_dot_bf16_avx2(const struct dk_screen *args)
{
    return screen_body(DK_ROW_BF16, DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_bf16_avx2(const struct dk_screen *args)
{
    return screen_body(DK_ROW_BF16, DK_SCORE_L2, args);
}
