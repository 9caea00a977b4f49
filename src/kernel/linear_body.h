/*
 * linear_body.h - the body of every ISA's kernels of linear attention; what they do: linear.h
 *
 * An ISA's linear_<isa>.c includes its vec_<isa>.h, then this file.
 */
#include "kernel/kernel.h"

/* Columns in work at a time: enough sums side by side to hide the latency of an FMA. */
enum { LINEAR_VECS = 4 };

/* sum[v] = the columns of 'state', each times 'at'. */
VEC_FN void
linear_read(const size_t vecs, const float *state, const float *at, size_t dim, vec *sum)
{
    DK_UNROLL
    for (size_t v = 0; v < vecs; v++)
        sum[v] = vec_set(0);
    for (size_t d = 0; d < dim; d++) {
        const vec factor = vec_set(at[d]);
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            sum[v] = vec_fma(factor, vec_load(state + d * DK_PANEL + v * VEC_LANES), sum[v]);
    }
}

/* One token's vectors over d. */
struct linear_token {
    const float *key, *keep, *query, *next_probe;
};

/*
 * Updates the state by u, and reads it: what the query gets, and under the delta rule what the next
 * token recalls.
 */
VEC_FN void
linear_update(const size_t vecs, const bool gated, const bool delta, float *state,
              const struct linear_token *token, size_t dim, const vec *u, vec *out, vec *recalled)
{
    DK_UNROLL
    for (size_t v = 0; v < vecs; v++)
        out[v] = recalled[v] = vec_set(0);
    for (size_t d = 0; d < dim; d++) {
        const vec key = vec_set(token->key[d]), query = vec_set(token->query[d]);
        const vec keep = vec_set(gated ? token->keep[d] : 1);
        const vec probe = vec_set(delta ? token->next_probe[d] : 0);
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            float *const at = state + d * DK_PANEL + v * VEC_LANES;
            vec s = vec_load(at);
            if (gated)
                s = vec_mul(keep, s);
            s = vec_fma(key, u[v], s);
            vec_store(at, s);
            out[v] = vec_fma(query, s, out[v]);
            if (delta)
                recalled[v] = vec_fma(probe, s, recalled[v]);
        }
    }
}

/* All tokens, for 'vecs' vectors of columns from column 'col' on. */
VEC_FN void
linear_columns(const size_t vecs, const bool gated, const bool delta,
               const struct dk_linear_f32 *args, size_t col)
{
    const size_t dim = args->dim, stride = args->stride;
    float *const state = args->state + col;
    vec u[LINEAR_VECS], out[LINEAR_VECS], recalled[LINEAR_VECS];

    if (delta && args->tokens > 0)
        linear_read(vecs, state, args->probe, dim, recalled);
    for (size_t t = 0; t < args->tokens; t++) {
        const float *const query = args->query + t * args->heads * stride;
        float *const to = args->out + t * args->heads * DK_PANEL + col;
        const struct linear_token token = {
            .key = args->key + t * stride,
            .keep = gated ? args->keep + t * stride : NULL,
            .query = query,
            /* the last token's own, for want of a next: nobody looks at the sum */
            .next_probe = delta ? args->probe + (t + 1 < args->tokens ? t + 1 : t) * stride : NULL,
        };
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            u[v] = vec_load(args->value + t * DK_PANEL + col + v * VEC_LANES);
            if (delta)
                u[v] = vec_mul(vec_set(args->beta[t]), vec_sub(u[v], recalled[v]));
        }
        linear_update(vecs, gated, delta, state, &token, dim, u, out, recalled);
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            vec_store(to + v * VEC_LANES, out[v]);
        for (size_t h = 1; h < args->heads; h++) {
            linear_read(vecs, state, query + h * stride, dim, out);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                vec_store(to + h * DK_PANEL + v * VEC_LANES, out[v]);
        }
    }
}

VEC_FN void
linear_all_columns(const bool gated, const bool delta, const struct dk_linear_f32 *args)
{
    size_t col = 0;

    for (; col + LINEAR_VECS * VEC_LANES <= args->cols; col += LINEAR_VECS * VEC_LANES)
        linear_columns(LINEAR_VECS, gated, delta, args, col);
    switch ((args->cols - col) / VEC_LANES) {
    case 1: linear_columns(1, gated, delta, args, col); break;
    case 2: linear_columns(2, gated, delta, args, col); break;
    case 3: linear_columns(3, gated, delta, args, col); break;
    default: break;
    }
}

/* The body of dk_linear_f32_<isa>(). */
VEC_FN void
linear(const struct dk_linear_f32 *args)
{
    if (args->keep == NULL) {
        if (args->probe == NULL)
            linear_all_columns(false, false, args);
        else
            linear_all_columns(false, true, args);
    } else {
        if (args->probe == NULL)
            linear_all_columns(true, false, args);
        else
            linear_all_columns(true, true, args);
    }
}

/*
 * e^x = 2^n e^r with n = round(x / ln 2), |r| <= 0.347, and e^r by a polynomial of degree 6
 * (3.1e-9). 2^n is multiplied by in two halves, so that results near both ends of f32 are rounded
 * once.
 */
VEC_FN vec
exponential(vec x)
{
    const vec round = vec_set(0x1.8p23f); /* adding it rounds to an integer, in the last bits */
    /* e^-104 is 0 in f32, and e^89 infinity */
    const vec within = vec_smaller(vec_set(89), vec_larger(vec_set(-104), x));
    const vec n = vec_sub(vec_fma(within, vec_set(0x1.715476p0f), round), round);
    /* ln 2 in 15 bits, so that n times it is exact, and the rest. */
    vec r = vec_fnma(n, vec_set(0x1.62e4p-1f), within);
    r = vec_fnma(n, vec_set(0x1.7f7d1cp-20f), r);
    vec sum = vec_set(0x1.6a452cp-10f);
    sum = vec_fma(sum, r, vec_set(0x1.1239aap-7f));
    sum = vec_fma(sum, r, vec_set(0x1.5558b8p-5f));
    sum = vec_fma(sum, r, vec_set(0x1.555492p-3f));
    sum = vec_fma(sum, r, vec_set(0x1.fffffcp-2f));
    sum = vec_add(vec_fma(vec_mul(r, r), sum, r), vec_set(1));
    const vec half = vec_fma(n, vec_set(0.5f), round), rest = vec_sub(n, vec_sub(half, round));
    const vec power = vec_shift_to_power(half, 127u << 23);
    return vec_mul(vec_mul(sum, power), vec_shift_to_power(vec_add(rest, round), 127u << 23));
}

/* The body of dk_exp_f32_<isa>(). */
VEC_FN void
exponentials(const float *x, size_t count, float *out)
{
    for (size_t i = 0; i < count; i += VEC_LANES)
        vec_store(out + i, exponential(vec_load(x + i)));
}
