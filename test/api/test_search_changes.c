/* test_search_changes.c - rows are added, removed and updated while searches run */
#include "api/search_changes.h"

static void
readers_see_the_state_at_their_start(void **unused)
{
    const size_t steps = TEST_SANITIZED ? 2000 : 10000;

    (void)unused;
    changes_of_every_kind(8 * steps, steps);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_the_state_at_their_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
