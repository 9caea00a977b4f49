/* test_search_memory.c - failing allocations one by one, and warm searches that allocate nothing */
#include "support.h"

#include <dotk/search.h>

enum { COUNT = 120, DIM = 12, QUERIES = 70, K = 5 };

static float rows[2 * COUNT * DIM], queries[QUERIES * DIM];
static int64_t given[2 * COUNT], out_ids[QUERIES * COUNT];
static float out_scores[QUERIES * COUNT];
static size_t out_counts[QUERIES];
static uint8_t bitmap[COUNT / 8];

/* What one run does, after a context, an index and its first rows were made. */
struct job {
    dotk_metric metric;
    dotk_screen screen;
    dotk_store store;
    uint32_t threads;
    bool own_ids;
    dotk_status (*act)(const struct job *job, dotk_index *index);
};

static dotk_status
nothing(const struct job *job, dotk_index *index)
{
    (void)job, (void)index;
    return DOTK_OK;
}

/* The index must be what it was before a change that failed. */
static void
assert_first_rows(const struct job *job, const dotk_index *index)
{
    static const float within[] = {0x1p-22f, 0x1p-9f, 0x1p-6f, 0.02f}; /* by store */
    float row[DIM];

    assert_int_equal(dotk_index_count(index), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ok(dotk_index_reconstruct(index, job->own_ids ? given[i] : (int64_t)i, row));
        for (size_t d = 0; d < DIM; d++)
            assert_true(fabsf(row[d] - rows[i * DIM + d]) <= within[job->store]);
    }
    assert_status(dotk_index_reconstruct(index, given[COUNT], row), DOTK_NOT_FOUND);
}

static dotk_status
add_more(const struct job *job, dotk_index *index)
{
    const dotk_status status = dotk_index_add(index, COUNT, rows + COUNT * DIM, 0,
                                              job->own_ids ? given + COUNT : NULL);
    if (status != DOTK_OK)
        assert_first_rows(job, index);
    return status;
}

static dotk_status
update_some(const struct job *job, dotk_index *index)
{
    const dotk_status status = dotk_index_update(index, COUNT / 2, rows + COUNT * DIM, 0, given);
    if (status != DOTK_OK)
        assert_first_rows(job, index);
    return status;
}

static dotk_status
remove_some(const struct job *job, dotk_index *index)
{
    const dotk_status status = dotk_index_remove(index, COUNT / 2, given);
    if (status != DOTK_OK)
        assert_first_rows(job, index);
    return status;
}

static dotk_status
search_filtered(size_t n, size_t k, const dotk_index *index)
{
    const dotk_filter filter = {bitmap, COUNT - 3, NULL, 0};
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;

    params.filter = &filter;
    return dotk_index_search(index, n, queries, 0, k, &params, out_ids, out_scores, out_counts);
}

static dotk_status
search_few(const struct job *job, dotk_index *index)
{
    (void)job;
    return search_filtered(3, K, index);
}

static dotk_status
search_many(const struct job *job, dotk_index *index)
{
    (void)job;
    return search_filtered(QUERIES, COUNT, index);
}

static dotk_status
range_many(const struct job *job, dotk_index *index)
{
    const float everything = job->metric == DOTK_METRIC_L2 ? INFINITY : -INFINITY;
    dotk_hits *hits;

    const dotk_status status = dotk_index_range(index, QUERIES, queries, 0, everything, NULL,
                                                &hits);
    assert_int_equal(hits == NULL, status != DOTK_OK);
    if (status == DOTK_OK) /* all of them, or an error */
        assert_int_equal(hits->starts[QUERIES], QUERIES * COUNT);
    dotk_hits_destroy(hits);
    return status;
}

static dotk_status
plan(const struct job *job, dotk_index *index)
{
    const dotk_filter filter = {bitmap, COUNT - 3, NULL, 0};
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    char line[200];

    (void)job;
    params.filter = &filter;
    return dotk_index_plan(index, QUERIES, K, &params, line, sizeof line);
}

static dotk_status
merge(const struct job *job, dotk_index *index)
{
    static const float scores[2 * COUNT];
    int64_t ids[COUNT];
    float best[COUNT];

    (void)index;
    return dotk_topk_merge(job->metric, 2, COUNT, given, scores, ids, best);
}

static dotk_status
run(void *user)
{
    const struct job *const job = user;
    dotk_context_options context_options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_context *context;
    dotk_index *index = NULL;

    context_options.threads = job->threads;
    options.metric = job->metric;
    options.screen = job->screen;
    options.store = job->store;
    dotk_status status = dotk_context_create(&context_options, &context);
    if (status == DOTK_OK) {
        status = dotk_index_create(context, DIM, &options, &index);
        assert_int_equal(index == NULL, status != DOTK_OK);
    }
    if (status == DOTK_OK) {
        status = dotk_index_add(index, COUNT, rows, 0, job->own_ids ? given : NULL);
        assert_int_equal(dotk_index_count(index), status == DOTK_OK ? COUNT : 0);
    }
    if (status == DOTK_OK)
        status = job->act(job, index);
    dotk_index_destroy(index);
    dotk_context_destroy(context);
    return status;
}

