/*
 * attend.c - the arguments that functions of attention share: shapes, layouts, options
 *
 * What the library can check it checks itself; here is what only the arrays' own shapes tell.
 */
#include "attend.h"

#include "args.h"

#include <string.h>

#define HALVES (PY_BIT(PY_F32) | PY_BIT(PY_F16) | PY_BIT(PY_BF16))

/* ------------------------------------------------------------------------- */
/*  Queries, keys and values                                                 */
/* ------------------------------------------------------------------------- */

void
py_attend_pad(struct py_array *array)
{
    const size_t more = 4 - array->axes;

    memmove(array->shape + more, array->shape, array->axes * sizeof *array->shape);
    memmove(array->stride + more, array->stride, array->axes * sizeof *array->stride);
    for (size_t i = 0; i < more; i++) {
        array->shape[i] = 1;
        array->stride[i] = 0;
    }
    array->axes = 4;
}

static int
check_store(const struct py_array *array, const struct py_array *q, PyObject *scales,
            const char *scales_name)
{
    if ((array->type == PY_I8) != (scales != NULL)) {
        PyErr_Format(PyExc_TypeError,
                     scales == NULL ? "%s holds int8: give %s too"
                                    : "%s does not hold int8: leave %s out",
                     array->name, scales_name);
        return -1;
    }
    if (array->type == PY_I8 || array->type == q->type)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s holds %s and q %s: give both in one type", array->name,
                 py_type_name(array->type), py_type_name(q->type));
    return -1;
}

static int
check_axis(const struct py_array *array, size_t axis, size_t size, const char *of)
{
    static const char *const axes[4] = {"batch entries", "heads", "rows", "values a row"};

    if (array->shape[axis] == size)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has %zu %s and %s %zu: give equal ones", array->name,
                 array->shape[axis], axes[axis], of, size);
    return -1;
}

static int
get_array(PyObject *object, const char *name, const struct py_array *q, PyObject *scales,
          const char *scales_name, struct py_array *out)
{
    static const struct py_want any = {HALVES, PY_F32, PY_ROWS, 2, 4};
    static const struct py_want coded = {HALVES | PY_BIT(PY_I8), PY_F32, PY_ROWS, 2, 4};

    if (py_array_get(object, name, q == NULL ? &any : &coded, out) < 0)
        return -1;
    if (q != NULL && q->axes != out->axes) {
        PyErr_Format(PyExc_ValueError, "%s has %zu axes and q %zu: give equally many", name,
                     out->axes, q->axes);
        return -1;
    }
    return q == NULL ? 0 : check_store(out, q, scales, scales_name);
}

/* In these shapes 0 means "as the other" to the library. */
static int
refuse_none(const struct py_array *array, const char *what)
{
    PyErr_Format(PyExc_ValueError, "%s has no %s: give at least one", array->name, what);
    return -1;
}

static int
check_keys(const struct py_array *q, const struct py_array *k)
{
    if (check_axis(k, 0, q->shape[0], "q") < 0 || check_axis(k, 3, q->shape[3], "q") < 0)
        return -1;
    return k->shape[1] == 0 && q->shape[1] != 0 ? refuse_none(k, "heads") : 0;
}

static int
check_values(const struct py_array *k, const struct py_array *v)
{
    for (size_t axis = 0; axis < 3; axis++) {
        if (check_axis(v, axis, k->shape[axis], "k") < 0)
            return -1;
    }
    return v->shape[3] == 0 ? refuse_none(v, "values a row") : 0;
}

static int
get_queries(struct py_attend *out, PyObject *q)
{
    memset(out, 0, sizeof *out);
    out->options = (dotk_attention_options)DOTK_ATTENTION_OPTIONS_INIT;
    if (get_array(q, "q", NULL, NULL, NULL, &out->q) < 0)
        return -1;
    out->axes = out->q.axes;
    return 0;
}

static void
describe_queries(struct py_attend *out)
{
    py_attend_pad(&out->q);
    const size_t *const shape = out->q.shape;
    out->options.store = py_type_store(out->q.type);
    out->options.query = py_array_layout(&out->q);
    out->shape.batch = shape[0];
    out->shape.heads = shape[1];
    out->shape.queries = shape[2];
    out->shape.width = shape[3];
}

/* ------------------------------------------------------------------------- */
/*  Options                                                                  */
/* ------------------------------------------------------------------------- */

