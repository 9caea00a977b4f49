/* test_search.c - exact search: bits, order, filters, ranges */
#include "api/search_reference.h"

/* ------------------------------------------------------------------------- */
/*  Bits                                                                     */
/* ------------------------------------------------------------------------- */

static void
every_size_gives_the_defined_bits(void **unused)
{
    static const size_t dims[] = {1, 2, 15, 16, 17, 48, 100, 255, 256, 257, 515, 1024};
    static const size_t counts[] = {1, 2, 15, 16, 17, 47, 100, 333};
    static const size_t query_counts[] = {1, 2, 8, 9, 16, 17, 63, 64, 65, 70};
    uint64_t state = 1;
    size_t turn = 0;

    (void)unused;
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++, turn++) {
            const size_t dim = dims[d], count = counts[c], stride = dim + turn % 3;
            const size_t n = query_counts[turn % (sizeof query_counts / sizeof *query_counts)];
            const size_t k = turn % 4 == 0 ? count : turn % 4 == 1 ? count + 3 : 1 + turn % 13;
            struct test_guarded rows_guard, queries_guard;
            float *const rows = test_guarded_floats(&rows_guard, (count - 1) * stride + dim);
            float *const queries = test_guarded_floats(&queries_guard, (n - 1) * stride + dim);
            struct answer answer = answer_create(n, k);

            test_random_normals(&state, rows, (count - 1) * stride + dim);
            test_random_normals(&state, queries, (n - 1) * stride + dim);
            for (size_t m = 0; m < METRICS; m++) {
                struct reference ref = reference_create(metrics[m], count, dim);
                reference_add(&ref, count, rows, stride, NULL);
                for (size_t x = 0; x < context_count; x++) {
                    dotk_index *const index = create(contexts[x], dim, metrics[m]);
                    assert_ok(dotk_index_add(index, count, rows, stride, NULL));
                    search(index, queries, stride, NULL, n, &answer);
                    assert_answer(&ref, queries, stride, NULL, NULL, &answer);
                    dotk_index_destroy(index);
                }
                reference_destroy(&ref);
            }
            answer_destroy(&answer);
            test_guarded_free(&rows_guard);
            test_guarded_free(&queries_guard);
        }
    }
}

static void
bits_do_not_depend_on_threads_splits_isa_or_order(void **unused)
{
    enum { COUNT = 2000, DIM = 37, QUERIES = 70, K = 12 };
    static const size_t pieces[] = {QUERIES, 1, 8, 9};
    static float rows[COUNT * DIM], moved[COUNT * DIM], queries[QUERIES * DIM];
    static int64_t ids[COUNT], moved_ids[COUNT];
    uint64_t state = 2;

    (void)unused;
    /* Small whole numbers: many ties, and many equal rows. */
    for (size_t i = 0; i < COUNT * DIM; i++)
        rows[i] = (float)test_random_below(&state, 3) - (i % DIM == 0 ? 0.5f : 1);
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)test_random_below(&state, 3) - (i % DIM == 0 ? 0.5f : 1);
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = (int64_t)(i * 7 % COUNT * 11);
    for (size_t m = 0; m < METRICS; m++) {
        struct reference ref = reference_create(metrics[m], COUNT, DIM);
        struct answer first = answer_create(QUERIES, K), answer = answer_create(QUERIES, K);

        reference_add(&ref, COUNT, rows, DIM, ids);
        for (size_t x = 0; x < all_count; x++) {
            /* The same rows in another order. */
            for (size_t i = 0; i < COUNT; i++) {
                const size_t from = (i * 1013 + x * 17) % COUNT;
                memcpy(moved + i * DIM, rows + from * DIM, DIM * sizeof *rows);
                moved_ids[i] = ids[from];
            }
            dotk_index *const index = create(contexts[x], DIM, metrics[m]);
            assert_ok(dotk_index_add(index, COUNT / 2, moved, 0, moved_ids));
            assert_ok(dotk_index_add(index, COUNT - COUNT / 2, moved + COUNT / 2 * DIM, 0,
                                     moved_ids + COUNT / 2));
            /* Some leave and come back. */
            assert_ok(dotk_index_remove(index, 50 * x, moved_ids + 500));
            assert_ok(dotk_index_add(index, 50 * x, moved + 500 * DIM, 0, moved_ids + 500));
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
                search(index, queries, DIM, NULL, pieces[p], &answer);
                if (x == 0 && p == 0) {
                    assert_answer(&ref, queries, DIM, NULL, NULL, &answer);
                    search(index, queries, DIM, NULL, pieces[p], &first);
                }
                assert_same_answer(&answer, &first);
            }
            dotk_index_destroy(index);
        }
        answer_destroy(&first);
        answer_destroy(&answer);
        reference_destroy(&ref);
    }
}

