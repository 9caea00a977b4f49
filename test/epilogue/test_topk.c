/* test_topk.c - the top-k and range epilogues against sorting everything */
#include "support.h"

#include "epilogue/topk/range.h"
#include "epilogue/topk/topk.h"

enum { MOST_KEYS = 600, MOST_QUERIES = 70 };

static int
compare_hits(const void *a, const void *b)
{
    const struct dk_hit *const x = a, *const y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct scores {
    size_t keys, queries;
    int64_t ids[MOST_KEYS];
    float score[MOST_QUERIES][MOST_KEYS];
};

/* Few different values, so that there are many ties; zeros of both signs. */
static void
random_scores(struct scores *scores, uint64_t *state, bool shuffled)
{
    for (size_t i = 0; i < scores->keys; i++)
        scores->ids[i] = (int64_t)(3 * i);
    for (size_t i = scores->keys; shuffled && i > 1; i--) {
        const size_t j = test_random_below(state, i);
        const int64_t id = scores->ids[i - 1];
        scores->ids[i - 1] = scores->ids[j];
        scores->ids[j] = id;
    }
    const size_t values = 1 + test_random_below(state, 300);
    for (size_t q = 0; q < scores->queries; q++) {
        for (size_t i = 0; i < scores->keys; i++) {
            const float value = (float)test_random_below(state, values) - (float)(values / 2);
            scores->score[q][i] = value == 0 && i % 2 == 1 ? -0.0f : value;
        }
    }
}

/* What a scan does: keys in pieces, shared out among the slots at random. */
static void
naive_scan(const struct scores *scores, struct dk_scan_epilogue *epilogue, size_t slots,
           uint64_t *state)
{
    for (size_t start = 0; start < scores->keys;) {
        const size_t end = dk_min(scores->keys, start + 1 + test_random_below(state, 60));
        const size_t slot = test_random_below(state, slots);
        const float *const threshold = epilogue->thresholds(epilogue, slot);

        assert_int_equal((uintptr_t)threshold % DK_LINE, 0);
        for (size_t q = scores->queries; q < dk_round_up(scores->queries, DK_PANEL); q++)
            assert_true(threshold[q] == INFINITY);
        for (size_t q = 0; q < scores->queries; q++) {
            for (size_t i = start; i < end; i++) {
                if (scores->score[q][i] > threshold[q])
                    epilogue->take(epilogue, slot, q, i, scores->score[q][i]);
            }
        }
        start = end;
    }
}

static void
sort_all(const struct scores *scores, size_t query, struct dk_hit *sorted)
{
    for (size_t i = 0; i < scores->keys; i++)
        sorted[i] = (struct dk_hit){scores->ids[i], scores->score[query][i]};
    qsort(sorted, scores->keys, sizeof *sorted, compare_hits);
}

static void
assert_same_hits(const struct dk_hit *hits, const struct dk_hit *expected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hits[i].id, expected[i].id);
        assert_memory_equal(&hits[i].score, &expected[i].score, sizeof hits[i].score);
    }
}

static struct dk_call
begin(uint32_t threads, dotk_context **context)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    struct dk_call call;

    options.threads = threads;
    assert_ok(dotk_context_create(&options, context));
    assert_ok(dk_call_begin(*context, &call));
    assert_int_equal(call.slots, threads);
    return call;
}

