/*
 * bench.c - dotk bench: how fast search, attention and a dense layer are, as fractions of what
 * this machine can do at best
 *
 * All sizes of one command are timed side by side, each between two readings of the yardsticks
 * (dotk/machine.h says how). Work is what the answer takes and no more: 2 Q N D for a search,
 * 4 D for a pair that attention does not mask, 2 M N K for a dense layer. Packing, selecting
 * and activating are time, never work. GB/s counts the inputs once, however often they are read.
 */
#define _GNU_SOURCE /* madvise */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ------------------------------------------------------------------------- */
/*  Inputs                                                                   */
/* ------------------------------------------------------------------------- */

size_t
bench_width(const struct cli_args *args, size_t otherwise)
{
    return args->value[OPT_BENCH_DIM].given ? args->value[OPT_BENCH_DIM].size : otherwise;
}

size_t
bench_product(size_t a, size_t b, size_t c)
{
    size_t ab, abc;

    return __builtin_mul_overflow(a, b, &ab) || __builtin_mul_overflow(ab, c, &abc) ? SIZE_MAX
                                                                                    : abc;
}

float *
bench_floats(size_t count)
{
    const size_t huge = (size_t)2 << 20, align = count >= huge ? huge : 64;

    if (count > SIZE_MAX / 2 / sizeof(float))
        return NULL;
    const size_t bytes = (count * sizeof(float) + align - 1) / align * align;
    float *const out = aligned_alloc(align, bytes);
    if (out != NULL && align == huge)
        (void)madvise(out, bytes, MADV_HUGEPAGE);
    return out;
}

/* Makes rows of 'dim' values in random directions, 'length' long: sqrt(dim) for variance 1. */
static int
random_rows(const struct bench *bench, size_t rows, size_t dim, float length, uint64_t seed,
            float **out)
{
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;

    *out = bench_floats(bench_product(rows, dim, 1));
    if (*out == NULL)
        return cli_out_of_memory(bench->args);
    options.kind = DOTK_GENERATE_UNIFORM;
    options.seed = seed;
    const dotk_status status = dotk_generate(bench->context, rows, dim, &options, *out);
    for (size_t i = 0; status == DOTK_OK && i < rows * dim; i++)
        (*out)[i] *= length;
    return cli_report(bench->args, status, NULL);
}

/* ------------------------------------------------------------------------- */
/*  Timing and printing                                                      */
/* ------------------------------------------------------------------------- */

static json_t *
machine_json(const dotk_machine_reading *reading)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "read_gb_per_s", reading->read * 1e-9,
                     "fma_gflop_per_s", reading->fma * 1e-9, "fma_gflop_per_s_one_thread",
                     reading->fma_one_thread * 1e-9, "clock_ghz", reading->clock * 1e-9,
                     "flop_per_cycle", reading->fma_one_thread / reading->clock);
}

static int
add_figures(struct result *result, bool codes)
{
    const dotk_timing *const timing = &result->timing;
    const double per_ns = 1e-9 / timing->seconds;
    json_t *const figures = json_pack(
        "{s:f, s:f, s:f, s:f, s:f}", "ms", timing->seconds * 1e3, "gb_per_s",
        result->timed.bytes * per_ns, "gflop_per_s", result->timed.flop * per_ns,
        "fraction_of_read", timing->fraction_of_read,
        codes ? "fraction_of_int8" : "fraction_of_fma", timing->fraction_of_fma);
    int failed = json_object_update(result->json, figures);

    if (codes)
        failed |= json_object_set_new(result->json, "rescored", json_real(result->rescored));

    if (result->path != NULL)
        failed |= json_object_set_new(result->json, "path", json_string(result->path)) |
                  json_object_set_new(result->json, "kernel", json_string(result->kernel));
    json_decref(figures);
    return failed;
}

static int
print_json(struct bench *bench, const dotk_machine_reading *reading)
{
    json_t *const results = json_array();
    int failed = json_object_set_new(bench->answer, "machine", machine_json(reading)) |
                 json_object_set(bench->answer, "results", results);

    for (size_t i = 0; i < bench->count; i++) {
        failed |= add_figures(&bench->result[i], bench->codes);
        failed |= json_array_append(results, bench->result[i].json);
    }
    json_decref(results);
    if (failed)
        return cli_out_of_memory(bench->args);
    return cli_json_print(bench->args, json_incref(bench->answer));
}

