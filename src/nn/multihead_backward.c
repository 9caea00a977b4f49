/*
 * multihead_backward.c - gradients of the multi-head module
 *
 * With Y = X W^T + b, and dY the gradient by Y:
 *
 *     dW = dY^T X         db = the sum of dY's rows         dX = dY W
 *
 * A dense layer multiplies rows by rows, so both sides of dW, and W itself, are transposed first,
 * in blocks through a panel; beside the products that is little.
 */
#include "nn/multihead.h"

#include <string.h>

#include <dotk/dense.h>

enum { BLOCK = 256 }; /* columns of a block of 64 rows: a panel of 64 KiB */

/* Gradients of one projection; those that are not wanted are NULL. */
struct gradient {
    float *input, *weight, *bias, *first;
    float *output; /* of the projected rows, added ones included */
};

/* Steps of the whole: those of the last projection, attention, and two of each other projection. */
enum { OUT_WEIGHT, OUT_INPUT, ATTEND, WEIGHT, INPUT, STEPS = WEIGHT + 2 * DK_PROJECTIONS };

struct work {
    struct dk_call *call;
    dotk_context *context; /* for calls within the call                */
    size_t share[STEPS];   /* of its progress                          */
    struct dk_multihead module;
    dotk_multihead_gradients wanted;
    struct gradient gradient[DK_PROJECTIONS];
    float *panels;       /* a block for each slot            */
    float *left, *right; /* transposed: dY, and X or W       */
    float *rows;         /* of dY without those that were added */
    double *sums;        /* (M) */
    float *attended;     /* the gradient of module.attended  */
};

/* ------------------------------------------------------------------------- */
/*  Products                                                                 */
/* ------------------------------------------------------------------------- */

struct transpose {
    const struct work *work;
    size_t rows, cols;
    const float *from;
    float *to;
};

/* 64 rows and up to BLOCK columns. */
static void
run_transpose(void *arg, size_t task, size_t slot)
{
    const struct transpose *const job = arg;
    const size_t blocks = (job->cols + BLOCK - 1) / BLOCK;
    const size_t row = task / blocks * DK_PANEL, col = task % blocks * BLOCK;
    const size_t rows = dk_min(DK_PANEL, job->rows - row), cols = dk_min(BLOCK, job->cols - col);
    float *const panel = job->work->panels + slot * BLOCK * DK_PANEL;

    job->work->call->kernels->pack_f32(job->from + row * job->cols + col, job->cols, rows, cols, 1,
                                       panel);
    for (size_t c = 0; c < cols; c++)
        memcpy(job->to + (col + c) * job->rows + row, panel + c * DK_PANEL, rows * sizeof *panel);
}

/* to (cols, rows) = from (rows, cols), transposed. */
static dotk_status
transpose(const struct work *work, size_t rows, size_t cols, const float *from, float *to)
{
    struct transpose job = {work, rows, cols, from, to};
    const size_t tasks = ((rows + DK_PANEL - 1) / DK_PANEL) * ((cols + BLOCK - 1) / BLOCK);

    return dk_call_run(work->call, tasks, run_transpose, &job);
}

/* dW (outputs, inputs) = dY^T X over 'rows' rows of dY and X. */
static dotk_status
weight_gradient(const struct work *work, size_t step, size_t rows, size_t outputs, size_t inputs,
                const float *d_y, const float *x, float *d_w)
{
    if (rows == 0) {
        memset(d_w, 0, outputs * inputs * sizeof *d_w);
        return DOTK_OK;
    }
    dk_call_next(work->call, 1);
    dotk_status status = transpose(work, rows, outputs, d_y, work->left);
    dk_call_next(work->call, 1);
    if (status == DOTK_OK)
        status = transpose(work, rows, inputs, x, work->right);
    dk_call_next(work->call, work->share[step] - 2);
    if (status == DOTK_OK)
        status = dotk_dense(work->context, outputs, inputs, rows, work->left, work->right, NULL,
                            NULL, d_w);
    return status;
}

