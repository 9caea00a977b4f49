/*
 * command.c - the command line as a function, where the extension was built with it
 *
 * It is meant for python -m dotk, once in a process: it sets signal handlers and closes stdout.
 */
#include "args.h"
#include "module.h"

#ifdef DOTK_COMMAND
#include <stdlib.h>

int dotk_command(int argc, char **argv); /* main() of faces/cli */

static PyObject *
command(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"command", 1, 1, {"arguments"}, {NULL}};
    PyObject *given[1];

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (!PyList_Check(given[0])) {
        PyErr_Format(PyExc_TypeError, "arguments is %R: give a list of str", given[0]);
        return NULL;
    }
    PyObject *const texts = PyList_AsTuple(given[0]); /* a __fspath__() may change the list */
    if (texts == NULL)
        return NULL;
    const Py_ssize_t argc = PyTuple_Size(texts);
    char **const argv = calloc((size_t)argc + 1, sizeof *argv);
    PyObject *const kept = PyTuple_New(argc); /* the arguments as bytes, which argv borrows */
    PyObject *answer = NULL;
    if (argv == NULL || kept == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < argc; i++) {
        PyObject *const text = PyTuple_GetItem(texts, i);
        PyObject *bytes = NULL;
        if (!PyUnicode_FSConverter(text, &bytes)) /* refuses a zero byte */
            goto done;
        argv[i] = PyBytes_AsString(bytes);
        PyTuple_SetItem(kept, i, bytes);
    }
    int code;
    Py_BEGIN_ALLOW_THREADS code = dotk_command((int)argc, argv);
    Py_END_ALLOW_THREADS answer = PyLong_FromLong(code);
done:
    Py_XDECREF(kept);
    Py_DECREF(texts);
    free(argv);
    return answer;
}

static PyMethodDef methods[] = {
    PY_METHOD("command", command,
              "command(arguments)\n--\n\n"
              "Runs the command line, arguments[0] being its name, and returns the exit code.\n"
              "Once in a process: it closes the standard output.\n"),
    PY_METHODS_END,
};

int
py_add_command(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}

#else

int
py_add_command(PyObject *module)
{
    (void)module;
    return 0;
}

#endif
