/*
 * calls.h - a public call on contexts of its own: memory that runs out or is counted, progress
 *
 *     test_context .......... a context, or the end of the test
 *     test_call_fail_each ... test_alloc_fail_each() for a call and its context
 *     test_call_warm ........ a call like an earlier one allocates nothing
 *     test_call_cancel ...... a call that is cancelled, and one that is not
 *     test_follow ........... progress that is one count
 */
#ifndef DOTK_TEST_CALLS_H
#define DOTK_TEST_CALLS_H

#include "support.h"

#include <dotk/base.h>

typedef dotk_status test_call(dotk_context *context, void *user);

static inline dotk_context *
test_context(uint32_t threads, dotk_progress *progress, void *user)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = threads;
    options.progress = progress;
    options.progress_user = user;
    assert_ok(dotk_context_create(&options, &context));
    return context;
}

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

struct test_once {
    test_call *call;
    void *user;
};

static inline int
test_go_on(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    return done > total;
}

static inline dotk_status
test_call_once(void *user)
{
    const struct test_once *const once = user;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = 2;
    options.progress = test_go_on;
    dotk_status status = dotk_context_create(&options, &context);
    if (status != DOTK_OK)
        return status;
    status = once->call(context, once->user);
    dotk_context_destroy(context);
    return status;
}

/* Returns how many allocations a context of two threads and the call make. */
static inline size_t
test_call_fail_each(test_call *call, void *user)
{
    struct test_once once = {call, user};
    return test_alloc_fail_each(test_call_once, &once);
}

/* Nothing is allocated after so many calls, and nothing is left when the context is gone. */
static inline void
test_call_warm(size_t cold, test_call *call, void *user)
{
    struct test_alloc alloc;

    test_alloc_install(&alloc);
    dotk_context *const context = test_context(2, test_go_on, NULL);
    for (size_t i = 0; i < cold; i++)
        assert_ok(call(context, user));
    const size_t requests = alloc.requests;
    for (int i = 0; i < 3; i++)
        assert_ok(call(context, user));
    assert_int_equal(alloc.requests, requests);
    dotk_context_destroy(context);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
}

/* ------------------------------------------------------------------------- */
/*  Progress                                                                 */
/* ------------------------------------------------------------------------- */

/* 'user' is an int, how often it has been asked. */
static inline int
test_cancel_at_third(void *user, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return ++*(int *)user >= 3;
}

/* Cancels the call, and then makes it on the same context. */
static inline void
test_call_cancel(uint32_t threads, test_call *call, void *user)
{
    int asked = 0;
    dotk_context *const context = test_context(threads, test_cancel_at_third, &asked);
    dotk_status status = DOTK_OK;

    /* Only the calling thread reports, and another may have done the work before it. */
    for (int turn = 0; turn < 100 && status == DOTK_OK; turn++) {
        asked = 0;
        status = call(context, user);
    }
    assert_status(status, DOTK_CANCELLED);
    asked = -1000000;
    assert_ok(call(context, user));
    dotk_context_destroy(context);
}

/* How far a call says that it has come, and how often; it is cancelled at that time, from 1. */
struct test_watch {
    uint64_t done, total;
    size_t calls, cancel_at;
};

/* One count, from 0 on: 'user' is a struct test_watch. */
static inline int
test_follow(void *user, uint64_t done, uint64_t total)
{
    struct test_watch *const watch = user;

    assert_true(watch->calls == 0 ? done == 0 : done >= watch->done && total == watch->total);
    assert_true(done <= total);
    watch->done = done;
    watch->total = total;
    return ++watch->calls == watch->cancel_at;
}

#endif /* DOTK_TEST_CALLS_H */
