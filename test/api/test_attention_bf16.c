/*
 * test_attention_bf16.c - attention over bf16: its error, its bits, and what is masked
 *
 * The error is held against that of the textbook's computation in bf16: scores rounded to bf16,
 * softmax in f32, weights rounded to bf16. Instruction sets that widen bf16 to f32 pass as well.
 */
#include "attention_reference.h"

static dotk_context *one, *two;

static int
set_up(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    (void)state;
    options.threads = 1;
    assert_ok(dotk_context_create(&options, &one));
    options.threads = 2;
    assert_ok(dotk_context_create(&options, &two));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    dotk_context_destroy(one);
    dotk_context_destroy(two);
    return 0;
}

static uint16_t
narrow(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float
widen(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* 'array' rounded to bf16, in place and as halves. */
static uint16_t *
halves_of(float *array, size_t count)
{
    uint16_t *const halves = malloc((count + 1) * sizeof *halves);

    test_require(halves != NULL, "malloc");
    for (size_t i = 0; i < count; i++) {
        halves[i] = narrow(array[i]);
        array[i] = widen(halves[i]);
    }
    return halves;
}

struct arrays {
    uint16_t *q, *k, *v, *out;
};

static struct arrays
arrays_of(struct problem *p)
{
    const dotk_attention_shape *const s = &p->shape;
    const size_t keys = s->batch * key_heads(p) * s->keys, rows = heads_of(p) * s->queries;

    p->options.store = DOTK_STORE_BF16;
    return (struct arrays){
        halves_of(p->q, rows * s->width),
        halves_of(p->k, keys * s->width),
        halves_of(p->v, keys * value_width(p)),
        calloc(rows * value_width(p) + 1, sizeof(uint16_t)),
    };
}

static void
drop_arrays(struct arrays *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->out);
}

static void
run(dotk_context *context, const struct problem *p, const struct arrays *a)
{
    assert_ok(
        dotk_attention_forward(context, &p->shape, a->q, a->k, a->v, &p->options, a->out, p->lse));
}

/* The textbook's output of a row; 'weight' holds the exact ones, of which only zeros are used. */
static void
textbook(const struct problem *p, size_t head, size_t i, const double *weight, float *out)
{
    const size_t D = p->shape.width, E = value_width(p), S = p->shape.keys;
    const size_t b = head / p->shape.heads, h = head % p->shape.heads;
    const struct place place = place_of(p, b, i);
    float *const score = floats(S);
    float most = -INFINITY, sum = 0;

    for (size_t j = 0; j < S; j++) {
        const double product = test_dot(query_row(p, b, h, i), key_row(p, p->k, D, b, h, j), D, 0);
        score[j] = weight[j] == 0 ? -INFINITY
                                  : widen(narrow((float)(softcapped(p, product * scale_of(p)) +
                                                         added(p, &place, b, h, i, j))));
        most = fmaxf(most, score[j]);
    }
    for (size_t j = 0; j < S; j++)
        sum += score[j] == -INFINITY ? 0 : expf(score[j] - most);
    for (size_t e = 0; e < E; e++) {
        float blend = 0;
        for (size_t j = 0; j < S; j++) {
            if (score[j] != -INFINITY)
                blend += widen(narrow(expf(score[j] - most) / sum)) *
                         key_row(p, p->v, E, b, h, j)[e];
        }
        out[e] = widen(narrow(blend));
    }
    free(score);
}

/*
 * Each output within the roundings of weights (2^-8 each) and of itself, plus what f32 loses; and
 * the largest error at most twice the textbook's.
 */
static void
check_error(const struct problem *p, const struct arrays *a)
{
    const size_t E = value_width(p), L = p->shape.queries, S = p->shape.keys;
    double *const want = malloc(E * sizeof *want), *const weight = malloc(S * sizeof *weight);
    float *const naive = floats(E);
    double worst = 0, worst_naive = 0;

    for (size_t row = 0; row < heads_of(p) * L; row++) {
        const size_t head = row / L, i = row % L;
        const size_t b = head / p->shape.heads, h = head % p->shape.heads;
        const double lse = reference(p, head, i, want, weight);
        const double largest = largest_value(p, head, i);
        textbook(p, head, i, weight, naive);
        for (size_t e = 0; e < E; e++) {
            const double got = widen(a->out[row * E + e]);
            double sizes = 0;
            for (size_t j = 0; j < S; j++)
                sizes += weight[j] * fabs(key_row(p, p->v, E, b, h, j)[e]);
            const double bound = 0x1p-8 * (sizes + 1.01 * fabs(want[e])) + 4e-6 * largest;
            if (!(fabs(got - want[e]) <= bound))
                fail_msg("L%zu S%zu D%zu E%zu: head %zu query %zu column %zu is %.9g, want %.9g", L,
                         S, p->shape.width, E, head, i, e, got, want[e]);
            worst = fmax(worst, fabs(got - want[e]));
            worst_naive = fmax(worst_naive, fabs(naive[e] - want[e]));
        }
        if (lse == -INFINITY)
            assert_true(p->lse[row] == -INFINITY);
        else
            assert_true(fabs(p->lse[row] - lse) <= 6e-6 * fmax(1, fabs(lse)));
    }
    if (!(worst <= 2 * worst_naive))
        fail_msg("L%zu S%zu D%zu: the largest error is %.3g, the textbook's %.3g", L, S,
                 p->shape.width, worst, worst_naive);
    free(want);
    free(weight);
    free(naive);
}

static void
test_error(void **state)
{
    static const size_t shapes[][4] = {{1, 1, 1, 1},       {7, 5, 3, 2},      {70, 70, 32, 32},
                                       {33, 300, 64, 64},  {20, 129, 33, 17}, {13, 1100, 128, 80},
                                       {64, 257, 100, 65}, {6, 64, 600, 16},  {9, 2100, 24, 200}};
    static const float slopes[4] = {0.5f, 0.1f, 0, 0.02f}, sinks[4] = {0, 2, -1, -9};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int form = 0; form < 5; form++) {
            struct problem p = make(i, 1, 4, shapes[i][0], shapes[i][1], shapes[i][2],
                                    shapes[i][3]);
            p.shape.key_heads = form % 2 == 0 ? 4 : 2;
            p.options.causal = form == 1 || form == 2;
            p.options.query_offset = form == 2 ? (int64_t)shapes[i][1] - (int64_t)shapes[i][0] : 0;
            p.options.slopes = form == 3 ? slopes : NULL;
            p.options.softcap = form >= 3 ? 2 : 0;
            p.options.sinks = form == 4 ? sinks : NULL;
            struct arrays a = arrays_of(&p);
            run(one, &p, &a);
            check_error(&p, &a);
            drop_arrays(&a);
            drop(&p);
        }
    }
}

