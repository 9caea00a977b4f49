/* layout.c - arrays of heads; see layout.h */
#include "tile/layout.h"

#include "platform/memory.h"
#include "platform/status.h"

/* The axes of an array, from the inside out. */
struct axis {
    const char *name;
    size_t stride, count;
};

enum { AXES = 3 };

static void
axes_of(const struct dk_array *array, const dotk_layout *layout, struct axis axes[AXES])
{
    axes[0] = (struct axis){"row", layout->row, array->rows};
    axes[1] = (struct axis){"head", layout->head, array->heads};
    axes[2] = (struct axis){"batch", layout->batch, array->batch};
}

bool
dk_array_empty(const struct dk_array *array)
{
    return array->batch == 0 || array->heads == 0 || array->rows == 0;
}

/* Strides that are set: where some are, all that matter. */
static dotk_status
check_strides(const struct dk_array *array, const dotk_layout *layout)
{
    const bool none = layout->batch == 0 && layout->head == 0 && layout->row == 0;
    struct axis axes[AXES];

    if (none || dk_array_empty(array))
        return DOTK_OK;
    axes_of(array, layout, axes);
    for (size_t i = 0; i < AXES; i++) {
        if (axes[i].count > 1 && axes[i].stride != 0 && axes[i].stride < array->width)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s.%s is %zu, below the width of %zu: strides count elements",
                           array->name, axes[i].name, axes[i].stride, array->width);
    }
    for (size_t i = 0; i < AXES; i++) {
        if (axes[i].count > 1 && axes[i].stride == 0)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s.%s is 0 in strides of %zu, %zu, %zu (batch, head, row): "
                           "set all three, or none",
                           array->name, axes[i].name, layout->batch, layout->head, layout->row);
    }
    return DOTK_OK;
}

dotk_status
dk_layout_resolve(const struct dk_array *array, dotk_layout *layout)
{
    const dotk_status status = check_strides(array, layout);

    if (status != DOTK_OK)
        return status;
    if (layout->row == 0)
        layout->row = array->width;
    if ((layout->head == 0 && !dk_mul(array->rows, layout->row, &layout->head)) ||
        (layout->batch == 0 && !dk_mul(array->heads, layout->head, &layout->batch)))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->%s: %zu heads of %zu rows of %zu overflow",
                       array->name, array->heads, array->rows, layout->row);
    return DOTK_OK;
}

bool
dk_layout_extent(const struct dk_array *array, const dotk_layout *layout, size_t *out)
{
    size_t batch, head, row;

    *out = 0;
    if (dk_array_empty(array))
        return true;
    return dk_mul(array->batch - 1, layout->batch, &batch) &&
           dk_mul(array->heads - 1, layout->head, &head) &&
           dk_mul(array->rows - 1, layout->row, &row) && dk_add(batch, head, out) &&
           dk_add(*out, row, out) && dk_add(*out, array->width, out) &&
           dk_mul(*out, array->size, out) && *out <= PTRDIFF_MAX;
}

dotk_status
dk_layout_fail_extent(const struct dk_array *array)
{
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "shape: the %s array, %zu x %zu x %zu x %zu with its strides, overflows",
                   array->name, array->batch, array->heads, array->rows, array->width);
}

dotk_status
dk_layout_check_apart(const struct dk_array *array, const dotk_layout *layout, const char *name)
{
    size_t extent = array->width;
    struct axis axes[AXES];

    if (dk_array_empty(array))
        return DOTK_OK;
    axes_of(array, layout, axes);
    for (size_t i = 0; i < AXES; i++) { /* from the smallest stride up */
        size_t least = i;
        for (size_t j = i + 1; j < AXES; j++)
            least = axes[j].stride < axes[least].stride ? j : least;
        const struct axis axis = axes[least];
        axes[least] = axes[i];
        if (axis.count <= 1 || axis.stride == 0)
            continue;
        if (axis.stride < extent)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "%s has strides %zu, %zu, %zu: rows of %zu would overlap", name,
                           layout->batch, layout->head, layout->row, array->width);
        extent += axis.stride * (axis.count - 1);
    }
    return DOTK_OK;
}

bool
dk_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const uintptr_t first = (uintptr_t)a, other = (uintptr_t)b;

    return a != NULL && b != NULL && a_bytes > 0 && b_bytes > 0 && first < other + b_bytes &&
           other < first + a_bytes;
}
