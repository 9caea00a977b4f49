/*
 * test_attention_cases.c - attention in all its forms: the whole grid
 *
 * DOTK_GRID_CASE=N runs one case of it.
 */
#include "api/attention_grid.h"

static void
test_grid(void **state)
{
    enum { CASES = 2400, LARGE = 240, LEAST = 50 };
    const uint64_t seed = 20260402;
    const char *const only = getenv("DOTK_GRID_CASE");
    uint64_t random = seed;
    struct grid *const grid = make_grid(CASES);

    (void)state;
    extend_grid(grid, LARGE, 1.2e9, &random);
    extend_grid(grid, CASES - LARGE, 5e7, &random);
    print_message("seed %llu\n", (unsigned long long)seed);
    assert_int_equal(print_grid(grid), 0);
    for (size_t a = 0; a < PARAMETERS; a++) {
        for (size_t x = 0; x < values_of(a); x++)
            assert_true(grid->used[a][x] >= LEAST);
    }
    for (size_t n = 0; n < CASES; n++) {
        if (only == NULL || strtoul(only, NULL, 10) == n)
            check_case(grid->cases[n], n, seed + n, 1e7);
    }
    drop_grid(grid);
    assert_int_equal(grid_failures, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_grid)};
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
