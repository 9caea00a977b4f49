/*
 * layer.c - dense layers: arguments checked, then the grid of rows against weights
 *
 * A BLAS would store the sums and come back for bias and activation; here they are finished in L1
 * (epilogue/bias_act).
 */
#include <dotk/dense.h>

#include "epilogue/bias_act/bias_act.h"
#include "platform/float_mode.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum dk_activation kernel;
} activations[] = {
    [DOTK_ACTIVATION_NONE] = {"none", DK_ACT_NONE},
    [DOTK_ACTIVATION_RELU] = {"relu", DK_ACT_RELU},
    [DOTK_ACTIVATION_GELU] = {"gelu", DK_ACT_GELU},
    [DOTK_ACTIVATION_GELU_TANH] = {"gelu_tanh", DK_ACT_GELU_TANH},
    [DOTK_ACTIVATION_SILU] = {"silu", DK_ACT_SILU},
    [DOTK_ACTIVATION_SIGMOID] = {"sigmoid", DK_ACT_SIGMOID},
    [DOTK_ACTIVATION_TANH] = {"tanh", DK_ACT_TANH},
};

enum { ACTIVATIONS = sizeof activations / sizeof *activations };

_Static_assert((int)ACTIVATIONS == (int)DK_ACT_KINDS, "an activation lacks its kernel or its name");

const char *
dotk_activation_name(dotk_activation activation)
{
    return (size_t)activation < ACTIVATIONS ? activations[activation].name : NULL;
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

/* One matrix of a call; a vector is a matrix of one row. */
struct matrix {
    const char *name;
    const float *start;
    size_t rows, width, stride;
};

static dotk_status
check_pointer(const char *name, const void *pointer, const char *remedy)
{
    if (pointer == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: %s", name, remedy);
    return DOTK_OK;
}

static dotk_status
check_sizes(size_t outputs, size_t inputs)
{
    size_t padded, bytes;

    if (outputs == 0 || inputs == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is 0: a layer has at least one of each",
                       outputs == 0 ? "outputs" : "inputs");
    if (!dk_add(outputs, DK_PANEL, &padded) || !dk_mul(padded, inputs, &bytes) ||
        !dk_mul(bytes, sizeof(float), &bytes))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "outputs is %zu and inputs %zu: that many weights cannot be addressed",
                       outputs, inputs);
    return DOTK_OK;
}

/* Elements from the first to the last, gaps between rows included; rows and width are not 0. */
static bool
extent(const struct matrix *matrix, size_t *out)
{
    size_t bytes;

    return dk_mul(matrix->rows - 1, matrix->stride, out) && dk_add(*out, matrix->width, out) &&
           dk_mul(*out, sizeof(float), &bytes) && bytes <= PTRDIFF_MAX;
}

/* Puts in the default stride; 'stride_name' is what the caller calls it. */
static dotk_status
check_matrix(struct matrix *matrix, const char *stride_name)
{
    size_t elements;

    if (matrix->stride == 0)
        matrix->stride = matrix->width;
    if (matrix->stride < matrix->width)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s is %zu, below the width of %zu: rows of %s would overlap", stride_name,
                       matrix->stride, matrix->width, matrix->name);
    if (!extent(matrix, &elements))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s has %zu rows, %zu elements apart: that cannot be addressed",
                       matrix->name, matrix->rows, matrix->stride);
    return DOTK_OK;
}

/* Whether some element belongs to both, or may: both have passed check_matrix(). */
static bool
overlap(const struct matrix *a, const struct matrix *b)
{
    const uintptr_t first = (uintptr_t)a->start, other = (uintptr_t)b->start;
    size_t a_elements = 0, b_elements = 0;

    (void)extent(a, &a_elements);
    (void)extent(b, &b_elements);
    if (first >= other + b_elements * sizeof(float) || other >= first + a_elements * sizeof(float))
        return false;
    if (a->stride != b->stride || (first - other) % sizeof(float) != 0)
        return true;
    /* Columns of one matrix: where b's begin, counted from a's, going round at the stride. */
    const size_t stride = a->stride;
    const size_t apart = other >= first
                             ? (other - first) / sizeof(float) % stride
                             : (stride - (first - other) / sizeof(float) % stride) % stride;
    return apart < a->width || b->width > stride - apart;
}

