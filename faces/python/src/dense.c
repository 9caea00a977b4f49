/*
 * dense.c - dense, dense_plan, and dotk.Dense, a layer whose weights are packed once
 */
#include "args.h"
#include "array.h"
#include "context.h"
#include "module.h"

#include <dotk/dense.h>
#include <string.h>

static const char *const activations[] = {"none", "relu",    "gelu", "gelu_tanh",
                                          "silu", "sigmoid", "tanh", NULL};

struct dense_object {
    PyObject_HEAD dotk_dense_weights *handle;
    size_t outputs, inputs;
};

/* ------------------------------------------------------------------------- */
/*  Rows in, rows out                                                        */
/* ------------------------------------------------------------------------- */

/* x (..., inputs) as rows of one stride, and y (..., outputs). */
struct rows {
    struct py_array x, y;
    PyObject *answer;
    size_t count, x_stride, y_stride;
};

/* All axes but the last as one: their strides have to be those of rows one stride apart. */
static int
one_stride(const struct py_array *array, size_t *stride)
{
    const size_t width = array->shape[array->axes - 1];
    size_t rows = 1;

    *stride = width;
    if (array->count == 0)
        return 0;
    for (size_t i = array->axes - 1; i-- > 0;) {
        if (array->shape[i] <= 1)
            continue;
        if (rows == 1)
            *stride = (size_t)array->stride[i];
        else if ((size_t)array->stride[i] != rows * *stride) {
            PyErr_Format(PyExc_ValueError,
                         "%s: its rows do not lie at one distance from each other, and no array "
                         "is copied without being asked: pass a dense copy",
                         array->name);
            return -1;
        }
        rows *= array->shape[i];
    }
    return 0;
}

static int
get_rows(struct rows *rows, PyObject *x, size_t inputs, size_t outputs, PyObject *out)
{
    static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_ROWS, 1, PY_AXES};
    size_t shape[PY_AXES];

    if (py_array_get(x, "x", &want, &rows->x) < 0)
        return -1;
    const size_t axes = rows->x.axes;
    if (rows->x.shape[axes - 1] != inputs) {
        PyErr_Format(PyExc_ValueError, "x has rows of %zu values: give rows of %zu",
                     rows->x.shape[axes - 1], inputs);
        return -1;
    }
    if (one_stride(&rows->x, &rows->x_stride) < 0)
        return -1;
    memcpy(shape, rows->x.shape, axes * sizeof *shape);
    shape[axes - 1] = outputs;
    rows->count = py_array_rows(&rows->x);
    rows->answer = py_array_out_rows(out, "out", &rows->x, PY_F32, axes, shape, &rows->y);
    return rows->answer == NULL ? -1 : one_stride(&rows->y, &rows->y_stride);
}

/* Gives back what was held, and the answer unless something failed. */
static PyObject *
end_rows(struct rows *rows, int status)
{
    py_array_release(&rows->x);
    py_array_release(&rows->y);
    if (status < 0)
        Py_CLEAR(rows->answer);
    return rows->answer;
}

static dotk_dense_options
options_of(const struct rows *rows, size_t activation)
{
    dotk_dense_options options = DOTK_DENSE_OPTIONS_INIT;

    options.activation = (dotk_activation)activation;
    options.x_stride = rows->x_stride;
    options.y_stride = rows->y_stride;
    return options;
}

/* ------------------------------------------------------------------------- */
/*  Plain weights                                                            */
/* ------------------------------------------------------------------------- */

struct weights {
    struct py_rows w;
    struct py_array bias;
};

static int
get_weights(struct weights *weights, PyObject *w, PyObject *bias)
{
    static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, 1};

    if (py_rows_get(w, "weight", 0, &weights->w) < 0)
        return -1;
    if (weights->w.single) {
        PyErr_SetString(PyExc_ValueError, "weight has 1 axes: give 2, (outputs, inputs)");
        return -1;
    }
    if (bias == NULL)
        return 0;
    if (py_array_get(bias, "bias", &want, &weights->bias) < 0)
        return -1;
    if (weights->bias.count == weights->w.rows)
        return 0;
    PyErr_Format(PyExc_ValueError, "bias has %zu values and weight %zu rows: give equally many",
                 weights->bias.count, weights->w.rows);
    return -1;
}

