/*
 * time.c - timing between yardsticks
 *
 * The usual benchmark takes the best of many runs and divides by a peak measured once. On a
 * shared machine both move: memory bandwidth by a third within a second when a neighbour wakes
 * up, the clock with temperature. Here every run has a reading of the peaks on either side of
 * it, and only such neighbours are compared.
 */
#include <dotk/machine.h>

#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <stdbool.h>
#include <stdlib.h>

static const double SAMPLE_SECONDS = 0.02; /* a clock tick or a scheduler's turn is far less */
static const double LONG_SECONDS = 0.2;    /* a first call like this one is as good as a second */

static int
compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of n values, which it sorts. */
static double
median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

static dotk_status
run_calls(const dotk_timed *timed, size_t calls, double *seconds)
{
    const double start = dk_seconds();

    for (size_t call = 0; call < calls; call++) {
        const dotk_status status = timed->run(timed->user);
        if (status != DOTK_OK)
            return status;
    }
    *seconds = (dk_seconds() - start) / (double)calls;
    return DOTK_OK;
}

/* How many calls make a sample. Also the warm-up: the first call is not believed. */
static dotk_status
calls_of_a_sample(const dotk_timed *timed, size_t *calls)
{
    double seconds;
    dotk_status status = run_calls(timed, 1, &seconds);

    *calls = 1;
    while (status == DOTK_OK && seconds < LONG_SECONDS) {
        status = run_calls(timed, *calls, &seconds);
        if (seconds * (double)*calls >= SAMPLE_SECONDS / 4)
            break;
        *calls *= 2;
    }
    if (status == DOTK_OK && seconds < SAMPLE_SECONDS)
        *calls = (size_t)(SAMPLE_SECONDS / seconds) + 1;
    return status;
}

/* Everything seen: index (round, thing); reading (round, thing) is the one before that run. */
struct samples {
    size_t count, rounds;
    size_t *calls;                 /* (count) */
    double *seconds;               /* (rounds, count) */
    dotk_machine_reading *reading; /* (rounds * count + 1) */
    double *column;                /* (rounds * count + 1): what a median is taken of */
};

/* Whether the core was as free before as after: it lost less than a twentieth to others. */
static bool
steady(const dotk_machine_reading *around)
{
    const double before = around[0].fma_one_thread, after = around[1].fma_one_thread;

    return before > 0.95 * after && after > 0.95 * before;
}

static dotk_status
take_samples(dotk_machine *machine, const dotk_timed *timed, struct samples *samples)
{
    const size_t all = samples->count * samples->rounds;
    size_t spare = all; /* repetitions, so that a busy machine at most doubles the time */
    dotk_status status = DOTK_OK;

    for (size_t i = 0; i < samples->count && status == DOTK_OK; i++)
        status = calls_of_a_sample(&timed[i], &samples->calls[i]);
    if (status == DOTK_OK)
        status = dotk_machine_measure(machine, &samples->reading[0]);
    for (size_t i = 0; i < all && status == DOTK_OK;) {
        dotk_machine_reading *const around = &samples->reading[i];
        const size_t thing = i % samples->count;
        status = run_calls(&timed[thing], samples->calls[thing], &samples->seconds[i]);
        if (status == DOTK_OK)
            status = dotk_machine_measure(machine, &around[1]);
        if (status == DOTK_OK && spare > 0 && !steady(around)) {
            around[0] = around[1];
            spare--;
        } else {
            i++;
        }
    }
    return status;
}

static dotk_timing
timing_of(const struct samples *samples, size_t thing, const dotk_timed *timed)
{
    dotk_timing timing;
    double *const column = samples->column;
    const size_t rounds = samples->rounds;

    for (size_t round = 0; round < rounds; round++) {
        const size_t i = round * samples->count + thing;
        const dotk_machine_reading *const around = &samples->reading[i];
        const double read = (around[0].read + around[1].read) / 2;
        column[round] = timed->bytes / samples->seconds[i] / read;
    }
    timing.fraction_of_read = median(column, rounds);
    for (size_t round = 0; round < rounds; round++) {
        const size_t i = round * samples->count + thing;
        const dotk_machine_reading *const around = &samples->reading[i];
        const double fma = (around[0].fma + around[1].fma) / 2;
        column[round] = timed->flop / samples->seconds[i] / fma;
    }
    timing.fraction_of_fma = median(column, rounds);
    for (size_t round = 0; round < rounds; round++) {
        const double *const seconds = &samples->seconds[round * samples->count + thing];
        column[round] = thing == 0 ? 1 : seconds[0] / seconds[-1];
    }
    timing.relative = median(column, rounds);
    for (size_t round = 0; round < rounds; round++)
        column[round] = samples->seconds[round * samples->count + thing];
    timing.seconds = median(column, rounds);
    return timing;
}

#define MEDIAN_READING(samples, member, n)                                                         \
    do {                                                                                           \
        for (size_t i_ = 0; i_ < (n); i_++)                                                        \
            (samples)->column[i_] = (samples)->reading[i_].member;                                 \
        reading.member = median((samples)->column, (n));                                           \
    } while (0)

static dotk_machine_reading
reading_of(const struct samples *samples)
{
    const size_t n = samples->count * samples->rounds + 1;
    dotk_machine_reading reading;

    MEDIAN_READING(samples, read, n);
    MEDIAN_READING(samples, fma, n);
    MEDIAN_READING(samples, fma_one_thread, n);
    MEDIAN_READING(samples, clock, n);
    return reading;
}

dotk_status
dotk_machine_time(dotk_machine *machine, const dotk_timed *timed, size_t count, size_t rounds,
                  dotk_timing *out, dotk_machine_reading *reading)
{
    struct samples samples = {.count = count, .rounds = rounds};
    struct dk_arena arena = {0};
    size_t all, readings;
    dotk_status status;

    if (machine == NULL || timed == NULL || out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass one",
                       machine == NULL ? "machine"
                       : timed == NULL ? "timed"
                                       : "out");
    if (count == 0 || rounds == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is 0: at least 1", count == 0 ? "count" : "rounds");
    if (!dk_mul(count, rounds, &all) || !dk_add(all, 1, &readings))
        return dk_fail(DOTK_BAD_ARGUMENT, "rounds is %zu: count * rounds overflows", rounds);
    samples.calls = dk_arena_array(&arena, count, sizeof *samples.calls);
    samples.seconds = dk_arena_array(&arena, all, sizeof *samples.seconds);
    samples.reading = dk_arena_array(&arena, readings, sizeof *samples.reading);
    samples.column = dk_arena_array(&arena, readings, sizeof *samples.column);
    if (samples.calls == NULL || samples.seconds == NULL || samples.reading == NULL ||
        samples.column == NULL) {
        status = dk_fail_memory(readings * sizeof *samples.reading, "samples");
    } else {
        status = take_samples(machine, timed, &samples);
        for (size_t i = 0; i < count && status == DOTK_OK; i++)
            out[i] = timing_of(&samples, i, &timed[i]);
        if (status == DOTK_OK && reading != NULL)
            *reading = reading_of(&samples);
    }
    dk_arena_release(&arena);
    return status;
}
