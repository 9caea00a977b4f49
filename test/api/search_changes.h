/*
 * search_changes.h - one writer and several readers on one index
 *
 * Before each change the writer notes what the index will hold after it: how many rows, and the
 * sum of a hash of each row's id and contents. A reader that asks for every row computes the same
 * from its answer, which has to be that of a state between the last change finished before its
 * call began and the last one begun before it ended. A row twice, a row missing, one that was
 * removed or overwritten: each changes the sum.
 *
 * The first STABLE rows are never removed and score above all others: a search for so many of the
 * best finds them and nothing else.
 */
#ifndef DOTK_TEST_SEARCH_CHANGES_H
#define DOTK_TEST_SEARCH_CHANGES_H

#include "support.h"

#include <dotk/search.h>

#include <sched.h>

enum {
    CHANGES_DIM = 5,
    STABLE = 5,
    ROWS_MOST = 600,
    READERS = 3,
    BATCH_MOST = 8,
    QUERY_COUNT = 9,
    STEPS_MOST = 16, /* for each answer: neither side gets further ahead of the other */
    STEPS_LEAST = 4,
};

struct changes {
    dotk_metric metric;
    dotk_screen screen;
    dotk_store store; /* exact for what changes_row() makes: cosine needs f32, l2 no bf16 */
    bool given;       /* ids */
    uint32_t threads;
    size_t steps;
    uint64_t seed;
};

struct changes_state {
    size_t count, count_even; /* rows; those with an even id */
    uint64_t sum, sum_even;
};

struct changes_run {
    struct changes what;
    dotk_index *index;
    struct changes_state *states; /* by step */
    size_t begun, finished;       /* steps; atomic */
    size_t answers;               /* atomic: what readers checked */
    char failure[300];            /* the first one; atomic by 'failed' */
    int failed, stop;
};

enum { BESIDE = 1000 }; /* under cosine: what stands beside the number, and makes an angle of it */

/* What a row holds is one number below 2048 that its score tells; bf16 holds it in two parts. */
static inline void
changes_row(const struct changes *what, uint32_t value, float row[CHANGES_DIM])
{
    const uint32_t apart = what->store == DOTK_STORE_BF16 ? value % 256 : 0;

    memset(row, 0, CHANGES_DIM * sizeof *row);
    row[0] = (float)(value - apart);
    row[1] = (float)apart;
    row[2] = what->metric == DOTK_METRIC_COSINE ? BESIDE : 0;
}

/* The query is 1, 1, 0 (dot), 1, 0, 0 (cosine) or 0 (l2: the distance is the square). */
static inline void
changes_query(dotk_metric metric, float query[CHANGES_DIM])
{
    query[0] = metric != DOTK_METRIC_L2;
    query[1] = metric == DOTK_METRIC_DOT;
}

static inline uint32_t
changes_value(dotk_metric metric, float score)
{
    if (metric == DOTK_METRIC_COSINE)
        score = BESIDE * score / sqrtf((1 - score) * (1 + score));
    return (uint32_t)lrintf(metric == DOTK_METRIC_L2 ? sqrtf(score) : score);
}

static inline uint64_t
changes_hash(int64_t id, uint32_t value)
{
    uint64_t state = (uint64_t)id << 24 ^ value;
    return test_random(&state);
}

static inline void
changes_count(struct changes_state *state, int64_t id, uint32_t value, int sign)
{
    const uint64_t hash = changes_hash(id, value);

    state->count += (size_t)sign;
    state->sum += (uint64_t)sign * hash;
    if (id % 2 == 0) {
        state->count_even += (size_t)sign;
        state->sum_even += (uint64_t)sign * hash;
    }
}

/* ------------------------------------------------------------------------- */
/*  Readers                                                                  */
/* ------------------------------------------------------------------------- */

static inline void
changes_fail(struct changes_run *run, const char *what, size_t found, size_t begun, size_t finished)
{
    if (__atomic_exchange_n(&run->failed, 1, __ATOMIC_ACQ_REL) == 0)
        snprintf(run->failure, sizeof run->failure, "%s: %zu rows; steps %zu to %zu: %s", what,
                 found, finished, begun, dotk_last_message());
}

