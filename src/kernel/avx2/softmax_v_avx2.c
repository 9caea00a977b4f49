/*
 * softmax_v_avx2.c - weights and weighted sums for AVX2 with FMA
 *
 * 16 registers hold a tile of 6 x 16: 12 accumulators, 2 vectors of keys (or values), 1
 * broadcast. Scores go to memory, 16 columns at a time, and weights are made of them row by row:
 * with two vectors a step there is no register left to make them in place. A lane is
 * column % 8.
 *
 * Contract and method: softmax_v.h.
 */
#include <immintrin.h>
#include <math.h>

#include "kernel/avx2/kernels_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum { LANES = 8, WIDE = 16, ROWS = DK_ATTEND_ROWS, VECS = DK_PANEL / LANES };

/* One chain of scores of 16 keys: dimensions start .. end - 1, added to or stored as 'out'. */
DK_INLINE TARGET void
score_chain(const size_t rows, const struct dk_weigh *args, size_t first, size_t start, size_t end)
{
    const float *query = args->query + start;
    const size_t dim = args->dim;
    const float *panel = args->panel + start * DK_PANEL + first;
    float *const out = &args->weight[0][args->column + first];
    __m256 acc[ROWS][2];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++)
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    for (size_t d = start; d < end; d++) {
        const __m256 low = _mm256_load_ps(panel), high = _mm256_load_ps(panel + LANES);
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m256 x = _mm256_set1_ps(query[r * dim]);
            acc[r][0] = _mm256_fmadd_ps(x, low, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, high, acc[r][1]);
        }
        query++;
        panel += DK_PANEL;
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        float *const sum = out + r * DK_ATTEND_BLOCK;
        if (start != 0) {
            acc[r][0] = _mm256_add_ps(_mm256_load_ps(sum), acc[r][0]);
            acc[r][1] = _mm256_add_ps(_mm256_load_ps(sum + LANES), acc[r][1]);
        }
        _mm256_store_ps(sum, acc[r][0]);
        _mm256_store_ps(sum + LANES, acc[r][1]);
    }
}

DK_INLINE TARGET void
score_rows(const size_t rows, const struct dk_weigh *args)
{
    for (size_t first = 0; first < args->cols; first += WIDE) {
        for (size_t start = 0; start < args->dim; start += DK_CHAIN) {
            const size_t left = args->dim - start;
            score_chain(rows, args, first, start, start + (left < DK_CHAIN ? left : DK_CHAIN));
        }
    }
}

static TARGET void
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
DK_INLINE TARGET __m256
power_of_two(__m256 n)
{
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(n, _mm256_set1_ps(-127.0f)),
                                         _mm256_set1_ps(127.0f));
    return _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_add_epi32(_mm256_cvtps_epi32(clamped), _mm256_set1_epi32(127)), 23));
}

/* 2^x; 0 where x is -infinity. */
DK_INLINE TARGET __m256
exp2_of(__m256 x)
{
    const __m256 n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 f = _mm256_sub_ps(x, n);
    __m256 power = _mm256_set1_ps(DK_EXP2_C5);
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(DK_EXP2_C4));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(DK_EXP2_C3));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(DK_EXP2_C2));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(DK_EXP2_C1));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(1.0f));
    const __m256 finite = _mm256_cmp_ps(x, _mm256_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    return _mm256_and_ps(_mm256_mul_ps(power, power_of_two(n)), finite);
}

