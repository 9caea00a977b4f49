/* multihead_check.c - arguments of the multi-head module: each failure names one and the remedy */
#include "nn/multihead.h"

#include <math.h>

#include "tile/layout.h"

static const dotk_multihead_options default_options = DOTK_MULTIHEAD_OPTIONS_INIT;

/* ------------------------------------------------------------------------- */
/*  Sizes                                                                    */
/* ------------------------------------------------------------------------- */

/* Whether a x b x c floats can be addressed. */
static bool
fits(size_t a, size_t b, size_t c)
{
    size_t product;

    return dk_mul(a, b, &product) && dk_mul(product, c, &product) &&
           product <= PTRDIFF_MAX / 8 / sizeof(float);
}

static dotk_status
describe_sizes(const dotk_multihead_shape *shape, struct dk_multihead *out)
{
    out->batch = shape->batch;
    out->queries = shape->queries;
    out->keys = shape->keys;
    out->width = shape->width;
    out->heads = shape->heads;
    out->added = (out->parameters.bias_k != NULL ? 1 : 0) + (out->options.add_zero_attn ? 1 : 0);
    const size_t key_width = shape->key_width != 0 ? shape->key_width : shape->width;
    const size_t value_width = shape->value_width != 0 ? shape->value_width : shape->width;
    const size_t widest = dk_max(out->width, dk_max(key_width, value_width));

    if (out->width == 0 || out->heads == 0 || out->width % out->heads != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape->width is %zu, shape->heads %zu: heads divide the width evenly, and "
                       "neither is 0",
                       out->width, out->heads);
    if (!dk_add(out->keys, out->added, &out->all_keys) ||
        !fits(3 * sizeof(float), widest, widest) || !fits(out->batch, out->queries, widest) ||
        !fits(out->batch, out->all_keys, widest) || !fits(out->batch, out->queries, out->heads))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape: %zu x %zu queries and %zu keys of widths up to %zu overflow",
                       out->batch, out->queries, out->keys, widest);
    out->projection[DK_QUERY] = (struct dk_multihead_projection){
        .name = "query", .rows = out->batch * out->queries, .width = out->width};
    out->projection[DK_KEY] = (struct dk_multihead_projection){
        .name = "key", .rows = out->batch * out->keys, .width = key_width, .added = out->added};
    out->projection[DK_VALUE] = (struct dk_multihead_projection){
        .name = "value", .rows = out->batch * out->keys, .width = value_width, .added = out->added};
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Parameters and options                                                   */
/* ------------------------------------------------------------------------- */

static dotk_status
describe_parameters(struct dk_multihead *out)
{
    const dotk_multihead_parameters *const p = &out->parameters;
    struct dk_multihead_projection *const projection = out->projection;
    const size_t M = out->width;

    if ((p->bias_k == NULL) != (p->bias_v == NULL))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "parameters->%s is NULL and the other is not: pass both or neither",
                       p->bias_k == NULL ? "bias_k" : "bias_v");
    if (p->out_proj_weight == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "parameters->out_proj_weight is NULL: pass its %zu x %zu "
                       "values",
                       M, M);
    const float *const separate[] = {p->q_proj_weight, p->k_proj_weight, p->v_proj_weight};
    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        if ((p->in_proj_weight == NULL) != (separate[i] != NULL))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "parameters->in_proj_weight is %s and parameters->%c_proj_weight is %s: "
                           "pass in_proj_weight alone or the three without it",
                           p->in_proj_weight == NULL ? "NULL" : "given", "qkv"[i],
                           separate[i] == NULL ? "NULL" : "given");
        if (p->in_proj_weight != NULL && projection[i].width != M)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "shape->%s_width is %zu and shape->width %zu: that takes separate "
                           "weights, parameters->%c_proj_weight and the like",
                           projection[i].name, projection[i].width, M, "qkv"[i]);
        projection[i].weight = p->in_proj_weight != NULL ? p->in_proj_weight + i * M * M
                                                         : separate[i];
        projection[i].bias = p->in_proj_bias != NULL ? p->in_proj_bias + i * M : NULL;
    }
    projection[DK_KEY].first = p->bias_k;
    projection[DK_VALUE].first = p->bias_v;
    return DOTK_OK;
}

static dotk_status
check_options(const struct dk_multihead *module)
{
    const dotk_multihead_options *const options = &module->options;

    if (options->key_padding_mask != NULL && options->key_padding_bias != NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->key_padding_mask and options->key_padding_bias are both given: "
                       "pass one, a bias of -INFINITY hides a key");
    if (options->attn_mask != NULL && options->attn_bias != NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->attn_mask and options->attn_bias are both given: pass one, a bias "
                       "of -INFINITY hides a key");
    if (!(options->dropout >= 0 && options->dropout < 1))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->dropout is %g: 0 or more, and below 1",
                       (double)options->dropout);
    if ((options->attn_mask != NULL || options->attn_bias != NULL) &&
        !(fits(module->queries, module->all_keys, options->mask_per_head ? module->heads : 1) &&
          fits(module->queries * module->all_keys, options->mask_per_head ? module->heads : 1,
               module->batch)))
        return dk_fail(DOTK_BAD_ARGUMENT, "shape: masks of %zu x %zu x %zu x %zu overflow",
                       module->batch, module->heads, module->queries, module->all_keys);
    return DOTK_OK;
}

