/*
 * bench.h - what the bench programs share: options, the rival, JSON
 *
 * Each program prints one JSON object: {"bench", "threads", "isa", "rival", "machine",
 * "results": [...]}, which bench/run completes and keeps. Timing is dotk_machine_time()'s:
 * ours and the rival's take turns, with readings of the machine in between.
 *
 * The rival is loaded when it is there, so that building dotk never needs it.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* include this header first */
#endif

#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <dotk/dotk.h>

__attribute__((noreturn, format(printf, 1, 2))) static inline void
bench_die(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    exit(1);
}

static inline void
bench_check(dotk_status status)
{
    if (status != DOTK_OK)
        bench_die("%s", dotk_last_message());
}

/* The value of "--name N" in argv, or 'otherwise'. */
static inline size_t
bench_size(int argc, char **argv, const char *name, size_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            char *end;
            const unsigned long long value = strtoull(argv[i + 1], &end, 10);
            if (*end != '\0' || value == 0)
                bench_die("%s %s: a whole number above 0 is wanted", name, argv[i + 1]);
            return (size_t)value;
        }
    }
    return otherwise;
}

static inline bool
bench_flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return true;
    }
    return false;
}

static inline dotk_context *
bench_context(size_t threads)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = (uint32_t)threads;
    bench_check(dotk_context_create(&options, &context));
    return context;
}

/* 'count' elements; large arrays in huge pages, like the library's memory and the yardstick's. */
static inline void *
bench_array(size_t count, size_t size)
{
    const size_t huge = (size_t)2 << 20, align = count * size >= 2 * huge ? huge : 64;
    const size_t bytes = (count * size + align - 1) / align * align;
    void *const out = aligned_alloc(align, bytes);

    if (out == NULL)
        bench_die("no memory for %zu times %zu bytes", count, size);
    if (align == huge)
        (void)madvise(out, bytes, MADV_HUGEPAGE);
    return out;
}

/* rows x dim values in random directions; each row is 'length' long. */
static inline float *
bench_rows(dotk_context *context, size_t rows, size_t dim, float length, uint64_t seed)
{
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float *const out = bench_array(rows * dim, sizeof *out);

    options.kind = DOTK_GENERATE_UNIFORM;
    options.seed = seed;
    bench_check(dotk_generate(context, rows, dim, &options, out));
    for (size_t i = 0; i < rows * dim; i++)
        out[i] *= length;
    return out;
}

/* ------------------------------------------------------------------------- */
/*  The rival: OpenBLAS                                                      */
/* ------------------------------------------------------------------------- */

enum { CBLAS_ROW_MAJOR = 101, CBLAS_AS_IS = 111, CBLAS_TRANSPOSED = 112 };

struct bench_rival {
    char name[256]; /* "" when it is not installed */
    void (*sgemm)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
};

/*
 * Loads OpenBLAS and gives it as many threads as the context has. It chooses its kernels by the
 * CPU: an environment that says otherwise would make an easy rival.
 */
static inline struct bench_rival
bench_load_rival(const dotk_context *context)
{
    struct bench_rival rival = {.name = ""};
    void (*set_threads)(int);
    char *(*config)(void), *(*core)(void);

    unsetenv("OPENBLAS_CORETYPE");
    unsetenv("OPENBLAS_L2_SIZE");
    void *const library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "no OpenBLAS here (%s): timing without a rival\n", dlerror());
        return rival;
    }
    *(void **)&rival.sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&config = dlsym(library, "openblas_get_config");
    *(void **)&core = dlsym(library, "openblas_get_corename");
    if (rival.sgemm == NULL || set_threads == NULL || config == NULL || core == NULL)
        bench_die("libopenblas.so.0 lacks a function: %s", dlerror());
    set_threads((int)dotk_context_threads(context));
    int words = 0; /* "OpenBLAS 0.3.21" of a longer line */
    const char *end = config();
    while (*end != '\0' && !(*end == ' ' && ++words == 2))
        end++;
    snprintf(rival.name, sizeof rival.name, "%.*s sgemm (%s)", (int)(end - config()), config(),
             core());
    return rival;
}

