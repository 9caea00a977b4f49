/*
 * multihead.c - the multi-head module's forward pass: three products, attention, one product
 *
 * Projected rows lie as their inputs do, so that a projection is one product whichever axis comes
 * first, and attention finds heads by strides: nothing is transposed. Keys that the module adds
 * stand before the others, not behind as in PyTorch: a causal mask with an offset then lets every
 * query see them, and softmax does not mind. Returned weights are turned round.
 */
#include "nn/multihead.h"

#include <math.h>
#include <string.h>

#include <dotk/dense.h>

/* ------------------------------------------------------------------------- */
/*  Masks                                                                    */
/* ------------------------------------------------------------------------- */

/* Rows of bytes where 1 hides, as rows where 0 does, behind keys that nothing hides. */
static const uint8_t *
turned_mask(struct dk_call *call, const struct dk_multihead *module, const uint8_t *mask,
            size_t rows)
{
    const size_t keys = module->keys, all = module->all_keys;
    uint8_t *const out = dk_call_alloc(call, dk_max(rows * all, 1), 1);

    for (size_t r = 0; out != NULL && r < rows; r++) {
        uint8_t *const to = out + r * all;
        memset(to, 1, module->added);
        for (size_t j = 0; j < keys; j++)
            to[module->added + j] = mask[r * keys + j] == 0;
    }
    return out;
}

/* Row r of (rows) is the sum of rows of a bias, behind zeros for keys that are added. */
struct bias_sum {
    const float *attn, *padding; /* either may be NULL                            */
    const uint8_t *hidden;       /* NULL, or in place of padding: 1 hides         */
    size_t attn_rows;            /* row r of the sum has row r % attn_rows of it  */
    size_t padding_every;        /* and row r / padding_every of the others       */
};

static const float *
summed_bias(struct dk_call *call, const struct dk_multihead *module, const struct bias_sum *sum,
            size_t rows)
{
    const size_t keys = module->keys, all = module->all_keys;
    float *const out = dk_call_alloc(call, dk_max(rows * all, 1), sizeof *out);

    for (size_t r = 0; out != NULL && r < rows; r++) {
        float *const to = out + r * all + module->added;
        const size_t attn = sum->attn != NULL ? r % sum->attn_rows * keys : 0;
        const size_t padding = r / sum->padding_every * keys;
        memset(out + r * all, 0, module->added * sizeof *out);
        for (size_t j = 0; j < keys; j++) {
            to[j] = sum->attn != NULL ? sum->attn[attn + j] : 0;
            if (sum->padding != NULL)
                to[j] += sum->padding[padding + j];
            if (sum->hidden != NULL && sum->hidden[padding + j])
                to[j] = -INFINITY;
        }
    }
    return out;
}

/* The strides of (B or 1, H or 1, L, S') rows. */
static dotk_layout
attn_layout(const struct dk_multihead *module, bool per_batch)
{
    const size_t entry = module->queries * module->all_keys;

    if (module->options.mask_per_head)
        return (dotk_layout){module->heads * entry, entry, module->all_keys};
    return (dotk_layout){per_batch ? entry : 0, 0, module->all_keys};
}

static dotk_status
fail_masks(const struct dk_multihead *module, size_t rows, size_t size)
{
    return dk_fail_memory(rows * module->all_keys * size, "a copy of the masks");
}

static dotk_status
attn_masks(struct dk_call *call, struct dk_multihead *module)
{
    const dotk_multihead_options *const options = &module->options;
    const bool both = options->attn_bias != NULL && options->key_padding_bias != NULL;
    const size_t entry = options->mask_per_head ? module->heads * module->queries : module->queries;
    const size_t rows = both || options->mask_per_head ? module->batch * entry : entry;

    if (options->attn_mask != NULL) {
        module->attention.mask = turned_mask(call, module, options->attn_mask, rows);
        module->attention.mask_layout = attn_layout(module, false);
        if (module->attention.mask == NULL)
            return fail_masks(module, rows, 1);
    }
    if (options->attn_bias != NULL) {
        const struct bias_sum sum = {
            .attn = options->attn_bias,
            .padding = options->key_padding_bias,
            .attn_rows = options->mask_per_head ? dk_max(rows, 1) : dk_max(entry, 1),
            .padding_every = dk_max(entry, 1),
        };
        module->attention.bias = both || module->added > 0 ? summed_bias(call, module, &sum, rows)
                                                           : options->attn_bias;
        module->attention.bias_layout = attn_layout(module, both);
        if (module->attention.bias == NULL)
            return fail_masks(module, rows, sizeof(float));
    }
    return DOTK_OK;
}

/* A mask of keys takes whichever of attention's two masks is free; a bias may be in the sum
 * already. */
