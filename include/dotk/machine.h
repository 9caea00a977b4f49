/*
 * dotk/machine.h - what this machine can do at best, and vectors to try it on
 *
 *     dotk_machine_create ...... yardsticks; dotk_machine_destroy
 *     dotk_machine_measure ..... one reading of read bandwidth, FMA peak and clock
 *     dotk_machine_time ........ what something takes, as fractions of those
 *     dotk_generate ............ synthetic vectors, the same on every machine
 *
 * A time says little about a program when it does not say of which machine. Every benchmark
 * of dotk therefore reads these yardsticks in the same run, before and after each timing, and
 * reports fractions of them.
 */
#ifndef DOTK_MACHINE_H
#define DOTK_MACHINE_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------- */
/*  Yardsticks                                                               */
/* ------------------------------------------------------------------------- */

/* The yardsticks of one context: its threads, instruction set and page size. */
typedef struct dotk_machine dotk_machine;

typedef struct dotk_machine_options {
    size_t struct_size; /* set by DOTK_MACHINE_OPTIONS_INIT                                    */
    size_t read_bytes;  /* size of the buffer that is read; 0: 1 GiB. Of data that fits a cache */
                        /* the yardstick is a buffer of the same size                           */
    double fma_seconds; /* length of an FMA reading, up to 60; 0: 0.5                           */
    int32_t bf16;       /* 1: FMA readings multiply bf16 and sum in f32, where the instruction  */
                        /* set can; elsewhere f32, as always                                    */
} dotk_machine_options;

#define DOTK_MACHINE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(dotk_machine_options), 0, 0, 0                                                      \
    }

/*
 * Makes the yardsticks and fills the buffer.
 *
 * Memory:  read_bytes. Copies the options, borrows 'context' (NULL allowed) until destroyed;
 *          *out is the caller's: release it with dotk_machine_destroy().
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (fma_seconds out of range), DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_machine_create(dotk_context *context, const dotk_machine_options *options,
                                         dotk_machine **out);

/* Frees the yardsticks. Threads: exclusive. */
DOTK_API void dotk_machine_destroy(dotk_machine *machine);

typedef struct dotk_machine_reading {
    double read;           /* bytes a second: the best of 5 passes over the buffer            */
    double fma;            /* flop a second, of f32 or bf16; with T threads the larger of the */
                           /* reading on all of them and T times that on one, as neighbours   */
                           /* on a shared machine make the former jump                        */
    double fma_one_thread; /* flop a second of the calling thread                             */
    double clock;          /* cycles a second just then, from a chain of dependent additions  */
} dotk_machine_reading;

/*
 * Takes one reading: 5 passes over the buffer and 1 (several threads: 2) times fma_seconds.
 * Under the "portable" instruction set the peak is that of four lanes and, on x86-64, of
 * separate multiplications and additions: many times below the CPU's own.
 *
 * Threads: exclusive; and nothing else should run, of course.
 * Errors:  DOTK_BAD_ARGUMENT, DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_machine_measure(dotk_machine *machine, dotk_machine_reading *out);

/* Something to time. */
typedef struct dotk_timed {
    dotk_status (*run)(void *user); /* does it once; may be called any number of times      */
    void *user;                     /* first argument of run                                */
    double flop;                    /* operations that the result takes: an FMA is two      */
    double bytes;                   /* of input, all of which must be read at least once    */
} dotk_timed;

typedef struct dotk_timing {
    double seconds;          /* of one run: the median                                      */
    double fraction_of_read; /* of the read bandwidth that 'bytes' took: median over rounds */
    double fraction_of_fma;  /* of the FMA peak that 'flop' took: median over rounds        */
    double relative;         /* to the time of the thing before it in the list: median over */
                             /* rounds; of the first: 1                                     */
} dotk_timing;

/*
 * Times 'count' things side by side: 'rounds' times each of them in turn, with a reading of the
 * yardsticks before each and after the last, because a machine drifts within seconds. A
 * fraction compares a run with the mean of the two readings around it. When the FMA peaks of
 * these differ by more than 5 %, somebody else took the core meanwhile: the run is repeated,
 * whatever its own time was (rounds * count times at most, in all).
 *
 * Runs shorter than 20 ms are made several times and the time divided; each thing has run
 * before it is timed.
 *
 *     rounds   at least 1; an odd number has a median of its own
 *     out      (count)
 *     reading  the medians of all readings, or NULL
 *
 * A fraction above 1 shows that the yardstick (or the work stated) is wrong.
 *
 * Threads: exclusive. What is timed should run on the context of the yardsticks.
 * Errors:  DOTK_BAD_ARGUMENT (a NULL, a size of 0), DOTK_NO_MEMORY, DOTK_CANCELLED, and
 *          whatever run() returns but DOTK_OK, which ends the timing.
 */
DOTK_API dotk_status dotk_machine_time(dotk_machine *machine, const dotk_timed *timed, size_t count,
                                       size_t rounds, dotk_timing *out,
                                       dotk_machine_reading *reading);

/* ------------------------------------------------------------------------- */
/*  Synthetic vectors                                                        */
/* ------------------------------------------------------------------------- */

typedef enum dotk_generate_kind {
    DOTK_GENERATE_CLUSTERS = 0, /* about 16,384 centres, as real embeddings are clustered */
    DOTK_GENERATE_UNIFORM = 1   /* directions without any structure                       */
} dotk_generate_kind;

typedef struct dotk_generate_options {
    size_t struct_size;      /* set by DOTK_GENERATE_OPTIONS_INIT                            */
    dotk_generate_kind kind; /* 0: DOTK_GENERATE_CLUSTERS                                    */
    int32_t queries;         /* 1: fresh draws, every tenth of them from no cluster          */
    uint64_t seed;           /* 0: 1                                                         */
    uint64_t first;          /* number of the first row: a set can be made in parts          */
} dotk_generate_options;

#define DOTK_GENERATE_OPTIONS_INIT                                                                 \
    {                                                                                              \
        sizeof(dotk_generate_options), DOTK_GENERATE_CLUSTERS, 0, 0, 0                             \
    }

/*
 * out (rows, dim), dense = vectors of unit length, a function of seed, kind, queries and row
 * number alone: any threads, parts, machine and compiler give the same bits.
 *
 * DOTK_GENERATE_CLUSTERS: a row is c + 1.5 g / sqrt(dim), scaled to unit length, where g is
 * normal and c one of 16,384 centres drawn as g / sqrt(dim) is; centre i is chosen with
 * probability proportional to 1 / (i + 1) (Zipf). Two rows of one centre have a cosine of
 * about 1 / (1 + 1.5^2) = 0.31, others of about 0. DOTK_GENERATE_UNIFORM: g alone.
 *
 * Memory:  borrows out. Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, dim 0 or above 65536, an unknown kind), DOTK_NO_MEMORY,
 *          DOTK_CANCELLED.
 *
 * Method: counter-based random numbers (Salmon et al. 2011, "Parallel random numbers: as easy
 * as 1, 2, 3") with the mixing function of splitmix64 (Steele, Lea and Flood 2014); a normal
 * number is the sum of eight random bytes, so that the arithmetic is of integers and exact.
 */
DOTK_API dotk_status dotk_generate(dotk_context *context, size_t rows, size_t dim,
                                   const dotk_generate_options *options, float *out);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_MACHINE_H */
