/* test_vector.c - products, lengths, angles and softmax against double precision */
#include "support.h"

#include <dotk/vector.h>
#include <float.h>

#include "kernel/kernel.h"

#include "float_mode.h"

/* A dimension of many shapes: all small ones, then some around the chains of 256. */
static size_t
next_dim(size_t dim)
{
    return dim < 40 ? dim + 1 : dim < 1100 ? dim + 13 : dim * 2;
}

static void
test_scores(void **state)
{
    uint64_t seed = 3;

    (void)state;
    for (size_t dim = 0; dim < 10000; dim = next_dim(dim)) {
        struct test_guarded guarded[2];
        float *const a = test_guarded_floats(&guarded[0], dim);
        float *const b = test_guarded_floats(&guarded[1], dim);
        double magnitude;
        test_random_normals(&seed, a, dim);
        test_random_normals(&seed, b, dim);
        const double dot = test_dot(a, b, dim, &magnitude), l2 = test_l2(a, b, dim);
        const double unit = 0x1p-24, n = (double)dim;
        assert_true(fabs(dotk_dot(a, b, dim) - dot) <= (n + 1) * unit * magnitude);
        assert_true(fabs(dotk_l2(a, b, dim) - l2) <= (n + 4) * unit * l2);
        assert_true(!signbit(dotk_l2(a, a, dim)) && dotk_l2(a, a, dim) == 0);
        /* The bits are the portable kernel's, whichever this run uses. */
        const struct dk_kernels *const portable = dk_kernels_at(0);
        const float defined[] = {portable->pair_f32[DK_SCORE_DOT](a, b, dim),
                                 0 - portable->pair_f32[DK_SCORE_L2](a, b, dim)};
        const float found[] = {dotk_dot(a, b, dim), dotk_l2(a, b, dim)};
        assert_memory_equal(defined, found, sizeof found);
        test_guarded_free(&guarded[0]);
        test_guarded_free(&guarded[1]);
    }
}

static void
test_norm_cosine_angle(void **state)
{
    uint64_t seed = 4;
    float a[1100] = {0}, b[1100], out;

    (void)state;
    assert_true(dotk_norm(a, 0) == 0);
    for (size_t dim = 1; dim <= 1100; dim = next_dim(dim)) {
        test_random_normals(&seed, a, dim);
        test_random_normals(&seed, b, dim);
        const double aa = test_dot(a, a, dim, NULL), bb = test_dot(b, b, dim, NULL);
        const double cosine = test_dot(a, b, dim, NULL) / sqrt(aa * bb);
        assert_true(fabs(dotk_norm(a, dim) - sqrt(aa)) <= 0x1p-24 * sqrt(aa));
        assert_ok(dotk_cosine(a, b, dim, &out));
        assert_true(fabs(out - cosine) <= 0x1p-24);
        assert_ok(dotk_angle(a, b, dim, &out));
        assert_true(fabs(out - acos(fmin(1, fmax(-1, cosine)))) <= 1e-6);
        assert_ok(dotk_cosine(a, a, dim, &out));
        assert_true(out == 1);
        assert_ok(dotk_angle(a, a, dim, &out));
        assert_true(out == 0);
    }
}

/* acos() of the cosine would say 0 here. */
static void
test_small_angle(void **state)
{
    const float a[] = {1, 0}, b[] = {1, 1e-6f}, c[] = {-1, 1e-6f};
    float out;

    (void)state;
    assert_ok(dotk_angle(a, b, 2, &out));
    assert_true(fabs(out - 1e-6) < 1e-12);
    assert_ok(dotk_angle(a, c, 2, &out));
    assert_true(out == (float)(3.14159265358979 - 1e-6));
}

/* Lengths whose squares an f32 cannot hold are no trouble where the answer can. */
static void
test_extreme_lengths(void **state)
{
    const float small[] = {3e-40f, 4e-40f}, large[] = {3e18f, 4e18f}, huge[] = {3e38f, 3e38f};
    float out, unit[2], norm;

    (void)state;
    assert_true(fabs(dotk_norm(small, 2) - 5e-40) < 1e-44);
    assert_ok(dotk_cosine(small, large, 2, &out));
    assert_float_equal(out, 1, 1e-4); /* 3e-40 has few bits */
    assert_ok(dotk_normalize(large, 2, unit, &norm));
    assert_true(norm == 5e18f && fabsf(unit[0] - 0.6f) < 1e-7f);
    assert_true(isinf(dotk_norm(huge, 2)));
    assert_status(dotk_normalize(huge, 2, unit, NULL), DOTK_BAD_ARGUMENT);
    assert_message("a has a squared norm");
}

