/*
 * cache_attention.c - attention of queries over the sequences of a cache
 */
#include "args.h"
#include "array.h"
#include "attend.h"
#include "cache.h"
#include "context.h"

#include <string.h>

/* The sequences of a call, which is inside each of them. */
struct group {
    PyObject *tuple;
    const dotk_sequence **handles;
    size_t count, entered, tokens;
    struct py_array queries;
};

static int
enter_all(struct group *out, const struct cache_object *cache, PyObject *sequences)
{
    out->tuple = PySequence_Tuple(sequences);
    if (out->tuple == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "sequences is %R: give a list of sequences", sequences);
        return -1;
    }
    out->count = (size_t)PyTuple_Size(out->tuple);
    out->handles = PyMem_Calloc(out->count + 1, sizeof *out->handles);
    if (out->handles == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < out->count; i++) {
        PyObject *const item = PyTuple_GetItem(out->tuple, (Py_ssize_t)i);
        struct sequence_object *const sequence = (struct sequence_object *)item;
        if (Py_TYPE(item) != py_sequence_type || sequence->cache != cache) {
            PyErr_Format(PyExc_TypeError, "sequences[%zu] is %R: give sequences of this cache", i,
                         item);
            return -1;
        }
        if (py_sequence_enter(sequence, false) < 0)
            return -1;
        out->entered++;
        out->handles[i] = sequence->handle;
        out->tokens += dotk_sequence_count(sequence->handle);
    }
    return 0;
}

static void
leave_all(struct group *group)
{
    for (size_t i = 0; i < group->entered; i++)
        py_sequence_leave((struct sequence_object *)PyTuple_GetItem(group->tuple, (Py_ssize_t)i),
                          false);
    PyMem_Free(group->handles);
    Py_XDECREF(group->tuple);
    py_array_release(&group->queries);
}

/* How many queries each has: they have to be there. */
static int
get_queries(struct group *group, PyObject *given, size_t there)
{
    size_t sum = group->count;

    if (given != NULL) {
        if (py_ids_get(given, "queries", &group->queries) < 0)
            return -1;
        const int64_t *const counts = group->queries.data;
        sum = group->queries.count == group->count ? 0 : there + 1;
        for (size_t i = 0; i < group->queries.count && sum <= there; i++)
            sum = counts[i] < 0 || (uint64_t)counts[i] > there ? there + 1
                                                               : sum + (size_t)counts[i];
    }
    if (sum == there)
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "q has %zu queries: give queries=, how many of them each of the %zu sequences has",
                 there, group->count);
    return -1;
}

enum {
    CACHE_OPTIONS = 2,
    CACHE_QUERIES = CACHE_OPTIONS + PY_ATTEND_OPTIONS,
    CACHE_LSE,
    CACHE_OUT,
    CACHE_CONTEXT,
    CACHE_ALL
};

static int
run_attention(struct py_attend *attend, const struct group *group, PyObject *context, void *out,
              float *lse)
{
    struct py_call call;

    if (py_call_begin(&call, context) < 0)
        return -1;
    const dotk_status status = dotk_cache_forward(call.context, group->count, group->handles,
                                                  group->queries.data, attend->shape.heads,
                                                  attend->q.data, &attend->options, out, lse);
    return py_call_end(&call, status);
}

static PyObject *
attend_cache(struct py_attend *attend, const struct group *group, const struct cache_object *cache,
             PyObject *const *given)
{
    struct py_array out = {0}, lse = {0};
    PyObject *given_lse = given[CACHE_LSE], *first, *second = NULL, *answer = NULL;
    const bool with_lse = given_lse != NULL && given_lse != Py_False;

    if (given_lse == Py_True)
        given_lse = NULL;
    first = py_attend_out(attend, given[CACHE_OUT], "out", attend->q.type, cache->value_width,
                          &attend->options.output, &out);
    if (first != NULL && with_lse)
        second = py_attend_out(attend, given_lse, "lse", PY_F32, 0, NULL, &lse);
    if (first != NULL && (second != NULL || !with_lse) &&
        run_attention(attend, group, given[CACHE_CONTEXT], out.data, lse.data) == 0) {
        answer = second == NULL ? first : PyTuple_Pack(2, first, second);
        if (second == NULL)
            Py_INCREF(answer);
    }
    py_array_release(&out);
    py_array_release(&lse);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return answer;
}

PyObject *
py_cache_attention(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention",
        2,
        2,
        {"sequences", "q", PY_ATTEND_NAMES, "queries", "lse", "out", "context"},
        {NULL}};
    static const size_t without[] = {PY_BLOCKS,     PY_QUERY_OFFSET, PY_QUERY_STARTS,
                                     PY_KEY_STARTS, PY_KEY_SCALES,   PY_VALUE_SCALES};
    const struct cache_object *const cache = (struct cache_object *)self;
    PyObject *given[CACHE_ALL], *answer = NULL;
    struct py_attend attend;
    struct group group = {NULL, NULL, 0, 0, 0, {0}};

    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    memset(&attend, 0, sizeof attend);
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        if (given[CACHE_OPTIONS + without[i]] != NULL) {
            PyErr_Format(PyExc_ValueError, "%s is given, which goes with no cache: leave it out",
                         args.names[CACHE_OPTIONS + without[i]]);
            return NULL;
        }
    }
    if (enter_all(&group, cache, given[0]) == 0 &&
        py_attend_get_queries(&attend, given[1], group.count, group.tokens,
                              given + CACHE_OPTIONS) == 0) {
        if (attend.shape.batch != 1 || attend.axes < 3 || attend.shape.width != cache->width)
            PyErr_Format(PyExc_ValueError, "q has another shape than it needs: give (H, L, %zu)",
                         cache->width);
        else if (get_queries(&group, given[CACHE_QUERIES], attend.shape.queries) == 0)
            answer = attend_cache(&attend, &group, cache, given);
    }
    leave_all(&group);
    py_attend_release(&attend);
    return answer;
}
