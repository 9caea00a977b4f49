/*
 * array_out.c - arrays that go out: the caller's, or new ones by the library of an input
 */
#include "array_look.h"

#include <string.h>

static PyObject *
shape_tuple(size_t axes, const size_t *shape)
{
    PyObject *const tuple = PyTuple_New((Py_ssize_t)axes);

    for (size_t i = 0; tuple != NULL && i < axes; i++) {
        PyObject *const number = PyLong_FromSize_t(shape[i]);
        if (number == NULL) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SetItem(tuple, (Py_ssize_t)i, number);
    }
    return tuple;
}

static int
refuse_shape(const struct py_array *array, size_t axes, const size_t *shape)
{
    PyObject *const is = shape_tuple(array->axes, array->shape);
    PyObject *const wanted = shape_tuple(axes, shape);

    if (is != NULL && wanted != NULL)
        PyErr_Format(PyExc_ValueError, "%s has the shape %R: give %R", array->name, is, wanted);
    Py_XDECREF(is);
    Py_XDECREF(wanted);
    return -1;
}

static int
check_given(PyObject *given, const char *name, enum py_type type, size_t axes, const size_t *shape,
            enum py_layout layout, struct py_array *out)
{
    const struct py_want want = {PY_BIT(type), PY_OTHER, layout, axes, axes};

    if (py_array_look(given, name, true, out) < 0)
        return -1;
    if (out->type != type)
        return py_refuse_type(out, &want);
    if (out->axes != axes || memcmp(out->shape, shape, axes * sizeof *shape) != 0)
        return refuse_shape(out, axes, shape);
    return py_check_layout(out, layout);
}

/* numpy's dtype bfloat16, which is ml_dtypes' own: new, or NULL with an exception. Another
 * library's array of that type has a dtype that numpy may not know, or takes for something else. */
static PyObject *
bf16_dtype(PyObject *array)
{
    PyObject *const own = PyObject_GetAttrString(array, "dtype");
    PyObject *dtype = own == NULL ? NULL : PyObject_CallMethod(py_numpy(), "dtype", "O", own);
    PyObject *const name = dtype == NULL ? NULL : PyObject_GetAttrString(dtype, "name");

    if (name == NULL || !PyUnicode_Check(name) ||
        PyUnicode_CompareWithASCIIString(name, "bfloat16") != 0) {
        Py_CLEAR(dtype);
        PyErr_SetString(PyExc_TypeError, "numpy has no bfloat16 to answer with: give out=");
    }
    Py_XDECREF(name);
    Py_XDECREF(own);
    return dtype;
}

/* The type's object in a library: borrowed and kept. */
static PyObject *
numpy_dtype(enum py_type type, const struct py_array *like)
{
    static PyObject *kept[PY_TYPES];

    if (kept[type] == NULL)
        kept[type] = type == PY_BF16 && like != NULL
                         ? bf16_dtype(like->object)
                         : PyObject_CallMethod(py_numpy(), "dtype", "s", py_type_name(type));
    return kept[type];
}

static PyObject *
torch_dtype(enum py_type type)
{
    static PyObject *kept[PY_TYPES];

    if (kept[type] == NULL)
        kept[type] = PyObject_GetAttrString(py_torch(), py_type_name(type));
    return kept[type];
}

static PyObject *
make_numpy(const struct py_array *like, enum py_type type, PyObject *shape)
{
    static PyObject *empty;

    if (py_numpy() == NULL ||
        (empty == NULL && (empty = PyObject_GetAttrString(py_numpy(), "empty")) == NULL))
        return NULL;
    PyObject *const dtype = numpy_dtype(type, like);
    return dtype == NULL ? NULL : PyObject_CallFunctionObjArgs(empty, shape, dtype, NULL);
}

static PyObject *
make_tensor(enum py_type type, PyObject *shape)
{
    static PyObject *empty;
    PyObject *const dtype = torch_dtype(type);

    if (dtype == NULL ||
        (empty == NULL && (empty = PyObject_GetAttrString(py_torch(), "empty")) == NULL))
        return NULL;
    PyObject *const values = PyTuple_Pack(1, shape);
    PyObject *const named = Py_BuildValue("{s:O,s:s}", "dtype", dtype, "device", "cpu");
    PyObject *const tensor = values == NULL || named == NULL ? NULL
                                                             : PyObject_Call(empty, values, named);
    Py_XDECREF(values);
    Py_XDECREF(named);
    return tensor;
}

static PyObject *
output(PyObject *given, const char *name, const struct py_array *like, enum py_type type,
       size_t axes, const size_t *shape, enum py_layout layout, struct py_array *out)
{
    memset(out, 0, sizeof *out);
    if (given != NULL) {
        Py_INCREF(given);
    } else {
        PyObject *const tuple = shape_tuple(axes, shape);
        if (tuple != NULL)
            given = like != NULL && like->torch ? make_tensor(type, tuple)
                                                : make_numpy(like, type, tuple);
        Py_XDECREF(tuple);
        if (given == NULL)
            return NULL;
    }
    if (check_given(given, name, type, axes, shape, layout, out) < 0) {
        py_array_release(out);
        Py_DECREF(given);
        return NULL;
    }
    return given;
}

PyObject *
py_array_out(PyObject *given, const char *name, const struct py_array *like, enum py_type type,
             size_t axes, const size_t *shape, struct py_array *out)
{
    return output(given, name, like, type, axes, shape, PY_DENSE, out);
}

PyObject *
py_array_out_rows(PyObject *given, const char *name, const struct py_array *like, enum py_type type,
                  size_t axes, const size_t *shape, struct py_array *out)
{
    return output(given, name, like, type, axes, shape, PY_ROWS, out);
}
