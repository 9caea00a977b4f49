/*
 * test_attention_backward_bf16.c - gradients of attention over bf16, with every option
 *
 * Held against double precision within the roundings of what is stored (outputs, and gradients
 * themselves) and of what is multiplied (weights, gradients of scores); and against the textbook's
 * computation in bf16, whose largest error may be half as large. Instruction sets that widen bf16
 * to f32 pass as well.
 */
#include "backward_reference.h"
#include "contexts.h"

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

static float
rounded(double x)
{
    return widen(narrow((float)x));
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

/* A problem in bf16: its floats, rounded, and its halves; 'gradient' in the order of parts_of(). */
struct task {
    struct problem p;
    float *d_out, *bias_and_sinks; /* the gradients that are f32 */
    uint16_t *q, *k, *v, *half_d_out, *out, *gradient;
};

static struct task
make_task(const struct problem *p, uint64_t seed)
{
    struct task t = {.p = *p};
    const struct parts parts = parts_of(p);
    const size_t outputs = heads_of(p) * p->shape.queries * value_width(p);

    t.p.options.store = DOTK_STORE_BF16;
    t.d_out = floats(outputs);
    test_random_normals(&seed, t.d_out, outputs);
    t.q = halves_of(p->q, parts.k);
    t.k = halves_of(p->k, parts.v - parts.k);
    t.v = halves_of(p->v, parts.bias - parts.v);
    t.half_d_out = halves_of(t.d_out, outputs);
    t.out = calloc(outputs + 1, sizeof *t.out);
    t.gradient = malloc((parts.bias + 1) * sizeof *t.gradient);
    t.bias_and_sinks = floats(parts.count - parts.bias + 1);
    return t;
}

static void
drop_task(struct task *t)
{
    free(t->d_out);
    free(t->bias_and_sinks);
    free(t->q);
    free(t->k);
    free(t->v);
    free(t->half_d_out);
    free(t->out);
    free(t->gradient);
    drop(&t->p);
}

static void
run_forward(dotk_context *context, const struct task *t)
{
    assert_ok(dotk_attention_forward(context, &t->p.shape, t->q, t->k, t->v, &t->p.options, t->out,
                                     t->p.lse));
}

static void
run_backward(dotk_context *context, const struct task *t)
{
    const struct parts parts = parts_of(&t->p);
    dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;

    memset(t->gradient, 0xff, parts.bias * sizeof *t->gradient);
    memset(t->bias_and_sinks, 0xff, (parts.count - parts.bias) * sizeof *t->bias_and_sinks);
    g.q = t->gradient;
    g.k = t->gradient + parts.k;
    g.v = t->gradient + parts.v;
    g.bias = t->p.options.bias != NULL ? t->bias_and_sinks : NULL;
    g.sinks = t->p.options.sinks != NULL ? t->bias_and_sinks + (parts.sinks - parts.bias) : NULL;
    assert_ok(dotk_attention_backward(context, &t->p.shape, t->q, t->k, t->v, &t->p.options, t->out,
                                      t->p.lse, t->half_d_out, &g));
}

static double
gradient_at(const struct task *t, size_t n)
{
    const struct parts parts = parts_of(&t->p);

    return n < parts.bias ? (double)widen(t->gradient[n])
                          : (double)t->bias_and_sinks[n - parts.bias];
}

/* ------------------------------------------------------------------------- */
/*  The textbook in bf16                                                     */
/* ------------------------------------------------------------------------- */

/* dQ, dK and dV where every matrix that is stored on the way is of bf16, and sums are f32. */
static float *
naive_gradients(const struct task *t)
{
    const struct problem *const p = &t->p;
    const size_t D = p->shape.width, E = value_width(p), S = p->shape.keys, L = p->shape.queries;
    const struct parts parts = parts_of(p);
    float *const gradient = floats(parts.bias + 1);
    double *const out = malloc((E + S + 1) * sizeof *out), *const weight = out + E;

    memset(gradient, 0, parts.bias * sizeof *gradient);
    for (size_t row = 0; row < heads_of(p) * L; row++) {
        const size_t head = row / L, b = head / p->shape.heads, h = head % p->shape.heads;
        const size_t key_head = b * key_heads(p) + h / (p->shape.heads / key_heads(p));
        const struct place place = place_of(p, b, row % L);
        const float *const q = query_row(p, b, h, row % L), *const d_out = t->d_out + row * E;
        const double lse = reference(p, head, row % L, out, weight), cap = p->options.softcap;
        float delta = 0;
        for (size_t e = 0; e < E; e++)
            delta += rounded(out[e]) * d_out[e];
        for (size_t j = 0; j < S; j++) {
            if (weight[j] == 0)
                continue;
            const float *const k = key_row(p, p->k, D, b, h, j), *const v = key_row(p, p->v, E, b,
                                                                                    h, j);
            const double raw = scale_of(p) * test_dot(q, k, D, NULL);
            const double slope = cap != 0 ? 1 - tanh(raw / cap) * tanh(raw / cap) : 1;
            const double keep = dropout_factor(p, &place, head, row % L, j);
            const float score = rounded(softcapped(p, raw) + added(p, &place, b, h, row % L, j));
            const float w = rounded(exp((double)score - lse));
            const float dp = rounded(keep * test_dot(d_out, v, E, NULL));
            const float ds = rounded((double)(w * (dp - delta)) * slope * scale_of(p));
            for (size_t d = 0; d < D; d++) {
                gradient[row * D + d] += ds * k[d];
                gradient[parts.k + (key_head * S + j) * D + d] += ds * q[d];
            }
            for (size_t e = 0; e < E; e++)
                gradient[parts.v + (key_head * S + j) * E + e] += rounded((double)w * keep) *
                                                                  d_out[e];
        }
    }
    for (size_t n = 0; n < parts.bias; n++)
        gradient[n] = rounded(gradient[n]);
    free(out);
    return gradient;
}

static double *
drops_of(const struct problem *p)
{
    const size_t S = p->shape.keys, L = p->shape.queries;
    double *const drop = malloc((heads_of(p) * L * S + 1) * sizeof *drop);

    for (size_t i = 0; i < heads_of(p) * L * S; i++) {
        const size_t head = i / S / L, query = i / S % L;
        const struct place place = place_of(p, head / p->shape.heads, query);
        drop[i] = p->options.dropout > 0 ? dropout_factor(p, &place, head, query, i % S) : 1;
    }
    return drop;
}

/* Every gradient within its roundings, and none much worse than the textbook's. */
static void
check_task(struct task *t, dotk_context *context)
{
    const struct problem *const p = &t->p;
    const struct parts parts = parts_of(p);
    double *const drops = drops_of(p);
    const double u = 0x1p-8;

    run_forward(context, t);
    run_backward(context, t);
    struct gradients want = reference_gradients(p, t->d_out, drops);
    float *const naive = naive_gradients(t);
    const size_t ends[] = {parts.q, parts.k, parts.v, parts.bias, parts.count};
    for (size_t i = 0; i < 4; i++) {
        double worst = 0, worst_naive = 0;
        for (size_t n = ends[i]; n < ends[i + 1]; n++) {
            const double got = gradient_at(t, n), value = want.value[n], size = want.magnitude[n];
            const double bound = u * (i < 3 ? fabs(value) : 0) + 2 * u * size + 0x1p-100;
            if (!(fabs(got - value) <= bound))
                fail_msg("L%zu S%zu D%zu E%zu: gradient %zu of all, of %s, is %.9g, want %.9g +- "
                         "%.2g",
                         p->shape.queries, p->shape.keys, p->shape.width, value_width(p), n,
                         part_name(&parts, n), got, value, bound);
            worst = fmax(worst, fabs(got - value));
            if (i < 3)
                worst_naive = fmax(worst_naive, fabs((double)naive[n] - value));
        }
        if (i < 3 && !(worst <= 2 * worst_naive))
            fail_msg("L%zu S%zu D%zu E%zu: the largest error of %s is %.3g, the textbook's %.3g",
                     p->shape.queries, p->shape.keys, p->shape.width, value_width(p),
                     part_name(&parts, ends[i]), worst, worst_naive);
    }
    drop_gradients(&want);
    free(naive);
    free(drops);
}

/* ------------------------------------------------------------------------- */
/*  Tests                                                                    */
/* ------------------------------------------------------------------------- */

static void
test_sizes(void **state)
{
    static const size_t shapes[][4] = {{1, 1, 1, 1},       {5, 7, 3, 2},     {70, 63, 32, 32},
                                       {33, 300, 64, 64},  {20, 65, 33, 17}, {200, 270, 128, 80},
                                       {390, 257, 64, 65}, {6, 64, 600, 16}, {9, 130, 24, 200}};
    dotk_context *const contexts[] = {NULL, one, two, four};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct problem p = make(i, 1 + i % 2, 2, shapes[i][0], shapes[i][1], shapes[i][2],
                                shapes[i][3]);
        p.shape.key_heads = i % 3 == 0 ? 1 : 0;
        p.options.causal = i % 4 == 3;
        p.options.query_offset = p.options.causal ? 40 : 0;
        struct task t = make_task(&p, i);
        check_task(&t, contexts[i % 4]);
        drop_task(&t);
    }
}

