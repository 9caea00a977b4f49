/*
 * test_cli_knn_options.c - dotk knn: screens, what is stored, and the plan
 */
#include "faces/spawn.h"

enum { ROWS = 300, QUERIES = 7, DIM = 37 };

static int
setup(void **state)
{
    static float base[ROWS * DIM], queries[QUERIES * DIM];
    uint64_t seed = 11;

    if (folder_setup(state) != 0)
        return -1;
    test_random_floats(&seed, base, ROWS * DIM);
    test_random_floats(&seed, queries, QUERIES * DIM);
    save_matrix("base.npy", base, ROWS, DIM);
    save_matrix("queries.npy", queries, QUERIES, DIM);
    return 0;
}

/* With a screen: the same hits, digit for digit, and statistics that say what it did. */
static void
test_screen(void **state)
{
    static const char *const searches[] = {"-k 5 -m dot", "-k 300 -m cosine", "--range 18 -m l2"};

    (void)state;
    for (int i = 0; i < 6; i++) {
        dotk("knn base.npy queries.npy %s --json --screen none", searches[i / 2]);
        assert_clean();
        json_t *const plain = ran_json();
        dotk("knn base.npy queries.npy %s --json --screen %s", searches[i / 2],
             i % 2 == 0 ? "int8" : "int4 --delta 1e-6 --seed 5");
        assert_clean();
        json_t *const screened = ran_json();
        assert_true(
            json_equal(json_object_get(screened, "results"), json_object_get(plain, "results")));
        const json_t *const none = json_object_get(plain, "stats");
        const json_t *const stats = json_object_get(screened, "stats");
        assert_int_equal(json_integer_value(json_object_get(none, "rows_rescored")), 0);
        const json_int_t rescored = json_integer_value(json_object_get(stats, "rows_rescored"));
        assert_true(rescored > 0 && rescored <= ROWS * QUERIES);
        assert_string_equal(json_string_value(json_object_get(stats, "path")), "screened");
        const bool doubtful = i % 2 == 1 && rescored < ROWS * QUERIES;
        assert_true(json_real_value(json_object_get(stats, "delta")) == (doubtful ? 1e-6 : 0));
        json_decref(plain);
        json_decref(screened);
    }
    dotk("knn base.npy queries.npy --screen int8 --explain");
    assert_clean();
    assert_contains(ran.out, "screened screen_i8_");
    assert_int_equal(dotk("knn base.npy queries.npy --screen int2"), 2);
    assert_contains(ran.err, "int2");
    dotk("knn base.npy queries.npy --screen int4 --seed 18446744073709551615 -k 1");
    assert_clean();
}

/* Each refusal says what was given, what is taken, and what to do. */
static void
test_screen_refusals(void **state)
{
    static const struct {
        const char *options, *message;
    } wrong[] = {
        {"--screen int8 --delta 0.1", "--delta is 0.1, which is for --screen int4: give both"},
        {"--seed 7", "--seed is 7, which is for --screen int4: give both"},
        {"--screen int4 --delta 1", "--delta is '1': it has to be a probability, from 1e-100 to "
                                    "below 1"},
        {"--screen int4 --delta 0", "--delta is '0': it has to be a probability"},
        {"--screen int4 --delta 1e400", "--delta is '1e400': it has to be a probability"},
        {"--screen int4 --delta nan", "--delta is 'nan': it has to be a probability"},
        {"--screen int4 --seed -3", "--seed is '-3': it has to be a whole number from 0 to "
                                    "18446744073709551615 (2^64 - 1)"},
        {"--screen int4 --seed 18446744073709551616", "has to be a whole number from 0 to 1844"},
        {"--screen int4 --seed 1.5", "--seed is '1.5': it has to be a whole number from 0"},
        {"--screen int4 --store f16", "--store is f16: --screen int4 takes f32 only; use --screen "
                                      "int8 (or none)"},
        {"--screen int4 --store int8", "--store is int8: --screen int4 takes f32 only"},
    };
    static float wide[4097];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dotk("knn base.npy queries.npy %s", wrong[i].options);
        assert_refused(2, wrong[i].message);
    }
    save_matrix("wide.npy", wide, 1, 4097);
    dotk("knn wide.npy wide.npy --screen int4");
    assert_refused(2, "--screen int4 takes up to 4096 dimensions, wide.npy has 4097: use --screen "
                      "int8");
    dotk("knn wide.npy wide.npy --screen int8 -k 1");
    assert_clean();
}

/* What is stored decides the scores, and is what the option says. */
static void
test_store(void **state)
{
    static const float rows[2 * 2] = {1.0009765625f, 1, 70000, 2}, query[2] = {1, 0};

    (void)state;
    save_matrix("finer.npy", rows, 2, 2);
    save_matrix("finer1.npy", rows, 1, 2);
    save_matrix("first.npy", query, 1, 2);
    dotk("knn finer1.npy first.npy --store f16");
    assert_clean();
    assert_contains(ran.out, "1.00097656");
    dotk("knn finer1.npy first.npy --store bf16");
    assert_clean();
    assert_null(strstr(ran.out, "1.0009"));
    dotk("knn finer1.npy first.npy --store int8 --explain");
    assert_clean();
    assert_contains(ran.out, "int8 rows");
    assert_int_equal(dotk("knn finer.npy first.npy --store f16"), 4);
    assert_contains(ran.err, "rows[1] has 70000 at dimension 0");
    assert_int_equal(dotk("knn finer.npy first.npy --store f8"), 2);
    assert_contains(ran.err, "f8");
}

static void
test_explain(void **state)
{
    (void)state;
    dotk("knn base.npy queries.npy --explain");
    assert_clean();
    assert_string_equal(strchr(ran.out, '\n'), "\n"); /* one line */
    char path[64] = "", kernel[64] = "";
    assert_int_equal(sscanf(ran.out, "%63s %63s", path, kernel), 2);
    dotk("knn base.npy queries.npy --json");
    json_t *const json = ran_json();
    const json_t *const stats = json_object_get(json, "stats");
    assert_string_equal(json_string_value(json_object_get(stats, "path")), path);
    assert_string_equal(json_string_value(json_object_get(stats, "kernel")), kernel);
    json_decref(json);
    dotk("knn base.npy queries.npy --explain --json");
    assert_refused(2, "--explain and --json exclude each other");
    dotk("knn base.npy queries.npy --explain --range 8");
    assert_refused(2, "--explain and --range exclude each other");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_screen),
        cmocka_unit_test(test_screen_refusals),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_explain),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
