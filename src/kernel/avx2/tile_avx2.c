/*
 * tile_avx2.c - f32 score tiles for AVX2 and FMA: 6 x 16 at a time
 *
 * 12 accumulators, 2 vectors of the panel, 1 broadcast and 1 difference (l2) are the 16
 * registers. A panel of 64 columns is walked 16 columns at a time.
 *
 * Contract, layout and order of additions: kernel.h.
 */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum { LANES = 8, VECS = 2, COLS = LANES * VECS, MAX_ROWS = 6 };

/* asm, because gcc 12 keeps only the first of several prefetches in an unrolled loop */
#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

DK_INLINE TARGET void
step(const enum dk_score score, const size_t rows, const float *const row[MAX_ROWS], size_t d,
     const float *panel, __m256 chain[MAX_ROWS][VECS])
{
    const __m256 lo = _mm256_load_ps(panel), hi = _mm256_load_ps(panel + LANES);

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        const __m256 x = _mm256_broadcast_ss(row[r] + d);
        if (score == DK_SCORE_DOT) {
            chain[r][0] = _mm256_fmadd_ps(x, lo, chain[r][0]);
            chain[r][1] = _mm256_fmadd_ps(x, hi, chain[r][1]);
        } else {
            const __m256 a = _mm256_sub_ps(x, lo);
            chain[r][0] = _mm256_fnmadd_ps(a, a, chain[r][0]);
            const __m256 b = _mm256_sub_ps(x, hi);
            chain[r][1] = _mm256_fnmadd_ps(b, b, chain[r][1]);
        }
    }
}

/* What is left to prefetch. */
struct ahead {
    const char *at;
    size_t lines;
};

/* 16 columns from 'panel' on, into tile[.][0 .. 15]; 'score' and 'rows' are constants. */
DK_INLINE TARGET void
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
        __m256 chain[MAX_ROWS][VECS];

        DK_UNROLL
        for (size_t r = 0; r < rows; r++)
            chain[r][0] = chain[r][1] = _mm256_setzero_ps();
        for (size_t d = start; d < end; d++) {
            if (d % 2 == 0 && ahead->lines > 0) {
                PREFETCH_L2(ahead->at);
                ahead->at += 64;
                ahead->lines--;
            }
            step(score, rows, row, d, panel + d * DK_PANEL, chain);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            float *const out = tile + r * DK_PANEL;
            if (start > 0) {
                chain[r][0] = _mm256_add_ps(_mm256_load_ps(out), chain[r][0]);
                chain[r][1] = _mm256_add_ps(_mm256_load_ps(out + LANES), chain[r][1]);
            }
            _mm256_store_ps(out, chain[r][0]);
            _mm256_store_ps(out + LANES, chain[r][1]);
        }
    }
}

/* Bit c: some row of the stored tile is above threshold[c], 16 columns. */
DK_INLINE TARGET uint64_t
columns_above(size_t rows, const float *tile, const float *threshold)
{
    uint64_t above = 0;

    for (size_t v = 0; v < VECS; v++) {
        __m256 best = _mm256_load_ps(tile + v * LANES);
        for (size_t r = 1; r < rows; r++)
            best = _mm256_max_ps(best, _mm256_load_ps(tile + r * DK_PANEL + v * LANES));
        const __m256 limit = _mm256_load_ps(threshold + v * LANES);
        const int mask = _mm256_movemask_ps(_mm256_cmp_ps(best, limit, _CMP_GT_OQ));
        above |= (uint64_t)(unsigned)mask << (v * LANES);
    }
    return above;
}

DK_INLINE TARGET uint64_t
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

TARGET uint64_t
dk_tile_dot_f32_avx2(const struct dk_tile_f32 *args){ROWS(DK_SCORE_DOT)}

TARGET uint64_t dk_tile_l2_f32_avx2(const struct dk_tile_f32 *args)
{
    ROWS(DK_SCORE_L2)
}
