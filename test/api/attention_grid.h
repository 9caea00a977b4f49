/*
 * attention_grid.h - a grid of cases that covers every pair of values
 */
#ifndef DOTK_TEST_ATTENTION_GRID_H
#define DOTK_TEST_ATTENTION_GRID_H

#include "attention_check.h"

/* ------------------------------------------------------------------------- */
/*  The grid                                                                 */
/* ------------------------------------------------------------------------- */

struct grid {
    size_t (*cases)[PARAMETERS];
    size_t count;
    size_t used[PARAMETERS][VALUES_MAX];
    size_t pairs[PARAMETERS][VALUES_MAX][PARAMETERS][VALUES_MAX];
};

/* Multiply-adds, roughly. */
static inline double
cost_of(const size_t *value)
{
    const double entries = is_set(value, PACKED) ? 1 : (double)number_of(value, BATCH);

    return entries * (double)heads_in(value) * (double)number_of(value, QUERIES) *
           (double)number_of(value, KEYS) *
           (double)(number_of(value, WIDTH) + value_width_in(value) + 60);
}

/* How many pairs of values the case would be the first to have. */
static inline size_t
new_pairs(const struct grid *grid, const size_t *value)
{
    size_t count = 0;

    for (size_t a = 0; a < PARAMETERS; a++) {
        for (size_t b = a + 1; b < PARAMETERS; b++)
            count += grid->pairs[a][value[a]][b][value[b]] == 0;
    }
    return count;
}

static inline void
add_case(struct grid *grid, const size_t *value)
{
    memcpy(grid->cases[grid->count++], value, sizeof *grid->cases);
    for (size_t a = 0; a < PARAMETERS; a++) {
        grid->used[a][value[a]]++;
        for (size_t b = 0; b < PARAMETERS; b++)
            grid->pairs[a][value[a]][b][value[b]]++;
    }
}

/* Puts a pair of values that no case has into 'value'; returns whether there is one. */
static inline bool
missing_pair(const struct grid *grid, size_t *value, uint64_t *seed)
{
    size_t found = 0;
    size_t pair[4] = {0};

    for (size_t a = 0; a < PARAMETERS; a++) {
        for (size_t b = a + 1; b < PARAMETERS; b++) {
            for (size_t x = 0; x < values_of(a); x++) {
                for (size_t y = 0; y < values_of(b); y++) {
                    if (grid->pairs[a][x][b][y] == 0 && test_random_below(seed, ++found) == 0)
                        memcpy(pair, (size_t[]){a, x, b, y}, sizeof pair);
                }
            }
        }
    }
    if (found == 0)
        return false;
    value[pair[0]] = pair[1];
    value[pair[2]] = pair[3];
    return true;
}

/*
 * Adds 'count' cases, none of which costs more than 'most': each has a pair that is still missing,
 * as long as there is one, and is the best of several at random.
 */
static inline void
extend_grid(struct grid *grid, size_t count, double most, uint64_t *seed)
{
    enum { TRIES = 24, PATIENCE = 2000 };

    for (size_t n = 0; n < count; n++) {
        size_t best[PARAMETERS] = {0}, gain = 0, tries = 0;
        for (size_t i = 0; tries < TRIES && (i < PATIENCE || tries == 0); i++) {
            size_t value[PARAMETERS];
            for (size_t a = 0; a < PARAMETERS; a++)
                value[a] = test_random_below(seed, values_of(a));
            if (i < PATIENCE)
                (void)missing_pair(grid, value, seed);
            if (cost_of(value) > most)
                continue;
            if (tries++ == 0 || new_pairs(grid, value) > gain) {
                gain = new_pairs(grid, value);
                memcpy(best, value, sizeof best);
            }
        }
        add_case(grid, best);
    }
}

static inline struct grid *
make_grid(size_t capacity)
{
    struct grid *const grid = calloc(1, sizeof *grid);

    test_require(grid != NULL, "calloc");
    grid->cases = calloc(capacity, sizeof *grid->cases);
    test_require(grid->cases != NULL, "calloc");
    return grid;
}

static inline void
drop_grid(struct grid *grid)
{
    free(grid->cases);
    free(grid);
}

/* Prints how often each value occurs; returns how many pairs of values do not. */
static inline size_t
print_grid(const struct grid *grid)
{
    size_t missing = 0, pairs = 0;

    for (size_t a = 0; a < PARAMETERS; a++) {
        char line[256];
        size_t length = 0;
        for (size_t x = 0; x < values_of(a); x++) {
            length += (size_t)snprintf(line + length, sizeof line - length, "  %s: %zu",
                                       parameters[a].values[x], grid->used[a][x]);
            for (size_t b = a + 1; b < PARAMETERS; b++) {
                for (size_t y = 0; y < values_of(b); y++, pairs++)
                    missing += grid->pairs[a][x][b][y] == 0;
            }
        }
        print_message("%-8s%s\n", parameters[a].name, line);
    }
    print_message("%zu cases; %zu of %zu pairs of values\n", grid->count, pairs - missing, pairs);
    return missing;
}

/* ------------------------------------------------------------------------- */
/*  A case                                                                   */
/* ------------------------------------------------------------------------- */

static inline void
check_case(const size_t *value, size_t number, uint64_t seed, double budget)
{
    struct attention_case c;

    make_case(&c, value, number, seed);
    const size_t L = c.p.shape.queries, b = test_random_below(&c.seed, c.p.shape.batch);
    const size_t i = test_random_below(&c.seed, L), threads = c.value[THREADS];
    if (run_case(&c, context_of(threads))) {
        compare_case(&c, budget);
        run_again(&c, "other threads", context_of((threads + 1 + number % 3) % 4));
        run_part(&c, b, i, 1, context_of(number % 4));
        run_part(&c, 0, 0, 1 + L / 2, context_of(number % 4));
        run_part(&c, b, i / 2, 2 + L / 3, context_of(number % 4));
        if ((double)heads_of(&c.p) * (double)L * (double)c.p.shape.keys * 60 < budget) {
            float *const weights = check_matrices(&c, context_of(number % 4));
            plant_garbage(&c);
            run_again(&c, "NaN where nobody sees it", context_of(threads));
            const size_t cells = heads_of(&c.p) * L * c.p.shape.keys;
            float *const again = own(&c, cells, sizeof *again);
            assert_ok(dotk_attention_weights(NULL, &c.p.shape, c.q, c.k, &c.p.options, 0, again));
            (void)is_same(&c, "weights with NaN where nobody sees it", 0, again, weights, cells);
        }
    }
    drop_case(&c);
}

#endif /* DOTK_TEST_ATTENTION_GRID_H */