static void
print_table(const struct bench *bench, const dotk_machine_reading *reading)
{
    printf("%u thread%s, %s; at best %.1f GB/s, %.1f GFLOP/s (one thread %.1f: %.1f a cycle of "
           "%.2f GHz)\n\n",
           (unsigned)dotk_context_threads(bench->context),
           dotk_context_threads(bench->context) == 1 ? "" : "s", dotk_context_isa(bench->context),
           reading->read * 1e-9, reading->fma * 1e-9, reading->fma_one_thread * 1e-9,
           reading->fma_one_thread / reading->clock, reading->clock * 1e-9);
    printf("%-24s %10s %8s %9s %8s %8s\n", "", "ms", "GB/s", "GFLOP/s", "of read",
           bench->codes ? "of int8" : "of FMA");
    for (size_t i = 0; i < bench->count; i++) {
        const struct result *const result = &bench->result[i];
        const double per_ns = 1e-9 / result->timing.seconds;
        printf("%-24s %10.3f %8.1f %9.1f %8.3f %8.3f", result->label, result->timing.seconds * 1e3,
               result->timed.bytes * per_ns, result->timed.flop * per_ns,
               result->timing.fraction_of_read, result->timing.fraction_of_fma);
        printf(result->path != NULL ? "  %s %s\n" : "\n", result->path, result->kernel);
    }
}

/*
 * No program beats the machine: who seems to has found a yardstick that is too short. The peak of
 * int8 is a definition, which a machine may well beat.
 */
static int
check_fractions(const struct bench *bench)
{
    for (size_t i = 0; i < bench->count; i++) {
        const dotk_timing *const timing = &bench->result[i].timing;
        const bool read = timing->fraction_of_read > 1;
        if (read || (timing->fraction_of_fma > 1 && !bench->codes))
            return cli_fail(bench->args, CLI_FAILURE,
                            "%s: a fraction of %.3f of the %s is impossible, so the yardstick is "
                            "wrong; is the machine busy with something else?",
                            bench->result[i].label,
                            read ? timing->fraction_of_read : timing->fraction_of_fma,
                            read ? "read bandwidth" : "FMA peak");
    }
    return CLI_OK;
}

int
bench_time(struct bench *bench)
{
    const struct cli_args *const args = bench->args;
    dotk_machine_options options = DOTK_MACHINE_OPTIONS_INIT;
    dotk_timed timed[BENCH_SIZES];
    dotk_timing timing[BENCH_SIZES];
    dotk_machine_reading reading;
    dotk_machine *machine;

    if (bench->data_bytes < (size_t)1 << 30)
        options.read_bytes = bench->data_bytes;
    options.fma_seconds = args->value[OPT_FMA_SECONDS].real;
    for (size_t i = 0; i < bench->count; i++) {
        timed[i] = bench->result[i].timed;
        if (bench->codes)
            timed[i].flop /= BENCH_INT8;
    }
    dotk_status status = dotk_machine_create(bench->context, &options, &machine);
    cli_stage(NULL); /* the bar is no part of what is timed */
    if (status == DOTK_OK)
        status = dotk_machine_time(machine, timed, bench->count, args->value[OPT_ROUNDS].size,
                                   timing, &reading);
    dotk_machine_destroy(machine);
    int code = cli_report(args, status, NULL);
    if (code != CLI_OK)
        return code;
    for (size_t i = 0; i < bench->count; i++)
        bench->result[i].timing = timing[i];
    if (args->value[OPT_JSON].given)
        code = print_json(bench, &reading);
    else
        print_table(bench, &reading);
    return code == CLI_OK ? check_fractions(bench) : code;
}

/* ------------------------------------------------------------------------- */
/*  Attention                                                                */
/* ------------------------------------------------------------------------- */

struct attention {
    dotk_context *context;
    dotk_attention_shape shape;
    dotk_attention_options options;
    float *q, *k, *v, *out;
};

static dotk_status
run_attention(void *user)
{
    const struct attention *const attention = user;

    return dotk_attention_forward(attention->context, &attention->shape, attention->q, attention->k,
                                  attention->v, &attention->options, attention->out, NULL);
}

