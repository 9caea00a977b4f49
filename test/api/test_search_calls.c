/* test_search_calls.c - plans, statistics, cancelling, callers in several threads, merging */
#include "api/search_reference.h"

/* ------------------------------------------------------------------------- */
/*  Plan, statistics, cancelling                                             */
/* ------------------------------------------------------------------------- */

static void
the_plan_is_what_runs(void **unused)
{
    enum { COUNT = 200, DIM = 8, MOST = 2500 };
    static const size_t query_counts[] = {0, 1, 7, 8, 9, 64, 65, 1024, 1025, MOST};
    static float rows[COUNT * DIM], queries[MOST * DIM];
    static int64_t ids[MOST * 2];
    static const int64_t some[] = {3, 50, 51};
    const dotk_filter filters[] = {{NULL, 0, some, 3}, {NULL, 0, NULL, 0}};
    uint64_t state = 10;

    (void)unused;
    test_random_floats(&state, rows, COUNT * DIM);
    test_random_floats(&state, queries, MOST * DIM);
    for (size_t x = 0; x < context_count; x++) {
        dotk_index *const index = create(contexts[x], DIM, DOTK_METRIC_DOT);
        for (size_t filled = 0; filled < 2; filled++) {
            for (size_t turn = 0; turn < 30; turn++) {
                const size_t n = query_counts[turn % 10];
                dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
                dotk_search_stats stats;
                char line[300], words[100];

                params.stats = &stats;
                params.filter = turn < 10 ? NULL : &filters[turn / 10 - 1];
                assert_ok(dotk_index_plan(index, n, 2, &params, line, sizeof line));
                assert_ok(dotk_index_search(index, n, queries, 0, 2, &params, ids, NULL, NULL));
                snprintf(words, sizeof words, "%s %s ", stats.path, stats.kernel);
                assert_int_equal(strncmp(line, words, strlen(words)), 0);
                assert_null(strchr(line, '\n'));
                const bool empty = n == 0 || filled == 0 || turn >= 20;
                assert_int_equal(strcmp(stats.path, "empty") == 0, empty);
                if (!empty) {
                    const size_t passing = turn < 10 ? COUNT : 3;
                    assert_true(test_is_kernel_of(stats.kernel, dotk_context_isa(contexts[x])));
                    assert_int_equal(stats.rows_scored, n * passing);
                    assert_int_equal(stats.rows_filtered, n * (COUNT - passing));
                    assert_true(stats.candidates >= 2 * n && stats.candidates <= stats.rows_scored);
                    assert_true(stats.seconds > 0);
                }
                char shorter[8] = "-------";
                assert_ok(dotk_index_plan(index, n, 2, &params, shorter, 5));
                assert_int_equal(strncmp(shorter, line, 4), 0);
                assert_int_equal(shorter[4], '\0');
            }
            if (filled == 0)
                assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        }
        dotk_index_destroy(index);
    }
}

static int
cancel_second_time(void *user, uint64_t done, uint64_t total)
{
    size_t *const calls = user;

    assert_true(done <= total);
    return ++*calls >= 2;
}

static void
progress_can_cancel(void **unused)
{
    enum { COUNT = 40000, DIM = 64 };
    float *const rows = allocate(COUNT * DIM, sizeof *rows);
    uint64_t state = 11;

    (void)unused;
    test_random_floats(&state, rows, COUNT * DIM);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        /* with two threads the other may end it all before a second call: cancel at the first */
        size_t calls = threads - 1;
        int64_t ids[64];
        dotk_hits *hits;

        options.threads = threads;
        options.progress = cancel_second_time;
        options.progress_user = &calls;
        assert_ok(dotk_context_create(&options, &context));
        dotk_index *const index = create(context, DIM, DOTK_METRIC_DOT);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        assert_status(dotk_index_search(index, 64, rows, 0, 1, NULL, ids, NULL, NULL),
                      DOTK_CANCELLED);
        assert_message("cancelled");
        assert_status(dotk_index_range(index, 64, rows, 0, 20, NULL, &hits), DOTK_CANCELLED);
        assert_null(hits);
        dotk_index_destroy(index);
        dotk_context_destroy(context);
    }
    free(rows);
}