/* cap * tanh(s / cap), inverse being 1 / cap; NaN stays NaN. */
DK_INLINE TARGET __m256
cap_score(__m256 s, float cap, float inverse)
{
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    const __m256 x = _mm256_mul_ps(s, _mm256_set1_ps(inverse));
    const __m256 size = _mm256_andnot_ps(sign, x), z = _mm256_mul_ps(x, x);
    __m256 h = _mm256_set1_ps(DK_TANH_H4);
    h = _mm256_fmadd_ps(h, z, _mm256_set1_ps(DK_TANH_H3));
    h = _mm256_fmadd_ps(h, z, _mm256_set1_ps(DK_TANH_H2));
    h = _mm256_fmadd_ps(h, z, _mm256_set1_ps(DK_TANH_H1));
    h = _mm256_fmadd_ps(h, z, _mm256_set1_ps(DK_TANH_H0));
    const __m256 small = _mm256_fnmadd_ps(s, _mm256_mul_ps(z, h), s);
    const __m256 beyond = _mm256_cmp_ps(size, _mm256_set1_ps(DK_TANH_LIMIT), _CMP_GT_OQ);
    if (_mm256_movemask_ps(beyond) == 0)
        return small;

    const __m256 power = exp2_of(_mm256_min_ps(
        _mm256_mul_ps(size, _mm256_set1_ps(DK_TANH_TWO_LOG2E)), _mm256_set1_ps(DK_TANH_MOST)));
    const __m256 missing = _mm256_div_ps(_mm256_set1_ps(2 * cap), _mm256_add_ps(power, one));
    const __m256 large = _mm256_sub_ps(_mm256_set1_ps(cap), missing);
    return _mm256_blendv_ps(small, _mm256_or_ps(large, _mm256_and_ps(x, sign)), beyond);
}

/* Bits c .. c + 7 of 'keep' as lanes of ones and zeros. */
DK_INLINE TARGET __m256
lanes_of(uint64_t keep, size_t c)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i byte = _mm256_set1_epi32((int)(keep >> c & 0xff));
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(byte, bit), bit));
}

DK_INLINE TARGET float
highest_of(__m256 x)
{
    float lane[LANES], highest;

    _mm256_storeu_ps(lane, x);
    highest = lane[0];
    for (size_t i = 1; i < LANES; i++)
        highest = lane[i] > highest ? lane[i] : highest;
    return highest;
}

/* place = 2^(place - max) for 'cols' columns; returns the sums of the lanes. */
DK_INLINE TARGET __m256
weigh_row(const float *score, size_t cols, float max, float *weight)
{
    const __m256 m = _mm256_set1_ps(max);
    __m256 sum = _mm256_setzero_ps();

    for (size_t c = 0; c < cols; c += LANES) {
        const __m256 w = exp2_of(_mm256_sub_ps(_mm256_load_ps(score + c), m));
        _mm256_store_ps(weight + c, w);
        sum = _mm256_add_ps(sum, w);
    }
    return sum;
}

/* array[0 .. count - 1] *= 2^shift, shift <= 0 whole, exact; count is a multiple of 8. */
DK_INLINE TARGET void
shift_exponents(float *array, size_t count, float shift)
{
    const __m256 factor = power_of_two(_mm256_set1_ps(shift));

    for (size_t i = 0; i < count; i += LANES)
        _mm256_store_ps(array + i, _mm256_mul_ps(_mm256_load_ps(array + i), factor));
}

