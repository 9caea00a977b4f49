/*
 * softmax_v_neon.c - weights and weighted sums for Neon
 *
 * 32 registers hold a tile of 6 x 16: 24 accumulators, 4 vectors of keys (or values) and a value
 * of a query (or a weight), which fmla takes from the first lane. Scores go to memory, 16 columns
 * at a time, and weights are made of them row by row. A lane is column % 16.
 *
 * Contract and method: softmax_v.h.
 */
#include <math.h>

#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"

enum { LANES = 4, VECS = 4, WIDE = LANES * VECS, ROWS = DK_ATTEND_ROWS };

_Static_assert((int)WIDE == (int)DK_ATTEND_LANES, "sum[] of a row is four vectors");

/* One chain of scores of 16 keys: dimensions start .. end - 1, added to or stored as 'out'. */
DK_INLINE void
score_chain(const size_t rows, const struct dk_weigh *args, size_t first, size_t start, size_t end)
{
    const float *query = args->query + start;
    const size_t dim = args->dim;
    const float *panel = args->panel + start * DK_PANEL + first;
    float *const out = &args->weight[0][args->column + first];
    float32x4_t acc[ROWS][VECS];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++)
        acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = vdupq_n_f32(0);
    for (size_t d = start; d < end; d++, query++, panel += DK_PANEL) {
        float32x4_t y[VECS];
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++)
            y[v] = vld1q_f32(panel + v * LANES);
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < VECS; v++)
                acc[r][v] = vfmaq_n_f32(acc[r][v], y[v], query[r * dim]);
        }
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++) {
            float *const sum = out + r * DK_ATTEND_BLOCK + v * LANES;
            if (start != 0)
                acc[r][v] = vaddq_f32(vld1q_f32(sum), acc[r][v]);
            vst1q_f32(sum, acc[r][v]);
        }
    }
}

DK_INLINE void
score_rows(const size_t rows, const struct dk_weigh *args)
{
    for (size_t first = 0; first < args->cols; first += WIDE) {
        for (size_t start = 0; start < args->dim; start += DK_CHAIN) {
            const size_t left = args->dim - start;
            score_chain(rows, args, first, start, start + (left < DK_CHAIN ? left : DK_CHAIN));
        }
    }
}

static void
store_scores(const struct dk_weigh *args)
{
    switch (args->rows) {
    case 1: score_rows(1, args); break;
    case 2: score_rows(2, args); break;
    case 3: score_rows(3, args); break;
    case 4: score_rows(4, args); break;
    case 5: score_rows(5, args); break;
    default: score_rows(6, args); break;
    }
}

/* 2^n for whole n: f32 has the exponents -126 .. 127; below that 0, above it the limit trips. */
DK_INLINE float32x4_t
power_of_two(float32x4_t n)
{
    const float32x4_t clamped = vminq_f32(vmaxq_f32(n, vdupq_n_f32(-127)), vdupq_n_f32(127));
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(clamped), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23));
}

/* 2^x; 0 where x is -infinity. */
DK_INLINE float32x4_t
exp2_of(float32x4_t x)
{
    const float32x4_t n = vrndnq_f32(x), f = vsubq_f32(x, n);
    float32x4_t power = vdupq_n_f32(DK_EXP2_C5);
    power = vfmaq_f32(vdupq_n_f32(DK_EXP2_C4), power, f);
    power = vfmaq_f32(vdupq_n_f32(DK_EXP2_C3), power, f);
    power = vfmaq_f32(vdupq_n_f32(DK_EXP2_C2), power, f);
    power = vfmaq_f32(vdupq_n_f32(DK_EXP2_C1), power, f);
    power = vfmaq_f32(vdupq_n_f32(1), power, f);
    const uint32x4_t finite = vcgtq_f32(x, vdupq_n_f32(-INFINITY));
    const float32x4_t weight = vmulq_f32(power, power_of_two(n));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(weight), finite));
}

