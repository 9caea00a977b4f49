/* forward.c - dotk_attention_forward() and its plan */
#include "attention/attend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "attention/source.h"
#include "attention/visible.h"
#include "attention/watch.h"
#include "platform/clock.h"

/* No query sees a key: zeros, and a log-sum-exp of the sink, if there is one. */
static void
store_nothing(const struct dk_attention *problem)
{
    const dotk_attention_options *const options = &problem->options;
    const size_t size = dk_attention_size(problem);

    if (problem->heads == 0 || problem->queries == 0)
        return;
    for (size_t b = 0; b < problem->batch; b++) {
        for (size_t h = 0; h < problem->heads; h++) {
            char *const out = (char *)problem->out +
                              size * dk_attention_head(&options->output, b, h);
            float *const lse = problem->lse == NULL
                                   ? NULL
                                   : problem->lse + (b * problem->heads + h) * problem->queries;
            for (size_t row = 0; row < problem->queries; row++) {
                memset(out + size * row * options->output.row, 0, size * problem->width);
                if (lse != NULL)
                    lse[row] = options->sinks != NULL ? options->sinks[h] : -INFINITY;
            }
        }
    }
}

static dotk_status
check_forward(struct dk_attention *problem, const void *q, const void *k, const void *v, void *out,
              float *lse)
{
    const dotk_attention_options *const options = &problem->options;
    const dotk_layout dense = {problem->heads * problem->queries, problem->queries, 1};
    const struct dk_attention_array arrays[] = {
        {"q", q, problem->heads, problem->queries, problem->dim, options->query,
         dk_attention_size(problem), false},
        {"k", k, problem->key_heads, problem->keys, problem->dim, options->key,
         dk_attention_key_size(problem), false},
        {"v", v, problem->key_heads, problem->keys, problem->width, options->value,
         dk_attention_value_size(problem), false},
        {"out", out, problem->heads, problem->queries, problem->width, options->output,
         dk_attention_size(problem), true},
        {"lse", lse, problem->heads, problem->queries, lse != NULL, dense, sizeof *lse, true},
    };

    problem->q = q;
    problem->k = k;
    problem->v = v;
    problem->out = out;
    problem->lse = lse;
    return dk_attention_check_arrays(problem, arrays, sizeof arrays / sizeof *arrays);
}

dotk_status
dk_attention_run(struct dk_call *call, const struct dk_attention *problem, double start)
{
    struct dk_attend_plan plan = dk_attend_plan(problem, call->kernels, call->slots);
    dotk_status status = DOTK_OK;

    plan.watch = problem->options.watch != NULL;
    if (plan.watch)
        status = dk_watch_begin(problem, dk_source_block(problem->dim));
    if (status == DOTK_OK && plan.units == 0)
        store_nothing(problem);
    else if (status == DOTK_OK)
        status = dk_attend_run(call, problem, &plan);
    if (status == DOTK_OK && plan.watch)
        dk_watch_end(problem);
    if (status == DOTK_OK && problem->options.stats != NULL)
        *problem->options.stats = (dotk_attention_stats){
            .pairs = dk_visible_pairs(problem),
            .seconds = dk_seconds() - start,
            .path = plan.path,
            .kernel = plan.kernel,
        };
    return status;
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

    status = dk_attention_run(&call, &problem, start);
    dk_call_end(&call);
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
                 dk_min(plan.rows, problem.queries * problem.group),
                 plan.split ? "one chunk" : "all", problem.keys, plan.why);
    return DOTK_OK;
}
