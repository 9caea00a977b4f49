/*
 * gradient_avx512bf16.c - attention backwards over bf16: tiles, cells and sums of pairs
 *
 * As those of f32 with vdpbf16ps, which multiplies twice as much, in the place of FMAs. That and
 * the rounding of pairs are asm: gcc 12 copies registers around the intrinsics.
 */
#include <immintrin.h>

#include "kernel/avx512bf16/kernels_avx512bf16.h"

#define TARGET                  DK_TARGET("avx512f,avx512bw,avx512dq")
#define SUM_WORDS(x, line, sum) __asm__("vdpbf16ps %1, %2, %0" : "+v"(sum) : "v"(x), "v"(line))
#include "kernel/gradient_avx512_body.h"

/* ------------------------------------------------------------------------- */
/*  Tiles                                                                    */
/* ------------------------------------------------------------------------- */

DK_INLINE TARGET void
tile_words(const size_t rows, const size_t vecs, const struct dk_tile_f32 *args)
{
    const float *panel = args->panel, *row[ROWS];
    vec sum[ROWS][VECS];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        row[r] = args->row[r];
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            sum[r][v] = vec_set(0);
    }
    for (size_t d = 0; d < args->dim; d++, panel += DK_PANEL) {
        vec line[VECS];
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            line[v] = vec_load(panel + v * VEC_LANES);
            vec_prefetch(panel + AHEAD_STEPS * DK_PANEL + v * VEC_LANES);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const vec x = vec_set(row[r][d]);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                SUM_WORDS(x, line[v], sum[r][v]);
        }
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            vec_store(&args->tile[r][v * VEC_LANES], sum[r][v]);
    }
}

#define TILE_OF(rows)                                                                              \
    static TARGET void tile_##rows(const struct dk_tile_f32 *args)                                 \
    {                                                                                              \
        switch (args->cols / VEC_LANES) {                                                          \
        case 1: tile_words(rows, 1, args); break;                                                  \
        case 2: tile_words(rows, 2, args); break;                                                  \
        case 3: tile_words(rows, 3, args); break;                                                  \
        default: tile_words(rows, 4, args); break;                                                 \
        }                                                                                          \
    }

TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)
TILE_OF(5)
TILE_OF(6)

static void (*const tile_of[ROWS + 1])(const struct dk_tile_f32 *args) = {
    NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};

/* ------------------------------------------------------------------------- */
/*  Cells                                                                    */
/* ------------------------------------------------------------------------- */

/* 32 numbers rounded to bf16, in order. */
DK_INLINE TARGET __m512i
rounded(vec low, vec high)
{
    __m512i both;
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(low), "v"(high));
    return both;
}

/* Words of what stands in the same lanes. */
DK_INLINE TARGET vec
paired(vec first, vec second)
{
    const __m512i order = _mm512_or_si512(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        _mm512_slli_epi32(
            _mm512_setr_epi32(16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31), 16));
    return _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, rounded(first, second)));
}

/* Rows r and r + 1 ('rows' of them exist), columns c .. c + 31. */
DK_INLINE TARGET void
cells_32(const bool plain, const struct dk_gradient_cells *args, size_t r, const size_t rows,
         size_t c)
{
    struct cell cell[2][2];

    DK_UNROLL
    for (size_t i = 0; i < 2; i++) {
        DK_UNROLL
        for (size_t h = 0; h < 2; h++) {
            cell[i][h] = (struct cell){vec_set(0), vec_set(0)};
            if (i < rows && c + h * VEC_LANES < args->cols)
                cell[i][h] = cells_at(plain, true, args, r + i, c + h * VEC_LANES);
            if (i < rows && args->exact != NULL)
                vec_store(&args->exact[r + i][c + h * VEC_LANES], cell[i][h].gradient);
        }
        if (i < rows)
            vec_store(&args->across[r + i][c / 2],
                      _mm512_castsi512_ps(rounded(cell[i][0].gradient, cell[i][1].gradient)));
    }
    DK_UNROLL
    for (size_t h = 0; h < 2; h++) {
        const size_t at = c + h * VEC_LANES;
        vec_store(&args->weight[r / 2][at], paired(cell[0][h].weight, cell[1][h].weight));
        vec_store(&args->gradient[r / 2][at], paired(cell[0][h].gradient, cell[1][h].gradient));
    }
}

DK_INLINE TARGET void
cells_pairs(const bool plain, const struct dk_gradient_cells *args)
{
    size_t r = 0;

    for (; r + 2 <= args->rows; r += 2) {
        for (size_t c = 0; c < DK_PANEL; c += 2 * VEC_LANES)
            cells_32(plain, args, r, 2, c);
    }
    for (size_t c = 0; r < args->rows && c < DK_PANEL; c += 2 * VEC_LANES)
        cells_32(plain, args, r, 1, c);
}

TARGET uint64_t
dk_gradient_tile_bf16_avx512bf16(const struct dk_tile_f32 *args)
{
    tile_of[args->rows](args);
    return ~UINT64_C(0);
}

TARGET void
dk_gradient_cells_bf16_avx512bf16(const struct dk_gradient_cells *args)
{
    if (is_plain(args))
        cells_pairs(true, args);
    else
        cells_pairs(false, args);
}

TARGET void
dk_gradient_sum_bf16_avx512bf16(const struct dk_gradient_sum *args)
{
    sum_of[args->rows](args);
}

const struct dk_gradient_kernels dk_gradient_avx512bf16 = {
    .name = "gradient_avx512bf16",
    .pairs = true,
    .tile = dk_gradient_tile_bf16_avx512bf16,
    .cells = dk_gradient_cells_bf16_avx512bf16,
    .sum = dk_gradient_sum_bf16_avx512bf16,
    .flop_per_ms = 1.8e8,
};
