/* forward.c - dotk_attention_forward() and its plan */
#include "attention/attend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "platform/clock.h"

/* No query sees a key: zeros, and a log-sum-exp of -infinity. */
static void
store_nothing(const struct dk_attention *problem)
{
    for (size_t b = 0; b < problem->batch; b++) {
        for (size_t h = 0; h < problem->heads; h++) {
            float *const out = problem->out + dk_attention_head(&problem->output, b, h);
            for (size_t row = 0; row < problem->queries; row++)
                memset(out + row * problem->output.row, 0, problem->width * sizeof *out);
        }
    }
    for (size_t i = 0;
         problem->lse != NULL && i < problem->batch * problem->heads * problem->queries; i++)
        problem->lse[i] = -INFINITY;
}

static uint64_t
pairs_of(const struct dk_attention *problem)
{
    uint64_t pairs = 0;

    for (size_t b = 0; b < problem->batch; b++) {
        const struct dk_prefix_mask mask = dk_attention_mask(problem, b);
        for (size_t row = 0; row < problem->queries; row++)
            pairs += dk_prefix_mask_end(&mask, row);
    }
    return pairs * problem->heads;
}

static dotk_status
check_forward(struct dk_attention *problem, const void *q, const void *k, const void *v, void *out,
              float *lse)
{
    const dotk_layout dense = {problem->heads * problem->queries, problem->queries, 1};
    const struct dk_attention_array arrays[] = {
        {"q", q, problem->queries, problem->dim, problem->query, false},
        {"k", k, problem->keys, problem->dim, problem->key, false},
        {"v", v, problem->keys, problem->width, problem->value, false},
        {"out", out, problem->queries, problem->width, problem->output, true},
        {"lse", lse, problem->queries, lse != NULL, dense, true},
    };

    problem->q = q;
    problem->k = k;
    problem->v = v;
    problem->out = out;
    problem->lse = lse;
    return dk_attention_check_arrays(problem, arrays, sizeof arrays / sizeof *arrays);
}

dotk_status
dotk_attention_forward(dotk_context *context, const dotk_attention_shape *shape, const void *q,
                       const void *k, const void *v, const dotk_attention_options *options,
                       void *out, float *lse)
{
    const double start = dk_seconds();
    struct dk_attention problem;
    struct dk_call call;

    dotk_status status = dk_attention_describe(shape, options, &problem);
    if (status == DOTK_OK)
        status = check_forward(&problem, q, k, v, out, lse);
    if (status == DOTK_OK)
        status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;

    const struct dk_attend_plan plan = dk_attend_plan(&problem, call.kernels, call.slots);
    if (plan.units == 0)
        store_nothing(&problem);
    else
        status = dk_attend_run(&call, &problem, &plan);
    dk_call_end(&call);
    if (status == DOTK_OK && options != NULL && options->stats != NULL)
        *options->stats = (dotk_attention_stats){
            .pairs = pairs_of(&problem),
            .seconds = dk_seconds() - start,
            .path = plan.path,
            .kernel = plan.kernel,
        };
    return status;
}

dotk_status
dotk_attention_plan(dotk_context *context, const dotk_attention_shape *shape,
                    const dotk_attention_options *options, char *out, size_t capacity)
{
    struct dk_attention problem;

    if (out == NULL || capacity == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL or capacity 0: pass room for the text");
    const dotk_status status = dk_attention_describe(shape, options, &problem);
    if (status != DOTK_OK)
        return status;
    const struct dk_kernels *const kernels = dk_context_kernels(context);
    if (kernels == NULL)
        return dk_fail_kernels();
    const struct dk_attend_plan plan = dk_attend_plan(&problem, kernels,
                                                      dotk_context_threads(context));
    if (plan.units == 0)
        snprintf(out, capacity, "%s %s: %s", plan.path, plan.kernel, plan.why);
    else
        snprintf(out, capacity,
                 "%s %s: %zu tasks of up to %zu queries and %s of %zu keys, because %s", plan.path,
                 plan.kernel, plan.split ? plan.units * plan.chunks : plan.units,
                 dk_min(plan.rows, problem.queries), plan.split ? "one chunk" : "all", problem.keys,
                 plan.why);
    return DOTK_OK;
}
