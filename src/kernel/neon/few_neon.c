/*
 * few_neon.c - scores of up to 8 queries against 16 row-major rows, for Neon
 *
 * As few_avx512.c, with two blocks of 4 x 4 at a time: 8 rows, of which 4 dimensions are turned in
 * registers. With 8 queries 16 accumulators, 8 vectors of the blocks and 4 values of a query are
 * 25 of the 32 registers.
 */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"

enum { LANES = 4, VECS = 2, ROWS = LANES * VECS };

DK_INLINE float32x4_t
add_term(const enum dk_score score, float32x4_t chain, float32x4_t rows, float query)
{
    if (score == DK_SCORE_DOT)
        return vfmaq_n_f32(chain, rows, query);
    const float32x4_t difference = vsubq_f32(rows, vdupq_n_f32(query));
    return vfmsq_f32(chain, difference, difference);
}

/* Dimensions d .. d + 3 of 8 rows. */
DK_INLINE void
add_four(const enum dk_score score, const size_t queries, const float *const *query,
         const float *const *row, size_t d, float32x4_t chain[DK_FEW_QUERIES][VECS])
{
    float32x4_t block[VECS][LANES];

    DK_UNROLL
    for (int r = 0; r < ROWS; r++)
        block[r / LANES][r % LANES] = vld1q_f32(row[r] + d);
    dk_transpose_4x4(block[0]);
    dk_transpose_4x4(block[1]);
    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        const float32x4_t x = vld1q_f32(query[q] + d);
        DK_UNROLL
        for (int i = 0; i < LANES; i++) {
            chain[q][0] = add_term(score, chain[q][0], block[0][i], x[i]);
            chain[q][1] = add_term(score, chain[q][1], block[1][i], x[i]);
        }
    }
}

/* One dimension of them. */
DK_INLINE void
add_one(const enum dk_score score, const size_t queries, const float *const *query,
        const float *const *row, size_t d, float32x4_t chain[DK_FEW_QUERIES][VECS])
{
    const float32x4_t low = {row[0][d], row[1][d], row[2][d], row[3][d]};
    const float32x4_t high = {row[4][d], row[5][d], row[6][d], row[7][d]};

    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        chain[q][0] = add_term(score, chain[q][0], low, query[q][d]);
        chain[q][1] = add_term(score, chain[q][1], high, query[q][d]);
    }
}

/* Rows first .. first + 7; 'score' and 'queries' are constants. */
DK_INLINE void
few_8(const enum dk_score score, const size_t queries, const struct dk_few_f32 *args, size_t first)
{
    const float *const *const row = args->row + first;

    for (size_t start = 0; start == 0 || start < args->dim; start += DK_CHAIN) {
        const size_t end = args->dim - start < DK_CHAIN ? args->dim : start + DK_CHAIN;
        float32x4_t chain[DK_FEW_QUERIES][VECS];
        size_t d = start;

        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            chain[q][0] = chain[q][1] = vdupq_n_f32(0);
        for (; d + LANES <= end; d += LANES)
            add_four(score, queries, args->query, row, d, chain);
        for (; d < end; d++)
            add_one(score, queries, args->query, row, d, chain);
        DK_UNROLL
        for (size_t q = 0; q < queries; q++) {
            DK_UNROLL
            for (size_t v = 0; v < VECS; v++) {
                float *const out = args->score[q] + first + v * LANES;
                if (start > 0)
                    chain[q][v] = vaddq_f32(vld1q_f32(out), chain[q][v]);
                vst1q_f32(out, chain[q][v]);
            }
        }
    }
}

DK_INLINE void
few_body(const enum dk_score score, const struct dk_few_f32 *args)
{
    for (size_t i = 0; i < args->ahead_lines; i++)
        DK_PREFETCH_NEON(args->ahead + i * 64);
    for (size_t r = 0; r < DK_FEW_ROWS; r += ROWS) {
        switch (args->queries) {
        case 1: few_8(score, 1, args, r); break;
        case 2: few_8(score, 2, args, r); break;
        case 3: few_8(score, 3, args, r); break;
        case 4: few_8(score, 4, args, r); break;
        case 5: few_8(score, 5, args, r); break;
        case 6: few_8(score, 6, args, r); break;
        case 7: few_8(score, 7, args, r); break;
        default: few_8(score, 8, args, r); break;
        }
    }
}

void
dk_few_dot_f32_neon(const struct dk_few_f32 *args)
{
    few_body(DK_SCORE_DOT, args);
}

void
dk_few_l2_f32_neon(const struct dk_few_f32 *args)
{
    few_body(DK_SCORE_L2, args);
}
