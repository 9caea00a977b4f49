/*
 * softmax_v_avx512_body.h - scores to weights for AVX-512, of floats or of pairs of bf16
 *
 * Scores: 6 queries by broadcast, 64 keys as 4 vectors of a panel, 24 accumulators (as in
 * tile_avx512.c). Weights are computed from the accumulators where they stand, without storing
 * scores.
 *
 * Whole panels go by halves of 32 keys: while the weights of one are worked out, the scores of the
 * next are summed, in program order, because a core looks only some 200 instructions ahead (half
 * of that while another thread runs on it) and a panel's weights are 300. Besides
 * weights, only one sum of lanes a row and panel is stored: a 64-byte store takes the time of an
 * FMA or two.
 *
 * Tiles of 6 rows go the fast way, and whole panels of fewer rows that nothing but a scale changes.
 * It finds out afterwards, from the sums of the weights, whether some row's m had to move (an
 * overflow comes out of vscalefps as infinity, a NaN stays one), and then everything that is not
 * ordinary goes the slow way: scores to memory, then row by row. That costs the scores again but is
 * rare, and it spares a search for the maximum.
 *
 * 2^x works by a table, unlike the polynomial of degree 5 that other ISAs use: additions, vscalefps
 * and table look-up hide behind the FMAs of the scores, so FMAs are what it costs, and it needs 3
 * instead of 5.
 *
 * WORD_KEYS: words_avx512_body.h. Contract and method: softmax_v.h.
 */
#include <math.h>

#include "kernel/words_avx512_body.h"

/* A score as it counts: queries of bf16 do not come multiplied. */
DK_INLINE TARGET __m512
scaled(const struct dk_weigh *args, __m512 score)
{
    return PAIRS ? _mm512_mul_ps(score, _mm512_set1_ps(args->scale)) : score;
}

/* What exp2_of() needs, read from memory wherever it is: registers are scarce. */
static const struct {
    _Alignas(64) float power_of_32nd[32]; /* 2^(i / 32) */
    float shifter, one, c1, c2;
} exp2_constants = {
    .power_of_32nd = {0x1.000000p+0f, 0x1.059b0ep+0f, 0x1.0b5586p+0f, 0x1.11301ep+0f,
                      0x1.172b84p+0f, 0x1.1d4874p+0f, 0x1.2387a6p+0f, 0x1.29e9e0p+0f,
                      0x1.306fe0p+0f, 0x1.371a74p+0f, 0x1.3dea64p+0f, 0x1.44e086p+0f,
                      0x1.4bfdaep+0f, 0x1.5342b6p+0f, 0x1.5ab07ep+0f, 0x1.6247ecp+0f,
                      0x1.6a09e6p+0f, 0x1.71f75ep+0f, 0x1.7a1148p+0f, 0x1.82589ap+0f,
                      0x1.8ace54p+0f, 0x1.93737cp+0f, 0x1.9c4918p+0f, 0x1.a5503cp+0f,
                      0x1.ae89fap+0f, 0x1.b7f770p+0f, 0x1.c199bep+0f, 0x1.cb720ep+0f,
                      0x1.d5818ep+0f, 0x1.dfc974p+0f, 0x1.ea4afap+0f, 0x1.f50766p+0f},
    .shifter = 0x1.8p+18f, /* adding it rounds to a multiple of 1/32, kept in the last bits */
    .one = 1.0f,
    .c1 = 0x1.62e584p-1f,
    .c2 = 0x1.ebfc14p-3f,
};

/* And what cap_score() needs nearly always. */
static const struct {
    float h[5], limit;
} tanh_constants = {
    .h = {DK_TANH_H0, DK_TANH_H1, DK_TANH_H2, DK_TANH_H3, DK_TANH_H4},
    .limit = DK_TANH_LIMIT,
};

