/*
 * vector.c - dot, l2, cosine, angle; norm; normalize, project, softmax, log_softmax; inspect
 *
 * Functions of one or two vectors work on the last axis and go over all others. Few numbers are
 * worked out without letting go of the GIL, which would cost as much as the work.
 */
#include "args.h"
#include "array.h"
#include "context.h"
#include "module.h"

#include <dotk/vector.h>
#include <math.h>
#include <string.h>

#define FEW 65536 /* values: 5 us or so */

static const struct py_want vectors = {PY_BIT(PY_F32), PY_F32, PY_ROWS, 1, PY_AXES};

/* ------------------------------------------------------------------------- */
/*  Going over rows                                                          */
/* ------------------------------------------------------------------------- */

/* What is done to a row of a and one of b, or to a row of a alone; out is a number or a row. */
typedef dotk_status
row_function(const float *a, const float *b, size_t dim, float parameter, float *out);

struct work {
    row_function *function;
    const struct py_array *a, *b; /* b may be NULL; either may be one vector for all rows */
    float parameter;
    size_t rows, dim;
    float *out;
    size_t out_stride;
    size_t row; /* the next one */
};

static const float *
row_of(const struct py_array *array, size_t row)
{
    return (const float *)array->data + (array->axes > 1 ? py_array_row(array, row) : 0);
}

/* 'call' NULL: the GIL is held, and nothing takes long. */
static dotk_status
go(struct work *work, struct py_call *call)
{
    const size_t stretch = 1 + FEW / (work->dim + 1);

    for (; work->row < work->rows; work->row++) {
        if (call != NULL && work->row % stretch == 0 && py_call_poll(call) != 0)
            return DOTK_CANCELLED;
        const float *const b = work->b == NULL ? NULL : row_of(work->b, work->row);
        const dotk_status status = work->function(row_of(work->a, work->row), b, work->dim,
                                                  work->parameter,
                                                  work->out + work->row * work->out_stride);
        if (status != DOTK_OK)
            return status;
    }
    return DOTK_OK;
}

/* Returns 0, or -1 with an exception, which names the row if there are several. */
static int
do_rows(struct work *work)
{
    dotk_status status;
    struct py_call call;

    if (work->rows * work->dim < FEW) {
        status = go(work, NULL);
    } else {
        if (py_call_begin(&call, NULL) < 0)
            return -1;
        status = go(work, &call);
        if (py_call_end(&call, DOTK_OK) < 0)
            return -1;
    }
    if (status == DOTK_OK)
        return 0;
    if (status != DOTK_BAD_ARGUMENT || work->rows == 1)
        return py_raise(status);
    PyErr_Format(PyExc_ValueError, "row %zu: %s", work->row, dotk_last_message());
    return -1;
}

/* Which of the two has the rows, the other being one vector or of the same shape; NULL: refused. */
static const struct py_array *
leader(const struct py_array *a, const struct py_array *b)
{
    const size_t dim_a = a->shape[a->axes - 1], dim_b = b->shape[b->axes - 1];

    if (dim_a != dim_b) {
        PyErr_Format(PyExc_ValueError, "a has vectors of %zu values and b of %zu: give equal ones",
                     dim_a, dim_b);
        return NULL;
    }
    if (a->axes > 1 && b->axes > 1 &&
        (a->axes != b->axes || memcmp(a->shape, b->shape, a->axes * sizeof *a->shape) != 0)) {
        PyErr_SetString(
            PyExc_ValueError,
            "a and b have several rows each, in different shapes: give equal shapes, or "
            "one vector and rows");
        return NULL;
    }
    return a->axes > 1 ? a : b;
}