static int
get_numbers(struct py_attend *out, PyObject *const *given)
{
    dotk_attention_options *const options = &out->options;
    double scale = 0, softcap = 0, dropout = 0;
    bool causal = false;

    if (given[PY_WINDOW_LEFT] != NULL || given[PY_WINDOW_RIGHT] != NULL) {
        options->has_window = 1;
        options->window_left = options->window_right = -1;
    }
    if (py_args_double(given[PY_SCALE], "scale", &scale) < 0 ||
        py_args_double(given[PY_SOFTCAP], "softcap", &softcap) < 0 ||
        py_args_double(given[PY_DROPOUT], "dropout", &dropout) < 0 ||
        py_args_flag(given[PY_CAUSAL], "causal", &causal) < 0 ||
        py_args_int64(given[PY_WINDOW_LEFT], "window_left", &options->window_left) < 0 ||
        py_args_int64(given[PY_WINDOW_RIGHT], "window_right", &options->window_right) < 0 ||
        py_args_int64(given[PY_QUERY_OFFSET], "query_offset", &options->query_offset) < 0 ||
        py_args_uint64(given[PY_SEED], "seed", &options->seed) < 0)
        return -1;
    options->has_scale = given[PY_SCALE] != NULL;
    options->scale = (float)scale;
    options->softcap = (float)softcap;
    options->dropout = (float)dropout;
    options->causal = causal;
    return 0;
}

static int
check_count(const struct py_array *array, size_t count)
{
    if (array->count == count)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has %zu entries: give %zu", array->name, array->count,
                 count);
    return -1;
}

/* (count) of f32. */
static int
get_floats(PyObject *object, const char *name, size_t count, struct py_array *array,
           const float **out)
{
    static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, 1};

    if (object == NULL)
        return 0;
    if (py_array_get(object, name, &want, array) < 0)
        return -1;
    *out = array->data;
    return check_count(array, count);
}

/* (count) of int64. */
static int
get_whole(PyObject *object, const char *name, size_t count, struct py_array *array,
          const int64_t **out)
{
    if (object == NULL)
        return 0;
    if (py_ids_get(object, name, array) < 0)
        return -1;
    *out = array->data;
    return check_count(array, count);
}

/* Sizes: int64 that are not negative, so they have the bits of a size_t. */
static int
get_sizes(PyObject *object, const char *name, size_t most_axes, struct py_array *array,
          const size_t **out)
{
    const struct py_want want = {PY_BIT(PY_I64), PY_I64, PY_DENSE, 1, most_axes};

    if (object == NULL)
        return 0;
    if (py_array_get(object, name, &want, array) < 0)
        return -1;
    const int64_t *const values = array->data;
    for (size_t i = 0; i < array->count; i++) {
        if (values[i] < 0) {
            PyErr_Format(PyExc_ValueError, "%s[%zu] is %lld: give 0 or more", name, i,
                         (long long)values[i]);
            return -1;
        }
    }
    *out = array->data;
    return 0;
}

/* The scales of int8 keys or values, (B, G, S) or with as many axes as k less its last. */
static int
get_scales(PyObject *object, const char *name, const struct py_attend *attend,
           struct py_array *array, const float **out)
{
    const size_t axes = attend->axes - 1;
    const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_DENSE, axes, axes};

    if (object == NULL)
        return 0;
    if (py_array_get(object, name, &want, array) < 0)
        return -1;
    for (size_t i = 0; i < axes; i++) {
        const size_t size = attend->k.shape[4 - attend->axes + i];
        if (array->shape[i] != size) {
            PyErr_Format(PyExc_ValueError,
                         "%s has %zu places on its axis %zu and k %zu: give one "
                         "scale for each of k's rows",
                         name, array->shape[i], i, size);
            return -1;
        }
    }
    *out = array->data;
    return 0;
}

/* A mask's axes are those of scores, or one place for all of that axis; not so the keys. */
static int
get_mask(PyObject *object, const char *name, enum py_type type, const struct py_attend *attend,
         struct py_array *array, dotk_layout *layout, size_t *axes)
{
    const struct py_want want = {PY_BIT(type), type == PY_F32 ? PY_F32 : PY_OTHER, PY_ANY, 1, 4};
    const dotk_attention_shape *const shape = &attend->shape;
    const size_t scores[4] = {shape->batch, shape->heads, shape->queries, shape->keys};
    size_t stride[3];