/*
 * 2^x; x = -infinity gives NaN, which sends its tile the slow way. x = n + f with n a multiple of
 * 1/32, and 2^x = 2^floor(n) * 2^(n - floor(n)) * 2^f: a scaling, the table, and a parabola that
 * is within 5.4e-8 of 2^f on [-1/64, 1/64]. In all within 2.2e-7.
 */
DK_INLINE TARGET __m512
exp2_of(__m512 x)
{
    const __m512 shifted = _mm512_add_ps(x, _mm512_set1_ps(exp2_constants.shifter));
    const __m512 n = _mm512_sub_ps(shifted, _mm512_set1_ps(exp2_constants.shifter));
    const __m512 f = _mm512_sub_ps(x, n);
    const __m512 fraction = _mm512_permutex2var_ps(
        _mm512_load_ps(exp2_constants.power_of_32nd), _mm512_castps_si512(shifted),
        _mm512_load_ps(exp2_constants.power_of_32nd + LANES));
    __m512 power = _mm512_set1_ps(exp2_constants.c2);
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(exp2_constants.c1));
    power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(exp2_constants.one));
    return _mm512_scalef_ps(_mm512_mul_ps(power, fraction), n);
}

/* cap * tanh(s / cap), inverse being 1 / cap; NaN stays NaN. */
DK_INLINE TARGET __m512
cap_score(__m512 s, float cap, float inverse)
{
    const __m512 x = _mm512_mul_ps(s, _mm512_set1_ps(inverse)), z = _mm512_mul_ps(x, x);
    __m512 h = _mm512_set1_ps(tanh_constants.h[4]);
    h = _mm512_fmadd_ps(h, z, _mm512_set1_ps(tanh_constants.h[3]));
    h = _mm512_fmadd_ps(h, z, _mm512_set1_ps(tanh_constants.h[2]));
    h = _mm512_fmadd_ps(h, z, _mm512_set1_ps(tanh_constants.h[1]));
    h = _mm512_fmadd_ps(h, z, _mm512_set1_ps(tanh_constants.h[0]));
    const __m512 small = _mm512_fnmadd_ps(s, _mm512_mul_ps(z, h), s);
    const __m512 size = _mm512_abs_ps(x);
    const __mmask16 beyond = _mm512_cmp_ps_mask(size, _mm512_set1_ps(tanh_constants.limit),
                                                _CMP_GT_OQ);
    if (__builtin_expect(beyond == 0, 1))
        return small;

    const __m512 power = exp2_of(_mm512_min_ps(
        _mm512_mul_ps(size, _mm512_set1_ps(DK_TANH_TWO_LOG2E)), _mm512_set1_ps(DK_TANH_MOST)));
    const __m512 missing = _mm512_div_ps(_mm512_set1_ps(2 * cap),
                                         _mm512_add_ps(power, _mm512_set1_ps(1.0f)));
    const __m512 large = _mm512_sub_ps(_mm512_set1_ps(cap), missing);
    const __m512 signed_large = _mm512_or_ps(large, _mm512_and_ps(x, _mm512_set1_ps(-0.0f)));
    return _mm512_mask_mov_ps(small, beyond, signed_large);
}

DK_INLINE TARGET void
zero_tile(const size_t rows, const size_t vecs, __m512 acc[ROWS][4])
{
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            acc[r][v] = _mm512_setzero_ps();
    }
}

/* acc += steps d .. end - 1 of the scores of 'panel'. */
DK_INLINE TARGET void
score_steps(const size_t rows, const size_t vecs, const struct dk_weigh *args, const float *panel,
            size_t d, size_t end, __m512 acc[ROWS][4])
{
    const float *query = args->query + d;
    const size_t dim = args->dim;

    panel += d * DK_PANEL;
    for (; d < end; d++) {
        __m512 keys[4];
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            keys[v] = _mm512_load_ps(panel + v * LANES);
            if (rows == ROWS)
                PREFETCH_L1(panel + AHEAD_STEPS * DK_PANEL + v * LANES);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(query[r * dim]);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                FMA(acc[r][v], x, keys[v]);
        }
        query++;
        panel += DK_PANEL;
    }
}

