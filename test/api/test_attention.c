/*
 * test_attention.c - dotk_attention_forward(), _weights(), _merge() and _plan() as a caller sees
 * them: against double precision, bit against bit, and with arguments that must be refused
 */
#include "support.h"

#include <float.h>

#include <dotk/attention.h>

static dotk_context *one, *two, *four; /* contexts by threads */

/* ------------------------------------------------------------------------- */
/*  A problem and its answer in double precision                             */
/* ------------------------------------------------------------------------- */

struct problem {
    dotk_attention_shape shape;
    dotk_attention_options options;
    float *q, *k, *v, *out, *lse;
};

static size_t
value_width(const struct problem *p)
{
    return p->shape.value_width != 0 ? p->shape.value_width : p->shape.width;
}

static size_t
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
static struct problem
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

static void
drop(struct problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->out);
    free(p->lse);
}

static dotk_status
forward(dotk_context *context, const struct problem *p)
{
    return dotk_attention_forward(context, &p->shape, p->q, p->k, p->v, &p->options, p->out,
                                  p->lse);
}

/* How many keys query i of batch entry b sees. */
static size_t
seen(const struct problem *p, size_t b, size_t i)
{
    size_t end = p->options.key_lengths != NULL ? p->options.key_lengths[b] : p->shape.keys;
    if (p->options.causal) {
        const long long causal = (long long)i + p->options.causal_offset + 1;
        end = causal < 0 ? 0 : (size_t)causal < end ? (size_t)causal : end;
    }
    return end;
}

/* out (E), weights (S) and the log-sum-exp of one query. */
static double
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
static void
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

/* ------------------------------------------------------------------------- */
/*  Against double precision                                                 */
/* ------------------------------------------------------------------------- */

static void
test_grid(void **state)
{
    static const size_t lengths[] = {1, 5, 63, 64, 65, 200, 1025};
    static const size_t widths[] = {1, 31, 32, 64, 80, 128};
    enum { LENGTHS = sizeof lengths / sizeof *lengths, WIDTHS = sizeof widths / sizeof *widths };
    uint64_t seed = 7;

    (void)state;
    for (size_t l = 0; l < LENGTHS; l++) {
        for (size_t s = 0; s < LENGTHS; s++) {
            for (size_t d = 0; d < WIDTHS; d++) {
                const size_t L = lengths[l], S = lengths[s];
                /* every other problem has values of another width, and two heads */
                const size_t E = (l + s + d) % 2 == 0 ? 0 : widths[(d + l + 1) % WIDTHS];
                struct problem p = make(seed++, 1, L * S > 5000 ? 1 : 2, L, S, widths[d], E);
                assert_ok(forward(seed % 2 == 0 ? NULL : two, &p));
                check(&p, L * S > 5000 ? 23 : 1);
                p.options.causal = 1;
                p.options.causal_offset = (int64_t)S - (int64_t)L;
                assert_ok(forward(seed % 2 == 0 ? two : NULL, &p));
                check(&p, L * S > 5000 ? 23 : 1);
                drop(&p);
            }
        }
    }
}

static void
test_masks(void **state)
{
    static const int64_t offsets[] = {0, 3, -3, 64, -70, 1000, -1000, INT64_MAX, INT64_MIN};
    const size_t lengths[] = {0, 1, 64, 100, 130};

    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct problem p = make(i, 5, 2, 75, 130, 32, 48);
        p.options.causal = 1;
        p.options.causal_offset = offsets[i];
        if (offsets[i] == INT64_MAX || offsets[i] == INT64_MIN)
            p.options.causal_offset /= 2; /* for the reference's sake; the library is asked below */
        p.options.key_lengths = i % 2 == 0 ? lengths : NULL;
        assert_ok(forward(two, &p));
        check(&p, 1);
        if (offsets[i] == INT64_MAX || offsets[i] == INT64_MIN) {
            p.options.causal_offset = offsets[i];
            assert_ok(forward(two, &p));
            p.options.causal_offset /= 2;
            check(&p, 1);
        }
        drop(&p);
    }
}

