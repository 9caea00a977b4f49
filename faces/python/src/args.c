/*
 * args.c - arguments by position and by name, without a dict and without a format string
 *
 * PyArg_ParseTupleAndKeywords needs a tuple and a dict for each call and costs more than a small
 * product does. Names that callers write are interned, so looking one up compares pointers.
 */
#include "args.h"

#include <math.h>
#include <string.h>

static size_t
count_names(const struct py_args *args)
{
    size_t count = 0;

    while (count < PY_ARGS_MAX && args->names[count] != NULL)
        count++;
    return count;
}

static int
make_keys(struct py_args *args)
{
    if (args->keys[0] != NULL || args->names[0] == NULL)
        return 0;
    for (size_t i = count_names(args); i-- > 0;) { /* the first last: it says that all are there */
        if (args->keys[i] == NULL &&
            (args->keys[i] = PyUnicode_InternFromString(args->names[i])) == NULL)
            return -1;
    }
    return 0;
}

/* Puts a value given by name into its place. */
static int
place(struct py_args *args, size_t names, PyObject *key, PyObject *value, PyObject **given)
{
    size_t i = 0;

    while (i < names && args->keys[i] != key)
        i++;
    if (i == names) {
        i = 0;
        while (i < names && PyUnicode_CompareWithASCIIString(key, args->names[i]) != 0)
            i++;
    }
    if (i == names) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
                     args->function, key);
        return -1;
    }
    if (given[i] != NULL) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", args->function,
                     args->names[i]);
        return -1;
    }
    given[i] = value;
    return 0;
}

static int
check_count(const struct py_args *args, size_t count)
{
    if (count > args->positional) {
        PyErr_Format(PyExc_TypeError,
                     "%s() takes %zu positional arguments but %zu were given: name the others",
                     args->function, args->positional, count);
        return -1;
    }
    return 0;
}

/* After all are placed: the required ones are there, and None stands for nothing. */
static int
finish(const struct py_args *args, size_t names, PyObject **given)
{
    for (size_t i = 0; i < args->required; i++) {
        if (given[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() lacks its argument '%s'", args->function,
                         args->names[i]);
            return -1;
        }
    }
    for (size_t i = args->required; i < names; i++) {
        if (given[i] == Py_None)
            given[i] = NULL;
    }
    return 0;
}

int
py_args_parse(struct py_args *args, PyObject *const *values, Py_ssize_t count, PyObject *keywords,
              PyObject **given)
{
    const size_t names = count_names(args);

    if (make_keys(args) < 0 || check_count(args, (size_t)count) < 0)
        return -1;
    for (size_t i = 0; i < names; i++)
        given[i] = i < (size_t)count ? values[i] : NULL;
    const Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords);
    for (Py_ssize_t i = 0; i < named; i++) {
        if (place(args, names, PyTuple_GetItem(keywords, i), values[count + i], given) < 0)
            return -1;
    }
    return finish(args, names, given);
}

int
py_args_parse_tuple(struct py_args *args, PyObject *tuple, PyObject *keywords, PyObject **given)
{
    const size_t names = count_names(args);
    const size_t count = (size_t)PyTuple_Size(tuple);

    if (make_keys(args) < 0 || check_count(args, count) < 0)
        return -1;
    for (size_t i = 0; i < names; i++)
        given[i] = i < count ? PyTuple_GetItem(tuple, (Py_ssize_t)i) : NULL;
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (keywords != NULL && PyDict_Next(keywords, &at, &key, &value)) {
        if (place(args, names, key, value, given) < 0)
            return -1;
    }
    return finish(args, names, given);
}

/* An int from 'least' on, told apart from a float or a string by __index__. */
static int
whole(PyObject *object, const char *name, bool negative, long long *out)
{
    PyObject *const number = PyNumber_Index(object);

    if (number == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "%s is %R: give an int", name, object);
        return -1;
    }
    *out = PyLong_AsLongLong(number);
    Py_DECREF(number);
    if (*out == -1 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_OverflowError))
            PyErr_Format(PyExc_ValueError, "%s is %S: give less than 2**63", name, object);
        return -1;
    }
    if (!negative && *out < 0) {
        PyErr_Format(PyExc_ValueError, "%s is %S: give 0 or more", name, object);
        return -1;
    }
    return 0;
}

