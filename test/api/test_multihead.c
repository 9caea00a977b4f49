/*
 * test_multihead.c - the multi-head module against its definition in double precision, its
 * gradients against central differences of that; masks, layouts, bits
 */
#include "multihead_case.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_weights),         cmocka_unit_test(test_nothing_to_see),
        cmocka_unit_test(test_gradients),       cmocka_unit_test(test_bits),
        cmocka_unit_test(test_empty_gradients),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