/* A range search whose threshold is the score at a rank must find all down to there. */
static void
assert_range_ends_at(const dotk_index *index, const float *query, const struct answer *all,
                     size_t q, size_t rank)
{
    const float *const scores = all->scores + q * all->k;
    size_t expected = rank + 1;
    dotk_hits *hits;

    while (expected < all->k && scores[expected] == scores[rank])
        expected++;
    assert_ok(dotk_index_range(index, 1, query, 0, scores[rank], NULL, &hits));
    assert_int_equal(hits->starts[1], expected);
    assert_memory_equal(hits->ids, all->ids + q * all->k, expected * sizeof *hits->ids);
    dotk_hits_destroy(hits);
}

/* Numbers of very different sizes: the fast orders of addition disagree visibly. */
static void
hard_sums_give_the_defined_bits(void **unused)
{
    enum { COUNT = 600, DIM = 700, QUERIES = 12, K = 20 };
    static float rows[COUNT * DIM], small[COUNT * DIM], queries[QUERIES * DIM];
    static int64_t ids[COUNT];
    uint64_t state = 3;

    (void)unused;
    for (size_t i = 0; i < COUNT * DIM; i++)
        rows[i] = ldexpf(test_random_float(&state), (int)test_random_below(&state, 24) - 12);
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = ldexpf(test_random_float(&state), (int)test_random_below(&state, 24) - 12);
    for (size_t i = 0; i < QUERIES / 2 * DIM; i++) /* near the first row and its duplicates */
        queries[i] = rows[i % DIM] + queries[i] / 64;
    for (size_t i = 1; i < COUNT; i += 3) { /* near duplicates, whose order hangs on the last bit */
        memcpy(rows + i * DIM, rows, DIM * sizeof *rows);
        rows[i * DIM + i] *= 1 + 0x1p-22f;
    }
    for (size_t i = 0; i < 50; i++) { /* scores that are, or nearly are, denormal */
        for (size_t d = 0; d < DIM; d++)
            rows[(COUNT - 1 - i) * DIM + d] *= 0x1p-130f;
    }
    for (size_t i = 0; i < COUNT * DIM; i++)
        small[i] = 0x1p-20f;
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = (int64_t)i;
    for (size_t m = 0; m < METRICS; m++) {
        struct reference ref = reference_create(metrics[m], COUNT, DIM);
        struct answer answer = answer_create(QUERIES, K), all = answer_create(QUERIES, COUNT);

        reference_add(&ref, COUNT, rows, DIM, NULL);
        for (size_t x = 0; x < context_count; x++) {
            dotk_index *const index = create(contexts[x], DIM, metrics[m]);
            assert_ok(dotk_index_add(index, COUNT, x % 2 == 0 ? rows : small, 0, NULL));
            if (x % 2 != 0) /* what the index knows about lengths must follow */
                assert_ok(dotk_index_update(index, COUNT, rows, 0, ids));
            search(index, queries, DIM, NULL, x % 4 < 2 ? 1 : QUERIES, &answer);
            assert_answer(&ref, queries, DIM, NULL, NULL, &answer);
            search(index, queries, DIM, NULL, x % 4 < 2 ? QUERIES : 5, &all);
            assert_answer(&ref, queries, DIM, NULL, NULL, &all);
            for (size_t rank = 0; rank < COUNT; rank += 37)
                assert_range_ends_at(index, queries + rank % QUERIES * DIM, &all, rank % QUERIES,
                                     rank);
            dotk_index_destroy(index);
        }
        answer_destroy(&answer);
        answer_destroy(&all);
        reference_destroy(&ref);
    }
}

