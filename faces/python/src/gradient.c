/*
 * gradient.c - attention_backward
 *
 * The library writes a gradient in the layout of what it belongs to, gaps between rows included; so
 * new arrays are made that lie in just that way.
 */
#include "args.h"
#include "array.h"
#include "attend.h"
#include "context.h"
#include "module.h"

#include <string.h>

enum gradient { Q, K, V, BIAS, SINKS, GRADIENTS };

static const char *const gradient_names[GRADIENTS + 1] = {"q", "k", "v", "bias", "sinks", NULL};

/* gradients=: names; None: q, k and v. */
static int
get_wanted(PyObject *names, bool *wanted)
{
    if (names == NULL) {
        wanted[Q] = wanted[K] = wanted[V] = true;
        return 0;
    }
    PyObject *const tuple = py_args_names(names, "gradients");
    int got = tuple == NULL ? -1 : 0;
    const Py_ssize_t count = got == 0 ? PyTuple_Size(tuple) : 0;
    for (Py_ssize_t i = 0; i < count && got == 0; i++) {
        size_t place = 0;
        got = py_args_choice(PyTuple_GetItem(tuple, i), "gradients", gradient_names, &place);
        wanted[place] |= got == 0;
    }
    Py_XDECREF(tuple);
    return got;
}

/* A new array that lies as 'like' does, without its first axes beyond 'axes'; axes of which all
 * places are one have one. */
static PyObject *
lying_as(const struct py_array *like, size_t axes, struct py_array *out)
{
    const size_t first = like->axes - axes, size = py_type_size(like->type);
    size_t shape[PY_AXES], extent = 1;
    ptrdiff_t stride[PY_AXES];

    for (size_t i = 0; i < axes; i++) {
        shape[i] = like->shape[first + i];
        stride[i] = like->stride[first + i];
        if (stride[i] == 0 && like->count > 0)
            shape[i] = 1;
        if (shape[i] <= 1)
            stride[i] = 1; /* it never counts, and may be anything */
        if (shape[i] == 0)
            extent = 0;
        if (extent != 0)
            extent += (shape[i] - 1) * (size_t)stride[i];
    }
    PyObject *const flat = py_array_out(NULL, "gradient", like, like->type, 1, &extent, out);
    if (flat == NULL)
        return NULL;
    PyObject *const shapes = PyTuple_New((Py_ssize_t)axes), *const strides = PyTuple_New(
                                                                (Py_ssize_t)axes);
    for (size_t i = 0; shapes != NULL && strides != NULL && i < axes; i++) {
        PyTuple_SetItem(shapes, (Py_ssize_t)i, PyLong_FromSize_t(shape[i]));
        PyTuple_SetItem(strides, (Py_ssize_t)i,
                        PyLong_FromSsize_t(like->torch ? stride[i] : stride[i] * (ptrdiff_t)size));
    }
    PyObject *view = NULL;
    if (shapes != NULL && strides != NULL && !PyErr_Occurred()) {
        if (extent == 0) {
            view = PyObject_CallMethod(flat, "reshape", "O", shapes);
        } else if (like->torch) {
            view = PyObject_CallMethod(flat, "as_strided", "OO", shapes, strides);
        } else {
            PyObject *const tricks = PyImport_ImportModule("numpy.lib.stride_tricks");
            if (tricks != NULL)
                view = PyObject_CallMethod(tricks, "as_strided", "OOO", flat, shapes, strides);
            Py_XDECREF(tricks);
        }
    }
    Py_XDECREF(shapes);
    Py_XDECREF(strides);
    Py_DECREF(flat);
    if (view == NULL)
        py_array_release(out);
    return view;
}

/* The arrays of the forward pass that come back: out, its gradient, and the log-sum-exp. */
struct before {
    struct py_array out, d_out, lse;
};

static int
get_like_out(PyObject *object, const char *name, const struct py_attend *attend,
             struct py_array *array)
{
    const enum py_type type = attend->q.type;
    const struct py_want want = {PY_BIT(type), type == PY_F32 ? PY_F32 : PY_OTHER, PY_ROWS,
                                 attend->axes, attend->axes};
    const size_t shape[4] = {attend->shape.batch, attend->shape.heads, attend->shape.queries,
                             attend->v.shape[3]};

    if (py_array_get(object, name, &want, array) < 0)
        return -1;
    py_attend_pad(array);
    for (size_t i = 0; i < 4; i++) {
        if (array->shape[i] != shape[i]) {
            PyErr_Format(PyExc_ValueError,
                         "%s has %zu places on its axis %zu from the end: give the %zu of the "
                         "output",
                         name, array->shape[i], 4 - i, shape[i]);
            return -1;
        }
    }
    return 0;
}

static int
get_before(PyObject *const *given, struct py_attend *attend, struct before *before)
{
    const size_t axes = attend->axes - 1;
    const struct py_want rows = {PY_BIT(PY_F32), PY_F32, PY_DENSE, axes, axes};

    if (get_like_out(given[0], "out", attend, &before->out) < 0 ||
        get_like_out(given[2], "d_out", attend, &before->d_out) < 0 ||
        py_array_get(given[1], "lse", &rows, &before->lse) < 0)
        return -1;
    for (size_t i = 0; i < axes; i++) {
        if (before->lse.shape[i] != before->out.shape[4 - attend->axes + i]) {
            PyErr_Format(PyExc_ValueError,
                         "lse has %zu places on its axis %zu: give the lse that came with out",
                         before->lse.shape[i], i);
            return -1;
        }
    }
    attend->options.output = py_array_layout(&before->out);
    const dotk_layout other = py_array_layout(&before->d_out);
    if (memcmp(&attend->options.output, &other, sizeof other) != 0) {
        PyErr_SetString(PyExc_ValueError,
                        "d_out lies in memory otherwise than out: pass dense copies of both");
        return -1;
    }
    return 0;
}