static void
test_scales(void **state)
{
    static const float scales[] = {0.0f, -0.5f, 1.0f, 0.01f};

    (void)state;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        struct problem p = make(i, 1, 2, 40, 1300, 24, 24);
        p.options.has_scale = 1;
        p.options.scale = scales[i];
        assert_ok(forward(NULL, &p));
        check(&p, 1);
        drop(&p);
    }
}

/* Dimensions of several chains of additions, and ones for which blocks are shorter. */
static void
test_wide(void **state)
{
    static const size_t widths[] = {255, 256, 257, 512, 700, 1024, 1100};

    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        struct problem p = make(i, 1, 1, 9, 300, widths[i], 17);
        assert_ok(forward(NULL, &p));
        check(&p, 1);
        drop(&p);
    }
}

/* The maximum climbs by more than 2^8 again and again, in the middle of blocks and chunks. */
static void
test_rising_scores(void **state)
{
    struct problem p = make(5, 1, 1, 13, 2500, 16, 20);

    (void)state;
    p.options.has_scale = 1;
    p.options.scale = 1;
    for (size_t i = 0; i < 13 * 16; i++)
        p.q[i] = i % 16 == 0 ? (i % 32 == 0 ? 1.0f : -1.0f) : 0.0f;
    for (size_t j = 0; j < 2500; j++)
        p.k[j * 16] = (float)(int)(j / 70) * 7.0f - 120.0f;
    assert_ok(forward(NULL, &p));
    check(&p, 1);
    drop(&p);
}

/* Scores far too large for anything but the largest to count. */
static void
test_huge_scores(void **state)
{
    static const float sizes[] = {1e3f, 1e6f, 1e10f, 1e30f, FLT_MAX};

    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct problem p = make(1, 1, 1, 7, 200, 1, 8);
        p.options.has_scale = 1;
        p.options.scale = 0.5f;
        for (size_t i = 0; i < 7; i++)
            p.q[i] = i % 2 == 0 ? 1.0f : -1.0f;
        for (size_t j = 0; j < 200; j++)
            p.k[j] = sizes[s] / 200 * (float)(j < 100 ? 2 * j : 399 - 2 * j) - sizes[s] / 2;
        assert_ok(forward(NULL, &p));
        if (sizes[s] >= 1e6f) { /* the weights are 1 and 0 */
            for (size_t i = 0; i < 7; i++) {
                const size_t best = i % 2 == 0 ? 100 : 0;
                for (size_t e = 0; e < 8; e++)
                    assert_true(fabs(p.out[i * 8 + e] - p.v[best * 8 + e]) <= 1e-6);
            }
        }
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  Bit against bit                                                          */
/* ------------------------------------------------------------------------- */

static void
assert_same(const float *a, const float *b, size_t count)
{
    if (memcmp(a, b, count * sizeof *a) == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("value %zu is %a in one and %a in the other", i, (double)a[i], (double)b[i]);
    }
}

static void
test_threads_and_batch(void **state)
{
    dotk_context *const contexts[] = {NULL, one, two, four};

    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        for (size_t L = 1; L <= 700; L = L * 5 + 2) {
            const size_t S = 3 * 1024 + 77, D = 24, B = 3;
            struct problem p = make(L, B, 1, L, S, D, D);
            p.options.causal = causal;
            p.options.causal_offset = (int64_t)(S - L);
            assert_ok(forward(NULL, &p));
            float *const out = p.out, *const lse = p.lse;
            p.out = floats(B * L * D);
            p.lse = floats(B * L);
            for (size_t c = 0; c < 4; c++) {
                memset(p.out, 0xff, B * L * D * sizeof *p.out);
                assert_ok(forward(contexts[c], &p));
                assert_same(p.out, out, B * L * D);
                assert_same(p.lse, lse, B * L);
            }
            struct problem part = p; /* entries 1 .. 2 by themselves */
            part.shape.batch = 2;
            part.q += L * D;
            part.k += S * D;
            part.v += S * D;
            memset(p.out, 0xff, B * L * D * sizeof *p.out);
            assert_ok(forward(two, &part));
            assert_same(p.out, out + L * D, 2 * L * D);
            free(out);
            free(lse);
            drop(&p);
        }
    }
}