static void
test_normalize_and_project(void **state)
{
    uint64_t seed = 5;
    float a[1100], b[1100], out[1100], norm;

    (void)state;
    for (size_t dim = 1; dim <= 1100; dim = next_dim(dim)) {
        test_random_normals(&seed, a, dim);
        test_random_normals(&seed, b, dim);
        assert_ok(dotk_normalize(a, dim, out, &norm));
        assert_true(norm == dotk_norm(a, dim));
        assert_float_equal(dotk_norm(out, dim), 1, 1e-6);
        for (size_t d = 0; d < dim; d++)
            assert_true(fabs(out[d] - a[d] / sqrt(test_dot(a, a, dim, NULL))) <= 0x1p-24);

        /* What is left of a is at a right angle to b. */
        assert_ok(dotk_project(a, b, dim, out));
        const double factor = test_dot(a, b, dim, NULL) / test_dot(b, b, dim, NULL);
        for (size_t d = 0; d < dim; d++)
            assert_true(fabs(out[d] - factor * b[d]) <= 1e-7 * fabs(factor * b[d]));
        float rest[1100];
        for (size_t d = 0; d < dim; d++)
            rest[d] = a[d] - out[d];
        double magnitude;
        const double left = test_dot(rest, b, dim, &magnitude);
        assert_true(fabs(left) <= 1e-6 * (magnitude + test_dot(b, b, dim, NULL)));

        /* Over its own input, either one. */
        float over_a[1100], over_b[1100];
        memcpy(over_a, a, sizeof a);
        memcpy(over_b, b, sizeof b);
        assert_ok(dotk_project(over_a, b, dim, over_a));
        assert_ok(dotk_project(a, over_b, dim, over_b));
        assert_memory_equal(over_a, out, dim * sizeof *out);
        assert_memory_equal(over_b, out, dim * sizeof *out);
    }
}