/* acc = the sums of one chain: steps start .. end - 1. */
DK_INLINE TARGET void
score_chain(const size_t rows, const size_t vecs, const struct dk_weigh *args, size_t start,
            size_t end, __m512 acc[ROWS][4])
{
    zero_tile(rows, vecs, acc);
    score_steps(rows, vecs, args, args->panel, start, end, acc);
}

/* acc = scores; 'rest' is room for the sums of earlier chains. */
DK_INLINE TARGET void
score_tile(const size_t rows, const size_t vecs, const struct dk_weigh *args,
           float (*rest)[DK_PANEL], __m512 acc[ROWS][4])
{
    const size_t dim = args->dim;
    size_t start = 0;

    /* expected not to: or gcc 12 keeps the sums of the last chain on the stack */
    for (; __builtin_expect(dim - start > DK_CHAIN, 0); start += DK_CHAIN) {
        score_chain(rows, vecs, args, start, start + DK_CHAIN, acc);
        for (size_t r = 0; r < rows; r++) {
            for (size_t v = 0; v < vecs; v++) {
                float *const sum = &rest[r][v * LANES];
                _mm512_store_ps(sum, start == 0 ? acc[r][v]
                                                : _mm512_add_ps(_mm512_load_ps(sum), acc[r][v]));
            }
        }
    }
    score_chain(rows, vecs, args, start, dim, acc);
    if (start != 0) {
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                acc[r][v] = _mm512_add_ps(_mm512_load_ps(&rest[r][v * LANES]), acc[r][v]);
        }
    }
}

/* ------------------------------------------------------------------------- */
/*  The slow way                                                             */
/* ------------------------------------------------------------------------- */