static void
every_failing_allocation_is_reported(void **unused)
{
    static dotk_status (*const acts[])(const struct job *, dotk_index *) = {
        nothing,     add_more,   update_some, remove_some, search_few,
        search_many, range_many, plan,        merge,
    };
    size_t plain = 0;

    (void)unused;
    for (size_t a = 0; a < sizeof acts / sizeof *acts; a++) {
        for (size_t variant = 0; variant < 16; variant++) {
            struct job job = {
                .metric = variant % 2 == 0 ? DOTK_METRIC_COSINE : DOTK_METRIC_L2,
                .screen = variant % 8 < 4 ? DOTK_SCREEN_NONE : DOTK_SCREEN_INT8,
                .store = variant < 8    ? DOTK_STORE_F32
                         : variant < 12 ? (variant % 2 == 0 ? DOTK_STORE_F16 : DOTK_STORE_INT8)
                                        : DOTK_STORE_BF16,
                .threads = variant % 4 < 2 ? 1 : 2,
                .own_ids = variant % 2 == 0,
                .act = acts[a],
            };
            const size_t allocations = test_alloc_fail_each(run, &job);
            if (a == 0 && variant == 3)
                plain = allocations;
            assert_true(variant != 3 || a == 0 || allocations > plain);
        }
    }
}

static void
warm_searches_allocate_nothing(void **unused)
{
    static const dotk_metric metrics[] = {DOTK_METRIC_DOT, DOTK_METRIC_COSINE, DOTK_METRIC_L2};
    struct test_alloc alloc;

    (void)unused;
    test_alloc_install(&alloc);
    for (size_t m = 0; m < 12; m++) {
        for (uint32_t threads = 1; threads <= 4; threads *= 2) {
            dotk_context_options context_options = DOTK_CONTEXT_OPTIONS_INIT;
            dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
            dotk_context *context;
            dotk_index *index;
            char line[200];

            context_options.threads = threads;
            options.metric = metrics[m % 3];
            options.screen = m % 6 < 3 ? DOTK_SCREEN_NONE : DOTK_SCREEN_INT8;
            options.store = m < 6 ? DOTK_STORE_F32 : (dotk_store)(m % 3 + 1);
            assert_ok(dotk_context_create(&context_options, &context));
            assert_ok(dotk_index_create(context, DIM, &options, &index));
            assert_ok(dotk_index_add(index, COUNT, rows, 0, given));
            size_t before = 0;
            for (size_t round = 0; round < 4; round++) {
                assert_ok(search_filtered(QUERIES, COUNT, index));
                assert_ok(search_filtered(1, K, index));
                assert_ok(dotk_index_search(index, QUERIES, queries, 0, K, NULL, out_ids,
                                            out_scores, NULL));
                assert_ok(dotk_index_plan(index, QUERIES, K, NULL, line, sizeof line));
                if (round == 0)
                    before = alloc.requests;
            }
            assert_true(before > 0);
            assert_int_equal(alloc.requests, before);
            dotk_index_destroy(index);
            dotk_context_destroy(context);
        }
    }
    test_alloc_remove();
}

/* The n x count matrix is never stored, whatever the number of queries. */
static void
memory_does_not_grow_with_queries_or_k(void **state)
{
    enum { MANY = 20000, LIMIT = 1 << 20 };
    struct test_alloc alloc;
    dotk_context_options context_options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_context *context;
    dotk_index *index;
    float *const wide = malloc(MANY * DIM * sizeof *wide);
    int64_t *const ids = malloc(MANY * K * sizeof *ids);

    options.screen = *(const dotk_screen *)*state;
    test_require(wide != NULL && ids != NULL, "malloc");
    for (size_t i = 0; i < MANY * DIM; i++)
        wide[i] = queries[i % (QUERIES * DIM)];
    test_alloc_install(&alloc);
    context_options.threads = 2;
    assert_ok(dotk_context_create(&context_options, &context));
    assert_ok(dotk_index_create(context, DIM, &options, &index));
    assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
    assert_ok(dotk_index_search(index, MANY, wide, 0, K, NULL, ids, NULL, NULL));
    assert_true(alloc.most_bytes < LIMIT);
    assert_ok(dotk_index_search(index, 1, wide, 0, MANY * K, NULL, ids, NULL, NULL));
    assert_true(alloc.most_bytes < LIMIT); /* nor with a k beyond the number of rows */
    dotk_index_destroy(index);
    dotk_context_destroy(context);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
    free(wide);
    free(ids);
}

int
main(void)
{
    static dotk_screen screens[] = {DOTK_SCREEN_NONE, DOTK_SCREEN_INT8};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failing_allocation_is_reported),
        cmocka_unit_test(warm_searches_allocate_nothing),
        cmocka_unit_test_prestate(memory_does_not_grow_with_queries_or_k, &screens[0]),
        cmocka_unit_test_prestate(memory_does_not_grow_with_queries_or_k, &screens[1]),
    };
    uint64_t state = 1;

    test_random_floats(&state, rows, 2 * COUNT * DIM);
    test_random_floats(&state, queries, QUERIES * DIM);
    for (size_t i = 0; i < 2 * COUNT; i++)
        given[i] = (int64_t)(i < COUNT ? (i * 7 + 3) % COUNT : i);
    memset(bitmap, 0x5b, sizeof bitmap);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