static void
scores_are_near_double_precision(void **unused)
{
    enum { COUNT = 500, DIM = 300, QUERIES = 20 };
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    const double u = 0x1p-24;
    uint64_t state = 4;

    (void)unused;
    test_random_normals(&state, rows, COUNT * DIM);
    test_random_normals(&state, queries, QUERIES * DIM);
    for (size_t m = 0; m < METRICS; m++) {
        struct answer answer = answer_create(QUERIES, COUNT);
        dotk_index *const index = create(NULL, DIM, metrics[m]);

        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        search(index, queries, DIM, NULL, QUERIES, &answer);
        for (size_t i = 0; i < QUERIES * COUNT; i++) {
            const float *const q = queries + i / COUNT * DIM, *const r = rows + answer.ids[i] * DIM;
            double magnitude, exact = test_dot(q, r, DIM, &magnitude), bound;
            if (metrics[m] == DOTK_METRIC_L2) {
                exact = test_l2(q, r, DIM);
                bound = (DIM + 4) * u * exact;
            } else if (metrics[m] == DOTK_METRIC_COSINE) {
                const double norms = sqrt(test_dot(q, q, DIM, NULL)) *
                                     sqrt(test_dot(r, r, DIM, NULL));
                exact /= norms;
                bound = (DIM + 3) * u * magnitude / norms; /* 2 more for rounding to unit length */
            } else {
                bound = (DIM + 1) * u * magnitude;
            }
            assert_true(fabs(answer.scores[i] - exact) <= bound);
            assert_true(i % COUNT == 0 ||
                        (metrics[m] == DOTK_METRIC_L2 ? answer.scores[i] >= answer.scores[i - 1]
                                                      : answer.scores[i] <= answer.scores[i - 1]));
        }
        dotk_index_destroy(index);
        answer_destroy(&answer);
    }
}

static void
huge_k_is_cut_into_batches(void **unused)
{
    enum { COUNT = 12000, DIM = 3, QUERIES = 120 };
    float *const rows = allocate(COUNT * DIM, sizeof *rows), queries[QUERIES * DIM];
    struct reference ref = reference_create(DOTK_METRIC_L2, COUNT, DIM);
    struct answer answer = answer_create(QUERIES, COUNT);
    struct reference_hit *const sorted = allocate(COUNT, sizeof *sorted);
    uint64_t state = 5;

    (void)unused;
    test_random_floats(&state, rows, COUNT * DIM);
    test_random_floats(&state, queries, QUERIES * DIM);
    reference_add(&ref, COUNT, rows, DIM, NULL);
    for (size_t x = 0; x < context_count; x += 2) { /* the lists of 4 threads are 92 MB */
        dotk_index *const index = create(contexts[x], DIM, DOTK_METRIC_L2);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        search(index, queries, DIM, NULL, QUERIES, &answer);
        for (size_t q = 0; q < QUERIES; q += 17) {
            reference_sorted(&ref, queries + q * DIM, NULL, NULL, sorted);
            reference_assert(DOTK_METRIC_L2, sorted, COUNT, COUNT, answer.ids + q * COUNT,
                             answer.scores + q * COUNT, answer.counts[q]);
        }
        dotk_index_destroy(index);
    }
    free(rows);
    free(sorted);
    answer_destroy(&answer);
    reference_destroy(&ref);
}

/* ------------------------------------------------------------------------- */
/*  Filters                                                                  */
/* ------------------------------------------------------------------------- */

/* 'user' holds a flag for each id below UNIVERSE. */
static bool
flag_passes(const void *user, int64_t id)
{
    return ((const bool *)user)[id];
}

/* How an index comes by its ids. */
enum id_kind { IDENTITY, AFTER_REMOVAL, ASCENDING, SHUFFLED, ID_KINDS };