static int
bench_attention(struct bench *bench)
{
    const struct cli_args *const args = bench->args;
    const size_t batch = args->value[OPT_BATCH].size, heads = args->value[OPT_HEADS].size;
    const size_t length = args->value[OPT_LENGTH].size, dim = bench_width(args, 64);
    const bool causal = args->value[OPT_CAUSAL].given;
    const size_t rows = bench_product(batch, heads, length);
    const double keys = causal ? ((double)length + 1) / 2 : (double)length; /* seen by a query */
    struct attention attention = {.context = bench->context,
                                  .options = DOTK_ATTENTION_OPTIONS_INIT};
    struct result *const result = &bench->result[0];

    attention.shape = (dotk_attention_shape){batch, heads, length, length, dim, dim, 0};
    attention.options.causal = causal;
    bench->data_bytes = bench_product(rows, dim, 3 * sizeof(float));
    attention.out = bench_floats(bench_product(rows, dim, 1));
    int code = attention.out == NULL ? cli_out_of_memory(args) : CLI_OK;
    float **const inputs[3] = {&attention.q, &attention.k, &attention.v};
    for (uint64_t i = 0; i < 3 && code == CLI_OK; i++)
        code = random_rows(bench, rows, dim, sqrtf((float)dim), i + 1, inputs[i]);
    if (code == CLI_OK) {
        result->timed = (dotk_timed){run_attention, &attention,
                                     4.0 * (double)dim * (double)rows * keys,
                                     (double)bench->data_bytes};
        result->json = json_pack("{s:I, s:I, s:I, s:I, s:b}", "batch", (json_int_t)batch, "heads",
                                 (json_int_t)heads, "length", (json_int_t)length, "dim",
                                 (json_int_t)dim, "causal", causal);
        snprintf(result->label, sizeof result->label, "B%zu H%zu L%zu D%zu%s", batch, heads, length,
                 dim, causal ? " causal" : "");
        bench->count = 1;
        code = result->json == NULL ? cli_out_of_memory(args) : bench_time(bench);
    }
    free(attention.q);
    free(attention.k);
    free(attention.v);
    free(attention.out);
    return code;
}

/* ------------------------------------------------------------------------- */
/*  Dense                                                                    */
/* ------------------------------------------------------------------------- */

struct dense {
    dotk_context *context;
    size_t m, n, inner;
    dotk_dense_options options;
    dotk_dense_weights *weights; /* NULL: plain */
    float *x, *w, *bias, *y;
};

static dotk_status
run_dense(void *user)
{
    const struct dense *const dense = user;

    if (dense->weights != NULL)
        return dotk_dense_forward(dense->context, dense->weights, dense->m, dense->x,
                                  &dense->options, dense->y);
    return dotk_dense(dense->context, dense->m, dense->n, dense->inner, dense->x, dense->w,
                      dense->bias, &dense->options, dense->y);
}

static int
dense_inputs(const struct bench *bench, struct dense *dense)
{
    const float length = sqrtf((float)dense->inner);
    int code = random_rows(bench, dense->m, dense->inner, length, 1, &dense->x);

    if (code == CLI_OK) /* rows of length 1 keep the variance of x */
        code = random_rows(bench, dense->n, dense->inner, 1, 2, &dense->w);
    if (code == CLI_OK)
        code = random_rows(bench, dense->n, 1, 1, 3, &dense->bias);
    if (code != CLI_OK)
        return code;
    dense->y = bench_floats(bench_product(dense->m, dense->n, 1));
    if (dense->y == NULL)
        return cli_out_of_memory(bench->args);
    if (!bench->args->value[OPT_PREPARED].given)
        return CLI_OK;
    return cli_report(
        bench->args,
        dotk_dense_prepare(dense->n, dense->inner, dense->w, 0, dense->bias, &dense->weights),
        NULL);
}