/* One query after the other, with a growing cache, against the prefill. */
static void
test_decode(void **state)
{
    static const size_t shapes[][3] = {{150, 64, 64}, {2300, 16, 8}, {1100, 33, 17}, {90, 300, 20}};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t L = shapes[s][0], D = shapes[s][1], E = shapes[s][2];
        struct problem p = make(s, 1, 1, L, L, D, E);
        float *const out = floats(E), lse[1] = {0};
        for (size_t j = 0; j < L; j++)
            p.k[j * D] += (float)(j % 300) * 0.05f; /* some maxima move */
        p.options.causal = 1;
        assert_ok(forward(two, &p));
        for (size_t i = 0; i < L; i += 1 + i / 40) {
            /* with the cache as long as it is, and with one that has room left */
            for (size_t room = 0; room < 2; room++) {
                const dotk_attention_shape shape = {1, 1, 1, room ? L : i + 1, D, E};
                dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
                options.causal = 1;
                options.causal_offset = (int64_t)i;
                assert_ok(dotk_attention_forward(i % 2 ? four : NULL, &shape, p.q + i * D, p.k, p.v,
                                                 &options, out, lse));
                assert_same(out, p.out + i * E, E);
                assert_same(lse, p.lse + i, 1);
            }
        }
        free(out);
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  What is masked                                                           */
/* ------------------------------------------------------------------------- */

/* NaN and infinity in keys and values that some rows do not see change no bit of those rows. */
static void
test_masked_garbage(void **state)
{
    const size_t L = 150, S = 200, D = 16, E = 20;
    const float garbage[] = {NAN, INFINITY, -INFINITY};

    (void)state;
    for (size_t g = 0; g < 3; g++) {
        for (size_t at = 1; at < S; at += 17) {
            struct problem p = make(at, 1, 1, L, S, D, E);
            p.options.causal = 1;
            p.options.causal_offset = 20;
            assert_ok(forward(NULL, &p));
            float *const clean = p.out;
            p.out = floats(L * E);
            for (size_t d = 0; d < D; d++)
                p.k[at * D + d] = garbage[g];
            for (size_t e = 0; e < E; e++)
                p.v[at * E + e] = garbage[g];
            assert_ok(forward(two, &p));
            for (size_t i = 0; i < L; i++) {
                if (i + 20 < at)
                    assert_same(p.out + i * E, clean + i * E, E);
                else if (g == 0)
                    assert_true(isnan(p.out[i * E]) && isnan(p.out[i * E + E - 1]));
            }
            free(clean);
            drop(&p);
        }
    }
}

/* A NaN in one column of one value gives NaN there, to those who see it, and nowhere else. */
static void
test_unmasked_nan(void **state)
{
    struct problem p = make(3, 1, 1, 20, 300, 8, 24);

    (void)state;
    p.options.causal = 1;
    p.options.causal_offset = 250;
    p.v[260 * 24 + 5] = NAN;
    assert_ok(forward(NULL, &p));
    for (size_t i = 0; i < 20; i++) {
        for (size_t e = 0; e < 24; e++)
            assert_int_equal(isnan(p.out[i * 24 + e]), i >= 10 && e == 5);
    }
    p.v[260 * 24 + 5] = 0;
    p.q[4 * 8 + 3] = NAN; /* a query: its row, and no other */
    assert_ok(forward(NULL, &p));
    for (size_t i = 0; i < 20; i++) {
        for (size_t e = 0; e < 24; e++)
            assert_int_equal(isnan(p.out[i * 24 + e]), i == 4);
        assert_int_equal(isnan(p.lse[i]), i == 4);
    }
    drop(&p);
}

/* Keys and values beyond the lengths lie on pages nobody may touch. */
static void
test_unmapped_keys(void **state)
{
    const size_t S = 100000, D = 40;

    (void)state;
    for (size_t length = 0; length < 400; length += 37) {
        for (size_t L = 1; L < 20; L += 9) {
            struct test_guarded k, v;
            struct problem p = make(length, 1, 1, L, 1, D, D);
            const float *const only_k = p.k, *const only_v = p.v;
            uint64_t seed = length;
            p.k = test_guarded_floats(&k, length * D);
            p.v = test_guarded_floats(&v, length * D);
            test_random_normals(&seed, p.k, length * D);
            test_random_normals(&seed, p.v, length * D);
            p.shape.keys = S;
            p.options.key_lengths = &length;
            assert_ok(forward(two, &p));
            p.shape.keys = length;
            p.options.key_lengths = NULL;
            check(&p, 1);
            test_guarded_free(&k);
            test_guarded_free(&v);
            p.k = (float *)(uintptr_t)only_k;
            p.v = (float *)(uintptr_t)only_v;
            drop(&p);
        }
    }
}

static void
test_empty(void **state)
{
    struct problem p = make(1, 2, 2, 3, 4, 5, 6);
    const size_t none[] = {0, 0};
    dotk_attention_stats stats;

    (void)state;
    p.options.key_lengths = none;
    p.options.stats = &stats;
    assert_ok(forward(NULL, &p));
    check(&p, 1);
    assert_string_equal(stats.path, "empty");
    assert_int_equal(stats.pairs, 0);
    p.options.key_lengths = NULL;
    p.options.causal = 1;
    p.options.causal_offset = -2; /* query 2 sees key 0, queries 0 and 1 nothing */
    assert_ok(forward(NULL, &p));
    check(&p, 1);
    assert_int_equal(stats.pairs, 4);
    p.shape.keys = 0;
    assert_ok(dotk_attention_forward(NULL, &p.shape, p.q, NULL, NULL, &p.options, p.out, p.lse));
    check(&p, 1);
    p.shape.queries = 0;
    assert_ok(dotk_attention_forward(NULL, &p.shape, NULL, NULL, NULL, NULL, NULL, NULL));
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Layouts                                                                  */
/* ------------------------------------------------------------------------- */

/* (B, rows, H, width) in and out, and rows with gaps. */
static void
test_layouts(void **state)
{
    enum { B = 2, H = 3, L = 30, S = 70, D = 16, E = 24, GAP = 5 };
    struct problem p = make(1, B, H, L, S, D, E);
    float *const q = floats(B * L * H * D), *const k = floats(B * H * S * (D + GAP));
    float *const v = floats(B * S * H * E), *const out = floats(B * L * H * E);

    (void)state;
    for (size_t b = 0; b < B; b++) {
        for (size_t h = 0; h < H; h++) {
            for (size_t i = 0; i < L; i++)
                memcpy(q + ((b * L + i) * H + h) * D, p.q + ((b * H + h) * L + i) * D,
                       D * sizeof *q);
            for (size_t j = 0; j < S; j++) {
                memcpy(k + ((b * H + h) * S + j) * (D + GAP), p.k + ((b * H + h) * S + j) * D,
                       D * sizeof *k);
                memcpy(v + ((b * S + j) * H + h) * E, p.v + ((b * H + h) * S + j) * E,
                       E * sizeof *v);
            }
        }
    }
    assert_ok(forward(two, &p));
    p.options.query = (dotk_layout){L * H * D, D, H * D};
    p.options.key = (dotk_layout){.row = D + GAP};
    p.options.value = (dotk_layout){S * H * E, E, H * E};
    p.options.output = (dotk_layout){.head = E, .row = H * E, .batch = L * H * E};
    assert_ok(dotk_attention_forward(two, &p.shape, q, k, v, &p.options, out, NULL));
    for (size_t b = 0; b < B; b++) {
        for (size_t h = 0; h < H; h++) {
            for (size_t i = 0; i < L; i++)
                assert_same(out + ((b * L + i) * H + h) * E, p.out + ((b * H + h) * L + i) * E, E);
        }
    }
    free(q);
    free(k);
    free(v);
    free(out);
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Weights, merging                                                         */
/* ------------------------------------------------------------------------- */

static void
test_weights(void **state)
{
    const size_t lengths[] = {0, 70, 130};

    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct problem p = make((uint64_t)variant, 3, 2, 70, 130, 20, 20);
        float *const weights = floats(6 * 70 * 130);
        double out[20], want[130];
        p.options.causal = variant & 1;
        p.options.causal_offset = 10;
        p.options.key_lengths = variant & 2 ? lengths : NULL;
        assert_ok(dotk_attention_weights(variant & 1 ? two : NULL, &p.shape, p.q, p.k, &p.options,
                                         weights));
        for (size_t row = 0; row < 6 * 70; row++) {
            (void)reference(&p, row / 70, row % 70, out, want);
            for (size_t j = 0; j < 130; j++)
                assert_true(fabs(weights[row * 130 + j] - want[j]) <= 1e-6);
        }
        free(weights);
        drop(&p);
    }
}

static void
test_merge(void **state)
{
    enum { L = 20, S = 1500, D = 16 };

    (void)state;
    for (size_t cut = 0; cut <= S; cut += 250) {
        struct problem p = make(cut, 1, 1, L, S, D, D);
        float out_a[L * D], out_b[L * D], lse_a[L], lse_b[L];
        struct problem a = p, b = p;
        a.shape.keys = cut;
        a.out = out_a;
        a.lse = lse_a;
        b.shape.keys = S - cut;
        b.k += cut * D;
        b.v += cut * D;
        b.out = out_b;
        b.lse = lse_b;
        assert_ok(forward(NULL, &a));
        assert_ok(forward(NULL, &b));
        assert_ok(dotk_attention_merge(L, D, out_a, lse_a, out_b, lse_b, p.out, p.lse));
        check(&p, 1);
        /* over an input */
        assert_ok(dotk_attention_merge(L, D, out_a, lse_a, out_b, lse_b, out_b, lse_b));
        assert_same(out_b, p.out, L * D);
        assert_same(lse_b, p.lse, L);
        drop(&p);
    }
    const float zero[2] = {0, 0}, none = -INFINITY, some[2] = {1, 2}, lse = 3;
    float out[2], sum;
    assert_ok(dotk_attention_merge(1, 2, zero, &none, zero, &none, out, &sum));
    assert_true(out[0] == 0 && out[1] == 0 && sum == -INFINITY);
    assert_ok(dotk_attention_merge(1, 2, zero, &none, some, &lse, out, &sum));
    assert_true(out[0] == 1 && out[1] == 2 && sum == 3);
    assert_status(dotk_attention_merge(1, 2, NULL, &none, some, &lse, out, &sum),
                  DOTK_BAD_ARGUMENT);
    assert_message("out_a is NULL");
    assert_status(dotk_attention_merge(SIZE_MAX / 2, 3, some, &lse, some, &lse, out, &sum),
                  DOTK_BAD_ARGUMENT);
    assert_message("overflows");
}

/* ------------------------------------------------------------------------- */
/*  Plan                                                                     */
/* ------------------------------------------------------------------------- */

static void
test_plan(void **state)
{
    static const size_t shapes[][3] = {{1, 1, 5000}, {1, 500, 500}, {6, 1, 3000},
                                       {1, 7, 1},    {2, 3, 0},     {1, 40, 40000}};
    dotk_context *const contexts[] = {NULL, one, two, four};
    size_t split = 0, whole = 0;

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t c = 0; c < 4; c++) {
            struct problem p = make(s, 1, shapes[s][0], shapes[s][1], shapes[s][2], 8, 8);
            dotk_attention_stats stats;
            char plan[200], ran[200], cut[8];
            p.options.stats = &stats;
            assert_ok(dotk_attention_plan(contexts[c], &p.shape, &p.options, plan, sizeof plan));
            assert_ok(forward(contexts[c], &p));
            snprintf(ran, sizeof ran, "%s %s:", stats.path, stats.kernel);
            assert_memory_equal(plan, ran, strlen(ran));
            assert_true(stats.seconds >= 0);
            assert_int_equal(stats.pairs, shapes[s][0] * shapes[s][1] * shapes[s][2]);
            if (shapes[s][2] > 0) {
                assert_memory_equal(stats.kernel, "softmax_v_", 10);
                assert_true(test_is_kernel_of(stats.kernel, dotk_context_isa(contexts[c])));
            }
            split += strcmp(stats.path, "chunks") == 0;
            whole += strcmp(stats.path, "rows") == 0;
            assert_ok(dotk_attention_plan(contexts[c], &p.shape, &p.options, cut, sizeof cut));
            assert_int_equal(strlen(cut), 7);
            drop(&p);
        }
    }
    assert_true(split > 0 && whole > 0); /* both paths have been seen */
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(forward(NULL, &(p)), DOTK_BAD_ARGUMENT);                                     \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    const struct problem good = make(1, 2, 2, 3, 4, 5, 6);
    const size_t lengths[] = {4, 5};
    struct problem p;

    (void)state;
    assert_ok(forward(NULL, &good));
    assert_status(dotk_attention_forward(NULL, NULL, good.q, good.k, good.v, NULL, good.out, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    p = good, p.q = NULL;
    refused(p, "q is NULL");
    p = good, p.k = NULL;
    refused(p, "k is NULL");
    p = good, p.v = NULL;
    refused(p, "v is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.shape.width = 65537;
    refused(p, "shape->width is 65537");
    p = good, p.shape.value_width = 65537;
    refused(p, "shape->value_width is 65537");
    p = good, p.options.has_scale = 1, p.options.scale = NAN;
    refused(p, "options->scale is nan");
    p = good, p.options.key_lengths = lengths;
    refused(p, "options->key_lengths[1] is 5");
    p = good, p.options.key.row = 4;
    refused(p, "options->key.row is 4");
    p = good, p.options.query.head = 4;
    refused(p, "options->query.head is 4");
    p = good, p.options.value.batch = 5;
    refused(p, "options->value.batch is 5");
    p = good, p.options.output = (dotk_layout){36, 17, 6};
    refused(p, "rows of 6 would overlap");
    p = good, p.shape.keys = SIZE_MAX / 4;
    refused(p, "overflow");
    p = good, p.options.key.row = SIZE_MAX / 16;
    refused(p, "overflow");
    p = good, p.shape.heads = SIZE_MAX / 8;
    refused(p, "overflow");
    p = good, p.out = p.q + 59;
    refused(p, "out overlaps q");
    p = good, p.out = p.v;
    refused(p, "out overlaps v");
    p = good, p.lse = p.k + 3;
    refused(p, "lse overlaps k");
    p = good, p.lse = p.out + 71;
    refused(p, "overlaps");
    p = good, p.options.struct_size = 8;
    refused(p, "struct_size is 8");

    p = good;
    assert_status(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_message("weights is NULL");
    assert_status(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, p.q), DOTK_BAD_ARGUMENT);
    assert_message("weights overlaps q");
    p.shape.queries = p.shape.keys = SIZE_MAX / 4096;
    assert_status(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, p.out), DOTK_BAD_ARGUMENT);
    assert_message("overflow");
    assert_status(dotk_attention_plan(NULL, &good.shape, NULL, NULL, 10), DOTK_BAD_ARGUMENT);
    p = good;
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Memory, cancelling                                                       */
/* ------------------------------------------------------------------------- */

static dotk_status
forward_once(void *user)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = 2;
    dotk_status status = dotk_context_create(&options, &context);
    if (status != DOTK_OK)
        return status;
    status = forward(context, user);
    if (status == DOTK_OK) {
        const struct problem *const p = user;
        status = dotk_attention_weights(context, &p->shape, p->q, p->k, NULL, p->out);
    }
    dotk_context_destroy(context);
    return status;
}

static void
test_allocation_failures(void **state)
{
    static const size_t shapes[][2] = {{100, 50}, {1, 4000}};

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        struct problem p = make(1, 1, 1, shapes[s][0], shapes[s][1], 8, 50);
        /* room for the weights, too */
        p.out = realloc(p.out, shapes[s][0] * shapes[s][1] * 50 * sizeof *p.out);
        assert_true(test_alloc_fail_each(forward_once, &p) > 5);
        drop(&p);
    }
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    static const size_t shapes[][2] = {{300, 500}, {1, 5000}, {7, 2100}};

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        struct problem p = make(1, 1, 1, shapes[s][0], shapes[s][1], 32, 32);
        struct test_alloc alloc;
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        test_alloc_install(&alloc);
        options.threads = 2;
        assert_ok(dotk_context_create(&options, &context));
        assert_ok(forward(context, &p));
        const size_t cold = alloc.requests;
        for (int i = 0; i < 3; i++)
            assert_ok(forward(context, &p));
        assert_int_equal(alloc.requests, cold);
        dotk_context_destroy(context);
        assert_int_equal(alloc.blocks, 0);
        test_alloc_remove();
        drop(&p);
    }
}

