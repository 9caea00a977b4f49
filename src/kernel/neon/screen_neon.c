/*
 * screen_neon.c - which of 16 rows may score above a threshold, for Neon
 *
 * As screen_avx512.c: rows are read as they lie. Two rows at a time against 3 queries, four
 * vectors of partial sums each: 24 accumulators, a vector of each row and one of a query. Rows
 * that will be wanted soon are prefetched with the first queries. f16 obeys the floating-point
 * mode, as the sums do: callers have set it.
 */
#include <string.h>

#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"

enum { LANES = 4, VECS = 4, STEP = DK_SCREEN_LANES, LINE = 64, ROWS = 2, QUERIES = 3 };

DK_INLINE float32x4_t
add_term(const enum dk_score score, float32x4_t sum, float32x4_t query, float32x4_t row)
{
    if (score == DK_SCORE_DOT)
        return vfmaq_f32(sum, query, row);
    const float32x4_t difference = vsubq_f32(query, row);
    return vfmsq_f32(sum, difference, difference);
}

/* 4 numbers of a row; 'kind' is a constant. */
DK_INLINE float32x4_t
load(const enum dk_row kind, const void *from)
{
    if (kind == DK_ROW_F32)
        return vld1q_f32(from);
    return dk_widen_lanes_neon(dk_half_of(kind), from);
}

/* 16 dimensions of 'rows' rows and 'count' queries, all four constants. */
DK_INLINE void
step(const enum dk_row kind, const enum dk_score score, const size_t rows, const size_t count,
     const float *query, const char *const row[ROWS], float32x4_t sum[ROWS][QUERIES][VECS])
{
    DK_UNROLL
    for (size_t v = 0; v < VECS; v++) {
        const size_t at = v * LANES;
        float32x4_t x[ROWS];
        DK_UNROLL
        for (size_t i = 0; i < rows; i++)
            x[i] = load(kind, row[i] + dk_row_bytes(kind, at));
        DK_UNROLL
        for (size_t q = 0; q < count; q++) {
            const float32x4_t y = vld1q_f32(query + q * STEP + at);
            DK_UNROLL
            for (size_t i = 0; i < rows; i++)
                sum[i][q][v] = add_term(score, sum[i][q][v], y, x[i]);
        }
    }
}

/* Sums of 'rows' (1 or 2) rows from r on with 'count' (1 .. 3) queries from 'first' on. */
DK_INLINE void
screen_rows(const enum dk_row kind, const enum dk_score score, const size_t rows,
            const size_t count, const struct dk_screen *args, size_t first, size_t r,
            float out[ROWS][DK_FEW_QUERIES])
{
    const size_t dim = args->dim, step_of_query = args->queries * STEP;
    const float *query = args->query + first * STEP;
    const char *row[ROWS], *later[ROWS];
    float32x4_t sum[ROWS][QUERIES][VECS];
    size_t d = 0;

    DK_UNROLL
    for (size_t i = 0; i < rows; i++) {
        row[i] = args->row[r + i];
        later[i] = args->later[r + i];
        DK_UNROLL
        for (size_t q = 0; q < count; q++)
            sum[i][q][0] = sum[i][q][1] = sum[i][q][2] = sum[i][q][3] = vdupq_n_f32(0);
    }
    for (; d + STEP <= dim; d += STEP, query += step_of_query) {
        DK_UNROLL
        for (size_t i = 0; i < rows; i++) {
            if (first == 0 && dk_row_bytes(kind, d) % LINE == 0)
                DK_PREFETCH_NEON(later[i] + dk_row_bytes(kind, d));
        }
        step(kind, score, rows, count, query, row, sum);
        DK_UNROLL
        for (size_t i = 0; i < rows; i++)
            row[i] += dk_row_bytes(kind, STEP);
    }
    if (d < dim) {
        _Alignas(float) char rest[ROWS][STEP * sizeof(float)] = {{0}};
        for (size_t i = 0; i < rows; i++) {
            memcpy(rest[i], row[i], dk_row_bytes(kind, dim - d));
            row[i] = rest[i];
        }
        step(kind, score, rows, count, query, row, sum);
    }
    DK_UNROLL
    for (size_t i = 0; i < rows; i++) {
        DK_UNROLL
        for (size_t q = 0; q < count; q++) {
            const float32x4_t *const s = sum[i][q];
            out[i][first + q] = vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[2]), vaddq_f32(s[1], s[3])));
        }
    }
}

/* All queries against rows r .. r + rows - 1. */
DK_INLINE uint32_t
screen_queries(const enum dk_row kind, const enum dk_score score, const size_t rows,
               const struct dk_screen *args, size_t r)
{
    float sum[ROWS][DK_FEW_QUERIES];
    uint32_t above = 0;

    for (size_t q = 0; q < args->queries; q += QUERIES) {
        switch (args->queries - q) {
        case 1: screen_rows(kind, score, rows, 1, args, q, r, sum); break;
        case 2: screen_rows(kind, score, rows, 2, args, q, r, sum); break;
        default: screen_rows(kind, score, rows, 3, args, q, r, sum); break;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t q = 0; q < args->queries; q++)
            above |= (uint32_t)(sum[i][q] > args->threshold[q]) << (r + i);
    }
    return above;
}

DK_INLINE uint32_t
screen_body(const enum dk_row kind, const enum dk_score score, const struct dk_screen *args)
{
    uint32_t above = 0;
    size_t r = 0;

    for (; r + ROWS <= args->count; r += ROWS)
        above |= screen_queries(kind, score, ROWS, args, r);
    if (r < args->count)
        above |= screen_queries(kind, score, 1, args, r);
    return above;
}

uint32_t
dk_screen_dot_f32_neon(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F32, DK_SCORE_DOT, args);
}

uint32_t
dk_screen_l2_f32_neon(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F32, DK_SCORE_L2, args);
}

uint32_t
dk_screen_dot_f16_neon(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F16, DK_SCORE_DOT, args);
}

uint32_t
dk_screen_l2_f16_neon(const struct dk_screen *args)
{
    return screen_body(DK_ROW_F16, DK_SCORE_L2, args);
}

uint32_t
dk_screen_dot_bf16_neon(const struct dk_screen *args)
{
    return screen_body(DK_ROW_BF16, DK_SCORE_DOT, args);
}

uint32_t
dk_screen_l2_bf16_neon(const struct dk_screen *args)
{
    return screen_body(DK_ROW_BF16, DK_SCORE_L2, args);
}
