/*
 * test_search_filter.c - filters of every density and shape, for any number of queries
 *
 * What is expected comes from the answer of a plain index to all of its rows, sorted as
 * test_search.c proves, with the ids that the filter lacks struck out. Nothing else may differ, so
 * ids and score bits are compared: of the k best and of ranges, with and without a screen.
 */
#include "api/search_reference.h"

enum { COUNT = 4000, GONE = 37, DIM = 36, QUERIES = 70, K = 13, IDS = 3 * COUNT };

/* Which ids pass: at random, in stretches, or with one exception. */
enum shape { NOTHING, ONE, SHORT_LIST, SPARSE, THIRD, MOST, ALL_BUT_ONE, ALL, STRETCHES, SHAPES };

static bool
passes(enum shape shape, size_t i, uint64_t *state)
{
    const size_t chance = test_random_below(state, 1000);

    switch (shape) {
    case NOTHING: return false;
    case ONE: return i == COUNT / 3;
    case SHORT_LIST: return chance < 8;
    case SPARSE: return chance < 60;
    case THIRD: return chance < 330;
    case MOST: return chance < 900;
    case ALL_BUT_ONE: return i != COUNT / 2;
    case STRETCHES: return (i / 300 % 4 == 1) != (chance < 20);
    case ALL:
    case SHAPES: break;
    }
    return true;
}

struct filters {
    bool flags[IDS]; /* by id */
    uint8_t bitmap[IDS / 8 + 1];
    int64_t list[IDS];
    dotk_filter forms[2];
    size_t passing; /* of the ids present */
};

static void
make_filters(struct filters *filters, enum shape shape, const bool *present, uint64_t *state)
{
    size_t listed = 0;

    *filters = (struct filters){0};
    for (size_t i = 0; i < COUNT; i++) {
        const size_t id = 3 * i;
        if (!passes(shape, i, state))
            continue;
        filters->flags[id] = true;
        filters->bitmap[id / 8] |= (uint8_t)(1u << id % 8);
        filters->list[listed++] = (int64_t)id;
        filters->passing += present[id];
        if (i % 50 == 0) /* and one that is nowhere */
            filters->list[listed++] = (int64_t)id + 1;
    }
    filters->forms[0] = (dotk_filter){filters->bitmap, IDS, NULL, 0};
    filters->forms[1] = (dotk_filter){NULL, 0, filters->list, listed};
}

/* All of an index's rows for each query, best first: what filters strike out of. */
struct ranking {
    size_t rows;
    struct answer all;
};

/* The first k that pass, bit for bit. */
static void
assert_filtered(const struct ranking *ranking, const bool *flags, const struct answer *answer)
{
    for (size_t q = 0; q < answer->n; q++) {
        const int64_t *const all_ids = ranking->all.ids + q * ranking->rows;
        const float *const all_scores = ranking->all.scores + q * ranking->rows;
        const int64_t *const ids = answer->ids + q * answer->k;
        size_t found = 0;
        for (size_t i = 0; i < ranking->rows && found < answer->k; i++) {
            if (!flags[all_ids[i]])
                continue;
            assert_int_equal(ids[found], all_ids[i]);
            assert_memory_equal(&answer->scores[q * answer->k + found], &all_scores[i],
                                sizeof *all_scores);
            found++;
        }
        assert_int_equal(answer->counts[q], found);
        assert_true(found == answer->k || ids[found] == DOTK_NO_ID);
    }
}

/* All that pass down to a threshold, which is the score of rank 'rank' for query 0. */
static void
assert_filtered_range(const dotk_index *index, const struct ranking *ranking, const bool *flags,
                      const float *queries, size_t n, const dotk_filter *filter, size_t rank)
{
    const bool descending = dotk_index_metric(index) != DOTK_METRIC_L2;
    const float threshold = ranking->all.scores[rank];
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_hits *hits;
    size_t at = 0;

    params.filter = filter;
    assert_ok(dotk_index_range(index, n, queries, 0, threshold, &params, &hits));
    for (size_t q = 0; q < n; q++) {
        assert_int_equal(hits->starts[q], at);
        for (size_t i = 0; i < ranking->rows; i++) {
            const float score = ranking->all.scores[q * ranking->rows + i];
            if ((descending ? score < threshold : score > threshold) ||
                !flags[ranking->all.ids[q * ranking->rows + i]])
                continue;
            assert_int_equal(hits->ids[at], ranking->all.ids[q * ranking->rows + i]);
            assert_memory_equal(&hits->scores[at], &score, sizeof score);
            at++;
        }
    }
    assert_int_equal(hits->starts[n], at);
    dotk_hits_destroy(hits);
}

/* How a search says that it went about it. */
static void
assert_stats(const dotk_search_stats *stats, size_t n, size_t passing, bool screened, bool listed)
{
    const char *const plain = n <= 8 ? "few" : "batch";

    assert_int_equal(stats->rows_scored, n * passing);
    assert_int_equal(stats->rows_filtered, n * (COUNT - GONE - passing));
    if (passing == 0)
        assert_string_equal(stats->path, "empty");
    else if (screened && !listed)
        assert_string_equal(stats->path, "screened");
    else
        assert_string_equal(stats->path, plain);
}