static dotk_status
padding_masks(struct dk_call *call, struct dk_multihead *module)
{
    const dotk_multihead_options *const options = &module->options;
    const dotk_layout layout = {module->all_keys, 0, 0};
    const struct bias_sum sum = {
        .padding = options->key_padding_bias,
        .hidden = options->key_padding_mask,
        .padding_every = 1,
    };

    if (options->key_padding_mask != NULL && options->attn_mask == NULL) {
        module->attention.mask = turned_mask(call, module, options->key_padding_mask,
                                             module->batch);
        module->attention.mask_layout = layout;
        return module->attention.mask != NULL ? DOTK_OK : fail_masks(module, module->batch, 1);
    }
    if (options->attn_bias != NULL ||
        (options->key_padding_mask == NULL && options->key_padding_bias == NULL))
        return DOTK_OK;
    module->attention.bias = options->key_padding_bias != NULL && module->added == 0
                                 ? options->key_padding_bias
                                 : summed_bias(call, module, &sum, module->batch);
    module->attention.bias_layout = layout;
    return module->attention.bias != NULL ? DOTK_OK
                                          : fail_masks(module, module->batch, sizeof(float));
}

dotk_status
dk_multihead_masks(struct dk_call *call, struct dk_multihead *module)
{
    const dotk_status status = attn_masks(call, module);
    return status == DOTK_OK ? padding_masks(call, module) : status;
}

/* ------------------------------------------------------------------------- */
/*  Projections                                                              */
/* ------------------------------------------------------------------------- */

/* The keys or values that the module adds, before those of each batch entry. */
static void
add_rows(const struct dk_multihead *module, const struct dk_multihead_projection *projection)
{
    const size_t bytes = module->width * sizeof(float);

    for (size_t n = 0; n < module->batch; n++) {
        for (size_t j = 0; j < projection->added; j++) {
            float *const to = projection->output + dk_multihead_row(module, module->all_keys, n, j);
            if (j == 0 && projection->first != NULL)
                memcpy(to, projection->first, bytes);
            else
                memset(to, 0, bytes);
        }
    }
}

static dotk_status
project(struct dk_call *call, dotk_context *context, const struct dk_multihead *module,
        const struct dk_multihead_projection *projection)
{
    const size_t M = module->width, keys = module->keys, added = projection->added;
    /* With batches first, added rows stand between them: there the product comes from elsewhere. */
    const bool apart = added > 0 && module->options.batch_first && module->batch > 1;
    float *out = projection->output;

    if (apart) {
        out = dk_call_alloc(call, projection->rows * M, sizeof *out);
        if (out == NULL)
            return dk_fail_memory(projection->rows * M * sizeof *out, "projected keys");
    } else if (added > 0) {
        out += added * module->batch * M;
    }
    if (projection->rows > 0) {
        const dotk_status status = dotk_dense(context, projection->rows, M, projection->width,
                                              projection->input, projection->weight,
                                              projection->bias, NULL, out);
        if (status != DOTK_OK)
            return status;
    }
    for (size_t n = 0; apart && n < module->batch; n++)
        memcpy(projection->output + dk_multihead_row(module, module->all_keys, n, added),
               out + n * keys * M, keys * M * sizeof *out);
    add_rows(module, projection);
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Weights                                                                  */
/* ------------------------------------------------------------------------- */

/* The added keys go behind the others. */
static void
turn_weights(const struct dk_multihead *module, float *weights)
{
    const size_t heads = module->options.weights_per_head ? module->heads : 1;
    const size_t rows = module->batch * heads * module->queries;
    float first[2];

    for (size_t r = 0; module->added > 0 && r < rows; r++) {
        float *const row = weights + r * module->all_keys;
        memcpy(first, row, module->added * sizeof *row);
        memmove(row, row + module->added, module->keys * sizeof *row);
        memcpy(row + module->keys, first, module->added * sizeof *row);
    }
}

/* ------------------------------------------------------------------------- */
/*  Steps                                                                    */
/* ------------------------------------------------------------------------- */

void
dk_multihead_deal(struct dk_call *call, size_t steps, const double *work, size_t *share)
{
    enum { SHARES = 1000 };
    double all = 1;

    for (size_t i = 0; i < steps; i++)
        all += work[i] > 0 ? work[i] : 0;
    call->parts = 0;
    for (size_t i = 0; i < steps; i++) {
        share[i] = work[i] < 0 ? 0 : DK_STEP_LEAST + (size_t)(SHARES * work[i] / all);
        call->parts += share[i];
    }
}

/* Of the forward pass; the first are the projections. */
enum { ATTEND = DK_PROJECTIONS, WEIGHTS, OUT, STEPS };

static void
deal_forward(struct dk_call *call, const struct dk_multihead *module, bool weights,
             size_t share[STEPS])
{
    const double M = (double)module->width, rows = (double)module->projection[DK_QUERY].rows;
    const double cells = rows * (double)module->all_keys;
    double work[STEPS] = {
        [ATTEND] = 2 * cells * M, [WEIGHTS] = weights ? 3 * cells * M : -1, [OUT] = rows * M * M};

    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        const struct dk_multihead_projection *const projection = &module->projection[i];
        work[i] = projection->rows > 0 ? (double)projection->rows * M * (double)projection->width
                                       : -1;
    }
    dk_multihead_deal(call, STEPS, work, share);
}

