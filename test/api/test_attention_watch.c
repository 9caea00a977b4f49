/*
 * test_attention_watch.c - a query that is followed through the keys: which tiles were skipped, and
 * what its sums were after each block
 */
#include "attention_reference.h"

enum { B = 2, H = 4, G = 2, GROUP = H / G, L = 70, S = 2500, D = 24, E = 20 };
enum { BLOCK = 256, TILE_ROWS = 6, TILE_KEYS = 64, CHUNK = 1024, STEPS = (S + BLOCK - 1) / BLOCK };

/* Whether a query of the tile that holds this one sees one of the tile's keys. */
static bool
tile_counts(const struct problem *p, const dotk_attention_watch *watch, size_t key)
{
    const size_t row = watch->query * GROUP + watch->head % GROUP;
    const bool blocks = p->options.blocks != NULL; /* no tile has rows of two of them */
    const size_t first = blocks ? row : row / TILE_ROWS * TILE_ROWS;
    const size_t end = blocks ? row + 1 : first + TILE_ROWS;
    const struct place place = place_of(p, watch->entry, 0);

    for (size_t r = first; r < end && r < L * GROUP; r++) {
        const size_t head = watch->head / GROUP * GROUP + r % GROUP;
        for (size_t j = key; j < key + TILE_KEYS && j < S; j++) {
            if (key_counts(p, &place, watch->entry, head, r / GROUP, j))
                return true;
        }
    }
    return false;
}

/* The largest score of the query over keys first .. last - 1, and the sum of e^score. */
static double
sum_of(const struct problem *p, const dotk_attention_watch *watch, size_t first, size_t last,
       double *largest)
{
    const struct place place = place_of(p, watch->entry, watch->query);
    const float *const query = query_row(p, watch->entry, watch->head, watch->query);
    double sum = 0;

    *largest = -INFINITY;
    for (size_t j = first; j < last; j++) {
        if (!key_counts(p, &place, watch->entry, watch->head, watch->query, j))
            continue;
        const double product = test_dot(query, key_row(p, p->k, D, watch->entry, watch->head, j), D,
                                        NULL);
        const double score = softcapped(p, scale_of(p) * product) +
                             added(p, &place, watch->entry, watch->head, watch->query, j);
        *largest = fmax(*largest, score);
        sum += exp(score);
    }
    return sum;
}

/* Returns how many tiles were skipped. */
static size_t
check_steps(const struct problem *p, const dotk_attention_watch *watch)
{
    const size_t head = watch->entry * H + watch->head;
    double all = 0;
    size_t skipped = 0;

    assert_int_equal(watch->count, STEPS);
    for (size_t i = 0; i < STEPS; i++) {
        const dotk_attention_step *const step = &watch->steps[i];
        const size_t end = step->key + step->keys;
        double largest, sum = sum_of(p, watch, step->key / CHUNK * CHUNK, end, &largest);
        assert_int_equal(step->key, i * BLOCK);
        assert_int_equal(end, i + 1 < STEPS ? (i + 1) * BLOCK : S);
        for (size_t key = step->key; key < end; key += TILE_KEYS) {
            const bool weighed = step->weighed >> (key - step->key) / TILE_KEYS & 1;
            assert_int_equal(weighed, tile_counts(p, watch, key));
            skipped += !weighed;
        }
        if (sum == 0) {
            assert_true(step->sum == 0 && step->maximum == -INFINITY);
            continue;
        }
        const double maximum = (double)step->maximum, rounds = maximum / log(2);
        assert_true(fabs(rounds - round(rounds)) < 1e-4);
        assert_true(largest - maximum < 8 * log(2) + 1e-4);
        assert_true(fabs((double)step->sum * exp(maximum) / sum - 1) < 1e-5);
        if (i + 1 == STEPS || (i + 1) * BLOCK % CHUNK == 0)
            all += (double)step->sum * exp(maximum);
    }
    assert_true(fabs(log(all) - (double)p->lse[head * L + watch->query]) < 1e-5);
    return skipped;
}

static void
check_watch(struct problem *p, size_t least_skipped)
{
    static const size_t followed[][3] = {{0, 0, 0}, {1, 3, L - 1}, {1, 2, 33}};
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *three;

    options.threads = 3;
    assert_ok(dotk_context_create(&options, &three));
    for (size_t i = 0; i < sizeof followed / sizeof followed[0]; i++) {
        dotk_attention_step steps[STEPS], others[STEPS];
        dotk_attention_watch watch = {followed[i][0], followed[i][1], followed[i][2],
                                      STEPS,          steps,          0};
        memset(steps, 0x5a, sizeof steps);
        p->options.watch = &watch;
        assert_ok(forward(NULL, p));
        assert_true(check_steps(p, &watch) >= least_skipped);
        watch.steps = others;
        memset(others, 0xa5, sizeof others);
        assert_ok(forward(three, p));
        for (size_t s = 0; s < STEPS; s++) {
            assert_memory_equal(&steps[s].maximum, &others[s].maximum, sizeof(float));
            assert_memory_equal(&steps[s].sum, &others[s].sum, sizeof(float));
            assert_int_equal(steps[s].weighed, others[s].weighed);
        }
    }
    dotk_context_destroy(three);
    drop(p);
}