/* Whether these rows, or with 'even' those of even ids, are a state of steps first .. last. */
static inline bool
changes_is_state(const struct changes_run *run, size_t first, size_t last, bool even, size_t n,
                 const int64_t *ids, const float *scores)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += changes_hash(ids[i], changes_value(run->what.metric, scores[i]));
    for (size_t step = first; step <= last; step++) {
        const struct changes_state *const state = &run->states[step];
        if (n == (even ? state->count_even : state->count) &&
            sum == (even ? state->sum_even : state->sum))
            return true;
    }
    return false;
}

struct changes_reader {
    struct changes_run *run;
    uint64_t seed;
};

static inline bool
changes_range(const struct changes_run *run, const float *query, bool even,
              const dotk_filter *even_ids, size_t first)
{
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_hits *hits;

    params.filter = even ? even_ids : NULL;
    if (dotk_index_range(run->index, 1, query, 0, run->what.metric == DOTK_METRIC_L2 ? INFINITY : 0,
                         &params, &hits) != DOTK_OK)
        return false;
    const size_t last = __atomic_load_n(&run->begun, __ATOMIC_ACQUIRE);
    const bool right = changes_is_state(run, first, last, even, hits->starts[1], hits->ids,
                                        hits->scores);
    dotk_hits_destroy(hits);
    return right;
}

/* All rows, for one query or for several. */
static inline bool
changes_search(const struct changes_run *run, const float *queries, size_t n, bool even,
               const dotk_filter *even_ids, size_t first, int64_t *ids, float *scores)
{
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    size_t counts[QUERY_COUNT];

    params.filter = even ? even_ids : NULL;
    if (dotk_index_search(run->index, n, queries, 0, ROWS_MOST, &params, ids, scores, counts) !=
        DOTK_OK)
        return false;
    const size_t last = __atomic_load_n(&run->begun, __ATOMIC_ACQUIRE);
    for (size_t q = 0; q < n; q++) { /* they see one state, and ask the same */
        if (counts[q] != counts[0] ||
            memcmp(ids, ids + q * ROWS_MOST, counts[0] * sizeof *ids) != 0)
            return false;
    }
    return changes_is_state(run, first, last, even, counts[0], ids, scores);
}

static inline bool
changes_stable(const struct changes_run *run, const float *query)
{
    static const int64_t two[] = {1, 3};
    const dotk_filter filter = {NULL, 0, two, 2};
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    int64_t ids[STABLE];
    float row[CHANGES_DIM];

    params.filter = &filter;
    if (dotk_index_search(run->index, 1, query, 0, STABLE, &params, ids, NULL, NULL) != DOTK_OK ||
        ids[0] != 1 || ids[1] != 3 || ids[2] != DOTK_NO_ID)
        return false;
    if (dotk_index_search(run->index, 1, query, 0, STABLE, NULL, ids, NULL, NULL) != DOTK_OK)
        return false;
    for (int64_t i = 0; i < STABLE; i++) {
        if (ids[i] != i || dotk_index_reconstruct(run->index, i, row) != DOTK_OK)
            return false;
    }
    return true;
}

static inline bool
changes_count_of_rows(const struct changes_run *run, size_t first)
{
    const size_t count = dotk_index_count(run->index);
    const size_t last = __atomic_load_n(&run->begun, __ATOMIC_ACQUIRE);

    for (size_t step = first; step <= last; step++) {
        if (count == run->states[step].count)
            return true;
    }
    return false;
}

