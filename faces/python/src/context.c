/*
 * context.c - dotk.Context, the process's own one, and how calls begin and end
 *
 * Every context is made with one progress function. It is called on the thread that made the call,
 * so the call is found in a thread-local variable, and takes the GIL only every 10 ms, only on the
 * main thread: signals are nobody else's business, and a thread that waited for the GIL without
 * need would hold up the pool.
 */
#include "context.h"

#include "args.h"
#include "module.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 10000000 /* 10 ms; Ctrl-C has to end a call within 100 ms */

struct context_object {
    PyObject_HEAD dotk_context *handle;
};

static PyTypeObject *context_type;
static PyObject *own_context; /* the process's, made by the first call that needs it */
static PyObject *error_type;

static _Thread_local struct py_call *current;

/* ------------------------------------------------------------------------- */
/*  Calls                                                                    */
/* ------------------------------------------------------------------------- */

static int64_t
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int
py_call_poll(struct py_call *call)
{
    const int64_t time = now();

    if (call->looked == 0)
        call->looked = time;
    if (time - call->looked < LOOK_NS)
        return 0;
    call->looked = time;
    if (syscall(SYS_gettid) != getpid())
        return 0;
    PyEval_RestoreThread(call->state);
    const int raised = PyErr_Occurred() != NULL || PyErr_CheckSignals() != 0;
    call->state = PyEval_SaveThread();
    return raised;
}

static int
progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return current == NULL ? 0 : py_call_poll(current);
}

int
py_call_begin(struct py_call *call, PyObject *given)
{
    call->owner = py_context(given);
    if (call->owner == NULL)
        return -1;
    call->context = py_context_handle(call->owner);
    call->looked = 0;
    call->outer = current;
    current = call;
    call->state = PyEval_SaveThread();
    return 0;
}

int
py_call_end(struct py_call *call, dotk_status status)
{
    PyEval_RestoreThread(call->state);
    current = call->outer;
    Py_DECREF(call->owner);
    if (PyErr_Occurred())
        return -1;
    return status == DOTK_OK ? 0 : py_raise(status);
}

/* The library's message without the names of its structures, whose members are arguments here. */
static void
set_message(PyObject *type, const char *message)
{
    static const char *const structures[] = {"options->", "shape->", "parameters->"};
    char text[1024];
    size_t count = 0;

    while (*message != '\0' && count < sizeof text) {
        const char *const before = message;
        for (size_t i = 0; i < sizeof structures / sizeof *structures; i++) {
            const size_t length = strlen(structures[i]);
            if (strncmp(message, structures[i], length) == 0)
                message += length;
        }
        if (message == before)
            text[count++] = *message++;
    }
    /* It may have a path, of any bytes, or a part of one. */
    PyObject *const decoded = PyUnicode_DecodeUTF8(text, (Py_ssize_t)count, "replace");
    if (decoded != NULL)
        PyErr_SetObject(type, decoded);
    Py_XDECREF(decoded);
}

int
py_raise(dotk_status status)
{
    PyObject *type = error_type;

    switch (status) {
    case DOTK_BAD_ARGUMENT:
    case DOTK_EXISTS: type = PyExc_ValueError; break;
    case DOTK_NO_MEMORY: type = PyExc_MemoryError; break;
    case DOTK_IO: type = PyExc_OSError; break;
    case DOTK_NOT_FOUND: type = PyExc_KeyError; break;
    default: break;
    }
    const char *const message = dotk_last_message();
    set_message(type, message[0] != '\0' ? message : dotk_status_text(status));
    return -1;
}

/* ------------------------------------------------------------------------- */
/*  The type                                                                 */
/* ------------------------------------------------------------------------- */

