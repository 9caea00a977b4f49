/*
 * test_pool.c - threads that share out tasks: each once, slots apart, cancelling, fork,
 * floating-point mode
 *
 * Assertions stay on the main thread: cmocka leaves a failing test by longjmp().
 */
#include "support.h"

#include "platform/float_mode.h"
#include "platform/pool.h"

#include "float_mode.h"
#include <sys/wait.h>
#include <time.h>

enum { TASKS = 500, SLOTS = 8, CALLERS = 4 };

struct job {
    size_t ran[TASKS];  /* how often */
    size_t busy[SLOTS]; /* tasks of this slot that are running now */
    size_t used[SLOTS];
    size_t overlaps, bad_slots;
    size_t denormals_lost;
    const bool *go_on; /* NULL, or what the pool's threads wait for in the second half */
};

static void
pause_ms(long milliseconds)
{
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void
count_task(void *arg, size_t task, size_t slot)
{
    struct job *const job = arg;
    volatile float tiny = 1e-38f;

    if (slot >= SLOTS) {
        __atomic_add_fetch(&job->bad_slots, 1, __ATOMIC_RELAXED);
        return;
    }
    if (__atomic_add_fetch(&job->busy[slot], 1, __ATOMIC_RELAXED) != 1)
        __atomic_add_fetch(&job->overlaps, 1, __ATOMIC_RELAXED);
    while (slot != 0 && task >= TASKS / 2 && job->go_on != NULL &&
           !__atomic_load_n(job->go_on, __ATOMIC_ACQUIRE))
        pause_ms(1);
    __atomic_add_fetch(&job->ran[task], 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&job->used[slot], 1, __ATOMIC_RELAXED);
    if (slot != 0 && tiny * 0.01f == 0) /* a pool thread that flushes denormals */
        __atomic_add_fetch(&job->denormals_lost, 1, __ATOMIC_RELAXED);
    if (task % 100 == 0)
        pause_ms(1); /* lets others in */
    __atomic_sub_fetch(&job->busy[slot], 1, __ATOMIC_RELAXED);
}

/* Whether every task ran once and no slot was shared. */
static bool
is_right(const struct job *job, size_t tasks)
{
    bool right = job->overlaps == 0 && job->bad_slots == 0 && job->denormals_lost == 0;
    for (size_t task = 0; task < TASKS; task++)
        right &= job->ran[task] == (task < tasks);
    return right;
}

static void
test_each_task_once(void **state)
{
    static const size_t tasks[] = {0, 1, 2, 3, TASKS};

    (void)state;
    for (uint32_t threads = 1; threads <= SLOTS; threads += 1 + threads / 3) {
        struct dk_pool *const pool = dk_pool_create(threads);
        assert_non_null(pool);
        assert_int_equal(dk_pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++) {
            struct job job = {0};
            assert_true(dk_pool_run(pool, tasks[i], count_task, &job, NULL, NULL));
            assert_true(is_right(&job, tasks[i]));
            for (size_t slot = threads; slot < SLOTS; slot++)
                assert_int_equal(job.used[slot], 0);
        }
        dk_pool_destroy(pool);
    }
    struct job job = {0};
    assert_true(dk_pool_run(NULL, TASKS, count_task, &job, NULL, NULL));
    assert_true(is_right(&job, TASKS));
    assert_int_equal(job.used[0], TASKS);
    assert_int_equal(dk_pool_threads(NULL), 1);
    dk_pool_destroy(NULL);
}

static void
wait_for_help(void *arg, size_t task, size_t slot)
{
    size_t *const present = arg;

    (void)task, (void)slot;
    __atomic_add_fetch(present, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2000 && __atomic_load_n(present, __ATOMIC_RELAXED) < 3; i++)
        pause_ms(1);
}

/* Three tasks that wait for each other end only if three threads take them. */
static void
test_work_is_shared(void **state)
{
    struct dk_pool *const pool = dk_pool_create(3);
    size_t present = 0;
    struct timespec start, end;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_true(dk_pool_run(pool, 3, wait_for_help, &present, NULL, NULL));
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 2);
    dk_pool_destroy(pool);
}

