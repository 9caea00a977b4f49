/*
 * search.c - searching an index: the k best, a range, which path; merging lists
 *
 * A filter of True and False becomes a bitmap here, eight of them to a byte; the other forms are
 * used as they lie.
 */
#include "args.h"
#include "array.h"
#include "context.h"
#include "index.h"
#include "module.h"

#include <string.h>

/* ------------------------------------------------------------------------- */
/*  What may be returned                                                     */
/* ------------------------------------------------------------------------- */

struct filter {
    dotk_filter filter;
    struct py_array array;
    uint8_t *packed;
    bool given;
};

/* Bit i of the answer tells whether byte i is other than 0. */
static uint8_t
pack_word(const uint8_t *bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    /* True need not be 1: the top bit of each byte tells, and becomes the byte. */
    word = (((word & 0x7f * ones) + 0x7f * ones) | word) >> 7 & ones;
    /* Bit 8 i times bit 56 - 7 i of the factor is bit 56 + i, and nothing else reaches the top. */
    return (uint8_t)(word * UINT64_C(0x0102040810204080) >> 56);
}

static int
pack(struct filter *out)
{
    const size_t count = out->array.count, whole = count / 8;
    const uint8_t *const from = out->array.data;

    out->packed = PyMem_Calloc(whole + 1, 1);
    if (out->packed == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < whole; i++)
        out->packed[i] = pack_word(from + 8 * i);
    for (size_t i = 8 * whole; i < count; i++)
        out->packed[whole] |= (uint8_t)((from[i] != 0) << (i % 8));
    return 0;
}

static void
filter_release(struct filter *filter)
{
    PyMem_Free(filter->packed);
    py_array_release(&filter->array);
}

/* 'object' NULL: no filter. Returns 0, or -1 with nothing to release. */
static int
filter_get(PyObject *object, struct filter *out)
{
    static const struct py_want want = {PY_BIT(PY_BOOL) | PY_BIT(PY_U8) | PY_BIT(PY_I64), PY_I64,
                                        PY_COPIED, 1, 1};

    memset(out, 0, sizeof *out);
    if (object == NULL)
        return 0;
    if (py_array_get(object, "filter", &want, &out->array) < 0)
        return -1;
    out->given = true;
    switch (out->array.type) {
    case PY_BOOL:
        if (pack(out) < 0) {
            filter_release(out);
            return -1;
        }
        out->filter.bitmap = out->packed;
        out->filter.bitmap_bits = out->array.count;
        break;
    case PY_U8:
        out->filter.bitmap = out->array.data;
        out->filter.bitmap_bits = 8 * out->array.count;
        break;
    default:
        out->filter.ids = out->array.data;
        out->filter.id_count = out->array.count;
        break;
    }
    return 0;
}

/* Puts a search's numbers into the caller's dict. */
static int
stats_put(PyObject *dict, const dotk_search_stats *stats)
{
    PyObject *const numbers = Py_BuildValue(
        "{s:K,s:K,s:K,s:K,s:d,s:d,s:s,s:s}", "rows_scored", (unsigned long long)stats->rows_scored,
        "rows_filtered", (unsigned long long)stats->rows_filtered, "candidates",
        (unsigned long long)stats->candidates, "rows_rescored",
        (unsigned long long)stats->rows_rescored, "delta", stats->delta, "seconds", stats->seconds,
        "path", stats->path, "kernel", stats->kernel);

    if (numbers == NULL)
        return -1;
    const int put = PyDict_Update(dict, numbers);
    Py_DECREF(numbers);
    return put;
}

/* What searches and ranges have in common: filter, clipping, numbers. */
struct request {
    struct filter filter;
    dotk_search_params params;
    dotk_search_stats stats;
    PyObject *dict;
};

static int
request_get(PyObject *filter, PyObject *clip, PyObject *dict, struct request *out)
{
    bool clipped = false;

    out->params = (dotk_search_params)DOTK_SEARCH_PARAMS_INIT;
    out->dict = dict;
    if (dict != NULL && !PyDict_Check(dict)) {
        PyErr_Format(PyExc_TypeError, "stats is %R: give a dict to be filled", dict);
        return -1;
    }
    if (py_args_flag(clip, "clip_at_zero", &clipped) < 0 || filter_get(filter, &out->filter) < 0)
        return -1;
    out->params.clip_at_zero = clipped;
    if (out->filter.given)
        out->params.filter = &out->filter.filter;
    if (dict != NULL)
        out->params.stats = &out->stats;
    return 0;
}

