/*
 * scores_portable.c - the definition of a score's bits, in plain C
 *
 * Contract, layout and order of additions: kernel.h. Loops run over columns inside dimensions,
 * so that the compiler can vectorise across columns without touching the order of any sum.
 */
#include "kernel/half.h"
#include "kernel/kernel.h"
#include "kernel/portable/fma_portable.h"
#include "kernel/portable/kernels_portable.h"

/* One more dimension of a chain. */
DK_INLINE float
step(enum dk_score score, float chain, float row, float other)
{
    if (score == DK_SCORE_DOT)
        return dk_fma_portable(row, other, chain);
    const float difference = row - other;
    return dk_fma_portable(-difference, difference, chain);
}

/* Scores of one row against 'cols' panel columns. */
DK_INLINE void
score_row(enum dk_score score, const float *row, size_t dim, const float *panel, size_t cols,
          float *out)
{
    for (size_t c = 0; c < cols; c++)
        out[c] = 0;
    for (size_t start = 0; start < dim; start += DK_CHAIN) {
        const size_t end = dim - start < DK_CHAIN ? dim : start + DK_CHAIN;
        float chain[DK_PANEL] = {0};
        for (size_t d = start; d < end; d++) {
            const float x = row[d];
            const float *const step_of_panel = panel + d * DK_PANEL;
            for (size_t c = 0; c < cols; c++)
                chain[c] = step(score, chain[c], x, step_of_panel[c]);
        }
        for (size_t c = 0; c < cols; c++)
            out[c] = start == 0 ? chain[c] : out[c] + chain[c];
    }
}

DK_INLINE uint64_t
tile(enum dk_score score, const struct dk_tile_f32 *args)
{
    uint64_t above = args->threshold == NULL ? ~UINT64_C(0) : 0;

    for (size_t r = 0; r < args->rows; r++) {
        float *const out = args->tile[r];
        score_row(score, args->row[r], args->dim, args->panel, args->cols, out);
        if (args->threshold != NULL) {
            for (size_t c = 0; c < args->cols; c++)
                above |= (uint64_t)(out[c] > args->threshold[c]) << c;
        }
    }
    return above;
}

uint64_t
dk_tile_dot_f32_portable(const struct dk_tile_f32 *args)
{
    return tile(DK_SCORE_DOT, args);
}

uint64_t
dk_tile_l2_f32_portable(const struct dk_tile_f32 *args)
{
    return tile(DK_SCORE_L2, args);
}

DK_INLINE void
few(enum dk_score score, const struct dk_few_f32 *args)
{
    for (size_t q = 0; q < args->queries; q++) {
        float *const out = args->score[q];
        for (size_t start = 0; start == 0 || start < args->dim; start += DK_CHAIN) {
            const size_t end = args->dim - start < DK_CHAIN ? args->dim : start + DK_CHAIN;
            float chain[DK_FEW_ROWS] = {0};
            for (size_t d = start; d < end; d++) {
                const float x = args->query[q][d];
                for (size_t r = 0; r < DK_FEW_ROWS; r++)
                    chain[r] = step(score, chain[r], args->row[r][d], x);
            }
            for (size_t r = 0; r < DK_FEW_ROWS; r++)
                out[r] = start == 0 ? chain[r] : out[r] + chain[r];
        }
    }
}

void
dk_few_dot_f32_portable(const struct dk_few_f32 *args)
{
    few(DK_SCORE_DOT, args);
}

void
dk_few_l2_f32_portable(const struct dk_few_f32 *args)
{
    few(DK_SCORE_L2, args);
}

DK_INLINE float
element(enum dk_row kind, const void *row, size_t d)
{
    switch (kind) {
    case DK_ROW_F16: return dk_f16_to_f32(((const uint16_t *)row)[d]);
    case DK_ROW_BF16: return dk_bf16_to_f32(((const uint16_t *)row)[d]);
    default: return ((const float *)row)[d];
    }
}

/* 16 partial sums, products rounded: no fused operation has to be imitated. */
DK_INLINE float
screen_sum(enum dk_row kind, enum dk_score score, const float *query, size_t step_of_query,
           const void *row, size_t dim)
{
    float sum[DK_SCREEN_LANES] = {0};

    for (size_t d = 0; d < dim; d += DK_SCREEN_LANES, query += step_of_query) {
        const size_t lanes = dim - d < DK_SCREEN_LANES ? dim - d : DK_SCREEN_LANES;
        for (size_t i = 0; i < lanes; i++) {
            const float x = element(kind, row, d + i), difference = query[i] - x;
            sum[i] += score == DK_SCORE_DOT ? query[i] * x : -difference * difference;
        }
    }
    for (size_t half = DK_SCREEN_LANES / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++)
            sum[i] += sum[i + half];
    }
    return sum[0];
}

DK_INLINE uint32_t
screen(enum dk_row kind, enum dk_score score, const struct dk_screen *args)
{
    const size_t step_of_query = args->queries * DK_SCREEN_LANES;
    uint32_t above = 0;

    for (size_t r = 0; r < args->count; r++) {
        for (size_t q = 0; q < args->queries; q++) {
            const float sum = screen_sum(kind, score, args->query + q * DK_SCREEN_LANES,
                                         step_of_query, args->row[r], args->dim);
            above |= (uint32_t)(sum > args->threshold[q]) << r;
        }
    }
    return above;
}

uint32_t
dk_screen_dot_f32_portable(const struct dk_screen *args)
{
    return screen(DK_ROW_F32, DK_SCORE_DOT, args);
}

uint32_t
dk_screen_l2_f32_portable(const struct dk_screen *args)
{
    return screen(DK_ROW_F32, DK_SCORE_L2, args);
}

uint32_t
dk_screen_dot_f16_portable(const struct dk_screen *args)
{
    return screen(DK_ROW_F16, DK_SCORE_DOT, args);
}

uint32_t
dk_screen_l2_f16_portable(const struct dk_screen *args)
{
    return screen(DK_ROW_F16, DK_SCORE_L2, args);
}

uint32_t
dk_screen_dot_bf16_portable(const struct dk_screen *args)
{
    return screen(DK_ROW_BF16, DK_SCORE_DOT, args);
}

uint32_t
dk_screen_l2_bf16_portable(const struct dk_screen *args)
{
    return screen(DK_ROW_BF16, DK_SCORE_L2, args);
}

void
dk_pack_f32_portable(const float *rows, size_t stride, size_t count, size_t dim, float factor,
                     float *panel)
{
    for (size_t d = 0; d < dim; d++) {
        for (size_t c = 0; c < DK_PANEL; c++)
            panel[d * DK_PANEL + c] = c < count ? rows[c * stride + d] * factor : 0;
    }
}

void
dk_scale_f32_portable(const float *from, size_t count, float factor, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = from[i] * factor + 0.0f;
}