static dotk_status
check_overlap(const struct matrix *y, const struct matrix *other)
{
    if (overlap(y, other))
        return dk_fail(DOTK_BAD_ARGUMENT, "y at %p overlaps %s at %p: give y memory of its own",
                       (const void *)y->start, other->name, (const void *)other->start);
    return DOTK_OK;
}

/* Checks options, x and y, which come without their strides. */
static dotk_status
check_call(const dotk_dense_options *options, struct matrix *x, struct matrix *y)
{
    dotk_status status;

    if (dotk_activation_name(options->activation) == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->activation is %d: it goes from 0 (none) to %d (tanh)",
                       (int)options->activation, ACTIVATIONS - 1);
    if ((status = check_pointer("x", x->start, "pass rows x inputs values")) != DOTK_OK ||
        (status = check_pointer("y", y->start, "pass room for rows x outputs values")) != DOTK_OK)
        return status;
    x->stride = options->x_stride;
    y->stride = options->y_stride;
    if ((status = check_matrix(x, "options->x_stride")) != DOTK_OK ||
        (status = check_matrix(y, "options->y_stride")) != DOTK_OK)
        return status;
    return check_overlap(y, x);
}

/* ------------------------------------------------------------------------- */
/*  Prepared weights                                                         */
/* ------------------------------------------------------------------------- */

struct dotk_dense_weights {
    size_t outputs, inputs;
    float *panels;
    float *bias; /* NULL: none */
};

dotk_status
dotk_dense_prepare(size_t outputs, size_t inputs, const float *w, size_t w_stride,
                   const float *bias, dotk_dense_weights **out)
{
    struct matrix weights = {"w", w, outputs, inputs, w_stride};
    dotk_status status;

    if ((status = check_pointer("out", out, "pass where to store the weights")) != DOTK_OK)
        return status;
    *out = NULL;
    if ((status = check_sizes(outputs, inputs)) != DOTK_OK ||
        (status = check_pointer("w", w, "pass outputs x inputs values")) != DOTK_OK ||
        (status = check_matrix(&weights, "w_stride")) != DOTK_OK)
        return status;
    const struct dk_kernels *const kernels = dk_context_kernels(NULL);
    if (kernels == NULL)
        return dk_fail_kernels();

    const size_t floats = dk_round_up(outputs, DK_PANEL) * inputs;
    dotk_dense_weights *const self = dk_alloc(sizeof *self);
    if (self == NULL)
        return dk_fail_memory(sizeof *self, "prepared weights");
    *self = (dotk_dense_weights){.outputs = outputs, .inputs = inputs};
    self->panels = dk_alloc_array(floats, sizeof(float));
    if (bias != NULL)
        self->bias = dk_alloc_array(outputs, sizeof(float));
    if (self->panels == NULL || (bias != NULL && self->bias == NULL)) {
        dotk_dense_destroy(self);
        return dk_fail_memory(floats * sizeof(float), "prepared weights");
    }
    if (bias != NULL)
        memcpy(self->bias, bias, outputs * sizeof *bias);
    const uint64_t mode = dk_float_mode_enter(); /* packing multiplies by 1 */
    for (size_t first = 0; first < outputs; first += DK_PANEL)
        kernels->pack_f32(w + first * weights.stride, weights.stride,
                          dk_min(DK_PANEL, outputs - first), inputs, 1,
                          self->panels + first * inputs);
    dk_float_mode_leave(mode);
    *out = self;
    return DOTK_OK;
}

void
dotk_dense_destroy(dotk_dense_weights *weights)
{
    if (weights == NULL)
        return;
    dk_free(weights->panels);
    dk_free(weights->bias);
    dk_free(weights);
}

/* ------------------------------------------------------------------------- */
/*  Forward                                                                  */
/* ------------------------------------------------------------------------- */

static const dotk_dense_options default_options = DOTK_DENSE_OPTIONS_INIT;