static void
release_weights(struct weights *weights)
{
    py_rows_release(&weights->w);
    py_array_release(&weights->bias);
}

static PyObject *
dense(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "dense", 2, 3, {"x", "weight", "bias", "activation", "out", "context"}, {NULL}};
    PyObject *given[6];
    struct weights weights = {{{0}, NULL, 0, 0, 0, false}, {0}};
    struct rows rows = {{0}, {0}, NULL, 0, 0, 0};
    size_t activation = DOTK_ACTIVATION_NONE;
    struct py_call call;
    int got;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_choice(given[3], "activation", activations, &activation) < 0)
        return NULL;
    got = get_weights(&weights, given[1], given[2]);
    if (got == 0)
        got = get_rows(&rows, given[0], weights.w.dim, weights.w.rows, given[4]);
    if (got == 0)
        got = py_call_begin(&call, given[5]);
    if (got == 0) {
        dotk_dense_options options = options_of(&rows, activation);
        options.w_stride = weights.w.stride;
        const dotk_status status = dotk_dense(call.context, rows.count, weights.w.rows,
                                              weights.w.dim, rows.x.data, weights.w.data,
                                              weights.bias.data, &options, rows.y.data);
        got = py_call_end(&call, status);
    }
    release_weights(&weights);
    return end_rows(&rows, got);
}

static PyObject *
dense_plan(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "dense_plan", 3, 3, {"rows", "outputs", "inputs", "prepared", "context"}, {NULL}};
    PyObject *given[5];
    size_t rows = 0, outputs = 0, inputs = 0;
    bool prepared = false;
    struct py_call call;
    char text[512];

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_size(given[0], "rows", &rows) < 0 ||
        py_args_size(given[1], "outputs", &outputs) < 0 ||
        py_args_size(given[2], "inputs", &inputs) < 0 ||
        py_args_flag(given[3], "prepared", &prepared) < 0 || py_call_begin(&call, given[4]) < 0)
        return NULL;
    const dotk_status status = dotk_dense_plan(call.context, rows, outputs, inputs, prepared, text,
                                               sizeof text);
    return py_call_end(&call, status) < 0 ? NULL : PyUnicode_FromString(text);
}

/* ------------------------------------------------------------------------- */
/*  dotk.Dense                                                               */
/* ------------------------------------------------------------------------- */

static PyObject *
dense_new(PyTypeObject *type, PyObject *values, PyObject *keywords)
{
    static struct py_args args = {"Dense", 1, 2, {"weight", "bias"}, {NULL}};
    PyObject *given[2];
    struct weights weights = {{{0}, NULL, 0, 0, 0, false}, {0}};
    struct dense_object *self = NULL;
    struct py_call call;

    if (py_args_parse_tuple(&args, values, keywords, given) < 0)
        return NULL;
    if (get_weights(&weights, given[0], given[1]) == 0)
        self = (struct dense_object *)PyType_GenericAlloc(type, 0);
    if (self != NULL && py_call_begin(&call, NULL) < 0) {
        Py_CLEAR(self);
    } else if (self != NULL) {
        self->outputs = weights.w.rows;
        self->inputs = weights.w.dim;
        const dotk_status status = dotk_dense_prepare(self->outputs, self->inputs, weights.w.data,
                                                      weights.w.stride, weights.bias.data,
                                                      &self->handle);
        if (py_call_end(&call, status) < 0)
            Py_CLEAR(self);
    }
    release_weights(&weights);
    return (PyObject *)self;
}