/* Instances of score_tile() that end in memory, by rows and vectors. */
#define STORE_SCORES(rows, vecs)                                                                   \
    static TARGET void store_scores_##rows##_##vecs(const struct dk_weigh *args,                   \
                                                    float(*scores)[DK_PANEL])                      \
    {                                                                                              \
        __m512 acc[ROWS][4];                                                                       \
        score_tile(rows, vecs, args, scores, acc);                                                 \
        DK_UNROLL                                                                                  \
        for (size_t r = 0; r < rows; r++) {                                                        \
            DK_UNROLL                                                                              \
            for (size_t v = 0; v < vecs; v++)                                                      \
                _mm512_store_ps(&scores[r][v * LANES], acc[r][v]);                                 \
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

static void (*const store_scores[ROWS][4])(const struct dk_weigh *args,
                                           float (*scores)[DK_PANEL]) = {
    NAMES_OF(1), NAMES_OF(2), NAMES_OF(3), NAMES_OF(4), NAMES_OF(5), NAMES_OF(6)};

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

/* Row r, whose raw scores are given: makes weights of them. */
DK_INLINE TARGET void
settle_row(const struct dk_weigh *args, size_t r, const float raw[DK_PANEL])
{
    float *const row = args->weight[r];
    const size_t column = args->column;
    float *const max = &args->softmax->max[r], *const sum = args->softmax->sum[r];
    float *const divisor = args->softmax->divisor[r];
    const uint64_t keep = args->keep != NULL ? args->keep[r] : ~UINT64_C(0);
    const __m512 none = _mm512_set1_ps(-INFINITY);
    const size_t vecs = args->cols / LANES;
    const float inverse = args->softcap != 0 ? 1 / args->softcap : 0;
    __m512 score[4] = {none, none, none, none}, weight[4];
    __mmask16 nan = 0;

    for (size_t v = 0; v < vecs; v++) {
        score[v] = scaled(args, _mm512_load_ps(raw + v * LANES));
        if (args->softcap != 0)
            score[v] = cap_score(score[v], args->softcap, inverse);
        if (args->bias != NULL)
            score[v] = _mm512_add_ps(score[v], _mm512_load_ps(&args->bias[r][v * LANES]));
        score[v] = _mm512_mask_mov_ps(none, (__mmask16)(keep >> v * LANES), score[v]);
        nan |= _mm512_cmp_ps_mask(score[v], score[v], _CMP_UNORD_Q);
    }
    const float highest = _mm512_reduce_max_ps(
        _mm512_max_ps(_mm512_max_ps(score[0], score[1]), _mm512_max_ps(score[2], score[3])));

    if (nan != 0 || highest == INFINITY || *max != *max) {
        *max = NAN;
        _mm512_store_ps(sum, _mm512_set1_ps(NAN));
        _mm512_store_ps(divisor, _mm512_set1_ps(NAN));
    }
    if (*max != *max || highest == -INFINITY) {
        for (size_t v = 0; v < vecs; v += 2)
            (void)store_weights(2, row, column + v * LANES, _mm512_setzero_ps(),
                                _mm512_setzero_ps());
        return;
    }
    if (*max == -INFINITY)
        *max = ceilf(highest);
    __m512 lanes = weigh_row(score, *max, weight);
    if (_mm512_cmp_ps_mask(lanes, _mm512_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ) != 0) {
        const __m512 shift = _mm512_set1_ps(*max - ceilf(highest));
        *max = ceilf(highest);
        shift_exponents(sum, LANES, shift);
        shift_exponents(divisor, LANES, shift);
        shift_exponents(args->output + r * args->output_stride, args->output_stride, shift);
        shift_weights(row, column, shift);
        lanes = weigh_row(score, *max, weight);
    }
    _mm512_store_ps(sum, _mm512_add_ps(_mm512_load_ps(sum), lanes));
    const __m512 low = store_weights(2, row, column, weight[0], weight[1]);
    __m512 high = _mm512_setzero_ps();
    if (vecs > 2)
        high = store_weights(2, row, column + 2 * LANES, weight[2], weight[3]);
    divide_by(divisor, low, high, divisor);
}

/* ------------------------------------------------------------------------- */
/*  The fast way                                                             */
/* ------------------------------------------------------------------------- */

/* What scale, softcap and bias make of scores. */
DK_INLINE TARGET void
adjust_tile(const size_t vecs, const struct dk_weigh *args, __m512 score[ROWS][4])
{
    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            score[r][v] = scaled(args, score[r][v]);
    }
    if (args->softcap != 0) {
        const float inverse = args->softcap != 0 ? 1 / args->softcap : 0;
        DK_UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                score[r][v] = cap_score(score[r][v], args->softcap, inverse);
        }
    }
    if (args->bias != NULL) {
        DK_UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                score[r][v] = _mm512_add_ps(score[r][v], _mm512_load_ps(&args->bias[r][v * LANES]));
        }
    }
}

/* The m of rows that have seen nothing yet; -infinity where they see nothing now. */
DK_INLINE TARGET void
begin_rows(const size_t vecs, const bool masked, const struct dk_weigh *args, __m512 score[ROWS][4],
           float m[ROWS])
{
    const __m512 none = _mm512_set1_ps(-INFINITY);

    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        __m512 most = none;
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            const __mmask16 lanes = masked ? (__mmask16)(args->keep[r] >> v * LANES) : 0xffff;
            most = _mm512_mask_max_ps(most, lanes, most, score[r][v]);
        }
        const __m512 highest = _mm512_set1_ps(_mm512_reduce_max_ps(most));
        if (m[r] == -INFINITY)
            m[r] = _mm512_cvtss_f32(
                _mm512_roundscale_ps(highest, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC));
    }
}

/*
 * A tile of 6 rows, some of which ('begin') may have seen nothing yet. False, with nothing but
 * weights written: go the slow way.
 */
