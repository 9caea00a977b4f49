/*
 * array.c - looking at arrays: the buffer protocol, DLPack, and what is refused
 *
 * The structures of DLPack stand here as its specification (dmlc.github.io/dlpack, 1.0) lays them
 * out. A capsule is not consumed but kept: as long as it lives its array does, and its destructor
 * gives the array back.
 */
#include "array.h"

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

static enum py_type
whole_type(bool negative, size_t size)
{
    switch (size) {
    case 1: return negative ? PY_I8 : PY_U8;
    case 2: return negative ? PY_I16 : PY_U16;
    case 4: return negative ? PY_I32 : PY_U32;
    case 8: return negative ? PY_I64 : PY_U64;
    default: return PY_OTHER;
    }
}

static enum py_type
float_type(size_t size)
{
    return size == 4 ? PY_F32 : size == 2 ? PY_F16 : size == 8 ? PY_F64 : PY_OTHER;
}

/* A format of the struct module: one letter, in this machine's order of bytes. */
static enum py_type
format_type(const char *format, size_t size)
{
    if (format == NULL)
        return PY_U8;
    if (format[0] == '@' || format[0] == '=' || format[0] == '<')
        format++;
    if (format[0] == '\0' || format[1] != '\0')
        return PY_OTHER;
    switch (format[0]) {
    case 'f':
    case 'd':
    case 'e': return float_type(size);
    case '?': return PY_BOOL;
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n': return whole_type(true, size);
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
    case 'N': return whole_type(false, size);
    default: return PY_OTHER;
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

static bool
is_tensor(PyObject *object)
{
    return py_torch() != NULL && ((PyObject *)Py_TYPE(object) == tensor_type ||
                                  PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)tensor_type));
}

/* ------------------------------------------------------------------------- */
/*  The buffer protocol                                                      */
/* ------------------------------------------------------------------------- */

static int
too_many_axes(const char *name, size_t axes)
{
    PyErr_Format(PyExc_ValueError, "%s has %zu axes: give at most %d", name, axes, PY_AXES);
    return -1;
}

/* A numpy array of ml_dtypes.bfloat16, as its 16-bit words: new, or NULL without an exception. */
static PyObject *
bf16_words(PyObject *object)
{
    PyObject *words = NULL;
    PyObject *const dtype = PyObject_GetAttrString(object, "dtype");
    PyObject *const name = dtype == NULL ? NULL : PyObject_GetAttrString(dtype, "name");

    if (name != NULL && PyUnicode_Check(name) &&
        PyUnicode_CompareWithASCIIString(name, "bfloat16") == 0)
        words = PyObject_CallMethod(object, "view", "s", "uint16");
    Py_XDECREF(name);
    Py_XDECREF(dtype);
    if (words == NULL)
        PyErr_Clear();
    return words;
}

static int
take_buffer(PyObject *object, const char *name, bool write, struct py_array *out)
{
    const int flags = write ? PyBUF_RECORDS : PyBUF_RECORDS_RO;
    bool bf16 = false;

    if (PyObject_GetBuffer(object, &out->view, flags) < 0) {
        PyErr_Clear();
        PyObject *const words = bf16_words(object);
        bf16 = words != NULL;
        const int got = bf16 ? PyObject_GetBuffer(words, &out->view, flags) : -1;
        Py_XDECREF(words); /* the view holds it */
        if (got < 0) {
            PyErr_Clear();
            PyErr_Format(write ? PyExc_ValueError : PyExc_TypeError,
                         write ? "%s cannot be written to: give a writable array of numbers"
                               : "%s is a %R whose values cannot be seen: give an array of numbers",
                         name, Py_TYPE(object));
            return -1;
        }
    }
    out->viewed = true;
    const Py_buffer *const view = &out->view;
    if (view->ndim > PY_AXES)
        return too_many_axes(name, (size_t)view->ndim);
    const size_t size = (size_t)view->itemsize;
    out->data = view->buf;
    out->type = bf16 ? PY_BF16 : format_type(view->format, size);
    out->axes = (size_t)view->ndim;
    out->count = 1;
    for (size_t i = 0; i < out->axes; i++) {
        out->shape[i] = (size_t)view->shape[i];
        out->count *= out->shape[i];
        if (size != 0 && view->strides[i] % (Py_ssize_t)size != 0 && out->shape[i] > 1)
            out->type = PY_OTHER; /* a field of a record, say */
        out->stride[i] = size == 0 ? 0 : view->strides[i] / (Py_ssize_t)size;
    }
    return 0;
}

/* ------------------------------------------------------------------------- */
/*  DLPack                                                                   */
/* ------------------------------------------------------------------------- */

