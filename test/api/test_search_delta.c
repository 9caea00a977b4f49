/* test_search_delta.c - answers with DOTK_SCREEN_INT4 are wrong as seldom as promised */
#include "api/delta.h"

/* That some fail at 0.5 shows that data are as hard as they are meant to be. */
static void
answers_fail_no_more_than_delta(void **state)
{
    enum { ROTATIONS = 100, QUERIES = 60 };
    static const double deltas[] = {0.5, 0.1, 0.01};

    (void)state;
    for (size_t i = 0; i < sizeof deltas / sizeof *deltas; i++) {
        const dotk_metric metric = (dotk_metric)i;
        const size_t failures = delta_failures(deltas[i], ROTATIONS, QUERIES, metric);
        assert_true(i > 0 || failures > 0);
        assert_true(delta_upper_limit(failures, (size_t)ROTATIONS * QUERIES) <= deltas[i]);
    }
}

/* The limits of tables: 3 of 100 could be 9.7 %, none of 100 could be 4.5 %. */
static void
upper_limits_are_those_of_tables(void **state)
{
    (void)state;
    assert_true(fabs(delta_upper_limit(0, 100) - (1 - pow(0.01, 0.01))) < 1e-9);
    assert_true(fabs(delta_upper_limit(3, 100) - 0.0971) < 5e-4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upper_limits_are_those_of_tables),
        cmocka_unit_test(answers_fail_no_more_than_delta),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
