/*
 * test_attention_backward.c - gradients of attention: central differences for every option, larger
 * shapes against the textbook in double precision, halves, what must change no bit
 */
#include "backward_reference.h"
#include "contexts.h"

/* Relative to the sum of what is added up; the header's. */
static const double BOUND = 4e-6;

/* ------------------------------------------------------------------------- */
/*  Central differences                                                      */
/* ------------------------------------------------------------------------- */

/* d loss / d parameter by four points: the error is of order step^4. */
static double
difference(const struct problem *p, const float *d_out, size_t n)
{
    const double step = 0x1p-9;
    float *const x = parameter(p, n);
    const float at = *x;
    double loss[4];

    for (int i = 0; i < 4; i++) {
        *x = at + (float)((i < 2 ? i - 2 : i - 1) * step);
        loss[i] = loss_of(p, d_out, NULL);
    }
    *x = at;
    return (8 * (loss[2] - loss[1]) - (loss[3] - loss[0])) / (12 * step);
}

/* Multiples of 2^-12 in [-1, 1): a step away they are still f32. */
static void
coarse(uint64_t *seed, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(int64_t)(test_random(seed) >> 51) * 0x1p-12f - 1;
}

enum {
    CAUSAL = 1,
    LENGTHS = 2,
    GROUPED = 4,
    BIAS = 8,
    CAP = 16,
    SINKS = 32,
    SLOPES = 64,
    MASK = 128,
    WINDOW = 256,
    BLOCKS = 512,
    PACKED = 1024,
    SCALE = 2048,
    ALL = 4096
};

/* Arrays that options point to. */
struct given {
    size_t lengths[3], query_starts[4], key_starts[4];
    int64_t offsets[3];
    float bias[3 * 4 * 9 * 11], sinks[4], slopes[4];
    uint8_t mask[3 * 4 * 9 * 11];
    size_t starts[6], columns[24];
    dotk_attention_blocks blocks;
};

static struct problem
small_problem(unsigned with, uint64_t seed, struct given *given)
{
    enum { H = 4, L = 9, S = 11, D = 3, E = 2 };
    const bool packed = (with & PACKED) != 0;
    const size_t B = packed ? 1 : 2;
    struct problem p = make(seed, B, H, L, S, D, E);
    dotk_attention_options *const o = &p.options;

    *given = (struct given){
        .lengths = {7, 10, 3},
        .query_starts = {0, 4, 4, 9},
        .key_starts = {0, 8, 8, 11},
        .offsets = {2, -1, 0},
        .starts = {0, 2, 2, 5},
        .columns = {0, 2, 0, 1, 2},
        .blocks = {.rows = 3, .cols = 4},
    };
    if (packed)
        given->lengths[1] = 0;
    coarse(&seed, p.q, B * H * L * D);
    coarse(&seed, p.k, B * H * S * D);
    coarse(&seed, p.v, B * H * S * E);
    coarse(&seed, given->bias, sizeof given->bias / sizeof *given->bias);
    coarse(&seed, given->sinks, H);
    coarse(&seed, given->slopes, H);
    for (size_t i = 0; i < sizeof given->mask; i++)
        given->mask[i] = test_random_below(&seed, 3) != 0;
    o->causal = (with & CAUSAL) != 0;
    if (with & CAUSAL)
        o->query_offsets = given->offsets;
    if (with & LENGTHS)
        o->key_lengths = given->lengths;
    if (with & GROUPED)
        p.shape.key_heads = seed % 2 == 0 ? 2 : 1;
    if (with & BIAS) {
        const dotk_layout layouts[] = {{H * L * S, L * S, S}, {0, 0, S}, {0, S, 0},
                                       {H * S, S, 0},         {0, 0, 0}, {L * S, 0, S}};
        o->bias = given->bias;
        o->bias_layout = layouts[seed % 6];
        given->bias[seed % S] = -INFINITY;
    }
    if (with & CAP)
        o->softcap = 0.75f;
    if (with & SINKS)
        o->sinks = given->sinks;
    if (with & SLOPES)
        o->slopes = given->slopes;
    if (with & MASK) {
        o->mask = given->mask;
        o->mask_layout = (dotk_layout){0, L * S, S};
    }
    if (with & WINDOW) {
        o->has_window = 1;
        o->window_left = 3;
        o->window_right = with & CAUSAL ? -1 : 1;
    }
    if (with & BLOCKS) {
        given->blocks.starts = given->starts;
        given->blocks.columns = given->columns;
        o->blocks = &given->blocks;
    }
    if (packed) {
        o->sequences = 3;
        o->query_starts = given->query_starts;
        o->key_starts = given->key_starts;
        if (o->query_offsets != NULL)
            given->offsets[1] = 0;
    }
    if (with & SCALE) {
        o->has_scale = 1;
        o->scale = -1.5f;
    }
    return p;
}

