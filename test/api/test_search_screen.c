/*
 * test_search_screen.c - a screened index answers as a plain one does, ids and score bits
 *
 * Both indexes see the same calls. What a plain index answers is tested in test_search.c.
 */
#include "api/search_reference.h"
#include "float_mode.h"

/*
 * What the tests run with: first a byte an element, then half of one. The second may miss a row
 * with a probability of 1e-9 a query; as seeds are fixed, it does so always or never.
 */
static dotk_screen screen_of_tests = DOTK_SCREEN_INT8;

static const char *
kernel_of_tests(void)
{
    return screen_of_tests == DOTK_SCREEN_INT4 ? "screen_i4_" : "screen_i8_";
}

/* Two indexes that must not be told apart. */
struct twins {
    dotk_metric metric;
    size_t dim;
    dotk_index *plain, *screened;
};

static struct twins
twins_create(dotk_context *context, size_t dim, dotk_metric metric)
{
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    struct twins twins = {metric, dim, create(context, dim, metric), NULL};

    options.metric = metric;
    options.screen = screen_of_tests;
    assert_ok(dotk_index_create(context, dim, &options, &twins.screened));
    return twins;
}

static void
twins_destroy(struct twins *twins)
{
    dotk_index_destroy(twins->plain);
    dotk_index_destroy(twins->screened);
}

static void
twins_add(const struct twins *twins, size_t n, const float *rows, size_t stride, const int64_t *ids)
{
    assert_ok(dotk_index_add(twins->plain, n, rows, stride, ids));
    assert_ok(dotk_index_add(twins->screened, n, rows, stride, ids));
}

/* Whether a search was not screened, which only a short list of ids may bring about. */
static bool
went_without_screen(const struct twins *twins, const dotk_filter *filter,
                    const dotk_search_stats *stats)
{
    if (strcmp(stats->path, "few") != 0 && strcmp(stats->path, "batch") != 0)
        return false;
    assert_true(filter != NULL && filter->bitmap == NULL);
    assert_true(filter->id_count < dotk_index_count(twins->plain) / 32); /* half of it gone */
    assert_int_equal(stats->rows_rescored, 0);
    assert_true(stats->delta == 0);
    return true;
}

/* Searches both, and looks at the answers and at the statistics; returns how many were rescored. */
static uint64_t
assert_same_search(const struct twins *twins, size_t n, const float *queries, size_t stride,
                   size_t k, const dotk_filter *filter)
{
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_search_stats plain, screened;
    struct answer want = answer_create(n, k), got = answer_create(n, k);

    params.filter = filter;
    params.stats = &plain;
    search(twins->plain, queries, stride, &params, n, &want);
    params.stats = &screened;
    search(twins->screened, queries, stride, &params, n, &got);
    assert_same_answer(&got, &want);
    answer_destroy(&want);
    answer_destroy(&got);
    assert_int_equal(screened.rows_scored, plain.rows_scored);
    assert_int_equal(screened.rows_filtered, plain.rows_filtered);
    assert_int_equal(plain.rows_rescored, 0);
    assert_true(screened.rows_rescored <= screened.rows_scored);
    if (went_without_screen(twins, filter, &screened)) {
        assert_string_equal(screened.path, plain.path);
        return 0;
    }
    const size_t rows = n == 0 ? 0 : plain.rows_scored / n;
    assert_true(screened.rows_rescored >= n * (k < rows ? k : rows));
    assert_string_equal(screened.path, plain.rows_scored == 0 ? "empty" : "screened");
    assert_int_equal(strncmp(screened.kernel, kernel_of_tests(), 10) == 0, plain.rows_scored != 0);
    const bool doubtful = screen_of_tests == DOTK_SCREEN_INT4 &&
                          screened.rows_rescored < screened.rows_scored;
    assert_true(screened.delta == (doubtful ? 1e-9 : 0));
    assert_true(plain.delta == 0);
    return screened.rows_rescored;
}