int
py_args_size(PyObject *object, const char *name, size_t *out)
{
    long long value;

    if (object == NULL)
        return 0;
    if (whole(object, name, false, &value) < 0)
        return -1;
    *out = (size_t)value;
    return 0;
}

int
py_args_int64(PyObject *object, const char *name, int64_t *out)
{
    long long value;

    if (object == NULL)
        return 0;
    if (whole(object, name, true, &value) < 0)
        return -1;
    *out = value;
    return 0;
}

int
py_args_uint64(PyObject *object, const char *name, uint64_t *out)
{
    if (object == NULL)
        return 0;
    PyObject *const number = PyNumber_Index(object);
    if (number != NULL) {
        *out = PyLong_AsUnsignedLongLong(number);
        Py_DECREF(number);
    }
    if (!PyErr_Occurred())
        return 0;
    if (PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_Format(PyExc_TypeError, "%s is %R: give an int", name, object);
    else if (PyErr_ExceptionMatches(PyExc_OverflowError))
        PyErr_Format(PyExc_ValueError, "%s is %S: give 0 to 2**64 - 1", name, object);
    return -1;
}

int
py_args_double(PyObject *object, const char *name, double *out)
{
    if (object == NULL)
        return 0;
    const double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "%s is %R: give a number", name, object);
        return -1;
    }
    if (isnan(value)) {
        PyErr_Format(PyExc_ValueError, "%s is NaN: give a number", name);
        return -1;
    }
    *out = value;
    return 0;
}

/* numpy's True or False: only where numpy is loaded can it be one. */
static bool
is_numpy_flag(PyObject *object)
{
    PyObject *const numpy = PyDict_GetItemString(PyImport_GetModuleDict(), "numpy");
    PyObject *const type = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "bool_");
    const bool is = type != NULL && (PyObject *)Py_TYPE(object) == type;

    if (type == NULL)
        PyErr_Clear();
    Py_XDECREF(type);
    return is;
}

int
py_args_flag(PyObject *object, const char *name, bool *out)
{
    if (object == NULL)
        return 0;
    if (object != Py_True && object != Py_False) {
        if (is_numpy_flag(object)) {
            *out = PyObject_IsTrue(object) == 1;
            return 0;
        }
        PyErr_Format(PyExc_TypeError, "%s is %R: give True or False", name, object);
        return -1;
    }
    *out = object == Py_True;
    return 0;
}

PyObject *
py_args_names(PyObject *object, const char *name)
{
    PyObject *const names = PyUnicode_Check(object) ? NULL : PySequence_Tuple(object);

    if (names == NULL && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError)))
        PyErr_Format(PyExc_TypeError, "%s is %R: give a tuple of names", name, object);
    return names;
}

int
py_args_choice(PyObject *object, const char *name, const char *const *choices, size_t *out)
{
    if (object == NULL)
        return 0;
    if (PyUnicode_Check(object)) {
        for (size_t i = 0; choices[i] != NULL; i++) {
            if (PyUnicode_CompareWithASCIIString(object, choices[i]) == 0) {
                *out = i;
                return 0;
            }
        }
    }
    PyObject *list = PyUnicode_FromString("");
    for (size_t i = 0; list != NULL && choices[i] != NULL; i++) {
        PyObject *const longer = PyUnicode_FromFormat("%U%s\"%s\"", list, i == 0 ? "" : " or ",
                                                      choices[i]);
        Py_DECREF(list);
        list = longer;
    }
    if (list != NULL) {
        PyErr_Format(PyUnicode_Check(object) ? PyExc_ValueError : PyExc_TypeError,
                     "%s is %R: give %U", name, object, list);
        Py_DECREF(list);
    }
    return -1;
}

int
py_args_type(PyObject *object, const char *name, const char *const *choices, size_t *out)
{
    static const char *const same[][2] = {{"float32", "f32"},   {"float16", "f16"}, {"int8", "i8"},
                                          {"bfloat16", "bf16"}, {"uint8", "u8"},    {"i8", "int8"}};

    for (size_t i = 0; object != NULL && PyUnicode_Check(object) && i < sizeof same / sizeof *same;
         i++) {
        if (PyUnicode_CompareWithASCIIString(object, same[i][0]) != 0)
            continue;
        for (size_t j = 0; choices[j] != NULL; j++) {
            if (strcmp(choices[j], same[i][1]) == 0) {
                *out = j;
                return 0;
            }
        }
    }
    return py_args_choice(object, name, choices, out);
}
