/*
 * test_multihead.c - the multi-head module against its definition in double precision, its
 * gradients against central differences of that; masks, layouts, bits, bad arguments, memory
 *
 * Every number that a loss depends on stands in one array, so that any of them can be moved a
 * little.
 */
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

static void *
zeros(size_t count, size_t size)
{
    void *const block = calloc(count + 1, size);
    test_require(block != NULL, "calloc");
    return block;
}

static size_t
all_keys(const struct problem *p)
{
    return p->shape.keys + (p->variant & ADDED ? 1 : 0) + (p->variant & ZERO ? 1 : 0);
}

static size_t
outputs(const struct problem *p)
{
    return p->shape.batch * p->shape.queries * p->shape.width;
}

static size_t
mask_rows(const struct problem *p)
{
    return (p->variant & PER_HEAD ? p->shape.batch * p->shape.heads : 1) * p->shape.queries;
}

/* The parameters and inputs of the call, from p->values. */
static void
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

static void
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

static struct problem
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

static void
drop(struct problem *p)
{
    void *const all[] = {p->x,         p->values,  p->padding, p->attn, p->padding_bias,
                         p->attn_bias, p->weights, p->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static dotk_status
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
static size_t
row_of(const struct problem *p, size_t rows, size_t n, size_t j)
{
    return p->variant & BATCH_FIRST ? n * rows + j : j * p->shape.batch + n;
}

/* Number c of a projected row: 'which' is QUERY, KEY or VALUE; keys from S on are those added. */
static double
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
static double
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
static void
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
static void
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
static void
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

/* Of all variants those that make sense, thinned out; every pair of bits is in some. */
static int
next_variant(int variant)
{
    do {
        variant += 7;
    } while ((variant & PADDING && variant & PADDING_BIAS) ||
             (variant & ATTN && variant & ATTN_BIAS) ||
             (variant & PER_HEAD && !(variant & (ATTN | ATTN_BIAS))));
    return variant;
}

static void
test_variants(void **state)
{
    size_t tried = 0;

    (void)state;
    for (int variant = 0; variant < VARIANTS; variant = next_variant(variant), tried++) {
        const size_t B = 1 + (size_t)variant % 3, L = 1 + (size_t)variant / 3 % 8;
        struct problem p = make((uint64_t)variant, variant, B, L, 9, 12, 1 + (size_t)variant % 4);
        p.options.weights_per_head = 1;
        assert_ok(forward(variant % 2 ? two : NULL, &p, NULL));
        check(&p);
        drop(&p);
    }
    assert_true(tried > 150);
}

static void
test_sizes(void **state)
{
    static const size_t sizes[][5] = {{2, 70, 100, 64, 2}, {1, 1, 1500, 80, 5}, {0, 3, 4, 8, 2},
                                      {2, 0, 4, 8, 2},     {2, 3, 0, 8, 2},     {1, 1, 1, 1, 1}};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int variant = 0; variant < 16; variant++) {
            struct problem p = make(s, variant | CAUSAL, sizes[s][0], sizes[s][1], sizes[s][2],
                                    sizes[s][3], sizes[s][4]);
            assert_ok(forward(two, &p, NULL));
            check(&p);
            drop(&p);
        }
    }
}

/* Averaged weights are the mean of those of the heads; none asked for changes nothing. */
static void
test_weights(void **state)
{
    struct problem p = make(3, ADDED | ZERO | PADDING, 2, 5, 7, 12, 3);
    const size_t A = all_keys(&p), row = 5 * A;
    float mean[2 * 5 * 9], out[2 * 5 * 12];

    (void)state;
    assert_ok(forward(NULL, &p, NULL));
    float *const heads = p.weights;
    p.weights = mean;
    p.options.weights_per_head = 0;
    assert_ok(forward(NULL, &p, NULL));
    for (size_t n = 0; n < 2; n++) {
        for (size_t i = 0; i < row; i++) {
            const double sum = (double)heads[n * 3 * row + i] + heads[(n * 3 + 1) * row + i] +
                               heads[(n * 3 + 2) * row + i];
            assert_true(fabs(mean[n * row + i] - sum / 3) <= 1e-6);
        }
    }
    memcpy(out, p.out, sizeof out);
    p.weights = NULL;
    assert_ok(forward(NULL, &p, NULL));
    assert_memory_equal(out, p.out, sizeof out);
    p.weights = heads;
    drop(&p);
}