/* ------------------------------------------------------------------------- */
/*  The k best                                                               */
/* ------------------------------------------------------------------------- */

static int
run_search(PyObject *self, const struct py_rows *queries, size_t k, struct request *request,
           int64_t *ids, float *scores)
{
    const struct index_object *const index = (struct index_object *)self;
    struct py_call call;

    if (py_call_begin(&call, index->context) < 0)
        return -1;
    const dotk_status status = dotk_index_search(index->handle, queries->rows, queries->data,
                                                 queries->stride, k, &request->params, ids, scores,
                                                 NULL);
    if (py_call_end(&call, status) < 0)
        return -1;
    return request->dict == NULL ? 0 : stats_put(request->dict, &request->stats);
}

/* The caller's out=(ids, scores), borrowed; both NULL if there is none. */
static int
split_out(PyObject *out, PyObject **ids, PyObject **scores)
{
    *ids = *scores = NULL;
    if (out == NULL)
        return 0;
    if (!PyTuple_Check(out) || PyTuple_Size(out) != 2) {
        PyErr_Format(PyExc_TypeError, "out is a %R: give a tuple of two arrays, (ids, scores)",
                     Py_TYPE(out));
        return -1;
    }
    *ids = PyTuple_GetItem(out, 0);
    *scores = PyTuple_GetItem(out, 1);
    return 0;
}

enum { QUERIES, K, FILTER, CLIP, OUT, STATS, SEARCH_ARGS };

const char py_index_search_doc[] =
    "search($self, queries, k, *, filter=None, clip_at_zero=False, out=None, stats=None)\n--\n\n"
    "The k best rows for each query, best first: (ids, scores), each (n, k) for queries (n, dim)\n"
    "and (k) for one query (dim). Where fewer rows are found the rest is -1 and the worst score.\n"
    "\n"
    "filter: which ids may be returned: an array of bool, its place being the id (ids beyond it\n"
    "are excluded; it is packed, which takes an eighth of its size); an array of uint8, the same\n"
    "as bits, numpy.packbits(..., bitorder='little'); or ids in ascending order.\n"
    "clip_at_zero: report max(score, 0).\n"
    "out: (ids, scores) to write to, int64 and float32.\n"
    "stats: a dict that receives what the search did.\n"
    "\n"
    ">>> index = dotk.Index(2)\n"
    ">>> index.add([[1, 0], [0, 1], [1, 1]])\n"
    ">>> index.search([2, 1], k=2)\n"
    "(array([2, 0]), array([3., 2.], dtype=float32))\n"
    ">>> index.search([2, 1], k=2, filter=[True, True, False])\n"
    "(array([0, 1]), array([2., 1.], dtype=float32))\n";

PyObject *
py_index_search(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "search", 2, 2, {"queries", "k", "filter", "clip_at_zero", "out", "stats"}, {NULL}};
    PyObject *given[SEARCH_ARGS], *give_ids, *give_scores, *answer = NULL;
    PyObject *ids_object = NULL, *scores_object = NULL;
    struct py_rows queries;
    struct py_array ids = {0}, scores = {0};
    struct request request;
    size_t k = 0;

    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_size(given[K], "k", &k) < 0 || split_out(given[OUT], &give_ids, &give_scores) < 0)
        return NULL;
    const struct index_object *const index = (struct index_object *)self;
    if (py_rows_get(given[QUERIES], "queries", dotk_index_dim(index->handle), &queries) < 0)
        return NULL;
    if (request_get(given[FILTER], given[CLIP], given[STATS], &request) < 0) {
        py_rows_release(&queries);
        return NULL;
    }
    const size_t shape[2] = {queries.rows, k};
    const size_t axes = queries.single ? 1 : 2;
    ids_object = py_array_out(give_ids, "out[0]", &queries.array, PY_I64, axes,
                              shape + queries.single, &ids);
    if (ids_object != NULL)
        scores_object = py_array_out(give_scores, "out[1]", &queries.array, PY_F32, axes,
                                     shape + queries.single, &scores);
    if (scores_object != NULL &&
        run_search(self, &queries, k, &request, ids.data, scores.data) == 0) {
        answer = given[OUT];
        Py_XINCREF(answer);
        if (answer == NULL)
            answer = PyTuple_Pack(2, ids_object, scores_object);
    }
    py_array_release(&scores);
    py_array_release(&ids);
    Py_XDECREF(scores_object);
    Py_XDECREF(ids_object);
    filter_release(&request.filter);
    py_rows_release(&queries);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  A range                                                                  */