/* Row r, whose raw scores lie in the weight block: makes weights of them. */
DK_INLINE TARGET void
settle_row(const struct dk_weigh *args, size_t r)
{
    _Alignas(32) float score[DK_PANEL];
    float *const place = &args->weight[r][args->column];
    float *const max = &args->softmax->max[r], *const sum = args->softmax->sum[r];
    const __m256 none = _mm256_set1_ps(-INFINITY);
    const float inverse = args->softcap != 0 ? 1 / args->softcap : 0;
    __m256 most = none, nan = _mm256_setzero_ps();

    for (size_t c = 0; c < args->cols; c += LANES) {
        __m256 s = _mm256_load_ps(place + c);
        if (args->softcap != 0)
            s = cap_score(s, args->softcap, inverse);
        if (args->bias != NULL)
            s = _mm256_add_ps(s, _mm256_load_ps(&args->bias[r][c]));
        if (args->keep != NULL)
            s = _mm256_blendv_ps(none, s, lanes_of(args->keep[r], c));
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(s, s, _CMP_UNORD_Q));
        most = _mm256_max_ps(most, s);
        _mm256_store_ps(score + c, s);
    }
    const float highest = highest_of(most);

    if (_mm256_movemask_ps(nan) != 0 || highest == INFINITY || *max != *max) {
        *max = NAN;
        _mm256_store_ps(sum, _mm256_set1_ps(NAN));
    }
    if (*max != *max || highest == -INFINITY) {
        for (size_t c = 0; c < args->cols; c += LANES)
            _mm256_store_ps(place + c, _mm256_setzero_ps());
        return;
    }
    if (*max == -INFINITY)
        *max = ceilf(highest);
    __m256 lanes = weigh_row(score, args->cols, *max, place);
    const __m256 over = _mm256_cmp_ps(lanes, _mm256_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ);
    if (_mm256_movemask_ps(over) != 0) {
        const float shift = *max - ceilf(highest);
        *max = ceilf(highest);
        shift_exponents(sum, LANES, shift);
        shift_exponents(args->output + r * args->output_stride, args->output_stride, shift);
        shift_exponents(args->weight[r], args->column, shift);
        lanes = weigh_row(score, args->cols, *max, place);
    }
    _mm256_store_ps(sum, _mm256_add_ps(_mm256_load_ps(sum), lanes));
}

static TARGET void
weigh_panel(const struct dk_weigh *args)
{
    store_scores(args);
    for (size_t r = 0; r < args->rows; r++)
        settle_row(args, r);
}

TARGET void
dk_weigh_f32_avx2(const struct dk_weigh *args)
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

/* ------------------------------------------------------------------------- */
/*  Weights times values                                                     */
/* ------------------------------------------------------------------------- */

/* 16 columns; only 'count' of them exist when 'whole' is false. */
DK_INLINE TARGET void
blend_columns(const size_t rows, const bool whole, const struct dk_blend *args, const float *value,
              float *output, size_t count)
{
    const uint64_t exist = (UINT64_C(1) << count) - 1;
    const __m256i low_mask = _mm256_castps_si256(lanes_of(exist, 0));
    const __m256i high_mask = _mm256_castps_si256(lanes_of(exist, LANES));
    const size_t stride = args->value_stride, output_stride = args->output_stride;
    const float *const weight = args->weight[0];
    __m256 acc[ROWS][2];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        acc[r][0] = _mm256_load_ps(output + r * output_stride);
        acc[r][1] = _mm256_load_ps(output + r * output_stride + LANES);
    }
    value += args->first * stride;
    for (size_t k = args->first; k < args->last; k++) {
        const __m256 low = whole ? _mm256_loadu_ps(value) : _mm256_maskload_ps(value, low_mask);
        const __m256 high = whole ? _mm256_loadu_ps(value + LANES)
                                  : _mm256_maskload_ps(value + LANES, high_mask);
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m256 x = _mm256_set1_ps(weight[r * DK_ATTEND_BLOCK + k]);
            acc[r][0] = _mm256_fmadd_ps(x, low, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, high, acc[r][1]);
        }
        value += stride;
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        _mm256_store_ps(output + r * output_stride, acc[r][0]);
        _mm256_store_ps(output + r * output_stride + LANES, acc[r][1]);
    }
}

DK_INLINE TARGET void
blend_rows(const size_t rows, const struct dk_blend *args)
{
    const size_t width = args->width;
    size_t e = 0;

    for (; e + WIDE <= width; e += WIDE)
        blend_columns(rows, true, args, args->value + e, args->output + e, WIDE);
    if (e < width)
        blend_columns(rows, false, args, args->value + e, args->output + e, width - e);
}

TARGET void
dk_blend_f32_avx2(const struct dk_blend *args)
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

const struct dk_softmax_v_kernels dk_softmax_v_avx2 = {
    .name = "softmax_v_avx2",
    .weigh = dk_weigh_f32_avx2,
    .blend = dk_blend_f32_avx2,
    .flop_per_ms = 5e7,
};
