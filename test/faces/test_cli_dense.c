/*
 * test_cli_dense.c - dotk dense and dotk vector
 */
#include "faces/spawn.h"

enum { ROWS = 6, OUTPUTS = 11, INPUTS = 19 };

static float x[ROWS * INPUTS], w[OUTPUTS * INPUTS], bias[OUTPUTS];

static int
setup(void **state)
{
    uint64_t seed = 21;

    if (folder_setup(state) != 0)
        return -1;
    test_random_floats(&seed, x, ROWS * INPUTS);
    test_random_floats(&seed, w, OUTPUTS * INPUTS);
    test_random_floats(&seed, bias, OUTPUTS);
    save_matrix("x.npy", x, ROWS, INPUTS);
    save_matrix("w.npy", w, OUTPUTS, INPUTS);
    save_f32("b.npy", bias, 1, (const size_t[]){OUTPUTS});
    return 0;
}

static double
activate(size_t which, double z)
{
    switch (which) {
    case 1: return fmax(z, 0.0);
    case 2: return 0.5 * z * (1.0 + erf(z / sqrt(2.0)));
    case 3: return 0.5 * z * (1.0 + tanh(sqrt(2.0 / M_PI) * (z + 0.044715 * z * z * z)));
    case 4: return z / (1.0 + exp(-z));
    case 5: return 1.0 / (1.0 + exp(-z));
    case 6: return tanh(z);
    default: return z;
    }
}

static void
test_dense(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "relu",    "gelu", "gelu_tanh",
                                        "silu", "sigmoid", "tanh"};
    for (size_t a = 0; a < 7; a++)
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            dotk_vectors *y;
            dotk("dense --x x.npy --w w.npy %s --activation %s --out y.npy",
                 with_bias ? "--bias b.npy" : "", names[a]);
            assert_clean();
            assert_ok(dotk_vectors_open("y.npy", NULL, &y));
            assert_int_equal(y->rows, ROWS);
            assert_int_equal(y->dim, OUTPUTS);
            for (size_t i = 0; i < ROWS * OUTPUTS; i++) {
                const float *const row = x + i / OUTPUTS * INPUTS;
                const float *const weights = w + i % OUTPUTS * INPUTS;
                const double z = test_dot(row, weights, INPUTS, NULL) +
                                 (with_bias ? (double)bias[i % OUTPUTS] : 0.0);
                assert_true(fabs((double)y->data[i] - activate(a, z)) < 1e-5);
            }
            dotk_vectors_close(y);
        }
}

static void
test_dense_refusals(void **state)
{
    (void)state;
    save_matrix("narrow.npy", w, OUTPUTS, INPUTS - 1);
    dotk("dense --x x.npy --w narrow.npy --out n.npy");
    assert_refused(4, "X has 19 values in a row, W has 18");
    dotk("dense --x x.npy --w w.npy --bias x.npy --out n.npy");
    assert_refused(4, "x.npy has the shape (6, 19), W has 11 outputs");
    save_f32("b5.npy", bias, 1, (const size_t[]){5});
    dotk("dense --x x.npy --w w.npy --bias b5.npy --out n.npy");
    assert_refused(4, "b5.npy has the shape (5,), W has 11 outputs");
    save_matrix("flat.npy", w, 4, 0);
    dotk("dense --x flat.npy --w flat.npy --out n.npy");
    assert_refused(4, "flat.npy: has the shape (4, 0): a vector has at least one value");
    save_matrix("none.npy", w, 0, INPUTS);
    dotk("dense --x x.npy --w none.npy --out n.npy");
    assert_refused(4, "none.npy has the shape (0, 19): a layer has at least one output");
    dotk("dense --x x.npy --w missing.npy --out n.npy");
    assert_refused(4, "missing.npy: No such file or directory");
    dotk("dense --x x.npy --w w.npy --out n.npy --activation softplus");
    assert_refused(2, "--activation is 'softplus'");
    dotk("dense --x x.npy --w w.npy --out nowhere/y.npy");
    assert_refused(1, "--out nowhere/y.npy: No such file or directory");
    assert_false(exists("n.npy"));
    dotk("dense --x x.npy --w w.npy --explain");
    assert_clean();
    assert_true(strlen(ran.out) > 10);
}

static double
number(const json_t *json, const char *name)
{
    const json_t *const value = json_object_get(json, name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void
test_two_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        double dot, cosine, degrees;
    } cases[] = {{"0.9,0.3,0.1 0.8,0.4,0.15", 0.855, 0.988274, 8.7828},
                 {"0.9,0.3,0.1 -0.1,0.2,0.9", 0.06, 0.067823, 86.1111},
                 {"2,0 3,0", 6, 1, 0},
                 {"2,0 0,3", 0, 0, 90},
                 {"2,0 -3,0", -6, -1, 180},
                 {"-0.76,0.75 0.91,0.38", -0.4066, -0.38614, 112.7144}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dotk("vector --json %s", cases[i].line);
        assert_clean();
        json_t *const json = ran_json();
        assert_true(fabs(number(json, "dot") - cases[i].dot) < 1e-6);
        assert_true(fabs(number(json, "cosine") - cases[i].cosine) < 1e-5);
        assert_true(fabs(number(json, "degrees") - cases[i].degrees) < 1e-3);
        json_decref(json);
    }
    dotk("vector 3,4 1,0");
    assert_clean();
    assert_string_equal(ran.out, "dot          3\ncosine       0.6\ndegrees      53.1301\n"
                                 "l2           20\nnorm_a       5\nnorm_b       1\n"
                                 "projection   3,0\n");
}

static void
test_one_vector(void **state)
{
    (void)state;
    dotk("vector -0.4066,0.0053");
    assert_clean();
    assert_contains(ran.out, "softmax      0.39845"); /* 39.8 % and 60.2 % */
    dotk("vector 3,4 --temperature 1e-3");
    assert_clean();
    assert_string_equal(ran.out, "norm         5\nunit         0.6,0.8\nsoftmax      0,1\n");
    dotk("vector 3,4 5,6 --temperature 2");
    assert_refused(2, "--temperature goes with one vector");
    dotk("vector 3,4 --temperature 0");
    assert_refused(2, "temperature");
    assert_string_equal(ran.out, ""); /* nothing before the refusal */
    static const char *const bad[] = {"''",    "a",     "1,,2", "1,2,",
                                      "'1;2'", "1,nan", "1e99", "'1, 2x'"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dotk("vector %s", bad[i]);
        assert_refused(2, "is not a vector: write numbers with commas between");
    }
    dotk("vector 1,2 1,2,3");
    assert_refused(2, "the dimensions differ: A has 2 values, B has 3");
    dotk("vector 0,0 1,2");
    assert_int_equal(ran.code, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_dense_refusals),
        cmocka_unit_test(test_two_vectors),
        cmocka_unit_test(test_one_vector),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