DK_INLINE TARGET bool
weigh_tile(const size_t vecs, const bool masked, const bool begin, const struct dk_weigh *args)
{
    struct dk_softmax_rows *const softmax = args->softmax;
    float(*const weight)[DK_ATTEND_BLOCK] = args->weight;
    const size_t column = args->column;
    __m512 acc[ROWS][4], stored[ROWS][2], lanes[ROWS], all = _mm512_setzero_ps();
    _Alignas(64) float begun[16], rest[ROWS][DK_PANEL];
    const float *m = softmax->max;

    score_tile(ROWS, vecs, args, rest, acc);
    adjust_tile(vecs, args, acc);
    if (begin) {
        _mm512_store_ps(begun, _mm512_load_ps(softmax->max));
        begin_rows(vecs, masked, args, acc, begun);
        m = begun;
    }
    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        const __m512 row_m = _mm512_set1_ps(m[r]);
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            acc[r][v] = exp2_of(_mm512_sub_ps(acc[r][v], row_m));
            if (masked)
                acc[r][v] = _mm512_maskz_mov_ps((__mmask16)(args->keep[r] >> v * LANES), acc[r][v]);
        }
        stored[r][0] = store_weights(vecs < 2 ? 1 : 2, weight[r], column, acc[r][0],
                                     acc[r][vecs < 2 ? 0 : 1]);
        stored[r][1] = _mm512_setzero_ps();
        if (vecs > 2)
            stored[r][1] = store_weights(vecs - 2, weight[r], column + 2 * LANES, acc[r][2],
                                         acc[r][vecs - 1]);
        lanes[r] = acc[r][0];
        if (vecs > 1)
            lanes[r] = _mm512_add_ps(acc[r][0], acc[r][1]);
        if (vecs == 3)
            lanes[r] = _mm512_add_ps(lanes[r], acc[r][2]);
        if (vecs == 4)
            lanes[r] = _mm512_add_ps(lanes[r], _mm512_add_ps(acc[r][2], acc[r][3]));
        all = _mm512_add_ps(all, lanes[r]);
    }
    if (_mm512_cmp_ps_mask(all, _mm512_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ) != 0)
        return false;
    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        _mm512_store_ps(softmax->sum[r], _mm512_add_ps(_mm512_load_ps(softmax->sum[r]), lanes[r]));
        divide_by(softmax->divisor[r], stored[r][0], stored[r][1], softmax->divisor[r]);
    }
    if (begin)
        _mm512_store_ps(softmax->max, _mm512_load_ps(begun));
    return true;
}

static TARGET bool
weigh_first_tile(const struct dk_weigh *args)
{
    return weigh_tile(4, false, true, args);
}

static TARGET bool
weigh_masked_tile(const struct dk_weigh *args)
{
    switch (args->cols / LANES) {
    case 1: return weigh_tile(1, true, true, args);
    case 2: return weigh_tile(2, true, true, args);
    case 3: return weigh_tile(3, true, true, args);
    default: return weigh_tile(4, true, true, args);
    }
}

/* ------------------------------------------------------------------------- */
/*  Several panels: the weights of one half while the next one is scored     */
/* ------------------------------------------------------------------------- */

/*
 * Steps d .. end - 1 of the scores of 32 keys. Every other row takes its query by
 * FMA_BROADCAST: 11 loads to 12 FMAs, which a CPU that does two of each in a cycle still hides.
 */
DK_INLINE TARGET void
score_half(const struct dk_weigh *args, const float *panel, size_t d, size_t end,
           __m512 acc[ROWS][2])
{
    const size_t dim = args->dim;
    const float *query = args->query + d;

    panel += d * DK_PANEL;
    for (; d < end; d++) {
        const __m512 low = _mm512_load_ps(panel), high = _mm512_load_ps(panel + LANES);
        DK_UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            if (r % 2 == 0) {
                FMA_BROADCAST(acc[r][0], query[r * dim], low);
                FMA_BROADCAST(acc[r][1], query[r * dim], high);
            } else {
                const __m512 x = _mm512_set1_ps(query[r * dim]);
                FMA(acc[r][0], x, low);
                FMA(acc[r][1], x, high);
            }
        }
        query++;
        panel += DK_PANEL;
    }
}

