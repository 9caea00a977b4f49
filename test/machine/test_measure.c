/* test_measure.c - yardsticks: readings that make sense, and the kernels behind them */
#include "support.h"

#include <dotk/machine.h>

#include "kernel/kernel.h"

static dotk_status
measure_once(uint32_t threads, size_t bytes, double seconds, dotk_machine_reading *out)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_machine_options machine_options = DOTK_MACHINE_OPTIONS_INIT;
    dotk_context *context = NULL;
    dotk_machine *machine = NULL;

    options.threads = threads;
    machine_options.read_bytes = bytes;
    machine_options.fma_seconds = seconds;
    dotk_status status = dotk_context_create(&options, &context);
    if (status == DOTK_OK)
        status = dotk_machine_create(context, &machine_options, &machine);
    if (status == DOTK_OK)
        status = dotk_machine_measure(machine, out);
    dotk_machine_destroy(machine);
    dotk_context_destroy(context);
    return status;
}

static void
readings_make_sense(void **state)
{
    static const size_t bytes[] = {1, 512, 100000, 80 << 20};

    (void)state;
    for (uint32_t threads = 1; threads <= 3; threads++) {
        for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
            dotk_machine_reading reading;
            memset(&reading, 0, sizeof reading);
            assert_ok(measure_once(threads, bytes[i], 0.02, &reading));
            assert_true(reading.read > 1e7 && reading.read < 1e14);
            assert_true(reading.clock > 1e8 && reading.clock < 1e10);
            assert_true(reading.fma_one_thread > 1e7);
            assert_true(reading.fma_one_thread / reading.clock < 200);
            if (threads == 1)
                assert_true(reading.fma == reading.fma_one_thread);
            assert_true(reading.fma >= threads * reading.fma_one_thread);
        }
    }
}

/* A read kernel that skipped a line would promise a bandwidth that nobody can reach. */
static void
read_kernels_read_every_word(void **state)
{
    enum { BYTES = 3 * DK_READ_UNIT };
    const struct dk_kernels *kernels;
    struct test_guarded guarded;
    uint64_t *const words = test_guarded_alloc(&guarded, BYTES, true);

    (void)state;
    for (size_t isa = 0; (kernels = dk_kernels_at(isa)) != NULL; isa++) {
        memset(words, 0, BYTES);
        assert_int_equal(kernels->yardstick->read(words, BYTES), 0);
        for (size_t i = 0; i < BYTES / sizeof *words; i++) {
            words[i] = UINT64_C(1) << (i % 64);
            assert_int_equal(kernels->yardstick->read(words, BYTES), words[i]);
            words[i] = 0;
        }
    }
    test_guarded_free(&guarded);
}

/*
 * Sums that all end at the fixed point of s -> 0.999 s + 0.001 were all multiplied and added; so
 * were those of bf16 that grow by two a step, of two products, where what comes is the mean.
 */
static void
fma_kernels_do_their_steps(void **state)
{
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t isa = 0; (kernels = dk_kernels_at(isa)) != NULL; isa++) {
        const struct dk_fma fma[] = {kernels->yardstick->fma_f32, kernels->yardstick->fma_bf16};
        for (int i = 0; i < 2; i++) {
            const double sums = (double)fma[i].flop / 2;
            assert_true(sums >= 12);
            assert_true(fabs(fma[i].run(40000) - sums) < 0.01 * sums);
            assert_true(fma[i].run(1) > 0.9 * sums); /* starts above 1 */
        }
    }
}

static void
adds_are_made(void **state)
{
    (void)state;
    assert_int_equal(dk_adds_portable(1600), 1600 + UINT64_C(1600) * 1601);
}

