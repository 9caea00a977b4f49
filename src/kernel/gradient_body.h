/*
 * gradient_body.h - the body of every ISA's gradient kernels but the portable ones
 *
 * An ISA's gradient_<isa>.c includes its vec_<isa>.h, defines VECS (so many vectors of sums a row
 * as registers allow six rows) and
 *
 *     vec_load_any              any alignment
 *     vec_load_first            any alignment, the first n lanes; others are 0
 *     vec_any_above(a, b)       whether a > b in some lane
 *     vec_above(a, b, x, y)     a > b ? x : y
 *     vec_keep(bits, c, x)      x where bit c + lane of bits is set, else 0
 *     vec_prefetch(from)        into L1; 'from' need not exist
 *
 * and, where words are not floats, SUM_WORDS(x, line, sum): sum += x times line, x a word in all
 * lanes; then includes this file. Methods and contracts: gradient.h.
 */
#include "kernel/kernel.h"

#ifndef SUM_WORDS
#define SUM_WORDS(x, line, sum) ((sum) = vec_fma(x, line, sum))
#endif

enum { ROWS = DK_GRADIENT_ROWS, STRIDE = DK_GRADIENT_STRIDE, AHEAD_STEPS = 8 };

/* ------------------------------------------------------------------------- */
/*  Cells                                                                    */
/* ------------------------------------------------------------------------- */

/* 2^x: 0 below -126.5, infinity above 127.5; NaN stays NaN. */
VEC_FN vec
exp2_of(vec x)
{
    const vec within = vec_smaller(vec_set(128.0f), vec_larger(vec_set(-127.0f), x));
    const vec shifted = vec_add(within,
                                vec_set(0x1.8p23f)); /* the integer stands in the last bits */
    const vec f = vec_sub(within, vec_sub(shifted, vec_set(0x1.8p23f)));
    vec power = vec_set(DK_EXP2_C5);

    power = vec_fma(power, f, vec_set(DK_EXP2_C4));
    power = vec_fma(power, f, vec_set(DK_EXP2_C3));
    power = vec_fma(power, f, vec_set(DK_EXP2_C2));
    power = vec_fma(power, f, vec_set(DK_EXP2_C1));
    power = vec_fma(power, f, vec_set(1.0f));
    return vec_mul(power, vec_shift_to_power(shifted, 127u << 23));
}

/* cap * tanh(s / cap), inverse being 1 / cap; see softmax_v.h. */
VEC_FN vec
cap_score(vec s, float cap, float inverse)
{
    const vec x = vec_mul(s, vec_set(inverse)), size = vec_abs(x), z = vec_mul(x, x);
    vec h = vec_set(DK_TANH_H4);

    h = vec_fma(h, z, vec_set(DK_TANH_H3));
    h = vec_fma(h, z, vec_set(DK_TANH_H2));
    h = vec_fma(h, z, vec_set(DK_TANH_H1));
    h = vec_fma(h, z, vec_set(DK_TANH_H0));
    const vec small = vec_fnma(s, vec_mul(z, h), s), limit = vec_set(DK_TANH_LIMIT);
    if (!vec_any_above(size, limit))
        return small;
    const vec power = exp2_of(
        vec_smaller(vec_set(DK_TANH_MOST), vec_mul(size, vec_set(DK_TANH_TWO_LOG2E))));
    const vec missing = vec_div(vec_set(2 * cap), vec_add(power, vec_set(1.0f)));
    return vec_above(size, limit, vec_with_sign(vec_sub(vec_set(cap), missing), x), small);
}

struct cell {
    vec weight, gradient;
};

/* Cells c .. of row r. 'plain', a constant at every call: nothing but products, lse and delta. */
VEC_FN struct cell
cells_at(const bool plain, const bool scaled, const struct dk_gradient_cells *args, size_t r,
         size_t c)
{
    const bool capped = !plain && args->softcap != 0;
    const float inverse = capped ? 1 / args->softcap : 0;
    vec s = vec_load(&args->score[r][c]), d = vec_load(&args->product[r][c]);
    vec slope = vec_set(1.0f);

    if (scaled)
        s = vec_mul(s, vec_set(args->scale));
    if (capped) {
        s = cap_score(s, args->softcap, inverse);
        const vec tanh = vec_mul(s, vec_set(inverse));
        slope = vec_fnma(tanh, tanh, slope);
    }
    if (!plain && args->bias != NULL)
        s = vec_add(s, vec_load(&args->bias[r][c]));
    const vec p = exp2_of(vec_sub(s, vec_set(args->lse[r])));
    vec weight = p;
    if (!plain && args->stay != NULL) {
        weight = vec_keep(args->stay[r], c, vec_mul(p, vec_set(args->boost)));
        d = vec_keep(args->stay[r], c, vec_mul(d, vec_set(args->boost)));
    }
    vec gradient = vec_mul(p, vec_sub(d, vec_set(args->delta[r])));
    if (capped && !args->uncapped)
        gradient = vec_mul(gradient, slope);
    if (!plain && args->keep != NULL) {
        weight = vec_keep(args->keep[r], c, weight);
        gradient = vec_keep(args->keep[r], c, gradient);
    }
    return (struct cell){weight, gradient};
}