static inline void *
changes_read(void *argument)
{
    const struct changes_reader *const reader = argument;
    struct changes_run *const run = reader->run;
    enum { BITS = 1 << 12 };
    static const char *const what[] = {"search",  "search, even ids", "range",    "range, even ids",
                                       "queries", "the stable rows",  "the count"};
    int64_t *const ids = malloc(QUERY_COUNT * ROWS_MOST * sizeof *ids);
    float *const scores = malloc(QUERY_COUNT * ROWS_MOST * sizeof *scores);
    float queries[QUERY_COUNT * CHANGES_DIM] = {0};
    uint8_t bitmap[BITS / 8];
    int64_t list[BITS / 2];
    uint64_t seed = reader->seed;

    test_require(ids != NULL && scores != NULL, "malloc");
    for (size_t q = 0; q < QUERY_COUNT; q++)
        changes_query(run->what.metric, queries + q * CHANGES_DIM);
    memset(bitmap, 0x55, sizeof bitmap);
    for (size_t i = 0; i < BITS / 2; i++)
        list[i] = (int64_t)(2 * i);
    while (!__atomic_load_n(&run->stop, __ATOMIC_ACQUIRE) &&
           !__atomic_load_n(&run->failed, __ATOMIC_ACQUIRE)) {
        const size_t steps = __atomic_load_n(&run->finished, __ATOMIC_ACQUIRE);
        if (__atomic_load_n(&run->answers, __ATOMIC_RELAXED) > 2 * READERS + steps / STEPS_LEAST) {
            sched_yield();
            continue;
        }
        const dotk_filter bits = {bitmap, BITS, NULL, 0}, ids_list = {NULL, 0, list, BITS / 2};
        const dotk_filter *const even = run->what.given && test_random(&seed) % 8 == 0 ? &ids_list
                                                                                       : &bits;
        const size_t act = test_random_below(&seed, run->what.given ? 7 : 5);
        const size_t kind = run->what.given ? act : (const size_t[]){0, 2, 4, 5, 6}[act];
        const size_t first = __atomic_load_n(&run->finished, __ATOMIC_ACQUIRE);
        bool right = false;
        switch (kind) {
        case 0:
        case 1: right = changes_search(run, queries, 1, kind == 1, even, first, ids, scores); break;
        case 2:
        case 3: right = changes_range(run, queries, kind == 3, even, first); break;
        case 4:
            right = changes_search(run, queries, QUERY_COUNT, false, even, first, ids, scores);
            break;
        case 5: right = changes_stable(run, queries); break;
        case 6: right = changes_count_of_rows(run, first); break;
        }
        if (!right)
            changes_fail(run, what[kind], dotk_index_count(run->index),
                         __atomic_load_n(&run->begun, __ATOMIC_ACQUIRE), first);
        __atomic_add_fetch(&run->answers, 1, __ATOMIC_RELAXED);
    }
    free(ids);
    free(scores);
    return NULL;
}

/* ------------------------------------------------------------------------- */
/*  The writer                                                               */
/* ------------------------------------------------------------------------- */

/* The rows that can be removed: all but the stable ones, in no order. */
struct changes_rows {
    size_t count;
    int64_t id[ROWS_MOST];
    uint32_t value[ROWS_MOST];
    int64_t next;
    uint64_t free_ids[64]; /* given: bits of the ids not in use, so that they come again */
};

static inline int64_t
changes_fresh_id(struct changes_rows *rows, bool given, uint64_t *seed)
{
    if (!given)
        return rows->next++;
    for (;;) {
        const size_t id = STABLE + test_random_below(seed, 64 * 64 - STABLE);
        if (rows->free_ids[id / 64] >> id % 64 & 1) {
            rows->free_ids[id / 64] &= ~(UINT64_C(1) << id % 64);
            return (int64_t)id;
        }
    }
}

/* Values of rows; in front of the stable rows' all others are worse. */
static inline uint32_t
changes_any_value(dotk_metric metric, uint64_t *seed)
{
    const uint32_t value = (uint32_t)test_random_below(seed, 1500);
    return metric == DOTK_METRIC_L2 ? value + 100 : value + 1;
}

static inline uint32_t
changes_stable_value(dotk_metric metric, size_t i)
{
    return (uint32_t)(metric == DOTK_METRIC_L2 ? i + 1 : 2000 - i);
}

static inline void
changes_begin(struct changes_run *run, size_t step, const struct changes_state *state)
{
    run->states[step] = *state;
    __atomic_store_n(&run->begun, step, __ATOMIC_RELEASE);
}

