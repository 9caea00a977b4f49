/*
 * test_linear_attention.c - every update rule against its definition in double precision; states
 * that continue; bits, bad arguments, memory
 */
#include "calls.h"
#include "contexts.h"

#include <dotk/linear_attention.h>

struct problem {
    dotk_linear_attention_shape shape;
    dotk_linear_attention_options options;
    float *q, *k, *v, *decay, *beta, *past, *present, *out; /* dense */
};

static float *
floats(size_t count)
{
    float *const block = calloc(count + 1, sizeof *block);
    test_require(block != NULL, "calloc");
    return block;
}

static size_t
key_heads(const struct problem *p)
{
    return p->shape.key_heads != 0 ? p->shape.key_heads : p->shape.heads;
}

static size_t
value_width(const struct problem *p)
{
    return p->shape.value_width != 0 ? p->shape.value_width : p->shape.width;
}

static size_t
columns(const struct problem *p)
{
    return value_width(p) + (p->options.normalize ? 1 : 0);
}

static size_t
outputs(const struct problem *p)
{
    return p->shape.batch * p->shape.heads * p->shape.tokens * value_width(p);
}

static size_t
states(const struct problem *p)
{
    return p->shape.batch * key_heads(p) * p->shape.width * columns(p);
}

/* rule, and what else the options say, in 'variant'. */
enum { PER_HEAD = 4, PER_TOKEN = 8, ELU = 16, NORMALIZE = 32 };

static struct problem
make(uint64_t seed, int variant, dotk_linear_attention_shape shape)
{
    struct problem p = {shape, DOTK_LINEAR_ATTENTION_OPTIONS_INIT, 0, 0, 0, 0, 0, 0, 0, 0};
    const size_t B = shape.batch, G = key_heads(&p), T = shape.tokens, D = shape.width;

    p.options.rule = (dotk_linear_rule)(variant & 3);
    p.options.decay_per_head = variant & PER_HEAD ? 1 : 0;
    p.options.beta_per_token = variant & PER_TOKEN ? 1 : 0;
    p.options.feature_map = variant & ELU ? DOTK_FEATURE_ELU_PLUS_1 : DOTK_FEATURE_NONE;
    p.options.normalize = variant & NORMALIZE ? 1 : 0;
    p.q = floats(B * shape.heads * T * D);
    p.k = floats(B * G * T * D);
    p.v = floats(B * G * T * value_width(&p));
    p.decay = floats(B * G * T * D);
    p.beta = floats(B * G * T);
    p.past = floats(states(&p));
    p.present = floats(states(&p));
    p.out = floats(outputs(&p));
    test_random_floats(&seed, p.q, B * shape.heads * T * D);
    test_random_floats(&seed, p.k, B * G * T * D);
    test_random_floats(&seed, p.v, B * G * T * value_width(&p));
    test_random_floats(&seed, p.past, states(&p));
    for (size_t i = 0; i < B * G * T * D; i++) {
        p.k[i] /= sqrtf((float)D / 3); /* keys of about length 1 */
        p.decay[i] = test_random_float(&seed) / 4 - 0.25f;
    }
    for (size_t i = 0; i < B * G * T; i++)
        p.beta[i] = test_random_float(&seed) / 2 + 0.5f;
    for (size_t i = 0; p.options.normalize && i < states(&p); i++)
        p.past[i] = fabsf(p.past[i]) + 0.1f; /* a sum of positive keys */
    p.options.decay = variant & DOTK_LINEAR_GATED ? p.decay : NULL;
    p.options.beta = variant & DOTK_LINEAR_DELTA ? p.beta : NULL;
    return p;
}