/* cap * tanh(s / cap), inverse being 1 / cap; NaN stays NaN. */
DK_INLINE float32x4_t
cap_score(float32x4_t s, float cap, float inverse)
{
    const float32x4_t x = vmulq_n_f32(s, inverse), size = vabsq_f32(x), z = vmulq_f32(x, x);
    float32x4_t h = vdupq_n_f32(DK_TANH_H4);
    h = vfmaq_f32(vdupq_n_f32(DK_TANH_H3), h, z);
    h = vfmaq_f32(vdupq_n_f32(DK_TANH_H2), h, z);
    h = vfmaq_f32(vdupq_n_f32(DK_TANH_H1), h, z);
    h = vfmaq_f32(vdupq_n_f32(DK_TANH_H0), h, z);
    const float32x4_t small = vfmsq_f32(s, s, vmulq_f32(z, h));
    const uint32x4_t beyond = vcgtq_f32(size, vdupq_n_f32(DK_TANH_LIMIT));
    if (vmaxvq_u32(beyond) == 0)
        return small;

    const float32x4_t power = exp2_of(
        vminq_f32(vmulq_n_f32(size, DK_TANH_TWO_LOG2E), vdupq_n_f32(DK_TANH_MOST)));
    const float32x4_t missing = vdivq_f32(vdupq_n_f32(2 * cap), vaddq_f32(power, vdupq_n_f32(1)));
    const float32x4_t large = vsubq_f32(vdupq_n_f32(cap), missing);
    return vbslq_f32(beyond, vbslq_f32(vdupq_n_u32(0x80000000), x, large), small);
}

/* Bits c .. c + 3 of 'keep' as lanes of ones and zeros. */
DK_INLINE uint32x4_t
lanes_of(uint64_t keep, size_t c)
{
    const uint32x4_t bit = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32((uint32_t)(keep >> c)), bit);
}

/* weight = 2^(score - max) for 'cols' columns; 'lane' receives the sums of the lanes. */
DK_INLINE void
weigh_row(const float *score, size_t cols, float max, float *weight, float32x4_t lane[VECS])
{
    const float32x4_t m = vdupq_n_f32(max);

    lane[0] = lane[1] = lane[2] = lane[3] = vdupq_n_f32(0);
    for (size_t c = 0; c < cols; c += WIDE) {
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++) {
            const size_t at = c + v * LANES;
            const float32x4_t w = exp2_of(vsubq_f32(vld1q_f32(score + at), m));
            vst1q_f32(weight + at, w);
            lane[v] = vaddq_f32(lane[v], w);
        }
    }
}

/* array[0 .. count - 1] *= 2^shift, shift <= 0 whole, exact; count is a multiple of 4. */
DK_INLINE void
shift_exponents(float *array, size_t count, float shift)
{
    const float32x4_t factor = power_of_two(vdupq_n_f32(shift));

    for (size_t i = 0; i < count; i += LANES)
        vst1q_f32(array + i, vmulq_f32(vld1q_f32(array + i), factor));
}