static int
bench_dense(struct bench *bench)
{
    const struct cli_args *const args = bench->args;
    struct dense dense = {
        .context = bench->context,
        .m = args->value[OPT_M].size,
        .n = args->value[OPT_N].size,
        .inner = args->value[OPT_INNER].size,
        .options = DOTK_DENSE_OPTIONS_INIT,
    };
    struct result *const result = &bench->result[0];
    int code = dense_inputs(bench, &dense);

    dense.options.activation = (dotk_activation)args->value[OPT_ACTIVATION].choice;
    if (code == CLI_OK) {
        const double m = (double)dense.m, n = (double)dense.n, inner = (double)dense.inner;
        result->timed = (dotk_timed){run_dense, &dense, 2 * m * n * inner,
                                     4 * (m * inner + n * inner + n)};
        bench->data_bytes = (size_t)result->timed.bytes;
        result->json = json_pack("{s:I, s:I, s:I, s:s, s:b}", "m", (json_int_t)dense.m, "n",
                                 (json_int_t)dense.n, "inner", (json_int_t)dense.inner,
                                 "activation", dotk_activation_name(dense.options.activation),
                                 "prepared", dense.weights != NULL);
        snprintf(result->label, sizeof result->label, "%zu x %zu x %zu%s", dense.m, dense.n,
                 dense.inner, dense.weights != NULL ? " prepared" : "");
        bench->count = 1;
        code = result->json == NULL ? cli_out_of_memory(args) : bench_time(bench);
    }
    free(dense.x);
    free(dense.w);
    free(dense.bias);
    free(dense.y);
    dotk_dense_destroy(dense.weights);
    return code;
}

/* ------------------------------------------------------------------------- */
/*  The verb                                                                 */
/* ------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int (*run)(struct bench *bench);
} kinds[] = {{"search", bench_search}, {"attention", bench_attention}, {"dense", bench_dense}};

enum { SEARCH = 1, ATTENTION = 2, DENSE = 4 }; /* bit i: kinds[i] */

/* Refuses an option that what is timed has no use for. */
static int
check_options(const struct cli_args *args, size_t kind)
{
    static const struct {
        enum cli_option option;
        unsigned kinds;
    } known[] = {{OPT_K, SEARCH},         {OPT_METRIC, SEARCH},
                 {OPT_ROWS, SEARCH},      {OPT_QUERIES, SEARCH},
                 {OPT_VECTORS, SEARCH},   {OPT_DATA, SEARCH},
                 {OPT_SCREEN, SEARCH},    {OPT_STORE, SEARCH},
                 {OPT_BATCH, ATTENTION},  {OPT_BENCH_DIM, SEARCH | ATTENTION},
                 {OPT_HEADS, ATTENTION},  {OPT_LENGTH, ATTENTION},
                 {OPT_CAUSAL, ATTENTION}, {OPT_M, DENSE},
                 {OPT_N, DENSE},          {OPT_INNER, DENSE},
                 {OPT_PREPARED, DENSE},   {OPT_ACTIVATION, DENSE}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!args->value[known[i].option].given || (known[i].kinds >> kind & 1) != 0)
            continue;
        char homes[64];
        size_t used = 0;
        for (size_t j = 0; j < sizeof kinds / sizeof kinds[0]; j++)
            if ((known[i].kinds >> j & 1) != 0)
                used += (size_t)snprintf(homes + used, sizeof homes - used, "%s'bench %s'",
                                         used > 0 ? " and " : "", kinds[j].name);
        return cli_fail(args, CLI_USAGE, "%s goes with %s", cli_option_name(known[i].option),
                        homes);
    }
    return CLI_OK;
}

int
verb_bench(const struct cli_args *args)
{
    struct bench bench = {.args = args};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(args->operand[0], kinds[i].name) != 0)
            continue;
        const struct cli_value *const seconds = &args->value[OPT_FMA_SECONDS];
        int code = check_options(args, i);
        if (code == CLI_OK && !(seconds->real > 0 && seconds->real <= 60))
            code = cli_fail(args, CLI_USAGE, "--fma-seconds is %s: give seconds above 0, up to 60",
                            seconds->text);
        if (code == CLI_OK)
            code = cli_context(args, &bench.context);
        if (code != CLI_OK)
            return code;
        cli_stage("preparing");
        bench.answer = json_pack("{s:s, s:s, s:s, s:i, s:s}", "schema", "dotk.bench/1", "version",
                                 dotk_version(), "bench", kinds[i].name, "threads",
                                 (int)dotk_context_threads(bench.context), "isa",
                                 dotk_context_isa(bench.context));
        code = bench.answer == NULL ? cli_out_of_memory(args) : kinds[i].run(&bench);
        for (size_t r = 0; r < bench.count; r++)
            json_decref(bench.result[r].json);
        json_decref(bench.answer);
        dotk_context_destroy(bench.context);
        return code;
    }
    return cli_fail(args, CLI_USAGE, "'%s': search, attention or dense can be timed",
                    args->operand[0]);
}