struct caller {
    struct dk_pool *pool;
    bool right;
};

static void *
call_often(void *arg)
{
    struct caller *const caller = arg;

    caller->right = true;
    for (int i = 0; i < 30; i++) {
        struct job job = {0};
        caller->right &= dk_pool_run(caller->pool, TASKS, count_task, &job, NULL, NULL) &&
                         is_right(&job, TASKS);
    }
    return NULL;
}

static void
test_several_callers(void **state)
{
    struct dk_pool *const pool = dk_pool_create(3);
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];

    (void)state;
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i].pool = pool;
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < CALLERS; i++)
        assert_true(callers[i].right);
    dk_pool_destroy(pool);
}

enum { SHORT_JOBS = 5000, SHORT_TASKS = 7 };

static void
add_task(void *arg, size_t task, size_t slot)
{
    size_t *const sums = arg;

    for (size_t i = 0; i < 100 * slot; i++) /* the caller has to wait for the others */
        __asm__ volatile("" : : : "memory");
    sums[task] += task + 1;
}

/* How many jobs ended too early, or did not run each task once. */
static void *
call_shortly(void *arg)
{
    size_t wrong = 0;

    for (size_t i = 0; i < SHORT_JOBS; i++) {
        const size_t tasks = 2 + i % (SHORT_TASKS - 1);
        size_t sums[SHORT_TASKS] = {0};
        if (!dk_pool_run(arg, tasks, add_task, sums, NULL, NULL))
            wrong++;
        for (size_t task = 0; task < SHORT_TASKS; task++)
            wrong += sums[task] != (task < tasks ? task + 1 : 0);
        if (i % 500 == 0)
            pause_ms(1); /* workers fall asleep */
    }
    return (void *)(uintptr_t)wrong;
}

/* Jobs end and begin while threads are about to come, to leave, to sleep and to wake. */
static void
test_short_jobs(void **state)
{
    (void)state;
    for (uint32_t threads = 2; threads <= 4; threads++) {
        struct dk_pool *const pool = dk_pool_create(threads);
        pthread_t other;
        void *wrong;

        assert_int_equal(pthread_create(&other, NULL, call_shortly, pool), 0);
        const void *const mine = call_shortly(pool);
        pthread_join(other, &wrong);
        assert_null(mine);
        assert_null(wrong);
        dk_pool_destroy(pool);
    }
}

struct watch {
    uint64_t last, cancel_at;
    bool ordered, cancelled;
};

static int
watch_progress(void *user, uint64_t done, uint64_t total)
{
    struct watch *const watch = user;

    watch->ordered &= done >= watch->last && done <= total;
    watch->last = done;
    __atomic_store_n(&watch->cancelled, done >= watch->cancel_at, __ATOMIC_RELEASE);
    return watch->cancelled;
}

static void
test_progress_and_cancelling(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        struct dk_pool *const pool = dk_pool_create(threads);
        struct job job = {0}, part = {0};
        struct watch watch = {.cancel_at = UINT64_MAX, .ordered = true};

        assert_true(dk_pool_run(pool, TASKS, count_task, &job, watch_progress, &watch));
        assert_true(watch.ordered);
        assert_int_equal(watch.last, TASKS);

        watch = (struct watch){.cancel_at = 10, .ordered = true};
        part.go_on = &watch.cancelled; /* or they might be done before this thread looks */
        assert_false(dk_pool_run(pool, TASKS, count_task, &part, watch_progress, &watch));
        size_t ran = 0;
        for (size_t task = 0; task < TASKS; task++)
            ran += part.ran[task];
        assert_in_range(ran, 10, TASKS - 1);

        watch = (struct watch){.cancel_at = 0, .ordered = true};
        assert_false(dk_pool_run(pool, 1, count_task, &part, watch_progress, &watch));

        job = (struct job){0}; /* the pool still works */
        assert_true(dk_pool_run(pool, TASKS, count_task, &job, NULL, NULL));
        assert_true(is_right(&job, TASKS));
        dk_pool_destroy(pool);
    }
}

