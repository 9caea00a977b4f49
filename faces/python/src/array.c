/*
 * array.c - arrays that come in: what is taken, what is copied, what is refused
 */
#include "array_look.h"

#include <string.h>

/* ------------------------------------------------------------------------- */
/*  Types                                                                    */
/* ------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t size;
} types[PY_TYPES] = {
    [PY_OTHER] = {"other", 0},   [PY_F32] = {"float32", 4}, [PY_F16] = {"float16", 2},
    [PY_BF16] = {"bfloat16", 2}, [PY_F64] = {"float64", 8}, [PY_BOOL] = {"bool", 1},
    [PY_I8] = {"int8", 1},       [PY_U8] = {"uint8", 1},    [PY_I16] = {"int16", 2},
    [PY_U16] = {"uint16", 2},    [PY_I32] = {"int32", 4},   [PY_U32] = {"uint32", 4},
    [PY_I64] = {"int64", 8},     [PY_U64] = {"uint64", 8},
};

const char *
py_type_name(enum py_type type)
{
    return types[type].name;
}

size_t
py_type_size(enum py_type type)
{
    return types[type].size;
}

dotk_store
py_type_store(enum py_type type)
{
    switch (type) {
    case PY_F16: return DOTK_STORE_F16;
    case PY_BF16: return DOTK_STORE_BF16;
    case PY_I8: return DOTK_STORE_INT8;
    default: return DOTK_STORE_F32;
    }
}

/* ------------------------------------------------------------------------- */
/*  Modules                                                                  */
/* ------------------------------------------------------------------------- */

PyObject *
py_numpy(void)
{
    static PyObject *module;

    if (module == NULL)
        module = PyImport_ImportModule("numpy");
    return module;
}

static PyObject *tensor_type;

PyObject *
py_torch(void)
{
    static PyObject *module;

    if (module != NULL)
        return module;
    PyObject *const loaded = PyDict_GetItemString(PyImport_GetModuleDict(), "torch");
    if (loaded == NULL)
        return NULL;
    tensor_type = PyObject_GetAttrString(loaded, "Tensor");
    if (tensor_type == NULL || !PyType_Check(tensor_type)) { /* half imported, or another torch */
        PyErr_Clear();
        Py_CLEAR(tensor_type);
        return NULL;
    }
    Py_INCREF(loaded);
    module = loaded;
    return module;
}

bool
py_is_tensor(PyObject *object)
{
    return py_torch() != NULL && ((PyObject *)Py_TYPE(object) == tensor_type ||
                                  PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)tensor_type));
}

/* ------------------------------------------------------------------------- */
/*  What is refused                                                          */
/* ------------------------------------------------------------------------- */

static int
check_axes(const struct py_array *array, const struct py_want *want)
{
    if (array->axes >= want->least && array->axes <= want->most)
        return 0;
    if (want->least == want->most)
        PyErr_Format(PyExc_ValueError, "%s has %zu axes: give %zu", array->name, array->axes,
                     want->least);
    else
        PyErr_Format(PyExc_ValueError, "%s has %zu axes: give %zu to %zu", array->name, array->axes,
                     want->least, want->most);
    return -1;
}

static int
refuse_strides(const struct py_array *array, size_t axis)
{
    const char *const remedy = array->torch ? "contiguous()" : "copy()";

    if (axis + 1 == array->axes)
        PyErr_Format(PyExc_ValueError,
                     "%s: neighbouring values of a row lie %zd elements apart, and no array is "
                     "copied without being asked: pass %s.%s",
                     array->name, (Py_ssize_t)array->stride[axis], array->name, remedy);
    else
        PyErr_Format(
            PyExc_ValueError,
            "%s: its axis %zu has a stride of %zd elements, and no array is copied without "
            "being asked: pass %s.%s",
            array->name, axis, (Py_ssize_t)array->stride[axis], array->name, remedy);
    return -1;
}

/* The first axis, from the last, whose stride does not fit; the number of axes if all do. */
static size_t
misplaced_axis(const struct py_array *array, enum py_layout layout)
{
    size_t dense = 1;

    for (size_t i = array->axes; array->count > 0 && i-- > 0;) {
        const ptrdiff_t stride = array->stride[i];
        const bool exact = layout == PY_DENSE || i + 1 == array->axes;
        if (array->shape[i] > 1 && (exact ? stride != (ptrdiff_t)dense : stride < (ptrdiff_t)dense))
            return i;
        if (exact)
            dense *= array->shape[i];
    }
    return array->axes;
}

