/*
 * module.h - the subjects that make up the module
 *
 * Each is a file that puts its functions and types into the module; subjects.def lists them.
 */
#ifndef DOTK_PYTHON_MODULE_H
#define DOTK_PYTHON_MODULE_H

#include "python.h"

/* Returns 0, or -1 with an exception. */
#define SUBJECT(name) int py_add_##name(PyObject *module);
#include "subjects.def"
#undef SUBJECT

#endif /* DOTK_PYTHON_MODULE_H */