static int
cancel_at_third(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return ++*(int *)user >= 3;
}

/* L = S = 32,768 with 12 heads, cancelled when all working memory is there. */
static void
test_memory(void **state)
{
    enum { H = 12, L = 32768, D = 64 };
    struct problem p = {{1, H, L, L, D, 0}, DOTK_ATTENTION_OPTIONS_INIT, 0, 0, 0, 0, 0};

    (void)state;
    p.q = calloc((size_t)H * L * D, sizeof *p.q);
    p.k = calloc((size_t)H * L * D, sizeof *p.k);
    p.v = calloc((size_t)H * L * D, sizeof *p.v);
    p.out = calloc((size_t)H * L * D, sizeof *p.out);
    p.lse = calloc((size_t)H * L, sizeof *p.lse);
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        struct test_alloc alloc;
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        int calls = 2;
        test_alloc_install(&alloc);
        options.threads = threads;
        options.progress = cancel_at_third;
        options.progress_user = &calls;
        assert_ok(dotk_context_create(&options, &context));
        assert_status(forward(context, &p), DOTK_CANCELLED);
        dotk_context_destroy(context);
        test_alloc_remove();
        assert_true(alloc.most_bytes > 50000);
        assert_true(alloc.most_bytes <= (16u << 20) + (size_t)64 * L * H);
    }
    drop(&p);
}