int
py_check_layout(const struct py_array *array, enum py_layout layout)
{
    if (array->count == 0)
        return 0;
    if ((uintptr_t)array->data % types[array->type].size != 0) {
        PyErr_Format(PyExc_ValueError, "%s does not lie on a boundary of %zu bytes: pass %s.copy()",
                     array->name, types[array->type].size, array->name);
        return -1;
    }
    if (layout == PY_ANY)
        return 0;
    const size_t axis = misplaced_axis(array, layout == PY_ROWS ? PY_ROWS : PY_DENSE);
    return axis < array->axes ? refuse_strides(array, axis) : 0;
}

/* A mask of numbers may be meant as flags or as numbers to add, for which there is a bias. */
static int
refuse_mask(const struct py_array *array)
{
    const char *const name = array->name;
    const size_t length = strlen(name), end = sizeof "mask" - 1;
    char front[32] = "";

    if (array->type != PY_F32 && array->type != PY_F16 && array->type != PY_BF16 &&
        array->type != PY_F64) {
        PyErr_Format(PyExc_TypeError, "%s holds %s: pass %s.%s", name, types[array->type].name,
                     name, array->torch ? "bool()" : "astype(bool)");
        return -1;
    }
    if (length > end && length - end < sizeof front)
        memcpy(front, name, length - end);
    PyErr_Format(PyExc_TypeError, "%s holds %s: give bool; numbers to add go to %sbias=", name,
                 types[array->type].name, front);
    return -1;
}

int
py_refuse_type(const struct py_array *array, const struct py_want *want)
{
    const char *const name = array->name;

    if (want->types == PY_BIT(PY_BOOL) && array->type != PY_OTHER)
        return refuse_mask(array);
    PyObject *list = PyUnicode_FromString("");

    for (size_t i = 0, listed = 0; list != NULL && i < PY_TYPES; i++) {
        if ((want->types & PY_BIT(i)) != 0) {
            PyObject *const longer = PyUnicode_FromFormat(
                "%U%s%s", list, listed++ > 0 ? " or " : "", types[i].name);
            Py_DECREF(list);
            list = longer;
        }
    }
    if (list == NULL)
        return -1;
    if (array->type != PY_OTHER)
        PyErr_Format(PyExc_TypeError, "%s holds %s: give %U", name, types[array->type].name, list);
    else if (array->viewed)
        PyErr_Format(PyExc_TypeError, "%s holds elements of the format '%s': give %U", name,
                     array->view.format == NULL ? "B" : array->view.format, list);
    else
        PyErr_Format(PyExc_TypeError, "%s holds elements of another kind: give %U", name, list);
    Py_DECREF(list);
    return -1;
}

/* ------------------------------------------------------------------------- */
/*  Copies to another type                                                   */
/* ------------------------------------------------------------------------- */

static bool
converts(enum py_type from, enum py_type to)
{
    const unsigned whole = PY_BIT(PY_I8) | PY_BIT(PY_U8) | PY_BIT(PY_I16) | PY_BIT(PY_U16) |
                           PY_BIT(PY_I32) | PY_BIT(PY_U32) | PY_BIT(PY_I64);

    if (to == PY_I64)
        return (whole & PY_BIT(from)) != 0;
    return to == PY_F32 && ((whole | PY_BIT(PY_F16) | PY_BIT(PY_BF16) | PY_BIT(PY_F64) |
                             PY_BIT(PY_U64) | PY_BIT(PY_F32)) &
                            PY_BIT(from)) != 0;
}

/* A dense copy as type 'to': new, or NULL with an exception. */
static PyObject *
copied(PyObject *object, bool torch, enum py_type to)
{
    PyObject *const numpy = py_numpy();

    if (numpy == NULL)
        return NULL;
    if (!torch)
        return PyObject_CallMethod(numpy, "ascontiguousarray", "Os", object, types[to].name);
    PyObject *const dtype = PyObject_GetAttrString(py_torch(), types[to].name);
    PyObject *const other = dtype == NULL ? NULL : PyObject_CallMethod(object, "to", "O", dtype);
    PyObject *const dense = other == NULL ? NULL : PyObject_CallMethod(other, "contiguous", NULL);
    Py_XDECREF(other);
    Py_XDECREF(dtype);
    return dense;
}

/* ------------------------------------------------------------------------- */
/*  In                                                                       */
/* ------------------------------------------------------------------------- */

/* Lists and the like, by numpy: new, or NULL with an exception. */
static PyObject *
listed(PyObject *object, const char *name)
{
    PyObject *const numpy = py_numpy();
    PyObject *const array = numpy == NULL ? NULL
                                          : PyObject_CallMethod(numpy, "asarray", "O", object);

    if (array == NULL && numpy != NULL)
        py_refuse_because(name);
    return array;
}