static void
drop(struct problem *p)
{
    float *const all[] = {p->q, p->k, p->v, p->decay, p->beta, p->past, p->present, p->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static dotk_status
forward(dotk_context *context, const struct problem *p)
{
    return dotk_linear_attention(context, &p->shape, p->q, p->k, p->v, &p->options, p->past,
                                 p->present, p->out);
}

/* ------------------------------------------------------------------------- */
/*  The definition                                                           */
/* ------------------------------------------------------------------------- */

static double
mapped(const struct problem *p, double x)
{
    if (p->options.feature_map == DOTK_FEATURE_NONE)
        return x;
    return x > 0 ? x + 1 : exp(x);
}

/* One token of one head of keys: its state S (D, W), in place. */
static void
update(const struct problem *p, size_t head, size_t t, double *S)
{
    const size_t T = p->shape.tokens, D = p->shape.width, E = value_width(p), W = columns(p);
    const bool gated = p->options.rule & DOTK_LINEAR_GATED;
    const bool delta = p->options.rule & DOTK_LINEAR_DELTA;
    const size_t at = head * T + t, entry = head / key_heads(p);

    for (size_t d = 0; gated && d < D; d++) {
        const double g = p->options.decay_per_head ? p->decay[at] : p->decay[at * D + d];
        for (size_t c = 0; c < W; c++)
            S[d * W + c] *= exp(g);
    }
    for (size_t c = 0; c < W; c++) {
        double u = c < E ? p->v[at * E + c] : 1;
        if (delta) {
            double recalled = 0;
            for (size_t d = 0; d < D; d++)
                recalled += S[d * W + c] * mapped(p, p->k[at * D + d]);
            u = (p->options.beta_per_token ? p->beta[entry * T + t] : p->beta[at]) * (u - recalled);
        }
        for (size_t d = 0; d < D; d++)
            S[d * W + c] += mapped(p, p->k[at * D + d]) * u;
    }
}

static void
check_output(const struct problem *p, const double *S, size_t head, size_t t, double tolerance)
{
    const size_t T = p->shape.tokens, D = p->shape.width, E = value_width(p), W = columns(p);
    const double scale = p->options.has_scale ? (double)p->options.scale : 1 / sqrt((double)D);
    double most = 0, exact[300];

    for (size_t c = W; c-- > 0;) {
        exact[c] = 0;
        for (size_t d = 0; d < D; d++)
            exact[c] += scale * mapped(p, p->q[(head * T + t) * D + d]) * S[d * W + c];
    }
    for (size_t c = 0; c < E; c++) {
        if (p->options.normalize)
            exact[c] /= exact[E];
        most = fmax(most, fabs(exact[c]));
    }
    for (size_t c = 0; c < E; c++) {
        const double found = p->out[(head * T + t) * E + c];
        if (!(fabs(found - exact[c]) <= tolerance * fmax(1, most)))
            fail_msg("head %zu token %zu column %zu: %g, not %g", head, t, c, found, exact[c]);
    }
}

static void
check(const struct problem *p, double tolerance)
{
    const size_t T = p->shape.tokens, D = p->shape.width, W = columns(p);
    const size_t group = p->shape.heads / key_heads(p);
    double *const S = malloc((D * W + 1) * sizeof *S);

    for (size_t head = 0; head < p->shape.batch * key_heads(p); head++) {
        const size_t *const lengths = p->options.lengths;
        const size_t length = lengths != NULL ? lengths[head / key_heads(p)] : T;
        for (size_t i = 0; i < D * W; i++)
            S[i] = p->past[head * D * W + i];
        for (size_t t = 0; t < length; t++) {
            update(p, head, t, S);
            for (size_t h = 0; h < group; h++)
                check_output(p, S, head * group + h, t, tolerance);
        }
        for (size_t i = length * value_width(p); i < T * value_width(p); i++) {
            for (size_t h = 0; h < group; h++)
                assert_true(p->out[(head * group + h) * T * value_width(p) + i] == 0);
        }
        for (size_t i = 0; i < D * W; i++) {
            const double found = p->present[head * D * W + i];
            if (!(fabs(found - S[i]) <= 2e-5 * fmax(1, fabs(S[i]))))
                fail_msg("state of head %zu, number %zu: %g, not %g", head, i, found, S[i]);
        }
    }
    free(S);
}

static void
test_rules(void **state)
{
    static const dotk_linear_attention_shape shapes[] = {
        {2, 4, 20, 8, 0, 0},   {1, 2, 33, 64, 64, 1}, {2, 6, 5, 17, 80, 2},  {1, 1, 40, 31, 5, 0},
        {3, 2, 1, 16, 130, 0}, {1, 3, 17, 1, 1, 1},   {2, 2, 16, 100, 63, 0}};

    (void)state;
    for (int variant = 0; variant < 64; variant++) {
        if ((variant & NORMALIZE) && (variant & DOTK_LINEAR_DELTA))
            continue;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            struct problem p = make((uint64_t)variant, variant, shapes[s]);
            if (p.options.normalize && !p.options.feature_map)
                for (size_t i = 0;
                     i < p.shape.batch * p.shape.heads * p.shape.tokens * p.shape.width; i++) {
                    p.q[i] = fabsf(p.q[i]);
                    if (i < p.shape.batch * key_heads(&p) * p.shape.tokens * p.shape.width)
                        p.k[i] = fabsf(p.k[i]);
                }
            if (p.options.feature_map && (variant & DOTK_LINEAR_DELTA)) /* keys that are too long */
                for (size_t i = 0; i < p.shape.batch * key_heads(&p) * p.shape.tokens; i++)
                    p.beta[i] /= (float)(2 * p.shape.width);
            p.options.has_scale = (variant + (int)s) % 2;
            p.options.scale = p.options.has_scale ? -0.75f : 0;
            assert_ok(forward(s % 2 ? two : NULL, &p));
            check(&p, 2e-5);
            drop(&p);
        }
    }
}

/* Two numbers are stored under two keys; then one is replaced. By hand. */
static void
test_by_hand(void **state)
{
    const float keys[3][2] = {{1, 0}, {0, 1}, {1, 0}}, values[3] = {5, 7, 9};
    const float queries[3][2] = {{1, 0}, {1, 1}, {1, 1}}, beta[3] = {1, 1, 0.5f};
    const float decay[3] = {0, -0.693147181f, 0}; /* the second token halves what was */
    const dotk_linear_attention_shape shape = {1, 1, 3, 2, 1, 0};
    dotk_linear_attention_options options = DOTK_LINEAR_ATTENTION_OPTIONS_INIT;
    float out[3], S[2];

    (void)state;
    options.has_scale = 1;
    options.scale = 1;
    assert_ok(dotk_linear_attention(NULL, &shape, queries, keys, values, &options, NULL, S, out));
    assert_true(out[0] == 5 && out[1] == 12 && out[2] == 21 && S[0] == 14 && S[1] == 7);
    options.rule = DOTK_LINEAR_DELTA;
    options.beta = beta;
    assert_ok(dotk_linear_attention(NULL, &shape, queries, keys, values, &options, NULL, S, out));
    assert_true(out[0] == 5 && out[1] == 12 && out[2] == 14 && S[0] == 7 && S[1] == 7);
    options.rule = DOTK_LINEAR_GATED_DELTA;
    options.decay = decay;
    options.decay_per_head = 1;
    assert_ok(dotk_linear_attention(NULL, &shape, queries, keys, values, &options, NULL, S, out));
    assert_true(out[0] == 5 && out[1] == 9.5f && out[2] == 12.75f && S[0] == 5.75f && S[1] == 7);
    /* elu + 1, normalised: weights 1, then (1 e^-1) with key features (2, 1), (1, 2) */
    options = (dotk_linear_attention_options)DOTK_LINEAR_ATTENTION_OPTIONS_INIT;
    options.feature_map = DOTK_FEATURE_ELU_PLUS_1;
    options.normalize = 1;
    assert_ok(
        dotk_linear_attention(NULL, &shape, queries, keys, values, &options, NULL, NULL, out));
    assert_true(fabsf(out[0] - 5) <= 1e-6f && fabsf(out[1] - 6) <= 1e-6f);
}

/* ------------------------------------------------------------------------- */
/*  Layouts and types                                                        */
/* ------------------------------------------------------------------------- */

/* ONNX's arrays: (B, T, heads * width). */
static float *
packed(const float *from, size_t B, size_t heads, size_t T, size_t width)
{
    float *const to = floats(B * heads * T * width);

    for (size_t i = 0; i < B * heads * T * width; i++) {
        const size_t c = i % width, t = i / width % T, h = i / width / T % heads;
        to[((i / width / T / heads * T + t) * heads + h) * width + c] = from[i];
    }
    return to;
}

static dotk_layout
packed_layout(size_t heads, size_t T, size_t width)
{
    return (dotk_layout){.batch = T * heads * width, .head = width, .row = heads * width};
}

static void
test_packed_layout(void **state)
{
    (void)state;
    for (int per_head = 0; per_head < 2; per_head++) {
        const size_t B = 2, H = 6, G = 3, T = 20, D = 8, E = 10;
        struct problem p = make(1, 3 | (per_head ? PER_HEAD : 0),
                                (dotk_linear_attention_shape){B, H, T, D, E, G});
        assert_ok(forward(NULL, &p));
        const struct problem dense = p;
        float *const before = p.out;
        p.q = packed(dense.q, B, H, T, D);
        p.k = packed(dense.k, B, G, T, D);
        p.v = packed(dense.v, B, G, T, E);
        p.decay = packed(dense.decay, B, G, T, per_head ? 1 : D);
        p.beta = packed(dense.beta, B, G, T, 1);
        p.out = floats(outputs(&p));
        p.options.query = packed_layout(H, T, D);
        p.options.key = packed_layout(G, T, D);
        p.options.value = packed_layout(G, T, E);
        p.options.output = packed_layout(H, T, E);
        p.options.decay = p.decay;
        p.options.decay_layout = packed_layout(G, T, per_head ? 1 : D);
        p.options.beta = p.beta;
        p.options.beta_layout = packed_layout(G, T, 1);
        assert_ok(forward(two, &p));
        float *const expected = packed(before, B, H, T, E);
        assert_memory_equal(p.out, expected, outputs(&p) * sizeof *p.out);
        free(expected);
        float *const others[] = {dense.q, dense.k, dense.v, dense.decay, dense.beta, dense.out};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            free(others[i]);
        drop(&p);
    }
}

/* Numbers that bf16 holds exactly, in f32 and as the upper halves of it. */
static uint16_t *
halve(float *from, size_t count)
{
    uint16_t *const to = malloc((count + 1) * sizeof *to);

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &from[i], sizeof bits);
        to[i] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000u;
        memcpy(&from[i], &bits, sizeof bits);
    }
    return to;
}