static void
filters_of_every_density(void **unused)
{
    enum { COUNT = 1200, DIM = 24, QUERIES = 66, K = 9, UNIVERSE = 4 * COUNT };
    static const size_t densities[] = {0, 1, 50, 99, 100}; /* per cent */
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    static int64_t ids[COUNT], filter_ids[UNIVERSE];
    static bool flags[UNIVERSE];
    uint64_t state = 6;

    (void)unused;
    test_random_floats(&state, rows, COUNT * DIM);
    test_random_floats(&state, queries, QUERIES * DIM);
    for (size_t turn = 0; turn < ID_KINDS * 5; turn++) {
        const enum id_kind kind = turn % ID_KINDS;
        const size_t density = densities[turn / ID_KINDS];
        const dotk_metric metric = metrics[turn % METRICS];
        struct reference ref = reference_create(metric, COUNT, DIM);
        struct test_guarded bitmap_guard;

        for (size_t i = 0; i < COUNT; i++)
            ids[i] = kind == SHUFFLED ? (int64_t)(i * 511 % COUNT * 3) : (int64_t)(i * 2);
        const int64_t *const given = kind == SHUFFLED || kind == ASCENDING ? ids : NULL;
        reference_add(&ref, COUNT, rows, DIM, given);

        /* A bitmap of which the last ids are cut off, and the same as a list. */
        const size_t bits = density == 100 ? UNIVERSE : UNIVERSE / 4 + 3;
        uint8_t *const bitmap = test_guarded_alloc(&bitmap_guard, (bits + 7) / 8, true);
        size_t listed = 0;
        memset(flags, 0, sizeof flags);
        for (size_t id = 0; id < bits; id++) {
            const bool in = test_random_below(&state, 100) < density;
            bitmap[id / 8] = (uint8_t)((bitmap[id / 8] & ~(1u << id % 8)) | (unsigned)in << id % 8);
            flags[id] = in;
            if (in)
                filter_ids[listed++] = (int64_t)id;
        }
        const dotk_filter filters[] = {{bitmap, bits, NULL, 0}, {NULL, 0, filter_ids, listed}};

        for (size_t x = 0; x < context_count; x++) {
            dotk_index *const index = create(contexts[x], DIM, metric);
            struct reference now = ref;
            assert_ok(dotk_index_add(index, COUNT, rows, 0, given));
            if (kind == AFTER_REMOVAL) { /* takes the first of the reference off as well */
                static const int64_t gone[] = {2, 0, 1};
                assert_ok(dotk_index_remove(index, 3, gone));
                now.count -= 3;
                now.units += 3 * DIM;
                now.ids += 3;
            }
            for (size_t f = 0; f < 2; f++) {
                dotk_search_stats stats;
                dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
                struct answer few = answer_create(3, K), many = answer_create(QUERIES, K);
                size_t passing = 0;
                params.filter = &filters[f];
                params.stats = &stats;
                for (size_t p = 0; p < now.count; p++)
                    passing += flags[now.ids[p]];
                search(index, queries, DIM, &params, 3, &few);
                assert_answer(&now, queries, DIM, flag_passes, flags, &few);
                assert_int_equal(stats.rows_scored, 3 * passing);
                assert_int_equal(stats.rows_filtered, 3 * (now.count - passing));
                search(index, queries, DIM, &params, QUERIES, &many);
                if (x == 0)
                    assert_answer(&now, queries, DIM, flag_passes, flags, &many);
                assert_memory_equal(many.ids, few.ids, 3 * K * sizeof *few.ids);
                assert_memory_equal(many.scores, few.scores, 3 * K * sizeof *few.scores);
                if (passing == 0)
                    assert_string_equal(stats.path, "empty");
                answer_destroy(&few);
                answer_destroy(&many);
            }
            dotk_index_destroy(index);
        }
        test_guarded_free(&bitmap_guard);
        reference_destroy(&ref);
    }
}

static bool
id_passes(const void *user, int64_t id)
{
    (void)user;
    return id % 7 != 3;
}

/*
 * Rows in waves of 611, which is no multiple of 16: 407 whose scores rise above all before, so that
 * each enters the list and the scan leaves its screen out, then 204 below, where it comes back.
 */