/* A row's bits: asked alone, by two threads, in a group, without its neighbours. */
static void
test_bits(void **state)
{
    static const size_t shapes[][4] = {{40, 1100, 64, 64}, {17, 90, 33, 31}, {50, 2300, 20, 80}};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const size_t L = shapes[i][0], S = shapes[i][1], D = shapes[i][2], E = shapes[i][3];
        struct problem p = make(i, 2, 4, L, S, D, E);
        p.shape.key_heads = 2;
        p.options.causal = 1;
        p.options.query_offset = (int64_t)(S - L);
        struct arrays a = arrays_of(&p);
        run(one, &p, &a);
        uint16_t *const whole = a.out;
        float *const whole_lse = p.lse;
        a.out = calloc(2 * 4 * L * E, sizeof *a.out);
        p.lse = floats(2 * 4 * L);
        run(two, &p, &a);
        assert_memory_equal(whole, a.out, 2 * 4 * L * E * sizeof *whole);
        assert_memory_equal(whole_lse, p.lse, 2 * 4 * L * sizeof *whole_lse);
        for (size_t query = 0; query < L; query += 1 + query / 7) { /* of one head, decoded */
            struct problem alone = p;
            const struct arrays row = {a.q + (4 * L + 3 * L + query) * D, a.k + 3 * S * D,
                                       a.v + 3 * S * E, a.out};
            alone.shape.batch = alone.shape.heads = alone.shape.queries = 1;
            alone.shape.key_heads = 1;
            alone.options.query_offset = (int64_t)(S - L + query);
            run(query % 2 == 0 ? one : two, &alone, &row);
            assert_memory_equal(whole + (7 * L + query) * E, row.out, E * sizeof *whole);
            assert_memory_equal(whole_lse + 7 * L + query, alone.lse, sizeof *whole_lse);
        }
        free(whole);
        free(whole_lse);
        drop_arrays(&a);
        drop(&p);
    }
}

