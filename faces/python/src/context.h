/*
 * context.h - threads, the GIL, Ctrl-C, and a status as an exception: what surrounds every call
 *
 *     struct py_call call;
 *     if (py_call_begin(&call, given[CONTEXT]) < 0)
 *         return NULL;
 *     const dotk_status status = dotk_inspect(call.context, ...);
 *     if (py_call_end(&call, status) < 0)
 *         return NULL;
 *
 * Between the two the GIL is not held: touch nothing of Python's. On the main thread a signal
 * (Ctrl-C) ends the call through its context's progress function. A signal handler may itself call
 * dotk: calls nest. It must not fork: in the child the interrupted call would wait for threads that
 * are not there.
 */
#ifndef DOTK_PYTHON_CONTEXT_H
#define DOTK_PYTHON_CONTEXT_H

#include "python.h"

#include <dotk/base.h>
#include <stdbool.h>
#include <stdint.h>

struct py_call {
    dotk_context *context; /* to hand to the library                              */
    PyObject *owner;       /* the Context that keeps it alive                     */
    PyThreadState *state;  /* of the thread, while it does not hold the GIL       */
    struct py_call *outer; /* the call that a signal handler interrupted, or NULL */
    int64_t looked;        /* when signals were last looked for: see py_call_poll */
};

/*
 * Begins a call on 'given', a dotk.Context, or NULL for the process's own. Returns 0, or -1 with
 * TypeError (it is something else) or MemoryError.
 */
int py_call_begin(struct py_call *call, PyObject *given);

/*
 * Ends it. Returns 0 for DOTK_OK, else -1 with the exception that fits: what a signal handler
 * raised (KeyboardInterrupt), or that of py_raise().
 */
int py_call_end(struct py_call *call, dotk_status status);

/*
 * For loops of our own between begin and end, and for progress functions: looks for signals if 10
 * ms have gone by since the last look. Returns non-zero when a handler raised: end the call with
 * DOTK_CANCELLED.
 */
int py_call_poll(struct py_call *call);

/*
 * Raises what a failed status is in Python, with the library's message: ValueError (BAD_ARGUMENT,
 * EXISTS), MemoryError, OSError (IO), KeyError (NOT_FOUND), else dotk.Error. Needs the GIL, and
 * the thread that made the call. Always returns -1.
 */
int py_raise(dotk_status status);

/* The Context that 'given' means, NULL being the process's own: a new reference, or NULL. */
PyObject *py_context(PyObject *given);

/* What it wraps; 'context' comes from py_context(). */
dotk_context *py_context_handle(PyObject *context);

#endif /* DOTK_PYTHON_CONTEXT_H */
