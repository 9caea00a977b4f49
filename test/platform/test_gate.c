/* test_gate.c - readers and a writer: who waits for whom, and who does not; fork */
#include "support.h"

#include <sched.h>
#include <sys/wait.h>
#include <time.h>

#include "platform/gate.h"

static void
pause_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* A thread that does one thing with a gate and says when it is done. */
struct actor {
    struct dk_gate *gate;
    void (*act)(struct dk_gate *gate);
    pthread_t thread;
    int done;
};

static void *
run_actor(void *argument)
{
    struct actor *const actor = argument;

    actor->act(actor->gate);
    __atomic_store_n(&actor->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void
start(struct actor *actor, struct dk_gate *gate, void (*act)(struct dk_gate *gate))
{
    *actor = (struct actor){.gate = gate, .act = act};
    assert_int_equal(pthread_create(&actor->thread, NULL, run_actor, actor), 0);
}

/* It has to wait; a fault of the test would be to believe so too early, which passes. */
static void
assert_waits(const struct actor *actor)
{
    pause_ms(50);
    assert_int_equal(__atomic_load_n(&actor->done, __ATOMIC_ACQUIRE), 0);
}

static void
join(struct actor *actor)
{
    assert_int_equal(pthread_join(actor->thread, NULL), 0);
}

static void
enter_and_settle(struct dk_gate *gate)
{
    dk_gate_enter(gate);
    dk_gate_settle(gate);
}

static void
visit(struct dk_gate *gate)
{
    enter_and_settle(gate);
    dk_gate_leave(gate);
}

static void
stop_and_open(struct dk_gate *gate)
{
    dk_gate_begin(gate);
    dk_gate_stop(gate);
    dk_gate_open(gate);
    dk_gate_end(gate);
}

static void
clear_and_open(struct dk_gate *gate)
{
    dk_gate_begin(gate);
    dk_gate_clear(gate);
    dk_gate_open(gate);
    dk_gate_end(gate);
}

static void
begin_and_end(struct dk_gate *gate)
{
    dk_gate_begin(gate);
    dk_gate_end(gate);
}

static void
a_writer_waits_for_those_who_enter(void **unused)
{
    struct dk_gate *const gate = dk_gate_create();
    struct actor writer;

    (void)unused;
    dk_gate_enter(gate);
    start(&writer, gate, stop_and_open);
    assert_waits(&writer);
    dk_gate_settle(gate);
    join(&writer); /* it does not wait for those inside */
    dk_gate_leave(gate);
    dk_gate_destroy(gate);
}

static void
to_clear_is_to_wait_for_those_inside(void **unused)
{
    struct dk_gate *const gate = dk_gate_create();
    struct actor writer, reader;

    (void)unused;
    enter_and_settle(gate);
    enter_and_settle(gate);
    start(&writer, gate, clear_and_open);
    dk_gate_leave(gate);
    assert_waits(&writer);
    do { /* until the writer has closed it: readers that come then wait for the writer */
        start(&reader, gate, visit);
        pause_ms(20);
    } while (__atomic_load_n(&reader.done, __ATOMIC_ACQUIRE) && (join(&reader), true));
    dk_gate_leave(gate);
    join(&writer);
    join(&reader);
    dk_gate_destroy(gate);
}

static void
readers_wait_until_it_opens(void **unused)
{
    struct dk_gate *const gate = dk_gate_create();
    struct actor reader[3], writer;

    (void)unused;
    dk_gate_begin(gate);
    dk_gate_stop(gate);
    for (size_t r = 0; r < 3; r++)
        start(&reader[r], gate, enter_and_settle);
    for (size_t r = 0; r < 3; r++)
        assert_waits(&reader[r]);
    dk_gate_open(gate);
    start(&writer, gate, begin_and_end);
    assert_waits(&writer); /* one writer at a time */
    dk_gate_end(gate);
    join(&writer);
    for (size_t r = 0; r < 3; r++)
        join(&reader[r]);
    for (size_t r = 0; r < 3; r++)
        dk_gate_leave(gate);
    assert_true(dk_gate_try_clear(gate));
    dk_gate_destroy(gate);
}

static void
leave(struct dk_gate *gate)
{
    pause_ms(20);
    dk_gate_leave(gate);
}

static void
who_waited_is_inside(void **unused)
{
    struct dk_gate *const gate = dk_gate_create();
    struct actor reader, leaver;

    (void)unused;
    dk_gate_begin(gate);
    dk_gate_clear(gate);
    start(&reader, gate, enter_and_settle);
    assert_waits(&reader);
    dk_gate_open(gate);
    assert_false(dk_gate_try_clear(gate)); /* counted, whether it runs yet or not */
    dk_gate_stop(gate);                    /* it settles first */
    assert_false(dk_gate_try_clear(gate));
    join(&reader);
    start(&leaver, gate, leave);
    dk_gate_clear(gate);
    dk_gate_open(gate);
    join(&leaver);
    assert_true(dk_gate_try_clear(gate));
    start(&reader, gate, visit);
    assert_waits(&reader);
    dk_gate_open(gate);
    join(&reader);
    dk_gate_end(gate);
    dk_gate_destroy(gate);
}

/* What the gate is for, with two numbers that readers must find equal. */
struct shared {
    struct dk_gate *gate;
    size_t looked_at[2], referred_to[2]; /* on entry; all the time */
    int stop, wrong;
};

static void *
read_shared(void *argument)
{
    struct shared *const shared = argument;
    size_t visits = 0;

    while (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE) || visits < 1000) {
        dk_gate_enter(shared->gate);
        const bool entry = shared->looked_at[0] == shared->looked_at[1];
        dk_gate_settle(shared->gate);
        const size_t before = shared->referred_to[0];
        if (visits++ % 16 == 0)
            sched_yield();
        if (!entry || before != shared->referred_to[1] || before != shared->referred_to[0])
            __atomic_store_n(&shared->wrong, 1, __ATOMIC_RELAXED);
        dk_gate_leave(shared->gate);
    }
    return NULL;
}

static void *
write_shared(void *argument)
{
    struct shared *const shared = argument;

    for (size_t i = 0; i < (TEST_SANITIZED ? 3000 : 30000); i++) {
        dk_gate_begin(shared->gate);
        dk_gate_stop(shared->gate);
        shared->looked_at[0]++;
        shared->looked_at[1]++;
        dk_gate_open(shared->gate);
        if (i % 8 == 0)
            dk_gate_clear(shared->gate);
        else if (!dk_gate_try_clear(shared->gate)) {
            dk_gate_end(shared->gate);
            continue;
        }
        shared->looked_at[0]++;
        shared->referred_to[0]++;
        shared->looked_at[1]++;
        shared->referred_to[1]++;
        dk_gate_open(shared->gate);
        dk_gate_end(shared->gate);
    }
    return NULL;
}

static void
what_is_shared_stays_whole(void **unused)
{
    struct shared shared = {.gate = dk_gate_create()};
    pthread_t reader[2], writer[2];

    (void)unused;
    for (size_t t = 0; t < 2; t++) {
        assert_int_equal(pthread_create(&reader[t], NULL, read_shared, &shared), 0);
        assert_int_equal(pthread_create(&writer[t], NULL, write_shared, &shared), 0);
    }
    for (size_t t = 0; t < 2; t++)
        pthread_join(writer[t], NULL);
    __atomic_store_n(&shared.stop, 1, __ATOMIC_RELEASE);
    for (size_t t = 0; t < 2; t++)
        pthread_join(reader[t], NULL);
    assert_int_equal(shared.wrong, 0);
    assert_int_equal(shared.looked_at[0], shared.looked_at[1]);
    dk_gate_destroy(shared.gate);
}

/* A child of a process with a writer at work, readers inside and one of them forking. */
static void
a_child_finds_it_open(void **unused)
{
    struct dk_gate *const gate = dk_gate_create();
    int code;

    (void)unused;
    if (TEST_THREAD_SANITIZER)
        skip(); /* it does not follow a fork() of a process with threads */
    struct actor writer;
    enter_and_settle(gate);
    start(&writer, gate, clear_and_open);
    assert_waits(&writer);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(10); /* a deadlock ends the child */
        dk_gate_leave(gate);
        clear_and_open(gate);
        visit(gate);
        dk_gate_begin(gate);
        const bool clear = dk_gate_try_clear(gate);
        dk_gate_open(gate);
        dk_gate_end(gate);
        dk_gate_destroy(gate);
        _exit(clear ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFEXITED(code));
    assert_int_equal(WEXITSTATUS(code), 0);
    dk_gate_leave(gate);
    join(&writer);
    dk_gate_destroy(gate);
}

static void
without_memory_there_is_none(void **unused)
{
    struct test_alloc alloc;

    (void)unused;
    test_alloc_install(&alloc);
    alloc.fail_at = 1;
    assert_null(dk_gate_create());
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
    dk_gate_destroy(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_waits_for_those_who_enter),
        cmocka_unit_test(to_clear_is_to_wait_for_those_inside),
        cmocka_unit_test(readers_wait_until_it_opens),
        cmocka_unit_test(who_waited_is_inside),
        cmocka_unit_test(what_is_shared_stays_whole),
        cmocka_unit_test(a_child_finds_it_open),
        cmocka_unit_test(without_memory_there_is_none),
    };
    return cmocka_run_group_tests_name("platform/gate", tests, NULL, NULL);
}