/* Where a mask or length excludes keys, NaN and infinities in them change nothing. */
static void
test_excluded_keys(void **state)
{
    enum { L = 9, S = 200, D = 33, E = 40 };
    static uint8_t mask[L * S];
    uint64_t seed = 5;

    (void)state;
    for (size_t round = 0; round < 20; round++) {
        struct problem p = make(round, 1, 2, L, S, D, E);
        const size_t length = S - round, lengths[] = {length};
        bool seen[S] = {false};
        for (size_t i = 0; i < L * S; i++) {
            mask[i] = test_random_below(&seed, round % 2 == 0 ? 2 : 20) == 0;
            seen[i % S] = seen[i % S] || mask[i] != 0;
        }
        p.options.mask = mask;
        p.options.mask_layout.row = S;
        p.options.key_lengths = lengths;
        struct arrays a = arrays_of(&p);
        run(one, &p, &a);
        uint16_t *const clean = a.out;
        a.out = calloc(2 * L * E, sizeof *a.out);
        for (size_t j = 0; j < 2 * S; j++) {
            for (size_t d = 0; d < D && (j % S >= length || !seen[j % S]); d++)
                a.k[j * D + d] = d % 2 == 0 ? 0x7fc0 : 0xff80; /* NaN, -infinity */
            for (size_t e = 0; e < E && (j % S >= length || !seen[j % S]); e++)
                a.v[j * E + e] = e % 2 == 0 ? 0x7fc0 : 0x7f80;
        }
        run(one, &p, &a);
        assert_memory_equal(clean, a.out, 2 * L * E * sizeof *clean);

        /* a value that some queries see poisons those, and no others */
        const size_t poisoned = 70 + round;
        a.v[poisoned * E] = 0x7fc0;
        mask[3 * S + poisoned] = 1;
        mask[4 * S + poisoned] = 0;
        run(one, &p, &a);
        for (size_t i = 0; i < L; i++) {
            const bool sees = mask[i * S + poisoned] != 0 && poisoned < length;
            assert_int_equal(isnan(widen(a.out[i * E])), sees);
            assert_memory_equal(a.out + i * E + 1, clean + i * E + 1,
                                i == 3 || i == 4 ? 0 : (E - 1) * sizeof *clean);
        }
        free(clean);
        drop_arrays(&a);
        drop(&p);
    }
}

/* The same weights are dropped as of f32, whose output the same numbers give but for roundings. */
static void
test_dropout(void **state)
{
    struct problem p = make(3, 2, 2, 50, 333, 40, 24);
    const size_t rows = heads_of(&p) * 50, count = rows * 24;

    (void)state;
    p.options.causal = 1;
    p.options.query_offset = 283;
    p.options.dropout = 0.3f;
    p.options.seed = 11;
    struct arrays a = arrays_of(&p);
    run(two, &p, &a);
    p.options.store = DOTK_STORE_F32;
    float *const lse = p.lse;
    p.lse = floats(rows);
    assert_ok(forward(two, &p));
    for (size_t i = 0; i < count; i++) /* values are below 5, and few have most of the weight */
        assert_true(fabs(widen(a.out[i]) - p.out[i]) <= 0x1p-6);
    for (size_t i = 0; i < rows; i++)
        assert_true(fabs(lse[i] - p.lse[i]) <= 1e-5);
    free(lse);
    drop_arrays(&a);
    drop(&p);
}

/* The plan and the statistics name the kernel that multiplies bf16, where there is one. */
static void
test_kernel_is_named(void **state)
{
    struct problem p = make(1, 1, 1, 4, 100, 16, 16);
    struct arrays a = arrays_of(&p);
    dotk_attention_stats stats;
    char line[200];

    (void)state;
    p.options.stats = &stats;
    run(one, &p, &a);
    assert_true(test_is_kernel_of(stats.kernel, dotk_context_isa(one)));
    assert_int_equal(strstr(stats.kernel, "bf16") != NULL,
                     strstr(dotk_context_isa(one), "bf16") != NULL);
    assert_ok(dotk_attention_plan(one, &p.shape, &p.options, line, sizeof line));
    assert_non_null(strstr(line, stats.kernel));
    drop_arrays(&a);
    drop(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),           cmocka_unit_test(test_bits),
        cmocka_unit_test(test_excluded_keys),   cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_kernel_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