static inline void
changes_add(struct changes_run *run, struct changes_rows *rows, struct changes_state *state,
            size_t step, size_t n, uint64_t *seed)
{
    float data[ROWS_MOST * CHANGES_DIM];
    const size_t before = rows->count;

    for (size_t i = 0; i < n; i++, rows->count++) {
        rows->id[rows->count] = changes_fresh_id(rows, run->what.given, seed);
        rows->value[rows->count] = changes_any_value(run->what.metric, seed);
        changes_row(&run->what, rows->value[rows->count], data + i * CHANGES_DIM);
        changes_count(state, rows->id[rows->count], rows->value[rows->count], 1);
    }
    changes_begin(run, step, state);
    assert_ok(dotk_index_add(run->index, n, data, 0, run->what.given ? rows->id + before : NULL));
}

/* Removes the last n of the rows in no order, or gives them other values. */
static inline void
changes_remove(struct changes_run *run, struct changes_rows *rows, struct changes_state *state,
               size_t step, size_t n, bool update, uint64_t *seed)
{
    float data[BATCH_MOST * CHANGES_DIM];

    for (size_t i = 0; i < n; i++) { /* drawn ones move to the end */
        const size_t at = test_random_below(seed, rows->count - i), end = rows->count - 1 - i;
        const int64_t id = rows->id[at];
        const uint32_t value = rows->value[at];
        rows->id[at] = rows->id[end];
        rows->value[at] = rows->value[end];
        rows->id[end] = id;
        rows->value[end] = value;
        changes_count(state, id, value, -1);
    }
    int64_t *const ids = rows->id + rows->count - n;
    for (size_t i = 0; update && i < n; i++) {
        rows->value[rows->count - n + i] = changes_any_value(run->what.metric, seed);
        changes_row(&run->what, rows->value[rows->count - n + i], data + i * CHANGES_DIM);
        changes_count(state, ids[i], rows->value[rows->count - n + i], 1);
    }
    changes_begin(run, step, state);
    if (update) {
        assert_ok(dotk_index_update(run->index, n, data, 0, ids));
        return;
    }
    assert_ok(dotk_index_remove(run->index, n, ids));
    rows->count -= n;
    for (size_t i = 0; run->what.given && i < n; i++)
        rows->free_ids[ids[i] / 64] |= UINT64_C(1) << ids[i] % 64;
}

static inline void
changes_refused(struct changes_run *run, const struct changes_rows *rows,
                const struct changes_state *state, size_t step)
{
    const float data[2 * CHANGES_DIM] = {1, 1};
    const int64_t ids[] = {INT64_MAX, rows->id[0]}, absent[] = {rows->id[0], INT64_MAX};

    changes_begin(run, step, state);
    assert_status(dotk_index_add(run->index, 2, data, 0, ids),
                  run->what.given ? DOTK_EXISTS : DOTK_BAD_ARGUMENT);
    assert_status(dotk_index_remove(run->index, 2, absent), DOTK_NOT_FOUND);
}

/* Lets readers run: waits until there are so many answers, or one of them is wrong. */
static inline void
changes_await(const struct changes_run *run, size_t answers)
{
    while (__atomic_load_n(&run->answers, __ATOMIC_RELAXED) < answers &&
           !__atomic_load_n(&run->failed, __ATOMIC_ACQUIRE))
        sched_yield();
}

static inline void
changes_write(struct changes_run *run)
{
    static struct changes_rows rows;
    struct changes_state state = run->states[0];
    uint64_t seed = run->what.seed;

    rows = (struct changes_rows){.next = STABLE};
    memset(rows.free_ids, 0xff, sizeof rows.free_ids);
    for (size_t step = 1; step <= run->what.steps; step++) {
        const size_t most = ROWS_MOST - STABLE, few = 1 + test_random_below(&seed, BATCH_MOST);
        const size_t n = test_random_below(&seed, 4) == 0 ? few : 1;
        const bool growing = step / 1000 % 2 == 0;
        const size_t what = test_random_below(&seed, 200);
        changes_await(run, READERS + step / STEPS_MOST);
        if (__atomic_load_n(&run->failed, __ATOMIC_ACQUIRE))
            break;
        if (what == 0 && rows.count > 0)
            changes_refused(run, &rows, &state, step);
        else if (what < 3 && rows.count >= n)
            changes_remove(run, &rows, &state, step, n, true, &seed);
        else if (rows.count + n <= most &&
                 (rows.count < n || test_random_below(&seed, 10) < (growing ? 6 : 4)))
            changes_add(run, &rows, &state, step, n, &seed);
        else
            changes_remove(run, &rows, &state, step, n, false, &seed);
        __atomic_store_n(&run->finished, step, __ATOMIC_RELEASE);
    }
}

