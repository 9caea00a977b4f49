/*
 * backward_reference.h - gradients of attention in double precision, and a loss to difference
 *
 * The loss of a problem is sum(d_out * out). The textbook's gradients of it are worked out here
 * from whole rows of weights, with the sum of the absolute values of all that is added up for each,
 * in which errors are stated.
 */
#ifndef DOTK_TEST_BACKWARD_REFERENCE_H
#define DOTK_TEST_BACKWARD_REFERENCE_H

#include "attention_reference.h"

/* Where the parts of all gradients begin when they stand one after the other; and their number. */
struct parts {
    size_t q, k, v, bias, sinks, count;
};

/* Values of the bias: as many as its layout spans. */
static inline size_t
bias_count(const struct problem *p)
{
    const dotk_layout *const at = &p->options.bias_layout;

    if (p->options.bias == NULL)
        return 0;
    return (p->shape.batch - 1) * at->batch + (p->shape.heads - 1) * at->head +
           (p->shape.queries - 1) * at->row + p->shape.keys;
}

static inline struct parts
parts_of(const struct problem *p)
{
    struct parts parts = {0};

    parts.k = heads_of(p) * p->shape.queries * p->shape.width;
    parts.v = parts.k + p->shape.batch * key_heads(p) * p->shape.keys * p->shape.width;
    parts.bias = parts.v + p->shape.batch * key_heads(p) * p->shape.keys * value_width(p);
    parts.sinks = parts.bias + bias_count(p);
    parts.count = parts.sinks + (p->options.sinks != NULL ? p->shape.heads : 0);
    return parts;
}

/* What dropout multiplies a weight by; 'drop' says for each (head, query, key), NULL: nothing. */
static inline double
dropped(const struct problem *p, const double *drop, size_t row, size_t j)
{
    return drop == NULL ? 1 : drop[row * p->shape.keys + j];
}

static inline double
loss_of(const struct problem *p, const float *d_out, const double *drop)
{
    const size_t E = value_width(p), S = p->shape.keys, L = p->shape.queries;
    double *const out = calloc(E + S + 1, sizeof *out), *const weight = out + E;
    double loss = 0;

    for (size_t row = 0; row < heads_of(p) * L; row++) {
        const size_t head = row / L, b = head / p->shape.heads, h = head % p->shape.heads;
        (void)reference(p, head, row % L, out, weight);
        for (size_t j = 0; j < S; j++) {
            if (weight[j] != 0)
                loss += weight[j] * dropped(p, drop, row, j) *
                        test_dot(d_out + row * E, key_row(p, p->v, E, b, h, j), E, NULL);
        }
    }
    free(out);
    return loss;
}

/* All gradients, in the order of parts_of(), and what their errors are stated in. */
struct gradients {
    double *value, *magnitude;
};

