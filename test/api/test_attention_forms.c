/* test_attention_forms.c - each form of attention by itself, against the reference */
#include "attention_reference.h"

#include <float.h>

enum { B = 2, H = 4, L = 70, S = 1100, D = 24, E = 20 };

static dotk_context *two;

static int
set_up(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    (void)state;
    options.threads = 2;
    assert_ok(dotk_context_create(&options, &two));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    dotk_context_destroy(two);
    return 0;
}

static void
check_form(struct problem *p)
{
    assert_ok(forward(two, p));
    check(p, 1);
    drop(p);
}

static void
test_grouped_heads(void **state)
{
    static const size_t key_heads[] = {1, 2, 4};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct problem p = make(i, B, H, L, S, D, E);
        p.shape.key_heads = key_heads[i];
        p.options.causal = 1;
        p.options.query_offset = S - L;
        check_form(&p);
    }
}

static void
test_windows(void **state)
{
    static const int64_t sides[][2] = {{0, 0}, {5, 3}, {300, -1}, {-1, 40}, {64, 64}, {5000, 5000}};
    static const int64_t offsets[] = {0, S - L, -30};

    (void)state;
    for (size_t i = 0; i < 18; i++) {
        struct problem p = make(i, B, H, L, S, D, E);
        p.shape.key_heads = 2;
        p.options.has_window = 1;
        p.options.window_left = sides[i / 3][0];
        p.options.window_right = sides[i / 3][1];
        p.options.query_offset = offsets[i % 3];
        p.options.causal = i % 4 == 0;
        check_form(&p);
    }
}

static void
test_boolean_mask(void **state)
{
    static uint8_t mask[B * H * L * S];
    static const dotk_layout layouts[] = {{H * L * S, L * S, S}, {0, 0, S}, {S, 0, 0}, {0, 7, 0}};
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < sizeof mask; i++)
        mask[i] = (uint8_t)(test_random_below(&seed, 3) * 100);
    for (size_t i = 0; i < 4; i++) {
        struct problem p = make(i, B, H, L, S, D, E);
        p.shape.key_heads = 1;
        p.options.mask = mask;
        p.options.mask_layout = layouts[i];
        check_form(&p);
    }
}

/* One row of the mask for all queries: whole blocks of keys exist, or do not. */
static void
test_padding_mask(void **state)
{
    static uint8_t mask[B * S];

    (void)state;
    for (size_t i = 0; i < B * S; i++)
        mask[i] = i < S ? i < 700 || i >= 1090 : i % S > 250 && i % S != 600;
    for (size_t i = 0; i < 2; i++) {
        struct problem p = make(i, B, H, L, S, D, E);
        p.shape.key_heads = i == 0 ? H : 2;
        p.options.mask = mask;
        p.options.mask_layout = (dotk_layout){S, 0, 0};
        p.options.causal = i == 1;
        p.options.query_offset = S - L;
        check_form(&p);
    }
}

static void
test_blocks(void **state)
{
    static const size_t starts[] = {0, 2, 2, 3, 3, 4, 6, 7}, columns[] = {0, 3, 8, 1, 2, 5, 4};
    const dotk_attention_blocks blocks = {10, 128, starts, columns, 0};

    (void)state;
    struct problem p = make(1, B, H, L, S, D, E);
    p.options.blocks = &blocks;
    check_form(&p);
}

static void
test_bias_and_slopes(void **state)
{
    static float bias[H * L * S], slopes[H] = {0.5f, 0.1f, 0, 1};
    uint64_t seed = 3;

    (void)state;
    test_random_normals(&seed, bias, H * L * S);
    for (size_t i = 0; i < H * L * S; i += 3)
        bias[i] = -INFINITY;
    for (size_t i = 0; i < 3; i++) {
        struct problem p = make(i, B, H, L, S, D, E);
        p.shape.key_heads = 2;
        p.options.bias = i == 1 ? NULL : bias;
        p.options.bias_layout = (dotk_layout){0, L * S, S};
        p.options.slopes = i == 0 ? NULL : slopes;
        p.options.query_offset = 17;
        check_form(&p);
    }
}

