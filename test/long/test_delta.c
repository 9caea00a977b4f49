/*
 * test_delta.c - answers with DOTK_SCREEN_INT4 are wrong as seldom as promised: 100,000 queries
 * over 200 rotations for each delta and metric, and the upper 99 % limit of the failures
 */
#include "api/delta.h"

static void
answers_fail_no_more_than_delta(void **state)
{
    enum { ROTATIONS = 200, QUERIES = 500, N = ROTATIONS * QUERIES };
    static const double deltas[] = {0.5, 0.1, 0.01};

    (void)state;
    for (size_t i = 0; i < sizeof deltas / sizeof *deltas; i++) {
        for (int m = DOTK_METRIC_DOT; m <= DOTK_METRIC_L2; m++) {
            const size_t failures = delta_failures(deltas[i], ROTATIONS, QUERIES, (dotk_metric)m);
            const double limit = delta_upper_limit(failures, N);
            print_message("delta %g, %s: %zu of %d queries failed, upper 99 %% limit %.2g\n",
                          deltas[i], dotk_metric_name((dotk_metric)m), failures, N, limit);
            assert_true(limit <= deltas[i]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers_fail_no_more_than_delta)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
