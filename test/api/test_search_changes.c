/* test_search_changes.c - rows are added, removed and updated while searches run */
#include "api/search_changes.h"

#include <time.h>

static void
readers_see_the_state_at_their_start(void **unused)
{
    const size_t steps = TEST_SANITIZED ? 2000 : 10000;

    (void)unused;
    changes_of_every_kind(8 * steps, steps);
}

/* ------------------------------------------------------------------------- */
/*  One search, and what happens while it is inside                          */
/* ------------------------------------------------------------------------- */

enum { ROWS = 100, ROOM = 40, DIM = 3 };

/*
 * A change that a thread of its own makes while a search is under way, from when its progress
 * function is called first.
 */
struct during {
    dotk_index *index;
    void (*change)(struct during *during);
    bool has_to_wait; /* for the search to end */
    pthread_t thread;
    int begun, done;
    struct test_alloc alloc;
    size_t failures; /* of allocations */
};

static void *
run_change(void *argument)
{
    struct during *const during = argument;

    during->change(during);
    __atomic_store_n(&during->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static int
begin_change(void *user, uint64_t done, uint64_t total)
{
    struct during *const during = user;

    (void)done, (void)total;
    if (during->change == NULL || during->begun)
        return 0;
    during->begun = 1;
    assert_int_equal(pthread_create(&during->thread, NULL, run_change, during), 0);
    if (during->has_to_wait) {
        nanosleep(&(struct timespec){0, 30 * 1000000}, NULL);
        assert_int_equal(__atomic_load_n(&during->done, __ATOMIC_ACQUIRE), 0);
    } else {
        assert_int_equal(pthread_join(during->thread, NULL), 0);
    }
    return 0;
}

static void
add_rows(struct during *during, size_t first, size_t n)
{
    float rows[2 * ROWS * DIM] = {0};

    for (size_t i = 0; i < n; i++)
        rows[i * DIM] = (float)(first + i + 1);
    assert_ok(dotk_index_add(during->index, n, rows, 0, NULL));
}

static void
add_some(struct during *during)
{
    add_rows(during, ROWS, ROOM);
}

static void
add_many(struct during *during)
{
    add_rows(during, ROWS, 2 * ROWS);
}

static void
remove_some(struct during *during)
{
    assert_ok(dotk_index_remove(during->index, 2, (const int64_t[]){70, 3}));
    assert_ok(dotk_index_remove(during->index, 1, (const int64_t[]){99}));
}

static void
remove_many(struct during *during)
{
    int64_t ids[ROWS / 2];

    for (size_t i = 0; i < ROWS / 2; i++)
        ids[i] = (int64_t)(2 * i);
    assert_ok(dotk_index_remove(during->index, ROWS / 2, ids));
}

static void
update_one(struct during *during)
{
    const float row[DIM] = {1e6f};

    assert_ok(dotk_index_update(during->index, 1, row, 0, (const int64_t[]){7}));
}

/* Nothing changes while memory is lacking, and nothing has to wait. */
static void
remove_without_memory(struct during *during)
{
    dotk_status status = DOTK_NO_MEMORY;

    for (; status != DOTK_OK; during->failures += status != DOTK_OK) {
        assert_int_equal(status, DOTK_NO_MEMORY);
        assert_int_equal(dotk_index_count(during->index), ROWS);
        during->alloc.fail_at = during->alloc.requests + 1 + during->failures;
        status = dotk_index_remove(during->index, 2, (const int64_t[]){70, 3});
    }
    during->alloc.fail_at = 0;
}

/* Row i has id i and scores i + 1: the answer in full, with holes where 'present' says so. */
static void
assert_rows(const dotk_index *index, size_t count, bool (*present)(size_t i))
{
    const float query[DIM] = {1};
    int64_t ids[4 * ROWS];
    float scores[4 * ROWS];
    size_t found, n = 0;

    assert_ok(dotk_index_search(index, 1, query, 0, 4 * ROWS, NULL, ids, scores, &found));
    for (size_t i = count; i-- > 0;) {
        if (present != NULL && !present(i))
            continue;
        assert_true(n < found);
        assert_int_equal(ids[n], i);
        assert_true(scores[n] == (float)(i + 1));
        n++;
    }
    assert_int_equal(found, n);
}

static bool
but_three(size_t i)
{
    return i != 3 && i != 70 && i != 99;
}

static bool
but_two(size_t i)
{
    return i != 3 && i != 70;
}

static bool
odd(size_t i)
{
    return i % 2 == 1;
}

static void
a_search_sees_the_state_at_its_start(void **unused)
{
    static const struct {
        void (*change)(struct during *during);
        bool has_to_wait;
        size_t count; /* afterwards */
        bool (*present)(size_t i);
    } cases[] = {
        {add_some, false, ROWS + ROOM, NULL},          {add_many, true, 3 * ROWS, NULL},
        {remove_some, false, ROWS, but_three},         {remove_many, true, ROWS, odd},
        {remove_without_memory, false, ROWS, but_two}, {update_one, true, 0, NULL},
    };

    (void)unused;
    for (size_t c = 0; c < 2 * sizeof cases / sizeof *cases; c++) {
        struct during during = {0};
        dotk_context_options context_options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
        dotk_context *context;

        context_options.threads = 1;
        context_options.progress = begin_change;
        context_options.progress_user = &during;
        options.screen = c % 2 == 0 ? DOTK_SCREEN_NONE : DOTK_SCREEN_INT8;
        test_alloc_install(&during.alloc);
        assert_ok(dotk_context_create(&context_options, &context));
        assert_ok(dotk_index_create(context, DIM, &options, &during.index));
        add_rows(&during, 0, ROWS - 1);
        add_rows(&during, ROWS - 1, 1); /* which leaves room for half as many again */
        during.has_to_wait = cases[c / 2].has_to_wait;
        during.change = cases[c / 2].change;
        assert_rows(during.index, ROWS, NULL);
        assert_int_equal(during.begun, 1);
        if (during.has_to_wait)
            assert_int_equal(pthread_join(during.thread, NULL), 0);
        if (cases[c / 2].change == update_one) {
            float row[DIM];
            assert_ok(dotk_index_reconstruct(during.index, 7, row));
            assert_true(row[0] == 1e6f);
        } else {
            assert_rows(during.index, cases[c / 2].count, cases[c / 2].present);
        }
        assert_true(cases[c / 2].change != remove_without_memory || during.failures == 2);
        dotk_index_destroy(during.index);
        dotk_context_destroy(context);
        assert_int_equal(during.alloc.blocks, 0);
        test_alloc_remove();
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_search_sees_the_state_at_its_start),
        cmocka_unit_test(readers_see_the_state_at_their_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