/* ------------------------------------------------------------------------- */
/*  Forward                                                                  */
/* ------------------------------------------------------------------------- */

static dotk_status
run(struct dk_call *call, struct dk_multihead *module, float *out, float *weights)
{
    const struct dk_multihead_projection *const projection = module->projection;
    const float *const q = projection[DK_QUERY].output, *const k = projection[DK_KEY].output;
    dotk_context *const context = dk_call_inner(call);
    size_t share[STEPS];
    dotk_status status;

    if (context == NULL)
        return dk_fail_memory(sizeof share, "the steps of a multi-head module");
    deal_forward(call, module, weights != NULL, share);
    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        dk_call_next(call, share[i]);
        if ((status = project(call, context, module, &projection[i])) != DOTK_OK)
            return status;
    }
    dk_call_next(call, share[ATTEND]);
    if ((status = dk_multihead_masks(call, module)) != DOTK_OK ||
        (status = dotk_attention_forward(context, &module->shape, q, k, projection[DK_VALUE].output,
                                         &module->attention, module->attended, module->lse)) !=
            DOTK_OK)
        return status;
    if (weights != NULL) {
        dk_call_next(call, share[WEIGHTS]);
        status = dotk_attention_weights(context, &module->shape, q, k, &module->attention,
                                        !module->options.weights_per_head, weights);
        if (status != DOTK_OK)
            return status;
        turn_weights(module, weights);
    }
    dk_call_next(call, share[OUT]);
    return dotk_dense(context, projection[DK_QUERY].rows, module->width, module->width,
                      module->attended, module->parameters.out_proj_weight,
                      module->parameters.out_proj_bias, NULL, out);
}

static dotk_status
check_forward(const struct dk_multihead *module, float *out, float *weights, float *saved)
{
    const size_t bytes = module->projection[DK_QUERY].rows * module->width * sizeof *out;
    const size_t heads = module->options.weights_per_head ? module->heads : 1;
    size_t cells = 0;

    if (out == NULL && bytes > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass room for %zu rows of %zu",
                       module->projection[DK_QUERY].rows, module->width);
    if (weights != NULL && (!dk_mul(module->batch * module->queries, heads, &cells) ||
                            !dk_mul(cells, module->all_keys, &cells) ||
                            !dk_mul(cells, sizeof *weights, &cells) || cells > PTRDIFF_MAX))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape: weights of %zu x %zu x %zu x %zu overflow: ask for fewer queries",
                       module->batch, heads, module->queries, module->all_keys);
    const struct dk_multihead_array written[] = {
        {"out", out, bytes},
        {"weights", weights, cells},
        {"saved", saved, dk_multihead_saved(module) * sizeof *saved},
    };
    return dk_multihead_overlaps(module, written, sizeof written / sizeof *written, NULL, 0);
}

dotk_status
dotk_multihead_forward(dotk_context *context, const dotk_multihead_shape *shape,
                       const dotk_multihead_parameters *parameters, const float *query,
                       const float *key, const float *value, const dotk_multihead_options *options,
                       float *out, float *weights, float *saved)
{
    struct dk_multihead module;
    struct dk_call call;

    dotk_status status = dk_multihead_describe(shape, parameters, query, key, value, options, false,
                                               &module);
    if (status == DOTK_OK)
        status = check_forward(&module, out, weights, saved);
    if (status != DOTK_OK || module.projection[DK_QUERY].rows == 0)
        return status;
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    const size_t floats = dk_multihead_saved(&module);
    if (saved == NULL)
        saved = dk_call_alloc(&call, floats, sizeof *saved);
    if (saved == NULL) {
        status = dk_fail_memory(floats * sizeof *saved, "projected queries, keys and values");
    } else {
        dk_multihead_place(&module, saved);
        status = run(&call, &module, out, weights);
    }
    dk_call_end(&call);
    return status;
}

dotk_status
dotk_multihead_saved_count(const dotk_multihead_shape *shape,
                           const dotk_multihead_parameters *parameters,
                           const dotk_multihead_options *options, size_t *out)
{
    struct dk_multihead module;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the number");
    const dotk_status status = dk_multihead_describe(shape, parameters, NULL, NULL, NULL, options,
                                                     true, &module);
    if (status == DOTK_OK)
        *out = dk_multihead_saved(&module);
    return status;
}