/* A number for each row: a float for one vector, else an array with the other axes. */
static PyObject *
numbers(row_function *function, const struct py_array *a, const struct py_array *b, PyObject *out)
{
    const struct py_array *const lead = b == NULL ? a : leader(a, b);

    if (lead == NULL)
        return NULL;
    struct work work = {.function = function, .a = a, .b = b, .out_stride = 1};
    work.dim = lead->shape[lead->axes - 1];
    work.rows = lead->axes > 1 ? py_array_rows(lead) : 1;
    if (lead->axes == 1 && out == NULL) {
        float number = 0;
        work.out = &number;
        return do_rows(&work) < 0 ? NULL : PyFloat_FromDouble((double)number);
    }
    struct py_array result;
    PyObject *answer = py_array_out(out, "out", lead, PY_F32, lead->axes - 1, lead->shape, &result);
    if (answer == NULL)
        return NULL;
    work.out = result.data;
    if (do_rows(&work) < 0)
        Py_CLEAR(answer);
    py_array_release(&result);
    return answer;
}

/* A row for each row. */
static PyObject *
new_rows(row_function *function, const struct py_array *a, const struct py_array *b,
         float parameter, PyObject *out)
{
    const struct py_array *const lead = b == NULL ? a : leader(a, b);

    if (lead == NULL)
        return NULL;
    struct work work = {.function = function, .a = a, .b = b, .parameter = parameter};
    work.dim = lead->shape[lead->axes - 1];
    work.rows = lead->axes > 1 ? py_array_rows(lead) : 1;
    work.out_stride = work.dim;
    struct py_array result;
    PyObject *answer = py_array_out(out, "out", lead, PY_F32, lead->axes, lead->shape, &result);
    if (answer == NULL)
        return NULL;
    work.out = result.data;
    if (do_rows(&work) < 0)
        Py_CLEAR(answer);
    py_array_release(&result);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  The library's functions in one shape                                     */
/* ------------------------------------------------------------------------- */

static dotk_status
row_dot(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)parameter;
    *out = dotk_dot(a, b, dim);
    return DOTK_OK;
}

static dotk_status
row_l2(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)parameter;
    *out = dotk_l2(a, b, dim);
    return DOTK_OK;
}

static dotk_status
row_cosine(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)parameter;
    return dotk_cosine(a, b, dim, out);
}

static dotk_status
row_angle(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)parameter;
    return dotk_angle(a, b, dim, out);
}

static dotk_status
row_norm(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)b;
    (void)parameter;
    *out = dotk_norm(a, dim);
    return DOTK_OK;
}

static dotk_status
row_normalize(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)b;
    (void)parameter;
    return dotk_normalize(a, dim, out, NULL);
}

static dotk_status
row_project(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)parameter;
    return dotk_project(a, b, dim, out);
}

static dotk_status
row_softmax(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)b;
    return dotk_softmax(a, dim, parameter, out);
}

static dotk_status
row_log_softmax(const float *a, const float *b, size_t dim, float parameter, float *out)
{
    (void)b;
    return dotk_log_softmax(a, dim, parameter, out);
}

/* ------------------------------------------------------------------------- */
/*  Python's functions                                                       */
/* ------------------------------------------------------------------------- */

enum { A, B, OUT };

/* f(a, b, *, out=None) of two vectors; 'wide': it gives vectors. */
static PyObject *
of_two(struct py_args *args, PyObject *const *values, Py_ssize_t count, PyObject *keywords,
       row_function *function, bool wide)
{
    PyObject *given[3], *answer = NULL;
    struct py_array a = {0}, b = {0};

    if (py_args_parse(args, values, count, keywords, given) == 0 &&
        py_array_get(given[A], "a", &vectors, &a) == 0 &&
        py_array_get(given[B], "b", &vectors, &b) == 0)
        answer = wide ? new_rows(function, &a, &b, 0, given[OUT])
                      : numbers(function, &a, &b, given[OUT]);
    py_array_release(&a);
    py_array_release(&b);
    return answer;
}

