/*
 * softmax_v_avx512.c - weights and weighted sums for AVX-512
 *
 * Scores: 6 queries by broadcast, 64 keys as 4 vectors of a panel, 24 accumulators (as in
 * tile_avx512.c). Weights are computed from the accumulators where they stand, without storing
 * scores. Sums of values: 6 weights by broadcast, 64 columns of a row of values.
 *
 * The fast way takes full tiles whose rows have all seen something and need no mask. It finds
 * out afterwards, from the sums of the weights, whether some row's m had to move (an overflow
 * comes out of vscalefps as infinity, a NaN stays one), and then everything that is not ordinary
 * goes the slow way: scores to memory, then row by row. That costs the scores again but happens
 * to a tile hardly more than once in 1,024 keys, and it spares a search for the maximum.
 *
 * Contract and method: softmax_v.h.
 */
#include <immintrin.h>
#include <math.h>

#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f,avx512vl,avx512dq")

enum { LANES = 16, ROWS = DK_ATTEND_ROWS, AHEAD_STEPS = 8 };

/* asm: see tile_avx512.c */
#define PREFETCH_L1(address) __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)(address)))

/* 2^x; x = -infinity gives NaN, which sends its tile the slow way. */
DK_INLINE TARGET __m512
exp2_of(__m512 x)
{
    const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, n);
    __m512 power = _mm512_set1_ps(DK_EXP2_C5);
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(DK_EXP2_C4));
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(DK_EXP2_C3));
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(DK_EXP2_C2));
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(DK_EXP2_C1));
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(power, n);
}

/* acc = the sums of one chain: dimensions start .. end - 1. */
DK_INLINE TARGET void
score_chain(const size_t rows, const size_t vecs, const struct dk_weigh *args, size_t start,
            size_t end, __m512 acc[ROWS][4])
{
    const float *query = args->query + start;
    const float *panel = args->panel + start * DK_PANEL;
    const size_t dim = args->dim;

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            acc[r][v] = _mm512_setzero_ps();
    }
    for (size_t d = start; d < end; d++) {
        __m512 keys[4];
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            keys[v] = _mm512_load_ps(panel + v * LANES);
            PREFETCH_L1(panel + AHEAD_STEPS * DK_PANEL + v * LANES);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(query[r * dim]);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                acc[r][v] = _mm512_fmadd_ps(x, keys[v], acc[r][v]);
        }
        query++;
        panel += DK_PANEL;
    }
}

/* acc = scores; the weight block holds the sums of earlier chains meanwhile. */
DK_INLINE TARGET void
score_tile(const size_t rows, const size_t vecs, const struct dk_weigh *args, __m512 acc[ROWS][4])
{
    float *const rest = &args->weight[0][args->column];
    size_t start = 0;

    for (; args->dim - start > DK_CHAIN; start += DK_CHAIN) {
        score_chain(rows, vecs, args, start, start + DK_CHAIN, acc);
        for (size_t r = 0; r < rows; r++) {
            for (size_t v = 0; v < vecs; v++) {
                float *const sum = rest + r * DK_ATTEND_BLOCK + v * LANES;
                _mm512_store_ps(sum, start == 0 ? acc[r][v]
                                                : _mm512_add_ps(_mm512_load_ps(sum), acc[r][v]));
            }
        }
    }
    score_chain(rows, vecs, args, start, args->dim, acc);
    if (start != 0) {
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                acc[r][v] = _mm512_add_ps(_mm512_load_ps(rest + r * DK_ATTEND_BLOCK + v * LANES),
                                          acc[r][v]);
        }
    }
}

/* ------------------------------------------------------------------------- */
/*  The slow way                                                             */
/* ------------------------------------------------------------------------- */

/* Instances of score_tile() that end in memory, by rows and vectors. */
#define STORE_SCORES(rows, vecs)                                                                   \
    static TARGET void store_scores_##rows##_##vecs(const struct dk_weigh *args)                   \
    {                                                                                              \
        __m512 acc[ROWS][4];                                                                       \
        score_tile(rows, vecs, args, acc);                                                         \
        DK_UNROLL                                                                                  \
        for (size_t r = 0; r < rows; r++) {                                                        \
            DK_UNROLL                                                                              \
            for (size_t v = 0; v < vecs; v++)                                                      \
                _mm512_store_ps(&args->weight[r][args->column + v * LANES], acc[r][v]);            \
        }                                                                                          \
    }