/* What attention is asked for, but for masks. */
static void
describe_attention(struct dk_multihead *out)
{
    const size_t M = out->width, head = M / out->heads;
    const dotk_layout sequence_first = {M, head, out->batch * M};
    const bool batch_first = out->options.batch_first != 0;

    out->shape = (dotk_attention_shape){.batch = out->batch,
                                        .heads = out->heads,
                                        .queries = out->queries,
                                        .keys = out->all_keys,
                                        .width = head};
    out->attention = (dotk_attention_options)DOTK_ATTENTION_OPTIONS_INIT;
    out->attention.query = out->attention.output =
        batch_first ? (dotk_layout){dk_max(out->queries, 1) * M, head, M} : sequence_first;
    out->attention.key = out->attention.value =
        batch_first ? (dotk_layout){dk_max(out->all_keys, 1) * M, head, M} : sequence_first;
    out->attention.causal = out->options.causal != 0;
    out->attention.query_offset = out->attention.causal ? (int64_t)out->added : 0;
    out->attention.dropout = out->options.dropout;
    out->attention.seed = out->options.seed;
}

dotk_status
dk_multihead_describe(const dotk_multihead_shape *shape,
                      const dotk_multihead_parameters *parameters, const float *query,
                      const float *key, const float *value, const dotk_multihead_options *options,
                      bool sizes_only, struct dk_multihead *out)
{
    const float *const inputs[] = {query, key, value};
    dotk_status status;

    if (shape == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape is NULL: say how large the arrays are");
    if (parameters == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "parameters is NULL: pass the module's weights");
    DK_CHECK_OPTIONS(parameters);
    DK_CHECK_OPTIONS(options);
    *out = (struct dk_multihead){.parameters = *parameters,
                                 .options = options != NULL ? *options : default_options};
    if ((status = describe_sizes(shape, out)) != DOTK_OK ||
        (status = describe_parameters(out)) != DOTK_OK || (status = check_options(out)) != DOTK_OK)
        return status;
    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        struct dk_multihead_projection *const projection = &out->projection[i];
        projection->input = inputs[i];
        if (!sizes_only && inputs[i] == NULL && projection->rows > 0)
            return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass its %zu rows of %zu",
                           projection->name, projection->rows, projection->width);
    }
    describe_attention(out);
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  What is kept                                                             */
/* ------------------------------------------------------------------------- */

static size_t
projected(const struct dk_multihead *module, size_t i)
{
    const struct dk_multihead_projection *const projection = &module->projection[i];
    return (projection->rows + projection->added * module->batch) * module->width;
}

size_t
dk_multihead_saved(const struct dk_multihead *module)
{
    return 2 * projected(module, DK_QUERY) + projected(module, DK_KEY) +
           projected(module, DK_VALUE) + module->batch * module->heads * module->queries;
}

void
dk_multihead_place(struct dk_multihead *module, float *saved)
{
    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        module->projection[i].output = saved;
        saved += projected(module, i);
    }
    module->attended = saved;
    module->lse = saved + projected(module, DK_QUERY);
}

/* ------------------------------------------------------------------------- */
/*  Overlap                                                                  */
/* ------------------------------------------------------------------------- */

static size_t
input_bytes(const struct dk_multihead_projection *projection)
{
    return projection->rows * projection->width * sizeof(float);
}

dotk_status
dk_multihead_overlaps(const struct dk_multihead *module, const struct dk_multihead_array *written,
                      size_t count, const struct dk_multihead_array *also, size_t also_count)
{
    const dotk_multihead_parameters *const p = &module->parameters;
    const dotk_multihead_options *const options = &module->options;
    const struct dk_multihead_projection *const projection = module->projection;
    const size_t row = module->width * sizeof(float), padding = module->batch * module->keys;
    const size_t cells = module->queries * module->keys *
                         (options->mask_per_head ? module->batch * module->heads : 1);
    const struct dk_multihead_array read[] = {
        {"parameters->in_proj_weight", p->in_proj_weight, 3 * module->width * row},
        {"parameters->q_proj_weight", p->q_proj_weight, projection[DK_QUERY].width * row},
        {"parameters->k_proj_weight", p->k_proj_weight, projection[DK_KEY].width * row},
        {"parameters->v_proj_weight", p->v_proj_weight, projection[DK_VALUE].width * row},
        {"parameters->in_proj_bias", p->in_proj_bias, 3 * row},
        {"parameters->bias_k", p->bias_k, row},
        {"parameters->bias_v", p->bias_v, row},
        {"parameters->out_proj_weight", p->out_proj_weight, module->width * row},
        {"parameters->out_proj_bias", p->out_proj_bias, row},
        {"query", projection[DK_QUERY].input, input_bytes(&projection[DK_QUERY])},
        {"key", projection[DK_KEY].input, input_bytes(&projection[DK_KEY])},
        {"value", projection[DK_VALUE].input, input_bytes(&projection[DK_VALUE])},
        {"options->key_padding_mask", options->key_padding_mask, padding},
        {"options->key_padding_bias", options->key_padding_bias, padding * sizeof(float)},
        {"options->attn_mask", options->attn_mask, cells},
        {"options->attn_bias", options->attn_bias, cells * sizeof(float)},
    };

    const struct {
        const struct dk_multihead_array *arrays;
        size_t count;
    } others[] = {{read, sizeof read / sizeof *read}, {also, also_count}, {written, count}};
    for (size_t i = 0; i < count; i++) {
        for (size_t list = 0; list < 3; list++) {
            for (size_t j = 0; j < (list == 2 ? i : others[list].count); j++) {
                const struct dk_multihead_array *const other = &others[list].arrays[j];
                if (dk_overlap(written[i].start, written[i].bytes, other->start, other->bytes))
                    return dk_fail(DOTK_BAD_ARGUMENT, "%s overlaps %s: give it memory of its own",
                                   written[i].name, other->name);
            }
        }
    }
    return DOTK_OK;
}