static void
assert_same_range(const struct twins *twins, size_t n, const float *queries, size_t stride,
                  float threshold, const dotk_filter *filter)
{
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_search_stats stats;
    dotk_hits *want, *got;

    params.filter = filter;
    assert_ok(dotk_index_range(twins->plain, n, queries, stride, threshold, &params, &want));
    params.stats = &stats;
    assert_ok(dotk_index_range(twins->screened, n, queries, stride, threshold, &params, &got));
    assert_memory_equal(got->starts, want->starts, (n + 1) * sizeof *want->starts);
    assert_memory_equal(got->ids, want->ids, want->starts[n] * sizeof *want->ids);
    assert_memory_equal(got->scores, want->scores, want->starts[n] * sizeof *want->scores);
    assert_true(stats.rows_rescored >= want->starts[n] ||
                went_without_screen(twins, filter, &stats));
    assert_true(stats.rows_rescored <= stats.rows_scored);
    dotk_hits_destroy(want);
    dotk_hits_destroy(got);
}

/* The score of a middle rank, so that a range has something on both sides. */
static float
middle_score(const struct twins *twins, const float *query)
{
    const size_t k = dotk_index_count(twins->plain) / 2 + 1;
    struct answer answer = answer_create(1, k);

    search(twins->plain, query, twins->dim, NULL, 1, &answer);
    const float score = answer.scores[k / 3];
    answer_destroy(&answer);
    return isfinite(score) ? score : 0;
}

/* ------------------------------------------------------------------------- */
/*  Data                                                                     */
/* ------------------------------------------------------------------------- */

enum data { NORMAL, CLUSTERS, TIES, OUTLIERS, SPREAD, DENORMAL, LARGE, ASCENDING, EQUAL, DATA };

/* 'count' vectors of a kind; under cosine none of them is zero. */
static void
fill(enum data data, uint64_t *state, size_t count, size_t dim, float *out)
{
    test_random_normals(state, out, count * dim);
    for (size_t i = 0; i < count; i++) {
        float *const x = out + i * dim;
        uint64_t centre = i % 7 + 1000;
        switch (data) {
        case NORMAL:
        case DATA: break;
        case CLUSTERS:
            for (size_t d = 0; d < dim; d++)
                x[d] = x[d] / 8 + (float)test_random_normal(&centre);
            break;
        case TIES:
            for (size_t d = 0; d < dim; d++)
                x[d] = (float)test_random_below(state, 3) - (d == 0 ? 0.5f : 1);
            break;
        case OUTLIERS: /* the codes of all other elements are 0: nothing can be excluded */
            x[test_random_below(state, dim)] = 1e6f;
            break;
        case SPREAD:
            for (size_t d = 0; d < dim; d++)
                x[d] = ldexpf(x[d], (int)test_random_below(state, 60) - 30);
            break;
        case DENORMAL:
            for (size_t d = 0; d < dim; d++)
                x[d] = ldexpf(x[d], i % 3 == 0 ? -75 : -135) + 0x1p-149f;
            break;
        case LARGE: {
            const double norm = sqrt(test_dot(x, x, dim, NULL));
            for (size_t d = 0; d < dim; d++)
                x[d] = (float)(0x1.6p62 / norm * x[d]);
            break;
        }
        case ASCENDING: /* scores rise with the position: every row is the best so far */
            for (size_t d = 0; d < dim; d++)
                x[d] = 1 + (float)i / (float)count + x[d] / 1024;
            break;
        case EQUAL:
            for (size_t d = 0; d < dim; d++)
                x[d] = i % 5 == 0 ? 1.25f : 1.5f;
            break;
        }
    }
}