    if (object == NULL)
        return 0;
    if (py_array_get(object, name, &want, array) < 0)
        return -1;
    *axes = array->axes;
    py_attend_pad(array);
    const bool empty = array->count == 0;
    for (size_t i = 0; i < 4; i++) {
        if (array->shape[i] != scores[i] && (i == 3 || array->shape[i] != 1)) {
            PyErr_Format(PyExc_ValueError,
                         "%s has %zu places for the %zu %s: give %s that many, and (queries, keys) "
                         "as its last axes",
                         name, array->shape[i], scores[i],
                         i == 0   ? "batch entries"
                         : i == 1 ? "heads"
                         : i == 2 ? "queries"
                                  : "keys",
                         i == 3 ? "it" : "it 1 place or");
            return -1;
        }
        if (!empty && array->shape[i] > 1 &&
            (array->stride[i] < 0 || (i == 3 && array->stride[i] != 1))) {
            PyErr_Format(PyExc_ValueError,
                         "%s: its axis %zu from the end has a stride of %zd elements, and no array "
                         "is copied without being asked: pass a dense copy",
                         name, 4 - i, (Py_ssize_t)array->stride[i]);
            return -1;
        }
    }
    for (size_t i = 0; i < 3; i++)
        stride[i] = array->shape[i] > 1 && !empty ? (size_t)array->stride[i] : 0;
    *layout = (dotk_layout){.batch = stride[0], .head = stride[1], .row = stride[2]};
    return 0;
}

static int
get_blocks(PyObject *object, struct py_attend *out)
{
    const dotk_attention_shape *const shape = &out->shape;

    if (object == NULL)
        return 0;
    if (!PyTuple_Check(object) || PyTuple_Size(object) != 4) {
        PyErr_Format(PyExc_TypeError, "blocks is %R: give (rows, cols, starts, columns)", object);
        return -1;
    }
    dotk_attention_blocks *const blocks = &out->blocks;
    if (py_args_size(PyTuple_GetItem(object, 0), "blocks[0]", &blocks->rows) < 0 ||
        py_args_size(PyTuple_GetItem(object, 1), "blocks[1]", &blocks->cols) < 0 ||
        get_sizes(PyTuple_GetItem(object, 2), "blocks[2]", 2, &out->starts, &blocks->starts) < 0 ||
        get_sizes(PyTuple_GetItem(object, 3), "blocks[3]", 1, &out->columns, &blocks->columns) < 0)
        return -1;
    blocks->per_head = out->starts.axes == 2;
    size_t longest = shape->queries;
    if (out->options.sequences != 0) {
        longest = 0;
        for (size_t i = 0; i < out->options.sequences; i++) {
            const size_t *const at = out->options.query_starts + i;
            if (at[1] >= at[0] && at[1] - at[0] > longest)
                longest = at[1] - at[0];
        }
    }
    const size_t rows = blocks->rows == 0 || longest == 0 ? 0 : (longest - 1) / blocks->rows + 1;
    const size_t *const starts = out->starts.shape;
    if (starts[out->starts.axes - 1] != rows + 1 ||
        (blocks->per_head && starts[0] != shape->heads)) {
        PyErr_Format(PyExc_ValueError,
                     "blocks[2] has %zu starts: give %zu, one for each row of blocks and one more, "
                     "or as many for each of %zu heads",
                     starts[out->starts.axes - 1], rows + 1, shape->heads);
        return -1;
    }
    for (size_t i = 0; i < out->starts.count; i++) {
        if (blocks->starts[i] > out->columns.count) {
            PyErr_Format(PyExc_ValueError,
                         "blocks[2] reaches %zu, beyond the %zu columns of "
                         "blocks[3]",
                         blocks->starts[i], out->columns.count);
            return -1;
        }
    }
    out->options.blocks = blocks;
    return 0;
}

static int
get_sequences(struct py_attend *out, PyObject *const *given)
{
    dotk_attention_options *const options = &out->options;

    if (get_sizes(given[PY_QUERY_STARTS], "query_starts", 1, &out->query_starts,
                  &options->query_starts) < 0 ||
        get_sizes(given[PY_KEY_STARTS], "key_starts", 1, &out->key_starts, &options->key_starts) <
            0)
        return -1;
    if (options->query_starts == NULL && options->key_starts == NULL)
        return 0;
    if (out->query_starts.count < 2 || out->key_starts.count != out->query_starts.count) {
        PyErr_Format(PyExc_ValueError,
                     "query_starts has %zu entries and key_starts %zu: give both, one entry for "
                     "each sequence and one more",
                     out->query_starts.count, out->key_starts.count);
        return -1;
    }
    options->sequences = out->query_starts.count - 1;
    return 0;
}

