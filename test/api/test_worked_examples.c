/* test_worked_examples.c - small sums that published write-ups show, with their true values */
#include "support.h"

#include <dotk/vector.h>

/* An encoder's states for two words, and the decoder's state that attends to them. */
static const float lets[] = {-0.76f, 0.75f}, go[] = {0.01f, -0.01f}, decoder[] = {0.91f, 0.38f};

static float
cosine(const float *a, const float *b, size_t dim)
{
    float out;
    assert_ok(dotk_cosine(a, b, dim, &out));
    return out;
}

static void
test_attending_to_two_words(void **state)
{
    const float dots[] = {dotk_dot(lets, decoder, 2), dotk_dot(go, decoder, 2)};
    float weights[2];

    (void)state;
    assert_float_equal(dots[0], -0.4066, 1e-6);
    assert_float_equal(dots[1], 0.0053, 1e-6);
    assert_float_equal(cosine(lets, decoder, 2), -0.386146, 1e-6);
    assert_float_equal(cosine(go, decoder, 2), 0.380028, 1e-6);

    assert_ok(dotk_softmax(dots, 2, 1, weights));
    assert_float_equal(weights[0], 0.398457, 1e-5); /* 39.8 % */
    assert_float_equal(weights[1], 0.601543, 1e-5); /* 60.2 % */

    /* The context vector is the weighted sum of the states, each component a dot product. */
    const float x[] = {lets[0], go[0]}, y[] = {lets[1], go[1]};
    assert_float_equal(dotk_dot(weights, x, 2), -0.398457 * 0.76 + 0.601543 * 0.01, 1e-5);
    assert_float_equal(dotk_dot(weights, y, 2), 0.398457 * 0.75 - 0.601543 * 0.01, 1e-5);
}

static void
test_alike_and_unlike(void **state)
{
    const float a[] = {0.9f, 0.3f, 0.1f}, like[] = {0.8f, 0.4f, 0.15f},
                unlike[] = {-0.1f, 0.2f, 0.9f};

    (void)state;
    assert_float_equal(dotk_dot(a, like, 3), 0.855, 1e-6);
    assert_float_equal(cosine(a, like, 3), 0.988, 5e-4);
    assert_float_equal(dotk_dot(a, unlike, 3), 0.06, 1e-6);
    assert_float_equal(cosine(a, unlike, 3), 0.068, 5e-4);
}

/* At 0, 90 and 180 degrees the dot product is |a||b|, 0 and -|a||b|. */
static void
test_three_angles(void **state)
{
    const float a[] = {3, 4}, b[3][2] = {{6, 8}, {-8, 6}, {-6, -8}};
    const double degrees[] = {0, 90, 180}, sign[] = {1, 0, -1};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        float angle;
        assert_ok(dotk_angle(a, b[i], 2, &angle));
        assert_float_equal(angle * (180 / 3.14159265358979), degrees[i], 1e-5);
        assert_true(dotk_dot(a, b[i], 2) == (float)sign[i] * dotk_norm(a, 2) * dotk_norm(b[i], 2));
        assert_float_equal(cosine(a, b[i], 2), sign[i], 1e-7);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attending_to_two_words),
        cmocka_unit_test(test_alike_and_unlike),
        cmocka_unit_test(test_three_angles),
    };
    return cmocka_run_group_tests_name("worked examples", tests, NULL, NULL);
}