#define OF_TWO(name, wide)                                                                         \
    static PyObject *name(PyObject *module, PyObject *const *values, Py_ssize_t count,             \
                          PyObject *keywords)                                                      \
    {                                                                                              \
        static struct py_args args = {#name, 2, 2, {"a", "b", "out"}, {NULL}};                     \
                                                                                                   \
        (void)module;                                                                              \
        return of_two(&args, values, count, keywords, row_##name, wide);                           \
    }

OF_TWO(dot, false)
OF_TWO(l2, false)
OF_TWO(cosine, false)
OF_TWO(angle, false)
OF_TWO(project, true)

static PyObject *
of_one(struct py_args *args, PyObject *const *values, Py_ssize_t count, PyObject *keywords,
       row_function *function, bool wide)
{
    PyObject *given[2], *answer = NULL;
    struct py_array a = {0};

    if (py_args_parse(args, values, count, keywords, given) == 0 &&
        py_array_get(given[0], "a", &vectors, &a) == 0)
        answer = wide ? new_rows(function, &a, NULL, 0, given[1])
                      : numbers(function, &a, NULL, given[1]);
    py_array_release(&a);
    return answer;
}

static PyObject *
norm(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"norm", 1, 1, {"a", "out"}, {NULL}};

    (void)module;
    return of_one(&args, values, count, keywords, row_norm, false);
}

static PyObject *
normalize(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"normalize", 1, 1, {"a", "out"}, {NULL}};

    (void)module;
    return of_one(&args, values, count, keywords, row_normalize, true);
}

static PyObject *
with_temperature(struct py_args *args, PyObject *const *values, Py_ssize_t count,
                 PyObject *keywords, row_function *function)
{
    PyObject *given[3], *answer = NULL;
    struct py_array a = {0};
    double temperature = 1;

    if (py_args_parse(args, values, count, keywords, given) == 0 &&
        py_args_double(given[1], "temperature", &temperature) == 0 &&
        py_array_get(given[0], "a", &vectors, &a) == 0)
        answer = new_rows(function, &a, NULL, (float)temperature, given[2]);
    py_array_release(&a);
    return answer;
}

static PyObject *
softmax(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"softmax", 1, 1, {"a", "temperature", "out"}, {NULL}};

    (void)module;
    return with_temperature(&args, values, count, keywords, row_softmax);
}

static PyObject *
log_softmax(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"log_softmax", 1, 1, {"a", "temperature", "out"}, {NULL}};

    (void)module;
    return with_temperature(&args, values, count, keywords, row_log_softmax);
}

static PyObject *
inspection(const dotk_inspection *found)
{
    const double *const quantile = found->norm_quantile;

    return Py_BuildValue(
        "{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:d,s:d,s:d,s:(ddddd),s:O,s:O,s:s,s:s}", "rows",
        (Py_ssize_t)found->rows, "dim", (Py_ssize_t)found->dim, "nan_rows",
        (Py_ssize_t)found->nan_rows, "infinite_rows", (Py_ssize_t)found->infinite_rows, "zero_rows",
        (Py_ssize_t)found->zero_rows, "duplicate_rows", (Py_ssize_t)found->duplicate_rows,
        "unit_rows", (Py_ssize_t)found->unit_rows, "norm_min", found->norm_min, "norm_mean",
        found->norm_mean, "norm_max", found->norm_max, "norm_quantiles", quantile[0], quantile[1],
        quantile[2], quantile[3], quantile[4], "unit", found->unit ? Py_True : Py_False, "mixed",
        found->mixed ? Py_True : Py_False, "metric", found->metric, "why", found->why);
}

static PyObject *
inspect(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"inspect", 1, 1, {"vectors", "context"}, {NULL}};
    PyObject *given[2], *answer = NULL;
    struct py_rows rows;
    struct py_call call;
    dotk_inspection found;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_rows_get(given[0], "vectors", 0, &rows) < 0)
        return NULL;
    if (py_call_begin(&call, given[1]) == 0) {
        const dotk_status status = dotk_inspect(call.context, rows.data, rows.rows, rows.dim,
                                                rows.stride, &found);
        if (py_call_end(&call, status) == 0)
            answer = inspection(&found);
    }
    py_rows_release(&rows);
    return answer;
}