static void
best_k_of_every_query(void **unused)
{
    static struct scores scores;
    static const uint32_t threads[] = {1, 2, 4};
    uint64_t state = 3;
    struct dk_hit sorted[MOST_KEYS];

    (void)unused;
    for (size_t round = 0; round < 300; round++) {
        dotk_context *context;
        struct dk_call call = begin(threads[round % 3], &context);
        struct dk_topk topk;
        const bool shuffled = round % 2 == 1;

        scores.keys = 1 + test_random_below(&state, round < 100 ? 40 : MOST_KEYS);
        scores.queries = 1 + test_random_below(&state, round % 5 == 0 ? MOST_QUERIES : 9);
        random_scores(&scores, &state, shuffled);
        const size_t k = 1 + test_random_below(&state, scores.keys + 3);
        assert_ok(
            dk_topk_init(&topk, &call, scores.queries, k, scores.keys, scores.ids, !shuffled));
        naive_scan(&scores, &topk.epilogue, call.slots, &state);
        assert_ok(dk_topk_finish(&topk, &call, round % 5));
        for (size_t q = 0; q < scores.queries; q++) {
            size_t count;
            const struct dk_hit *const hits = dk_topk_hits(&topk, q, &count);
            sort_all(&scores, q, sorted);
            assert_int_equal(count, dk_min(k, scores.keys));
            assert_same_hits(hits, sorted, count);
        }
        assert_true(dk_topk_candidates(&topk) >= scores.queries * dk_min(k, scores.keys));
        dk_call_end(&call);
        dotk_context_destroy(context);
    }
}

static void
positions_serve_as_ids(void **unused)
{
    static const float score[] = {1, 5, 5, 2, 5};
    dotk_context *context;
    struct dk_call call = begin(1, &context);
    struct dk_topk topk;
    size_t count;

    (void)unused;
    assert_ok(dk_topk_init(&topk, &call, 1, 2, 5, NULL, true));
    for (size_t i = 0; i < 5; i++) {
        if (score[i] > topk.epilogue.thresholds(&topk.epilogue, 0)[0])
            topk.epilogue.take(&topk.epilogue, 0, 0, i, score[i]);
    }
    assert_ok(dk_topk_finish(&topk, &call, 0));
    const struct dk_hit *const hits = dk_topk_hits(&topk, 0, &count);
    assert_int_equal(count, 2);
    assert_int_equal(hits[0].id, 1);
    assert_int_equal(hits[1].id, 2);
    assert_int_equal(dk_topk_candidates(&topk), 3); /* a tie with the last one is not offered */
    dk_call_end(&call);
    dotk_context_destroy(context);
}

struct reports {
    uint64_t done, total;
};

static int
note(void *user, uint64_t done, uint64_t total)
{
    struct reports *const reports = user;

    assert_true(done >= reports->done);
    *reports = (struct reports){done, total};
    return 0;
}

static void
nothing(void *arg, size_t task, size_t slot)
{
    (void)arg, (void)task, (void)slot;
}

/* A scan that takes as long as three runs of finishing is three quarters of two batches' half. */
static void
a_scan_counts_for_its_weight(void **unused)
{
    struct reports reports = {0, 0};
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;
    struct dk_call call;
    struct dk_topk topk;

    (void)unused;
    options.progress = note;
    options.progress_user = &reports;
    assert_ok(dotk_context_create(&options, &context));
    for (size_t batch = 0; batch < 2; batch++) {
        assert_ok(dk_call_begin(context, &call));
        assert_ok(dk_topk_init(&topk, &call, 1, 100, 1000, NULL, true));
        call.part = batch * 4;
        call.parts = 8;
        call.weight = 3;
        assert_ok(dk_call_run(&call, 5, nothing, NULL));
        assert_int_equal(8 * reports.done, (batch * 4 + 3) * reports.total);
        assert_ok(dk_topk_finish(&topk, &call, 1));
        assert_int_equal(2 * reports.done, (batch + 1) * reports.total);
        dk_call_end(&call);
    }
    dotk_context_destroy(context);
}

