/*
 * tile_avx512.c - f32 score tiles for AVX-512: rows by broadcast, a panel by contiguous loads
 *
 * The tile is 6 x 64: 24 accumulators, 4 vectors of the panel, 1 broadcast (and for l2 one
 * difference) are 29 or 30 of the 32 registers. A step does 24 FMAs on 4 loads and 6 broadcasts,
 * 12 cycles of two FMA pipes against 5 of two load ports. FMAs with a {1to16} memory operand
 * would save 6 instructions but need 28 loads, and on a CPU with two full FMA pipes they, not
 * the FMAs, set the pace: 0.79 of peak instead of 0.97. Fewer than 64 columns take more rows,
 * to keep enough independent chains (8 of them hide the latency of 4 cycles).
 *
 * A chain is 256 dimensions; between chains the tile rests in memory. The panel of a chain is
 * 64 KiB, more than L1, so each step prefetches the panel 8 steps ahead: without that, 0.87.
 *
 * Contract, layout and order of additions: kernel.h.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f")

enum { LANES = 16, AHEAD_STEPS = 8 };

/* asm, because gcc 12 keeps only the first of several prefetches in an unrolled loop */
#define PREFETCH_L1(address) __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)(address)))
#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

/* One step: dimension d of every row times one line of the panel. */
DK_INLINE TARGET void
step(const enum dk_score score, const size_t rows, const size_t vecs,
     const float *const row[DK_TILE_ROWS], size_t d, const float *panel,
     __m512 chain[DK_TILE_ROWS][4])
{
    __m512 line[4];

    DK_UNROLL
    for (size_t v = 0; v < vecs; v++) {
        PREFETCH_L1(panel + AHEAD_STEPS * DK_PANEL + v * LANES);
        line[v] = _mm512_load_ps(panel + v * LANES);
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        const __m512 x = _mm512_set1_ps(row[r][d]);
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            if (score == DK_SCORE_DOT) {
                chain[r][v] = _mm512_fmadd_ps(x, line[v], chain[r][v]);
            } else {
                const __m512 difference = _mm512_sub_ps(x, line[v]);
                chain[r][v] = _mm512_fnmadd_ps(difference, difference, chain[r][v]);
            }
        }
    }
}

DK_INLINE TARGET void
store_tile(const size_t rows, const size_t vecs, __m512 chain[DK_TILE_ROWS][4],
           float (*tile)[DK_PANEL])
{
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            _mm512_store_ps(&tile[r][v * LANES], chain[r][v]);
    }
}

DK_INLINE TARGET void
add_tile(const size_t rows, const size_t vecs, __m512 chain[DK_TILE_ROWS][4],
         float (*tile)[DK_PANEL])
{
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            chain[r][v] = _mm512_add_ps(_mm512_load_ps(&tile[r][v * LANES]), chain[r][v]);
    }
}

/*
 * 'score', 'rows' and 'vecs' are constants at every call, so each shape is a body of its own
 * with 'chain' in registers; that is why all of this must be inlined.
 */
DK_INLINE TARGET uint64_t
tile_body(const enum dk_score score, const size_t rows, const size_t vecs,
          const struct dk_tile_f32 *args)
{
    float(*const tile)[DK_PANEL] = args->tile;
    const size_t dim = args->dim;
    const float *panel = args->panel;
    const char *ahead = args->ahead;
    const char *const ahead_end = args->ahead_lines > 0 ? ahead + args->ahead_lines * 64 : ahead;
    const float *row[DK_TILE_ROWS];
    __m512 chain[DK_TILE_ROWS][4];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++)
        row[r] = args->row[r];

    size_t start = 0;
    do {
        const size_t end = dim - start < DK_CHAIN ? dim : start + DK_CHAIN;
        size_t d = start;

        if (start > 0)
            store_tile(rows, vecs, chain, tile);
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                chain[r][v] = _mm512_setzero_ps();
        }
        for (; d + 2 <= end; d += 2) {
            if (ahead < ahead_end) {
                PREFETCH_L2(ahead);
                ahead += 64;
            }
            step(score, rows, vecs, row, d, panel, chain);
            step(score, rows, vecs, row, d + 1, panel + DK_PANEL, chain);
            panel += 2 * DK_PANEL;
        }
        if (d < end) {
            step(score, rows, vecs, row, d, panel, chain);
            panel += DK_PANEL;
        }
        if (start > 0)
            add_tile(rows, vecs, chain, tile);
        start = end;
    } while (start < dim);

    uint64_t above = ~UINT64_C(0);
    if (args->threshold != NULL) {
        above = 0;
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            const __m512 threshold = _mm512_load_ps(args->threshold + v * LANES);
            __m512 best = chain[0][v];
            DK_UNROLL
            for (size_t r = 0; r < rows; r++)
                best = _mm512_max_ps(best, chain[r][v]);
            above |= (uint64_t)_mm512_cmp_ps_mask(best, threshold, _CMP_GT_OQ) << (v * LANES);
        }
        if (__builtin_expect(above == 0, 1))
            return 0;
    }
    store_tile(rows, vecs, chain, tile);
    return above;
}

#define SHAPE(score, rows, vecs)                                                                   \
    case (vecs)*LANES + (rows):                                                                    \
        return tile_body(score, rows, vecs, args);
#define SHAPES_6(score, vecs)                                                                      \
    SHAPE(score, 1, vecs)                                                                          \
    SHAPE(score, 2, vecs)                                                                          \
    SHAPE(score, 3, vecs)                                                                          \
    SHAPE(score, 4, vecs)                                                                          \
    SHAPE(score, 5, vecs)                                                                          \
    SHAPE(score, 6, vecs)
#define SHAPES_8(score, vecs)                                                                      \
    SHAPES_6(score, vecs)                                                                          \
    SHAPE(score, 7, vecs)                                                                          \
    SHAPE(score, 8, vecs)
#define SHAPES_12(score, vecs)                                                                     \
    SHAPES_8(score, vecs)                                                                          \
    SHAPE(score, 9, vecs)                                                                          \
    SHAPE(score, 10, vecs)                                                                         \
    SHAPE(score, 11, vecs)                                                                         \
    SHAPE(score, 12, vecs)

TARGET uint64_t
dk_tile_dot_f32_avx512(const struct dk_tile_f32 *args)
{
    switch (args->cols + args->rows) {
        SHAPES_12(DK_SCORE_DOT, 1)
        SHAPES_12(DK_SCORE_DOT, 2)
        SHAPES_8(DK_SCORE_DOT, 3)
        SHAPES_6(DK_SCORE_DOT, 4)
    default: __builtin_unreachable(); /* the contract's shapes are all above */
    }
}

TARGET uint64_t
dk_tile_l2_f32_avx512(const struct dk_tile_f32 *args)
{
    switch (args->cols + args->rows) {
        SHAPES_12(DK_SCORE_L2, 1)
        SHAPES_12(DK_SCORE_L2, 2)
        SHAPES_8(DK_SCORE_L2, 3)
        SHAPES_6(DK_SCORE_L2, 4)
    default: __builtin_unreachable();
    }
}
