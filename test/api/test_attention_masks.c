/*
 * test_attention_masks.c - what attention must not see or touch, and how its arrays may lie
 */
#include "attention_reference.h"
#include "contexts.h"

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
            p.options.query_offset = 20;
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

/* The same for keys that a mask, a bias, a window or blocks hide from some rows or from all. */
static void
test_hidden_garbage(void **state)
{
    enum { L = 70, S = 200, D = 16, E = 20, AT = 77 };
    static const size_t starts[] = {0, 2, 3}, columns[] = {1, 2, 1}; /* keys 64 .. 127 */
    static const dotk_attention_blocks blocks = {40, 64, starts, columns, 0};
    static uint8_t mask[L * S];
    static float bias[L * S];

    (void)state;
    for (size_t i = 0; i < L * S; i++) { /* rows 30 on do not see key AT */
        const bool hidden = i % S == AT && i / S >= 30;
        mask[i] = !hidden;
        bias[i] = hidden ? -INFINITY : 0.5f;
    }
    for (int form = 0; form < 4; form++) {
        struct problem p = make((uint64_t)form, 1, 1, L, S, D, E);
        const size_t at = form == 2 ? 150 : form == 3 ? 65 : AT;
        const size_t unseen = form == 2 ? 40 : 30; /* the first row that does not see 'at' */
        p.options.mask = form == 0 ? mask : NULL;
        p.options.mask_layout.row = S;
        p.options.bias = form == 1 ? bias : NULL;
        p.options.bias_layout.row = S;
        p.options.blocks = form == 2 ? &blocks : NULL;
        p.options.has_window = form == 3; /* row i sees i - 3 .. i + 37 */
        p.options.window_left = p.options.window_right = form == 3 ? 20 : 0;
        p.options.query_offset = 17;
        assert_ok(forward(NULL, &p));
        float *const clean = p.out;
        p.out = floats(L * E);
        for (size_t d = 0; d < D; d++)
            p.k[at * D + d] = NAN;
        for (size_t e = 0; e < E; e++)
            p.v[at * E + e] = NAN;
        assert_ok(forward(two, &p));
        for (size_t i = 0; i < L; i++) {
            const bool sees = form == 3 ? i + 37 >= at && i <= at + 3 : i < unseen;
            if (sees)
                assert_true(isnan(p.out[i * E]));
            else
                assert_same(p.out + i * E, clean + i * E, E);
        }
        free(clean);
        drop(&p);
    }
}

/* A NaN in one column of one value gives NaN there, to those who see it, and nowhere else. */
static void
test_unmasked_nan(void **state)
{
    struct problem p = make(3, 1, 1, 20, 300, 8, 24);

    (void)state;
    p.options.causal = 1;
    p.options.query_offset = 250;
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
    p.options.query_offset = -2; /* query 2 sees key 0, queries 0 and 1 nothing */
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
    p.options.key = (dotk_layout){H * S * (D + GAP), S * (D + GAP), D + GAP};
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masked_garbage), cmocka_unit_test(test_hidden_garbage),
        cmocka_unit_test(test_unmasked_nan),   cmocka_unit_test(test_unmapped_keys),
        cmocka_unit_test(test_empty),          cmocka_unit_test(test_layouts),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