static void
bad_arguments_are_refused(void **state)
{
    dotk_machine_options options = DOTK_MACHINE_OPTIONS_INIT;
    dotk_machine *machine = (dotk_machine *)&options;
    dotk_machine_reading reading;

    (void)state;
    assert_status(dotk_machine_create(NULL, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_machine_measure(NULL, &reading), DOTK_BAD_ARGUMENT);
    options.fma_seconds = -1;
    assert_status(dotk_machine_create(NULL, &options, &machine), DOTK_BAD_ARGUMENT);
    assert_null(machine);
    assert_message("fma_seconds is -1");
    options.fma_seconds = NAN;
    assert_status(dotk_machine_create(NULL, &options, &machine), DOTK_BAD_ARGUMENT);
    options.fma_seconds = 0;
    options.read_bytes = SIZE_MAX;
    assert_status(dotk_machine_create(NULL, &options, &machine), DOTK_NO_MEMORY);
    assert_null(machine);
    options.struct_size = 1;
    assert_status(dotk_machine_create(NULL, &options, &machine), DOTK_BAD_ARGUMENT);
    dotk_machine_destroy(NULL);
}

struct countdown {
    int left;
};

static int
stop_after(void *user, uint64_t done, uint64_t total)
{
    struct countdown *const countdown = user;

    (void)done;
    (void)total;
    return countdown->left-- <= 0;
}

static void
progress_cancels(void **state)
{
    dotk_machine_options machine_options = DOTK_MACHINE_OPTIONS_INIT;
    struct countdown countdown = {0};
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;
    dotk_machine *machine;
    dotk_machine_reading reading;

    (void)state;
    options.threads = 2;
    options.progress = stop_after;
    options.progress_user = &countdown;
    machine_options.read_bytes = 4096;
    machine_options.fma_seconds = 30;
    assert_ok(dotk_context_create(&options, &context));
    assert_status(dotk_machine_create(context, &machine_options, &machine), DOTK_CANCELLED);
    assert_null(machine);
    countdown.left = 100;
    assert_ok(dotk_machine_create(context, &machine_options, &machine));
    for (int after = 1; after <= 33; after += 8) {
        countdown.left = after;
        assert_status(dotk_machine_measure(machine, &reading), DOTK_CANCELLED);
    }
    dotk_machine_destroy(machine);
    dotk_context_destroy(context);
}

static dotk_status
measure_small(void *user)
{
    dotk_machine_reading reading;

    (void)user;
    return measure_once(2, 1024, 0.001, &reading);
}

static void
failing_allocations_are_reported(void **state)
{
    (void)state;
    assert_true(test_alloc_fail_each(measure_small, NULL) > 4);
}

struct work {
    struct dk_fma fma;
    size_t calls, fail_at;
    float sum;
};

enum { STEPS = 20000 };

static dotk_status
multiply(void *user)
{
    struct work *const work = user;

    if (++work->calls == work->fail_at)
        return DOTK_IO;
    work->sum += work->fma.run(STEPS);
    return DOTK_OK;
}

/* The FMA yardstick timed as if it were a program: it reaches itself, and half of it a half. */
static void
check_fractions(bool bf16)
{
    dotk_machine_options options = DOTK_MACHINE_OPTIONS_INIT;
    const struct dk_yardstick_kernels *const kernels = dk_kernels_select(NULL)->yardstick;
    struct work work = {.fma = bf16 ? kernels->fma_bf16 : kernels->fma_f32};
    const double flop = (double)STEPS * (double)work.fma.flop;
    const dotk_timed timed[2] = {{multiply, &work, flop, 1e6}, {multiply, &work, flop / 2, 0}};
    dotk_timing timing[2];
    dotk_machine_reading reading;
    dotk_machine *machine;

    options.read_bytes = 1 << 16;
    options.fma_seconds = 0.02;
    options.bf16 = bf16;
    assert_ok(dotk_machine_create(NULL, &options, &machine));
    assert_ok(dotk_machine_time(machine, timed, 2, 5, timing, &reading));
    for (int i = 0; i < 2; i++) {
        const double reached = timed[i].flop / timing[i].seconds / reading.fma;
        assert_true(fabs(timing[i].fraction_of_fma / reached - 1) < 0.7);
        assert_true(timing[i].fraction_of_fma > 0.3 * (2 - i) / 2);
        assert_true(timing[i].fraction_of_fma < 1.4 * (2 - i) / 2);
    }
    assert_true(timing[0].relative == 1);
    assert_true(timing[1].relative > 0.5 && timing[1].relative < 2);
    assert_true(timing[0].fraction_of_read > 0);
    assert_true(fabs(1e6 / timing[0].seconds / reading.read / timing[0].fraction_of_read - 1) <
                0.5);
    assert_true(timing[1].fraction_of_read == 0);

    work.calls = 0;
    work.fail_at = 3;
    assert_int_equal(dotk_machine_time(machine, timed, 2, 5, timing, NULL), DOTK_IO);
    assert_int_equal(work.calls, 3);
    assert_status(dotk_machine_time(machine, timed, 0, 5, timing, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_machine_time(machine, timed, 2, 0, timing, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_machine_time(machine, timed, 2, SIZE_MAX, timing, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_machine_time(machine, NULL, 2, 5, timing, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_machine_time(machine, timed, 2, SIZE_MAX / 4, timing, NULL), DOTK_NO_MEMORY);
    dotk_machine_destroy(machine);
}

static void
fractions_are_of_the_yardsticks(void **state)
{
    (void)state;
    check_fractions(false);
    check_fractions(true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readings_make_sense),
        cmocka_unit_test(read_kernels_read_every_word),
        cmocka_unit_test(fma_kernels_do_their_steps),
        cmocka_unit_test(adds_are_made),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(progress_cancels),
        cmocka_unit_test(failing_allocations_are_reported),
        cmocka_unit_test(fractions_are_of_the_yardsticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