static void
every_kind_of_data(void **unused)
{
    static const size_t dims[] = {1, 3, 16, 37, 100, 257, 300, 64, 130};
    static const size_t counts[] = {1, 63, 64, 65, 333, 700, 1000};
    static const size_t query_counts[] = {1, 2, 5, 6, 7, 8, 9, 13, 64, 70, 200};
    enum { COUNT = 1000, DIM = 300, QUERIES = 200 };
    static float rows[COUNT * (DIM + 2)], queries[QUERIES * (DIM + 2)];
    uint64_t state = 1;
    size_t turn = 0;

    (void)unused;
    for (size_t data = 0; data < DATA; data++) {
        for (size_t m = 0; m < METRICS; m++) {
            for (size_t x = 0; x < all_count; x++, turn++) {
                const size_t dim = dims[turn % 9], stride = dim + (data == LARGE ? 0 : turn % 3);
                const size_t count = counts[turn * 5 % 7], n = query_counts[turn * 3 % 11];
                struct twins twins = twins_create(contexts[x], dim, metrics[m]);
                fill((enum data)data, &state, count, stride, rows);
                fill((enum data)data, &state, n, stride, queries);
                if (turn % 2 == 0) /* some queries are rows */
                    memcpy(queries, rows, (n < count ? n : count) / 2 * stride * sizeof *rows);
                twins_add(&twins, count, rows, stride, NULL);
                assert_same_search(&twins, n, queries, stride, 1 + turn % 13, NULL);
                assert_same_search(&twins, 1, queries, stride, count, NULL);
                if (turn % 4 == 0)
                    assert_same_search(&twins, n, queries, stride,
                                       count + turn % 3 - 1 + (count == 1), NULL);
                assert_same_range(&twins, n < 20 ? n : 20, queries, stride,
                                  middle_score(&twins, queries), NULL);
                twins_destroy(&twins);
            }
        }
    }
}

static void
large_dimensions(void **unused)
{
    static const size_t dims[] = {1024, 4099, 65536};
    enum { COUNT = 130, QUERIES = 9 };
    float *const rows = allocate(COUNT * 65536, sizeof *rows);
    float *const queries = allocate(QUERIES * 65536, sizeof *queries);
    uint64_t state = 2;

    (void)unused;
    for (size_t i = 0; i < (screen_of_tests == DOTK_SCREEN_INT4 ? 1 : 3); i++) {
        const size_t count = dims[i] == 65536 ? 70 : COUNT;
        fill(CLUSTERS, &state, count, dims[i], rows);
        fill(CLUSTERS, &state, QUERIES, dims[i], queries);
        struct twins twins = twins_create(contexts[1], dims[i], metrics[i]);
        twins_add(&twins, count, rows, dims[i], NULL);
        assert_same_search(&twins, QUERIES, queries, dims[i], 3, NULL);
        assert_same_search(&twins, 1, queries, dims[i], 3, NULL);
        twins_destroy(&twins);
    }
    free(rows);
    free(queries);
}

/* ------------------------------------------------------------------------- */
/*  Changes                                                                  */
/* ------------------------------------------------------------------------- */

/* The ids that are present, in no order. */
struct present {
    size_t count;
    int64_t *ids;
    int64_t next;
};

static void
change(const struct twins *twins, struct present *present, uint64_t *state, float *rows)
{
    enum { MOST = 100 };
    const size_t n = 1 + test_random_below(state, MOST);
    int64_t ids[MOST];

    fill((enum data)test_random_below(state, LARGE), state, n, twins->dim, rows);
    if (test_random_below(state, 3) == 0 || present->count < n) {
        for (size_t i = 0; i < n; i++)
            present->ids[present->count++] = ids[i] = present->next += 1 + (int64_t)(i % 3);
        twins_add(twins, n, rows, 0, ids);
        return;
    }
    const bool remove = test_random_below(state, 2) == 0;
    for (size_t i = 0; i < n; i++) { /* distinct: those drawn move to the end */
        const size_t at = test_random_below(state, present->count - i);
        ids[i] = present->ids[at];
        present->ids[at] = present->ids[present->count - 1 - i];
        present->ids[present->count - 1 - i] = ids[i];
    }
    if (remove) {
        present->count -= n;
        assert_ok(dotk_index_remove(twins->plain, n, ids));
        assert_ok(dotk_index_remove(twins->screened, n, ids));
    } else {
        assert_ok(dotk_index_update(twins->plain, n, rows, 0, ids));
        assert_ok(dotk_index_update(twins->screened, n, rows, 0, ids));
    }
}