/* dX (rows, inputs) = dY (rows, outputs) W (outputs, inputs). */
static dotk_status
input_gradient(const struct work *work, size_t step, size_t rows, size_t outputs, size_t inputs,
               const float *d_y, const float *w, float *d_x)
{
    if (rows == 0)
        return DOTK_OK;
    dk_call_next(work->call, 1);
    const dotk_status status = transpose(work, outputs, inputs, w, work->right);
    if (status != DOTK_OK)
        return status;
    dk_call_next(work->call, work->share[step] - 1);
    return dotk_dense(work->context, rows, inputs, outputs, d_y, work->right, NULL, NULL, d_x);
}

/* out (width) = the sum of rows. */
static void
sum_rows(const struct work *work, size_t rows, size_t width, const float *from, float *out)
{
    for (size_t c = 0; c < width; c++)
        work->sums[c] = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < width; c++)
            work->sums[c] += from[r * width + c];
    }
    for (size_t c = 0; c < width; c++)
        out[c] = (float)work->sums[c];
}

/* ------------------------------------------------------------------------- */
/*  A projection                                                             */
/* ------------------------------------------------------------------------- */

/* The gradient by bias_k or bias_v: over the batch, that of the first key or value. */
static void
first_gradient(const struct work *work, const struct gradient *gradient)
{
    const struct dk_multihead *const module = &work->module;

    for (size_t n = 0; n < module->batch; n++)
        memcpy(work->rows + n * module->width,
               gradient->output + dk_multihead_row(module, module->all_keys, n, 0),
               module->width * sizeof(float));
    sum_rows(work, module->batch, module->width, work->rows, gradient->first);
}

/* The rows of a projection's gradient, in the order of its input. */
static const float *
rows_of(const struct work *work, const struct dk_multihead_projection *projection,
        const struct gradient *gradient)
{
    const struct dk_multihead *const module = &work->module;
    const size_t row = module->width, added = projection->added;

    if (added == 0)
        return gradient->output;
    if (!module->options.batch_first)
        return gradient->output + added * module->batch * row;
    for (size_t n = 0; n < module->batch; n++)
        memcpy(work->rows + n * module->keys * row,
               gradient->output + dk_multihead_row(module, module->all_keys, n, added),
               module->keys * row * sizeof(float));
    return work->rows;
}

static dotk_status
projection_gradient(const struct work *work, size_t i)
{
    const struct dk_multihead_projection *const projection = &work->module.projection[i];
    const struct gradient *const gradient = &work->gradient[i];
    const size_t M = work->module.width;
    dotk_status status = DOTK_OK;

    if (gradient->output == NULL)
        return DOTK_OK;
    if (gradient->first != NULL)
        first_gradient(work, gradient);
    const float *const d_y = rows_of(work, projection, gradient);
    if (gradient->bias != NULL)
        sum_rows(work, projection->rows, M, d_y, gradient->bias);
    if (gradient->weight != NULL)
        status = weight_gradient(work, WEIGHT + 2 * i, projection->rows, M, projection->width, d_y,
                                 projection->input, gradient->weight);
    if (status == DOTK_OK && gradient->input != NULL)
        status = input_gradient(work, INPUT + 2 * i, projection->rows, M, projection->width, d_y,
                                projection->weight, gradient->input);
    return status;
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

static dotk_status
check_gradients(struct work *work, const float *saved, const float *d_out)
{
    const struct dk_multihead *const module = &work->module;
    const dotk_multihead_parameters *const p = &module->parameters;
    const dotk_multihead_gradients *const g = &work->wanted;
    const struct dk_multihead_projection *const projection = module->projection;
    const size_t M = module->width, row = M * sizeof(float);
    const struct dk_multihead_array also[] = {
        {"saved", saved, dk_multihead_saved(module) * sizeof *saved},
        {"d_out", d_out, projection[DK_QUERY].rows * row}};
    const struct {
        const float *parameter;
        struct dk_multihead_array array;
    } list[] = {
        {p->in_proj_weight, {"in_proj_weight", g->in_proj_weight, 3 * M * row}},
        {p->q_proj_weight, {"q_proj_weight", g->q_proj_weight, M * row}},
        {p->k_proj_weight, {"k_proj_weight", g->k_proj_weight, projection[DK_KEY].width * row}},
        {p->v_proj_weight, {"v_proj_weight", g->v_proj_weight, projection[DK_VALUE].width * row}},
        {p->in_proj_bias, {"in_proj_bias", g->in_proj_bias, 3 * row}},
        {p->bias_k, {"bias_k", g->bias_k, row}},
        {p->bias_v, {"bias_v", g->bias_v, row}},
        {p->out_proj_weight, {"out_proj_weight", g->out_proj_weight, M * row}},
        {p->out_proj_bias, {"out_proj_bias", g->out_proj_bias, row}},
    };
    enum { PARAMETERS = sizeof list / sizeof *list };
    float *const inputs[] = {g->query, g->key, g->value};
    struct dk_multihead_array written[PARAMETERS + DK_PROJECTIONS];
    char names[PARAMETERS + DK_PROJECTIONS][32];

    for (size_t i = 0; i < 2; i++) {
        if (also[i].start == NULL && also[i].bytes > 0)
            return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass %s", also[i].name,
                           i == 0 ? "what dotk_multihead_forward() filled" : "the gradient by out");
    }
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (list[i].array.start != NULL && list[i].parameter == NULL)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "gradients->%s is given, but parameters->%s is NULL: leave it NULL, too",
                           list[i].array.name, list[i].array.name);
        written[i] = list[i].array;
    }
    for (size_t i = 0; i < DK_PROJECTIONS; i++)
        written[PARAMETERS + i] = (struct dk_multihead_array){
            projection[i].name, inputs[i],
            projection[i].rows * projection[i].width * sizeof(float)};
    for (size_t i = 0; i < PARAMETERS + DK_PROJECTIONS; i++) {
        char *to = names[i];
        memcpy(to, "gradients->", 11);
        to += 11;
        memcpy(to, written[i].name, strlen(written[i].name) + 1);
        written[i].name = names[i];
    }
    return dk_multihead_overlaps(module, written, PARAMETERS + DK_PROJECTIONS, also, 2);
}