static void
test_bf16(void **state)
{
    const size_t B = 2, H = 4, G = 2, T = 30, D = 24, E = 70;
    struct problem p = make(2, 3, (dotk_linear_attention_shape){B, H, T, D, E, G});
    uint16_t *const q = halve(p.q, B * H * T * D), *const k = halve(p.k, B * G * T * D);
    uint16_t *const v = halve(p.v, B * G * T * E), *const decay = halve(p.decay, B * G * T * D);
    uint16_t *const beta = halve(p.beta, B * G * T), *const out = malloc(outputs(&p) * sizeof *out);
    float *const present = floats(states(&p));

    (void)state;
    assert_ok(forward(NULL, &p));
    check(&p, 2e-5);
    p.options.store = DOTK_STORE_BF16;
    p.options.decay = decay;
    p.options.beta = beta;
    assert_ok(dotk_linear_attention(two, &p.shape, q, k, v, &p.options, p.past, present, out));
    assert_memory_equal(present, p.present, states(&p) * sizeof *present);
    for (size_t i = 0; i < outputs(&p); i++) {
        const uint32_t bits = (uint32_t)out[i] << 16;
        float found;
        memcpy(&found, &bits, sizeof found);
        assert_true(fabsf(found - p.out[i]) <= fabsf(p.out[i]) * 0x1p-8f); /* rounded once */
    }
    void *const all[] = {q, k, v, decay, beta, out, present};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Bits                                                                     */
/* ------------------------------------------------------------------------- */

/* The same tokens, in calls of 'step' tokens on a context, in place. */
static void
continued(dotk_context *context, const struct problem *p, size_t step, float *present, float *out)
{
    const size_t T = p->shape.tokens, D = p->shape.width, E = value_width(p);
    struct problem part = *p;

    part.options.query = part.options.key = (dotk_layout){0, T * D, D};
    part.options.value = part.options.output = (dotk_layout){0, T * E, E};
    part.options.query.batch = p->shape.heads * T * D;
    part.options.key.batch = key_heads(p) * T * D;
    part.options.value.batch = key_heads(p) * T * E;
    part.options.output.batch = p->shape.heads * T * E;
    part.options.decay_layout = part.options.key;
    part.options.beta_layout = (dotk_layout){key_heads(p) * T, T, 1};
    memcpy(present, p->past, states(p) * sizeof *present);
    for (size_t t = 0; t < T; t += step) {
        part.shape.tokens = step < T - t ? step : T - t;
        part.options.decay = p->options.decay != NULL ? p->decay + t * D : NULL;
        part.options.beta = p->options.beta != NULL ? p->beta + t : NULL;
        assert_ok(dotk_linear_attention(context, &part.shape, p->q + t * D, p->k + t * D,
                                        p->v + t * E, &part.options, present, present,
                                        out + t * E));
    }
}

static void
test_bits(void **state)
{
    dotk_context *const contexts[] = {NULL, one, two, four};

    (void)state;
    for (int rule = 0; rule < 4; rule++) {
        struct problem p = make((uint64_t)rule, rule,
                                (dotk_linear_attention_shape){2, 4, 50, 33, 150, 2});
        float *const present = floats(states(&p)), *const out = floats(outputs(&p));
        assert_ok(forward(NULL, &p));
        for (size_t c = 0; c < 4; c++) {
            for (size_t step = 1; step <= 50; step += 7) {
                continued(contexts[c], &p, step, present, out);
                assert_memory_equal(present, p.present, states(&p) * sizeof *present);
                assert_memory_equal(out, p.out, outputs(&p) * sizeof *out);
            }
        }
        /* the second batch entry alone */
        p.shape.batch = 1;
        const size_t D = p.shape.width;
        p.options.decay = rule & DOTK_LINEAR_GATED ? p.decay + 2 * 50 * D : NULL;
        p.options.beta = rule & DOTK_LINEAR_DELTA ? p.beta + 2 * 50 : NULL;
        assert_ok(dotk_linear_attention(two, &p.shape, p.q + outputs(&p) / 150 * D,
                                        p.k + 2 * 50 * D, p.v + 2 * 50 * 150, &p.options,
                                        p.past + states(&p), present, out));
        assert_memory_equal(out, p.out + outputs(&p), outputs(&p) * sizeof *out);
        assert_memory_equal(present, p.present + states(&p), states(&p) * sizeof *present);
        free(present);
        free(out);
        drop(&p);
    }
}

/* So long that a call takes several stretches, and so many heads that it takes several waves. */
static void
test_stretches_and_waves(void **state)
{
    const bool slow = strcmp(dotk_context_isa(NULL), "portable") == 0;
    const dotk_linear_attention_shape shapes[] = {{1, 1, 2500, slow ? 64 : 400, 0, 0},
                                                  {1, 300, 3, 64, 0, 0}};

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        struct problem p = make(s, DOTK_LINEAR_GATED_DELTA, shapes[s]);
        float *const present = floats(states(&p)), *const out = floats(outputs(&p));
        assert_ok(forward(two, &p));
        continued(NULL, &p, s == 0 ? 100 : 2, present, out);
        assert_memory_equal(present, p.present, states(&p) * sizeof *present);
        assert_memory_equal(out, p.out, outputs(&p) * sizeof *out);
        free(present);
        free(out);
        drop(&p);
    }
}