static int
get_options(struct py_attend *out, size_t entries, PyObject *const *given)
{
    dotk_attention_options *const options = &out->options;
    const size_t heads = out->shape.heads;
    size_t axes;

    if (get_numbers(out, given) < 0 || get_sequences(out, given) < 0)
        return -1;
    if (options->sequences != 0)
        entries = options->sequences;
    if (get_whole(given[PY_QUERY_OFFSETS], "query_offsets", entries, &out->query_offsets,
                  &options->query_offsets) < 0 ||
        get_sizes(given[PY_KEY_LENGTHS], "key_lengths", 1, &out->key_lengths,
                  &options->key_lengths) < 0 ||
        (given[PY_KEY_LENGTHS] != NULL && check_count(&out->key_lengths, entries) < 0) ||
        get_floats(given[PY_SLOPES], "slopes", heads, &out->slopes, &options->slopes) < 0 ||
        get_floats(given[PY_SINKS], "sinks", heads, &out->sinks, &options->sinks) < 0 ||
        get_blocks(given[PY_BLOCKS], out) < 0)
        return -1;
    if (get_mask(given[PY_MASK], "mask", PY_BOOL, out, &out->mask, &options->mask_layout, &axes) <
            0 ||
        get_mask(given[PY_BIAS], "bias", PY_F32, out, &out->bias, &options->bias_layout,
                 &out->bias_axes) < 0)
        return -1;
    options->mask = out->mask.data;
    options->bias = out->bias.data;
    return 0;
}

/* ------------------------------------------------------------------------- */
/*  All of it                                                                */
/* ------------------------------------------------------------------------- */

int
py_attend_get(struct py_attend *out, PyObject *q, PyObject *k, PyObject *v,
              PyObject *const *options)
{
    PyObject *const key_scales = options[PY_KEY_SCALES];
    PyObject *const value_scales = v == NULL ? NULL : options[PY_VALUE_SCALES];

    if (get_queries(out, q) < 0 ||
        get_array(k, "k", &out->q, key_scales, "key_scales", &out->k) < 0 ||
        (v != NULL && get_array(v, "v", &out->q, value_scales, "value_scales", &out->v) < 0))
        return -1;
    describe_queries(out);
    py_attend_pad(&out->k);
    if (check_keys(&out->q, &out->k) < 0)
        return -1;
    out->shape.key_heads = out->k.shape[1];
    out->shape.keys = out->k.shape[2];
    out->options.key = py_array_layout(&out->k);
    if (v != NULL) {
        py_attend_pad(&out->v);
        if (check_values(&out->k, &out->v) < 0)
            return -1;
        out->shape.value_width = out->v.shape[3];
        out->options.value = py_array_layout(&out->v);
    }
    if (get_scales(key_scales, "key_scales", out, &out->key_scales, &out->options.key_scales) < 0 ||
        get_scales(value_scales, "value_scales", out, &out->value_scales,
                   &out->options.value_scales) < 0)
        return -1;
    return get_options(out, out->shape.batch, options);
}

int
py_attend_get_queries(struct py_attend *out, PyObject *q, size_t entries, size_t keys,
                      PyObject *const *options)
{
    if (get_queries(out, q) < 0)
        return -1;
    describe_queries(out);
    out->shape.keys = keys;
    return get_options(out, entries, options);
}

void
py_attend_release(struct py_attend *attend)
{
    struct py_array *const arrays[] = {
        &attend->q,
        &attend->k,
        &attend->v,
        &attend->mask,
        &attend->bias,
        &attend->slopes,
        &attend->sinks,
        &attend->key_scales,
        &attend->value_scales,
        &attend->key_lengths,
        &attend->query_offsets,
        &attend->query_starts,
        &attend->key_starts,
        &attend->starts,
        &attend->columns,
    };

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        py_array_release(arrays[i]);
}

PyObject *
py_attend_out(const struct py_attend *attend, PyObject *given, const char *name, enum py_type type,
              size_t width, dotk_layout *layout, struct py_array *out)
{
    const dotk_attention_shape *const s = &attend->shape;
    const size_t shape[4] = {s->batch, s->heads, s->queries, width};
    const size_t axes = width == 0 ? attend->axes - 1 : attend->axes;
    const size_t *const first = shape + 4 - attend->axes;

    if (layout == NULL)
        return py_array_out(given, name, &attend->q, type, axes, first, out);
    PyObject *const answer = py_array_out_rows(given, name, &attend->q, type, axes, first, out);
    if (answer != NULL) {
        py_attend_pad(out);
        *layout = py_array_layout(out);
    }
    return answer;
}
