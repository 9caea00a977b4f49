/* backward.c - dotk_attention_backward(): its arguments, and what a gradient begins with */
#include "attention/gradient.h"

#include <string.h>

#include "platform/clock.h"

static dotk_status
check_backward(struct dk_attention *problem, const void *q, const void *k, const void *v,
               const void *out, const float *lse, const void *d_out,
               const dotk_attention_gradients *gradients)
{
    const dotk_attention_options *const options = &problem->options;
    const dotk_layout dense = {problem->heads * problem->queries, problem->queries, 1};
    const dotk_layout single = {0, 1, 1};
    const size_t size = dk_attention_size(problem), dim = problem->dim, width = problem->width;
    const size_t heads = problem->heads, queries = problem->queries;
    const size_t key_heads = problem->key_heads, keys = problem->keys;
    const struct dk_attention_array arrays[] = {
        {"q", q, heads, queries, dim, options->query, size, false},
        {"k", k, key_heads, keys, dim, options->key, size, false},
        {"v", v, key_heads, keys, width, options->value, size, false},
        {"out", out, heads, queries, width, options->output, size, false},
        {"lse", lse, heads, queries, 1, dense, sizeof *lse, false},
        {"d_out", d_out, heads, queries, width, options->output, size, false},
        {"options->sinks", options->sinks, heads, 1, options->sinks != NULL, single, sizeof(float),
         false},
        {"options->slopes", options->slopes, heads, 1, options->slopes != NULL, single,
         sizeof(float), false},
        {"gradients->q", gradients->q, heads, queries, gradients->q != NULL ? dim : 0,
         options->query, size, true},
        {"gradients->k", gradients->k, key_heads, keys, gradients->k != NULL ? dim : 0,
         options->key, size, true},
        {"gradients->v", gradients->v, key_heads, keys, gradients->v != NULL ? width : 0,
         options->value, size, true},
        {"gradients->bias", gradients->bias, heads, queries, gradients->bias != NULL ? keys : 0,
         options->bias_layout, sizeof(float), true},
        {"gradients->sinks", gradients->sinks, heads, 1, gradients->sinks != NULL, single,
         sizeof(float), true},
    };

    if (options->key_scales != NULL || options->value_scales != NULL)
        return dk_fail(DOTK_UNSUPPORTED,
                       "options->%s is given: int8 keys and values have no gradients, widen them "
                       "to f32, f16 or bf16",
                       options->key_scales != NULL ? "key_scales" : "value_scales");
    if (gradients->bias != NULL && options->bias == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "gradients->bias is given and options->bias is NULL: "
                                          "only a bias that is added has a gradient");
    if (gradients->sinks != NULL && options->sinks == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "gradients->sinks is given and options->sinks is NULL: "
                                          "only sinks that take weight have a gradient");
    problem->q = q;
    problem->k = k;
    problem->v = v;
    problem->out = (void *)(uintptr_t)out; /* read only, here */
    problem->lse = (float *)(uintptr_t)lse;
    return dk_attention_check_arrays(problem, arrays, sizeof arrays / sizeof *arrays);
}

static void
zero_bias(const struct dk_attention *problem, float *d_bias)
{
    const dotk_layout *const layout = &problem->options.bias_layout;
    const size_t batch = layout->batch != 0 ? problem->batch : dk_min(problem->batch, 1);
    const size_t heads = layout->head != 0 ? problem->heads : dk_min(problem->heads, 1);
    const size_t rows = layout->row != 0 ? problem->queries : dk_min(problem->queries, 1);

    for (size_t b = 0; b < batch; b++) {
        for (size_t h = 0; h < heads; h++) {
            for (size_t i = 0; i < rows; i++)
                memset(d_bias + dk_attention_head(layout, b, h) + i * layout->row, 0,
                       problem->keys * sizeof *d_bias);
        }
    }
}

static dotk_status
run_backward(struct dk_call *call, struct dk_gradient *gradient)
{
    const struct dk_attention *const problem = gradient->problem;
    const size_t rows = problem->batch * problem->heads * problem->queries;

    gradient->kernels = call->kernels;
    gradient->words = problem->options.store == DOTK_STORE_BF16 ? call->kernels->gradient_bf16
                                                                : call->kernels->gradient;
    gradient->delta = dk_call_alloc(call, rows, sizeof *gradient->delta);
    if (gradient->delta == NULL)
        return dk_fail_memory(rows * sizeof *gradient->delta, "gradients of attention");
    if (gradient->d_bias != NULL)
        zero_bias(problem, gradient->d_bias);
    return dk_gradient_run(call, gradient);
}

dotk_status
dotk_attention_backward(dotk_context *context, const dotk_attention_shape *shape, const void *q,
                        const void *k, const void *v, const dotk_attention_options *options,
                        const void *out, const float *lse, const void *d_out,
                        const dotk_attention_gradients *gradients)
{
    const double start = dk_seconds();
    struct dk_attention problem;
    struct dk_call call;

    if (gradients == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "gradients is NULL: say where they go");
    DK_CHECK_OPTIONS(gradients);
    dotk_status status = dk_attention_describe(shape, options, &problem);
    if (status == DOTK_OK)
        status = check_backward(&problem, q, k, v, out, lse, d_out, gradients);
    if (status == DOTK_OK)
        status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    struct dk_gradient gradient = {
        .problem = &problem,
        .d_out = d_out,
        .dropout = dk_dropout(problem.options.seed, problem.options.dropout),
        .d_q = gradients->q,
        .d_k = gradients->k,
        .d_v = gradients->v,
        .d_bias = gradients->bias,
        .d_sinks = gradients->sinks,
    };
    status = run_backward(&call, &gradient);
    const char *const path = dk_gradient_path(&gradient, call.slots);
    const char *const kernel = gradient.words->name;
    dk_call_end(&call);
    if (status == DOTK_OK && options != NULL && options->stats != NULL)
        *options->stats = (dotk_attention_stats){
            .pairs = dk_visible_pairs(&problem),
            .seconds = dk_seconds() - start,
            .path = path,
            .kernel = strcmp(path, "empty") == 0 ? "-" : kernel,
        };
    return status;
}