struct background {
    struct dk_pool *pool;
    int stop;
};

static void *
keep_busy(void *arg)
{
    struct background *const background = arg;

    while (!__atomic_load_n(&background->stop, __ATOMIC_RELAXED)) {
        struct job job = {0};
        (void)dk_pool_run(background->pool, TASKS, count_task, &job, NULL, NULL);
    }
    return NULL;
}

struct meeting {
    size_t arrived, alone;
};

/* Waits for the other of two tasks, which only another thread can run meanwhile. */
static void
meet_task(void *arg, size_t task, size_t slot)
{
    struct meeting *const meeting = arg;

    (void)task, (void)slot;
    __atomic_add_fetch(&meeting->arrived, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 5000; i++) {
        if (__atomic_load_n(&meeting->arrived, __ATOMIC_RELAXED) == 2)
            return;
        pause_ms(1);
    }
    __atomic_add_fetch(&meeting->alone, 1, __ATOMIC_RELAXED);
}

/* The child has none of the threads, perhaps a locked mutex; it starts threads of its own. */
static void
test_fork(void **state)
{
    (void)state;
    if (TEST_THREAD_SANITIZER || TEST_EMULATED)
        skip(); /* they do not follow a fork() of a process with threads */
    struct background background = {dk_pool_create(3), 0};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, keep_busy, &background), 0);
    for (int i = 0; i < 10; i++) {
        int code;
        pause_ms(2);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct job job = {0};
            struct meeting meeting = {0};
            alarm(10); /* a deadlock ends the child */
            const bool ran = dk_pool_run(background.pool, TASKS, count_task, &job, NULL, NULL) &&
                             dk_pool_run(background.pool, 2, meet_task, &meeting, NULL, NULL);
            dk_pool_destroy(background.pool);
            _exit(ran && is_right(&job, TASKS) && meeting.alone == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &code, 0), child);
        assert_true(WIFEXITED(code));
        assert_int_equal(WEXITSTATUS(code), 0);
    }
    __atomic_store_n(&background.stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    dk_pool_destroy(background.pool);
}

/* Pool threads start from a caller that flushes denormals, and keep them nevertheless. */
static void
test_float_mode(void **state)
{
    (void)state;
    const unsigned odd = TEST_MODE_DEFAULT | TEST_MODE_FLUSH | TEST_MODE_ZERO;
    const unsigned before = test_mode_get();
    struct dk_pool *const pool = dk_pool_create(4);
    struct job job = {0};

    test_mode_set(odd);
    const bool ran = dk_pool_run(pool, TASKS, count_task, &job, NULL, NULL);
    const uint64_t saved = dk_float_mode_enter();
    const unsigned inside = test_mode_get();
    dk_float_mode_leave(saved);
    const unsigned after = test_mode_get();
    test_mode_set(before);
    assert_true(ran && is_right(&job, TASKS));
    assert_int_equal(inside, TEST_MODE_DEFAULT);
    assert_int_equal(after, odd);
    dk_pool_destroy(pool);
}

static void
test_no_memory(void **state)
{
    struct test_alloc alloc;

    (void)state;
    for (size_t fail_at = 1; fail_at <= 2; fail_at++) {
        test_alloc_install(&alloc);
        alloc.fail_at = fail_at;
        assert_null(dk_pool_create(4));
        assert_int_equal(alloc.blocks, 0);
    }
    test_alloc_remove();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_task_once),
        cmocka_unit_test(test_work_is_shared),
        cmocka_unit_test(test_several_callers),
        cmocka_unit_test(test_short_jobs),
        cmocka_unit_test(test_progress_and_cancelling),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_float_mode),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("platform/pool", tests, NULL, NULL);
}
