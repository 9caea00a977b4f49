/*
 * files.c - vector files: load and save
 *
 * load() gives a numpy array over what the library opened, mapped where the file allows that. The
 * object in between exports the file's memory, read-only, and closes it when the last array goes.
 */
#include "args.h"
#include "array.h"
#include "context.h"
#include "module.h"

#include <dotk/io.h>
#include <string.h>

static const char *const types[] = {"f32", "u8", "f16", "bf16", "i8", NULL}; /* from 1 on */

/* ------------------------------------------------------------------------- */
/*  An opened file as a buffer                                               */
/* ------------------------------------------------------------------------- */

struct file_object {
    PyObject_HEAD dotk_vectors *vectors;
    Py_ssize_t shape[DOTK_MAX_AXES], strides[DOTK_MAX_AXES];
    int axes;
};

static PyTypeObject *file_type;

static void
file_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    dotk_vectors_close(((struct file_object *)self)->vectors);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* The file's own shape, unless its rows lie apart. */
static void
set_shape(struct file_object *self)
{
    const dotk_vectors *const vectors = self->vectors;
    const bool apart = vectors->stride != vectors->dim && vectors->rows > 1;

    self->axes = apart ? 2 : (int)vectors->axes;
    for (int i = 0; i < self->axes; i++)
        self->shape[i] = (Py_ssize_t)vectors->shape[i];
    if (apart) {
        self->shape[0] = (Py_ssize_t)vectors->rows;
        self->shape[1] = (Py_ssize_t)vectors->dim;
    }
    Py_ssize_t dense = sizeof(float);
    for (int i = self->axes; i-- > 0;) {
        self->strides[i] = dense;
        dense *= self->shape[i];
    }
    if (apart)
        self->strides[0] = (Py_ssize_t)(vectors->stride * sizeof(float));
}

/* Does the asker count on an order of values that the file does not have? */
static bool
wants_other_order(const struct file_object *self, int flags)
{
    const bool apart = self->vectors->stride != self->vectors->dim && self->vectors->rows > 1;
    const bool c = (flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS;
    const bool any = (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS;
    const bool fortran = (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS;

    return (apart && (c || any)) || (fortran && self->axes > 1);
}

static int
file_buffer(PyObject *object, Py_buffer *view, int flags)
{
    static float nothing;
    struct file_object *const self = (struct file_object *)object;

    if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE || (flags & PyBUF_STRIDES) != PyBUF_STRIDES ||
        wants_other_order(self, flags)) {
        PyErr_SetString(PyExc_BufferError, "an opened file is read-only, and has strides");
        view->obj = NULL;
        return -1;
    }
    memset(view, 0, sizeof *view);
    view->buf = self->vectors->data == NULL ? &nothing : (void *)(uintptr_t)self->vectors->data;
    view->obj = object;
    Py_INCREF(object);
    view->itemsize = sizeof(float);
    view->len = view->itemsize;
    for (int i = 0; i < self->axes; i++)
        view->len *= self->shape[i];
    view->readonly = 1;
    view->ndim = self->axes;
    view->format = (flags & PyBUF_FORMAT) == PyBUF_FORMAT ? (char *)"f" : NULL;
    view->shape = self->shape;
    view->strides = self->strides;
    return 0;
}

static PyType_Slot file_slots[] = {
    {Py_tp_doc, "A vector file's memory. Use load()."},
    {Py_tp_dealloc, file_dealloc},
    {Py_bf_getbuffer, file_buffer},
    {0, NULL},
};

static PyType_Spec file_spec = {
    "dotk._dotk.File",
    sizeof(struct file_object),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    file_slots,
};

/* ------------------------------------------------------------------------- */
/*  load and save                                                            */
/* ------------------------------------------------------------------------- */

static PyObject *
load(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"load", 1, 1, {"path", "dtype", "dim"}, {NULL}};
    PyObject *given[3], *path = NULL, *answer = NULL;
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    size_t type = 0;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_type(given[1], "dtype", types, &type) < 0 ||
        py_args_size(given[2], "dim", &options.dim) < 0 || py_numpy() == NULL ||
        !PyUnicode_FSConverter(given[0], &path))
        return NULL;
    if (given[1] != NULL)
        options.raw = (dotk_raw_type)(type + 1);
    struct file_object *const file = (struct file_object *)PyType_GenericAlloc(file_type, 0);
    struct py_call call;
    if (file != NULL && py_call_begin(&call, NULL) == 0) {
        const dotk_status status = dotk_vectors_open(PyBytes_AsString(path), &options,
                                                     &file->vectors);
        if (py_call_end(&call, status) == 0) {
            set_shape(file);
            answer = PyObject_CallMethod(py_numpy(), "asarray", "O", file);
        }
    }
    Py_XDECREF((PyObject *)file);
    Py_DECREF(path);
    return answer;
}