/*
 * The textbook's gradients are those of the loss (of every few parameters, 'stride' apart on
 * average), and the library's are the textbook's.
 */
static void
check_small(unsigned with, uint64_t seed, size_t stride)
{
    struct given *const given = malloc(sizeof *given);
    struct problem p = small_problem(with, seed, given);
    const struct parts parts = parts_of(&p);
    float *const d_out = floats(heads_of(&p) * p.shape.queries * value_width(&p));
    float *const got = floats(parts.count);

    coarse(&seed, d_out, heads_of(&p) * p.shape.queries * value_width(&p));
    assert_ok(forward(two, &p));
    memset(got, 0xff, parts.count * sizeof *got);
    assert_ok(backward(seed % 2 == 0 ? two : NULL, &p, d_out, got));
    struct gradients want = reference_gradients(&p, d_out, NULL);
    check_gradients(&p, got, &want, BOUND);
    for (size_t n = 0; n < parts.count; n += 1 + test_random_below(&seed, 2 * stride - 1)) {
        if (!isfinite(*parameter(&p, n)))
            continue;
        const double slope = difference(&p, d_out, n);
        if (!(fabs(slope - want.value[n]) <= 1e-8 * (1 + want.magnitude[n])))
            fail_msg("options %x: the loss by %s, parameter %zu of all, is %.12g, want %.12g", with,
                     part_name(&parts, n), n, want.value[n], slope);
    }
    drop_gradients(&want);
    free(d_out);
    free(got);
    free(given);
    drop(&p);
}

static void
test_differences(void **state)
{
    uint64_t seed = 1;

    (void)state;
    check_small(0, 1, 1);
    for (unsigned option = 1; option < ALL; option *= 2) {
        for (size_t i = 0; i < 6; i++)
            check_small(option, test_random(&seed), 4);
        for (unsigned other = 1; other < option; other *= 2)
            check_small(option | other, test_random(&seed), 12);
    }
    for (size_t i = 0; i < 40; i++)
        check_small((unsigned)test_random_below(&seed, ALL), test_random(&seed), 12);
}

/* ------------------------------------------------------------------------- */
/*  Larger shapes                                                            */
/* ------------------------------------------------------------------------- */

static float *
normals(uint64_t seed, size_t count)
{
    float *const out = floats(count);

    test_random_normals(&seed, out, count);
    return out;
}

static float *
normal_d_out(const struct problem *p, uint64_t seed)
{
    return normals(seed, heads_of(p) * p->shape.queries * value_width(p));
}

static void
check_large(const struct problem *p, dotk_context *context)
{
    float *const d_out = normal_d_out(p, 99), *const got = floats(parts_of(p).count);

    assert_ok(forward(context, p));
    memset(got, 0xff, parts_of(p).count * sizeof *got);
    assert_ok(backward(context, p, d_out, got));
    struct gradients want = reference_gradients(p, d_out, NULL);
    check_gradients(p, got, &want, BOUND);
    drop_gradients(&want);
    free(d_out);
    free(got);
}

static void
test_sizes(void **state)
{
    static const size_t lengths[] = {1, 5, 63, 64, 65, 200, 390}, widths[] = {1, 31, 64, 80, 200};
    dotk_context *const contexts[] = {NULL, one, two, four};
    uint64_t seed = 7;

    (void)state;
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++) {
            const size_t n = i * 7 + j, heads = 1 + n % 3, D = widths[n % 5];
            struct problem p = make(n, 1 + n % 2, heads, lengths[i], lengths[j], D,
                                    widths[(n + 2) % 5]);
            p.shape.key_heads = n % 4 == 0 ? 1 : 0;
            p.options.causal = n % 3 == 0;
            p.options.query_offset = test_random_below(&seed, lengths[j]) / 2;
            check_large(&p, contexts[n % 4]);
            drop(&p);
        }
    }
    struct problem p = make(3, 1, 1, 70, 80, 600, 20);
    check_large(&p, two);
    drop(&p);
    p = make(3, 1, 1, 20, 70, 10, 1100);
    check_large(&p, two);
    drop(&p);
}