/* ------------------------------------------------------------------------- */

/* An array of the library's values, which is copied: hits belong to the library. */
static PyObject *
copied(const void *from, const struct py_array *like, enum py_type type, size_t count)
{
    struct py_array out;
    PyObject *const array = py_array_out(NULL, "", like, type, 1, &count, &out);

    if (array != NULL && count > 0)
        memcpy(out.data, from, count * py_type_size(type));
    if (array != NULL)
        py_array_release(&out);
    return array;
}

static PyObject *
hits_tuple(const dotk_hits *hits, const struct py_array *like)
{
    const size_t count = hits->starts[hits->query_count];
    PyObject *const starts = copied(hits->starts, like, PY_I64, hits->query_count + 1);
    PyObject *const ids = starts == NULL ? NULL : copied(hits->ids, like, PY_I64, count);
    PyObject *const scores = ids == NULL ? NULL : copied(hits->scores, like, PY_F32, count);
    PyObject *const answer = scores == NULL ? NULL : PyTuple_Pack(3, starts, ids, scores);

    Py_XDECREF(scores);
    Py_XDECREF(ids);
    Py_XDECREF(starts);
    return answer;
}

const char py_index_range_doc[] =
    "range($self, queries, threshold, *, filter=None, clip_at_zero=False, stats=None)\n--\n\n"
    "All rows whose score is at least the threshold ('l2': at most), best first: (starts, ids,\n"
    "scores). Those of query i, of n, are places starts[i] to starts[i + 1] - 1 of ids and\n"
    "scores; starts has n + 1 entries. One query may be (dim). See search() for the rest.\n"
    "\n"
    ">>> index = dotk.Index(2)\n"
    ">>> index.add([[1, 0], [0, 1], [1, 1]])\n"
    ">>> starts, ids, scores = index.range([[2, 1], [0, 3]], 2.0)\n"
    ">>> starts, ids, scores\n"
    "(array([0, 2, 4]), array([2, 0, 1, 2]), array([3., 2., 3., 3.], dtype=float32))\n";

PyObject *
py_index_range(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "range", 2, 2, {"queries", "threshold", "filter", "clip_at_zero", "stats"}, {NULL}};
    PyObject *given[5], *answer = NULL;
    struct py_rows queries;
    struct request request;
    struct py_call call;
    double threshold = 0;
    dotk_hits *hits = NULL;

    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_double(given[1], "threshold", &threshold) < 0)
        return NULL;
    const struct index_object *const index = (struct index_object *)self;
    if (py_rows_get(given[0], "queries", dotk_index_dim(index->handle), &queries) < 0)
        return NULL;
    if (request_get(given[2], given[3], given[4], &request) < 0) {
        py_rows_release(&queries);
        return NULL;
    }
    if (py_call_begin(&call, index->context) == 0) {
        const dotk_status status = dotk_index_range(index->handle, queries.rows, queries.data,
                                                    queries.stride, (float)threshold,
                                                    &request.params, &hits);
        if (py_call_end(&call, status) == 0 &&
            (request.dict == NULL || stats_put(request.dict, &request.stats) == 0))
            answer = hits_tuple(hits, &queries.array);
    }
    dotk_hits_destroy(hits);
    filter_release(&request.filter);
    py_rows_release(&queries);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  Which path                                                               */
/* ------------------------------------------------------------------------- */

const char py_index_plan_doc[] =
    "plan($self, n, k, *, filter=None)\n--\n\n"
    "One line that says how a search for the k best of n queries would go now, and why.\n"
    "\n"
    ">>> index = dotk.Index(2)\n"
    ">>> index.add([[1, 0], [0, 1]])\n"
    ">>> index.plan(1, 1).split()[0]\n"
    "'few'\n";

PyObject *
py_index_plan(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"plan", 2, 2, {"n", "k", "filter"}, {NULL}};
    const struct index_object *const index = (struct index_object *)self;
    PyObject *given[3], *answer = NULL;
    struct request request;
    struct py_call call;
    size_t n = 0, k = 0;
    char line[512];

    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_size(given[0], "n", &n) < 0 || py_args_size(given[1], "k", &k) < 0 ||
        request_get(given[2], NULL, NULL, &request) < 0)
        return NULL;
    if (py_call_begin(&call, index->context) == 0) {
        const dotk_status status = dotk_index_plan(index->handle, n, k, &request.params, line,
                                                   sizeof line);
        if (py_call_end(&call, status) == 0)
            answer = PyUnicode_FromString(line);
    }
    filter_release(&request.filter);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  Merging                                                                  */