VEC_FN bool
is_plain(const struct dk_gradient_cells *args)
{
    return args->keep == NULL && args->stay == NULL && args->bias == NULL && args->softcap == 0;
}

VEC_FN void
cells_row(const bool plain, const struct dk_gradient_cells *args, size_t r)
{
    size_t c = 0;

    for (; c < args->cols; c += VEC_LANES) {
        const struct cell cell = cells_at(plain, false, args, r, c);
        vec_store(&args->weight[r][c], cell.weight);
        vec_store(&args->gradient[r][c], cell.gradient);
    }
    for (; c < DK_PANEL; c += VEC_LANES) {
        vec_store(&args->weight[r][c], vec_set(0));
        vec_store(&args->gradient[r][c], vec_set(0));
    }
}

VEC_FN void
cells_rows(const struct dk_gradient_cells *args)
{
    if (is_plain(args)) {
        for (size_t r = 0; r < args->rows; r++)
            cells_row(true, args, r);
    } else {
        for (size_t r = 0; r < args->rows; r++)
            cells_row(false, args, r);
    }
}

/* ------------------------------------------------------------------------- */
/*  Sums                                                                     */
/* ------------------------------------------------------------------------- */

/* Columns e .. e + count - 1, which are 'vecs' vectors, the last one perhaps cut short. */
VEC_FN void
sum_columns(const size_t rows, const size_t vecs, const bool down,
            const struct dk_gradient_sum *args, size_t e, size_t count)
{
    const size_t stride = args->value_stride, tail = count - (vecs - 1) * VEC_LANES;
    const bool whole = tail == VEC_LANES;
    const float *value = args->value + e, *weight = args->weight;
    vec sum[ROWS][VECS];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            sum[r][v] = vec_set(0);
    }
    for (size_t k = 0; k < args->count; k++) {
        vec line[VECS];
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            line[v] = v + 1 < vecs || whole ? vec_load_any(value + v * VEC_LANES)
                                            : vec_load_first(value + v * VEC_LANES, tail);
            if (v * VEC_LANES % 16 == 0) /* once a cache line */
                vec_prefetch(value + AHEAD_STEPS * stride + v * VEC_LANES);
        }
        if (down)
            vec_prefetch(weight + AHEAD_STEPS * STRIDE);
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const vec x = vec_set(weight[down ? r : r * STRIDE]);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                SUM_WORDS(x, line[v], sum[r][v]);
        }
        value += stride;
        weight += down ? STRIDE : 1;
    }
    const vec factor = vec_set(args->factor);
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        float *const output = args->output[r] + e;
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            float *const place = output + v * VEC_LANES;
            if (v + 1 < vecs || whole)
                vec_store(place, vec_fma(factor, sum[r][v], vec_load_any(place)));
            else
                vec_store_first(place, tail,
                                vec_fma(factor, sum[r][v], vec_load_first(place, tail)));
        }
    }
}

VEC_FN void
sum_rows(const size_t rows, const bool down, const struct dk_gradient_sum *args)
{
    const size_t width = args->width;
    size_t e = 0;

    for (; e + VECS * VEC_LANES <= width; e += VECS * VEC_LANES)
        sum_columns(rows, VECS, down, args, e, VECS * VEC_LANES);
    if (e == width)
        return;
    switch ((width - e + VEC_LANES - 1) / VEC_LANES) {
    case 1: sum_columns(rows, 1, down, args, e, width - e); break;
    case 2: sum_columns(rows, VECS < 2 ? VECS : 2, down, args, e, width - e); break;
    case 3: sum_columns(rows, VECS < 3 ? VECS : 3, down, args, e, width - e); break;
    default: sum_columns(rows, VECS, down, args, e, width - e); break;
    }
}

/* A function of its own for each number of rows, or compilers take minutes. */
#define SUM_OF(rows)                                                                               \
    static VEC_TARGET void sum_##rows(const struct dk_gradient_sum *args)                          \
    {                                                                                              \
        if (args->down)                                                                            \
            sum_rows(rows, true, args);                                                            \
        else                                                                                       \
            sum_rows(rows, false, args);                                                           \
    }

SUM_OF(1)
SUM_OF(2)
SUM_OF(3)
SUM_OF(4)
SUM_OF(5)
SUM_OF(6)

static void (*const sum_of[ROWS + 1])(const struct dk_gradient_sum *args) = {
    NULL, sum_1, sum_2, sum_3, sum_4, sum_5, sum_6};
