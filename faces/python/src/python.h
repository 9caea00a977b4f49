/*
 * python.h - the limited API of Python 3.11, the same for every file of the extension
 *
 * One binary then serves Python 3.11 and all later ones.
 */
#ifndef DOTK_PYTHON_PYTHON_H
#define DOTK_PYTHON_PYTHON_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#ifdef Py_GIL_DISABLED
#error "dotk needs a Python with the GIL: objects are guarded by it"
#endif

/* A row of a method table. */
#define PY_METHOD(name, function, doc)                                                             \
    {                                                                                              \
        name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc          \
    }
#define PY_METHOD_NONE(name, function, doc)                                                        \
    {                                                                                              \
        name, function, METH_NOARGS, doc                                                           \
    }
#define PY_METHODS_END                                                                             \
    {                                                                                              \
        NULL, NULL, 0, NULL                                                                        \
    }

#endif /* DOTK_PYTHON_PYTHON_H */