static inline struct gradients
reference_gradients(const struct problem *p, const float *d_out, const double *drop)
{
    const size_t D = p->shape.width, E = value_width(p), S = p->shape.keys, L = p->shape.queries;
    const struct parts parts = parts_of(p);
    const struct gradients g = {calloc(parts.count + 1, sizeof(double)),
                                calloc(parts.count + 1, sizeof(double))};
    double *const out = calloc(E + 3 * S + 1, sizeof *out);
    double *const weight = out + E, *const dp = weight + S, *const size = dp + S;

    for (size_t row = 0; row < heads_of(p) * L; row++) {
        const size_t head = row / L, i = row % L;
        const size_t b = head / p->shape.heads, h = head % p->shape.heads;
        const struct place place = place_of(p, b, i);
        const size_t key_head = b * key_heads(p) + h / (p->shape.heads / key_heads(p));
        const float *const q = query_row(p, b, h, i);
        const double lse = reference(p, head, i, out, weight);
        double delta = 0, delta_size = 0;
        for (size_t j = 0; j < S; j++) {
            const double keep = dropped(p, drop, row, j);
            dp[j] = size[j] = 0;
            if (!key_counts(p, &place, b, h, i, j))
                continue;
            dp[j] = keep * test_dot(d_out + row * E, key_row(p, p->v, E, b, h, j), E, &size[j]);
            size[j] *= keep;
            delta += weight[j] * dp[j];
            delta_size += weight[j] * size[j];
        }
        for (size_t j = 0; j < S; j++) {
            if (!key_counts(p, &place, b, h, i, j))
                continue;
            const float *const k = key_row(p, p->k, D, b, h, j);
            const double s = scale_of(p) * test_dot(q, k, D, NULL), cap = p->options.softcap;
            const double slope = cap != 0 ? 1 - tanh(s / cap) * tanh(s / cap) : 1;
            const double ds = weight[j] * (dp[j] - delta);
            const double ds_size = weight[j] * (size[j] + delta_size);
            const double keep = dropped(p, drop, row, j), scale = scale_of(p);
            for (size_t d = 0; d < D; d++) {
                const size_t at_q = parts.q + row * D + d;
                const size_t at_k = parts.k + (key_head * S + j) * D + d;
                g.value[at_q] += scale * ds * slope * k[d];
                g.magnitude[at_q] += fabs(scale * ds_size * k[d]);
                g.value[at_k] += scale * ds * slope * q[d];
                g.magnitude[at_k] += fabs(scale * ds_size * q[d]);
            }
            for (size_t e = 0; e < E; e++) {
                const size_t at_v = parts.v + (key_head * S + j) * E + e;
                g.value[at_v] += weight[j] * keep * d_out[row * E + e];
                g.magnitude[at_v] += fabs(weight[j] * keep * d_out[row * E + e]);
            }
            if (p->options.bias != NULL) {
                const dotk_layout *const at = &p->options.bias_layout;
                const size_t place_of_bias = parts.bias + b * at->batch + h * at->head +
                                             i * at->row + j;
                g.value[place_of_bias] += ds;
                g.magnitude[place_of_bias] += ds_size;
            }
        }
        if (p->options.sinks != NULL) {
            const double share = exp(p->options.sinks[h] - lse);
            g.value[parts.sinks + h] -= share * delta;
            g.magnitude[parts.sinks + h] += share * delta_size;
        }
    }
    free(out);
    return g;
}

static inline void
drop_gradients(struct gradients *g)
{
    free(g->value);
    free(g->magnitude);
}

/* The array of the problem that holds parameter n of parts_of(), and its place in it. */
static inline float *
parameter(const struct problem *p, size_t n)
{
    const struct parts parts = parts_of(p);

    if (n < parts.k)
        return p->q + n;
    if (n < parts.v)
        return p->k + (n - parts.k);
    if (n < parts.bias)
        return p->v + (n - parts.v);
    if (n < parts.sinks)
        return (float *)(uintptr_t)p->options.bias + (n - parts.bias);
    return (float *)(uintptr_t)p->options.sinks + (n - parts.sinks);
}

/* dotk_attention_backward() of dense f32 arrays, gradients one after the other. */
static inline dotk_status
backward(dotk_context *context, const struct problem *p, const float *d_out, float *gradient)
{
    const struct parts parts = parts_of(p);
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;

    gradients.q = gradient + parts.q;
    gradients.k = gradient + parts.k;
    gradients.v = gradient + parts.v;
    gradients.bias = p->options.bias != NULL ? gradient + parts.bias : NULL;
    gradients.sinks = p->options.sinks != NULL ? gradient + parts.sinks : NULL;
    return dotk_attention_backward(context, &p->shape, p->q, p->k, p->v, &p->options, p->out,
                                   p->lse, d_out, &gradients);
}

static inline const char *
part_name(const struct parts *parts, size_t n)
{
    return n < parts->k       ? "q"
           : n < parts->v     ? "k"
           : n < parts->bias  ? "v"
           : n < parts->sinks ? "bias"
                              : "sinks";
}

/* |got - want| <= bound * magnitude, for every gradient */
static inline void
check_gradients(const struct problem *p, const float *got, const struct gradients *want,
                double bound)
{
    const struct parts parts = parts_of(p);

    for (size_t n = 0; n < parts.count; n++) {
        if (!(fabs((double)got[n] - want->value[n]) <= bound * want->magnitude[n] + 1e-37))
            fail_msg(
                "B%zu H%zu G%zu L%zu S%zu D%zu E%zu: gradient %zu of all, of %s, is %.9g, want "
                "%.9g, off by %.2g of %.3g",
                p->shape.batch, p->shape.heads, key_heads(p), p->shape.queries, p->shape.keys,
                p->shape.width, value_width(p), n, part_name(&parts, n), (double)got[n],
                want->value[n], fabs((double)got[n] - want->value[n]) / want->magnitude[n],
                want->magnitude[n]);
    }
}

#endif /* DOTK_TEST_BACKWARD_REFERENCE_H */