struct seen {
    uint64_t calls, done, total;
    bool steady;
    uint64_t cancel_at; /* a number of calls; 0: never */
};

static int
watch(void *user, uint64_t done, uint64_t total)
{
    struct seen *const seen = user;

    seen->steady = seen->steady && done >= seen->done && (seen->calls == 0 || total == seen->total);
    *seen = (struct seen){seen->calls + 1, done, total, seen->steady, seen->cancel_at};
    return seen->calls == seen->cancel_at;
}

static void
progress_is_one_steady_count(void **unused)
{
    enum { COUNT = 3000, DIM = 2, QUERIES = 2500 };
    /* The lists are finished by the caller; by threads; the last batch is less than a task. */
    static const size_t ks[] = {1, 400, 80};
    float *const rows = allocate(COUNT * DIM, sizeof *rows);
    uint64_t state = 14;

    (void)unused;
    test_random_floats(&state, rows, COUNT * DIM);
    for (size_t turn = 0; turn < 12; turn++) {
        const size_t k = ks[turn % 3], n = turn % 6 < 3 ? QUERIES : 3;
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        struct answer answer = answer_create(n, k);
        struct seen seen = {.steady = true};
        dotk_context *context;
        dotk_hits *hits;

        options.threads = turn < 6 ? 1 : 2;
        options.progress = watch;
        options.progress_user = &seen;
        assert_ok(dotk_context_create(&options, &context));
        dotk_index *const index = create(context, DIM, DOTK_METRIC_DOT);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        search(index, rows, DIM, NULL, n, &answer);
        assert_true(seen.steady && seen.calls > 1 && seen.done == seen.total);
        seen = (struct seen){.steady = true};
        assert_ok(dotk_index_range(index, n, rows, 0, 0.9f, NULL, &hits));
        assert_true(seen.steady && seen.calls > 1 && seen.done == seen.total);
        dotk_hits_destroy(hits);
        dotk_index_destroy(index);
        dotk_context_destroy(context);
        answer_destroy(&answer);
    }
    free(rows);
}

/* Merging and sorting lists of every row is many tasks: a call can be cancelled between them. */
static void
long_lists_are_finished_in_parts(void **unused)
{
    enum { COUNT = 250000 };
    float *const rows = allocate(COUNT, sizeof *rows), query = 1;
    struct answer answer = answer_create(1, COUNT);
    uint64_t state = 15;

    (void)unused;
    test_random_floats(&state, rows, COUNT);
    for (uint32_t threads = 1; threads <= 2; threads++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        struct seen seen = {.steady = true};
        dotk_context *context;
        int64_t best;

        options.threads = threads;
        options.progress = watch;
        options.progress_user = &seen;
        assert_ok(dotk_context_create(&options, &context));
        dotk_index *const index = create(context, 1, DOTK_METRIC_DOT);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        assert_ok(dotk_index_search(index, 1, &query, 0, 1, NULL, &best, NULL, NULL));
        const uint64_t calls = seen.calls; /* of the scan */
        if (threads == 1) {
            seen = (struct seen){.steady = true, .cancel_at = calls + 3};
            assert_status(dotk_index_search(index, 1, &query, 0, COUNT, NULL, answer.ids,
                                            answer.scores, NULL),
                          DOTK_CANCELLED);
        }
        seen = (struct seen){.steady = true};
        search(index, &query, 1, NULL, 1, &answer);
        assert_true(seen.steady && seen.done == seen.total);
        /* With two threads a run may be over before the caller asks in between. */
        assert_true(seen.calls > 7 && (threads > 1 || seen.calls >= calls + 7));
        assert_int_equal(answer.ids[0], best);
        assert_int_equal(answer.counts[0], COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            const float score = answer.scores[i];
            assert_true(score == rows[answer.ids[i]]);
            assert_true(i == 0 || score < answer.scores[i - 1] ||
                        (score == answer.scores[i - 1] && answer.ids[i] > answer.ids[i - 1]));
        }
        dotk_index_destroy(index);
        dotk_context_destroy(context);
    }
    answer_destroy(&answer);
    free(rows);
}