/* Everything at once, over several blocks of keys and of rows. */
static void
test_options(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        enum { H = 4, L = 150, S = 600 };
        struct problem p = make(round, 2, H, L, S, 24, 40);
        uint8_t *const mask = malloc(L * S);
        float *const bias = normals(5, H * L * S), slopes[] = {0.01f, 0.1f, 0, 0.02f};
        const float sinks[] = {-1, 0, 1, 3};
        const size_t lengths[] = {S, 300};
        uint64_t seed = round;
        for (size_t i = 0; i < L * S; i++)
            mask[i] = i / S % 7 != 3 && test_random_below(&seed, 4) != 0;
        p.shape.key_heads = 2;
        p.options.causal = round % 2;
        p.options.query_offset = 300;
        p.options.key_lengths = lengths;
        p.options.mask = round >= 2 ? mask : NULL;
        p.options.mask_layout.row = S;
        p.options.bias = round != 4 ? bias : NULL;
        p.options.bias_layout = round % 3 == 0 ? (dotk_layout){0, L * S, S}
                                               : (dotk_layout){0, S, 0};
        p.options.slopes = slopes;
        p.options.sinks = sinks;
        p.options.softcap = round % 2 == 0 ? 2 : 0;
        p.options.has_window = round == 5;
        p.options.window_left = round == 5 ? 100 : 0;
        p.options.window_right = round == 5 ? 30 : 0;
        check_large(&p, round % 2 == 0 ? four : NULL);
        free(mask);
        free(bias);
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  Bits                                                                     */
/* ------------------------------------------------------------------------- */

/* Threads, the batch, other heads: none of it changes a bit; nor which gradients are wanted. */
static void
test_bits(void **state)
{
    static const size_t shapes[][4] = {{1, 1, 300, 700}, {2, 3, 200, 290}, {1, 2, 7, 2100}};
    dotk_context *const contexts[] = {one, two, four};

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        struct problem p = make(s, shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], 40, 40);
        const size_t S = shapes[s][3], L = shapes[s][2], count = shapes[s][1] * L * S;
        float *const bias = normals(8, count), sinks[] = {0, 1, 2};
        dotk_attention_stats stats;
        size_t by_blocks = 0, by_heads = 0;
        p.options.bias = bias;
        p.options.bias_layout = (dotk_layout){0, s == 1 ? 0 : L * S, S};
        p.options.sinks = sinks;
        p.options.stats = &stats;
        const struct parts parts = parts_of(&p);
        float *const d_out = normal_d_out(&p, 1);
        float *const want = floats(parts.count), *const got = floats(parts.count);
        assert_ok(forward(NULL, &p));
        assert_ok(backward(NULL, &p, d_out, want));
        assert_true(stats.pairs == shapes[s][0] * count);
        for (size_t c = 0; c < 3; c++) {
            assert_ok(backward(contexts[c], &p, d_out, got));
            assert_same(want, got, parts.count);
            assert_true(test_is_kernel_of(stats.kernel, dotk_context_isa(contexts[c])));
            by_blocks += strcmp(stats.path, "blocks") == 0;
            by_heads += strcmp(stats.path, "heads") == 0;
        }
        assert_true(by_blocks + by_heads == 3 && by_heads > 0 && (s == 1 || by_blocks > 0));
        for (unsigned wanted = 0; wanted < 32; wanted++) {
            dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
            memset(got, 0xff, parts.count * sizeof *got);
            g.q = wanted & 1 ? got + parts.q : NULL;
            g.k = wanted & 2 ? got + parts.k : NULL;
            g.v = wanted & 4 ? got + parts.v : NULL;
            g.bias = wanted & 8 ? got + parts.bias : NULL;
            g.sinks = wanted & 16 ? got + parts.sinks : NULL;
            assert_ok(dotk_attention_backward(contexts[wanted % 3], &p.shape, p.q, p.k, p.v,
                                              &p.options, p.out, p.lse, d_out, &g));
            const size_t ends[] = {parts.q, parts.k, parts.v, parts.bias, parts.sinks, parts.count};
            for (size_t i = 0; i < 5; i++) {
                if ((wanted >> i & 1) != 0)
                    assert_same(want + ends[i], got + ends[i], ends[i + 1] - ends[i]);
                for (size_t n = ends[i]; (wanted >> i & 1) == 0 && n < ends[i + 1]; n++)
                    assert_true(isnan(got[n]));
            }
        }
        /* the first head of the last batch entry by itself */
        struct problem alone = p;
        const size_t head = (shapes[s][0] - 1) * shapes[s][1];
        alone.shape.batch = alone.shape.heads = 1;
        alone.q += head * L * 40;
        alone.k += head * S * 40;
        alone.v += head * S * 40;
        alone.out += head * L * 40;
        alone.lse += head * L;
        const struct parts one_head = parts_of(&alone);
        assert_ok(backward(two, &alone, d_out + head * L * 40, got));
        assert_same(want + parts.q + head * L * 40, got + one_head.q, L * 40);
        assert_same(want + parts.k + head * S * 40, got + one_head.k, S * 40);
        assert_same(want + parts.v + head * S * 40, got + one_head.v, S * 40);
        free(bias);
        free(d_out);
        free(want);
        free(got);
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  What does not count                                                      */
/* ------------------------------------------------------------------------- */

/* NaN and infinity in queries that see nothing, keys that nobody sees, and where a mask excludes.
 */
static void
test_masked_nan(void **state)
{
    enum { H = 2, L = 200, S = 300, D = 20 };

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct problem p = make(2, 1, H, L, S, D, D);
        uint8_t *const mask = malloc(L * S);
        float *const d_out = normal_d_out(&p, 3), *sinks = (float[]){0.5f, 1};
        const float poison = kind % 2 == 0 ? NAN : INFINITY;
        uint64_t seed = 4;
        /* query 17 and key 70 see and are seen by nobody; query 100 and key 270 by each other's
         * peers */
        for (size_t i = 0; i < L * S; i++)
            mask[i] = i / S != 17 && i % S != 70 && test_random_below(&seed, 3) != 0;
        p.options.mask = mask;
        p.options.mask_layout.row = S;
        p.options.sinks = kind >= 2 ? sinks : NULL;
        const struct parts parts = parts_of(&p);
        float *const want = floats(parts.count), *const got = floats(parts.count);
        assert_ok(forward(NULL, &p));
        assert_ok(backward(NULL, &p, d_out, want));
        for (size_t h = 0; h < H; h++) {
            for (size_t d = 0; d < D; d++) {
                p.q[(h * L + 17) * D + d] = poison;
                d_out[(h * L + 17) * D + d] = poison;
                p.k[(h * S + 70) * D + d] = poison;
                p.v[(h * S + 70) * D + d] = -poison;
            }
        }
        assert_ok(forward(NULL, &p));
        assert_ok(backward(two, &p, d_out, got));
        assert_same(want, got, parts.k);
        assert_same(want + parts.k, got + parts.k, parts.count - parts.k - (kind >= 2 ? H : 0));
        for (size_t h = 0; kind >= 2 && h < H; h++)
            assert_true(fabs((double)want[parts.sinks + h] - (double)got[parts.sinks + h]) <
                        1e-6 * fabs((double)want[parts.sinks + h]));
        /* a key and a query that some see: those have NaN, the others keep their bits */
        p.k[270 * D] = NAN;
        d_out[(L + 100) * D + 2] = NAN;
        assert_ok(forward(NULL, &p));
        assert_ok(backward(two, &p, d_out, got));
        for (size_t i = 0; i < L; i++) {
            const bool sees = mask[i * S + 270] != 0;
            assert_int_equal(isnan(got[parts.q + i * D]), sees);
            if (!sees)
                assert_same(want + parts.q + i * D, got + parts.q + i * D, D);
        }
        for (size_t j = 0; j < S; j++) { /* of head 1, by its query 100 */
            const size_t at = (S + j) * D;
            const bool seen = mask[100 * S + j] != 0;
            assert_int_equal(isnan(got[parts.k + at]), seen);
            assert_int_equal(isnan(got[parts.v + at + 2]), seen);
            if (!seen) {
                assert_same(want + parts.k + at, got + parts.k + at, D);
                assert_same(want + parts.v + at, got + parts.v + at, D);
            }
        }
        free(mask);
        free(d_out);
        free(want);
        free(got);
        drop(&p);
    }
}