static void
dense_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    dotk_dense_destroy(((struct dense_object *)self)->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *
dense_call(PyObject *self, PyObject *values, PyObject *keywords)
{
    static struct py_args args = {
        "Dense.__call__", 1, 1, {"x", "activation", "out", "context"}, {NULL}};
    const struct dense_object *const layer = (struct dense_object *)self;
    PyObject *given[4];
    struct rows rows = {{0}, {0}, NULL, 0, 0, 0};
    size_t activation = DOTK_ACTIVATION_NONE;
    struct py_call call;

    if (py_args_parse_tuple(&args, values, keywords, given) < 0 ||
        py_args_choice(given[1], "activation", activations, &activation) < 0)
        return NULL;
    int got = get_rows(&rows, given[0], layer->inputs, layer->outputs, given[2]);
    if (got == 0)
        got = py_call_begin(&call, given[3]);
    if (got == 0) {
        const dotk_dense_options options = options_of(&rows, activation);
        const dotk_status status = dotk_dense_forward(call.context, layer->handle, rows.count,
                                                      rows.x.data, &options, rows.y.data);
        got = py_call_end(&call, status);
    }
    return end_rows(&rows, got);
}

static PyObject *
dense_inputs(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct dense_object *)self)->inputs);
}

static PyObject *
dense_outputs(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct dense_object *)self)->outputs);
}

static PyGetSetDef dense_members[] = {
    {"inputs", dense_inputs, NULL, "How many values a row of x has.", NULL},
    {"outputs", dense_outputs, NULL, "How many values a row of the answer has.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define ACTIVATIONS                                                                                \
    "activation is \"none\", \"relu\", \"gelu\" (by erf), \"gelu_tanh\", \"silu\", \"sigmoid\" "   \
    "or\n\"tanh\". Arrays are float32; rows may lie apart, all at one distance. Other number\n"    \
    "types are converted, which takes a copy.\n"

static PyType_Slot dense_slots[] = {
    {Py_tp_doc,
     "Dense(weight, bias=None)\n--\n\n"
     "A dense layer whose weights, (outputs, inputs), are packed once; called as layer(x), it\n"
     "gives what dense() gives, bit for bit. Both arguments are copied. Any number of threads\n"
     "may use one layer.\n"
     "\n"
     "    layer(x, *, activation='none', out=None, context=None)\n"
     "\n" ACTIVATIONS "\n"
     ">>> layer = dotk.Dense([[1, 2], [3, 4]], bias=[0, -9])\n"
     ">>> layer([1, 1], activation=\"relu\")\n"
     "array([3., 0.], dtype=float32)\n"},
    {Py_tp_new, dense_new},
    {Py_tp_dealloc, dense_dealloc},
    {Py_tp_call, dense_call},
    {Py_tp_getset, dense_members},
    {0, NULL},
};

static PyType_Spec dense_spec = {
    "dotk.Dense", sizeof(struct dense_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    dense_slots,
};

static PyMethodDef methods[] = {
    PY_METHOD("dense", dense,
              "dense(x, weight, bias=None, *, activation='none', out=None, context=None)\n--\n\n"
              "activation(x weight^T + bias): (..., outputs), from x (..., inputs), weight\n"
              "(outputs, inputs) and bias (outputs). They are only read during the call, which\n"
              "lets go of the GIL. ValueError and TypeError name what is wrong.\n"
              "\n" ACTIVATIONS "\n"
              ">>> dotk.dense([1, 1], [[1, 2], [3, 4]], [0, -9], activation=\"relu\")\n"
              "array([3., 0.], dtype=float32)\n"),
    PY_METHOD("dense_plan", dense_plan,
              "dense_plan(rows, outputs, inputs, *, prepared=False, context=None)\n--\n\n"
              "Which path and kernel dense(), or with prepared=True a Dense, would take for x\n"
              "(rows, inputs), and why: one line.\n"
              "\n"
              ">>> dotk.dense_plan(1, 64, 64).split()[0]\n"
              "'few'\n"),
    PY_METHODS_END,
};

int
py_add_dense(PyObject *module)
{
    PyObject *const type = PyType_FromModuleAndSpec(module, &dense_spec, NULL);

    if (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0)
        return -1;
    return PyModule_AddFunctions(module, methods);
}