static PyObject *
save(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_ROWS, 1, DOTK_MAX_AXES};
    static const struct py_want dense = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 3, DOTK_MAX_AXES};
    static struct py_args args = {"save", 2, 2, {"path", "vectors", "dtype", "context"}, {NULL}};
    PyObject *given[4], *path = NULL, *answer = NULL;
    struct py_array array;
    struct py_call call;
    size_t type = 0;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_type(given[2], "dtype", types, &type) < 0 ||
        py_array_get(given[1], "vectors", &want, &array) < 0)
        return NULL;
    if (array.axes > 2) { /* one stride serves all of its rows */
        py_array_release(&array);
        if (py_array_get(given[1], "vectors", &dense, &array) < 0)
            return NULL;
    }
    dotk_vectors vectors = {.data = array.data};
    vectors.dim = array.shape[array.axes - 1];
    vectors.rows = py_array_rows(&array);
    vectors.axes = array.axes;
    memcpy(vectors.shape, array.shape, array.axes * sizeof *array.shape);
    vectors.stride = array.axes == 2 && vectors.rows > 1 ? (size_t)array.stride[0] : vectors.dim;
    if (!PyUnicode_FSConverter(given[0], &path))
        goto done;
    if (py_call_begin(&call, given[3]) == 0) {
        const dotk_status status = dotk_vectors_save(call.context, PyBytes_AsString(path), &vectors,
                                                     given[2] == NULL ? DOTK_RAW_NONE
                                                                      : (dotk_raw_type)(type + 1));
        if (py_call_end(&call, status) == 0) {
            answer = Py_None;
            Py_INCREF(answer);
        }
    }
done:
    Py_XDECREF(path);
    py_array_release(&array);
    return answer;
}

static PyMethodDef methods[] = {
    PY_METHOD("load", load,
              "load(path, *, dtype=None, dim=None)\n--\n\n"
              "A vector file (.npy, .fvecs, .bvecs, .fbin, .u8bin, .i8bin, IDX) as an array of\n"
              "float32, read-only: the mapped file itself where it holds float32, else a copy.\n"
              "dtype ('f32', 'f16', 'bf16', 'u8', 'i8') and dim are for files without a header.\n"
              "OSError if there is no such file or it cannot be read.\n"
              "\n"
              ">>> import os, tempfile\n"
              ">>> path = os.path.join(tempfile.mkdtemp(), 'two.fvecs')\n"
              ">>> dotk.save(path, [[1, 2], [3, 4]])\n"
              ">>> dotk.load(path)\n"
              "array([[1., 2.],\n"
              "       [3., 4.]], dtype=float32)\n"),
    PY_METHOD("save", save,
              "save(path, vectors, *, dtype=None, context=None)\n--\n\n"
              "Writes vectors (..., dim) as a file of the format that the ending of path names:\n"
              ".npy, .fvecs, .bvecs, .fbin, .u8bin, .i8bin; .f32, .f16, .bf16, .u8, .i8 and .raw\n"
              "have no header. dtype is that of the values, where the format leaves a choice. The\n"
              "file appears whole or not at all.\n"
              "\n"
              ">>> import os, tempfile\n"
              ">>> path = os.path.join(tempfile.mkdtemp(), 'two.npy')\n"
              ">>> dotk.save(path, [[1, 2], [3, 4]])\n"
              ">>> np.load(path)\n"
              "array([[1., 2.],\n"
              "       [3., 4.]], dtype=float32)\n"),
    PY_METHODS_END,
};

int
py_add_files(PyObject *module)
{
    file_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &file_spec, NULL);
    return file_type == NULL ? -1 : PyModule_AddFunctions(module, methods);
}
