/*
 * test_cli_inspect.c - dotk inspect: what it reports, and its exit code for a pipeline
 */
#include "faces/spawn.h"

enum { ROWS = 50, DIM = 8 };

static float unit[ROWS * DIM];

static int
setup(void **state)
{
    uint64_t seed = 3;

    if (folder_setup(state) != 0)
        return -1;
    test_random_floats(&seed, unit, ROWS * DIM);
    for (size_t i = 0; i < ROWS; i++)
        if (dotk_normalize(unit + i * DIM, DIM, unit + i * DIM, NULL) != DOTK_OK)
            return -1;
    save_matrix("unit.npy", unit, ROWS, DIM);
    return 0;
}

static void
test_unit(void **state)
{
    (void)state;
    dotk("inspect unit.npy");
    assert_clean();
    assert_contains(ran.out, "rows         50\ndimension    8\n");
    assert_contains(ran.out, "unit length  yes, every vector\n");
    assert_contains(ran.out, "metric       dot\n");
    assert_lacks(ran.out, "warning");
    dotk("inspect unit.npy --expect-unit --quiet");
    assert_clean();
    assert_string_equal(ran.out, "");
}

/* One row of every bad kind; half the good ones are twice as long. */
static void
test_everything_wrong(void **state)
{
    (void)state;
    float bad[ROWS * DIM];

    memcpy(bad, unit, sizeof bad);
    for (size_t i = ROWS / 2 * DIM; i < ROWS * DIM; i++)
        bad[i] *= 2.0f;
    bad[0 * DIM + 3] = NAN;
    bad[1 * DIM + 4] = INFINITY;
    memset(bad + 2 * DIM, 0, DIM * sizeof(float));
    memcpy(bad + 4 * DIM, bad + 5 * DIM, DIM * sizeof(float));
    save_matrix("bad.npy", bad, ROWS, DIM);
    dotk("inspect bad.npy");
    assert_clean();
    static const char *const lines[] = {"NaN          1 of 50\n", "infinite     1 of 50\n",
                                        "zero         1 of 50\n", "duplicates   1 of 50\n",
                                        "unit length  some\n",    "warning      22 of 50 vectors"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_contains(ran.out, lines[i]);

    dotk("inspect bad.npy --json");
    assert_clean();
    json_t *const json = ran_json();
    static const struct {
        const char *name;
        int count;
    } counts[] = {{"rows", ROWS},   {"dim", DIM},          {"nan_rows", 1},  {"infinite_rows", 1},
                  {"zero_rows", 1}, {"duplicate_rows", 1}, {"unit_rows", 22}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        assert_int_equal(json_integer_value(json_object_get(json, counts[i].name)),
                         counts[i].count);
    assert_true(json_is_true(json_object_get(json, "mixed")));
    assert_true(json_is_false(json_object_get(json, "unit")));
    const json_t *const norm = json_object_get(json, "norm");
    assert_true(json_real_value(json_object_get(norm, "min")) == 0.0);
    assert_true(fabs(json_real_value(json_object_get(norm, "max")) - 2.0) < 1e-6);
    assert_int_equal(json_array_size(json_object_get(norm, "quantiles")), 5);
    json_decref(json);

    dotk("inspect bad.npy --expect-unit --quiet");
    assert_refused(4, "bad.npy: 28 of 50 vectors do not have unit length");
    assert_string_equal(ran.out, "");
    /* With --json the object comes all the same. */
    dotk("inspect bad.npy --expect-unit --json");
    assert_int_equal(ran.code, 4);
    json_decref(ran_json());
}

static void
test_names_that_are_not_text(void **state)
{
    (void)state;
    save_matrix("na\xefve.npy", unit, ROWS, DIM); /* Latin-1 */
    dotk("inspect na\xefve.npy --json");
    assert_clean();
    json_t *const json = ran_json();
    assert_string_equal(json_string_value(json_object_get(json, "file")), "na\xef\xbf\xbdve.npy");
    json_decref(json);
}

static void
test_odd_files(void **state)
{
    (void)state;
    save_matrix("none.npy", unit, 0, DIM);
    dotk("inspect none.npy");
    assert_int_equal(ran.code, 0);
    assert_contains(ran.out, "rows         0\n");
    dotk("inspect none.npy --expect-unit --quiet");
    assert_refused(4, "none.npy: has no vectors");
    save_matrix("flat.npy", unit, 4, 0);
    dotk("inspect flat.npy");
    assert_refused(4, "flat.npy: has the shape (4, 0): a vector has at least one value");
    dotk("inspect missing.npy");
    assert_refused(4, "missing.npy: No such file or directory");
    save_text("words.txt", "these are words\n");
    dotk("inspect words.txt");
    assert_refused(4, "words.txt: ");
    dotk("inspect words.txt --raw u8 --dim 4");
    assert_clean();
    assert_contains(ran.out, "(raw, u8)\nrows         4\n");
    dotk("inspect unit.npy >/dev/full");
    assert_refused(1, "standard output: No space left on device");
}

/* The page names every format and type that there is: one line of the table, word for word. */
static void
test_documented_words(void **state)
{
    static const struct {
        const char *file, *options, *format, *type;
    } files[] = {
        {"w.npy", "--type f16", "npy", "f16"},    {"w.fvecs", "", "fvecs", "f32"},
        {"w.bvecs", "", "bvecs", "u8"},           {"w.fbin", "", "fbin", "f32"},
        {"w.u8bin", "", "u8bin", "u8"},           {"w.i8bin", "", "i8bin", "i8"},
        {"w.bf16", "--type bf16", "raw", "bf16"},
    };
    static const float small[2 * 4] = {1, 2, 3, 4, 5, 6, 7, 8};
    char *const page = read_whole(DOTK_SOURCE "/doc/cli.md", NULL);
    char line[256], word[16];

    (void)state;
    save_matrix("small.npy", small, 2, 4);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        dotk("convert small.npy %s %s", files[i].file, files[i].options);
        assert_clean();
        dotk("inspect %s --json%s", files[i].file,
             strcmp(files[i].format, "raw") == 0 ? " --raw bf16 --dim 4" : "");
        assert_clean();
        json_t *const json = ran_json();
        const char *const names[] = {"format", "type"};
        const char *const words[] = {files[i].format, files[i].type};
        for (int j = 0; j < 2; j++) {
            assert_string_equal(json_string_value(json_object_get(json, names[j])), words[j]);
            snprintf(word, sizeof word, "| `%s` |", names[j]);
            const char *const start = strstr(strstr(page, "\n### dotk inspect\n"), word);
            assert_non_null(start);
            snprintf(line, sizeof line, "%.*s", (int)strcspn(start, "\n"), start);
            snprintf(word, sizeof word, " %s", words[j]);
            assert_contains(line, word);
        }
        json_decref(json);
    }
    free(page);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_everything_wrong),
        cmocka_unit_test(test_names_that_are_not_text),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_documented_words),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