/* ------------------------------------------------------------------------- */
/*  Threads of the caller                                                    */
/* ------------------------------------------------------------------------- */

struct reader {
    const dotk_index *index;
    const float *queries;
    struct answer answer;
    size_t n;
};

static void *
read_often(void *arg)
{
    struct reader *const reader = arg;

    for (size_t i = 0; i < 20; i++) {
        if (dotk_index_search(reader->index, reader->n, reader->queries, 0, reader->answer.k, NULL,
                              reader->answer.ids, reader->answer.scores,
                              reader->answer.counts) != DOTK_OK)
            return NULL;
    }
    return reader;
}

static void
many_threads_search_one_index(void **unused)
{
    enum { COUNT = 3000, DIM = 40, QUERIES = 40, READERS = 4, K = 5 };
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    struct reference ref = reference_create(DOTK_METRIC_COSINE, COUNT, DIM);
    uint64_t state = 12;

    (void)unused;
    test_random_normals(&state, rows, COUNT * DIM);
    test_random_normals(&state, queries, QUERIES * DIM);
    reference_add(&ref, COUNT, rows, DIM, NULL);
    for (size_t x = context_count - 3; x < context_count; x++) {
        dotk_index *const index = create(contexts[x], DIM, DOTK_METRIC_COSINE);
        struct reader readers[READERS];
        pthread_t threads[READERS];

        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        for (size_t r = 0; r < READERS; r++) {
            const size_t n = r % 2 == 0 ? QUERIES : 2;
            readers[r] = (struct reader){index, queries, answer_create(n, K), n};
            assert_int_equal(pthread_create(&threads[r], NULL, read_often, &readers[r]), 0);
        }
        for (size_t r = 0; r < READERS; r++) {
            void *result;
            assert_int_equal(pthread_join(threads[r], &result), 0);
            assert_ptr_equal(result, &readers[r]);
            assert_answer(&ref, queries, DIM, NULL, NULL, &readers[r].answer);
            answer_destroy(&readers[r].answer);
        }
        dotk_index_destroy(index);
    }
    reference_destroy(&ref);
}

/* ------------------------------------------------------------------------- */
/*  Merging                                                                  */
/* ------------------------------------------------------------------------- */

static void
merged_shards_are_one_search(void **unused)
{
    enum { COUNT = 400, DIM = 6, QUERIES = 12, SHARDS = 5, MOST_K = 120 };
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    static int64_t ids[COUNT], lists[SHARDS * MOST_K];
    static float scores[SHARDS * MOST_K];
    int64_t merged[MOST_K];
    float merged_scores[MOST_K];
    uint64_t state = 13;

    (void)unused;
    for (size_t i = 0; i < COUNT * DIM; i++)
        rows[i] = (float)test_random_below(&state, 4) - 1.75f;
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)test_random_below(&state, 4) - 1.75f;
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = (int64_t)(i * 77 % COUNT);
    for (size_t m = 0; m < METRICS; m++) {
        dotk_index *const whole = create(NULL, DIM, metrics[m]);
        dotk_index *shard[SHARDS];

        assert_ok(dotk_index_add(whole, COUNT, rows, 0, ids));
        for (size_t s = 0; s < SHARDS; s++)
            shard[s] = create(NULL, DIM, metrics[m]);
        for (size_t i = 0; i < COUNT; i++) { /* a fifth of the rows is in two shards */
            const size_t s = test_random_below(&state, SHARDS - 1); /* the last has only those */
            assert_ok(dotk_index_add(shard[s], 1, rows + i * DIM, 0, ids + i));
            if (i % 5 == 0)
                assert_ok(dotk_index_add(shard[SHARDS - 1], 1, rows + i * DIM, 0, ids + i));
        }
        for (size_t q = 0; q < QUERIES; q++) {
            const size_t k = 1 + test_random_below(&state, MOST_K);
            struct answer answer = answer_create(1, k);
            search(whole, queries + q * DIM, DIM, NULL, 1, &answer);
            for (size_t s = 0; s < SHARDS; s++)
                assert_ok(dotk_index_search(shard[s], 1, queries + q * DIM, 0, k, NULL,
                                            lists + s * k, scores + s * k, NULL));
            assert_ok(dotk_topk_merge(metrics[m], SHARDS, k, lists, scores, merged, merged_scores));
            assert_memory_equal(merged, answer.ids, k * sizeof *merged);
            assert_memory_equal(merged_scores, answer.scores, k * sizeof *merged_scores);
            answer_destroy(&answer);
        }
        dotk_index_destroy(whole);
        for (size_t s = 0; s < SHARDS; s++)
            dotk_index_destroy(shard[s]);
    }
}