static void
test_steps_are_what_happens(void **state)
{
    (void)state;
    struct problem p = make(1, B, H, L, S, D, E);
    p.shape.key_heads = G;
    check_watch(&p, 0);
    p = make(2, B, H, L, S, D, E);
    p.shape.key_heads = G;
    p.options.causal = 1;
    p.options.query_offset = 1300;
    check_watch(&p, 15);
    p = make(3, B, H, L, S, D, E);
    p.shape.key_heads = G;
    p.options.has_window = 1;
    p.options.window_left = 500;
    p.options.window_right = 10;
    p.options.query_offset = S - L;
    check_watch(&p, 25);
}

static void
test_masks_and_biases(void **state)
{
    static uint8_t mask[S];
    static const float slopes[H] = {0.01f, 0.02f, 0, 0.005f};

    (void)state;
    struct problem p = make(4, B, H, L, S, D, E);
    for (size_t j = 0; j < S; j++)
        mask[j] = j < 200 || (j > 700 && j % 3 == 0 && j < 2000);
    p.shape.key_heads = G;
    p.options.mask = mask;
    p.options.slopes = slopes;
    p.options.softcap = 3;
    check_watch(&p, 10);
}

/* Each row of the mask is its own, so only its bits tell that none of a tile's keys counts. */
static void
test_mask_of_rows(void **state)
{
    uint8_t *const mask = calloc(L, S);

    (void)state;
    assert_non_null(mask);
    struct problem p = make(7, B, H, L, S, D, E);
    for (size_t i = 0; i < (size_t)L * S; i++)
        mask[i] = i % S % 640 < 300 && i % 7 < 3;
    p.shape.key_heads = G;
    p.options.mask = mask;
    p.options.mask_layout.row = S;
    check_watch(&p, 15);
    free(mask);
}

/* Tiles end where a row of blocks does, which is no multiple of their 6 rows. */
static void
test_blocks(void **state)
{
    enum { ROWS = 13, COLS = 64, PLACES = (S + COLS - 1) / COLS };
    size_t starts[(L + ROWS - 1) / ROWS + 1] = {0}, columns[L / ROWS * PLACES + PLACES], count = 0;

    (void)state;
    for (size_t i = 0; i < (L + ROWS - 1) / ROWS; i++) {
        for (size_t j = i % 5; j < PLACES; j += 5)
            columns[count++] = j;
        starts[i + 1] = count;
    }
    const dotk_attention_blocks blocks = {ROWS, COLS, starts, columns, 0};
    for (size_t query = ROWS - 1; query < 5 * ROWS; query += ROWS - query % 2) {
        struct problem p = make(8 + query, B, H, L, S, D, E);
        dotk_attention_step steps[STEPS];
        dotk_attention_watch watch = {1, 3, query, STEPS, steps, 0};
        p.shape.key_heads = G;
        p.options.blocks = &blocks;
        p.options.watch = &watch;
        assert_ok(forward(NULL, &p));
        assert_int_equal(check_steps(&p, &watch), PLACES * 4 / 5);
        drop(&p);
    }
}

/* Few queries: chunks are tasks of their own. Rows end within the tile. */
static void
test_chunks_apart(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_attention_stats stats;
    dotk_attention_step steps[STEPS];
    dotk_attention_watch watch = {0, 0, 0, STEPS, steps, 0};
    static const size_t ends[] = {3, 7, STEPS - 1}; /* of chunks */
    dotk_context *four;

    (void)state;
    options.threads = 4;
    assert_ok(dotk_context_create(&options, &four));
    struct problem p = make(5, 1, 1, 1, S, D, E);
    p.options.watch = &watch;
    p.options.stats = &stats;
    assert_ok(forward(four, &p));
    assert_string_equal(stats.path, "chunks");
    double all = 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        all += (double)steps[ends[i]].sum * exp((double)steps[ends[i]].maximum);
    assert_true(fabs(log(all) - (double)p.lse[0]) < 1e-5);
    drop(&p);
    dotk_context_destroy(four);
}

static void
test_room(void **state)
{
    dotk_attention_step steps[STEPS + 1];
    dotk_attention_watch watch = {0, 0, 0, 3, steps, 0};

    (void)state;
    struct problem p = make(6, B, H, L, S, D, E);
    p.options.watch = &watch;
    memset(steps, 0x5a, sizeof steps);
    assert_ok(forward(NULL, &p));
    assert_int_equal(watch.count, STEPS);
    assert_int_equal(steps[2].key, 2 * BLOCK);
    assert_int_equal(((unsigned char *)&steps[3])[0], 0x5a);
    watch.capacity = 0;
    watch.steps = NULL;
    assert_ok(forward(NULL, &p));
    assert_int_equal(watch.count, STEPS);

#define refused(part)                                                                              \
    do {                                                                                           \
        assert_status(forward(NULL, &p), DOTK_BAD_ARGUMENT);                                       \
        assert_message(part);                                                                      \
    } while (0)
    watch.capacity = 1;
    refused("watch->steps is NULL: pass room for 1 steps, or a capacity of 0");
    watch.steps = steps;
    watch.entry = B;
    refused("watch->entry is 2: there are 2 batch entries");
    watch = (dotk_attention_watch){0, H, 0, 1, steps, 0};
    refused("watch->head is 4: there are 4 heads");
    watch = (dotk_attention_watch){0, 0, L, 1, steps, 0};
    refused("watch->query is 70: there are 70 queries");
    drop(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_are_what_happens), cmocka_unit_test(test_masks_and_biases),
        cmocka_unit_test(test_mask_of_rows),           cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_chunks_apart),           cmocka_unit_test(test_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