static void
range_keeps_what_reaches_the_threshold(void **unused)
{
    static struct scores scores;
    static struct dk_hit hits[2 * MOST_QUERIES * MOST_KEYS];
    uint64_t state = 4;
    struct dk_hit sorted[MOST_KEYS];

    (void)unused;
    for (size_t round = 0; round < 60; round++) {
        const size_t slots = 1 + round % 4, batches = 2;
        const float threshold = (float)test_random_below(&state, 200) - 100;
        size_t starts[2 * MOST_QUERIES + 1], first[3] = {0};
        uint64_t seeds[2] = {0};
        struct dk_range range;

        assert_ok(dk_range_init(&range, slots, MOST_QUERIES, threshold, scores.ids));
        for (size_t b = 0; b < batches; b++) {
            seeds[b] = state;
            scores.keys = 1 + test_random_below(&state, MOST_KEYS);
            scores.queries = 1 + test_random_below(&state, MOST_QUERIES);
            random_scores(&scores, &state, true);
            dk_range_begin(&range, first[b], scores.queries);
            naive_scan(&scores, &range.epilogue, slots, &state);
            first[b + 1] = first[b] + scores.queries;
        }
        assert_ok(dk_range_check(&range));
        dk_range_finish(&range, first[batches], starts, hits);
        assert_int_equal(starts[0], 0);
        assert_int_equal(starts[first[batches]], dk_range_count(&range));
        for (size_t b = 0; b < batches; b++) {
            uint64_t again = seeds[b];
            scores.keys = 1 + test_random_below(&again, MOST_KEYS);
            scores.queries = 1 + test_random_below(&again, MOST_QUERIES);
            random_scores(&scores, &again, true);
            for (size_t q = 0; q < scores.queries; q++) {
                const size_t at = first[b] + q, found = starts[at + 1] - starts[at];
                sort_all(&scores, q, sorted);
                assert_same_hits(hits + starts[at], sorted, found);
                assert_true(found == 0 || sorted[found - 1].score >= threshold);
                assert_true(found == scores.keys || sorted[found].score < threshold);
            }
        }
        dk_range_release(&range);
    }
}

/* Hits in one of several orders; few values, so that ids decide often. */
static void
arrange(struct dk_hit *hits, size_t n, size_t order, uint64_t *state)
{
    const size_t values = 1 + test_random_below(state, n + 1);

    for (size_t i = 0; i < n; i++)
        hits[i] = (struct dk_hit){(int64_t)i, (float)test_random_below(state, values)};
    for (size_t i = n; order == 0 && i > 1; i--) {
        const size_t j = test_random_below(state, i);
        const struct dk_hit hit = hits[i - 1];
        hits[i - 1] = hits[j];
        hits[j] = hit;
    }
    for (size_t i = 0; order > 0 && i < n; i++) {
        const size_t pipe = i < n / 2 ? i : n - i;
        hits[i].score = (float)(order == 1 ? i : order == 2 ? n - i : order == 3 ? pipe : i % 3);
    }
    for (size_t i = 0; order == 5 && i < n; i++) /* no pivot parts them: heapsort has to */
        hits[i] = (struct dk_hit){i % 100 == 50, 1};
}

static void
sorting_is_exact(void **unused)
{
    uint64_t state = 5;
    struct dk_hit hits[MOST_KEYS] = {{0}}, expected[MOST_KEYS];

    (void)unused;
    for (size_t n = 0; n < MOST_KEYS; n++) {
        for (size_t order = 0; order < 6; order++) {
            arrange(hits, n, order, &state);
            memcpy(expected, hits, sizeof hits);
            qsort(expected, n, sizeof *expected, compare_hits);
            dk_hits_sort(hits, n);
            assert_same_hits(hits, expected, n);
        }
    }
}

static void
selecting_is_exact(void **unused)
{
    uint64_t state = 6;
    struct dk_hit hits[MOST_KEYS] = {{0}}, expected[MOST_KEYS];

    (void)unused;
    for (size_t n = 1; n < MOST_KEYS; n++) {
        for (size_t order = 0; order < 6; order++) {
            const size_t k = 1 + test_random_below(&state, n);
            arrange(hits, n, order, &state);
            memcpy(expected, hits, sizeof hits);
            qsort(expected, n, sizeof *expected, compare_hits);
            dk_hits_select(hits, n, k);
            assert_same_hits(hits + k - 1, expected + k - 1, 1);
            qsort(hits, k, sizeof *hits, compare_hits);
            qsort(hits + k, n - k, sizeof *hits, compare_hits);
            assert_same_hits(hits, expected, n);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorting_is_exact),
        cmocka_unit_test(selecting_is_exact),
        cmocka_unit_test(best_k_of_every_query),
        cmocka_unit_test(positions_serve_as_ids),
        cmocka_unit_test(a_scan_counts_for_its_weight),
        cmocka_unit_test(range_keeps_what_reaches_the_threshold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