static int
run_backward(struct py_attend *attend, const struct before *before, PyObject *context,
             const dotk_attention_gradients *gradients)
{
    struct py_call call;

    if (py_call_begin(&call, context) < 0)
        return -1;
    const dotk_status status = dotk_attention_backward(
        call.context, &attend->shape, attend->q.data, attend->k.data, attend->v.data,
        &attend->options, before->out.data, before->lse.data, before->d_out.data, gradients);
    return py_call_end(&call, status);
}

static PyObject *
backward(struct py_attend *attend, const struct before *before, const bool *wanted,
         PyObject *context)
{
    const struct py_array *const of[GRADIENTS] = {&attend->q, &attend->k, &attend->v, &attend->bias,
                                                  &attend->sinks};
    struct py_array arrays[GRADIENTS] = {{0}};
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;
    PyObject *answer = PyDict_New();

    for (size_t i = 0; answer != NULL && i < GRADIENTS; i++) {
        if (!wanted[i])
            continue;
        if (of[i]->object == NULL) {
            PyErr_Format(PyExc_ValueError, "gradients has \"%s\", and %s is not given",
                         gradient_names[i], gradient_names[i]);
            Py_CLEAR(answer);
            break;
        }
        const size_t axes = i < BIAS    ? attend->axes
                            : i == BIAS ? attend->bias_axes
                                        : attend->sinks.axes;
        PyObject *const array = lying_as(of[i], axes, &arrays[i]);
        if (array == NULL || PyDict_SetItemString(answer, gradient_names[i], array) < 0)
            Py_CLEAR(answer);
        Py_XDECREF(array);
    }
    gradients.q = arrays[Q].data;
    gradients.k = arrays[K].data;
    gradients.v = arrays[V].data;
    gradients.bias = arrays[BIAS].data;
    gradients.sinks = arrays[SINKS].data;
    if (answer != NULL && run_backward(attend, before, context, &gradients) < 0)
        Py_CLEAR(answer);
    for (size_t i = 0; i < GRADIENTS; i++)
        py_array_release(&arrays[i]);
    return answer;
}

static PyObject *
attention_backward(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention_backward",
        6,
        6,
        {"q", "k", "v", "out", "lse", "d_out", PY_ATTEND_NAMES, "gradients", "context"},
        {NULL}};
    enum { OPTIONS = 6, WANTED = OPTIONS + PY_ATTEND_OPTIONS, CONTEXT, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct py_attend attend;
    struct before before = {{0}, {0}, {0}};
    bool wanted[GRADIENTS] = {false};

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        get_wanted(given[WANTED], wanted) < 0)
        return NULL;
    if (py_attend_get(&attend, given[0], given[1], given[2], given + OPTIONS) == 0 &&
        get_before(given + 3, &attend, &before) == 0)
        answer = backward(&attend, &before, wanted, given[CONTEXT]);
    py_attend_release(&attend);
    py_array_release(&before.out);
    py_array_release(&before.d_out);
    py_array_release(&before.lse);
    return answer;
}

static PyMethodDef methods[] = {
    PY_METHOD(
        "attention_backward", attention_backward,
        "attention_backward(q, k, v, out, lse, d_out, *, scale=None, causal=False, "
        "window_left=None, window_right=None, query_offset=0, query_offsets=None, "
        "key_lengths=None, mask=None, bias=None, blocks=None, softcap=0.0, dropout=0.0, seed=0, "
        "slopes=None, sinks=None, query_starts=None, key_starts=None, key_scales=None, "
        "value_scales=None, gradients=('q', 'k', 'v'), context=None)\n--\n\n"
        "Gradients of a loss by q, k and v, from d_out, that by attention()'s answer, as a dict.\n"
        "\n"
        "q (B, H, L, D), k (B, G, S, D), v (B, G, S, E) and all options are as attention() had\n"
        "them, seed included; out (B, H, L, E) and lse (B, H, L) are what it gave with lse=True,\n"
        "and d_out lies as out does. gradients names those that are wanted, of \"q\", \"k\", "
        "\"v\",\n"
        "\"bias\" and \"sinks\"; each has the shape and strides of what it belongs to, but one\n"
        "place where a bias has a stride of 0. Nothing of size L x S is stored. Arrays are only\n"
        "read during the call, which lets go of the GIL. ValueError and TypeError name what is\n"
        "wrong; dotk.Error for int8 keys or values; MemoryError.\n"
        "\n"
        ">>> q = np.eye(2, dtype=np.float32)\n"
        ">>> out, lse = dotk.attention(q, q, q, lse=True)\n"
        ">>> found = dotk.attention_backward(q, q, q, out, lse, np.ones_like(out))\n"
        ">>> found[\"v\"].sum(axis=0).round(5)\n"
        "array([2., 2.], dtype=float32)\n"),
    PY_METHODS_END,
};

int
py_add_gradient(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