/* c (m, n) = a (m, k) times b (n, k) transposed. */
static inline void
bench_sgemm(const struct bench_rival *rival, size_t m, size_t n, size_t k, const float *a,
            const float *b, float *c)
{
    rival->sgemm(CBLAS_ROW_MAJOR, CBLAS_AS_IS, CBLAS_TRANSPOSED, (int)m, (int)n, (int)k, 1, a,
                 (int)k, b, (int)k, 0, c, (int)n);
}

/* ------------------------------------------------------------------------- */
/*  Timing and printing                                                      */
/* ------------------------------------------------------------------------- */

/* Ours, and what it is compared with. */
struct bench_case {
    char what[256]; /* members of the JSON result that say what was timed: "\"queries\": 8" */
    dotk_timed ours;
    dotk_timed other;       /* run NULL: nothing to compare with                         */
    const char *other_name; /* "rival" for OpenBLAS; the ratio is its time over ours      */
    bool bf16;              /* in the first case: the peak is that of products of bf16    */
};

enum { BENCH_MOST_CASES = 16 };

static inline void
bench_print_timing(const dotk_timed *timed, const dotk_timing *timing)
{
    printf("\"ms\": %.4f, \"gb_per_s\": %.3f, \"gflop_per_s\": %.3f, \"fraction_of_read\": %.4f, "
           "\"fraction_of_fma\": %.4f",
           timing->seconds * 1e3, timed->bytes / timing->seconds * 1e-9,
           timed->flop / timing->seconds * 1e-9, timing->fraction_of_read, timing->fraction_of_fma);
}

/* Times the cases and prints the object. Returns the exit code: 1 when a fraction exceeds 1. */
static inline int
bench_run(const char *name, dotk_context *context, const struct bench_rival *rival,
          size_t read_bytes, size_t rounds, const struct bench_case *cases, size_t count)
{
    dotk_machine_options options = DOTK_MACHINE_OPTIONS_INIT;
    dotk_timed timed[2 * BENCH_MOST_CASES];
    dotk_timing timing[2 * BENCH_MOST_CASES];
    dotk_machine_reading reading;
    dotk_machine *machine;
    size_t things = 0;
    int code = 0;

    for (size_t i = 0; i < count; i++) {
        timed[things++] = cases[i].ours;
        if (cases[i].other.run != NULL)
            timed[things++] = cases[i].other;
    }
    if (read_bytes < (size_t)1 << 30)
        options.read_bytes = read_bytes;
    options.bf16 = cases[0].bf16;
    bench_check(dotk_machine_create(context, &options, &machine));
    bench_check(dotk_machine_time(machine, timed, things, rounds, timing, &reading));
    dotk_machine_destroy(machine);

    printf("{\"bench\": \"%s\", \"threads\": %u, \"isa\": \"%s\", \"rounds\": %zu, \"rival\": ",
           name, (unsigned)dotk_context_threads(context), dotk_context_isa(context), rounds);
    printf(rival->name[0] != '\0' ? "\"%s\",\n" : "null,\n", rival->name);
    printf(" \"machine\": {\"read_gb_per_s\": %.3f, \"fma_gflop_per_s\": %.3f, "
           "\"fma_gflop_per_s_one_thread\": %.3f, \"clock_ghz\": %.3f, \"flop_per_cycle\": %.2f},\n"
           " \"results\": [",
           reading.read * 1e-9, reading.fma * 1e-9, reading.fma_one_thread * 1e-9,
           reading.clock * 1e-9, reading.fma_one_thread / reading.clock);
    for (size_t i = 0, thing = 0; i < count; i++) {
        const dotk_timing *const ours = &timing[thing++];
        printf("%s\n  {%s, ", i == 0 ? "" : ",", cases[i].what);
        bench_print_timing(&cases[i].ours, ours);
        if (cases[i].other.run != NULL) {
            const dotk_timing *const other = &timing[thing++];
            printf(",\n   \"%s\": {", cases[i].other_name);
            bench_print_timing(&cases[i].other, other);
            printf("}, \"ratio\": %.4f", other->relative);
        }
        printf("}");
        if (ours->fraction_of_read > 1 || ours->fraction_of_fma > 1) {
            fprintf(stderr, "%s: a fraction above 1: the yardstick is wrong\n", cases[i].what);
            code = 1;
        }
    }
    printf("\n ]}\n");
    return code;
}

#endif /* BENCH_BENCH_H */
