/*
 * tile_neon.c - f32 score tiles for Neon: 6 x 16 at a time
 *
 * 24 accumulators, 4 vectors of the panel and a value of a row are 29 of the 32 registers. For dot
 * a row's value is the first lane of its register, which fmla takes as it is; for l2 it fills a
 * vector. A panel of 64 columns is walked 16 columns at a time.
 *
 * Contract, layout and order of additions: kernel.h.
 */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"

enum { LANES = 4, VECS = 4, COLS = LANES * VECS, MAX_ROWS = 6 };

DK_INLINE void
step(const enum dk_score score, const size_t rows, const float *const row[MAX_ROWS], size_t d,
     const float *panel, float32x4_t chain[MAX_ROWS][VECS])
{
    float32x4_t y[VECS];

    DK_UNROLL
    for (size_t v = 0; v < VECS; v++)
        y[v] = vld1q_f32(panel + v * LANES);
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++) {
            if (score == DK_SCORE_DOT) {
                chain[r][v] = vfmaq_n_f32(chain[r][v], y[v], row[r][d]);
            } else {
                const float32x4_t difference = vsubq_f32(vdupq_n_f32(row[r][d]), y[v]);
                chain[r][v] = vfmsq_f32(chain[r][v], difference, difference);
            }
        }
    }
}

/* What is left to prefetch. */
struct ahead {
    const char *at;
    size_t lines;
};

/* 16 columns from 'panel' on, into tile[.][0 .. 15]; 'score' and 'rows' are constants. */
DK_INLINE void
columns(const enum dk_score score, const size_t rows, const struct dk_tile_f32 *args,
        const float *panel, float *tile, struct ahead *ahead)
{
    const size_t dim = args->dim;
    const float *row[MAX_ROWS];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++)
        row[r] = args->row[r];
    for (size_t start = 0; start < dim; start += DK_CHAIN) {
        const size_t end = dim - start < DK_CHAIN ? dim : start + DK_CHAIN;
        float32x4_t chain[MAX_ROWS][VECS];

        DK_UNROLL
        for (size_t r = 0; r < rows; r++)
            chain[r][0] = chain[r][1] = chain[r][2] = chain[r][3] = vdupq_n_f32(0);
        for (size_t d = start; d < end; d++) {
            if (d % 2 == 0 && ahead->lines > 0) {
                DK_PREFETCH_NEON(ahead->at);
                ahead->at += 64;
                ahead->lines--;
            }
            step(score, rows, row, d, panel + d * DK_PANEL, chain);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < VECS; v++) {
                float *const out = tile + r * DK_PANEL + v * LANES;
                if (start > 0)
                    chain[r][v] = vaddq_f32(vld1q_f32(out), chain[r][v]);
                vst1q_f32(out, chain[r][v]);
            }
        }
    }
}

/* Bit c: some row of the stored tile is above threshold[c], 16 columns. */
DK_INLINE uint64_t
columns_above(size_t rows, const float *tile, const float *threshold)
{
    uint32x4_t above[VECS];

    DK_UNROLL
    for (size_t v = 0; v < VECS; v++) {
        const float32x4_t limit = vld1q_f32(threshold + v * LANES);
        above[v] = vdupq_n_u32(0);
        for (size_t r = 0; r < rows; r++) {
            const float32x4_t score = vld1q_f32(tile + r * DK_PANEL + v * LANES);
            above[v] = vorrq_u32(above[v], vcgtq_f32(score, limit));
        }
    }
    return dk_bits_of_lanes(above);
}

DK_INLINE uint64_t
tile_body(const enum dk_score score, const size_t rows, const struct dk_tile_f32 *args)
{
    struct ahead ahead = {args->ahead, args->ahead_lines};
    uint64_t above = args->threshold == NULL ? ~UINT64_C(0) : 0;

    for (size_t c = 0; c < args->cols; c += COLS) {
        float *const tile = &args->tile[0][c];
        columns(score, rows, args, args->panel + c, tile, &ahead);
        if (args->threshold != NULL)
            above |= columns_above(rows, tile, args->threshold + c) << c;
    }
    return above;
}

#define ROWS(score)                                                                                \
    switch (args->rows) {                                                                          \
    case 1: return tile_body(score, 1, args);                                                      \
    case 2: return tile_body(score, 2, args);                                                      \
    case 3: return tile_body(score, 3, args);                                                      \
    case 4: return tile_body(score, 4, args);                                                      \
    case 5: return tile_body(score, 5, args);                                                      \
    case 6: return tile_body(score, 6, args);                                                      \
    default: __builtin_unreachable(); /* the contract's shapes are all above */                    \
    }

uint64_t
dk_tile_dot_f32_neon(const struct dk_tile_f32 *args){ROWS(DK_SCORE_DOT)}

uint64_t dk_tile_l2_f32_neon(const struct dk_tile_f32 *args)
{
    ROWS(DK_SCORE_L2)
}