static void
rising_and_falling_scores(void **unused)
{
    enum { COUNT = 2000, DIM = 40, QUERIES = 8 };
    static const size_t ks[] = {1, 10, 300};
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    uint8_t bitmap[(COUNT + 7) / 8] = {0};
    const dotk_filter filter = {bitmap, COUNT, NULL, 0};
    uint64_t state = 41;

    (void)unused;
    test_random_floats(&state, queries, DIM);
    for (size_t q = 1; q < QUERIES; q++) {
        for (size_t d = 0; d < DIM; d++)
            queries[q * DIM + d] = queries[d] * (1.0f + 0.001f * (float)((q + d) % 5));
    }
    for (size_t i = 0; i < COUNT; i++) {
        const size_t wave = i % 611;
        const float along = (float)(wave < 407 ? i : wave - 407) * (1.0f / COUNT);
        for (size_t d = 0; d < DIM; d++)
            rows[i * DIM + d] = along * queries[d] + 1e-5f * (float)((i * 31 + d * 17) % 13);
        bitmap[i / 8] |= (uint8_t)((unsigned)id_passes(NULL, (int64_t)i) << i % 8);
    }
    for (size_t turn = 0; turn < METRICS * 3 * 2; turn++) {
        const dotk_metric metric = metrics[turn % METRICS];
        const size_t k = ks[turn / METRICS % 3];
        const bool filtered = turn / METRICS / 3 == 1;
        dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
        struct reference ref = reference_create(metric, COUNT, DIM);

        params.filter = filtered ? &filter : NULL;
        reference_add(&ref, COUNT, rows, DIM, NULL);
        for (size_t x = 0; x < all_count; x++) {
            dotk_index *const index = create(contexts[x], DIM, metric);
            assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
            for (size_t n = 1; n <= QUERIES; n += n < 4 ? 1 : 4) {
                struct answer answer = answer_create(n, k);
                search(index, queries, DIM, &params, n, &answer);
                assert_answer(&ref, queries, DIM, filtered ? id_passes : NULL, NULL, &answer);
                answer_destroy(&answer);
            }
            dotk_index_destroy(index);
        }
        reference_destroy(&ref);
    }
}

/* ------------------------------------------------------------------------- */
/*  Ranges and clipping                                                      */
/* ------------------------------------------------------------------------- */

static void
ranges_hold_every_row_that_reaches_the_threshold(void **unused)
{
    enum { COUNT = 700, DIM = 20, QUERIES = 67 };
    static float rows[COUNT * DIM], queries[QUERIES * DIM];
    static int64_t ids[COUNT];
    struct reference_hit sorted[COUNT];
    uint64_t state = 7;

    (void)unused;
    for (size_t i = 0; i < COUNT * DIM; i++)
        rows[i] = (float)test_random_below(&state, 5) - 1.5f;
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)test_random_below(&state, 5) - 1.5f;
    for (size_t i = 0; i < COUNT; i++)
        ids[i] = (int64_t)(COUNT - i);
    for (size_t m = 0; m < METRICS; m++) {
        struct reference ref = reference_create(metrics[m], COUNT, DIM);
        reference_add(&ref, COUNT, rows, DIM, ids);
        reference_sorted(&ref, queries, NULL, NULL, sorted);
        /* A score that occurs, its neighbours, everything, nothing. */
        const float score = sorted[COUNT / 3].score;
        const float thresholds[] = {score,    nextafterf(score, INFINITY),
                                    0,        nextafterf(score, -INFINITY),
                                    INFINITY, -INFINITY};
        for (size_t x = 0; x < context_count; x++) {
            dotk_index *const index = create(contexts[x], DIM, metrics[m]);
            assert_ok(dotk_index_add(index, COUNT, rows, 0, ids));
            for (size_t t = 0; t < sizeof thresholds / sizeof *thresholds; t++) {
                const size_t n = (x + t) % 2 == 0 ? QUERIES : 3;
                dotk_search_stats stats;
                dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
                dotk_hits *hits;
                params.clip_at_zero = t % 2 != 0;
                params.stats = &stats;
                assert_ok(dotk_index_range(index, n, queries, 0, thresholds[t], &params, &hits));
                assert_int_equal(hits->query_count, n);
                assert_int_equal(hits->starts[0], 0);
                assert_int_equal(stats.rows_scored, n * COUNT);
                for (size_t q = 0; q < n; q++) {
                    reference_sorted(&ref, queries + q * DIM, NULL, NULL, sorted);
                    const double limit = metrics[m] == DOTK_METRIC_L2 ? thresholds[t]
                                                                      : -(double)thresholds[t];
                    size_t found = 0;
                    while (found < COUNT && sorted[found].badness <= limit)
                        found++;
                    assert_int_equal(hits->starts[q + 1] - hits->starts[q], found);
                    for (size_t i = 0; i < found; i++) {
                        const size_t at = hits->starts[q] + i;
                        const float reported = params.clip_at_zero && !(sorted[i].score > 0)
                                                   ? 0
                                                   : sorted[i].score;
                        assert_int_equal(hits->ids[at], sorted[i].id);
                        assert_memory_equal(&hits->scores[at], &reported, sizeof reported);
                    }
                }
                dotk_hits_destroy(hits);
            }
            dotk_index_destroy(index);
        }
        reference_destroy(&ref);
    }
}

