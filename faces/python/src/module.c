/*
 * module.c - dotk._dotk, the extension behind the package dotk
 *
 * Objects that are made once (types, names) are static variables: the extension serves one
 * interpreter of a process, and refuses a second. An import that failed may be tried again.
 */
#include "module.h"

#include <dotk/base.h>
#include <stdint.h>

static int
fill(PyObject *module)
{
    static int64_t home = -1;
    const int64_t here = PyInterpreterState_GetID(PyInterpreterState_Get());

    if (home >= 0) {
        PyErr_SetString(PyExc_ImportError,
                        home == here
                            ? "dotk._dotk is loaded already: restart Python to load it anew"
                            : "dotk serves one interpreter of a process: import it in that");
        return -1;
    }
#define SUBJECT(name)                                                                              \
    if (py_add_##name(module) < 0)                                                                 \
        return -1;
#include "subjects.def"
#undef SUBJECT
    if (PyModule_AddStringConstant(module, "__version__", dotk_version()) < 0)
        return -1;
    home = here;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_dotk",
    "The C library dotk. Use the package: import dotk.",
    0,
    NULL,
    slots,
    NULL,
    NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__dotk(void);

PyMODINIT_FUNC
PyInit__dotk(void)
{
    return PyModuleDef_Init(&definition);
}