static void
check_shape(const dotk_index *index, bool screened, const struct ranking *ranking,
            const float *queries, enum shape shape, const bool *present, uint64_t *state)
{
    static const size_t counts[] = {1, 2, 8, 9, QUERIES};
    static struct filters filters;

    make_filters(&filters, shape, present, state);
    for (size_t f = 0; f < 2; f++) {
        const dotk_filter *const filter = &filters.forms[f];
        const bool listed = f == 1 && filter->id_count < COUNT / 64;
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
            dotk_search_stats stats;
            const size_t n = counts[c], k = c == 2 ? COUNT : K;
            struct answer answer = answer_create(n, k);

            params.filter = filter;
            params.stats = &stats;
            search(index, queries, DIM, &params, n, &answer);
            assert_filtered(ranking, filters.flags, &answer);
            assert_stats(&stats, n, filters.passing, screened, listed);
            /* Few keys of a panel are not worth its screen, but a panel may hold more of them. */
            if (screened && !listed && (shape == ONE || shape == SPARSE))
                assert_true(stats.rows_rescored >= stats.rows_scored * 9 / 10);
            assert_filtered_range(index, ranking, filters.flags, queries, n, filter,
                                  test_random_below(state, ranking->rows));
            answer_destroy(&answer);
        }
    }
}

/* From a plain index that never had other rows, so that nothing in it is masked. */
static struct ranking
rank_all(const dotk_index_options *options, const float *rows, const int64_t *ids,
         const bool *present, const float *queries)
{
    struct ranking ranking = {COUNT - GONE, answer_create(QUERIES, COUNT - GONE)};
    dotk_index *index;

    assert_ok(dotk_index_create(NULL, DIM, options, &index));
    for (size_t i = 0; i < COUNT; i++) {
        if (present[ids[i]])
            assert_ok(dotk_index_add(index, 1, rows + i * DIM, 0, &ids[i]));
    }
    search(index, queries, DIM, NULL, QUERIES, &ranking.all);
    dotk_index_destroy(index);
    return ranking;
}

/* One metric, one type of rows and one way of giving ids, with rows removed, in every context. */
static void
check_index(dotk_metric metric, dotk_store store, bool shuffled, uint64_t *state)
{
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    static int64_t ids[COUNT], gone[GONE];
    static bool present[IDS];
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;

    test_random_floats(state, rows, COUNT * DIM);
    test_random_floats(state, queries, QUERIES * DIM);
    for (size_t i = 0; i < COUNT; i++) { /* some rows twice, for ties */
        ids[i] = (int64_t)(3 * (shuffled ? i * 2047 % COUNT : i));
        present[ids[i]] = true;
        if (i % 11 == 5)
            memcpy(rows + i * DIM, rows + i / 2 * DIM, DIM * sizeof *rows);
    }
    for (size_t i = 0; i < GONE; i++) {
        gone[i] = ids[i * 101];
        present[gone[i]] = false;
    }
    options.metric = metric;
    options.store = store;
    struct ranking ranking = rank_all(&options, rows, ids, present, queries);
    for (size_t turn = 0; turn < 2 * all_count; turn++) {
        dotk_index *index;

        const bool screened = turn % 2 == 1 || store == DOTK_STORE_INT8;
        options.screen = turn % 2 == 1 ? DOTK_SCREEN_INT8 : DOTK_SCREEN_NONE;
        assert_ok(dotk_index_create(contexts[turn / 2], DIM, &options, &index));
        assert_ok(dotk_index_add(index, COUNT, rows, 0, ids));
        assert_ok(dotk_index_remove(index, GONE, gone));
        for (enum shape shape = 0; shape < SHAPES; shape++) {
            if (turn == 0 || shape % 3 == turn % 3)
                check_shape(index, screened, &ranking, queries, shape, present, state);
        }
        dotk_index_destroy(index);
    }
    answer_destroy(&ranking.all);
}

static void
dot(void **unused)
{
    uint64_t state = 1;

    (void)unused;
    check_index(DOTK_METRIC_DOT, DOTK_STORE_F32, false, &state);
    check_index(DOTK_METRIC_DOT, DOTK_STORE_INT8, true, &state);
}

static void
cosine(void **unused)
{
    uint64_t state = 2;

    (void)unused;
    check_index(DOTK_METRIC_COSINE, DOTK_STORE_F32, true, &state);
}

static void
l2(void **unused)
{
    uint64_t state = 3;

    (void)unused;
    check_index(DOTK_METRIC_L2, DOTK_STORE_F32, true, &state);
    check_index(DOTK_METRIC_L2, DOTK_STORE_F16, false, &state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dot),
        cmocka_unit_test(cosine),
        cmocka_unit_test(l2),
    };
    return cmocka_run_group_tests(tests, create_contexts, destroy_contexts);
}