/* ------------------------------------------------------------------------- */
/*  Backward                                                                 */
/* ------------------------------------------------------------------------- */

static bool
alloc_work(struct work *work)
{
    const struct dk_multihead *const module = &work->module;
    const struct dk_multihead_projection *const projection = module->projection;
    const size_t M = module->width, queries = projection[DK_QUERY].rows;
    const size_t keys = module->batch * module->all_keys;
    const size_t rows = dk_max(dk_max(queries, keys), M);
    const size_t widest = dk_max(M, dk_max(projection[DK_KEY].width, projection[DK_VALUE].width));
    bool good = true;

    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        struct gradient *const gradient = &work->gradient[i];
        if (gradient->input == NULL && gradient->weight == NULL && gradient->bias == NULL &&
            gradient->first == NULL)
            continue;
        gradient->output = dk_call_alloc(work->call, (i == DK_QUERY ? queries : keys) * M,
                                         sizeof(float));
        good = good && gradient->output != NULL;
    }
    work->context = dk_call_inner(work->call);
    work->attended = dk_call_alloc(work->call, queries * M, sizeof(float));
    work->panels = dk_call_alloc(work->call, work->call->slots * BLOCK * DK_PANEL, sizeof(float));
    work->left = dk_call_alloc(work->call, rows * M, sizeof(float));
    work->right = dk_call_alloc(work->call, rows * widest, sizeof(float));
    work->rows = dk_call_alloc(work->call, keys * M, sizeof(float));
    work->sums = dk_call_alloc(work->call, M, sizeof *work->sums);
    return good && work->context != NULL && work->attended != NULL && work->panels != NULL &&
           work->left != NULL && work->right != NULL && work->rows != NULL && work->sums != NULL;
}

/* Which gradient goes where. */
static void
place_gradients(struct work *work)
{
    const dotk_multihead_gradients *const g = &work->wanted;
    const size_t M = work->module.width;
    float *const inputs[] = {g->query, g->key, g->value}, *const first[] = {NULL, g->bias_k,
                                                                            g->bias_v};
    float *const weights[] = {g->q_proj_weight, g->k_proj_weight, g->v_proj_weight};

    for (size_t i = 0; i < DK_PROJECTIONS; i++)
        work->gradient[i] = (struct gradient){
            .input = inputs[i],
            .weight = g->in_proj_weight != NULL ? g->in_proj_weight + i * M * M : weights[i],
            .bias = g->in_proj_bias != NULL ? g->in_proj_bias + i * M : NULL,
            .first = first[i],
        };
}