/* Row r, whose raw scores lie in the weight block: makes weights of them. */
DK_INLINE void
settle_row(const struct dk_weigh *args, size_t r)
{
    float score[DK_PANEL];
    float *const place = &args->weight[r][args->column];
    float *const max = &args->softmax->max[r], *const sum = args->softmax->sum[r];
    const float inverse = args->softcap != 0 ? 1 / args->softcap : 0;
    float32x4_t most = vdupq_n_f32(-INFINITY), lane[VECS];

    for (size_t c = 0; c < args->cols; c += LANES) {
        float32x4_t s = vld1q_f32(place + c);
        if (args->softcap != 0)
            s = cap_score(s, args->softcap, inverse);
        if (args->bias != NULL)
            s = vaddq_f32(s, vld1q_f32(&args->bias[r][c]));
        if (args->keep != NULL)
            s = vbslq_f32(lanes_of(args->keep[r], c), s, vdupq_n_f32(-INFINITY));
        most = vmaxq_f32(most, s); /* NaN if either is */
        vst1q_f32(score + c, s);
    }
    const float highest = vmaxvq_f32(most);

    if (!(highest < INFINITY) || *max != *max) {
        *max = NAN;
        for (size_t v = 0; v < VECS; v++)
            vst1q_f32(sum + v * LANES, vdupq_n_f32(NAN));
    }
    if (*max != *max || highest == -INFINITY) {
        for (size_t c = 0; c < args->cols; c += LANES)
            vst1q_f32(place + c, vdupq_n_f32(0));
        return;
    }
    if (*max == -INFINITY)
        *max = ceilf(highest);
    weigh_row(score, args->cols, *max, place, lane);
    const float32x4_t largest = vmaxq_f32(vmaxq_f32(lane[0], lane[1]), vmaxq_f32(lane[2], lane[3]));
    if (!(vmaxvq_f32(largest) <= DK_WEIGHT_LIMIT)) {
        const float shift = *max - ceilf(highest);
        *max = ceilf(highest);
        shift_exponents(sum, WIDE, shift);
        shift_exponents(args->output + r * args->output_stride, args->output_stride, shift);
        shift_exponents(args->weight[r], args->column, shift);
        weigh_row(score, args->cols, *max, place, lane);
    }
    for (size_t v = 0; v < VECS; v++)
        vst1q_f32(sum + v * LANES, vaddq_f32(vld1q_f32(sum + v * LANES), lane[v]));
}

void
dk_weigh_f32_neon(const struct dk_weigh *args)
{
    struct dk_weigh panel = *args;

    for (size_t i = 0; i < args->panels; i++) {
        store_scores(&panel);
        for (size_t r = 0; r < args->rows; r++)
            settle_row(&panel, r);
        panel.panel += DK_PANEL * args->dim;
        panel.column += DK_PANEL;
        panel.bias += panel.bias != NULL ? DK_ATTEND_ROWS : 0;
        panel.keep += panel.keep != NULL ? DK_ATTEND_ROWS : 0;
    }
}

/* ------------------------------------------------------------------------- */
/*  Weights times values                                                     */
/* ------------------------------------------------------------------------- */

/* 16 columns; only 'count' of them exist when 'whole' is false. */
DK_INLINE void
blend_columns(const size_t rows, const bool whole, const struct dk_blend *args, const float *value,
              float *output, size_t count)
{
    const size_t stride = args->value_stride, output_stride = args->output_stride;
    const float *const weight = args->weight[0];
    float32x4_t acc[ROWS][VECS];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++)
            acc[r][v] = vld1q_f32(output + r * output_stride + v * LANES);
    }
    value += args->first * stride;
    for (size_t k = args->first; k < args->last; k++, value += stride) {
        float32x4_t y[VECS];
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++) {
            const size_t at = v * LANES;
            y[v] = whole ? vld1q_f32(value + at)
                         : dk_load_first_neon(value + at, count > at ? count - at : 0);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < VECS; v++)
                acc[r][v] = vfmaq_n_f32(acc[r][v], y[v], weight[r * DK_ATTEND_BLOCK + k]);
        }
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++)
            vst1q_f32(output + r * output_stride + v * LANES, acc[r][v]);
    }
}

DK_INLINE void
blend_rows(const size_t rows, const struct dk_blend *args)
{
    const size_t width = args->width;
    size_t e = 0;

    for (; e + WIDE <= width; e += WIDE)
        blend_columns(rows, true, args, args->value + e, args->output + e, WIDE);
    if (e < width)
        blend_columns(rows, false, args, args->value + e, args->output + e, width - e);
}

void
dk_blend_f32_neon(const struct dk_blend *args)
{
    switch (args->rows) {
    case 1: blend_rows(1, args); break;
    case 2: blend_rows(2, args); break;
    case 3: blend_rows(3, args); break;
    case 4: blend_rows(4, args); break;
    case 5: blend_rows(5, args); break;
    default: blend_rows(6, args); break;
    }
}

const struct dk_softmax_v_kernels dk_softmax_v_neon = {
    .name = "softmax_v_neon",
    .weigh = dk_weigh_f32_neon,
    .blend = dk_blend_f32_neon,
    .flop_per_ms = 3e7,
};