static void
test_lengths_and_states(void **state)
{
    const size_t lengths[] = {0, 20, 7};

    (void)state;
    for (int rule = 0; rule < 4; rule++) {
        struct problem p = make((uint64_t)rule, rule,
                                (dotk_linear_attention_shape){3, 4, 20, 12, 70, 2});
        p.options.lengths = lengths;
        for (size_t i = 7 * 12; i < 20 * 12; i++) /* what does not exist is not looked at */
            p.k[4 * 20 * 12 + i] = NAN;
        for (size_t i = 0; i < outputs(&p); i++)
            p.out[i] = NAN;
        assert_ok(forward(two, &p));
        check(&p, 2e-5);
        /* no past is a past of zeros; the present may go unheard */
        float *const out = floats(outputs(&p));
        memset(p.past, 0, states(&p) * sizeof *p.past);
        assert_ok(forward(NULL, &p));
        assert_ok(
            dotk_linear_attention(NULL, &p.shape, p.q, p.k, p.v, &p.options, NULL, NULL, out));
        assert_memory_equal(out, p.out, outputs(&p) * sizeof *out);
        free(out);
        /* no tokens: the state stays */
        p.past[5] = 3;
        p.shape.tokens = 0;
        p.options.lengths = NULL;
        assert_ok(forward(NULL, &p));
        assert_memory_equal(p.present, p.past, states(&p) * sizeof *p.past);
        drop(&p);
    }
    struct problem p = make(1, NORMALIZE, (dotk_linear_attention_shape){1, 1, 2, 4, 4, 0});
    memset(p.past, 0, states(&p) * sizeof *p.past);
    memset(p.q, 0, 8 * sizeof *p.q); /* a divisor of 0 */
    assert_ok(forward(NULL, &p));
    for (size_t i = 0; i < outputs(&p); i++)
        assert_true(p.out[i] == 0);
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Arguments, memory, cancelling                                            */
/* ------------------------------------------------------------------------- */

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(forward(NULL, &(p)), DOTK_BAD_ARGUMENT);                                     \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    const struct problem good = make(1, 3, (dotk_linear_attention_shape){2, 4, 5, 6, 7, 2});
    const size_t lengths[] = {5, 6};
    struct problem p;

    (void)state;
    assert_ok(forward(NULL, &good));
    assert_status(
        dotk_linear_attention(NULL, NULL, good.q, good.k, good.v, NULL, NULL, NULL, good.out),
        DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    p = good, p.q = NULL;
    refused(p, "q is NULL");
    p = good, p.shape.heads = 0;
    refused(p, "shape->heads is 0 with shape->key_heads 2");
    p = good, p.k = NULL;
    refused(p, "k is NULL");
    p = good, p.v = NULL;
    refused(p, "v is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.shape.key_heads = 3;
    refused(p, "shape->heads is 4");
    p = good, p.options.decay = NULL;
    refused(p, "options->decay is NULL");
    p = good, p.options.beta = NULL;
    refused(p, "options->beta is NULL");
    p = good, p.options.rule = DOTK_LINEAR_GATED;
    refused(p, "options->beta is given");
    p = good, p.options.rule = DOTK_LINEAR_DELTA;
    refused(p, "options->decay is given");
    p = good, p.options.rule = (dotk_linear_rule)4;
    refused(p, "options->rule is 4");
    p = good, p.options.feature_map = (dotk_feature_map)2;
    refused(p, "options->feature_map is 2");
    p = good, p.options.normalize = 1;
    refused(p, "options->normalize is 1");
    p = good, p.options.has_scale = 1, p.options.scale = INFINITY;
    refused(p, "options->scale is inf");
    p = good, p.options.scale = 2;
    refused(p, "options->scale is 2 and options->has_scale 0");
    p = good, p.options.store = DOTK_STORE_INT8;
    refused(p, "options->store is 3");
    p = good, p.options.lengths = lengths;
    refused(p, "options->lengths[1] is 6");
    p = good, p.options.key.row = 4;
    refused(p, "options->key.row is 4");
    p = good, p.options.output = (dotk_layout){140, 14, 7};
    refused(p, "rows of 7 would overlap");
    p = good, p.shape.tokens = SIZE_MAX / 4;
    refused(p, "overflow");
    p = good, p.shape.batch = SIZE_MAX / 64;
    refused(p, "overflow");
    p = good, p.options.decay_layout = (dotk_layout){100, 50, SIZE_MAX / 8};
    refused(p, "decay");
    p = good, p.options.beta_layout = (dotk_layout){SIZE_MAX / 8, 5, 1};
    refused(p, "beta");
    p = good, p.options.decay_layout.row = 9;
    refused(p, "options->decay_layout.head is 0 in strides of 0, 0, 9");
    p = good, p.options.beta_layout.batch = 90;
    refused(p, "options->beta_layout.row is 0 in strides of 90, 0, 0");
    p = good, p.out = p.k + 1;
    refused(p, "out overlaps k");
    p = good, p.present = p.past + 1;
    refused(p, "present overlaps past");
    p = good, p.present = p.v;
    refused(p, "present overlaps v");
    p = good, p.present = p.out;
    refused(p, "overlaps");
    p = good, p.out = p.beta;
    refused(p, "out overlaps");
    p = good, p.options.struct_size = 8;
    refused(p, "struct_size is 8");
    p = good, p.present = p.past;
    assert_ok(forward(NULL, &p));
    p = good;
    drop(&p);
}

static dotk_status
call_forward(dotk_context *context, void *user)
{
    return forward(context, user);
}

/* The next call has one token. */
static dotk_status
call_shorter(dotk_context *context, void *user)
{
    struct problem *const p = user;
    const dotk_status status = forward(context, p);

    p->shape.tokens = 1;
    return status;
}

static void
test_allocation_failures(void **state)
{
    struct problem p = make(1, 3, (dotk_linear_attention_shape){1, 4, 5, 80, 100, 2});

    (void)state;
    assert_true(test_call_fail_each(call_forward, &p) > 5);
    drop(&p);
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    struct problem p = make(1, 3, (dotk_linear_attention_shape){2, 4, 40, 64, 64, 2});

    (void)state;
    test_call_warm(1, call_shorter, &p);
    drop(&p);
}

static void
test_cancel(void **state)
{
    struct problem p = make(1, 3, (dotk_linear_attention_shape){5, 4, 10, 64, 64, 0});

    (void)state;
    test_call_cancel(1, call_forward, &p);
    check(&p, 2e-5);
    drop(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_packed_layout),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_stretches_and_waves),
        cmocka_unit_test(test_lengths_and_states),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
