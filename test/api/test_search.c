/* test_search.c - exact search: bits, order, filters, ranges, changes, merging */
#include "api/search_reference.h"

static const dotk_metric metrics[] = {DOTK_METRIC_DOT, DOTK_METRIC_COSINE, DOTK_METRIC_L2};

enum { METRICS = 3, THREADS = 3, ISAS = 3 };

/*
 * The process's ISA ($DOTK_ISA) on 1, 2 and 4 threads, and no context: context_count of them.
 * Then each ISA that this machine has, on 2 threads: up to all_count.
 */
static dotk_context *contexts[THREADS + 1 + ISAS];
static size_t context_count, all_count;

static int
create_contexts(void **unused)
{
    static const char *const isas[ISAS] = {"portable", "avx2", "avx512"};
    static const uint32_t threads[THREADS] = {1, 2, 4};
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    (void)unused;
    for (size_t t = 0; t < THREADS; t++) {
        options.threads = threads[t];
        assert_ok(dotk_context_create(&options, &contexts[context_count++]));
    }
    contexts[context_count++] = NULL;
    all_count = context_count;
    for (size_t i = 0; i < ISAS; i++) {
        options.isa = isas[i];
        options.threads = 2;
        if (dotk_context_create(&options, &contexts[all_count]) == DOTK_OK)
            all_count++;
    }
    assert_true(all_count > context_count); /* portable, at least */
    return 0;
}

static int
destroy_contexts(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < all_count; c++)
        dotk_context_destroy(contexts[c]);
    return 0;
}

static dotk_index *
create(dotk_context *context, size_t dim, dotk_metric metric)
{
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;

    options.metric = metric;
    assert_ok(dotk_index_create(context, dim, &options, &index));
    return index;
}

static void *
allocate(size_t count, size_t size)
{
    void *const block = calloc(count + 1, size);
    test_require(block != NULL, "calloc");
    return block;
}

/* An answer: (n, k) ids and scores, n counts. */
struct answer {
    size_t n, k;
    int64_t *ids;
    float *scores;
    size_t *counts;
};

static struct answer
answer_create(size_t n, size_t k)
{
    return (struct answer){n, k, allocate(n * k, sizeof(int64_t)), allocate(n * k, sizeof(float)),
                           allocate(n, sizeof(size_t))};
}

static void
answer_destroy(struct answer *answer)
{
    free(answer->ids);
    free(answer->scores);
    free(answer->counts);
}

static void
assert_same_answer(const struct answer *a, const struct answer *b)
{
    assert_memory_equal(a->ids, b->ids, a->n * a->k * sizeof *a->ids);
    assert_memory_equal(a->scores, b->scores, a->n * a->k * sizeof *a->scores);
    assert_memory_equal(a->counts, b->counts, a->n * sizeof *a->counts);
}

/* Searches in pieces of 'piece' queries. */
static void
search(const dotk_index *index, const float *queries, size_t stride,
       const dotk_search_params *params, size_t piece, struct answer *answer)
{
    const size_t k = answer->k;

    for (size_t first = 0; first < answer->n; first += piece) {
        const size_t n = answer->n - first < piece ? answer->n - first : piece;
        assert_ok(dotk_index_search(index, n, queries + first * stride, stride, k, params,
                                    answer->ids + first * k, answer->scores + first * k,
                                    answer->counts + first));
    }
}

/* The answer to n queries must be the reference's. */
static void
assert_answer(const struct reference *ref, const float *queries, size_t stride,
              bool (*passes)(const void *user, int64_t id), const void *user,
              const struct answer *answer)
{
    struct reference_hit *const sorted = allocate(ref->count, sizeof *sorted);

    for (size_t q = 0; q < answer->n; q++) {
        const size_t found = reference_sorted(ref, queries + q * stride, passes, user, sorted);
        reference_assert(ref->metric, sorted, found, answer->k, answer->ids + q * answer->k,
                         answer->scores + q * answer->k, answer->counts[q]);
    }
    free(sorted);
}

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
                    assert_non_null(strstr(stats.kernel, dotk_context_isa(contexts[x])));
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
        size_t calls = 0;
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
        cmocka_unit_test(every_size_gives_the_defined_bits),
        cmocka_unit_test(bits_do_not_depend_on_threads_splits_isa_or_order),
        cmocka_unit_test(hard_sums_give_the_defined_bits),
        cmocka_unit_test(scores_are_near_double_precision),
        cmocka_unit_test(huge_k_is_cut_into_batches),
        cmocka_unit_test(filters_of_every_density),
        cmocka_unit_test(ranges_hold_every_row_that_reaches_the_threshold),
        cmocka_unit_test(ranges_larger_than_a_piece_of_memory),
        cmocka_unit_test(clipping_changes_reported_scores_only),
        cmocka_unit_test(random_changes_follow_the_model),
        cmocka_unit_test(a_failed_change_changes_nothing),
        cmocka_unit_test(assigned_ids_are_never_used_again),
        cmocka_unit_test(rows_come_back_as_they_were),
        cmocka_unit_test(bad_vectors_are_named),
        cmocka_unit_test(unit_length_can_be_demanded),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(empty_calls_are_fine),
        cmocka_unit_test(the_plan_is_what_runs),
        cmocka_unit_test(progress_can_cancel),
        cmocka_unit_test(many_threads_search_one_index),
        cmocka_unit_test(merged_shards_are_one_search),
        cmocka_unit_test(merge_keeps_the_better_of_two_and_pads),
    };
    return cmocka_run_group_tests(tests, create_contexts, destroy_contexts);
}
