/*
 * generate.c - synthetic vectors whose bits depend on nothing but the seed
 *
 * The usual generator is a sequence: its numbers depend on how many were drawn before, so
 * threads and parts change them. Here every number is a hash of its coordinates (seed, stream,
 * row, dimension). And the usual normal number goes through log() and cos(), which differ
 * between libraries in the last bit; here it is the sum of eight random bytes (Irwin-Hall: mean
 * 1020, variance 43,690, tails end at 4.9 deviations), so a row is exact integer arithmetic up to
 * the one division by its length, and 500,000 rows of 768 take seconds.
 */
#include <dotk/machine.h>

#include "platform/memory.h"
#include "platform/status.h"
#include "tile/tile.h"

#include <math.h>

enum {
    CENTRES = 16384,
    MAX_DIM = 65536,
    NORMAL_MEAN = 8 * 255 / 2,
    /* c + 1.5 g, times 2: the length of a row does not matter before it is scaled to 1. */
    CENTRE_WEIGHT = 2,
    SPREAD_WEIGHT = 3,
    NO_CLUSTER_EVERY = 10, /* queries */
    TASK_VALUES = 1 << 20, /* a task fills about this many: 5 ms */
};

/* Independent sequences of random numbers of one seed. */
enum stream { STREAM_CENTRES, STREAM_CHOICE, STREAM_ROWS, STREAM_QUERY_CHOICE, STREAM_QUERIES };

static const uint64_t GOLDEN = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio, odd */

/* splitmix64's finaliser: a bijection that spreads every input bit over all output bits. */
static inline uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t
key_of(uint64_t seed, enum stream stream, uint64_t row)
{
    return mix(mix(mix(seed + GOLDEN) + ((uint64_t)stream + 1) * GOLDEN) + row * GOLDEN);
}

/* The sum of the eight bytes of random number i under 'key', less its mean. */
static inline int32_t
normal(uint64_t key, size_t i)
{
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff), x = mix(key + (i + 1) * GOLDEN);
    const uint64_t pairs = (x & even) + (x >> 8 & even);

    return (int32_t)(pairs * UINT64_C(0x0001000100010001) >> 48) - NORMAL_MEAN;
}

struct job {
    const dotk_generate_options *options;
    uint64_t seed;
    size_t rows, dim, rows_per_task;
    const double *upto; /* upto[i]: sum of the weights of centres 0 .. i */
    float *out;
};

/* The centre that the random number u chooses: the first whose sum exceeds its share. */
static size_t
choose_centre(const double *upto, uint64_t u)
{
    const double share = (double)(u >> 11) * 0x1p-53 * upto[CENTRES - 1];
    size_t low = 0, high = CENTRES - 1;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (upto[middle] > share)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void
generate_row(const struct job *job, uint64_t row, float *out)
{
    const int queries = job->options->queries != 0;
    const uint64_t key = key_of(job->seed, queries ? STREAM_QUERIES : STREAM_ROWS, row);
    const int clustered = job->options->kind == DOTK_GENERATE_CLUSTERS &&
                          !(queries && row % NO_CLUSTER_EVERY == NO_CLUSTER_EVERY - 1);
    uint64_t centre_key = 0;
    int64_t square = 0; /* below 2^40: |value| <= 5 * 1020, at most 2^16 of them */

    if (clustered) {
        const uint64_t choice = key_of(job->seed, queries ? STREAM_QUERY_CHOICE : STREAM_CHOICE,
                                       row);
        centre_key = key_of(job->seed, STREAM_CENTRES, choose_centre(job->upto, choice));
    }
    for (size_t d = 0; d < job->dim; d++) {
        int32_t value = SPREAD_WEIGHT * normal(key, d);
        if (clustered)
            value += CENTRE_WEIGHT * normal(centre_key, d);
        square += (int64_t)value * value;
        out[d] = (float)value;
    }
    if (square == 0) { /* in practice only when dim is 1 */
        out[0] = 1;
        return;
    }
    const double scale = 1 / sqrt((double)square);
    for (size_t d = 0; d < job->dim; d++)
        out[d] = (float)(out[d] * scale);
}

static void
generate_task(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    const size_t from = task * job->rows_per_task;
    const size_t to = dk_min(from + job->rows_per_task, job->rows);

    (void)slot;
    for (size_t row = from; row < to; row++)
        generate_row(job, job->options->first + row, job->out + row * job->dim);
}

static dotk_status
check(size_t rows, size_t dim, const dotk_generate_options *options, const float *out)
{
    size_t values, bytes;

    if (options->kind != DOTK_GENERATE_CLUSTERS && options->kind != DOTK_GENERATE_UNIFORM)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->kind is %d: take 0 (clusters) or 1 (uniform)",
                       (int)options->kind);
    if (dim == 0 || dim > MAX_DIM)
        return dk_fail(DOTK_BAD_ARGUMENT, "dim is %zu: at least 1, at most %d", dim, MAX_DIM);
    if (out == NULL && rows != 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass room for rows * dim values");
    if (!dk_mul(rows, dim, &values) || !dk_mul(values, sizeof *out, &bytes))
        return dk_fail(DOTK_BAD_ARGUMENT, "rows is %zu: rows * dim overflows", rows);
    return DOTK_OK;
}

dotk_status
dotk_generate(dotk_context *context, size_t rows, size_t dim, const dotk_generate_options *options,
              float *out)
{
    static const dotk_generate_options defaults = DOTK_GENERATE_OPTIONS_INIT;
    struct dk_call call;

    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &defaults;
    dotk_status status = check(rows, dim, options, out);
    if (status != DOTK_OK)
        return status;
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    double *const upto = dk_call_alloc(&call, CENTRES, sizeof *upto);
    if (upto == NULL) {
        status = dk_fail_memory(CENTRES * sizeof *upto, "the sizes of clusters");
    } else {
        upto[0] = 1;
        for (size_t i = 1; i < CENTRES; i++)
            upto[i] = upto[i - 1] + 1 / (double)(i + 1);
        struct job job = {
            .options = options,
            .seed = options->seed != 0 ? options->seed : 1,
            .rows = rows,
            .dim = dim,
            .rows_per_task = dk_max(TASK_VALUES / dim, 1),
            .upto = upto,
            .out = out,
        };
        const size_t tasks = rows / job.rows_per_task + (rows % job.rows_per_task != 0);
        status = dk_call_run(&call, tasks, generate_task, &job);
    }
    dk_call_end(&call);
    return status;
}
