/*
 * measure.c - yardsticks: read bandwidth, FMA peak and clock
 *
 * Textbooks take a machine's peaks from its data sheet. Those are out of reach on a machine
 * that is shared, clocks itself up and down, and hides its memory behind a hypervisor; so the
 * peaks are measured, on the same threads, allocator and page size as the runs they judge.
 */
#include <dotk/machine.h>

#include "kernel/kernel.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "tile/tile.h"

#include <string.h>

enum {
    PASSES = 5,
    PIECES = 16,             /* of a thread's share of a large buffer: evens out disturbances */
    LARGE_FROM = 64 << 20,   /* from here on a buffer is large; smaller ones are read again   */
    SLICES_PER_SECOND = 200, /* FMA readings are cut in slices of 5 ms                        */
    CLOCK_READINGS = 8,      /* the best counts: an interrupt only ever lowers one            */
    CLOCK_ADDS = 16 * 1024 * 1024,
};

static const size_t GIB = (size_t)1 << 30;

struct dotk_machine {
    dotk_context *context;
    const struct dk_yardstick_kernels *kernels;
    const struct dk_fma *fma;
    unsigned char *buffer;
    size_t units; /* of DK_READ_UNIT bytes */
    size_t pieces, rounds;
    double fma_seconds;
    size_t slice_steps; /* of the FMA kernel */
};

/* What a task found, where the compiler must believe that somebody looks. */
struct slot_result {
    _Alignas(DK_LINE) uint64_t bits;
    float sum;
};

struct job {
    const struct dotk_machine *machine;
    struct slot_result *result; /* one for each slot */
};

static unsigned char *
piece_of(const struct dotk_machine *machine, size_t piece, size_t *bytes)
{
    const size_t from = machine->units * piece / machine->pieces;
    const size_t to = machine->units * (piece + 1) / machine->pieces;

    *bytes = (to - from) * DK_READ_UNIT;
    return machine->buffer + from * DK_READ_UNIT;
}

static void
fill_piece(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    size_t bytes;
    unsigned char *const start = piece_of(job->machine, task, &bytes);

    (void)slot;
    memset(start, 1, bytes);
}

static void
read_piece(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    size_t bytes;
    const unsigned char *const start = piece_of(job->machine, task, &bytes);

    for (size_t round = 0; round < job->machine->rounds; round++)
        job->result[slot].bits |= job->machine->kernels->read(start, bytes);
}

static void
fma_slice(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;

    (void)task;
    job->result[slot].sum += job->machine->fma->run(job->machine->slice_steps);
}

static dotk_status
measure_read(struct dk_call *call, struct job *job, double *bytes_per_second)
{
    const struct dotk_machine *const machine = job->machine;
    const double bytes = (double)machine->units * DK_READ_UNIT * (double)machine->rounds;

    *bytes_per_second = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        const double start = dk_seconds();
        const dotk_status status = dk_call_run(call, machine->pieces, read_piece, job);
        const double rate = bytes / (dk_seconds() - start);
        if (status != DOTK_OK)
            return status;
        if (rate > *bytes_per_second)
            *bytes_per_second = rate;
    }
    return DOTK_OK;
}

/* How many FMA steps take a slice's time, from a run that is long enough to trust. */
static size_t
steps_of_a_slice(const struct dk_fma *fma)
{
    volatile float sum = 0;

    for (size_t steps = 1024;; steps *= 2) {
        const double start = dk_seconds();
        sum = sum + fma->run(steps);
        const double seconds = dk_seconds() - start;
        if (seconds > 1e-3)
            return (size_t)((double)steps / (seconds * SLICES_PER_SECOND)) + 1;
    }
}

/* 'tasks' slices at a time, one of them on the calling thread alone, for fma_seconds. */
static dotk_status
measure_fma(struct dk_call *call, struct job *job, size_t tasks, double *flop_per_second)
{
    const struct dotk_machine *const machine = job->machine;
    const double flop = (double)machine->slice_steps * (double)machine->fma->flop;
    const double start = dk_seconds();
    double slices = 0, seconds;

    do {
        const dotk_status status = dk_call_run(call, tasks, fma_slice, job);
        if (status != DOTK_OK)
            return status;
        slices += (double)tasks;
        seconds = dk_seconds() - start;
    } while (seconds < machine->fma_seconds);
    *flop_per_second = slices * flop / seconds;
    return DOTK_OK;
}

