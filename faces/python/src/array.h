/*
 * array.h - arrays in and out, without copying
 *
 * In: what has the buffer protocol (numpy, array.array, memoryview, mmap) or DLPack (torch on the
 * CPU, and others) is used where it lies. A copy is made only
 *
 *   - of numbers of another type than a function takes, where its 'want' names one to convert to;
 *   - of a list or tuple of numbers, and of what offers nothing but __array__ (a pandas column);
 *   - of ids and filters (PY_COPIED) that do not lie densely.
 *
 * Nothing else is copied: an array whose values do not lie as a function needs them is refused,
 * and the message says what to call.
 *
 *     static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_ROWS, 1, 2};
 *     struct py_array rows = {0};
 *     if (py_array_get(given[0], "rows", &want, &rows) == 0) { ... rows.data, rows.stride[0] ... }
 *     py_array_release(&rows);
 *
 * Out: py_array_out() checks the caller's out=, or makes an array by the library of an input:
 * a tensor for a tensor, else numpy's. bf16 arrays of numpy are those of the package ml_dtypes.
 *
 * All of it needs the GIL. A py_array that is all zeros is empty and may be released.
 */
#ifndef DOTK_PYTHON_ARRAY_H
#define DOTK_PYTHON_ARRAY_H

#include "python.h"

#include <dotk/base.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PY_AXES 8

enum py_type {
    PY_OTHER, /* complex, object, big-endian, ... */
    PY_F32,
    PY_F16,
    PY_BF16,
    PY_F64,
    PY_BOOL,
    PY_I8,
    PY_U8,
    PY_I16,
    PY_U16,
    PY_I32,
    PY_U32,
    PY_I64,
    PY_U64,
    PY_TYPES
};

#define PY_BIT(type) (1u << (type))

/* What an array's strides have to be. Strides of axes that have one place or none do not count. */
enum py_layout {
    PY_ANY,   /* whatever                                                                   */
    PY_ROWS,  /* the last axis contiguous; others, from the last but one outwards, a stride  */
              /* that is at least the width of a row (so they neither overlap nor go back)   */
    PY_DENSE, /* row-major without gaps                                                     */
    PY_COPIED /* the same, and what is not is copied: for small arrays, such as ids         */
};

struct py_want {
    unsigned types;        /* PY_BIT(...) of those that are taken as they are               */
    enum py_type convert;  /* PY_F32 or PY_I64: copied to that from other number types (to  */
                           /* PY_I64 from integers only, but uint64); PY_OTHER: refused     */
    enum py_layout layout; /* see above                                                     */
    size_t least, most;    /* how many axes                                                 */
};

struct py_array {
    void *data; /* the first element; any pointer, or NULL, when there is none */
    enum py_type type;
    size_t axes, shape[PY_AXES];
    ptrdiff_t stride[PY_AXES]; /* in elements                                       */
    size_t count;              /* of elements                                       */
    bool torch;                /* it is a torch.Tensor: outputs are tensors too     */
    const char *name;          /* of the argument                                   */
    PyObject *object;          /* what data belongs to                              */
    PyObject *capsule;         /* DLPack's, or NULL                                 */
    bool viewed;               /* 'view' is held                                    */
    Py_buffer view;
};

/*
 * Looks at 'object', the value of argument 'name'. Returns 0, or -1 with TypeError or ValueError
 * that names the argument, what it is, and the remedy; *out is then empty.
 */
int
py_array_get(PyObject *object, const char *name, const struct py_want *want, struct py_array *out);

/* Gives it back. */
void py_array_release(struct py_array *array);

/*
 * An output of that type and shape, dense. 'given' is the caller's out= (numpy or tensor, writable,
 * of exactly this type and shape) or NULL: then an array like 'like' is made. 'like' NULL means
 * numpy. *out is its data, to be released; the return value is the object to return to the
 * caller, a new reference, or NULL with an exception.
 */
PyObject *py_array_out(PyObject *given, const char *name, const struct py_array *like,
                       enum py_type type, size_t axes, const size_t *shape, struct py_array *out);

/*
 * The same, but rows of out= may lie apart (PY_ROWS): see out->stride. For calls that take an
 * output's strides.
 */
PyObject *
py_array_out_rows(PyObject *given, const char *name, const struct py_array *like, enum py_type type,
                  size_t axes, const size_t *shape, struct py_array *out);

/*
 * An argument that is rows of f32, one row (dim) or several (n, dim), as the library wants them:
 * row i begins at data + i * stride. Other number types are converted. 'dim' 0 accepts any.
 * 'single' tells that one row without its axis came.
 */
struct py_rows {
    struct py_array array;
    const float *data;
    size_t rows, dim, stride;
    bool single;
};

int py_rows_get(PyObject *object, const char *name, size_t dim, struct py_rows *out);
void py_rows_release(struct py_rows *rows);

/* The ids of an argument, (n) of int64, dense; other integers are converted. */
int py_ids_get(PyObject *object, const char *name, struct py_array *out);

/* Where row i of an array (all axes but the last counted through) begins, in elements. */
size_t py_array_row(const struct py_array *array, size_t i);

/* How many such rows there are; an array without axes has one. */
size_t py_array_rows(const struct py_array *array);

/* "float32", "bfloat16", ...; and the size of an element in bytes (0 for PY_OTHER). */
const char *py_type_name(enum py_type type);
size_t py_type_size(enum py_type type);

/* The dotk_store of f32, f16, bf16 or i8; call it with no other. */
dotk_store py_type_store(enum py_type type);

/*
 * (B, H, rows, width) as the library's layout: the strides of an array of four axes that was got
 * with PY_ROWS. Axes of one place have the stride that a dense array would have.
 */
dotk_layout py_array_layout(const struct py_array *array);

/* Modules, imported when first needed: borrowed, or NULL with an exception. */
PyObject *py_numpy(void);

/* torch, if the program has imported it: borrowed; NULL without an exception if not. */
PyObject *py_torch(void);

#endif /* DOTK_PYTHON_ARRAY_H */