/* How far each step will take the call. */
static void
deal_backward(struct work *work)
{
    const struct dk_multihead *const module = &work->module;
    const double M = (double)module->width, rows = (double)module->projection[DK_QUERY].rows;
    bool deeper = false;
    double flop[STEPS];

    for (size_t i = 0; i < STEPS; i++)
        flop[i] = -1;
    for (size_t i = 0; i < DK_PROJECTIONS; i++) {
        const struct gradient *const gradient = &work->gradient[i];
        const double its_rows = (double)module->projection[i].rows;
        const double product = its_rows * M * (double)module->projection[i].width;
        deeper = deeper || gradient->output != NULL;
        if (gradient->weight != NULL && its_rows > 0)
            flop[WEIGHT + 2 * i] = product;
        if (gradient->input != NULL && its_rows > 0)
            flop[INPUT + 2 * i] = product;
    }
    if (work->wanted.out_proj_weight != NULL && rows > 0)
        flop[OUT_WEIGHT] = rows * M * M;
    if (deeper && rows > 0)
        flop[OUT_INPUT] = rows * M * M;
    if (deeper)
        flop[ATTEND] = 5 * rows * (double)module->all_keys * M;
    dk_multihead_deal(work->call, STEPS, flop, work->share);
}

static dotk_status
run(struct work *work, const float *d_out)
{
    struct dk_multihead *const module = &work->module;
    const struct dk_multihead_projection *const projection = module->projection;
    const size_t M = module->width, rows = projection[DK_QUERY].rows;
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;
    dotk_status status;

    deal_backward(work);
    if (work->wanted.out_proj_bias != NULL)
        sum_rows(work, rows, M, d_out, work->wanted.out_proj_bias);
    if (work->wanted.out_proj_weight != NULL &&
        (status = weight_gradient(work, OUT_WEIGHT, rows, M, M, d_out, module->attended,
                                  work->wanted.out_proj_weight)) != DOTK_OK)
        return status;
    gradients.q = work->gradient[DK_QUERY].output;
    gradients.k = work->gradient[DK_KEY].output;
    gradients.v = work->gradient[DK_VALUE].output;
    if (gradients.q == NULL && gradients.k == NULL && gradients.v == NULL)
        return DOTK_OK;
    if ((status = input_gradient(work, OUT_INPUT, rows, M, M, d_out,
                                 module->parameters.out_proj_weight, work->attended)) != DOTK_OK ||
        (status = dk_multihead_masks(work->call, module)) != DOTK_OK)
        return status;
    dk_call_next(work->call, work->share[ATTEND]);
    status = dotk_attention_backward(work->context, &module->shape, projection[DK_QUERY].output,
                                     projection[DK_KEY].output, projection[DK_VALUE].output,
                                     &module->attention, module->attended, module->lse,
                                     work->attended, &gradients);
    for (size_t i = 0; status == DOTK_OK && i < DK_PROJECTIONS; i++)
        status = projection_gradient(work, i);
    return status;
}

dotk_status
dotk_multihead_backward(dotk_context *context, const dotk_multihead_shape *shape,
                        const dotk_multihead_parameters *parameters, const float *query,
                        const float *key, const float *value, const dotk_multihead_options *options,
                        const float *saved, const float *d_out,
                        const dotk_multihead_gradients *gradients)
{
    struct dk_call call;
    struct work work = {.call = &call};

    if (gradients == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "gradients is NULL: say which are wanted");
    DK_CHECK_OPTIONS(gradients);
    work.wanted = *gradients;
    dotk_status status = dk_multihead_describe(shape, parameters, query, key, value, options, false,
                                               &work.module);
    if (status == DOTK_OK)
        status = check_gradients(&work, saved, d_out);
    if (status != DOTK_OK)
        return status;
    dk_multihead_place(&work.module, (float *)(uintptr_t)saved); /* only read from here on */
    place_gradients(&work);
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    if (alloc_work(&work))
        status = run(&work, d_out);
    else
        status = dk_fail_memory(dk_multihead_saved(&work.module) * sizeof *saved,
                                "gradients of a multi-head module");
    dk_call_end(&call);
    return status;
}