#define STORE_SCORES_OF(rows)                                                                      \
    STORE_SCORES(rows, 1) STORE_SCORES(rows, 2) STORE_SCORES(rows, 3) STORE_SCORES(rows, 4)
#define NAMES_OF(rows)                                                                             \
    {                                                                                              \
        store_scores_##rows##_1, store_scores_##rows##_2, store_scores_##rows##_3,                 \
            store_scores_##rows##_4                                                                \
    }

STORE_SCORES_OF(1)
STORE_SCORES_OF(2)
STORE_SCORES_OF(3)
STORE_SCORES_OF(4)
STORE_SCORES_OF(5)
STORE_SCORES_OF(6)

static void (*const store_scores[ROWS][4])(const struct dk_weigh *args) = {
    NAMES_OF(1), NAMES_OF(2), NAMES_OF(3), NAMES_OF(4), NAMES_OF(5), NAMES_OF(6)};

/* array[0 .. count - 1] *= 2^shift, which is exact; count is a multiple of 16. */
DK_INLINE TARGET void
shift_exponents(float *array, size_t count, __m512 shift)
{
    for (size_t i = 0; i < count; i += LANES)
        _mm512_store_ps(array + i, _mm512_scalef_ps(_mm512_load_ps(array + i), shift));
}

/* weight = 2^(score - max), 0 for a score of -infinity; returns the sums of the lanes. */
DK_INLINE TARGET __m512
weigh_row(const __m512 score[4], float max, __m512 weight[4])
{
    const __m512 m = _mm512_set1_ps(max), none = _mm512_set1_ps(-INFINITY);

    DK_UNROLL
    for (size_t v = 0; v < 4; v++) {
        const __m512 x = _mm512_sub_ps(score[v], m);
        weight[v] = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, none, _CMP_NEQ_UQ), exp2_of(x));
    }
    return _mm512_add_ps(_mm512_add_ps(weight[0], weight[1]), _mm512_add_ps(weight[2], weight[3]));
}

/* Row r, whose scores lie in the weight block: masks them and makes weights of them. */
DK_INLINE TARGET void
settle_row(const struct dk_weigh *args, size_t r)
{
    float *const place = &args->weight[r][args->column];
    float *const max = &args->softmax->max[r], *const sum = args->softmax->sum[r];
    const uint64_t keep = args->keep != NULL ? args->keep[r] : ~UINT64_C(0);
    const __m512 none = _mm512_set1_ps(-INFINITY);
    const size_t vecs = args->cols / LANES;
    __m512 score[4] = {none, none, none, none}, weight[4];
    __mmask16 nan = 0;

    for (size_t v = 0; v < vecs; v++) {
        score[v] = _mm512_mask_load_ps(none, (__mmask16)(keep >> v * LANES), place + v * LANES);
        nan |= _mm512_cmp_ps_mask(score[v], score[v], _CMP_UNORD_Q);
    }
    const float highest = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(score[0], score[1]), _mm512_max_ps(score[2], score[3])));

    if (nan != 0 || highest == INFINITY || *max != *max) {
        *max = NAN;
        _mm512_store_ps(sum, _mm512_set1_ps(NAN));
    }
    if (*max != *max || highest == -INFINITY) {
        for (size_t v = 0; v < vecs; v++)
            _mm512_store_ps(place + v * LANES, _mm512_setzero_ps());
        return;
    }
    if (*max == -INFINITY)
        *max = ceilf(highest);
    __m512 lanes = weigh_row(score, *max, weight);
    if (_mm512_cmp_ps_mask(lanes, _mm512_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ) != 0) {
        const __m512 shift = _mm512_set1_ps(*max - ceilf(highest));
        *max = ceilf(highest);
        shift_exponents(sum, LANES, shift);
        shift_exponents(args->output + r * args->output_stride, args->output_stride, shift);
        shift_exponents(args->weight[r], args->column, shift);
        lanes = weigh_row(score, *max, weight);
    }
    _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), lanes));
    for (size_t v = 0; v < vecs; v++)
        _mm512_store_ps(place + v * LANES, weight[v]);
}

/* ------------------------------------------------------------------------- */
/*  The fast way                                                             */
/* ------------------------------------------------------------------------- */

