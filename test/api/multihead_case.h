/*
 * multihead_case.h - a multi-head module, and its answer in double precision
 *
 * Every number that a loss depends on stands in one array, so that any of them can be moved a
 * little.
 */
#ifndef DOTK_TEST_MULTIHEAD_CASE_H
#define DOTK_TEST_MULTIHEAD_CASE_H

#include "contexts.h"

#include <dotk/multihead.h>

enum part { QUERY, KEY, VALUE, W_Q, W_K, W_V, B_IN, BIAS_K, BIAS_V, W_OUT, B_OUT, PARTS };

/* What a variant has, as bits. */
enum {
    BATCH_FIRST = 1,
    SEPARATE = 2, /* weights, with key and value of other widths */
    ADDED = 4,    /* bias_k, bias_v                              */
    ZERO = 8,     /* add_zero_attn                               */
    CAUSAL = 16,
    PADDING = 32, /* a key padding mask                          */
    PADDING_BIAS = 64,
    ATTN = 128, /* an attention mask                           */
    ATTN_BIAS = 256,
    PER_HEAD = 512, /* masks of each head                          */
    NO_BIAS = 1024,
    DROPOUT = 2048,
    VARIANTS = 4096
};

struct problem {
    dotk_multihead_shape shape;
    dotk_multihead_options options;
    dotk_multihead_parameters parameters;
    int variant;
    size_t start[PARTS + 1];
    double *x;     /* all numbers            */
    float *values; /* the same, for the call */
    uint8_t *padding, *attn;
    float *padding_bias, *attn_bias;
    float *weights; /* (B, H, L, S') of the last forward call; dropout is read off them */
    float *out;
};

static inline void *
zeros(size_t count, size_t size)
{
    void *const block = calloc(count + 1, size);
    test_require(block != NULL, "calloc");
    return block;
}

static inline size_t
all_keys(const struct problem *p)
{
    return p->shape.keys + (p->variant & ADDED ? 1 : 0) + (p->variant & ZERO ? 1 : 0);
}

static inline size_t
outputs(const struct problem *p)
{
    return p->shape.batch * p->shape.queries * p->shape.width;
}

static inline size_t
mask_rows(const struct problem *p)
{
    return (p->variant & PER_HEAD ? p->shape.batch * p->shape.heads : 1) * p->shape.queries;
}

/* The parameters and inputs of the call, from p->values. */
static inline void
point(struct problem *p)
{
    const float *const at = p->values;
    const size_t *const start = p->start;

    p->parameters = (dotk_multihead_parameters)DOTK_MULTIHEAD_PARAMETERS_INIT;
    if (p->variant & SEPARATE) {
        p->parameters.q_proj_weight = at + start[W_Q];
        p->parameters.k_proj_weight = at + start[W_K];
        p->parameters.v_proj_weight = at + start[W_V];
    } else {
        p->parameters.in_proj_weight = at + start[W_Q];
    }
    if (!(p->variant & NO_BIAS)) {
        p->parameters.in_proj_bias = at + start[B_IN];
        p->parameters.out_proj_bias = at + start[B_OUT];
    }
    if (p->variant & ADDED) {
        p->parameters.bias_k = at + start[BIAS_K];
        p->parameters.bias_v = at + start[BIAS_V];
    }
    p->parameters.out_proj_weight = at + start[W_OUT];
}

static inline void
make_masks(struct problem *p, uint64_t *seed)
{
    const size_t S = p->shape.keys, padding = p->shape.batch * S, attn = mask_rows(p) * S;

    p->padding = zeros(padding, 1);
    p->attn = zeros(attn, 1);
    p->padding_bias = zeros(padding, sizeof(float));
    p->attn_bias = zeros(attn, sizeof(float));
    for (size_t i = 0; i < padding; i++) {
        p->padding[i] = test_random_below(seed, 4) == 0;
        p->padding_bias[i] = test_random_below(seed, 5) == 0 ? -INFINITY : test_random_float(seed);
    }
    for (size_t i = 0; i < attn; i++) {
        p->attn[i] = test_random_below(seed, 4) == 0;
        p->attn_bias[i] = test_random_below(seed, 5) == 0 ? -INFINITY : test_random_float(seed);
    }
    p->options.key_padding_mask = p->variant & PADDING ? p->padding : NULL;
    p->options.key_padding_bias = p->variant & PADDING_BIAS ? p->padding_bias : NULL;
    p->options.attn_mask = p->variant & ATTN ? p->attn : NULL;
    p->options.attn_bias = p->variant & ATTN_BIAS ? p->attn_bias : NULL;
}

