/* test_cli_bench.c - dotk bench: its JSON, its table and its refusals, on sizes that take no time
 */
#include "spawn.h"

#define QUICK " --rounds 1 --fma-seconds 0.005 --threads 1"

static double
number(const json_t *object, const char *name)
{
    const json_t *const value = json_object_get(object, name);

    if (!json_is_number(value))
        print_error("no number \"%s\"\n", name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void
assert_text(const json_t *object, const char *name, const char *expected)
{
    const char *const text = json_string_value(json_object_get(object, name));

    assert_non_null(text);
    assert_string_equal(text, expected);
}

/*
 * Runs the bench and wants it to succeed. On a machine busy with something else a yardstick of a
 * few milliseconds may come out too short, which the bench rightly refuses: try again, and after
 * many tries skip, saying so.
 */
static void
measure(const char *arguments)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        dotk("%s" QUICK, arguments);
        if (ran.code != 1 || strstr(ran.err, "the yardstick is wrong") == NULL) {
            assert_clean();
            return;
        }
    }
    print_message("skipped: the machine is too busy to be measured\n");
    skip();
}

/* What every answer has, whatever was timed. Returns it; the caller releases it. */
static json_t *
answer(const char *bench, size_t results)
{
    json_t *const json = ran_json();
    const json_t *const machine = json_object_get(json, "machine");
    const json_t *const list = json_object_get(json, "results");
    const char *const isa = getenv("DOTK_ISA");
    const char *const screen = json_string_value(json_object_get(json, "screen"));
    const char *const store = json_string_value(json_object_get(json, "store"));
    const bool codes = screen != NULL && (strcmp(screen, "none") != 0 ||
                                          (store != NULL && strcmp(store, "int8") == 0));
    size_t i;
    json_t *result;

    assert_text(json, "schema", "dotk.bench/1");
    assert_text(json, "bench", bench);
    if (isa != NULL)
        assert_text(json, "isa", isa);
    assert_true(number(json, "threads") == 1);
    assert_true(number(machine, "read_gb_per_s") > 0);
    assert_true(number(machine, "clock_ghz") > 0.1);
    assert_true(number(machine, "flop_per_cycle") > 0);
    assert_true(number(machine, "fma_gflop_per_s") >=
                number(machine, "fma_gflop_per_s_one_thread"));
    assert_int_equal(json_array_size(list), results);
    json_array_foreach(list, i, result)
    {
        const double ms = number(result, "ms");
        assert_true(ms > 0);
        assert_true(number(result, "fraction_of_read") > 0);
        assert_true(number(result, codes ? "fraction_of_int8" : "fraction_of_fma") > 0);
        assert_true(number(result, "gb_per_s") > 0);
        assert_true(number(result, "gflop_per_s") > 0);
    }
    return json;
}

/* The work that the figures imply. */
static void
assert_work(const json_t *result, double flop, double bytes)
{
    const double seconds = number(result, "ms") * 1e-3;

    assert_true(fabs(number(result, "gflop_per_s") * 1e9 * seconds / flop - 1) < 1e-5);
    assert_true(fabs(number(result, "gb_per_s") * 1e9 * seconds / bytes - 1) < 1e-5);
}

static void
search_times_each_batch(void **state)
{
    static const double queries[] = {3, 20};

    (void)state;
    measure("bench search --rows 500 --dim 24 --queries 3,20 -k 4 --json");
    json_t *const json = answer("search", 2);
    assert_true(number(json, "rows") == 500 && number(json, "dim") == 24 && number(json, "k") == 4);
    assert_text(json, "metric", "dot");
    assert_text(json, "data", "clusters");
    assert_text(json, "screen", "none");
    for (size_t i = 0; i < 2; i++) {
        const json_t *const result = json_array_get(json_object_get(json, "results"), i);
        assert_true(number(result, "queries") == queries[i]);
        assert_work(result, 2 * queries[i] * 500 * 24, 4 * (queries[i] + 500) * 24);
        assert_non_null(json_string_value(json_object_get(result, "path")));
        assert_non_null(json_string_value(json_object_get(result, "kernel")));
    }
    json_decref(json);
}

/* A byte a value is read, and an operation counts as a third of one in f32. */
static void
screened_search_is_held_against_int8(void **state)
{
    (void)state;
    measure("bench search --rows 3000 --dim 64 --queries 3,20 --screen int8 --json");
    json_t *const json = answer("search", 2);
    const double fma = number(json_object_get(json, "machine"), "fma_gflop_per_s");
    assert_text(json, "screen", "int8");
    for (size_t i = 0; i < 2; i++) {
        const json_t *const result = json_array_get(json_object_get(json, "results"), i);
        const double queries = i == 0 ? 3 : 20;
        assert_work(result, 2 * queries * 3000 * 64, (4 * queries + 3000) * 64);
        assert_text(result, "path", "screened");
        assert_true(number(result, "rescored") >= 10 && number(result, "rescored") <= 3000);
        assert_null(json_object_get(result, "fraction_of_fma"));
        const double reached = number(result, "gflop_per_s") / (3 * fma);
        assert_true(fabs(number(result, "fraction_of_int8") / reached - 1) < 0.9);
    }
    json_decref(json);
    measure("bench search --rows 100 --dim 8 --queries 1 --screen int8");
    assert_contains(ran.out, "of int8");
    dotk("bench search --dim 4097 --rows 2 --screen int4" QUICK);
    assert_refused(2,
                   "--screen int4 takes up to 4096 dimensions, --dim is 4097: use --screen int8");
    dotk("bench search --screen int4 --store bf16" QUICK);
    assert_refused(2, "--store is bf16: --screen int4 takes f32 only");
    dotk("bench dense --screen int8" QUICK);
    assert_refused(2, "--screen goes with 'bench search'");
}