/* Runs a grid with at least one row; everything has been checked. */
static dotk_status
run(dotk_context *context, struct dk_grid *grid, const float *bias,
    const dotk_dense_options *options, const struct matrix *y)
{
    const struct dk_bias_act epilogue = dk_bias_act(bias, activations[options->activation].kernel,
                                                    (float *)y->start, y->stride);
    struct dk_call call;
    dotk_status status = dk_call_begin(context, &call);

    if (status != DOTK_OK)
        return status;
    grid->epilogue = &epilogue.epilogue;
    status = dk_grid_run(&call, grid);
    if (options->stats != NULL)
        *options->stats = (dotk_dense_stats){
            .path = dk_grid_path(grid->row_count, grid->panels != NULL),
            .kernel = dk_grid_kernel(call.kernels, grid->row_count, grid->panels != NULL),
        };
    dk_call_end(&call);
    return status;
}

static dotk_status
nothing_to_do(const dotk_dense_options *options)
{
    if (options->stats != NULL)
        *options->stats = (dotk_dense_stats){.path = "empty", .kernel = "-"};
    return DOTK_OK;
}

dotk_status
dotk_dense_forward(dotk_context *context, const dotk_dense_weights *weights, size_t rows,
                   const float *x, const dotk_dense_options *options, float *y)
{
    dotk_status status;

    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &default_options;
    status = check_pointer("weights", weights, "make them with dotk_dense_prepare()");
    if (status != DOTK_OK)
        return status;
    if (rows == 0)
        return nothing_to_do(options);
    struct matrix in = {"x", x, rows, weights->inputs, 0};
    struct matrix out = {"y", y, rows, weights->outputs, 0};
    if ((status = check_call(options, &in, &out)) != DOTK_OK)
        return status;
    struct dk_grid grid = {
        .score = DK_SCORE_DOT,
        .dim = weights->inputs,
        .rows = x,
        .row_count = rows,
        .row_stride = in.stride,
        .panels = weights->panels,
        .col_count = weights->outputs,
    };
    return run(context, &grid, weights->bias, options, &out);
}

dotk_status
dotk_dense(dotk_context *context, size_t rows, size_t outputs, size_t inputs, const float *x,
           const float *w, const float *bias, const dotk_dense_options *options, float *y)
{
    dotk_status status;

    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &default_options;
    struct matrix in = {"x", x, rows, inputs, 0}, out = {"y", y, rows, outputs, 0};
    struct matrix weights = {"w", w, outputs, inputs, options->w_stride};
    const struct matrix biases = {"bias", bias, 1, outputs, outputs};
    if ((status = check_sizes(outputs, inputs)) != DOTK_OK ||
        (status = check_pointer("w", w, "pass outputs x inputs values")) != DOTK_OK ||
        (status = check_matrix(&weights, "options->w_stride")) != DOTK_OK)
        return status;
    if (rows == 0)
        return nothing_to_do(options);
    if ((status = check_call(options, &in, &out)) != DOTK_OK ||
        (status = check_overlap(&out, &weights)) != DOTK_OK ||
        (bias != NULL && (status = check_overlap(&out, &biases)) != DOTK_OK))
        return status;
    struct dk_grid grid = {
        .score = DK_SCORE_DOT,
        .dim = inputs,
        .rows = x,
        .row_count = rows,
        .row_stride = in.stride,
        .cols = w,
        .col_count = outputs,
        .col_stride = weights.stride,
    };
    return run(context, &grid, bias, options, &out);
}

dotk_status
dotk_dense_plan(dotk_context *context, size_t rows, size_t outputs, size_t inputs, int32_t prepared,
                char *out, size_t capacity)
{
    const struct dk_kernels *const kernels = dk_context_kernels(context);
    dotk_status status;

    if ((status = check_pointer("out", out, "pass where to write the line")) != DOTK_OK ||
        (status = check_sizes(outputs, inputs)) != DOTK_OK)
        return status;
    if (capacity == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "capacity is 0: 160 bytes hold the line");
    if (kernels == NULL)
        return dk_fail_kernels();
    if (rows == 0)
        (void)snprintf(out, capacity, "empty -: there are no rows");
    else
        (void)snprintf(out, capacity, "%s %s: %s", dk_grid_path(rows, prepared != 0),
                       dk_grid_kernel(kernels, rows, prepared != 0),
                       dk_grid_reason(rows, prepared != 0));
    return DOTK_OK;
}
