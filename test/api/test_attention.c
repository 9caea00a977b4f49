/*
 * test_attention.c - dotk_attention_forward() as a caller sees it: against double precision, bit
 * against bit, and the worked examples
 */
#include "attention_reference.h"
#include "contexts.h"

#include <float.h>

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
                p.options.query_offset = (int64_t)S - (int64_t)L;
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
    static const int64_t offsets[] = {0, 3, -3, 64, -70, -75, 130};
    const size_t lengths[] = {0, 1, 64, 100, 130};

    (void)state;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        struct problem p = make(i, 5, 2, 75, 130, 32, 48);
        p.options.causal = 1;
        p.options.query_offset = offsets[i];
        p.options.key_lengths = i % 2 == 0 ? lengths : NULL;
        assert_ok(forward(two, &p));
        check(&p, 1);
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
test_threads_and_batch(void **state)
{
    dotk_context *const contexts[] = {NULL, one, two, four};

    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        for (size_t L = 1; L <= 700; L = L * 5 + 2) {
            const size_t S = 3 * 1024 + 77, D = 24, B = 3;
            struct problem p = make(L, B, 1, L, S, D, D);
            p.options.causal = causal;
            p.options.query_offset = (int64_t)(S - L);
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
                const dotk_attention_shape shape = {1, 1, 1, room ? L : i + 1, D, E, 0};
                dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
                options.causal = 1;
                options.query_offset = (int64_t)i;
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
/*  Worked examples                                                          */
/* ------------------------------------------------------------------------- */

/* "let's" and "go" seen from one state of a decoder. */
static void
test_translation(void **state)
{
    const float keys[] = {-0.76f, 0.75f, 0.01f, -0.01f}, query[] = {0.91f, 0.38f};
    const dotk_attention_shape shape = {1, 1, 1, 2, 2, 2, 0};
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    float weights[2], context[2], lse;

    (void)state;
    options.has_scale = 1;
    options.scale = 1;
    assert_ok(dotk_attention_weights(NULL, &shape, query, keys, &options, 0, weights));
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
    assert_ok(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, 0, weights));
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
            p.options.scale = scaled ? 0 : 1;
            assert_ok(dotk_attention_weights(two, &p.shape, p.q, p.k, &p.options, 0, weights));
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
        cmocka_unit_test(test_translation),
        cmocka_unit_test(test_two_heads_of_six),
        cmocka_unit_test(test_variance_and_saturation),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