/* What is stored is what has to be read. */
static void
stored_values_are_read(void **state)
{
    static const struct {
        const char *store;
        double bytes;
    } cases[] = {{"f32", 4}, {"f16", 2}, {"bf16", 2}, {"int8", 1}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[96];
        snprintf(line, sizeof line,
                 "bench search --rows 3000 --dim 64 --queries 3 --json --store %s", cases[i].store);
        measure(line);
        json_t *const json = answer("search", 1);
        const json_t *const result = json_array_get(json_object_get(json, "results"), 0);
        assert_text(json, "store", cases[i].store);
        assert_work(result, 2 * 3 * 3000 * 64, (4 * 3 + cases[i].bytes * 3000) * 64);
        json_decref(json);
    }
    dotk("bench dense --store f16" QUICK);
    assert_refused(2, "--store goes with 'bench search'");
}

static void
search_takes_a_file(void **state)
{
    static float rows[300 * 8];
    uint64_t seed = 1;

    (void)state;
    test_random_floats(&seed, rows, 300 * 8);
    save_f32("rows.npy", rows, 2, (const size_t[]){300, 8});
    measure("bench search --data rows.npy --queries 5 --metric l2 --json");
    json_t *const json = answer("search", 1);
    assert_true(number(json, "rows") == 300 && number(json, "dim") == 8);
    assert_text(json, "metric", "l2");
    assert_text(json, "data", "rows.npy");
    json_decref(json);
    dotk("bench search --data rows.npy --rows 10" QUICK);
    assert_refused(2, "--data");
    save_f32("none.npy", rows, 2, (const size_t[]){0, 8});
    dotk("bench search --data none.npy" QUICK);
    assert_refused(4, "none.npy: has no vectors");
    dotk("bench search --data absent.npy" QUICK);
    assert_refused(4, "absent.npy");
}

static void
attention_counts_what_is_not_masked(void **state)
{
    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        measure(causal ? "bench attention --batch 2 --heads 3 --length 70 --dim 16 --json --causal"
                       : "bench attention --batch 2 --heads 3 --length 70 --dim 16 --json");
        json_t *const json = answer("attention", 1);
        const json_t *const result = json_array_get(json_object_get(json, "results"), 0);
        const double pairs = causal ? 70.0 * 71 / 2 : 70.0 * 70;
        assert_true(number(result, "batch") == 2 && number(result, "heads") == 3);
        assert_true(number(result, "length") == 70 && number(result, "dim") == 16);
        assert_int_equal(json_is_true(json_object_get(result, "causal")), causal);
        assert_work(result, 4 * 16 * 6 * pairs, 3 * 4 * 6 * 70 * 16);
        json_decref(json);
    }
}

static void
dense_takes_both_kinds_of_weights(void **state)
{
    (void)state;
    for (int prepared = 0; prepared < 2; prepared++) {
        measure(prepared
                    ? "bench dense --m 20 --n 30 --inner 40 --activation silu --json --prepared"
                    : "bench dense --m 20 --n 30 --inner 40 --activation silu --json");
        json_t *const json = answer("dense", 1);
        const json_t *const result = json_array_get(json_object_get(json, "results"), 0);
        assert_true(number(result, "m") == 20 && number(result, "n") == 30);
        assert_true(number(result, "inner") == 40);
        assert_text(result, "activation", "silu");
        assert_int_equal(json_is_true(json_object_get(result, "prepared")), prepared);
        assert_work(result, 2 * 20 * 30 * 40, 4 * (20 * 40 + 30 * 40 + 30));
        json_decref(json);
    }
}

static void
people_get_a_table(void **state)
{
    (void)state;
    measure("bench search --rows 100 --dim 8 --queries 1,2 --vectors uniform");
    assert_contains(ran.out, "1 thread, ");
    assert_contains(ran.out, "of FMA");
    assert_contains(ran.out, "\n1 query ");
    assert_contains(ran.out, "\n2 queries ");
}

static void
nonsense_is_refused(void **state)
{
    (void)state;
    dotk("bench");
    assert_refused(2, "search|attention|dense");
    dotk("bench sorting");
    assert_refused(2, "'sorting'");
    dotk("bench search --rows 100000000000 --dim 60000" QUICK);
    assert_refused(5, "memory");
    dotk("bench attention --batch 4294967296 --heads 4294967296 --length 4294967296" QUICK);
    assert_refused(5, "memory");
    dotk("bench dense --m 9223372036854775807 --inner 4" QUICK);
    assert_refused(5, "memory");
    dotk("bench search --dim 70000 --rows 1" QUICK);
    assert_refused(2, "dim is 70000");
    dotk("bench dense --m 2 --n 2 --inner 2 --fma-seconds -1");
    assert_refused(2, "--fma-seconds is -1");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_times_each_batch),
        cmocka_unit_test(screened_search_is_held_against_int8),
        cmocka_unit_test(stored_values_are_read),
        cmocka_unit_test(search_takes_a_file),
        cmocka_unit_test(attention_counts_what_is_not_masked),
        cmocka_unit_test(dense_takes_both_kinds_of_weights),
        cmocka_unit_test(people_get_a_table),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
