/* contexts.h - three contexts for all tests of a program, by their number of threads */
#ifndef DOTK_TEST_CONTEXTS_H
#define DOTK_TEST_CONTEXTS_H

#include "support.h"

#include <dotk/base.h>

static dotk_context *one, *two, *four;

/* For cmocka_run_group_tests(), like the next. */
static inline int
make_contexts(void **state)
{
    dotk_context **const contexts[] = {&one, &two, &four};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        options.threads = 1u << i;
        assert_ok(dotk_context_create(&options, contexts[i]));
    }
    return 0;
}

static inline int
drop_contexts(void **state)
{
    (void)state;
    dotk_context_destroy(one);
    dotk_context_destroy(two);
    dotk_context_destroy(four);
    return 0;
}

#endif /* DOTK_TEST_CONTEXTS_H */
