/*
 * attention_reference.h - an attention problem, and its answer in double precision
 */
#ifndef DOTK_TEST_ATTENTION_REFERENCE_H
#define DOTK_TEST_ATTENTION_REFERENCE_H

#include "support.h"

#include <dotk/attention.h>

struct problem {
    dotk_attention_shape shape;
    dotk_attention_options options;
    float *q, *k, *v, *out, *lse;
};

static inline size_t
value_width(const struct problem *p)
{
    return p->shape.value_width != 0 ? p->shape.value_width : p->shape.width;
}

static inline size_t
heads_of(const struct problem *p)
{
    return p->shape.batch * p->shape.heads;
}

static float *
floats(size_t count)
{
    float *const array = malloc((count + 1) * sizeof *array);
    test_require(array != NULL, "malloc");
    return array;
}

/* Normal values: with the default scale, scores have variance 1. */
static inline struct problem
make(uint64_t seed, size_t batch, size_t heads, size_t queries, size_t keys, size_t width,
     size_t value_wide)
{
    struct problem p = {
        .shape = {batch, heads, queries, keys, width, value_wide},
        .options = DOTK_ATTENTION_OPTIONS_INIT,
    };
    const size_t n = batch * heads;
    p.q = floats(n * queries * width);
    p.k = floats(n * keys * width);
    p.v = floats(n * keys * value_width(&p));
    p.out = floats(n * queries * value_width(&p));
    p.lse = floats(n * queries);
    test_random_normals(&seed, p.q, n * queries * width);
    test_random_normals(&seed, p.k, n * keys * width);
    test_random_normals(&seed, p.v, n * keys * value_width(&p));
    return p;
}

static inline void
drop(struct problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->out);
    free(p->lse);
}

static inline dotk_status
forward(dotk_context *context, const struct problem *p)
{
    return dotk_attention_forward(context, &p->shape, p->q, p->k, p->v, &p->options, p->out,
                                  p->lse);
}

/* How many keys query i of batch entry b sees. */
static inline size_t
seen(const struct problem *p, size_t b, size_t i)
{
    size_t end = p->options.key_lengths != NULL ? p->options.key_lengths[b] : p->shape.keys;
    if (p->options.causal) {
        const long long causal = (long long)i + p->options.query_offset + 1;
        end = causal < 0 ? 0 : (size_t)causal < end ? (size_t)causal : end;
    }
    return end;
}

/* out (E), weights (S) and the log-sum-exp of one query. */
static inline double
reference(const struct problem *p, size_t head, size_t i, double *out, double *weight)
{
    const size_t D = p->shape.width, E = value_width(p), S = p->shape.keys;
    const size_t end = seen(p, head / p->shape.heads, i);
    const float *const q = p->q + (head * p->shape.queries + i) * D;
    const double scale = p->options.has_scale ? p->options.scale : 1 / sqrt((double)D);
    double most = -INFINITY, sum = 0;

    for (size_t j = 0; j < end; j++) {
        weight[j] = test_dot(q, p->k + (head * S + j) * D, D, NULL) * scale;
        most = fmax(most, weight[j]);
    }
    memset(out, 0, E * sizeof *out);
    for (size_t j = end; j < S; j++)
        weight[j] = 0;
    if (most == -INFINITY)
        return -INFINITY;
    for (size_t j = 0; j < end; j++)
        sum += weight[j] = exp(weight[j] - most);
    for (size_t j = 0; j < end; j++) {
        weight[j] /= sum;
        for (size_t e = 0; e < E; e++)
            out[e] += weight[j] * p->v[(head * S + j) * E + e];
    }
    return most + log(sum);
}

/* Compares p->out and p->lse with the reference; every 'step'th query. */
static inline void
check(const struct problem *p, size_t step)
{
    const size_t E = value_width(p), L = p->shape.queries, S = p->shape.keys;
    double *const out = malloc((E + 1) * sizeof *out);
    double *const weight = malloc((S + 1) * sizeof *weight);

    for (size_t row = 0; row < heads_of(p) * L; row += step) {
        const size_t head = row / L, i = row % L;
        const size_t end = seen(p, head / p->shape.heads, i);
        const double lse = reference(p, head, i, out, weight);
        double largest = 0;
        for (size_t j = 0; j < end * E; j++)
            largest = fmax(largest, fabs((double)p->v[head * S * E + j]));
        for (size_t e = 0; e < E; e++) {
            const double got = p->out[row * E + e];
            if (!(fabs(got - out[e]) <= 2e-6 * largest))
                fail_msg("B%zu H%zu L%zu S%zu D%zu E%zu: head %zu query %zu column %zu is %.9g, "
                         "want %.9g, %.2g of the largest value off",
                         p->shape.batch, p->shape.heads, L, S, p->shape.width, E, head, i, e, got,
                         out[e], fabs(got - out[e]) / largest);
        }
        if (lse == -INFINITY)
            assert_true(p->lse[row] == -INFINITY);
        else if (!(fabs(p->lse[row] - lse) <= 4e-6 * fmax(1, fabs(lse))))
            fail_msg("L%zu S%zu: log-sum-exp of query %zu is %.9g, want %.9g", L, S, i,
                     (double)p->lse[row], lse);
    }
    free(out);
    free(weight);
}

static inline void
assert_same(const float *a, const float *b, size_t count)
{
    if (memcmp(a, b, count * sizeof *a) == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("value %zu is %a in one and %a in the other", i, (double)a[i], (double)b[i]);
    }
}

#endif /* DOTK_TEST_ATTENTION_REFERENCE_H */
