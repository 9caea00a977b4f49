/* test_search_rows.c - adding, updating, removing and reading rows; what is refused */
#include "api/search_reference.h"

/* ------------------------------------------------------------------------- */
/*  Changing                                                                 */
/* ------------------------------------------------------------------------- */

/* Random adds, updates, removals and reads on an index and on plain arrays. */
static void
operate(dotk_context *context, dotk_metric metric, bool given, uint64_t seed, size_t steps)
{
    enum { MOST = 250, DIM = 5, UNIVERSE = 500, BATCH = 6 };
    dotk_index *const index = create(context, DIM, metric);
    struct reference ref = reference_create(metric, MOST + BATCH, DIM);
    struct answer answer = answer_create(1, 7);
    uint64_t state = seed;
    int64_t next = 0;

    for (size_t step = 0; step < steps; step++) {
        float rows[BATCH * DIM];
        int64_t ids[BATCH];
        const size_t n = 1 + test_random_below(&state, BATCH);
        const size_t what = test_random_below(&state, 10);

        for (size_t i = 0; i < BATCH * DIM; i++)
            rows[i] = (float)test_random_below(&state, 7) - 2.5f;
        if (what < 4 && ref.count + n <= MOST) {
            bool fresh = true;
            for (size_t i = 0; i < n; i++) {
                ids[i] = given ? (int64_t)test_random_below(&state, UNIVERSE) : next + (int64_t)i;
                for (size_t p = 0; p < ref.count; p++)
                    fresh = fresh && ref.ids[p] != ids[i];
                for (size_t j = 0; j < i; j++)
                    fresh = fresh && ids[j] != ids[i];
            }
            const dotk_status status = dotk_index_add(index, n, rows, 0, given ? ids : NULL);
            assert_int_equal(status == DOTK_OK, fresh);
            if (fresh) {
                reference_add(&ref, n, rows, DIM, ids);
                next += (int64_t)n;
            }
        } else if (what < 7 && ref.count >= BATCH) {
            /* n neighbours in some order, so distinct; now and then the last one is absent */
            const size_t first = test_random_below(&state, ref.count - n + 1);
            const bool absent = test_random_below(&state, 8) == 0;
            for (size_t i = 0; i < n; i++)
                ids[i] = ref.ids[first + (n - 1 - i)];
            if (absent)
                ids[n - 1] = UNIVERSE + 1000000;
            if (what < 6) {
                assert_status(dotk_index_update(index, n, rows, 0, ids),
                              absent ? DOTK_NOT_FOUND : DOTK_OK);
                for (size_t i = 0; !absent && i < n; i++)
                    reference_set(&ref, first + (n - 1 - i), rows + i * DIM, ids[i]);
            } else {
                assert_status(dotk_index_remove(index, n, ids), absent ? DOTK_NOT_FOUND : DOTK_OK);
                const size_t tail = absent ? 0 : ref.count - first - n;
                memmove(ref.units + first * DIM, ref.units + (first + n) * DIM,
                        tail * DIM * sizeof(float));
                memmove(ref.rows + first * DIM, ref.rows + (first + n) * DIM,
                        tail * DIM * sizeof(float));
                memmove(ref.ids + first, ref.ids + first + n, tail * sizeof *ref.ids);
                ref.count -= absent ? 0 : n;
            }
        } else if (ref.count > 0) {
            float row[DIM];
            const size_t p = test_random_below(&state, ref.count);
            assert_ok(dotk_index_reconstruct(index, ref.ids[p], row));
            for (size_t d = 0; d < DIM; d++)
                assert_true(fabsf(row[d] - ref.rows[p * DIM + d]) <=
                            (metric == DOTK_METRIC_COSINE ? 0x1p-22f : 0) * fabsf(row[d]));
        }
        assert_int_equal(dotk_index_count(index), ref.count);
        if (step % 7 == 0) {
            search(index, rows, DIM, NULL, 1, &answer);
            assert_answer(&ref, rows, DIM, NULL, NULL, &answer);
        }
    }
    answer_destroy(&answer);
    reference_destroy(&ref);
    dotk_index_destroy(index);
}

static void
random_changes_follow_the_model(void **unused)
{
    (void)unused;
    for (size_t m = 0; m < METRICS; m++) {
        operate(contexts[0], metrics[m], false, 8 + m, 10000);
        operate(contexts[context_count - 2], metrics[m], true, 11 + m, 10000);
    }
}

