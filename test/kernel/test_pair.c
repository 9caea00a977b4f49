/* test_pair.c - pair kernels against the definition written out, between guard pages */
#include "support.h"

#include "kernel/kernel.h"

/* kernel.h's definition, with libm's correctly rounded fmaf(). */
static float
defined_score(enum dk_score score, const float *a, const float *b, size_t dim)
{
    float total = 0;

    for (size_t start = 0; start < dim; start += 256) {
        float chain = 0;
        for (size_t d = start; d < dim && d < start + 256; d++) {
            const float t = a[d] - b[d];
            chain = score == DK_SCORE_DOT ? fmaf(a[d], b[d], chain) : fmaf(-t, t, chain);
        }
        total = start == 0 ? chain : total + chain;
    }
    return total;
}

static void
check(const struct dk_kernels *kernels, const float *a, const float *b, size_t dim)
{
    for (int score = 0; score < DK_SCORE_KINDS; score++) {
        const float expected = defined_score((enum dk_score)score, a, b, dim);
        const float found = kernels->pair_f32[score](a, b, dim);
        if (memcmp(&expected, &found, sizeof found) != 0)
            fail_msg("%s score %d dim %zu: %a, not %a", kernels->isa, score, dim, found, expected);
    }
}

static void
test_every_dimension(void **state)
{
    uint64_t seed = 1;
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t dim = 0; dim <= 2100; dim += dim < 1100 ? 1 : 37) {
        struct test_guarded guarded[2];
        float *const a = test_guarded_floats(&guarded[0], dim);
        float *const b = test_guarded_floats(&guarded[1], dim);
        test_random_normals(&seed, a, dim);
        test_random_normals(&seed, b, dim);
        for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++)
            check(kernels, a, b, dim);
        test_guarded_free(&guarded[0]);
        test_guarded_free(&guarded[1]);
    }
}

/* Sizes whose products underflow, cancel or overflow; NaN only as NaN (its bits are free). */
static void
test_extreme_values(void **state)
{
    static const float scales[] = {1e-30f, 1e-20f, 1e-45f, 1, 1e18f, 1e30f};
    uint64_t seed = 2;
    const struct dk_kernels *kernels;
    float a[600], b[600];

    (void)state;
    for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
        for (size_t d = 0; d < 600; d++) {
            a[d] = test_random_float(&seed) * scales[s];
            b[d] = test_random_float(&seed) * scales[(s + d) % 4];
        }
        for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++)
            check(kernels, a, b, 600);
    }
    a[7] = NAN;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        assert_true(isnan(kernels->pair_f32[DK_SCORE_DOT](a, b, 600)));
        assert_true(isnan(kernels->pair_f32[DK_SCORE_L2](a, b, 600)));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_dimension),
        cmocka_unit_test(test_extreme_values),
    };
    return cmocka_run_group_tests_name("kernel/pair", tests, NULL, NULL);
}
