/*
 * index.h - dotk.Index, shared by index.c (rows) and search.c (searching)
 */
#ifndef DOTK_PYTHON_INDEX_H
#define DOTK_PYTHON_INDEX_H

#include "python.h"

#include <dotk/search.h>

struct index_object {
    PyObject_HEAD dotk_index *handle;
    PyObject *context; /* which the index borrows */
    dotk_store store;
    dotk_screen screen;
};

/* "dot", "cosine", "l2", NULL: in the order of dotk_metric. */
extern const char *const py_metrics[];

/* Methods of an index: search.c. */
PyObject *
py_index_search(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords);
PyObject *
py_index_range(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords);
PyObject *
py_index_plan(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords);
extern const char py_index_search_doc[], py_index_range_doc[], py_index_plan_doc[];

#endif /* DOTK_PYTHON_INDEX_H */