static inline struct problem
make(uint64_t seed, int variant, size_t B, size_t L, size_t S, size_t M, size_t H)
{
    struct problem p = {
        .shape = {B, L, S, M, H, 0, 0}, .options = DOTK_MULTIHEAD_OPTIONS_INIT, .variant = variant};

    if (variant & SEPARATE) {
        p.shape.key_width = M / 2 + 1;
        p.shape.value_width = M + 3;
    }
    const size_t K = variant & SEPARATE ? p.shape.key_width : M;
    const size_t V = variant & SEPARATE ? p.shape.value_width : M;
    const size_t sizes[PARTS] = {B * L * M, B * S * K, B * S * V, M * M, M * K, M * V,
                                 3 * M,     M,         M,         M * M, M};
    for (size_t i = 0; i < PARTS; i++)
        p.start[i + 1] = p.start[i] + sizes[i];
    p.x = zeros(p.start[PARTS], sizeof *p.x);
    p.values = zeros(p.start[PARTS], sizeof *p.values);
    test_random_floats(&seed, p.values, p.start[PARTS]);
    for (size_t i = p.start[W_Q]; i < p.start[W_OUT]; i++)
        p.values[i] *= 2 / sqrtf((float)M);
    for (size_t i = 0; i < p.start[PARTS]; i++)
        p.x[i] = p.values[i];
    point(&p);
    p.options.batch_first = variant & BATCH_FIRST ? 1 : 0;
    p.options.add_zero_attn = variant & ZERO ? 1 : 0;
    p.options.causal = variant & CAUSAL ? 1 : 0;
    p.options.mask_per_head = variant & PER_HEAD ? 1 : 0;
    p.options.weights_per_head = 1;
    p.options.dropout = variant & DROPOUT ? 0.3f : 0;
    p.options.seed = seed;
    make_masks(&p, &seed);
    p.weights = zeros(B * H * L * all_keys(&p), sizeof *p.weights);
    p.out = zeros(outputs(&p), sizeof *p.out);
    return p;
}