/* The lowest number counts, unlike -infinity: among its like it has its share. */
static void
test_lowest_bias(void **state)
{
    float bias[L][S];
    struct problem p = make(9, B, H, L, S, D, E);

    (void)state;
    for (size_t i = 0; i < L; i++) {
        for (size_t j = 0; j < S; j++)
            bias[i][j] = i % 3 == 0 ? -FLT_MAX : i % 3 == 1 && j % 2 ? -INFINITY : -3e38f;
    }
    p.options.bias = bias[0];
    p.options.bias_layout = (dotk_layout){0, 0, S};
    assert_ok(forward(two, &p));
    for (size_t row = 0; row < B * H * L; row++) {
        for (size_t e = 0; e < E; e++) {
            double mean = 0;
            const size_t step = row % L % 3 == 1 ? 2 : 1;
            for (size_t j = 0; j < S; j += step)
                mean += p.v[(row / L * S + j) * E + e];
            mean /= (double)((S + step - 1) / step);
            assert_true(fabs(p.out[row * E + e] - mean) < 1e-5);
        }
    }
    drop(&p);
}

static void
test_softcap_and_sinks(void **state)
{
    static const float sinks[H] = {-2, 0, 8, 3};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct problem p = make(i, B, H, L, S, D, E);
        p.options.softcap = i == 1 ? 0 : 3;
        p.options.sinks = i == 0 ? NULL : sinks;
        p.options.causal = 1;
        p.options.query_offset = -2;
        check_form(&p);
    }
}

static void
test_packed_sequences(void **state)
{
    static const size_t queries[] = {0, 20, 20, 21, L}, keys[] = {0, 1000, 1040, 1040, S};
    static const int64_t offsets[] = {980, 3, 0, 2};
    static const size_t lengths[] = {900, 0, 0, 60};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct problem p = make(i, 1, H, L, S, D, E);
        p.shape.key_heads = 2;
        p.options.sequences = 4;
        p.options.query_starts = queries;
        p.options.key_starts = keys;
        p.options.causal = i % 2;
        p.options.query_offsets = i % 2 ? offsets : NULL;
        p.options.key_lengths = i / 2 ? lengths : NULL;
        check_form(&p);
    }
}

/* The same weights are dropped whatever else a call asks for, and each seed drops its own. */
static void
test_dropout(void **state)
{
    static const float rates[] = {0.1f, 0.5f, 0.95f};
    static const size_t queries[] = {0, 20, 20, 21, L}, keys[] = {0, 1000, 1040, 1040, S};

    (void)state;
    for (size_t i = 0; i < 12; i++) {
        struct problem p = make(i, i % 3 == 2 ? 1 : B, H, L, S, D, E);
        p.options.dropout = rates[i / 3 % 3];
        p.options.seed = UINT64_C(0x123456789abcdef) * i;
        p.shape.key_heads = i % 2 ? 2 : H;
        p.options.causal = i % 3 == 1;
        p.options.query_offset = i % 3 == 1 ? 500 : 0;
        if (i % 3 == 2) {
            p.options.sequences = 4;
            p.options.query_starts = queries;
            p.options.key_starts = keys;
        }
        check_form(&p);
    }
}

/* A NaN among the values of keys that do not count stays unseen with dropout too. */
static void
test_dropout_under_a_mask(void **state)
{
    uint8_t mask[S];
    uint64_t seed = 3;
    struct problem p = make(5, B, H, L, S, D, E);

    (void)state;
    for (size_t j = 0; j < S; j++) {
        mask[j] = test_random_below(&seed, 2) != 0;
        for (size_t h = 0; h < B * H && mask[j] == 0; h++)
            p.v[(h * S + j) * E] = NAN;
    }
    p.options.dropout = 0.3f;
    p.options.mask = mask;
    assert_ok(forward(two, &p));
    for (size_t j = 0; j < S; j++) {
        for (size_t h = 0; h < B * H && mask[j] == 0; h++)
            p.v[(h * S + j) * E] = 1;
    }
    check(&p, 1);
    drop(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grouped_heads),     cmocka_unit_test(test_windows),
        cmocka_unit_test(test_boolean_mask),      cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_bias_and_slopes),   cmocka_unit_test(test_lowest_bias),
        cmocka_unit_test(test_softcap_and_sinks), cmocka_unit_test(test_packed_sequences),
        cmocka_unit_test(test_dropout),           cmocka_unit_test(test_dropout_under_a_mask),
        cmocka_unit_test(test_padding_mask),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
