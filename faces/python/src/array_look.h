/*
 * array_look.h - what array.c, array_look.c and array_out.c share
 */
#ifndef DOTK_PYTHON_ARRAY_LOOK_H
#define DOTK_PYTHON_ARRAY_LOOK_H

#include "array.h"

/* Fills *out from any object of the two protocols. Returns 0, or -1; release *out either way. */
int py_array_look(PyObject *object, const char *name, bool write, struct py_array *out);

/* 0, or -1 with ValueError, where strides or alignment are not those of 'layout'. */
int py_check_layout(const struct py_array *array, enum py_layout layout);

/* Always -1: TypeError that lists the types of 'want'; ValueError, "name: " and what is raised. */
int py_refuse_type(const struct py_array *array, const struct py_want *want);
int py_refuse_because(const char *name);

bool py_is_tensor(PyObject *object);

#endif /* DOTK_PYTHON_ARRAY_LOOK_H */