/* ------------------------------------------------------------------------- */

/* One query's lists lie apart in (lists, n, k): they are brought together first. */
static dotk_status
merge_query(dotk_metric metric, size_t lists, size_t n, size_t k, size_t query, const int64_t *ids,
            const float *scores, int64_t *near_ids, float *near_scores, int64_t *out_ids,
            float *out_scores)
{
    for (size_t i = 0; i < lists; i++) {
        memcpy(near_ids + i * k, ids + (i * n + query) * k, k * sizeof *ids);
        memcpy(near_scores + i * k, scores + (i * n + query) * k, k * sizeof *scores);
    }
    return dotk_topk_merge(metric, lists, k, near_ids, near_scores, out_ids + query * k,
                           out_scores + query * k);
}

static int
merge_all(dotk_metric metric, const struct py_array *ids, const struct py_array *scores,
          int64_t *out_ids, float *out_scores)
{
    const size_t lists = ids->shape[0], k = ids->shape[ids->axes - 1];
    const size_t n = ids->axes == 3 ? ids->shape[1] : 1;
    int64_t *const near_ids = PyMem_Calloc(lists * k + 1, sizeof *near_ids);
    float *const near_scores = PyMem_Calloc(lists * k + 1, sizeof *near_scores);
    dotk_status status = DOTK_OK;
    struct py_call call;
    int result = -1;

    if (near_ids == NULL || near_scores == NULL) {
        PyErr_NoMemory();
    } else if (py_call_begin(&call, NULL) == 0) {
        for (size_t i = 0; i < n && status == DOTK_OK && py_call_poll(&call) == 0; i++)
            status = merge_query(metric, lists, n, k, i, ids->data, scores->data, near_ids,
                                 near_scores, out_ids, out_scores);
        result = py_call_end(&call, status);
    }
    PyMem_Free(near_ids);
    PyMem_Free(near_scores);
    return result;
}

static PyObject *
topk_merge(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static const struct py_want want_ids = {PY_BIT(PY_I64), PY_I64, PY_DENSE, 2, 3};
    static const struct py_want want_scores = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 2, 3};
    static struct py_args args = {"topk_merge", 2, 3, {"ids", "scores", "metric"}, {NULL}};
    PyObject *given[3], *answer = NULL, *ids_object = NULL, *scores_object = NULL;
    struct py_array ids = {0}, scores = {0}, out_ids = {0}, out_scores = {0};
    size_t metric = 0;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_choice(given[2], "metric", py_metrics, &metric) < 0 ||
        py_array_get(given[0], "ids", &want_ids, &ids) < 0 ||
        py_array_get(given[1], "scores", &want_scores, &scores) < 0)
        goto done;
    if (ids.axes != scores.axes ||
        memcmp(ids.shape, scores.shape, ids.axes * sizeof *ids.shape) != 0) {
        PyErr_SetString(PyExc_ValueError, "ids and scores differ in shape: give a score an id");
        goto done;
    }
    ids_object = py_array_out(NULL, "", &ids, PY_I64, ids.axes - 1, ids.shape + 1, &out_ids);
    if (ids_object != NULL)
        scores_object = py_array_out(NULL, "", &scores, PY_F32, ids.axes - 1, ids.shape + 1,
                                     &out_scores);
    if (scores_object != NULL &&
        merge_all((dotk_metric)metric, &ids, &scores, out_ids.data, out_scores.data) == 0)
        answer = PyTuple_Pack(2, ids_object, scores_object);
done:
    py_array_release(&out_scores);
    py_array_release(&out_ids);
    Py_XDECREF(scores_object);
    Py_XDECREF(ids_object);
    py_array_release(&scores);
    py_array_release(&ids);
    return answer;
}

static PyMethodDef methods[] = {
    PY_METHOD(
        "topk_merge", topk_merge,
        "topk_merge(ids, scores, metric='dot')\n--\n\n"
        "The k best of several searches' answers: (ids, scores), of shape (k) from lists\n"
        "(lists, k), or (n, k) from (lists, n, k). Exact where each row has an id of its own\n"
        "across all of them.\n"
        "\n"
        ">>> dotk.topk_merge([[0, 1], [5, 6]], [[9.0, 2.0], [8.0, 7.0]])\n"
        "(array([0, 5]), array([9., 8.], dtype=float32))\n"),
    PY_METHODS_END,
};

int
py_add_search(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
