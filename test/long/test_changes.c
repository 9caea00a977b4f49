/* test_changes.c - ten million changes while searches run (api/search_changes.h) */
#include "api/search_changes.h"

static void
readers_see_the_state_at_their_start(void **unused)
{
    enum { CHANGES = 10 * 1000 * 1000, AT_ONCE = CHANGES / 40 };

    (void)unused;
    changes_of_every_kind(CHANGES, AT_ONCE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_the_state_at_their_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