/* Returns how many answers were checked. */
static inline size_t
changes_run(const struct changes *what)
{
    struct changes_run run = {.what = *what};
    struct changes_reader reader[READERS];
    pthread_t thread[READERS];
    dotk_context_options context_options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_context *context;
    float row[CHANGES_DIM];

    run.states = calloc(what->steps + 1, sizeof *run.states);
    test_require(run.states != NULL, "calloc");
    context_options.threads = what->threads;
    options.metric = what->metric;
    options.screen = what->screen;
    options.store = what->store;
    assert_ok(dotk_context_create(&context_options, &context));
    assert_ok(dotk_index_create(context, CHANGES_DIM, &options, &run.index));
    for (int64_t i = 0; i < STABLE; i++) {
        const uint32_t value = changes_stable_value(what->metric, (size_t)i);
        changes_row(what, value, row);
        assert_ok(dotk_index_add(run.index, 1, row, 0, what->given ? &i : NULL));
        changes_count(&run.states[0], i, value, 1);
    }
    for (size_t r = 0; r < READERS; r++) {
        reader[r] = (struct changes_reader){&run, what->seed * 31 + r + 1};
        test_require(pthread_create(&thread[r], NULL, changes_read, &reader[r]) == 0, "a thread");
    }
    changes_write(&run);
    __atomic_store_n(&run.stop, 1, __ATOMIC_RELEASE);
    for (size_t r = 0; r < READERS; r++)
        pthread_join(thread[r], NULL);
    if (run.failed)
        print_error("%s, screen %d, %s, ids %s: %s\n", dotk_metric_name(what->metric), what->screen,
                    dotk_store_name(what->store), what->given ? "given" : "assigned", run.failure);
    assert_int_equal(run.failed, 0);
    assert_true(run.answers >= what->steps / STEPS_MOST);
    dotk_index_destroy(run.index);
    dotk_context_destroy(context);
    free(run.states);
    return run.answers;
}

/* Every kind of index in turn, 'steps' changes in all. */
static inline void
changes_of_every_kind(size_t steps, size_t steps_at_once)
{
    static const struct {
        dotk_metric metric;
        dotk_screen screen;
        dotk_store store;
    } kinds[] = {
        {DOTK_METRIC_DOT, DOTK_SCREEN_INT8, DOTK_STORE_F32},
        {DOTK_METRIC_DOT, DOTK_SCREEN_NONE, DOTK_STORE_INT8},
        {DOTK_METRIC_L2, DOTK_SCREEN_INT8, DOTK_STORE_F32},
        {DOTK_METRIC_COSINE, DOTK_SCREEN_INT4, DOTK_STORE_F32},
        {DOTK_METRIC_DOT, DOTK_SCREEN_NONE, DOTK_STORE_BF16},
        {DOTK_METRIC_L2, DOTK_SCREEN_NONE, DOTK_STORE_F16},
        {DOTK_METRIC_L2, DOTK_SCREEN_INT4, DOTK_STORE_F32},
        {DOTK_METRIC_COSINE, DOTK_SCREEN_NONE, DOTK_STORE_F32},
    };
    enum { KINDS = sizeof kinds / sizeof *kinds };
    size_t turn = 0, answers = 0;

    for (size_t done = 0; done < steps; done += steps_at_once, turn++) {
        const struct changes what = {
            .metric = kinds[turn % KINDS].metric,
            .screen = kinds[turn % KINDS].screen,
            .store = kinds[turn % KINDS].store,
            .given = (turn + turn / KINDS) % 2 == 0,
            .threads = turn % 3 == 0 ? 2 : 1,
            .steps = steps_at_once,
            .seed = turn + 1,
        };
        answers += changes_run(&what);
    }
    print_message("%zu changes, %zu answers\n", steps, answers);
}

#endif /* DOTK_TEST_SEARCH_CHANGES_H */