static int
compare_ids(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* A filter that lets a share of the ids through, as a bitmap or as a list; NULL now and then. */
static const dotk_filter *
any_filter(const struct present *present, uint64_t *state, uint8_t *bitmap, size_t bits,
           int64_t *list, dotk_filter *filter)
{
    static const size_t shares[] = {1, 2, 10, 100, 300};
    const size_t share = shares[test_random_below(state, 5)];
    const size_t runs = 1 + test_random_below(state, 2) * 200; /* dead panels among them */

    *filter = (dotk_filter){0};
    if (share == 1)
        return NULL;
    memset(bitmap, 0, bits / 8);
    for (size_t i = 0; i < present->count; i++) {
        const uint64_t hash = ((uint64_t)present->ids[i] / runs + 1) * UINT64_C(0x9e3779b97f4a7c15);
        if ((hash >> 32) % share != 0)
            continue;
        bitmap[present->ids[i] / 8] |= (uint8_t)(1u << present->ids[i] % 8);
        list[filter->id_count++] = present->ids[i];
    }
    if (test_random_below(state, 2) == 0) {
        qsort(list, filter->id_count, sizeof *list, compare_ids);
        filter->ids = list;
    } else {
        filter->id_count = 0;
        filter->bitmap = bitmap;
        filter->bitmap_bits = bits;
    }
    return filter;
}

static void
changes_and_filters_at_random(void **unused)
{
    enum { ROUNDS = 60, CAPACITY = 100 * ROUNDS, BITS = 1 << 14, DIM = 29, QUERIES = 30 };
    static float rows[100 * DIM], queries[QUERIES * DIM];
    static uint8_t bitmap[BITS / 8];
    static int64_t list[CAPACITY], ids[CAPACITY];
    uint64_t state = 3;

    (void)unused;
    for (size_t m = 0; m < METRICS; m++) {
        for (size_t x = 0; x < all_count; x++) {
            struct twins twins = twins_create(contexts[x], DIM, metrics[m]);
            struct present present = {.ids = ids};
            for (size_t round = 0; round < ROUNDS; round++) {
                dotk_filter room;
                change(&twins, &present, &state, rows);
                if (round < ROUNDS / 3 && round % 5 != 0) /* grow first */
                    continue;
                assert_int_equal(dotk_index_count(twins.screened), present.count);
                const size_t n = 1 + test_random_below(&state, QUERIES);
                const dotk_filter *const filter = any_filter(&present, &state, bitmap, BITS, list,
                                                             &room);
                fill((enum data)(round % LARGE), &state, n, DIM, queries);
                assert_same_search(&twins, n, queries, DIM,
                                   1 + test_random_below(&state, round % 7 == 0 ? 2000 : 20),
                                   filter);
                assert_same_range(&twins, n, queries, DIM, middle_score(&twins, queries), filter);
            }
            twins_destroy(&twins);
        }
    }
}

/* A call that is refused half way leaves codes that nobody sees. */
static void
refused_adds_leave_codes_alone(void **unused)
{
    enum { COUNT = 70, DIM = 8 };
    float rows[COUNT * DIM], query[DIM];
    uint64_t state = 4;

    (void)unused;
    fill(NORMAL, &state, COUNT, DIM, rows);
    fill(NORMAL, &state, 1, DIM, query);
    for (size_t m = 0; m < METRICS; m++) {
        struct twins twins = twins_create(contexts[0], DIM, metrics[m]);
        twins_add(&twins, COUNT / 2, rows, 0, NULL);
        const float kept = rows[(COUNT - 1) * DIM];
        rows[(COUNT - 1) * DIM] = NAN;
        assert_status(dotk_index_add(twins.screened, COUNT, rows, 0, NULL), DOTK_BAD_ARGUMENT);
        assert_status(
            dotk_index_update(twins.screened, 1, rows + (COUNT - 1) * DIM, 0, &(int64_t){3}),
            DOTK_BAD_ARGUMENT);
        rows[(COUNT - 1) * DIM] = kept;
        assert_same_search(&twins, 1, query, 0, COUNT, NULL);
        twins_add(&twins, COUNT, rows, 0, NULL);
        assert_same_search(&twins, 1, query, 0, COUNT, NULL);
        twins_destroy(&twins);
    }
}

/* ------------------------------------------------------------------------- */
/*  What it is for                                                           */
/* ------------------------------------------------------------------------- */

static void
few_rows_are_rescored_on_benign_data(void **unused)
{
    /* Four bits are coarse for so few dimensions. */
    const size_t part = screen_of_tests == DOTK_SCREEN_INT4 ? 8 : 20;
    enum { COUNT = 30000, DIM = 64, QUERIES = 12, K = 10 };
    float *const rows = allocate(COUNT * DIM, sizeof *rows);
    float queries[QUERIES * DIM];
    uint64_t state = 5;

    (void)unused;
    fill(NORMAL, &state, COUNT, DIM, rows);
    fill(NORMAL, &state, QUERIES, DIM, queries);
    for (size_t m = 0; m < METRICS; m++) {
        for (size_t x = 0; x < all_count; x += screen_of_tests == DOTK_SCREEN_INT4 ? 3 : 1) {
            struct twins twins = twins_create(contexts[x], DIM, metrics[m]);
            twins_add(&twins, COUNT, rows, 0, NULL);
            for (size_t n = 1; n <= QUERIES; n += QUERIES - 1) {
                const uint64_t rescored = assert_same_search(&twins, n, queries, DIM, K, NULL);
                if (rescored > n * COUNT / part)
                    print_error("%s, context %zu: %zu of %zu rescored\n",
                                dotk_metric_name(metrics[m]), x, (size_t)rescored, n * COUNT);
                assert_true(rescored <= n * COUNT / part);
            }
            twins_destroy(&twins);
        }
    }
    free(rows);
}

static void
plans_and_options_say_so(void **unused)
{
    enum { COUNT = 100, DIM = 8 };
    float rows[COUNT * DIM];
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;
    char line[300];
    uint64_t state = 6;

    (void)unused;
    fill(NORMAL, &state, COUNT, DIM, rows);
    struct twins twins = twins_create(NULL, DIM, DOTK_METRIC_L2);
    assert_ok(dotk_index_plan(twins.screened, 3, 5, NULL, line, sizeof line));
    assert_memory_equal(line, "empty - ", 8);
    twins_add(&twins, COUNT, rows, 0, NULL);
    assert_ok(dotk_index_plan(twins.screened, 3, 5, NULL, line, sizeof line));
    assert_memory_equal(line, "screened ", 9);
    assert_memory_equal(line + 9, kernel_of_tests(), 10);
    assert_ok(dotk_index_plan(twins.plain, 3, 5, NULL, line, sizeof line));
    assert_memory_equal(line, "few ", 4);
    twins_destroy(&twins);
    options.screen = (dotk_screen)7;
    assert_status(dotk_index_create(NULL, DIM, &options, &index), DOTK_BAD_ARGUMENT);
    assert_message("options->screen is 7");
    assert_null(index);
}

static void
options_of_int4_are_checked(void **unused)
{
    static const double wrong[] = {-0.1, 1, 2, 1e-101, INFINITY, NAN}, right[] = {1e-100, 0.999};
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;

    (void)unused;
    options.screen = DOTK_SCREEN_INT4;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.delta = wrong[i];
        assert_status(dotk_index_create(NULL, 8, &options, &index), DOTK_BAD_ARGUMENT);
        assert_message("options->delta is ");
        assert_null(index);
    }
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        options.delta = right[i];
        assert_ok(dotk_index_create(NULL, 8, &options, &index));
        dotk_index_destroy(index);
    }
    options.store = DOTK_STORE_INT8;
    assert_status(dotk_index_create(NULL, 8, &options, &index), DOTK_BAD_ARGUMENT);
    assert_message("options->store is 3: DOTK_SCREEN_INT4 takes DOTK_STORE_F32 alone");
    options.store = DOTK_STORE_F32;
    assert_status(dotk_index_create(NULL, 4097, &options, &index), DOTK_BAD_ARGUMENT);
    assert_message("dim is 4097: DOTK_SCREEN_INT4 takes at most 4096");
    for (int screen = DOTK_SCREEN_NONE; screen <= DOTK_SCREEN_INT8; screen++) {
        options.screen = (dotk_screen)screen;
        options.delta = 0.5;
        assert_status(dotk_index_create(NULL, 8, &options, &index), DOTK_BAD_ARGUMENT);
        assert_message("options->delta is set without DOTK_SCREEN_INT4");
        options.delta = 0;
        options.seed = 1;
        assert_status(dotk_index_create(NULL, 8, &options, &index), DOTK_BAD_ARGUMENT);
        assert_message("options->seed is set without DOTK_SCREEN_INT4");
        options.seed = 0;
    }
}