static void
test_cancel(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct problem p = make(1, 1, 4, 500, 600, 16, 16);
        int calls = 0;
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        options.threads = threads;
        options.progress = cancel_at_third;
        options.progress_user = &calls;
        assert_ok(dotk_context_create(&options, &context));
        assert_status(forward(context, &p), DOTK_CANCELLED);
        calls = -1000000;
        assert_ok(forward(context, &p));
        check(&p, 50);
        dotk_context_destroy(context);
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  Worked examples                                                          */
/* ------------------------------------------------------------------------- */

/* "let's" and "go" seen from one state of a decoder. */
static void
test_translation(void **state)
{
    const float keys[] = {-0.76f, 0.75f, 0.01f, -0.01f}, query[] = {0.91f, 0.38f};
    const dotk_attention_shape shape = {1, 1, 1, 2, 2, 2};
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    float weights[2], context[2], lse;

    (void)state;
    options.has_scale = 1;
    options.scale = 1;
    assert_ok(dotk_attention_weights(NULL, &shape, query, keys, &options, weights));
    assert_true(fabs(weights[0] - 0.39845) < 5e-5 && fabs(weights[1] - 0.60155) < 5e-5);
    assert_ok(dotk_attention_forward(NULL, &shape, query, keys, keys, &options, context, &lse));
    for (size_t e = 0; e < 2; e++)
        assert_true(fabs(context[e] - (weights[0] * keys[e] + weights[1] * keys[2 + e])) < 1e-6);
    assert_true(fabs(lse - log(exp(-0.4066) + exp(0.0053))) < 1e-6);
}

/* Q, K, V of shape (2, 6, 64). */
static void
test_two_heads_of_six(void **state)
{
    struct problem p = make(42, 1, 2, 6, 6, 64, 64);
    float weights[2 * 6 * 6];
    double out[64], want[6];

    (void)state;
    assert_ok(forward(NULL, &p));
    assert_ok(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, weights));
    for (size_t row = 0; row < 12; row++) {
        double sum = 0;
        for (size_t j = 0; j < 6; j++)
            sum += weights[row * 6 + j];
        assert_true(fabs(sum - 1) < 1e-6);
        (void)reference(&p, row / 6, row % 6, out, want);
        for (size_t e = 0; e < 64; e++)
            assert_true(fabs(p.out[row * 64 + e] - out[e]) <= 1e-6);
    }
    drop(&p);
}

