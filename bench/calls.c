/*
 * calls.c - what two small calls cost in C: bench/python_calls.py compares with it
 *
 * bench-calls ROWS: prints nanoseconds of dotk_dot() of the first two rows of a vector file, of
 * dotk_index_search() of the first row in all of them (k 10, on the calling thread), and the bytes
 * a second that one and two threads read: the best of some rounds.
 */
#include "bench.h"

#include <time.h>

#define K       10
#define SECONDS 0.01 /* of a round */
#define ROUNDS  20

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

struct call {
    const dotk_vectors *rows;
    dotk_index *index;
    void (*run)(const struct call *call);
};

static void
run_dot(const struct call *call)
{
    volatile float kept = dotk_dot(call->rows->data, call->rows->data + call->rows->stride,
                                   call->rows->dim);

    (void)kept;
}

static void
run_search(const struct call *call)
{
    int64_t ids[K];
    float scores[K];

    bench_check(dotk_index_search(call->index, 1, call->rows->data, 0, K, NULL, ids, scores, NULL));
}

static double
nanoseconds(const struct call *call)
{
    double best = INFINITY;
    size_t times = 1;

    for (int round = 0; round < ROUNDS;) {
        const double began = now();
        for (size_t i = 0; i < times; i++)
            call->run(call);
        const double took = now() - began;
        if (took < SECONDS) {
            times *= 2;
            continue;
        }
        best = fmin(best, took / (double)times);
        round++;
    }
    return best * 1e9;
}

static double
read_bytes(uint32_t threads)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_machine_options yardstick = DOTK_MACHINE_OPTIONS_INIT;
    dotk_machine_reading reading;
    dotk_context *context;
    dotk_machine *machine;

    options.threads = threads;
    yardstick.read_bytes = 512 << 20;
    yardstick.fma_seconds = 0.01;
    bench_check(dotk_context_create(&options, &context));
    bench_check(dotk_machine_create(context, &yardstick, &machine));
    bench_check(dotk_machine_measure(machine, &reading));
    dotk_machine_destroy(machine);
    dotk_context_destroy(context);
    return reading.read;
}

int
main(int argc, char **argv)
{
    struct call call = {NULL, NULL, run_dot};
    dotk_vectors *rows;

    if (argc != 2)
        bench_die("bench-calls ROWS");
    bench_check(dotk_vectors_open(argv[1], NULL, &rows));
    call.rows = rows;
    bench_check(dotk_index_create(NULL, rows->dim, NULL, &call.index));
    bench_check(dotk_index_add(call.index, rows->rows, rows->data, rows->stride, NULL));
    printf("{\"dot\": %.1f, ", nanoseconds(&call));
    call.run = run_search;
    printf("\"search\": %.1f, ", nanoseconds(&call));
    printf("\"read_1\": %.4g, \"read_2\": %.4g}\n", read_bytes(1), read_bytes(2));
    dotk_index_destroy(call.index);
    dotk_vectors_close(rows);
    return 0;
}
