/*
 * array_look.c - where an array's values lie: the buffer protocol and DLPack
 *
 * The structures of DLPack stand here as its specification (dmlc.github.io/dlpack, 1.0) lays them
 * out. A capsule is not consumed but kept: as long as it lives its array does, and its destructor
 * gives the array back.
 */
#include "array_look.h"

#include <string.h>

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
/*  The buffer protocol                                                      */
/* ------------------------------------------------------------------------- */

static int
refuse_axes(const char *name, int axes)
{
    PyErr_Format(PyExc_ValueError, "%s has %d axes: give 0 to %d", name, axes, PY_AXES);
    return -1;
}

/* Adds an axis. What an object says of itself may be anything. */
static int
add_axis(struct py_array *out, int64_t places)
{
    ptrdiff_t count;

    if (places < 0 || __builtin_mul_overflow((ptrdiff_t)out->count, places, &count)) {
        PyErr_Format(PyExc_ValueError,
                     "%s has %lld places on its axis %zu: give an array that fits into memory",
                     out->name, (long long)places, out->axes);
        return -1;
    }
    out->shape[out->axes++] = (size_t)places;
    out->count = (size_t)count;
    return 0;
}

/* Does what is raised say that values cannot be seen? Anything else went wrong otherwise. */
static bool
is_refusal(void)
{
    return PyErr_ExceptionMatches(PyExc_BufferError) || PyErr_ExceptionMatches(PyExc_TypeError) ||
           PyErr_ExceptionMatches(PyExc_ValueError);
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
        if (!is_refusal())
            return -1;
        PyErr_Clear();
        PyObject *const words = bf16_words(object);
        bf16 = words != NULL;
        const int got = bf16 ? PyObject_GetBuffer(words, &out->view, flags) : -1;
        Py_XDECREF(words); /* the view holds it */
        if (got < 0) {
            if (bf16 && !is_refusal())
                return -1;
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
        return refuse_axes(name, view->ndim);
    const size_t size = (size_t)view->itemsize;
    out->data = view->buf;
    out->type = bf16 ? PY_BF16 : format_type(view->format, size);
    out->count = 1;
    for (size_t i = 0; i < (size_t)view->ndim; i++) {
        if (add_axis(out, view->shape[i]) < 0)
            return -1;
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
int
py_refuse_because(const char *name)
{
    PyObject *type, *value, *trace;

    PyErr_Fetch(&type, &value, &trace);
    PyErr_Format(PyExc_ValueError, "%s: %S", name, value == NULL ? Py_None : value);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return -1;
}

/* torch keeps the sign of a lazily negated tensor outside of its memory, and exports that memory.
 */
static int
check_sign(PyObject *tensor, const char *name)
{
    PyObject *const negated = PyObject_CallMethod(tensor, "is_neg", NULL);

    if (negated == NULL)
        return py_refuse_because(name);
    Py_DECREF(negated);
    if (negated != Py_True)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s is negated lazily: pass %s.resolve_neg()", name, name);
    return -1;
}

static int
take_dlpack(PyObject *object, const char *name, bool write, struct py_array *out)
{
    out->torch = py_is_tensor(object);
    if (out->torch && check_sign(object, name) < 0)
        return -1;
    out->capsule = PyObject_CallMethod(object, "__dlpack__", NULL);
    if (out->capsule == NULL)
        return py_refuse_because(name);
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
    if (tensor->axes < 0 || tensor->axes > PY_AXES)
        return refuse_axes(name, tensor->axes);
    out->type = dl_type(tensor);
    out->count = 1;
    for (int32_t i = 0; i < tensor->axes; i++) {
        if (add_axis(out, tensor->shape[i]) < 0)
            return -1;
    }
    size_t dense = 1; /* it may wrap where there are no values */
    for (size_t i = out->axes; i-- > 0;) {
        out->stride[i] = (ptrdiff_t)(tensor->strides == NULL ? dense : (size_t)tensor->strides[i]);
        dense *= out->shape[i];
    }
    out->data = tensor->data == NULL ? NULL : (char *)tensor->data + tensor->byte_offset;
    return 0;
}

int
py_array_look(PyObject *object, const char *name, bool write, struct py_array *out)
{
    memset(out, 0, sizeof *out);
    out->name = name;
    out->object = object;
    Py_INCREF(object);
    if (PyObject_CheckBuffer(object) && !PyBytes_Check(object)) /* numpy reads numbers in bytes */
        return take_buffer(object, name, write, out);
    if (PyObject_HasAttrString(object, "__dlpack__"))
        return take_dlpack(object, name, write, out);
    PyErr_Format(PyExc_TypeError, "%s is a %R: give an array of numbers", name, Py_TYPE(object));
    return -1;
}