static void
a_failed_change_changes_nothing(void **unused)
{
    static const float rows[] = {1, 2, 3, 4, 5, NAN}, good[] = {1, 2, 3, 4, 5, 6};
    static const int64_t ids[] = {5, 6, 7}, again[] = {8, 9, 5}, twice[] = {8, 9, 8};
    static const int64_t absent[] = {5, 7, 8}, double_id[] = {5, 7, 5}, negative[] = {8, 9, -1};
    dotk_index *const index = create(NULL, 2, DOTK_METRIC_COSINE);
    const float query[] = {1, 1};
    struct answer before = answer_create(1, 5), after = answer_create(1, 5);

    (void)unused;
    assert_status(dotk_index_add(index, 3, rows, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_message("rows[2]");
    assert_int_equal(dotk_index_count(index), 0);
    assert_ok(dotk_index_add(index, 3, good, 0, ids)); /* nothing was decided */
    search(index, query, 2, NULL, 1, &before);
    assert_status(dotk_index_add(index, 3, rows, 0, ids), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_add(index, 3, good, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_add(index, 3, good, 0, again), DOTK_EXISTS);
    assert_message("ids[2] is 5");
    assert_status(dotk_index_add(index, 3, good, 0, twice), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_add(index, 3, good, 0, negative), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_update(index, 3, rows, 0, ids), DOTK_BAD_ARGUMENT);
    assert_message("rows[2]");
    assert_status(dotk_index_update(index, 3, good + 1, 0, absent), DOTK_NOT_FOUND);
    assert_status(dotk_index_update(index, 3, good + 1, 0, double_id), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_update(index, 1, good, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_remove(index, 3, absent), DOTK_NOT_FOUND);
    assert_message("ids[2] is 8");
    assert_status(dotk_index_remove(index, 3, double_id), DOTK_BAD_ARGUMENT);
    assert_message("5 twice");
    assert_status(dotk_index_remove(index, 1, NULL), DOTK_BAD_ARGUMENT);
    search(index, query, 2, NULL, 1, &after);
    assert_same_answer(&before, &after);
    assert_int_equal(before.counts[0], 3);
    answer_destroy(&before);
    answer_destroy(&after);
    dotk_index_destroy(index);
}

static void
assigned_ids_are_never_used_again(void **unused)
{
    static const float rows[] = {1, 2, 3, 4};
    static const int64_t all[] = {3, 1, 0, 2}, fifth[] = {5};
    const float query = 1;
    dotk_index *const index = create(NULL, 1, DOTK_METRIC_DOT);
    struct answer answer = answer_create(1, 4);

    (void)unused;
    assert_ok(dotk_index_add(index, 4, rows, 0, NULL));
    assert_ok(dotk_index_remove(index, 4, all));
    assert_int_equal(dotk_index_count(index), 0);
    assert_ok(dotk_index_add(index, 3, rows, 0, NULL));
    assert_ok(dotk_index_remove(index, 1, fifth));
    assert_status(dotk_index_remove(index, 1, fifth), DOTK_NOT_FOUND);
    search(index, &query, 1, NULL, 1, &answer);
    assert_int_equal(answer.counts[0], 2);
    assert_int_equal(answer.ids[0], 6);
    assert_int_equal(answer.ids[1], 4);
    answer_destroy(&answer);
    dotk_index_destroy(index);
}

static void
rows_come_back_as_they_were(void **unused)
{
    enum { COUNT = 50, DIM = 33 };
    static float rows[COUNT * DIM];
    float row[DIM];
    uint64_t state = 9;

    (void)unused;
    for (size_t i = 0; i < COUNT * DIM; i++)
        rows[i] = ldexpf(test_random_float(&state), (int)test_random_below(&state, 40) - 20);
    for (size_t m = 0; m < METRICS; m++) {
        dotk_index *const index = create(NULL, DIM, metrics[m]);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        for (size_t i = 0; i < COUNT; i++) {
            assert_ok(dotk_index_reconstruct(index, (int64_t)i, row));
            for (size_t d = 0; d < DIM; d++) {
                const float x = rows[i * DIM + d], ulp = nextafterf(fabsf(x), INFINITY) - fabsf(x);
                assert_true(fabsf(row[d] - x) <= (metrics[m] == DOTK_METRIC_COSINE ? 2 : 0) * ulp);
            }
        }
        assert_status(dotk_index_reconstruct(index, COUNT, row), DOTK_NOT_FOUND);
        assert_status(dotk_index_reconstruct(index, -1, row), DOTK_NOT_FOUND);
        assert_status(dotk_index_reconstruct(index, 0, NULL), DOTK_BAD_ARGUMENT);
        assert_int_equal(dotk_index_dim(index), DIM);
        assert_int_equal(dotk_index_metric(index), metrics[m]);
        dotk_index_destroy(index);
    }
}

/* ------------------------------------------------------------------------- */
/*  Refusals                                                                 */
/* ------------------------------------------------------------------------- */

static void
bad_vectors_are_named(void **unused)
{
    enum { DIM = 9, COUNT = 4 };
    static const struct {
        float value;
        const char *message;
    } bad[] = {{NAN, "not finite"},
               {INFINITY, "not finite"},
               {-INFINITY, "not finite"},
               {3e38f, "overflow"},
               {-1e19f, "overflow"}};
    float rows[COUNT * DIM];
    int64_t ids[2];
    dotk_hits *hits;

    (void)unused;
    for (size_t m = 0; m < METRICS; m++) {
        dotk_index *const index = create(NULL, DIM, metrics[m]);
        for (size_t i = 0; i < COUNT * DIM; i++)
            rows[i] = 1;
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            rows[2 * DIM + 8] = bad[b].value;
            assert_status(dotk_index_add(index, COUNT, rows, 0, NULL), DOTK_BAD_ARGUMENT);
            assert_message(bad[b].message);
            assert_message("rows[2]");
            assert_status(dotk_index_search(index, COUNT, rows, 0, 1, NULL, ids, NULL, NULL),
                          DOTK_BAD_ARGUMENT);
            assert_message("queries[2]");
            assert_status(dotk_index_range(index, COUNT, rows, 0, 1, NULL, &hits),
                          DOTK_BAD_ARGUMENT);
            assert_null(hits);
        }
        rows[2 * DIM + 8] = 6e18f; /* just within the limit: no score overflows */
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        rows[2 * DIM + 8] = -6e18f;
        float scores[2];
        assert_ok(dotk_index_search(index, 1, rows + 2 * DIM, 0, 2, NULL, ids, scores, NULL));
        assert_true(isfinite(scores[0]) && isfinite(scores[1]));
        memset(rows + DIM, 0, DIM * sizeof *rows);
        const dotk_status zero = dotk_index_add(index, 2, rows, 0, NULL);
        assert_int_equal(zero, metrics[m] == DOTK_METRIC_COSINE ? DOTK_BAD_ARGUMENT : DOTK_OK);
        dotk_index_destroy(index);
    }
}

static void
unit_length_can_be_demanded(void **unused)
{
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    const float rows[] = {0.6f, 0.8f, 0.6005f, 0.8f, 0.61f, 0.8f};
    int64_t id;

    (void)unused;
    options.expect_unit = 1;
    for (size_t m = 0; m < METRICS; m++) {
        dotk_index *index;
        options.metric = metrics[m];
        assert_ok(dotk_index_create(NULL, 2, &options, &index));
        assert_ok(dotk_index_add(index, 2, rows, 0, NULL));
        assert_status(dotk_index_add(index, 3, rows, 0, NULL), DOTK_BAD_ARGUMENT);
        assert_message("rows[2]");
        assert_ok(dotk_index_search(index, 1, rows, 0, 1, NULL, &id, NULL, NULL));
        assert_status(dotk_index_search(index, 1, rows + 4, 0, 1, NULL, &id, NULL, NULL),
                      DOTK_BAD_ARGUMENT);
        assert_message("unit");
        dotk_index_destroy(index);
    }
}

static void
bad_arguments_are_refused(void **unused)
{
    static const float rows[] = {1, 2, 3, 4};
    static const int64_t descending[] = {2, 1}, twice[] = {2, 2}, negative[] = {-1, 2};
    static const uint8_t bitmap[] = {3};
    const struct {
        dotk_filter filter;
        const char *message;
    } filters[] = {
        {{bitmap, 2, twice, 1}, "both"},      {{NULL, 2, NULL, 0}, "bitmap is NULL"},
        {{NULL, 0, NULL, 1}, "ids is NULL"},  {{NULL, 0, descending, 2}, "ids[1] is 1"},
        {{NULL, 0, twice, 2}, "ids[1] is 2"}, {{NULL, 0, negative, 2}, "ids[0] is -1"},
    };
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_index *index;
    dotk_hits *hits;
    int64_t ids[4];
    char line[200];

    (void)unused;
    assert_status(dotk_index_create(NULL, 4, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_create(NULL, 0, NULL, &index), DOTK_BAD_ARGUMENT);
    assert_null(index);
    assert_status(dotk_index_create(NULL, 65537, NULL, &index), DOTK_BAD_ARGUMENT);
    assert_message("65537");
    options.metric = (dotk_metric)3;
    assert_status(dotk_index_create(NULL, 4, &options, &index), DOTK_BAD_ARGUMENT);
    options.metric = DOTK_METRIC_DOT;
    options.kind = (dotk_index_kind)77;
    assert_status(dotk_index_create(NULL, 4, &options, &index), DOTK_BAD_ARGUMENT);
    options = (dotk_index_options)DOTK_INDEX_OPTIONS_INIT;
    options.struct_size = 3;
    assert_status(dotk_index_create(NULL, 4, &options, &index), DOTK_BAD_ARGUMENT);
    assert_message("struct_size");
    assert_null(dotk_metric_name((dotk_metric)3));
    assert_string_equal(dotk_metric_name(DOTK_METRIC_COSINE), "cosine");

    assert_ok(dotk_index_create(NULL, 2, NULL, &index));
    assert_ok(dotk_index_add(index, 2, rows, 0, NULL));
    assert_status(dotk_index_add(NULL, 1, rows, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_add(index, 1, NULL, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_add(index, 1, rows, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_message("stride is 1");
    assert_status(dotk_index_add(index, SIZE_MAX / 4, rows, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_search(NULL, 1, rows, 0, 1, NULL, ids, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_search(index, 1, NULL, 0, 1, NULL, ids, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_search(index, 1, rows, 0, 1, NULL, NULL, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_search(index, 1, rows, 1, 1, NULL, ids, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_search(index, 1, rows, 0, 0, NULL, ids, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("k is 0");
    assert_status(dotk_index_search(index, 2, rows, 0, SIZE_MAX / 2 + 1, NULL, ids, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("overflows");
    assert_status(dotk_index_range(index, 1, rows, 0, NAN, NULL, &hits), DOTK_BAD_ARGUMENT);
    assert_message("NaN");
    assert_null(hits);
    assert_status(dotk_index_range(index, 1, rows, 0, 1, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_plan(index, 1, 1, NULL, NULL, 5), DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_plan(index, 1, 1, NULL, line, 0), DOTK_BAD_ARGUMENT);
    params.struct_size = 1;
    assert_status(dotk_index_search(index, 1, rows, 0, 1, &params, ids, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    params = (dotk_search_params)DOTK_SEARCH_PARAMS_INIT;
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++) {
        params.filter = &filters[f].filter;
        assert_status(dotk_index_search(index, 1, rows, 0, 1, &params, ids, NULL, NULL),
                      DOTK_BAD_ARGUMENT);
        assert_message(filters[f].message);
        assert_status(dotk_index_range(index, 1, rows, 0, 1, &params, &hits), DOTK_BAD_ARGUMENT);
        assert_status(dotk_index_plan(index, 1, 1, &params, line, sizeof line), DOTK_BAD_ARGUMENT);
    }
    dotk_index_destroy(index);
    dotk_index_destroy(NULL);
    dotk_hits_destroy(NULL);
}

static void
empty_calls_are_fine(void **unused)
{
    static const float rows[] = {1, 2};
    const dotk_filter nothing = {NULL, 0, NULL, 0};
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_search_stats stats;
    struct answer answer = answer_create(2, 2);
    dotk_hits *hits;

    (void)unused;
    params.stats = &stats;
    for (size_t m = 0; m < METRICS; m++) {
        const float worst = metrics[m] == DOTK_METRIC_L2 ? INFINITY : -INFINITY;
        dotk_index *const index = create(NULL, 1, metrics[m]);
        for (size_t round = 0; round < 2; round++) {
            params.filter = round == 0 ? NULL : &nothing; /* an empty index, then an empty filter */
            search(index, rows, 1, &params, 2, &answer);
            assert_string_equal(stats.path, "empty");
            assert_string_equal(stats.kernel, "-");
            for (size_t i = 0; i < 4; i++) {
                assert_int_equal(answer.ids[i], DOTK_NO_ID);
                assert_true(answer.scores[i] == worst);
            }
            assert_int_equal(answer.counts[1], 0);
            assert_ok(dotk_index_range(index, 2, rows, 0, 0, &params, &hits));
            assert_int_equal(hits->starts[2], 0);
            dotk_hits_destroy(hits);
            assert_ok(dotk_index_search(index, 0, NULL, 0, 3, &params, NULL, NULL, NULL));
            assert_string_equal(stats.path, "empty");
            assert_ok(dotk_index_range(index, 0, NULL, 0, 0, &params, &hits));
            assert_int_equal(hits->query_count, 0);
            assert_int_equal(hits->starts[0], 0);
            dotk_hits_destroy(hits);
            assert_ok(dotk_index_add(index, 0, NULL, 0, NULL));
            assert_ok(dotk_index_update(index, 0, NULL, 0, NULL));
            assert_ok(dotk_index_remove(index, 0, NULL));
            if (round == 0)
                assert_ok(dotk_index_add(index, 2, rows, 0, NULL));
        }
        dotk_index_destroy(index);
    }
    answer_destroy(&answer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_follow_the_model),
        cmocka_unit_test(a_failed_change_changes_nothing),
        cmocka_unit_test(assigned_ids_are_never_used_again),
        cmocka_unit_test(rows_come_back_as_they_were),
        cmocka_unit_test(bad_vectors_are_named),
        cmocka_unit_test(unit_length_can_be_demanded),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(empty_calls_are_fine),
    };
    return cmocka_run_group_tests(tests, create_contexts, destroy_contexts);
}