struct dl_tensor {
    void *data;
    int32_t device_type, device_id;
    int32_t axes;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides; /* strides NULL: dense */
    uint64_t byte_offset;
};

struct dl_managed {
    struct dl_tensor tensor;
    void *manager;
    void (*deleter)(struct dl_managed *self);
};

struct dl_versioned {
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct dl_versioned *self);
    uint64_t flags; /* bit 0: read-only */
    struct dl_tensor tensor;
};

enum { DL_CPU = 1, DL_INT = 0, DL_UINT = 1, DL_FLOAT = 2, DL_BFLOAT = 4, DL_BOOL = 6 };

static enum py_type
dl_type(const struct dl_tensor *tensor)
{
    const size_t size = tensor->bits / 8;

    if (tensor->lanes != 1 || tensor->bits % 8 != 0)
        return PY_OTHER;
    switch (tensor->code) {
    case DL_INT: return whole_type(true, size);
    case DL_UINT: return whole_type(false, size);
    case DL_FLOAT: return float_type(size);
    case DL_BFLOAT: return size == 2 ? PY_BF16 : PY_OTHER;
    case DL_BOOL: return size == 1 ? PY_BOOL : PY_OTHER;
    default: return PY_OTHER;
    }
}

/* Puts "name: " before the message of the exception that is set, as a ValueError. */
static int
refuse_because(const char *name)
{
    PyObject *type, *value, *trace;

    PyErr_Fetch(&type, &value, &trace);
    PyErr_Format(PyExc_ValueError, "%s: %S", name, value == NULL ? Py_None : value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return -1;
}

static int
take_dlpack(PyObject *object, const char *name, bool write, struct py_array *out)
{
    out->torch = is_tensor(object);
    out->capsule = PyObject_CallMethod(object, "__dlpack__", NULL);
    if (out->capsule == NULL)
        return refuse_because(name);
    const struct dl_tensor *tensor;
    bool readonly = false;
    if (PyCapsule_IsValid(out->capsule, "dltensor")) {
        struct dl_managed *const managed = PyCapsule_GetPointer(out->capsule, "dltensor");
        tensor = &managed->tensor;
    } else if (PyCapsule_IsValid(out->capsule, "dltensor_versioned")) {
        struct dl_versioned *const managed = PyCapsule_GetPointer(out->capsule,
                                                                  "dltensor_versioned");
        if (managed->major != 1) {
            PyErr_Format(PyExc_TypeError, "%s comes by DLPack %u: give an array of DLPack 1", name,
                         (unsigned)managed->major);
            return -1;
        }
        readonly = (managed->flags & 1) != 0;
        tensor = &managed->tensor;
    } else {
        PyErr_Format(PyExc_TypeError, "%s is a %R whose __dlpack__() gives no array", name,
                     Py_TYPE(object));
        return -1;
    }
    if (tensor->device_type != DL_CPU) {
        PyErr_Format(PyExc_ValueError, "%s is not in the CPU's memory: pass %s.cpu()", name, name);
        return -1;
    }
    if (write && readonly) {
        PyErr_Format(PyExc_ValueError, "%s is read-only: give a writable array", name);
        return -1;
    }
    if (tensor->axes > PY_AXES)
        return too_many_axes(name, (size_t)tensor->axes);
    out->type = dl_type(tensor);
    out->axes = (size_t)tensor->axes;
    out->count = 1;
    for (size_t i = 0; i < out->axes; i++) {
        out->shape[i] = (size_t)tensor->shape[i];
        out->count *= out->shape[i];
    }
    ptrdiff_t dense = 1;
    for (size_t i = out->axes; i-- > 0;) {
        out->stride[i] = tensor->strides == NULL ? dense : (ptrdiff_t)tensor->strides[i];
        dense *= (ptrdiff_t)out->shape[i];
    }
    out->data = tensor->data == NULL ? NULL : (char *)tensor->data + tensor->byte_offset;
    return 0;
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

static int
check_layout(const struct py_array *array, enum py_layout layout)
{
    size_t dense = 1;

    if (array->count == 0)
        return 0;
    if ((uintptr_t)array->data % types[array->type].size != 0) {
        PyErr_Format(PyExc_ValueError, "%s does not lie on a boundary of %zu bytes: pass %s.copy()",
                     array->name, types[array->type].size, array->name);
        return -1;
    }
    if (layout == PY_ANY)
        return 0;
    for (size_t i = array->axes; i-- > 0;) {
        const ptrdiff_t stride = array->stride[i];
        const bool last = i + 1 == array->axes;
        if (array->shape[i] > 1 &&
            (last || layout == PY_DENSE ? stride != (ptrdiff_t)dense : stride < (ptrdiff_t)dense))
            return refuse_strides(array, i);
        if (layout == PY_DENSE || last)
            dense *= array->shape[i];
    }
    return 0;
}

static int
refuse_type(const struct py_array *array, const struct py_want *want)
{
    const char *const name = array->name;
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

static PyObject *
converted(PyObject *object, bool torch, enum py_type to)
{
    if (torch) {
        PyObject *const dtype = PyObject_GetAttrString(py_torch(), types[to].name);
        PyObject *const result = dtype == NULL ? NULL
                                               : PyObject_CallMethod(object, "to", "O", dtype);
        Py_XDECREF(dtype);
        return result;
    }
    PyObject *const numpy = py_numpy();
    return numpy == NULL
               ? NULL
               : PyObject_CallMethod(numpy, "ascontiguousarray", "Os", object, types[to].name);
}

/* ------------------------------------------------------------------------- */
/*  In                                                                       */
/* ------------------------------------------------------------------------- */

static int
look(PyObject *object, const char *name, bool write, struct py_array *out)
{
    memset(out, 0, sizeof *out);
    out->name = name;
    out->object = object;
    Py_INCREF(object);
    if (PyObject_CheckBuffer(object))
        return take_buffer(object, name, write, out);
    if (PyObject_HasAttrString(object, "__dlpack__"))
        return take_dlpack(object, name, write, out);
    PyErr_Format(PyExc_TypeError, "%s is a %R: give an array of numbers", name, Py_TYPE(object));
    return -1;
}

/* Lists and the like, by numpy: new, or NULL with an exception. */
static PyObject *
listed(PyObject *object, const char *name)
{
    PyObject *const numpy = py_numpy();
    PyObject *const array = numpy == NULL ? NULL
                                          : PyObject_CallMethod(numpy, "asarray", "O", object);

    if (array == NULL && numpy != NULL)
        refuse_because(name);
    return array;
}

static bool
needs_listing(PyObject *object)
{
    return PyList_Check(object) || PyTuple_Check(object) ||
           (!PyObject_CheckBuffer(object) && !PyObject_HasAttrString(object, "__dlpack__") &&
            PyObject_HasAttrString(object, "__array__"));
}

/* The same array in the type that is wanted. An empty list has no type of its own. */
static int
convert(struct py_array *array, const struct py_want *want)
{
    const char *const name = array->name;
    PyObject *const copy = converted(array->object, array->torch, want->convert);

    py_array_release(array);
    if (copy == NULL)
        return refuse_because(name);
    const int got = look(copy, name, false, array);
    Py_DECREF(copy);
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
    int got = look(object, name, false, out);
    Py_XDECREF(list);
    if (got == 0 && (want->types & PY_BIT(out->type)) == 0 &&
        (converts(out->type, want->convert) ||
         (from_list && out->count == 0 && want->convert != PY_OTHER)))
        got = convert(out, want);
    if (got < 0)
        return -1;
    if ((want->types & PY_BIT(out->type)) == 0)
        return refuse_type(out, want);
    if (check_axes(out, want) < 0)
        return -1;
    return check_layout(out, want->layout);
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
    static const struct py_want want = {PY_BIT(PY_I64), PY_I64, PY_DENSE, 1, 1};

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

/* ------------------------------------------------------------------------- */
/*  Out                                                                      */
/* ------------------------------------------------------------------------- */

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

    if (look(given, name, true, out) < 0)
        return -1;
    if (out->type != type)
        return refuse_type(out, &want);
    if (out->axes != axes || memcmp(out->shape, shape, axes * sizeof *shape) != 0)
        return refuse_shape(out, axes, shape);
    return check_layout(out, layout);
}

/* The type's object in a library: borrowed and kept. */
static PyObject *
numpy_dtype(enum py_type type, const struct py_array *like)
{
    static PyObject *kept[PY_TYPES];

    if (type == PY_BF16) { /* ml_dtypes' own; the input knows it */
        if (kept[type] == NULL && like != NULL && like->type == PY_BF16)
            kept[type] = PyObject_GetAttrString(like->object, "dtype");
        if (kept[type] == NULL && !PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "numpy has no bfloat16 to answer with: give out=");
    } else if (kept[type] == NULL) {
        kept[type] = PyObject_CallMethod(py_numpy(), "dtype", "s", types[type].name);
    }
    return kept[type];
}

static PyObject *
torch_dtype(enum py_type type)
{
    static PyObject *kept[PY_TYPES];

    if (kept[type] == NULL)
        kept[type] = PyObject_GetAttrString(py_torch(), types[type].name);
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
