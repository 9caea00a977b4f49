/* delta.c - products of output rows and their gradients, and the gradients of sinks */
#include <math.h>
#include <string.h>

#include "attention/gradient.h"
#include "attention/source.h"

enum { TASK_ROWS = 4096, LANES = 16 };

struct deltas {
    const struct dk_gradient *gradient;
    size_t pieces; /* of TASK_ROWS queries, in a head */
    float **wide;  /* for each slot two widened rows; NULL where rows are f32 */
    double *share; /* of each task in the gradient of its head's sink; NULL: not wanted */
};

static float
dot(const float *a, const float *b, size_t count)
{
    float lane[LANES] = {0}, rest = 0;
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (size_t l = 0; l < LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    }
    for (; i < count; i++)
        rest += a[i] * b[i];
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++)
            lane[l] += lane[l + half];
    }
    return lane[0] + rest;
}

static bool
all_zero(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] != 0)
            return false;
    }
    return true;
}

static const float *
f32_row(const struct deltas *deltas, const void *array, size_t at, float *wide)
{
    const struct dk_attention *const problem = deltas->gradient->problem;
    const char *const row = (const char *)array + at * dk_attention_size(problem);

    if (wide == NULL)
        return (const float *)(const void *)row;
    dk_widen_store(deltas->gradient->kernels, problem->options.store, row, problem->width, wide);
    return wide;
}

static void
run_deltas(void *arg, size_t task, size_t slot)
{
    const struct deltas *const deltas = arg;
    const struct dk_gradient *const gradient = deltas->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const dotk_layout *const layout = &problem->options.output;
    const size_t head = task / deltas->pieces, b = head / problem->heads;
    const size_t first = task % deltas->pieces * TASK_ROWS;
    const size_t end = dk_min(first + TASK_ROWS, problem->queries);
    float *const wide = deltas->wide != NULL ? deltas->wide[slot] : NULL;
    double share = 0;

    for (size_t i = first; i < end; i++) {
        const size_t at = dk_attention_head(layout, b, head % problem->heads) + i * layout->row;
        const size_t row = head * problem->queries + i;
        const float *const out = f32_row(deltas, problem->out, at, wide);
        const float *const d_out = f32_row(deltas, gradient->d_out, at,
                                           wide != NULL ? wide + problem->width : NULL);
        gradient->delta[row] = dot(out, d_out, problem->width);
        if (deltas->share == NULL)
            continue;
        const float sink = problem->options.sinks[head % problem->heads];
        /* a row that saw nothing has no share, whatever its gradient holds */
        if (problem->lse[row] != sink || !all_zero(out, problem->width))
            share -= exp((double)sink - (double)problem->lse[row]) * (double)gradient->delta[row];
    }
    if (deltas->share != NULL)
        deltas->share[task] = share;
}

dotk_status
dk_gradient_deltas(struct dk_call *call, const struct dk_gradient *gradient)
{
    const struct dk_attention *const problem = gradient->problem;
    const size_t heads = problem->batch * problem->heads;
    struct deltas deltas = {
        .gradient = gradient,
        .pieces = (problem->queries + TASK_ROWS - 1) / TASK_ROWS,
    };

    if (problem->options.store != DOTK_STORE_F32) {
        deltas.wide = dk_call_alloc(call, call->slots, sizeof *deltas.wide);
        for (size_t slot = 0; deltas.wide != NULL && slot < call->slots; slot++) {
            deltas.wide[slot] = dk_call_alloc(call, 2 * problem->width, sizeof(float));
            if (deltas.wide[slot] == NULL)
                deltas.wide = NULL;
        }
        if (deltas.wide == NULL)
            return dk_fail_memory(2 * problem->width * sizeof(float), "gradients of attention");
    }
    if (gradient->d_sinks != NULL) {
        deltas.share = dk_call_alloc(call, heads * deltas.pieces, sizeof *deltas.share);
        if (deltas.share == NULL)
            return dk_fail_memory(heads * deltas.pieces * sizeof *deltas.share,
                                  "gradients of attention");
    }
    const dotk_status status = dk_call_run(call, heads * deltas.pieces, run_deltas, &deltas);
    if (status != DOTK_OK || gradient->d_sinks == NULL)
        return status;
    for (size_t h = 0; h < problem->heads; h++) {
        double sum = 0;
        for (size_t b = 0; b < problem->batch; b++) {
            for (size_t i = 0; i < deltas.pieces; i++)
                sum += deltas.share[(b * problem->heads + h) * deltas.pieces + i];
        }
        gradient->d_sinks[h] = (float)sum;
    }
    return DOTK_OK;
}