DK_INLINE TARGET void
zero_half(__m512 acc[ROWS][2])
{
    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++)
        acc[r][0] = acc[r][1] = _mm512_setzero_ps();
}

/* What softcap and bias make of the scores of a row and 32 keys, the bias of which begins there. */
DK_INLINE TARGET void
adjust_half(const struct dk_weigh *args, float inverse, const float *bias, __m512 score[2])
{
    if (args->softcap != 0) {
        score[0] = cap_score(score[0], args->softcap, inverse);
        score[1] = cap_score(score[1], args->softcap, inverse);
    }
    if (args->bias != NULL) {
        score[0] = _mm512_add_ps(score[0], _mm512_load_ps(bias));
        score[1] = _mm512_add_ps(score[1], _mm512_load_ps(bias + LANES));
    }
}

/*
 * The weights of a half, counted from 'column' on, from its scores, row by row, and before each
 * row a sixth of the scores of the half at 'panel' (unless NULL). A panel's second half makes
 * 'after' of 'before' and the row's sums over the panel, and returns the latter's sum over rows;
 * its first half returns 0. 'adjusted': there may be a softcap, biases or a mask.
 */
DK_INLINE TARGET __m512
weigh_half(const bool adjusted, const struct dk_weigh *args, size_t half, __m512 score[ROWS][2],
           const float *panel, __m512 next[ROWS][2], const struct dk_softmax_rows *before,
           struct dk_softmax_rows *after)
{
    const float inverse = adjusted && args->softcap != 0 ? 1 / args->softcap : 0;
    const size_t column = args->column + half * 2 * LANES;
    __m512 all = _mm512_setzero_ps();
    size_t d = 0;

    DK_UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        if (panel != NULL) {
            const size_t end = args->dim * (r + 1) / ROWS;
            score_half(args, panel, d, end, next);
            d = end;
        }
        __asm__ volatile("" : : : "memory"); /* constants stay in memory */
        score[r][0] = scaled(args, score[r][0]);
        score[r][1] = scaled(args, score[r][1]);
        const size_t row = half / 2 * ROWS + r, first_key = half % 2 * 2 * LANES;
        if (adjusted)
            adjust_half(args, inverse, args->bias != NULL ? &args->bias[row][first_key] : NULL,
                        score[r]);
        const __m512 m = _mm512_set1_ps(args->softmax->max[r]);
        __m512 low = exp2_of(_mm512_sub_ps(score[r][0], m));
        __m512 high = exp2_of(_mm512_sub_ps(score[r][1], m));
        if (adjusted && args->keep != NULL) {
            const uint32_t keep = (uint32_t)(args->keep[row] >> first_key);
            low = _mm512_maskz_mov_ps((__mmask16)keep, low);
            high = _mm512_maskz_mov_ps((__mmask16)(keep >> LANES), high);
        }
        const __m512 sum = _mm512_add_ps(low, high);
        const __m512 stored = store_weights(2, args->weight[r], column, low, high);
        if (half % 2 == 0) {
            _mm512_store_ps(after->sum[r], sum);
        } else {
            const __m512 lanes = _mm512_add_ps(_mm512_load_ps(after->sum[r]), sum);
            const float *const first = &args->weight[r][(column - 2 * LANES) / WORD_KEYS];
            all = _mm512_add_ps(all, lanes);
            _mm512_store_ps(after->sum[r], _mm512_add_ps(_mm512_load_ps(before->sum[r]), lanes));
            divide_by(before->divisor[r], _mm512_load_ps(first), stored, after->divisor[r]);
        }
    }
    return all;
}

/*
 * Whole panels of which every row has begun. Returns how many went well, from the first on. Sums
 * go to and fro between the rows' and a second place, so that those before a panel that does not
 * go well are still there.
 */