/* Keys beyond a length lie on pages that cannot be read; their gradients are zeros. */
static void
test_beyond_lengths(void **state)
{
    enum { L = 90, S = 500, D = 16 };
    static const size_t lengths[] = {1, 63, 64, 300, 0};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct problem p = make(i, 1, 1, L, S, D, D);
        const size_t length = lengths[i];
        struct test_guarded key_guarded, value_guarded;
        const float *const keys = p.k, *const values = p.v;
        float *const d_out = normal_d_out(&p, 3), *const got = floats(parts_of(&p).count);
        const struct parts parts = parts_of(&p);
        p.options.key_lengths = &length;
        assert_ok(forward(NULL, &p));
        struct gradients want = reference_gradients(&p, d_out, NULL);
        p.k = test_guarded_floats(&key_guarded, length * D);
        p.v = test_guarded_floats(&value_guarded, length * D);
        memcpy(p.k, keys, length * D * sizeof *keys);
        memcpy(p.v, values, length * D * sizeof *values);
        for (int threads = 0; threads < 2; threads++) {
            memset(got, 0xff, parts.count * sizeof *got);
            assert_ok(backward(threads == 0 ? one : four, &p, d_out, got));
            check_gradients(&p, got, &want, BOUND);
            for (size_t n = parts.k + length * D; n < parts.v; n++)
                assert_true(got[n] == 0);
            for (size_t n = parts.v + length * D; n < parts.bias; n++)
                assert_true(got[n] == 0);
        }
        test_guarded_free(&key_guarded);
        test_guarded_free(&value_guarded);
        p.k = (float *)(uintptr_t)keys;
        p.v = (float *)(uintptr_t)values;
        drop_gradients(&want);
        free(d_out);
        free(got);
        drop(&p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_options),     cmocka_unit_test(test_bits),
        cmocka_unit_test(test_masked_nan),  cmocka_unit_test(test_beyond_lengths),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