/* Where everything is hidden, the answer is the bias of the last projection. */
static void
test_nothing_to_see(void **state)
{
    struct problem p = make(3, PADDING | ATTN, 2, 5, 7, 12, 3);

    (void)state;
    memset(p.padding, 1, 7);
    memset(p.attn + 7, 1, 7);
    assert_ok(forward(NULL, &p, NULL));
    check(&p);
    for (size_t c = 0; c < 12; c++) {
        assert_true(p.out[c] == p.values[p.start[B_OUT] + c]);          /* entry 0, query 0 */
        assert_true(p.out[3 * 12 + c] == p.values[p.start[B_OUT] + c]); /* entry 1, query 1 */
        assert_true(p.out[12 + c] != p.values[p.start[B_OUT] + c]);     /* entry 1, query 0 */
    }
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Gradients                                                                */
/* ------------------------------------------------------------------------- */

static dotk_multihead_gradients
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

static float *
room_for_saved(const struct problem *p)
{
    size_t floats;

    assert_ok(dotk_multihead_saved_count(&p->shape, &p->parameters, &p->options, &floats));
    const size_t B = p->shape.batch, L = p->shape.queries;
    assert_int_equal(floats, 2 * p->shape.width * B * (L + all_keys(p)) + B * p->shape.heads * L);
    return zeros(floats, sizeof(float));
}

static dotk_status
backward(dotk_context *context, const struct problem *p, const float *saved, const float *d_out,
         const dotk_multihead_gradients *gradients)
{
    return dotk_multihead_backward(context, &p->shape, &p->parameters, p->values,
                                   p->values + p->start[KEY], p->values + p->start[VALUE],
                                   &p->options, saved, d_out, gradients);
}

static double
loss(const struct problem *p, const float *d_out)
{
    double *const out = zeros(outputs(p), sizeof *out), sum = 0;

    reference(p, out, NULL);
    for (size_t i = 0; i < outputs(p); i++)
        sum += out[i] * d_out[i];
    free(out);
    return sum;
}

/* Some numbers of each part are moved; parts that the variant lacks keep what was there. */
static void
check_gradients(struct problem *p, const float *d_out, const float *gradient, uint64_t *seed)
{
    const double step = 1e-5;

    for (int part = 0; part < PARTS; part++) {
        const size_t count = p->start[part + 1] - p->start[part];
        const bool absent = (p->variant & NO_BIAS && (part == B_IN || part == B_OUT)) ||
                            (!(p->variant & ADDED) && (part == BIAS_K || part == BIAS_V));
        for (size_t turn = 0; turn < 6 && count > 0; turn++) {
            const size_t i = p->start[part] + test_random_below(seed, count);
            const double x = p->x[i];
            if (absent) {
                assert_true(gradient[i] == 77);
                continue;
            }
            p->x[i] = x + step;
            const double above = loss(p, d_out);
            p->x[i] = x - step;
            const double exact = (above - loss(p, d_out)) / (2 * step);
            p->x[i] = x;
            if (!(fabs(gradient[i] - exact) <= 2e-5 * fmax(1, fabs(exact))))
                fail_msg("variant %#x part %d number %zu: %g, not %g", (unsigned)p->variant, part,
                         i - p->start[part], gradient[i], exact);
        }
    }
}

static void
test_gradients(void **state)
{
    (void)state;
    for (int variant = 0; variant < VARIANTS; variant = next_variant(next_variant(variant))) {
        uint64_t seed = (uint64_t)variant;
        const size_t B = 1 + (size_t)variant % 3, L = 1 + (size_t)variant / 3 % 5;
        struct problem p = make(seed, variant, B, L, 6, 8, 1 + (size_t)variant % 2);
        float *const saved = room_for_saved(&p), *const d_out = zeros(outputs(&p), sizeof *d_out);
        float *const gradient = zeros(p.start[PARTS], sizeof *gradient);
        for (size_t i = 0; i < p.start[PARTS]; i++)
            gradient[i] = 77;
        test_random_floats(&seed, d_out, outputs(&p));
        const dotk_multihead_gradients wanted = gradients_at(&p, gradient);
        assert_ok(forward(NULL, &p, saved));
        assert_ok(backward(variant % 2 ? two : NULL, &p, saved, d_out, &wanted));
        check_gradients(&p, d_out, gradient, &seed);
        free(saved);
        free(d_out);
        free(gradient);
        drop(&p);
    }
}

/* One gradient at a time is what all at once give, on any number of threads. */
static void
test_bits(void **state)
{
    dotk_context *const contexts[] = {one, two, four};
    struct problem p = make(5, BATCH_FIRST | ADDED | ZERO | CAUSAL, 2, 70, 90, 48, 3);
    const size_t total = p.start[PARTS];
    float *const saved = room_for_saved(&p), *const d_out = zeros(outputs(&p), sizeof *d_out);
    float *const all = zeros(total, sizeof *all), *const single = zeros(total, sizeof *single);
    float *const out = zeros(outputs(&p), sizeof *out);
    uint64_t seed = 9;

    (void)state;
    test_random_floats(&seed, d_out, outputs(&p));
    const dotk_multihead_gradients wanted = gradients_at(&p, all);
    assert_ok(forward(NULL, &p, saved));
    assert_ok(backward(NULL, &p, saved, d_out, &wanted));
    memcpy(out, p.out, outputs(&p) * sizeof *out);
    for (size_t c = 0; c < 3; c++) {
        const dotk_multihead_gradients each = gradients_at(&p, single);
        float *const from[] = {each.query,        each.key,    each.value,  each.in_proj_weight,
                               each.in_proj_bias, each.bias_k, each.bias_v, each.out_proj_weight,
                               each.out_proj_bias};
        assert_ok(forward(contexts[c], &p, saved));
        assert_memory_equal(out, p.out, outputs(&p) * sizeof *out);
        memset(single, 0, total * sizeof *single);
        for (size_t i = 0; i < 9; i++) {
            dotk_multihead_gradients g = DOTK_MULTIHEAD_GRADIENTS_INIT;
            float **const to[] = {&g.query,        &g.key,    &g.value,  &g.in_proj_weight,
                                  &g.in_proj_bias, &g.bias_k, &g.bias_v, &g.out_proj_weight,
                                  &g.out_proj_bias};
            *to[i] = from[i];
            assert_ok(backward(contexts[c], &p, saved, d_out, &g));
        }
        assert_memory_equal(all, single, total * sizeof *all);
    }
    free(saved);
    free(d_out);
    free(all);
    free(single);
    free(out);
    drop(&p);
}

/* No queries: nothing to learn. */
static void
test_empty_gradients(void **state)
{
    static const size_t sizes[][3] = {{2, 0, 4}, {0, 3, 4}, {2, 3, 0}};

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        struct problem p = make(5, ADDED, sizes[s][0], sizes[s][1], sizes[s][2], 8, 2);
        float *const saved = room_for_saved(&p), *const d_out = zeros(outputs(&p), sizeof *d_out);
        float *const gradient = zeros(p.start[PARTS], sizeof *gradient);
        for (size_t i = 0; i < p.start[PARTS]; i++)
            gradient[i] = 77;
        const dotk_multihead_gradients wanted = gradients_at(&p, gradient);
        assert_ok(forward(NULL, &p, saved));
        assert_ok(backward(NULL, &p, saved, d_out, &wanted)); /* d_out is zeros */
        for (size_t i = 0; i < p.start[PARTS]; i++)
            assert_true(gradient[i] == 0);
        free(saved);
        free(d_out);
        free(gradient);
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  Arguments, memory                                                        */
/* ------------------------------------------------------------------------- */

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(forward(NULL, &(p), NULL), DOTK_BAD_ARGUMENT);                               \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    const struct problem good = make(1, BATCH_FIRST, 2, 3, 4, 8, 2);
    struct problem p;

    (void)state;
    assert_ok(forward(NULL, &good, NULL));
    assert_status(dotk_multihead_forward(NULL, NULL, &good.parameters, good.values, good.values,
                                         good.values, NULL, good.out, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    assert_status(dotk_multihead_forward(NULL, &good.shape, NULL, good.values, good.values,
                                         good.values, NULL, good.out, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("parameters is NULL");
    assert_status(dotk_multihead_forward(NULL, &good.shape, &good.parameters, good.values, NULL,
                                         good.values, NULL, good.out, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("key is NULL");
    assert_status(dotk_multihead_saved_count(&good.shape, &good.parameters, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.shape.heads = 3;
    refused(p, "shape->heads 3");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.shape.batch = SIZE_MAX / 64;
    refused(p, "overflow");
    p = good, p.shape.keys = SIZE_MAX;
    p.options.add_zero_attn = 1;
    refused(p, "overflow");
    p = good, p.shape.key_width = 5;
    refused(p, "shape->key_width is 5");
    p = good, p.parameters.in_proj_weight = NULL;
    refused(p, "q_proj_weight is NULL");
    p = good, p.parameters.v_proj_weight = good.values;
    refused(p, "v_proj_weight is given");
    p = good, p.parameters.out_proj_weight = NULL;
    refused(p, "out_proj_weight is NULL");
    p = good, p.parameters.bias_v = good.values;
    refused(p, "bias_k is NULL");
    p = good, p.parameters.struct_size = 1;
    refused(p, "struct_size is 1");
    p = good, p.options.struct_size = 1;
    refused(p, "struct_size is 1");
    p = good, p.options.dropout = 1;
    refused(p, "options->dropout is 1");
    p = good, p.options.attn_mask = p.attn, p.options.attn_bias = p.attn_bias;
    refused(p, "options->attn_bias are both given");
    p = good, p.options.key_padding_mask = p.padding, p.options.key_padding_bias = p.padding_bias;
    refused(p, "options->key_padding_bias are both given");
    p = good, p.out = p.values + 3;
    refused(p, "out overlaps query");
    p = good, p.out = p.values + p.start[W_V];
    refused(p, "out overlaps parameters->in_proj_weight");
    p = good, p.weights = p.out;
    refused(p, "weights overlaps out");
    p = good, p.options.key_padding_mask = (const uint8_t *)(const void *)(p.out + 2);
    refused(p, "out overlaps options->key_padding_mask");
    p = good;
    drop(&p);
}

static void
test_backward_arguments(void **state)
{
    struct problem p = make(1, BATCH_FIRST, 2, 3, 4, 8, 2);
    float *const saved = room_for_saved(&p), *const d_out = zeros(outputs(&p), sizeof *d_out);
    float *const gradient = zeros(p.start[PARTS], sizeof *gradient);
    dotk_multihead_gradients g = gradients_at(&p, gradient);

    (void)state;
    assert_ok(forward(NULL, &p, saved));
    assert_ok(backward(NULL, &p, saved, d_out, &g));
    assert_status(backward(NULL, &p, saved, d_out, NULL), DOTK_BAD_ARGUMENT);
    assert_message("gradients is NULL");
    assert_status(backward(NULL, &p, NULL, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("saved is NULL");
    assert_status(backward(NULL, &p, saved, NULL, &g), DOTK_BAD_ARGUMENT);
    assert_message("d_out is NULL");
    g.bias_k = gradient + p.start[BIAS_K];
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("gradients->bias_k is given");
    g.bias_k = NULL;
    g.key = g.query;
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("gradients->key overlaps gradients->query");
    g.key = d_out;
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("gradients->key overlaps d_out");
    g.struct_size = 3;
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("struct_size is 3");
    free(saved);
    free(d_out);
    free(gradient);
    drop(&p);
}

/* A problem, and room for its backward pass. */
struct both {
    struct problem p;
    float *saved, *d_out, *gradient;
};

static struct both
make_both(void)
{
    struct both both = {
        .p = make(2, BATCH_FIRST | ADDED | ZERO | PADDING | ATTN_BIAS, 2, 30, 40, 32, 4)};
    both.saved = room_for_saved(&both.p);
    both.d_out = zeros(outputs(&both.p), sizeof(float));
    both.gradient = zeros(both.p.start[PARTS], sizeof(float));
    return both;
}

static void
drop_both(struct both *both)
{
    free(both->saved);
    free(both->d_out);
    free(both->gradient);
    drop(&both->p);
}

static dotk_status
run_both(dotk_context *context, struct both *both)
{
    const dotk_multihead_gradients g = gradients_at(&both->p, both->gradient);
    dotk_status status = forward(context, &both->p, NULL);

    if (status == DOTK_OK)
        status = forward(context, &both->p, both->saved);
    if (status == DOTK_OK)
        status = backward(context, &both->p, both->saved, both->d_out, &g);
    return status;
}

static dotk_status
run_once(void *user)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = 2;
    dotk_status status = dotk_context_create(&options, &context);
    if (status != DOTK_OK)
        return status;
    status = run_both(context, user);
    dotk_context_destroy(context);
    return status;
}

static void
test_allocation_failures(void **state)
{
    struct both both = make_both();

    (void)state;
    assert_true(test_alloc_fail_each(run_once, &both) > 5);
    drop_both(&both);
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    struct both both = make_both();
    struct test_alloc alloc;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    (void)state;
    test_alloc_install(&alloc);
    options.threads = 2;
    assert_ok(dotk_context_create(&options, &context));
    assert_ok(run_both(context, &both));
    assert_ok(run_both(context, &both));
    const size_t cold = alloc.requests;
    for (int i = 0; i < 3; i++)
        assert_ok(run_both(context, &both));
    assert_int_equal(alloc.requests, cold);
    dotk_context_destroy(context);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
    drop_both(&both);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_nothing_to_see),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_empty_gradients),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_backward_arguments),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