static bool
needs_listing(PyObject *object)
{
    return PyList_Check(object) || PyTuple_Check(object) ||
           (!PyObject_CheckBuffer(object) && !PyObject_HasAttrString(object, "__dlpack__") &&
            PyObject_HasAttrString(object, "__array__"));
}

/* Puts a dense copy as type 'to' in the array's place. */
static int
copy(struct py_array *array, enum py_type to)
{
    const char *const name = array->name;
    PyObject *const dense = copied(array->object, array->torch, to);

    py_array_release(array);
    if (dense == NULL)
        return py_refuse_because(name);
    const int got = py_array_look(dense, name, false, array);
    Py_DECREF(dense);
    return got;
}

static int
get(PyObject *object, const char *name, const struct py_want *want, struct py_array *out)
{
    bool from_list = false;
    PyObject *list = NULL;

    if (!PyObject_CheckBuffer(object) && needs_listing(object)) {
        from_list = true;
        object = list = listed(object, name);
        if (list == NULL)
            return -1;
    }
    int got = py_array_look(object, name, false, out);
    Py_XDECREF(list);
    if (got == 0 && out->type != PY_OTHER) /* before anything is copied */
        got = check_axes(out, want);
    if (got == 0 && (want->types & PY_BIT(out->type)) == 0 &&
        (converts(out->type, want->convert) ||
         (from_list && out->count == 0 && want->convert != PY_OTHER))) /* [] has no type */
        got = copy(out, want->convert);
    else if (got == 0 && want->layout == PY_COPIED && out->type != PY_OTHER &&
             misplaced_axis(out, PY_DENSE) < out->axes)
        got = copy(out, out->type);
    if (got < 0)
        return -1;
    if ((want->types & PY_BIT(out->type)) == 0)
        return py_refuse_type(out, want);
    return py_check_layout(out, want->layout);
}

int
py_array_get(PyObject *object, const char *name, const struct py_want *want, struct py_array *out)
{
    memset(out, 0, sizeof *out);
    if (get(object, name, want, out) == 0)
        return 0;
    py_array_release(out);
    return -1;
}

void
py_array_release(struct py_array *array)
{
    if (array->viewed)
        PyBuffer_Release(&array->view);
    Py_XDECREF(array->capsule);
    Py_XDECREF(array->object);
    memset(array, 0, sizeof *array);
}

int
py_rows_get(PyObject *object, const char *name, size_t dim, struct py_rows *out)
{
    static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_ROWS, 1, 2};
    struct py_array *const array = &out->array;

    memset(out, 0, sizeof *out);
    if (py_array_get(object, name, &want, array) < 0)
        return -1;
    out->single = array->axes == 1;
    out->data = array->data;
    out->rows = out->single ? 1 : array->shape[0];
    out->dim = array->shape[array->axes - 1];
    out->stride = out->rows > 1 && array->count > 0 ? (size_t)array->stride[0] : out->dim;
    if (dim != 0 && out->dim != dim) {
        PyErr_Format(PyExc_ValueError, "%s has rows of %zu values: give rows of %zu", name,
                     out->dim, dim);
        py_array_release(array);
        return -1;
    }
    return 0;
}

void
py_rows_release(struct py_rows *rows)
{
    py_array_release(&rows->array);
}

int
py_ids_get(PyObject *object, const char *name, struct py_array *out)
{
    static const struct py_want want = {PY_BIT(PY_I64), PY_I64, PY_COPIED, 1, 1};

    return py_array_get(object, name, &want, out);
}

size_t
py_array_rows(const struct py_array *array)
{
    size_t rows = 1;

    for (size_t i = 0; i + 1 < array->axes; i++)
        rows *= array->shape[i];
    return rows;
}

size_t
py_array_row(const struct py_array *array, size_t row)
{
    size_t at = 0;

    if (array->axes == 2)
        return row * (size_t)array->stride[0];
    for (size_t i = array->axes == 0 ? 0 : array->axes - 1; i-- > 0; row /= array->shape[i])
        at += row % array->shape[i] * (size_t)array->stride[i];
    return at;
}

dotk_layout
py_array_layout(const struct py_array *array)
{
    size_t stride[4] = {0, 0, 0, 1};
    size_t dense = 1;

    for (size_t i = 4; i-- > 0;) {
        stride[i] = array->shape[i] > 1 && array->count > 0 ? (size_t)array->stride[i] : dense;
        dense = stride[i] * (array->shape[i] > 0 ? array->shape[i] : 1);
    }
    return (dotk_layout){.batch = stride[0], .head = stride[1], .row = stride[2]};
}
