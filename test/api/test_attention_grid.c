/*
 * test_attention_grid.c - attention in all its forms: few but small cases that have nearly all
 * pairs of values; test/long/test_attention_cases.c has them all
 */
#include "attention_grid.h"

/* Every value by itself, all others being plain: what fails here needs no search for its cause. */
static void
test_single_values(void **state)
{
    static const size_t plain[PARAMETERS] = {
        [QUERIES] = 4, [KEYS] = 4, [WIDTH] = 1, [VALUE_WIDTH] = 2, [BATCH] = 1, [HEADS] = 3};
    size_t number = 0;

    (void)state;
    for (size_t a = 0; a < PARAMETERS; a++) {
        for (size_t x = 0; x < values_of(a); x++) {
            size_t value[PARAMETERS];
            memcpy(value, plain, sizeof value);
            value[a] = x;
            check_case(value, number, number, 1e6);
            number++;
        }
    }
    assert_int_equal(grid_failures, 0);
}

static void
test_small_grid(void **state)
{
    enum { CASES = 200 };
    const uint64_t seed = 20260401;
    uint64_t random = seed;
    struct grid *const grid = make_grid(CASES);

    (void)state;
    grid_failures = 0;
    extend_grid(grid, CASES, 2e6, &random);
    print_message("seed %llu\n", (unsigned long long)seed);
    (void)print_grid(grid);
    for (size_t n = 0; n < CASES; n++)
        check_case(grid->cases[n], n, seed + n, 1e6);
    drop_grid(grid);
    assert_int_equal(grid_failures, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_values),
        cmocka_unit_test(test_small_grid),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