static double
measure_clock(struct job *job)
{
    double best = 0;

    for (int reading = 0; reading < CLOCK_READINGS; reading++) {
        const double start = dk_seconds();
        job->result[0].bits |= job->machine->kernels->adds(CLOCK_ADDS);
        const double rate = CLOCK_ADDS / (dk_seconds() - start);
        if (rate > best)
            best = rate;
    }
    return best;
}

static dotk_status
measure_all(struct dk_call *call, struct job *job, dotk_machine_reading *out)
{
    const double threads = (double)call->slots;
    dotk_status status = measure_read(call, job, &out->read);

    if (status == DOTK_OK)
        status = measure_fma(call, job, 1, &out->fma_one_thread);
    if (status != DOTK_OK)
        return status;
    out->clock = measure_clock(job);
    out->fma = out->fma_one_thread;
    if (call->slots > 1) {
        /* All slices of the reading as one job: threads meet only at its end. */
        const double slices = job->machine->fma_seconds * SLICES_PER_SECOND * threads;
        double together;
        status = measure_fma(call, job, (size_t)slices + call->slots, &together);
        out->fma = threads * out->fma_one_thread;
        if (status == DOTK_OK && together > out->fma)
            out->fma = together;
    }
    return status;
}

dotk_status
dotk_machine_measure(dotk_machine *machine, dotk_machine_reading *out)
{
    struct dk_call call;

    if (machine == NULL || out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass one",
                       machine == NULL ? "machine" : "out");
    dotk_status status = dk_call_begin(machine->context, &call);
    if (status != DOTK_OK)
        return status;
    struct job job = {machine, dk_call_alloc(&call, call.slots, sizeof *job.result)};
    if (job.result == NULL) {
        status = dk_fail_memory(call.slots * sizeof *job.result, "results");
    } else {
        memset(job.result, 0, call.slots * sizeof *job.result);
        status = measure_all(&call, &job, out);
    }
    dk_call_end(&call);
    return status;
}

static dotk_status
fill(struct dotk_machine *machine)
{
    struct job job = {machine, NULL};
    struct dk_call call;
    dotk_status status = dk_call_begin(machine->context, &call);

    if (status == DOTK_OK) {
        status = dk_call_run(&call, machine->pieces, fill_piece, &job);
        dk_call_end(&call);
    }
    return status;
}

dotk_status
dotk_machine_create(dotk_context *context, const dotk_machine_options *options, dotk_machine **out)
{
    static const dotk_machine_options defaults = DOTK_MACHINE_OPTIONS_INIT;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the yardsticks");
    *out = NULL;
    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &defaults;
    if (!(options->fma_seconds >= 0 && options->fma_seconds <= 60))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->fma_seconds is %g: give seconds up to 60, or 0 for 0.5",
                       options->fma_seconds);
    const struct dk_kernels *const kernels = dk_context_kernels(context);
    if (kernels == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "$DOTK_ISA is unknown here: choose from %s",
                       dk_kernels_names());

    const size_t wanted = options->read_bytes != 0 ? options->read_bytes : GIB;
    const size_t units = (wanted - 1) / DK_READ_UNIT + 1;
    const size_t in_large = LARGE_FROM / DK_READ_UNIT;
    const struct dk_yardstick_kernels *const yardstick = kernels->yardstick;
    const struct dk_fma *const fma = options->bf16 ? &yardstick->fma_bf16 : &yardstick->fma_f32;
    dotk_machine *const machine = dk_alloc(sizeof *machine);
    if (machine == NULL)
        return dk_fail_memory(sizeof *machine, "yardsticks");
    *machine = (dotk_machine){
        .context = context,
        .kernels = yardstick,
        .fma = fma,
        .buffer = dk_alloc_array(units, DK_READ_UNIT),
        .units = units,
        .pieces = dotk_context_threads(context) * (size_t)(units < in_large ? 1 : PIECES),
        .rounds = units < in_large ? in_large / units + 1 : 1,
        .fma_seconds = options->fma_seconds > 0 ? options->fma_seconds : 0.5,
        .slice_steps = steps_of_a_slice(fma),
    };
    const dotk_status status = machine->buffer == NULL
                                   ? dk_fail_memory(wanted, "the buffer to read")
                                   : fill(machine);
    if (status != DOTK_OK) {
        dotk_machine_destroy(machine);
        return status;
    }
    *out = machine;
    return DOTK_OK;
}

void
dotk_machine_destroy(dotk_machine *machine)
{
    if (machine == NULL)
        return;
    dk_free(machine->buffer);
    dk_free(machine);
}