/* What DOTK_SCREEN_INT4 says of an answer with nothing left out: that it is exact. */
static void
answers_from_all_rows_are_exact(void **unused)
{
    enum { COUNT = 6400, DIM = 64, FEW = 63 };
    static const int64_t listed[] = {3, 77, 5000};
    const dotk_filter list = {.ids = listed, .id_count = 3}, none = {.ids = listed};
    const struct {
        size_t rows, k;
        const dotk_filter *filter;
        double delta;
        const char *path;
    } cases[] = {
        {COUNT, 3, NULL, 0.25, "screened"}, {COUNT, COUNT, NULL, 0, "screened"},
        {COUNT, 3, &list, 0, "few"},        {COUNT, 3, &none, 0, "empty"},
        {FEW, 3, NULL, 0, "screened"},
    };
    float *const rows = allocate(COUNT * DIM, sizeof *rows);
    uint64_t state = 12;

    (void)unused;
    fill(NORMAL, &state, COUNT, DIM, rows);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
        dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
        dotk_search_stats stats;
        struct answer answer = answer_create(1, cases[i].k);
        dotk_index *index;
        options.screen = DOTK_SCREEN_INT4;
        options.delta = 0.25;
        params.filter = cases[i].filter;
        params.stats = &stats;
        assert_ok(dotk_index_create(NULL, DIM, &options, &index));
        assert_ok(dotk_index_add(index, cases[i].rows, rows, DIM, NULL));
        search(index, rows, DIM, &params, 1, &answer);
        assert_string_equal(stats.path, cases[i].path);
        assert_true(stats.delta == cases[i].delta);
        answer_destroy(&answer);
        dotk_index_destroy(index);
    }
    free(rows);
}