static void
test_no_direction(void **state)
{
    const float zero[] = {0, -0.0f}, one[] = {1, 0},
                bad[][2] = {{1, NAN}, {INFINITY, 0}, {2e19f, 0}};
    float out[2];

    (void)state;
    assert_status(dotk_cosine(zero, one, 2, out), DOTK_BAD_ARGUMENT);
    assert_message("a is a zero vector");
    assert_status(dotk_cosine(one, zero, 2, out), DOTK_BAD_ARGUMENT);
    assert_message("b is a zero vector");
    assert_status(dotk_angle(zero, one, 2, out), DOTK_BAD_ARGUMENT);
    assert_status(dotk_normalize(zero, 2, out, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_project(one, zero, 2, out), DOTK_BAD_ARGUMENT);
    assert_ok(dotk_project(zero, one, 2, out));
    assert_true(out[0] == 0 && out[1] == 0);
    assert_status(dotk_cosine(zero, zero, 0, out), DOTK_BAD_ARGUMENT);
    for (size_t i = 0; i < 3; i++) {
        assert_status(dotk_cosine(bad[i], one, 2, out), DOTK_BAD_ARGUMENT);
        assert_message("a has a squared norm of");
        assert_status(dotk_angle(one, bad[i], 2, out), DOTK_BAD_ARGUMENT);
        assert_message("b has a squared norm of");
        assert_status(dotk_normalize(bad[i], 2, out, NULL), DOTK_BAD_ARGUMENT);
        assert_status(dotk_project(bad[i], one, 2, out), DOTK_BAD_ARGUMENT);
        assert_status(dotk_project(one, bad[i], 2, out), DOTK_BAD_ARGUMENT);
    }
}

static void
test_null_arguments(void **state)
{
    const float one[] = {1};
    float out;

    (void)state;
    assert_status(dotk_cosine(NULL, one, 1, &out), DOTK_BAD_ARGUMENT);
    assert_message("a is NULL");
    assert_status(dotk_angle(one, NULL, 1, &out), DOTK_BAD_ARGUMENT);
    assert_message("b is NULL");
    assert_status(dotk_project(one, one, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
    assert_status(dotk_normalize(NULL, 1, &out, NULL), DOTK_BAD_ARGUMENT);
    assert_message("a is NULL");
    assert_status(dotk_softmax(NULL, 1, 1, &out), DOTK_BAD_ARGUMENT);
    assert_message("a is NULL");
    assert_status(dotk_softmax(one, 1, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
    assert_status(dotk_log_softmax(one, 1, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
}

/* ------------------------------------------------------------------------- */
/*  Softmax                                                                  */
/* ------------------------------------------------------------------------- */

static void
test_softmax(void **state)
{
    static const float temperatures[] = {0.05f, 0.5f, 1, 7, 1e30f};
    uint64_t seed = 6;
    float a[600], out[600];

    (void)state;
    for (size_t t = 0; t < 5; t++) {
        for (size_t dim = 1; dim <= 600; dim = next_dim(dim)) {
            test_random_normals(&seed, a, dim);
            for (size_t d = 0; d < dim; d++)
                a[d] = a[d] * 10 + 1000; /* exp(1000) overflows */
            double max = a[0], sum = 0, total = 0;
            for (size_t d = 1; d < dim; d++)
                max = fmax(max, a[d]);
            for (size_t d = 0; d < dim; d++)
                sum += exp((a[d] - max) / temperatures[t]);
            assert_ok(dotk_log_softmax(a, dim, temperatures[t], out));
            for (size_t d = 0; d < dim; d++) {
                const double exact = (a[d] - max) / temperatures[t] - log(sum);
                assert_true(fabs(out[d] - exact) <=
                            0x1p-24 * fabs(exact) + 0x1p-52 * (double)(dim + 1));
            }
            assert_ok(dotk_softmax(a, dim, temperatures[t], out));
            for (size_t d = 0; d < dim; d++) {
                const double exact = exp((a[d] - max) / temperatures[t]) / sum;
                assert_true(fabs(out[d] - exact) <= 0x1p-23 * exact + FLT_MIN);
                total += out[d];
            }
            assert_float_equal(total, 1, 1e-5);
            assert_ok(dotk_softmax(a, dim, temperatures[t], a)); /* over its input */
            assert_memory_equal(a, out, dim * sizeof *out);
        }
    }
}

static void
test_softmax_of_odd_values(void **state)
{
    const float all_masked[] = {-INFINITY, -INFINITY}, masked[] = {-INFINITY, 3, 3},
                with_nan[] = {1, NAN, 2}, masked_and_nan[] = {-INFINITY, NAN},
                with_infinity[] = {1, INFINITY}, far[] = {3e38f, -3e38f};
    float out[3];

    (void)state;
    assert_ok(dotk_softmax(all_masked, 2, 1, out));
    assert_true(out[0] == 0 && out[1] == 0);
    assert_ok(dotk_softmax(masked, 3, 1, out));
    assert_true(out[0] == 0 && out[1] == 0.5f && out[2] == 0.5f);
    assert_ok(dotk_softmax(with_nan, 3, 1, out));
    assert_true(isnan(out[0]) && isnan(out[1]) && isnan(out[2]));
    assert_ok(dotk_softmax(masked_and_nan, 2, 1, out));
    assert_true(isnan(out[0]) && isnan(out[1]));
    assert_ok(dotk_softmax(with_infinity, 2, 1, out));
    assert_true(isnan(out[0]) && isnan(out[1]));
    assert_ok(dotk_softmax(far, 2, 1e-45f, out));
    assert_true(out[0] == 1 && out[1] == 0);
    assert_ok(dotk_softmax(NULL, 0, 1, NULL));
    assert_ok(dotk_log_softmax(all_masked, 2, 1, out));
    assert_true(out[0] == -INFINITY && out[1] == -INFINITY);
    assert_ok(dotk_log_softmax(masked, 3, 1, out));
    assert_true(out[0] == -INFINITY && out[1] == (float)-log(2) && out[2] == out[1]);
    assert_ok(dotk_log_softmax(with_nan, 3, 1, out));
    assert_true(isnan(out[0]) && isnan(out[1]) && isnan(out[2]));
    assert_ok(dotk_log_softmax(masked_and_nan, 2, 1, out));
    assert_true(isnan(out[0]) && isnan(out[1]));
    assert_ok(dotk_log_softmax(with_infinity, 2, 1, out));
    assert_true(isnan(out[0]) && isnan(out[1]));
    const float apart[] = {0, -1000}; /* whose weight is 0 as an f32 */
    assert_ok(dotk_log_softmax(apart, 2, 1, out));
    assert_true(out[0] == 0 && out[1] == -1000);
    const float temperatures[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        assert_status(dotk_softmax(masked, 3, temperatures[i], out), DOTK_BAD_ARGUMENT);
        assert_message("temperature");
        assert_status(dotk_log_softmax(masked, 3, temperatures[i], out), DOTK_BAD_ARGUMENT);
        assert_message("temperature");
    }
}

/* Every function gives the same bits to a caller that flushes denormals and rounds to zero. */
static void
test_float_mode(void **state)
{
    (void)state;
    uint64_t seed = 7;
    float a[300], b[300], found[2][5][300];
    const unsigned before = test_mode_get();
    const unsigned odd_mode = TEST_MODE_DEFAULT | TEST_MODE_FLUSH | TEST_MODE_ZERO;

    memset(found, 0, sizeof found);
    test_random_floats(&seed, a, 300);
    test_random_floats(&seed, b, 300);
    a[0] = 1e-39f;
    b[1] = 1e-40f;
    const float small = 1e-20f, zero = 0; /* 1e-40 apart */
    for (size_t odd = 0; odd < 2; odd++) {
        float(*const out)[300] = found[odd];
        test_mode_set(odd ? odd_mode : TEST_MODE_DEFAULT);
        out[0][0] = dotk_dot(a, b, 300);
        out[0][1] = dotk_l2(a, b, 300);
        out[0][2] = dotk_norm(a, 300);
        out[0][5] = dotk_l2(&small, &zero, 1);
        const bool good = dotk_cosine(a, b, 300, &out[0][3]) == DOTK_OK &&
                          dotk_angle(a, b, 300, &out[0][4]) == DOTK_OK &&
                          dotk_normalize(a, 300, out[1], NULL) == DOTK_OK &&
                          dotk_project(a, b, 300, out[2]) == DOTK_OK &&
                          dotk_softmax(a, 300, 0.01f, out[3]) == DOTK_OK;
        const unsigned after = test_mode_get();
        test_mode_set(before);
        assert_true(good);
        assert_int_equal(after, odd ? odd_mode : TEST_MODE_DEFAULT);
    }
    assert_memory_equal(found[0], found[1], sizeof found[0]);
    assert_true(found[1][0][5] > 0);
}

static void
test_narrow_and_widen(void **state)
{
    static const float numbers[] = {0,           -1.5f, 1 + 0x1p-11f, 1 + 0x3p-11f,
                                    1 + 0x1p-8f, 65519, 65520};
    static const float as_f16[] = {0, -1.5f, 1, 1 + 0x1p-9f, 1 + 0x1p-8f, 65504, INFINITY};
    static const float as_bf16[] = {0, -1.5f, 1, 1, 1, 65536, 65536};
    uint16_t halves[7];
    float back[7];

    (void)state;
    assert_ok(dotk_narrow(numbers, 7, DOTK_STORE_F16, halves));
    assert_int_equal(halves[1], 0xbe00);
    assert_ok(dotk_widen(halves, 7, DOTK_STORE_F16, back));
    assert_memory_equal(back, as_f16, sizeof back);
    assert_ok(dotk_narrow(numbers, 7, DOTK_STORE_BF16, halves));
    assert_int_equal(halves[1], 0xbfc0);
    assert_ok(dotk_widen(halves, 7, DOTK_STORE_BF16, back));
    assert_memory_equal(back, as_bf16, sizeof back);
    assert_ok(dotk_narrow(numbers, 7, DOTK_STORE_F32, back));
    assert_memory_equal(back, numbers, sizeof back);
    assert_ok(dotk_widen(numbers, 7, DOTK_STORE_F32, back));
    assert_memory_equal(back, numbers, sizeof back);
    assert_ok(dotk_narrow(NULL, 0, DOTK_STORE_F16, NULL));
    assert_status(dotk_narrow(numbers, 7, DOTK_STORE_INT8, halves), DOTK_BAD_ARGUMENT);
    assert_message("store is 3 (int8): it has to be f32, f16 or bf16");
    assert_status(dotk_widen(halves, 7, (dotk_store)9, back), DOTK_BAD_ARGUMENT);
    assert_message("store is 9 (unknown)");
    assert_status(dotk_widen(NULL, 7, DOTK_STORE_F16, back), DOTK_BAD_ARGUMENT);
    assert_message("numbers is NULL: pass an array of 7 numbers");
    assert_status(dotk_narrow(numbers, 7, DOTK_STORE_F16, NULL), DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_norm_cosine_angle),
        cmocka_unit_test(test_small_angle),
        cmocka_unit_test(test_extreme_lengths),
        cmocka_unit_test(test_normalize_and_project),
        cmocka_unit_test(test_no_direction),
        cmocka_unit_test(test_null_arguments),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_softmax_of_odd_values),
        cmocka_unit_test(test_narrow_and_widen),
        cmocka_unit_test(test_float_mode),
    };
    return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
