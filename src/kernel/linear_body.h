/*
 * linear_body.h - the body of every ISA's kernels of linear attention; what they do: linear.h
 *
 * An ISA's linear_<isa>.c includes its vec_<isa>.h, then this file.
 */
#include "kernel/kernel.h"

/* Columns in work at a time: enough sums side by side to hide the latency of an FMA. */
enum { LINEAR_VECS = 4 };

/* Tokens in work at a time, where the rule allows it; AVX2 has registers for one. */
enum { LINEAR_TOKENS = VEC_LANES == 8 ? 1 : 2 };

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
 * Updates the state by u of one token or two, and reads it: what their queries get, and under the
 * delta rule what the next token recalls. Two at a time load and store the state half as often; the
 * delta rule cannot have them, as the second u is known only after the first update.
 */
VEC_FN void
linear_update(const size_t vecs, const bool gated, const bool delta, const size_t tokens,
              float *state, const struct linear_token *token, size_t dim, vec (*u)[LINEAR_VECS],
              vec (*out)[LINEAR_VECS], vec *recalled)
{
    DK_UNROLL
    for (size_t v = 0; v < vecs; v++) {
        DK_UNROLL
        for (size_t t = 0; t < tokens; t++)
            out[t][v] = vec_set(0);
        recalled[v] = vec_set(0);
    }
    for (size_t d = 0; d < dim; d++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            float *const at = state + d * DK_PANEL + v * VEC_LANES;
            vec s = vec_load(at);
            DK_UNROLL
            for (size_t t = 0; t < tokens; t++) {
                if (gated)
                    s = vec_mul(vec_set(token[t].keep[d]), s);
                s = vec_fma(vec_set(token[t].key[d]), u[t][v], s);
                out[t][v] = vec_fma(vec_set(token[t].query[d]), s, out[t][v]);
            }
            vec_store(at, s);
            if (delta)
                recalled[v] = vec_fma(vec_set(token->next_probe[d]), s, recalled[v]);
        }
    }
}

/*
 * Tokens t .. t + tokens - 1, for 'vecs' vectors of columns from column 'col' on; 'recalled' is
 * what the first of them recalls, and then what the one after them does.
 */
VEC_FN void
linear_tokens(const size_t vecs, const bool gated, const bool delta, const size_t tokens,
              const struct dk_linear_f32 *args, size_t t, size_t col, vec *recalled)
{
    const size_t stride = args->stride, next = t + tokens;
    struct linear_token token[LINEAR_TOKENS];
    vec u[LINEAR_TOKENS][LINEAR_VECS], out[LINEAR_TOKENS][LINEAR_VECS];

    DK_UNROLL
    for (size_t i = 0; i < tokens; i++) {
        token[i] = (struct linear_token){
            .key = args->key + (t + i) * stride,
            .keep = gated ? args->keep + (t + i) * stride : NULL,
            .query = args->query + (t + i) * args->heads * stride,
            /* the last token's own, for want of a next: nobody looks at the sum */
            .next_probe = delta ? args->probe + (next < args->tokens ? next : t) * stride : NULL,
        };
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            u[i][v] = vec_load(args->value + (t + i) * DK_PANEL + col + v * VEC_LANES);
            if (delta)
                u[i][v] = vec_mul(vec_set(args->beta[t + i]), vec_sub(u[i][v], recalled[v]));
        }
    }
    linear_update(vecs, gated, delta, tokens, args->state + col, token, args->dim, u, out,
                  recalled);
    DK_UNROLL
    for (size_t i = 0; i < tokens; i++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            vec_store(args->out + (t + i) * args->heads * DK_PANEL + col + v * VEC_LANES,
                      out[i][v]);
    }
}

/* All tokens, for 'vecs' vectors of columns from column 'col' on. */
VEC_FN void
linear_columns(const size_t vecs, const bool gated, const bool delta,
               const struct dk_linear_f32 *args, size_t col)
{
    vec recalled[LINEAR_VECS], out[LINEAR_VECS];
    size_t t = 0;

    if (delta && args->tokens > 0)
        linear_read(vecs, args->state + col, args->probe, args->dim, recalled);
    /* Further queries read the state between two tokens. */
    for (; !delta && args->heads == 1 && t + LINEAR_TOKENS <= args->tokens; t += LINEAR_TOKENS)
        linear_tokens(vecs, gated, delta, LINEAR_TOKENS, args, t, col, recalled);
    for (; t < args->tokens; t++) {
        linear_tokens(vecs, gated, delta, 1, args, t, col, recalled);
        for (size_t h = 1; h < args->heads; h++) {
            const size_t row = t * args->heads + h;
            linear_read(vecs, args->state + col, args->query + row * args->stride, args->dim, out);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                vec_store(args->out + row * DK_PANEL + col + v * VEC_LANES, out[v]);
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