struct steps {
    size_t calls, stop_at;
    uint64_t done, total;
};

static int
note_step(void *user, uint64_t done, uint64_t total)
{
    struct steps *const steps = user;

    assert_true(done >= steps->done && done <= total);
    assert_true(steps->calls == 0 || total == steps->total);
    steps->done = done;
    steps->total = total;
    return ++steps->calls == steps->stop_at;
}

/* Queries are encoded in steps that are counted and can be cancelled, 64 at a time. */
static void
encoding_queries_can_be_cancelled(void **unused)
{
    enum { COUNT = 64, DIM = 32, QUERIES = 512 };
    float *const rows = allocate(QUERIES * DIM, sizeof *rows);
    uint64_t state = 13;

    (void)unused;
    fill(NORMAL, &state, QUERIES, DIM, rows);
    for (size_t stop_at = 0; stop_at <= 4; stop_at++) {
        dotk_context_options threads = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
        struct steps steps = {.stop_at = stop_at};
        struct answer answer = answer_create(QUERIES, 3);
        dotk_context *context;
        dotk_index *index;
        threads.threads = 1;
        threads.progress = note_step;
        threads.progress_user = &steps;
        options.screen = DOTK_SCREEN_INT4;
        assert_ok(dotk_context_create(&threads, &context));
        assert_ok(dotk_index_create(context, DIM, &options, &index));
        assert_ok(dotk_index_add(index, COUNT, rows, DIM, NULL));
        steps.calls = steps.done = 0;
        const dotk_status status = dotk_index_search(index, QUERIES, rows, DIM, 3, NULL, answer.ids,
                                                     answer.scores, NULL);
        assert_int_equal(status, stop_at == 0 ? DOTK_OK : DOTK_CANCELLED);
        if (stop_at == 0)
            assert_true(steps.done == steps.total);
        else /* of all steps, in the first part of nine */
            assert_true(steps.done * QUERIES * 9 == steps.total * 64 * (stop_at - 1));
        answer_destroy(&answer);
        dotk_index_destroy(index);
        dotk_context_destroy(context);
    }
    free(rows);
}