/*
 * Why scores are divided by sqrt(d): components of variance 1 give scores of variance d. With
 * the division softmax keeps its gradient whatever d is; without, it saturates: the largest
 * weight goes to 1 and the norm of the Jacobian, diag(w) - w w^T, goes to 0.
 */
static void
test_variance_and_saturation(void **state)
{
    enum { QUERIES = 200, KEYS = 64 };
    double last_norm = INFINITY;

    (void)state;
    for (size_t d = 16; d <= 1024; d *= 2) {
        struct problem p = make(d, 1, 1, QUERIES, KEYS, d, d);
        float *const weights = floats(QUERIES * KEYS);
        double norm[2] = {0, 0}, largest[2] = {0, 0}, square[2] = {0, 0};
        for (int scaled = 0; scaled < 2; scaled++) {
            p.options.has_scale = !scaled;
            p.options.scale = 1;
            assert_ok(dotk_attention_weights(two, &p.shape, p.q, p.k, &p.options, weights));
            assert_ok(forward(two, &p));
            for (size_t i = 0; i < QUERIES; i++) {
                const float *const w = weights + i * KEYS;
                double jacobian = 0, most = 0;
                for (size_t a = 0; a < KEYS; a++) {
                    /* the score itself, from its weight and the row's log-sum-exp */
                    const double score = w[a] > 0 ? log(w[a]) + p.lse[i]
                                                  : test_dot(p.q + i * d, p.k + a * d, d, 0);
                    square[scaled] += score * score / (QUERIES * KEYS);
                    most = fmax(most, w[a]);
                    for (size_t b = 0; b < KEYS; b++) {
                        const double cell = (a == b ? w[a] : 0.0) - (double)w[a] * w[b];
                        jacobian += cell * cell;
                    }
                }
                norm[scaled] += sqrt(jacobian) / QUERIES;
                largest[scaled] += most / QUERIES;
            }
        }
        assert_true(fabs(square[0] / (double)d - 1) < 0.15); /* variance d before scaling */
        assert_true(fabs(square[1] - 1) < 0.15);             /* and 1 after */
        assert_true(largest[1] < 0.25 && norm[1] > 0.1);
        assert_true(norm[0] < last_norm); /* vanishing as d grows */
        last_norm = norm[0];
        print_message("d %4zu: variance of scores %7.2f and %.3f, largest weight %.3f and %.3f, "
                      "norm of the Jacobian %.3f and %.3f\n",
                      d, square[0], square[1], largest[0], largest[1], norm[0], norm[1]);
        if (d == 1024)
            assert_true(largest[0] > 0.9 && norm[0] < 0.1);
        free(weights);
        drop(&p);
    }
}

static int
make_contexts(void **state)
{
    dotk_context **const contexts[] = {&one, &two, &four};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        options.threads = 1u << i;
        assert_ok(dotk_context_create(&options, contexts[i]));
    }
    return 0;
}

static int
drop_contexts(void **state)
{
    (void)state;
    dotk_context_destroy(one);
    dotk_context_destroy(two);
    dotk_context_destroy(four);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_rising_scores),
        cmocka_unit_test(test_huge_scores),
        cmocka_unit_test(test_threads_and_batch),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_masked_garbage),
        cmocka_unit_test(test_unmasked_nan),
        cmocka_unit_test(test_unmapped_keys),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_two_heads_of_six),
        cmocka_unit_test(test_variance_and_saturation),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