/* A full tile without a mask. False, with nothing but weights written: go the slow way. */
static TARGET bool
weigh_full_tile(const struct dk_weigh *args)
{
    struct dk_softmax_rows *const softmax = args->softmax;
    float(*const weight)[DK_ATTEND_BLOCK] = args->weight;
    const size_t column = args->column;
    __m512 acc[ROWS][4], lanes[ROWS], all = _mm512_setzero_ps();

    score_tile(ROWS, 4, args, acc);
    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        const __m512 m = _mm512_set1_ps(softmax->max[r]);
        DK_UNROLL
        for (size_t v = 0; v < 4; v++) {
            acc[r][v] = exp2_of(_mm512_sub_ps(acc[r][v], m));
            _mm512_store_ps(&weight[r][column + v * LANES], acc[r][v]);
        }
        lanes[r] = _mm512_add_ps(_mm512_add_ps(acc[r][0], acc[r][1]),
                                 _mm512_add_ps(acc[r][2], acc[r][3]));
        all = _mm512_add_ps(all, lanes[r]);
    }
    if (_mm512_cmp_ps_mask(all, _mm512_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ) != 0)
        return false;
    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++)
        _mm512_store_ps(softmax->sum[r], _mm512_add_ps(_mm512_load_ps(softmax->sum[r]), lanes[r]));
    return true;
}

/* Whether every row of a full tile has seen something, and no NaN. */
DK_INLINE TARGET bool
all_begun(const struct dk_softmax_rows *softmax)
{
    const __mmask16 begun = _mm512_cmp_ps_mask(_mm512_load_ps(softmax->max),
                                               _mm512_set1_ps(-INFINITY), _CMP_GT_OQ);
    return (begun & ((1 << ROWS) - 1)) == (1 << ROWS) - 1;
}

TARGET void
dk_weigh_f32_avx512(const struct dk_weigh *args)
{
    if (args->rows == ROWS && args->cols == DK_PANEL && args->keep == NULL &&
        all_begun(args->softmax) && weigh_full_tile(args))
        return;
    store_scores[args->rows - 1][args->cols / LANES - 1](args);
    for (size_t r = 0; r < args->rows; r++)
        settle_row(args, r);
}

/* ------------------------------------------------------------------------- */
/*  Weights times values                                                     */
/* ------------------------------------------------------------------------- */

/* Columns 0 .. 16 vecs - 1 of value and output, the last vector only where 'tail' says. */
DK_INLINE TARGET void
blend_columns(const size_t rows, const size_t vecs, const struct dk_blend *args, const float *value,
              float *output, __mmask16 tail)
{
    const size_t stride = args->value_stride, output_stride = args->output_stride;
    const float *weight = args->weight[0];
    __m512 acc[ROWS][4];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            acc[r][v] = _mm512_load_ps(output + r * output_stride + v * LANES);
    }
    value += args->first * stride;
    for (size_t k = args->first; k < args->last; k++) {
        __m512 line[4];
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            line[v] = v + 1 < vecs ? _mm512_loadu_ps(value + v * LANES)
                                   : _mm512_maskz_loadu_ps(tail, value + v * LANES);
            PREFETCH_L1(value + AHEAD_STEPS * stride + v * LANES);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(weight[r * DK_ATTEND_BLOCK + k]);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                acc[r][v] = _mm512_fmadd_ps(x, line[v], acc[r][v]);
        }
        value += stride;
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            _mm512_store_ps(output + r * output_stride + v * LANES, acc[r][v]);
    }
}

DK_INLINE TARGET void
blend_rows(const size_t rows, const struct dk_blend *args)
{
    const size_t width = args->width;
    size_t e = 0;

    for (; e + 4 * LANES <= width; e += 4 * LANES)
        blend_columns(rows, 4, args, args->value + e, args->output + e, 0xffff);
    if (e == width)
        return;
    const size_t vecs = (width - e + LANES - 1) / LANES;
    const __mmask16 tail = (__mmask16)(0xffff >> (vecs * LANES - (width - e)));
    switch (vecs) {
    case 1: blend_columns(rows, 1, args, args->value + e, args->output + e, tail); break;
    case 2: blend_columns(rows, 2, args, args->value + e, args->output + e, tail); break;
    case 3: blend_columns(rows, 3, args, args->value + e, args->output + e, tail); break;
    default: blend_columns(rows, 4, args, args->value + e, args->output + e, tail); break;
    }
}

TARGET void
dk_blend_f32_avx512(const struct dk_blend *args)
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

const struct dk_softmax_v_kernels dk_softmax_v_avx512 = {
    .name = "softmax_v_avx512",
    .weigh_f32 = dk_weigh_f32_avx512,
    .blend_f32 = dk_blend_f32_avx512,
    .flop_per_ms = 1e8,
};
