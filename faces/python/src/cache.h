/*
 * cache.h - dotk.Cache and dotk.Sequence, shared by cache.c (tokens) and cache_attention.c
 *
 * A sequence has one writer or several readers. Each counts those that are inside the library,
 * where the GIL does not keep others out, and a call that may not go in is refused.
 */
#ifndef DOTK_PYTHON_CACHE_H
#define DOTK_PYTHON_CACHE_H

#include "python.h"

#include <dotk/cache.h>
#include <stdbool.h>

struct cache_object {
    PyObject_HEAD dotk_cache *handle;
    size_t heads, width, value_width;
    dotk_store store;
};

struct sequence_object {
    PyObject_HEAD dotk_sequence *handle;
    struct cache_object *cache;
    size_t readers;
    bool written;
};

extern PyTypeObject *py_sequence_type;

/* Goes in, to write or to read; returns 0, or -1 with RuntimeError where that cannot be now. */
int py_sequence_enter(struct sequence_object *self, bool write);
void py_sequence_leave(struct sequence_object *self, bool write);

/* The method attention of a cache. */
PyObject *
py_cache_attention(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords);

#endif /* DOTK_PYTHON_CACHE_H */
