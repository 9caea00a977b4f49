/*
 * gradient_portable.c - attention backwards in plain C
 *
 * Products are rounded before they are added, as in softmax_v_portable.c, and loops run over
 * columns, so that any compiler can vectorise them. Methods and contracts: gradient.h.
 */
#include <math.h>
#include <string.h>

#include "kernel/portable/kernels_portable.h"

enum { STRIDE = DK_GRADIENT_STRIDE };

uint64_t
dk_gradient_tile_f32_portable(const struct dk_tile_f32 *args)
{
    for (size_t r = 0; r < args->rows; r++) {
        float *const score = args->tile[r];
        for (size_t start = 0; start < args->dim; start += DK_CHAIN) {
            const size_t end = args->dim - start < DK_CHAIN ? args->dim : start + DK_CHAIN;
            float chain[DK_PANEL] = {0};
            for (size_t d = start; d < end; d++) {
                const float x = args->row[r][d];
                const float *const line = args->panel + d * DK_PANEL;
                for (size_t c = 0; c < args->cols; c++)
                    chain[c] += x * line[c];
            }
            for (size_t c = 0; c < args->cols; c++)
                score[c] = start == 0 ? chain[c] : score[c] + chain[c];
        }
    }
    return ~UINT64_C(0);
}

/* 2^x: 0 below the range of normal numbers, infinity above; NaN stays NaN. */
static float
exp2_of(float x)
{
    if (x < -126.5f || x > 127.5f)
        return x < 0 ? 0 : INFINITY;
    const float n = rintf(x), f = x - n;
    const float power =
        ((((DK_EXP2_C5 * f + DK_EXP2_C4) * f + DK_EXP2_C3) * f + DK_EXP2_C2) * f + DK_EXP2_C1) * f +
        1.0f;
    return x == x ? ldexpf(power, (int)n) : x;
}

static void
cell(const struct dk_gradient_cells *args, size_t r, size_t c)
{
    float s = args->score[r][c], d = args->product[r][c], slope = 1;

    if (args->softcap != 0) {
        const double tanh_of = tanh((double)s / args->softcap);
        s = (float)(args->softcap * tanh_of);
        slope = args->uncapped ? 1 : (float)(1 - tanh_of * tanh_of);
    }
    if (args->bias != NULL)
        s += args->bias[r][c];
    const float p = exp2_of(s - args->lse[r]);
    float weight = p;
    if (args->stay != NULL) {
        const bool stays = (args->stay[r] >> c & 1) != 0;
        weight = stays ? p * args->boost : 0;
        d = stays ? d * args->boost : 0;
    }
    args->weight[r][c] = weight;
    args->gradient[r][c] = p * (d - args->delta[r]) * slope;
}

void
dk_gradient_cells_f32_portable(const struct dk_gradient_cells *args)
{
    for (size_t r = 0; r < args->rows; r++) {
        memset(args->weight[r], 0, DK_PANEL * sizeof(float));
        memset(args->gradient[r], 0, DK_PANEL * sizeof(float));
        for (size_t c = 0; c < args->cols; c++) {
            if (args->keep == NULL || (args->keep[r] >> c & 1) != 0)
                cell(args, r, c);
        }
    }
}

void
dk_gradient_sum_f32_portable(const struct dk_gradient_sum *args)
{
    for (size_t r = 0; r < args->rows; r++) {
        float *const output = args->output[r];
        for (size_t e = 0; e < args->width; e += DK_PANEL) {
            const size_t count = args->width - e < DK_PANEL ? args->width - e : DK_PANEL;
            float sum[DK_PANEL] = {0};
            for (size_t k = 0; k < args->count; k++) {
                const float x = args->weight[args->down ? k * STRIDE + r : r * STRIDE + k];
                const float *const value = args->value + k * args->value_stride + e;
                for (size_t i = 0; i < count; i++)
                    sum[i] += x * value[i];
            }
            for (size_t i = 0; i < count; i++)
                output[e + i] += args->factor * sum[i];
        }
    }
}

const struct dk_gradient_kernels dk_gradient_portable = {
    .name = "gradient_portable",
    .pairs = false,
    .tile = dk_gradient_tile_f32_portable,
    .cells = dk_gradient_cells_f32_portable,
    .sum = dk_gradient_sum_f32_portable,
    .flop_per_ms = 1e7,
};
