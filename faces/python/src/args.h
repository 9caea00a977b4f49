/*
 * args.h - what a function was called with
 *
 * Functions of the module are METH_FASTCALL | METH_KEYWORDS. Each has a static struct py_args that
 * lists its parameters, and begins with
 *
 *     static struct py_args args = {"dot", 2, 2, {"a", "b"}};
 *     PyObject *given[2];
 *     if (py_args_parse(&args, values, count, keywords, given) < 0)
 *         return NULL;
 *
 * after which given[i] is the value of the i-th parameter, borrowed. It is NULL where the caller
 * gave none or, beyond the required ones, None: None always stands for the default.
 */
#ifndef DOTK_PYTHON_ARGS_H
#define DOTK_PYTHON_ARGS_H

#include "python.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PY_ARGS_MAX 32

struct py_args {
    const char *function;           /* for messages                                          */
    size_t required;                /* so many come first and must be given                  */
    size_t positional;              /* so many may be given without their names              */
    const char *names[PY_ARGS_MAX]; /* of all parameters, in order; NULL ends the list       */
    PyObject *keys[PY_ARGS_MAX];    /* the names as str, made by the first call              */
};

/* Returns 0, or -1 with TypeError. 'given' has a place for each name. */
int py_args_parse(struct py_args *args, PyObject *const *values, Py_ssize_t count,
                  PyObject *keywords, PyObject **given);

/* The same for what a type's tp_new receives: a tuple, and a dict or NULL. */
int
py_args_parse_tuple(struct py_args *args, PyObject *tuple, PyObject *keywords, PyObject **given);

/*
 * What a parameter says, in C. 'object' NULL leaves *out as it is, so set the default before.
 * They return 0, or -1 with TypeError or ValueError that names the parameter and its value.
 */
int py_args_size(PyObject *object, const char *name, size_t *out);     /* an int >= 0          */
int py_args_int64(PyObject *object, const char *name, int64_t *out);   /* an int               */
int py_args_uint64(PyObject *object, const char *name, uint64_t *out); /* an int >= 0          */
int py_args_double(PyObject *object, const char *name, double *out);   /* a number, NaN refused */
int py_args_flag(PyObject *object, const char *name, bool *out);       /* True or False        */

/* One of 'choices' of types such as "f32" or "i8", by that name or by numpy's. */
int py_args_type(PyObject *object, const char *name, const char *const *choices, size_t *out);

/* A parameter that lists names, any iterable but a str, as a tuple: new, or NULL with TypeError. */
PyObject *py_args_names(PyObject *object, const char *name);

/* One of 'choices' (ended by NULL), as its place in the list. */
int py_args_choice(PyObject *object, const char *name, const char *const *choices, size_t *out);

#endif /* DOTK_PYTHON_ARGS_H */