static void
ranges_larger_than_a_piece_of_memory(void **unused)
{
    enum { COUNT = 30000, QUERIES = 3 };
    float *const rows = allocate(COUNT, sizeof *rows);
    const float queries[QUERIES] = {1, -1, 0.5f};
    dotk_hits *hits;

    (void)unused;
    for (size_t i = 0; i < COUNT; i++)
        rows[i] = (float)i;
    for (size_t x = 0; x < context_count; x++) {
        dotk_index *const index = create(contexts[x], 1, DOTK_METRIC_DOT);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        assert_ok(dotk_index_range(index, QUERIES, queries, 0, -INFINITY, NULL, &hits));
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(hits->ids[i], COUNT - 1 - i);
            assert_int_equal(hits->ids[COUNT + i], i);
            assert_int_equal(hits->ids[2 * COUNT + i], COUNT - 1 - i);
        }
        assert_int_equal(hits->starts[QUERIES], QUERIES * COUNT);
        dotk_hits_destroy(hits);
        dotk_index_destroy(index);
    }
    free(rows);
}

static void
clipping_changes_reported_scores_only(void **unused)
{
    static const float rows[] = {-3, 2, -1, 0, 1, -1e-30f};
    const float query = 1, tiny = 1e-30f;
    dotk_index *const index = create(NULL, 1, DOTK_METRIC_DOT);
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    struct answer answer = answer_create(1, 6);
    static const int64_t ids[] = {1, 4, 3, 2, 0, DOTK_NO_ID};
    static const float scores[] = {2, 1, 0, 0, 0, -INFINITY};

    (void)unused;
    params.clip_at_zero = 1;
    assert_ok(dotk_index_add(index, 5, rows, 0, NULL));
    search(index, &query, 1, &params, 1, &answer);
    assert_memory_equal(answer.ids, ids, sizeof ids);
    assert_memory_equal(answer.scores, scores, sizeof scores);
    assert_int_equal(answer.counts[0], 5);
    /* A product that underflows to -0. */
    assert_ok(dotk_index_update(index, 1, rows + 5, 0, ids));
    search(index, &tiny, 1, &params, 1, &answer);
    for (size_t i = 0; i < 5; i++)
        assert_false(signbit(answer.scores[i]));
    answer_destroy(&answer);
    dotk_index_destroy(index);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_gives_the_defined_bits),
        cmocka_unit_test(bits_do_not_depend_on_threads_splits_isa_or_order),
        cmocka_unit_test(hard_sums_give_the_defined_bits),
        cmocka_unit_test(scores_are_near_double_precision),
        cmocka_unit_test(huge_k_is_cut_into_batches),
        cmocka_unit_test(filters_of_every_density),
        cmocka_unit_test(rising_and_falling_scores),
        cmocka_unit_test(ranges_hold_every_row_that_reaches_the_threshold),
        cmocka_unit_test(ranges_larger_than_a_piece_of_memory),
        cmocka_unit_test(clipping_changes_reported_scores_only),
    };
    return cmocka_run_group_tests(tests, create_contexts, destroy_contexts);
}