/* Another seed is another rotation, which other rows pass; the answer stays. */
static void
seeds_and_deltas_change_what_is_rescored(void **unused)
{
    enum { COUNT = 4096, DIM = 256, SEEDS = 3 };
    float *const rows = allocate(COUNT * DIM, sizeof *rows);
    float query[DIM];
    uint64_t state = 7, rescored[SEEDS], strict;

    (void)unused;
    fill(NORMAL, &state, COUNT, DIM, rows);
    fill(NORMAL, &state, 1, DIM, query);
    for (size_t i = 0; i <= SEEDS; i++) {
        dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
        dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
        dotk_search_stats stats;
        dotk_index *index;
        int64_t ids[10];
        options.screen = DOTK_SCREEN_INT4;
        options.seed = i % SEEDS;
        options.delta = i < SEEDS ? 0.5 : 1e-50;
        params.stats = &stats;
        assert_ok(dotk_index_create(NULL, DIM, &options, &index));
        assert_ok(dotk_index_add(index, COUNT, rows, DIM, NULL));
        assert_ok(dotk_index_search(index, 1, query, DIM, 10, &params, ids, NULL, NULL));
        assert_true(stats.delta == options.delta);
        *(i < SEEDS ? &rescored[i] : &strict) = stats.rows_rescored;
        dotk_index_destroy(index);
    }
    assert_true(rescored[0] != rescored[1] || rescored[1] != rescored[2]);
    assert_true(strict > rescored[0]);
    free(rows);
}

/* Which rows pass the bound depends on every bit of the rotation, if of many rows on a few. */
static void
rotations_are_drawn_in_our_float_mode(void **state)
{
    enum { COUNT = 8192, DIM = 64, QUERIES = 256, MODES = 3 };
    static const unsigned odd[MODES] = {0, TEST_MODE_DOWN, TEST_MODE_FLUSH | TEST_MODE_ZERO};
    float *const rows = allocate(COUNT * DIM, sizeof *rows);
    float *const queries = allocate(QUERIES * DIM, sizeof *queries);
    int64_t *const ids = allocate(QUERIES * 10, sizeof *ids);
    const unsigned before = test_mode_get();
    uint64_t seed = 8, rescored[MODES];

    (void)state;
    fill(NORMAL, &seed, COUNT, DIM, rows);
    fill(NORMAL, &seed, QUERIES, DIM, queries);
    for (size_t i = 0; i < MODES; i++) {
        dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
        dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
        dotk_search_stats stats;
        dotk_index *index;
        options.screen = DOTK_SCREEN_INT4;
        options.delta = 0.5;
        params.stats = &stats;
        test_mode_set(TEST_MODE_DEFAULT | odd[i]);
        const dotk_status status = dotk_index_create(NULL, DIM, &options, &index);
        const unsigned after = test_mode_get();
        test_mode_set(before);
        assert_ok(status);
        assert_int_equal(after, TEST_MODE_DEFAULT | odd[i]);
        assert_ok(dotk_index_add(index, COUNT, rows, DIM, NULL));
        assert_ok(dotk_index_search(index, QUERIES, queries, DIM, 10, &params, ids, NULL, NULL));
        rescored[i] = stats.rows_rescored;
        assert_true(rescored[i] > 0);
        assert_int_equal(rescored[i], rescored[0]);
        dotk_index_destroy(index);
    }
    free(rows);
    free(queries);
    free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_data),
        cmocka_unit_test(large_dimensions),
        cmocka_unit_test(changes_and_filters_at_random),
        cmocka_unit_test(refused_adds_leave_codes_alone),
        cmocka_unit_test(few_rows_are_rescored_on_benign_data),
        cmocka_unit_test(plans_and_options_say_so),
        cmocka_unit_test(options_of_int4_are_checked),
        cmocka_unit_test(answers_from_all_rows_are_exact),
        cmocka_unit_test(encoding_queries_can_be_cancelled),
        cmocka_unit_test(seeds_and_deltas_change_what_is_rescored),
        cmocka_unit_test(rotations_are_drawn_in_our_float_mode),
    };
    int failed = cmocka_run_group_tests_name("int8", tests, create_contexts, destroy_contexts);

    screen_of_tests = DOTK_SCREEN_INT4;
    failed += cmocka_run_group_tests_name("int4", tests, create_contexts, destroy_contexts);
    return failed;
}