static PyObject *
make(PyTypeObject *type, size_t threads, const char *isa)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    options.threads = threads > UINT32_MAX ? UINT32_MAX : (uint32_t)threads;
    options.isa = isa;
    options.progress = progress;
    struct context_object *const self = (struct context_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    const dotk_status status = dotk_context_create(&options, &self->handle);
    if (status != DOTK_OK) {
        py_raise(status);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *
context_new(PyTypeObject *type, PyObject *values, PyObject *keywords)
{
    static struct py_args args = {"Context", 0, 1, {"threads", "isa"}, {NULL}};
    PyObject *given[2];
    size_t threads = 0;

    if (py_args_parse_tuple(&args, values, keywords, given) < 0 ||
        py_args_size(given[0], "threads", &threads) < 0)
        return NULL;
    const char *isa = NULL;
    if (given[1] != NULL) {
        if (!PyUnicode_Check(given[1])) {
            PyErr_Format(PyExc_TypeError, "isa is %R: give a str such as \"avx2\"", given[1]);
            return NULL;
        }
        isa = PyUnicode_AsUTF8AndSize(given[1], NULL);
        if (isa == NULL)
            return NULL;
    }
    return make(type, threads, isa);
}

static void
context_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    dotk_context *const handle = ((struct context_object *)self)->handle;

    /* Its threads end here, and none of them ever waits for the GIL. */
    dotk_context_destroy(handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *
context_threads(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(dotk_context_threads(py_context_handle(self)));
}

static PyObject *
context_isa(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(dotk_context_isa(py_context_handle(self)));
}

static PyObject *
context_repr(PyObject *self)
{
    dotk_context *const handle = py_context_handle(self);

    return PyUnicode_FromFormat("dotk.Context(threads=%u, isa='%s')",
                                (unsigned)dotk_context_threads(handle), dotk_context_isa(handle));
}

static PyGetSetDef context_members[] = {
    {"threads", context_threads, NULL, "How many threads calls may use, the caller's included.",
     NULL},
    {"isa", context_isa, NULL, "The name of the instruction set that calls use.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot context_slots[] = {
    {Py_tp_doc, "Context(threads=0, *, isa=None)\n--\n\n"
                "Threads that calls run on. Results never depend on their number.\n"
                "\n"
                "threads: 0 means $DOTK_THREADS if it is set, else one for each CPU.\n"
                "isa: the instruction set, such as \"avx2\"; None means $DOTK_ISA if it is set,\n"
                "else the best that the CPU has.\n"
                "\n"
                "Every function that does much work takes context=; without it, it uses the one\n"
                "that all of the process shares: see set_threads(). Any number of threads may use\n"
                "one Context at once, and a forked child may go on using it.\n"
                "\n"
                ">>> dotk.Context(threads=2).threads\n"
                "2\n"},
    {Py_tp_new, context_new},
    {Py_tp_dealloc, context_dealloc},
    {Py_tp_repr, context_repr},
    {Py_tp_getset, context_members},
    {0, NULL},
};

static PyType_Spec context_spec = {
    "dotk.Context", sizeof(struct context_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    context_slots,
};

dotk_context *
py_context_handle(PyObject *context)
{
    return ((struct context_object *)context)->handle;
}

PyObject *
py_context(PyObject *given)
{
    if (given == NULL) {
        if (own_context == NULL)
            own_context = make(context_type, 0, NULL);
        given = own_context;
    } else if (Py_TYPE(given) != context_type) {
        PyErr_Format(PyExc_TypeError, "context is %R: give a dotk.Context", given);
        return NULL;
    }
    Py_XINCREF(given);
    return given;
}

static PyObject *
set_threads(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"set_threads", 1, 1, {"threads"}, {NULL}};
    PyObject *given[1];
    size_t threads = 0;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_size(given[0], "threads", &threads) < 0)
        return NULL;
    PyObject *const context = make(context_type, threads, NULL);
    if (context == NULL)
        return NULL;
    PyObject *const before = own_context;
    own_context = context;
    Py_XDECREF(before); /* calls and indexes that use it keep it alive */
    Py_RETURN_NONE;
}

static PyObject *
get_threads(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyObject *const context = py_context(NULL);
    PyObject *const threads = context == NULL ? NULL : context_threads(context, NULL);
    Py_XDECREF(context);
    return threads;
}

static PyMethodDef methods[] = {
    PY_METHOD("set_threads", set_threads,
              "set_threads(threads)\n--\n\n"
              "Sets how many threads calls without context= use from now on; 0 means\n"
              "$DOTK_THREADS if it is set, else one for each CPU. An Index keeps the threads it\n"
              "was made with.\n"
              "\n"
              ">>> dotk.set_threads(2)\n"
              ">>> dotk.get_threads()\n"
              "2\n"
              ">>> dotk.set_threads(0)\n"),
    PY_METHOD_NONE("get_threads", get_threads,
                   "get_threads()\n--\n\n"
                   "How many threads calls without context= use.\n"
                   "\n"
                   ">>> dotk.get_threads() >= 1\n"
                   "True\n"),
    PY_METHODS_END,
};

int
py_add_context(PyObject *module)
{
    context_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &context_spec, NULL);
    if (context_type == NULL)
        return -1;
    error_type = PyErr_NewExceptionWithDoc(
        "dotk.Error", "What the library could not do and no built-in exception describes.",
        PyExc_RuntimeError, NULL);
    if (error_type == NULL || PyModule_AddObjectRef(module, "Error", error_type) < 0 ||
        PyModule_AddType(module, context_type) < 0)
        return -1;
    return PyModule_AddFunctions(module, methods);
}
