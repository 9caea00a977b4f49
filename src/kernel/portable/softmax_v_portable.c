/*
 * softmax_v_portable.c - weights and weighted sums in plain C
 *
 * Products are rounded before they are added (attention defines its bits for each ISA apart, and
 * without an FMA instruction an exact one costs ten times as much), and loops run over columns,
 * so that any compiler can vectorise them. A lane here is column % 16.
 *
 * Contract and method: softmax_v.h.
 */
#include <math.h>
#include <string.h>

#include "kernel/portable/kernels_portable.h"

enum { LANES = DK_ATTEND_LANES };

/* 2^x for a number x: 0 below the range of f32, infinity above. */
DK_INLINE float
exp2_of(float x)
{
    if (x < -150.0f || x > 150.0f)
        return x < 0 ? 0 : INFINITY;
    const float n = rintf(x), f = x - n;
    const float power =
        ((((DK_EXP2_C5 * f + DK_EXP2_C4) * f + DK_EXP2_C3) * f + DK_EXP2_C2) * f + DK_EXP2_C1) * f +
        1.0f;
    return ldexpf(power, (int)n);
}

/* What softcap and bias make of the scores of row r. */
static void
adjust_row(const struct dk_weigh *args, size_t r, float score[DK_PANEL])
{
    for (size_t c = 0; c < args->cols && args->softcap != 0; c++)
        score[c] = (float)(args->softcap * tanh((double)score[c] / args->softcap));
    for (size_t c = 0; c < args->cols && args->bias != NULL; c++)
        score[c] += args->bias[r][c];
}

/* score[c] for c < cols: chains of 256 dimensions in order, chain sums added in order. */
static void
score_row(const struct dk_weigh *args, size_t r, float score[DK_PANEL])
{
    for (size_t start = 0; start < args->dim; start += DK_CHAIN) {
        const size_t end = args->dim - start < DK_CHAIN ? args->dim : start + DK_CHAIN;
        float chain[DK_PANEL] = {0};
        for (size_t d = start; d < end; d++) {
            const float x = args->query[r * args->dim + d];
            const float *const keys = args->panel + d * DK_PANEL;
            for (size_t c = 0; c < args->cols; c++)
                chain[c] += x * keys[c];
        }
        for (size_t c = 0; c < args->cols; c++)
            score[c] = start == 0 ? chain[c] : score[c] + chain[c];
    }
}

/* weight[c] = 2^(score[c] - max) and their sums by lane; returns the largest of those. */
static float
weigh_row(const float score[DK_PANEL], size_t cols, float max, float weight[DK_PANEL],
          float lane[LANES])
{
    float highest = 0;

    memset(lane, 0, LANES * sizeof *lane);
    for (size_t c = 0; c < cols; c++) {
        weight[c] = exp2_of(score[c] - max);
        lane[c % LANES] += weight[c];
        highest = lane[c % LANES] > highest ? lane[c % LANES] : highest;
    }
    return highest;
}

static void
weigh_panel(const struct dk_weigh *args)
{
    for (size_t r = 0; r < args->rows; r++) {
        float score[DK_PANEL], lane[LANES], highest = -INFINITY;
        float *const max = &args->softmax->max[r], *const sum = args->softmax->sum[r];
        float *const weight = &args->weight[r][args->column];

        score_row(args, r, score);
        adjust_row(args, r, score);
        for (size_t c = 0; c < args->cols; c++) {
            if (args->keep != NULL && (args->keep[r] >> c & 1) == 0)
                score[c] = -INFINITY;
            highest = score[c] > highest || score[c] != score[c] ? score[c] : highest;
            if (highest != highest)
                break;
        }
        if (!(highest < INFINITY) || *max != *max) {
            *max = NAN;
            for (size_t l = 0; l < LANES; l++)
                sum[l] = NAN;
        }
        if (*max != *max || highest == -INFINITY) {
            memset(weight, 0, args->cols * sizeof *weight);
            continue;
        }
        if (*max == -INFINITY)
            *max = ceilf(highest);
        if (weigh_row(score, args->cols, *max, weight, lane) > DK_WEIGHT_LIMIT) {
            const float factor = exp2_of(*max - ceilf(highest));
            *max = ceilf(highest);
            for (size_t l = 0; l < LANES; l++)
                sum[l] *= factor;
            for (size_t e = 0; e < args->output_stride; e++)
                args->output[r * args->output_stride + e] *= factor;
            for (size_t c = 0; c < args->column; c++)
                args->weight[r][c] *= factor;
            (void)weigh_row(score, args->cols, *max, weight, lane);
        }
        for (size_t l = 0; l < LANES; l++)
            sum[l] += lane[l];
    }
}

void
dk_weigh_f32_portable(const struct dk_weigh *args)
{
    struct dk_weigh panel = *args;

    for (size_t i = 0; i < args->panels; i++) {
        weigh_panel(&panel);
        panel.panel += DK_PANEL * args->dim;
        panel.column += DK_PANEL;
        panel.bias += panel.bias != NULL ? DK_ATTEND_ROWS : 0;
        panel.keep += panel.keep != NULL ? DK_ATTEND_ROWS : 0;
    }
}

void
dk_blend_f32_portable(const struct dk_blend *args)
{
    for (size_t r = 0; r < args->rows; r++) {
        float *const output = args->output + r * args->output_stride;
        for (size_t k = args->first; k < args->last; k++) {
            const float weight = args->weight[r][k];
            const float *const value = args->value + k * args->value_stride;
            for (size_t e = 0; e < args->width; e++)
                output[e] += weight * value[e];
        }
    }
}

const struct dk_softmax_v_kernels dk_softmax_v_portable = {
    .name = "softmax_v_portable",
    .weigh = dk_weigh_f32_portable,
    .blend = dk_blend_f32_portable,
    .flop_per_ms = 1e7,
};