static void
merge_keeps_the_better_of_two_and_pads(void **unused)
{
    static const int64_t ids[] = {4, 2, DOTK_NO_ID, 4, 9, DOTK_NO_ID};
    static const float scores[] = {5, 3, -INFINITY, 7, 3, -INFINITY};
    static const float distances[] = {0, 3, INFINITY, 7, 3, INFINITY};
    static const int64_t bad_ids[] = {1, -2};
    static const float nan_scores[] = {1, NAN};
    static const int64_t expected[] = {4, 2, 9};
    int64_t out[3];
    float out_scores[3];

    (void)unused;
    assert_ok(dotk_topk_merge(DOTK_METRIC_DOT, 2, 3, ids, scores, out, out_scores));
    assert_memory_equal(out, expected, sizeof expected);
    assert_true(out_scores[0] == 7 && out_scores[1] == 3 && out_scores[2] == 3);
    assert_ok(dotk_topk_merge(DOTK_METRIC_L2, 2, 3, ids, distances, out, out_scores));
    assert_memory_equal(out, expected, sizeof expected);
    assert_true(out_scores[0] == 0 && !signbit(out_scores[0]) && out_scores[1] == 3);
    assert_ok(dotk_topk_merge(DOTK_METRIC_L2, 1, 3, ids, distances, out, out_scores));
    assert_int_equal(out[2], DOTK_NO_ID);
    assert_true(out_scores[2] == INFINITY);
    assert_ok(dotk_topk_merge(DOTK_METRIC_DOT, 0, 2, NULL, NULL, out, out_scores));
    assert_int_equal(out[0], DOTK_NO_ID);
    assert_true(out_scores[1] == -INFINITY);
    assert_status(dotk_topk_merge(DOTK_METRIC_DOT, 1, 0, ids, scores, out, out_scores),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_topk_merge((dotk_metric)9, 1, 1, ids, scores, out, out_scores),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_topk_merge(DOTK_METRIC_DOT, SIZE_MAX, 2, ids, scores, out, out_scores),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_topk_merge(DOTK_METRIC_DOT, 1, 2, bad_ids, scores, out, out_scores),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_topk_merge(DOTK_METRIC_DOT, 1, 2, ids, nan_scores, out, out_scores),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_topk_merge(DOTK_METRIC_DOT, 1, 2, NULL, scores, out, out_scores),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_topk_merge(DOTK_METRIC_DOT, 1, 2, ids, scores, out, NULL),
                  DOTK_BAD_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_is_what_runs),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(progress_is_one_steady_count),
        cmocka_unit_test(long_lists_are_finished_in_parts),
        cmocka_unit_test(many_threads_search_one_index),
        cmocka_unit_test(merged_shards_are_one_search),
        cmocka_unit_test(merge_keeps_the_better_of_two_and_pads),
    };
    return cmocka_run_group_tests(tests, create_contexts, destroy_contexts);
}