DK_INLINE TARGET size_t
weigh_panels(const bool adjusted, const struct dk_weigh *args)
{
    const size_t panel_words = args->dim * DK_PANEL;
    struct dk_softmax_rows second, *before = args->softmax, *after = &second;
    __m512 score[ROWS][2], next[ROWS][2];
    size_t half = 0;

    zero_half(score);
    score_half(args, args->panel, 0, args->dim, score);
    for (; half < 2 * args->panels; half++) {
        const size_t following = half + 1;
        __m512 all;
        if (following < 2 * args->panels) {
            zero_half(next);
            all = weigh_half(adjusted, args, half, score,
                             args->panel + following / 2 * panel_words + following % 2 * 2 * LANES,
                             next, before, after);
            DK_UNROLL
            for (size_t r = 0; r < ROWS; r++) { /* not two names in turn: gcc 12 would spill both */
                score[r][0] = next[r][0];
                score[r][1] = next[r][1];
            }
        } else {
            all = weigh_half(adjusted, args, half, score, NULL, next, before, after);
        }
        if (half % 2 == 1) {
            if (_mm512_cmp_ps_mask(all, _mm512_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ) != 0)
                break; /* some row's m has to move */
            struct dk_softmax_rows *const held = before;
            before = after;
            after = held;
        }
    }
    if (before == &second) {
        DK_UNROLL
        for (size_t r = 0; r < ROWS; r++) {
            _mm512_store_ps(args->softmax->sum[r], _mm512_load_ps(second.sum[r]));
            if (PAIRS)
                _mm512_store_ps(args->softmax->divisor[r], _mm512_load_ps(second.divisor[r]));
        }
    }
    return half / 2;
}

static TARGET size_t
weigh_plain_panels(const struct dk_weigh *args)
{
    return weigh_panels(false, args);
}

static TARGET size_t
weigh_adjusted_panels(const struct dk_weigh *args)
{
    return weigh_panels(true, args);
}

/* ------------------------------------------------------------------------- */
/*  Several panels of a tile of few rows                                      */
/* ------------------------------------------------------------------------- */

/*
 * Weights of row r at 'column' from its scores, which it is expected to take as they are; returns
 * the sums of the lanes.
 */
DK_INLINE TARGET __m512
weigh_few_row(const struct dk_weigh *args, size_t r, size_t column, const float score[DK_PANEL])
{
    const __m512 m = _mm512_set1_ps(args->softmax->max[r]);
    __m512 weight[4];

    DK_UNROLL
    for (size_t v = 0; v < 4; v++)
        weight[v] = exp2_of(_mm512_sub_ps(scaled(args, _mm512_load_ps(score + v * LANES)), m));
    (void)store_weights(2, args->weight[r], column, weight[0], weight[1]);
    (void)store_weights(2, args->weight[r], column + 2 * LANES, weight[2], weight[3]);
    return _mm512_add_ps(_mm512_add_ps(weight[0], weight[1]), _mm512_add_ps(weight[2], weight[3]));
}

/*
 * As weigh_panels(), of fewer than 6 rows: scores of a whole panel fit into registers while the
 * weights of the panel before are worked out, whose scores are in memory. Memory is read meanwhile.
 */
