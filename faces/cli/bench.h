/*
 * bench.h - what dotk bench's files share: sizes to time, and how a thing is timed and printed
 *
 * bench.c has the verb, attention and dense layers; bench_search.c has search.
 */
#ifndef DOTK_CLI_BENCH_H
#define DOTK_CLI_BENCH_H

#include "cli.h"

enum {
    BENCH_SIZES = 32,
    BENCH_INT8 =
        3 /* int8 operations in the time of an f32 one: the peak that screening is held to */
};

/* One line of the answer. */
struct result {
    dotk_timed timed;
    dotk_timing timing;
    json_t *json; /* the size; the figures are added to it */
    char label[64];
    const char *path, *kernel; /* NULL, or what ran */
    double rescored;           /* of a search of codes: rows that it scored in f32, a query */
};

struct bench {
    const struct cli_args *args;
    dotk_context *context;
    json_t *answer;
    size_t data_bytes; /* what the yardstick reads, up to its default        */
    bool codes;        /* a search of codes: held against BENCH_INT8         */
    double bytes_read; /* a search: of each value                             */
    size_t count;
    struct result result[BENCH_SIZES];
};

/* --dim, which has another default for each thing to time. */
size_t bench_width(const struct cli_args *args, size_t otherwise);

/* The product of three sizes, SIZE_MAX where it overflows: an allocation of it fails. */
size_t bench_product(size_t a, size_t b, size_t c);

/* 'count' floats or NULL; large arrays in huge pages, like the library's own memory. */
float *bench_floats(size_t count);

/* Times everything in 'result' and prints it. */
int bench_time(struct bench *bench);

int bench_search(struct bench *bench);

#endif /* DOTK_CLI_BENCH_H */