#define ROWS                                                                                       \
    "Arrays are float32, (..., dim): all axes but the last are gone over, and either argument "    \
    "may\n"                                                                                        \
    "be one vector, (dim), for all rows of the other. Other number types are converted, which\n"   \
    "takes a copy.\n\n"

static PyMethodDef methods[] = {
    PY_METHOD("dot", dot,
              "dot(a, b, *, out=None)\n--\n\n"
              "The dot product of two vectors, a float; or of rows, an array (...).\n"
              "\n" ROWS ">>> dotk.dot([1, 2, 3], [4, 5, 6])\n"
              "32.0\n"
              ">>> dotk.dot([[1, 0], [0, 2]], [3, 4])\n"
              "array([3., 8.], dtype=float32)\n"),
    PY_METHOD(
        "l2", l2,
        "l2(a, b, *, out=None)\n--\n\n"
        "The squared Euclidean distance of two vectors, a float; or of rows, an array (...).\n"
        "\n" ROWS ">>> dotk.l2([1, 1], [4, 5])\n"
        "25.0\n"),
    PY_METHOD("cosine", cosine,
              "cosine(a, b, *, out=None)\n--\n\n"
              "The cosine of the angle between two vectors, -1 to 1; or of rows, an array (...).\n"
              "A vector of zeros has no angle: ValueError.\n"
              "\n" ROWS ">>> dotk.cosine([1, 0], [0, 2])\n"
              "0.0\n"),
    PY_METHOD("angle", angle,
              "angle(a, b, *, out=None)\n--\n\n"
              "The angle between two vectors in radians, 0 to pi, accurate near both ends; or of\n"
              "rows, an array (...).\n"
              "\n" ROWS ">>> round(dotk.angle([1, 0], [0, 2]), 4)\n"
              "1.5708\n"),
    PY_METHOD("norm", norm,
              "norm(a, *, out=None)\n--\n\n"
              "The Euclidean length of a vector, a float; or of rows, (..., dim) to (...).\n"
              "\n"
              ">>> dotk.norm([3, 4])\n"
              "5.0\n"),
    PY_METHOD("normalize", normalize,
              "normalize(a, *, out=None)\n--\n\n"
              "a / |a|, for each vector of an array (..., dim). out may be a itself.\n"
              "A vector of zeros has no direction: ValueError.\n"
              "\n"
              ">>> dotk.normalize([3, 4])\n"
              "array([0.6, 0.8], dtype=float32)\n"),
    PY_METHOD("project", project,
              "project(a, b, *, out=None)\n--\n\n"
              "The projection of a on b, (a.b / b.b) b; or of rows, an array (..., dim).\n"
              "\n" ROWS ">>> dotk.project([2, 3], [5, 0])\n"
              "array([2., 0.], dtype=float32)\n"),
    PY_METHOD("softmax", softmax,
              "softmax(a, *, temperature=1.0, out=None)\n--\n\n"
              "exp(a / temperature) over its sum, along the last axis of an array (..., dim);\n"
              "weights that are positive and sum to 1. out may be a itself.\n"
              "\n"
              ">>> dotk.softmax([0.0, 0.0])\n"
              "array([0.5, 0.5], dtype=float32)\n"),
    PY_METHOD("log_softmax", log_softmax,
              "log_softmax(a, *, temperature=1.0, out=None)\n--\n\n"
              "The logarithm of softmax, (..., dim), worked out without its underflow.\n"
              "\n"
              ">>> dotk.log_softmax([0.0, -1000.0])\n"
              "array([    0., -1000.], dtype=float32)\n"),
    PY_METHOD("inspect", inspect,
              "inspect(vectors, *, context=None)\n--\n\n"
              "Describes vectors, (n, dim): norms, bad rows, the metric that fits; a dict.\n"
              "\n"
              ">>> found = dotk.inspect([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])\n"
              ">>> found[\"rows\"], found[\"zero_rows\"], found[\"duplicate_rows\"], "
              "found[\"norm_max\"]\n"
              "(3, 1, 1, 5.0)\n"),
    PY_METHODS_END,
};

int
py_add_vector(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