enum { B = 2, H = 4, L = 110, S = 330, D = 20, E = 27 };

/* Arrays that options point to. */
struct given {
    uint8_t mask[L * S];
    float bias[H * L * S], slopes[H], sinks[H];
    size_t lengths[B];
};

/* Options by the bits of 'with'. */
static struct problem
make_problem(unsigned with, struct given *given)
{
    struct problem p = make(with, B, H, L, S, D, E);
    uint64_t seed = with;

    *given = (struct given){
        .slopes = {0.01f, 0.1f, 0, 0.02f}, .sinks = {-1, 0, 1, 3}, .lengths = {S, 201}};
    test_random_normals(&seed, given->bias, sizeof given->bias / sizeof *given->bias);
    for (size_t i = 0; i < sizeof given->mask; i++) /* query 17 sees nothing, key 70 is unseen */
        given->mask[i] = i / S != 17 && i % S != 70 && test_random_below(&seed, 4) != 0;
    p.shape.key_heads = with & 1 ? 2 : 0;
    p.options.causal = (with & 2) != 0;
    p.options.query_offset = with & 2 ? 150 : 0;
    if (with & 4) {
        p.options.mask = given->mask;
        p.options.mask_layout.row = S;
    }
    if (with & 8) {
        p.options.bias = given->bias;
        p.options.bias_layout = with & 1 ? (dotk_layout){0, L * S, S} : (dotk_layout){0, 0, S};
    }
    p.options.softcap = with & 16 ? 2 : 0;
    p.options.sinks = with & 32 ? given->sinks : NULL;
    p.options.slopes = with & 64 ? given->slopes : NULL;
    p.options.key_lengths = with & 128 ? given->lengths : NULL;
    p.options.dropout = with & 256 ? 0.25f : 0;
    p.options.seed = UINT64_C(0x123456789abcdef);
    if (with & 512) {
        p.options.has_window = 1;
        p.options.window_left = 90;
        p.options.window_right = 30;
    }
    return p;
}

