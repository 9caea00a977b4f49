/* problem.c - checks of attention arguments: each failure names the argument and the remedy */
#include "attention/problem.h"

#include <math.h>
#include <string.h>

enum { WIDTH_MAX = 65536 };

static bool
is_empty(const struct dk_attention *problem, size_t rows)
{
    return problem->batch == 0 || problem->heads == 0 || rows == 0;
}

/* Fills in the strides that are 0. */
static dotk_status
resolve(const struct dk_attention *problem, const char *name, size_t rows, size_t width,
        dotk_layout *layout)
{
    if (layout->row == 0)
        layout->row = width;
    if ((layout->head == 0 && !dk_mul(rows, layout->row, &layout->head)) ||
        (layout->batch == 0 && !dk_mul(problem->heads, layout->head, &layout->batch)))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->%s: %zu heads of %zu rows of %zu overflow",
                       name, problem->heads, rows, layout->row);
    const struct {
        const char *name;
        size_t stride, count;
    } strides[] = {{"row", layout->row, rows},
                   {"head", layout->head, problem->heads},
                   {"batch", layout->batch, problem->batch}};
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        if (strides[i].stride < width && strides[i].count > 1 && !is_empty(problem, rows))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s.%s is %zu, below the width of %zu: strides count elements",
                           name, strides[i].name, strides[i].stride, width);
    }
    return DOTK_OK;
}

/* *out = the elements from the first to the last of an array, 0 when it is empty. */
static bool
extent_of(const struct dk_attention *problem, size_t rows, size_t width, const dotk_layout *layout,
          size_t *out)
{
    size_t batch, head, row;

    *out = 0;
    if (is_empty(problem, rows))
        return true;
    return dk_mul(problem->batch - 1, layout->batch, &batch) &&
           dk_mul(problem->heads - 1, layout->head, &head) && dk_mul(rows - 1, layout->row, &row) &&
           dk_add(batch, head, out) && dk_add(*out, row, out) && dk_add(*out, width, out) &&
           *out <= PTRDIFF_MAX / sizeof(float);
}

/* Whether no two rows of an array share an element: each stride jumps over all smaller ones. */
static bool
rows_apart(const struct dk_attention *problem, size_t rows, size_t width, const dotk_layout *layout)
{
    size_t stride[] = {layout->row, layout->head, layout->batch};
    size_t count[] = {rows, problem->heads, problem->batch};
    size_t extent = width;

    for (size_t i = 0; i < 3; i++) {
        size_t least = i;
        for (size_t j = i + 1; j < 3; j++) {
            if (stride[j] < stride[least])
                least = j;
        }
        const size_t s = stride[least], n = count[least];
        stride[least] = stride[i];
        count[least] = count[i];
        if (n <= 1)
            continue;
        if (s < extent)
            return false;
        extent += s * (n - 1);
    }
    return true;
}

dotk_status
dk_attention_describe(const dotk_attention_shape *shape, const dotk_attention_options *options,
                      struct dk_attention *out)
{
    static const dotk_attention_options defaults = DOTK_ATTENTION_OPTIONS_INIT;

    if (shape == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape is NULL: say how large the arrays are");
    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &defaults;
    *out = (struct dk_attention){
        .batch = shape->batch,
        .heads = shape->heads,
        .queries = shape->queries,
        .keys = shape->keys,
        .dim = shape->width,
        .width = shape->value_width != 0 ? shape->value_width : shape->width,
        .scale = options->has_scale ? (double)options->scale : 1 / sqrt((double)shape->width),
        .causal = options->causal != 0,
        .query_offset = options->query_offset,
        .key_lengths = options->key_lengths,
        .query = options->query,
        .key = options->key,
        .value = options->value,
        .output = options->output,
    };
    if (out->dim == 0 || out->dim > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape->width is %zu: 1 .. %d", out->dim, WIDTH_MAX);
    if (out->width > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape->value_width is %zu: at most %d", out->width,
                       WIDTH_MAX);
    if (!isfinite(out->scale))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->scale is %g: it must be finite", out->scale);
    for (size_t b = 0; out->key_lengths != NULL && b < out->batch; b++) {
        if (out->key_lengths[b] > out->keys)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->key_lengths[%zu] is %zu, above the %zu keys there are", b,
                           out->key_lengths[b], out->keys);
    }

    const struct {
        const char *name;
        size_t rows, width;
        dotk_layout *layout;
    } arrays[] = {{"query", out->queries, out->dim, &out->query},
                  {"key", out->keys, out->dim, &out->key},
                  {"value", out->keys, out->width, &out->value},
                  {"output", out->queries, out->width, &out->output}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        size_t extent;
        const dotk_status status = resolve(out, arrays[i].name, arrays[i].rows, arrays[i].width,
                                           arrays[i].layout);
        if (status != DOTK_OK)
            return status;
        if (!extent_of(out, arrays[i].rows, arrays[i].width, arrays[i].layout, &extent))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "shape: the %s array, %zu x %zu x %zu x %zu with its strides, overflows",
                           arrays[i].name, out->batch, out->heads, arrays[i].rows, arrays[i].width);
    }
    if (!is_empty(out, out->queries) && !rows_apart(out, out->queries, out->width, &out->output))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->output has strides %zu, %zu, %zu: rows of %zu would overlap",
                       out->output.batch, out->output.head, out->output.row, out->width);
    return DOTK_OK;
}

struct dk_prefix_mask
dk_attention_mask(const struct dk_attention *problem, size_t b)
{
    return dk_prefix_mask(problem->key_lengths != NULL ? problem->key_lengths[b] : problem->keys,
                          problem->causal, problem->query_offset);
}

dotk_status
dk_attention_check_arrays(const struct dk_attention *problem,
                          const struct dk_attention_array *arrays, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (arrays[i].start == NULL && arrays[i].width != 0 && !is_empty(problem, arrays[i].rows))
            return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass its %zu x %zu x %zu x %zu values",
                           arrays[i].name, problem->batch, problem->heads, arrays[i].rows,
                           arrays[i].width);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            size_t a, b;
            if (!arrays[i].written || i == j ||
                !extent_of(problem, arrays[i].rows, arrays[i].width, &arrays[i].layout, &a) ||
                !extent_of(problem, arrays[j].rows, arrays[j].width, &arrays[j].layout, &b))
                continue;
            const uintptr_t first = (uintptr_t)arrays[i].start;
            const uintptr_t other = (uintptr_t)arrays[j].start;
            if (a != 0 && b != 0 && first != 0 && other != 0 && first < other + b * sizeof(float) &&
                other < first + a * sizeof(float))
                return dk_fail(DOTK_BAD_ARGUMENT, "%s overlaps %s: give it memory of its own",
                               arrays[i].name, arrays[j].name);
        }
    }
    return DOTK_OK;
}