static inline void
drop(struct problem *p)
{
    void *const all[] = {p->x,         p->values,  p->padding, p->attn, p->padding_bias,
                         p->attn_bias, p->weights, p->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static inline dotk_status
forward(dotk_context *context, const struct problem *p, float *saved)
{
    return dotk_multihead_forward(context, &p->shape, &p->parameters, p->values,
                                  p->values + p->start[KEY], p->values + p->start[VALUE],
                                  &p->options, p->out, p->weights, saved);
}

/* ------------------------------------------------------------------------- */
/*  The definition                                                           */
/* ------------------------------------------------------------------------- */

/* Row j of batch entry n of an array with 'rows' rows an entry. */
static inline size_t
row_of(const struct problem *p, size_t rows, size_t n, size_t j)
{
    return p->variant & BATCH_FIRST ? n * rows + j : j * p->shape.batch + n;
}

/* Number c of a projected row: 'which' is QUERY, KEY or VALUE; keys from S on are those added. */
static inline double
projected(const struct problem *p, enum part which, size_t n, size_t j, size_t c)
{
    const size_t M = p->shape.width, S = p->shape.keys;
    const size_t rows = which == QUERY ? p->shape.queries : S;
    const size_t width = (p->start[W_Q + which + 1] - p->start[W_Q + which]) / M;
    double sum = p->variant & NO_BIAS ? 0 : p->x[p->start[B_IN] + which * M + c];

    if (which != QUERY && j >= S)
        return j == S && p->variant & ADDED ? p->x[p->start[which == KEY ? BIAS_K : BIAS_V] + c]
                                            : 0;
    for (size_t i = 0; i < width; i++)
        sum += p->x[p->start[which] + row_of(p, rows, n, j) * width + i] *
               p->x[p->start[W_Q + which] + c * width + i];
    return sum;
}

/* What is added to a score; -INFINITY where the key is hidden. */
static inline double
masked(const struct problem *p, size_t n, size_t h, size_t i, size_t j)
{
    const size_t S = p->shape.keys;
    const size_t row = p->variant & PER_HEAD ? (n * p->shape.heads + h) * p->shape.queries + i : i;
    double sum = 0;

    if (j >= S)
        return 0;
    if (p->variant & CAUSAL && j > i)
        return -INFINITY;
    if ((p->variant & PADDING && p->padding[n * S + j]) ||
        (p->variant & ATTN && p->attn[row * S + j]))
        return -INFINITY;
    if (p->variant & PADDING_BIAS)
        sum += p->padding_bias[n * S + j];
    if (p->variant & ATTN_BIAS)
        sum += p->attn_bias[row * S + j];
    return sum;
}

struct projections {
    double *q, *k, *v; /* (B, rows, M) */
};

/* Attention of one query of a head; weights (S') with dropout, and the sum of values, (M / H). */
static inline void
attend(const struct problem *p, const struct projections *at, size_t n, size_t h, size_t i,
       double *weights, double *out)
{
    const size_t M = p->shape.width, D = M / p->shape.heads, A = all_keys(p);
    const float *const kept = p->weights + ((n * p->shape.heads + h) * p->shape.queries + i) * A;
    double sum = 0;

    memset(out, 0, D * sizeof *out);
    for (size_t j = 0; j < A; j++) {
        double score = 0;
        for (size_t d = 0; d < D; d++)
            score += at->q[(n * p->shape.queries + i) * M + h * D + d] *
                     at->k[(n * A + j) * M + h * D + d];
        weights[j] = exp(score / sqrt((double)D) + masked(p, n, h, i, j));
        sum += weights[j];
    }
    for (size_t j = 0; j < A; j++) {
        weights[j] = sum > 0 ? weights[j] / sum : 0;
        if (p->variant & DROPOUT)
            weights[j] = kept[j] == 0 ? 0 : weights[j] / (1 - (double)p->options.dropout);
        for (size_t d = 0; d < D; d++)
            out[d] += weights[j] * at->v[(n * A + j) * M + h * D + d];
    }
}

/* Writes out (as the call has it) and weights (B, H, L, S'); either may be NULL. */
static inline void
reference(const struct problem *p, double *out, double *weights)
{
    const size_t B = p->shape.batch, L = p->shape.queries, M = p->shape.width, A = all_keys(p);
    const struct projections at = {zeros(B * L * M, sizeof(double)),
                                   zeros(B * A * M, sizeof(double)),
                                   zeros(B * A * M, sizeof(double))};
    double *const row = zeros(A, sizeof *row), *const attended = zeros(M, sizeof *attended);

    for (size_t i = 0; i < B * L * M; i++)
        at.q[i] = projected(p, QUERY, i / M / L, i / M % L, i % M);
    for (size_t i = 0; i < B * A * M; i++) {
        at.k[i] = projected(p, KEY, i / M / A, i / M % A, i % M);
        at.v[i] = projected(p, VALUE, i / M / A, i / M % A, i % M);
    }
    for (size_t n = 0; n < B; n++) {
        for (size_t i = 0; i < L; i++) {
            for (size_t h = 0; h < p->shape.heads; h++) {
                attend(p, &at, n, h, i, row, attended + h * (M / p->shape.heads));
                if (weights != NULL)
                    memcpy(weights + ((n * p->shape.heads + h) * L + i) * A, row, A * sizeof *row);
            }
            for (size_t c = 0; c < M; c++) {
                double sum = p->variant & NO_BIAS ? 0 : p->x[p->start[B_OUT] + c];
                for (size_t d = 0; d < M; d++)
                    sum += attended[d] * p->x[p->start[W_OUT] + c * M + d];
                out[row_of(p, L, n, i) * M + c] = sum;
            }
        }
    }
    free(at.q);
    free(at.k);
    free(at.v);
    free(row);
    free(attended);
}

/* out and weights of the last call against the definition. */
static inline void
check(const struct problem *p)
{
    const size_t cells = p->shape.batch * p->shape.heads * p->shape.queries * all_keys(p);
    double *const out = zeros(outputs(p), sizeof *out);
    double *const weights = zeros(cells, sizeof *weights);

    reference(p, out, weights);
    for (size_t i = 0; i < outputs(p); i++) {
        if (!(fabs(p->out[i] - out[i]) <= 2e-5))
            fail_msg("variant %#x: out[%zu] is %g, not %g", (unsigned)p->variant, i, p->out[i],
                     out[i]);
    }
    for (size_t i = 0; i < cells; i++) {
        if (!(fabs(p->weights[i] - weights[i]) <= 1e-5))
            fail_msg("variant %#x: weights[%zu] is %g, not %g", (unsigned)p->variant, i,
                     p->weights[i], weights[i]);
    }
    free(out);
    free(weights);
}

/* ------------------------------------------------------------------------- */
/*  Gradients                                                                */
/* ------------------------------------------------------------------------- */

static inline dotk_multihead_gradients
gradients_at(const struct problem *p, float *at)
{
    dotk_multihead_gradients g = DOTK_MULTIHEAD_GRADIENTS_INIT;

    g.query = at;
    g.key = at + p->start[KEY];
    g.value = at + p->start[VALUE];
    if (p->variant & SEPARATE) {
        g.q_proj_weight = at + p->start[W_Q];
        g.k_proj_weight = at + p->start[W_K];
        g.v_proj_weight = at + p->start[W_V];
    } else {
        g.in_proj_weight = at + p->start[W_Q];
    }
    if (!(p->variant & NO_BIAS)) {
        g.in_proj_bias = at + p->start[B_IN];
        g.out_proj_bias = at + p->start[B_OUT];
    }
    if (p->variant & ADDED) {
        g.bias_k = at + p->start[BIAS_K];
        g.bias_v = at + p->start[BIAS_V];
    }
    g.out_proj_weight = at + p->start[W_OUT];
    return g;
}

static inline float *
room_for_saved(const struct problem *p)
{
    size_t floats;

    assert_ok(dotk_multihead_saved_count(&p->shape, &p->parameters, &p->options, &floats));
    const size_t B = p->shape.batch, L = p->shape.queries;
    assert_int_equal(floats, 2 * p->shape.width * B * (L + all_keys(p)) + B * p->shape.heads * L);
    return zeros(floats, sizeof(float));
}

static inline dotk_status
backward(dotk_context *context, const struct problem *p, const float *saved, const float *d_out,
         const dotk_multihead_gradients *gradients)
{
    return dotk_multihead_backward(context, &p->shape, &p->parameters, p->values,
                                   p->values + p->start[KEY], p->values + p->start[VALUE],
                                   &p->options, saved, d_out, gradients);
}

#endif /* DOTK_TEST_MULTIHEAD_CASE_H */