/* Each option alone, and all kinds of company; then the bits, which are not a matter of threads. */
static void
test_options(void **state)
{
    static const unsigned more[] = {1 | 2 | 8,   4 | 16 | 256,     1023, 8 | 256 | 32, 2 | 64 | 128,
                                    4 | 8 | 512, 1 | 16 | 32 | 256};
    struct given *const given = malloc(sizeof *given);

    (void)state;
    for (unsigned i = 0; i < 10 + sizeof more / sizeof *more; i++) {
        const struct problem p = make_problem(i < 10 ? 1u << i : more[i - 10], given);
        const struct parts parts = parts_of(&p);
        struct task t = make_task(&p, i);
        check_task(&t, two);
        uint16_t *const want = malloc(parts.bias * sizeof *want);
        float *const rest = floats(parts.count - parts.bias + 1);
        memcpy(want, t.gradient, parts.bias * sizeof *want);
        memcpy(rest, t.bias_and_sinks, (parts.count - parts.bias) * sizeof *rest);
        for (int threads = 0; threads < 2; threads++) {
            run_backward(threads == 0 ? one : four, &t);
            assert_memory_equal(want, t.gradient, parts.bias * sizeof *want);
            assert_memory_equal(rest, t.bias_and_sinks, (parts.count - parts.bias) * sizeof *rest);
        }
        free(want);
        free(rest);
        drop_task(&t);
    }
    free(given);
}

/* NaN and infinity where a mask excludes change no bit; where they count, gradients are NaN. */
static void
test_masked_nan(void **state)
{
    struct given *const given = malloc(sizeof *given);

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        const struct problem p = make_problem(4, given);
        const struct parts parts = parts_of(&p);
        const uint16_t poison = kind == 0 ? 0x7fc0 : 0x7f80;
        struct task t = make_task(&p, 7);
        uint16_t *const want = malloc(parts.bias * sizeof *want);
        run_forward(two, &t);
        run_backward(two, &t);
        memcpy(want, t.gradient, parts.bias * sizeof *want);
        for (size_t h = 0; h < B * H; h++) {
            for (size_t d = 0; d < D; d++) {
                t.q[(h * L + 17) * D + d] = poison;
                t.half_d_out[(h * L + 17) * E + d] = poison;
                t.k[(h * S + 70) * D + d] = poison;
                t.v[(h * S + 70) * E + d] = poison | 0x8000;
            }
        }
        run_forward(two, &t);
        run_backward(two, &t);
        assert_memory_equal(want, t.gradient, parts.bias * sizeof *want);
        /* a key and a query that some see: those have NaN, the others keep their bits */
        t.k[271 * D] = 0x7fc0;
        t.half_d_out[(L + 100) * E + 2] = 0x7fc0;
        run_forward(two, &t);
        run_backward(two, &t);
        for (size_t i = 0; i < L; i++) {
            const bool sees = given->mask[i * S + 271] != 0;
            assert_int_equal(isnan(widen(t.gradient[i * D])), sees);
            if (!sees)
                assert_memory_equal(want + i * D, t.gradient + i * D, D * sizeof *want);
        }
        for (size_t j = 0; j < S; j++) { /* of head 1, by its query 100 */
            const size_t at_k = parts.k + (S + j) * D, at_v = parts.v + (S + j) * E;
            const bool seen = given->mask[100 * S + j] != 0;
            assert_int_equal(isnan(widen(t.gradient[at_k])), seen);
            assert_int_equal(isnan(widen(t.gradient[at_v + 2])), seen);
            for (size_t e = 0; e < E; e++) { /* as far as they are finite they count */
                const double before = widen(want[at_v + e]), after = widen(t.gradient[at_v + e]);
                assert_true(e == 2 || fabs(after - before) <= 0x1p-7 * fabs(before) + 1e-4);
            }
            if (!seen) {
                assert_memory_equal(want + at_k, t.gradient + at_k, D * sizeof *want);
                assert_memory_equal(want + at_v, t.gradient + at_v, E * sizeof *want);
            }
        }
        free(want);
        drop_task(&t);
    }
    free(given);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_masked_nan),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