DK_INLINE TARGET size_t
weigh_few(const size_t rows, const struct dk_weigh *args)
{
    struct dk_softmax_rows *const softmax = args->softmax;
    const size_t dim = args->dim;
    _Alignas(64) float score[ROWS][DK_PANEL], lanes[ROWS][LANES];
    __m512 acc[ROWS][4];
    size_t p = 0;

    score_chain(rows, 4, args, 0, dim, acc);
    for (; p < args->panels; p++) {
        const float *const next = args->panel + (p + 1) * dim * DK_PANEL;
        const size_t steps = p + 1 < args->panels ? dim : 0;
        const size_t column = args->column + p * DK_PANEL;
        __m512 all = _mm512_setzero_ps();

        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            DK_UNROLL
            for (size_t v = 0; v < 4; v++)
                _mm512_store_ps(&score[r][v * LANES], acc[r][v]);
        }
        zero_tile(rows, 4, acc);
        for (size_t r = 0; r < rows; r++) {
            score_steps(rows, 4, args, next, steps * r / rows, steps * (r + 1) / rows, acc);
            const __m512 sum = weigh_few_row(args, r, column, score[r]);
            _mm512_store_ps(lanes[r], sum);
            all = _mm512_add_ps(all, sum);
        }
        if (_mm512_cmp_ps_mask(all, _mm512_set1_ps(DK_WEIGHT_LIMIT), _CMP_NLE_UQ) != 0)
            break; /* some row's m has to move */
        for (size_t r = 0; r < rows; r++) {
            const float *const words = &args->weight[r][column / WORD_KEYS];
            _mm512_store_ps(softmax->sum[r], _mm512_add_ps(_mm512_load_ps(softmax->sum[r]),
                                                           _mm512_load_ps(lanes[r])));
            divide_by(softmax->divisor[r], _mm512_load_ps(words), _mm512_load_ps(words + LANES),
                      softmax->divisor[r]);
        }
    }
    return p;
}

#define WEIGH_FEW(rows)                                                                            \
    static TARGET size_t weigh_##rows(const struct dk_weigh *args)                                 \
    {                                                                                              \
        return weigh_few(rows, args);                                                              \
    }

WEIGH_FEW(1)
WEIGH_FEW(2)
WEIGH_FEW(3)
WEIGH_FEW(4)
WEIGH_FEW(5)

/* Whole panels of rows that have begun: returns how many went well, from the first on. */
static size_t (*const weigh_plain[ROWS])(const struct dk_weigh *args) = {
    weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_plain_panels};

/* One panel, in whatever way it takes. */
static TARGET void
weigh_panel(const struct dk_weigh *args)
{
    _Alignas(64) float scores[ROWS][DK_PANEL];

    if (args->rows == ROWS) {
        if (args->keep != NULL ? weigh_masked_tile(args)
                               : args->cols == DK_PANEL && weigh_first_tile(args))
            return;
    }
    store_scores[args->rows - 1][args->cols / LANES - 1](args, scores);
    for (size_t r = 0; r < args->rows; r++)
        settle_row(args, r, scores[r]);
}

/* Whether every row has begun. */
DK_INLINE TARGET bool
all_begun(const struct dk_weigh *args)
{
    const unsigned rows = (1u << args->rows) - 1;
    const unsigned begun = _mm512_cmp_ps_mask(_mm512_load_ps(args->softmax->max),
                                              _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    return (begun & rows) == rows;
}

/* Leaves out the first 'count' panels. */
DK_INLINE void
pass_panels(struct dk_weigh *args, size_t count)
{
    args->panels -= count;
    args->panel += count * DK_PANEL * args->dim;
    args->column += count * DK_PANEL;
    args->bias += args->bias != NULL ? count * ROWS : 0;
    args->keep += args->keep != NULL ? count * ROWS : 0;
}

DK_INLINE TARGET void
weigh(const struct dk_weigh *args)
{
    const bool adjusted = args->softcap != 0 || args->bias != NULL || args->keep != NULL;
    const bool whole = args->cols == DK_PANEL && args->dim <= DK_CHAIN &&
                       (args->rows == ROWS || !adjusted);
    struct dk_weigh rest = *args;

    for (;;) {
        size_t done = 0;
        if (whole && all_begun(args))
            done = adjusted ? weigh_adjusted_panels(&rest) : weigh_plain[args->rows - 1](&rest);
        if (done == rest.panels)
            return;
        pass_panels(&rest, done);
        weigh_panel(&rest);
        if (rest.panels == 1)
            return;
        pass_panels(&rest, 1);
    }
}
