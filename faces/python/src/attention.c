/*
 * attention.c - attention, attention_weights, attention_scores, attention_plan, attention_merge
 */
#include "args.h"
#include "array.h"
#include "attend.h"
#include "context.h"
#include "module.h"

#include <string.h>

/* (first, second), which it takes; or first alone where there is no second. */
static PyObject *
one_or_two(PyObject *first, PyObject *second)
{
    PyObject *const both = second == NULL ? first : PyTuple_Pack(2, first, second);

    if (second != NULL) {
        Py_DECREF(first);
        Py_DECREF(second);
    }
    return both;
}

/* lse=: False or None for none, True for a new array, or an array to write to. */
static int
wants_lse(PyObject **given)
{
    const bool wanted = *given != NULL && *given != Py_False;

    if (*given == Py_True || *given == Py_False)
        *given = NULL;
    return wanted;
}

/* ------------------------------------------------------------------------- */
/*  Output and log-sum-exp                                                   */
/* ------------------------------------------------------------------------- */

static int
run_forward(struct py_attend *attend, PyObject *context, void *out, float *lse)
{
    struct py_call call;

    if (py_call_begin(&call, context) < 0)
        return -1;
    const dotk_status status = dotk_attention_forward(call.context, &attend->shape, attend->q.data,
                                                      attend->k.data, attend->v.data,
                                                      &attend->options, out, lse);
    return py_call_end(&call, status);
}

static PyObject *
forward(struct py_attend *attend, PyObject *given_out, PyObject *given_lse, PyObject *context)
{
    struct py_array out = {0}, lse = {0};
    const bool with_lse = wants_lse(&given_lse);
    PyObject *second = NULL;
    PyObject *first = py_attend_out(attend, given_out, "out", attend->q.type, attend->v.shape[3],
                                    &attend->options.output, &out);

    if (first != NULL && with_lse &&
        (second = py_attend_out(attend, given_lse, "lse", PY_F32, 0, NULL, &lse)) == NULL)
        Py_CLEAR(first);
    if (first != NULL && run_forward(attend, context, out.data, lse.data) < 0) {
        Py_CLEAR(first);
        Py_CLEAR(second);
    }
    py_array_release(&out);
    py_array_release(&lse);
    return first == NULL ? NULL : one_or_two(first, second);
}

static PyObject *
attention(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention", 3, 3, {"q", "k", "v", PY_ATTEND_NAMES, "lse", "out", "context"}, {NULL}};
    enum { OPTIONS = 3, LSE = OPTIONS + PY_ATTEND_OPTIONS, OUT, CONTEXT, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct py_attend attend;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (py_attend_get(&attend, given[0], given[1], given[2], given + OPTIONS) == 0)
        answer = forward(&attend, given[OUT], given[LSE], given[CONTEXT]);
    py_attend_release(&attend);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  The matrix, because somebody wants to look at it                         */
/* ------------------------------------------------------------------------- */

static PyObject *
weights(struct py_attend *attend, bool average, PyObject *given_out, PyObject *context)
{
    const size_t S = attend->shape.keys, L = attend->shape.queries;
    const size_t shape[4] = {attend->shape.batch, attend->shape.heads, L, S};
    const size_t mean[3] = {attend->shape.batch, L, S};
    const size_t cut = 4 - attend->axes;
    struct py_array out;
    struct py_call call;
    PyObject *answer = average ? py_array_out(given_out, "out", &attend->q, PY_F32,
                                              attend->axes == 4 ? 3 : 2,
                                              attend->axes == 4 ? mean : mean + 1, &out)
                               : py_array_out(given_out, "out", &attend->q, PY_F32, attend->axes,
                                              shape + cut, &out);

    if (answer == NULL)
        return NULL;
    if (py_call_begin(&call, context) < 0) {
        Py_CLEAR(answer);
    } else {
        const dotk_status status = dotk_attention_weights(call.context, &attend->shape,
                                                          attend->q.data, attend->k.data,
                                                          &attend->options, average, out.data);
        if (py_call_end(&call, status) < 0)
            Py_CLEAR(answer);
    }
    py_array_release(&out);
    return answer;
}

static PyObject *
attention_weights(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention_weights", 2, 2, {"q", "k", PY_KEY_NAMES, "average", "out", "context"}, {NULL}};
    enum { OPTIONS = 2, AVERAGE = OPTIONS + PY_KEY_OPTIONS, OUT, CONTEXT, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct py_attend attend;
    bool average = false;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_flag(given[AVERAGE], "average", &average) < 0)
        return NULL;
    if (py_attend_get(&attend, given[0], given[1], NULL, given + OPTIONS) == 0)
        answer = weights(&attend, average, given[OUT], given[CONTEXT]);
    py_attend_release(&attend);
    return answer;
}

static PyObject *
scores(struct py_attend *attend, dotk_attention_stage stage, PyObject *given_out, PyObject *context)
{
    const size_t shape[4] = {attend->shape.batch, attend->shape.heads, attend->shape.queries,
                             attend->shape.keys};
    struct py_array out;
    struct py_call call;
    PyObject *answer = py_array_out(given_out, "out", &attend->q, PY_F32, attend->axes,
                                    shape + 4 - attend->axes, &out);

    if (answer == NULL)
        return NULL;
    if (py_call_begin(&call, context) < 0) {
        Py_CLEAR(answer);
    } else {
        const dotk_status status = dotk_attention_scores(call.context, &attend->shape,
                                                         attend->q.data, attend->k.data,
                                                         &attend->options, stage, out.data);
        if (py_call_end(&call, status) < 0)
            Py_CLEAR(answer);
    }
    py_array_release(&out);
    return answer;
}

static PyObject *
attention_scores(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention_scores", 2, 2, {"q", "k", PY_KEY_NAMES, "stage", "out", "context"}, {NULL}};
    static const char *const stages[] = {"product", "capped", "masked", NULL};
    enum { OPTIONS = 2, STAGE = OPTIONS + PY_KEY_OPTIONS, OUT, CONTEXT, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct py_attend attend;
    size_t stage = DOTK_STAGE_MASKED;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_choice(given[STAGE], "stage", stages, &stage) < 0)
        return NULL;
    if (py_attend_get(&attend, given[0], given[1], NULL, given + OPTIONS) == 0)
        answer = scores(&attend, (dotk_attention_stage)stage, given[OUT], given[CONTEXT]);
    py_attend_release(&attend);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  Plans and shards                                                         */
/* ------------------------------------------------------------------------- */

static PyObject *
attention_plan(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention_plan", 3, 3, {"q", "k", "v", PY_ATTEND_NAMES, "context"}, {NULL}};
    enum { OPTIONS = 3, CONTEXT = OPTIONS + PY_ATTEND_OPTIONS, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct py_attend attend;
    struct py_call call;
    char text[512];

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (py_attend_get(&attend, given[0], given[1], given[2], given + OPTIONS) == 0 &&
        py_call_begin(&call, given[CONTEXT]) == 0) {
        const dotk_status status = dotk_attention_plan(call.context, &attend.shape, &attend.options,
                                                       text, sizeof text);
        if (py_call_end(&call, status) == 0)
            answer = PyUnicode_FromString(text);
    }
    py_attend_release(&attend);
    return answer;
}

static int
check_shards(const struct py_array *out_a, const struct py_array *lse_a,
             const struct py_array *out_b, const struct py_array *lse_b)
{
    const size_t rows = out_a->axes - 1;

    if (out_b->axes == out_a->axes && lse_a->axes == rows && lse_b->axes == rows &&
        memcmp(out_b->shape, out_a->shape, out_a->axes * sizeof *out_a->shape) == 0 &&
        memcmp(lse_a->shape, out_a->shape, rows * sizeof *out_a->shape) == 0 &&
        memcmp(lse_b->shape, out_a->shape, rows * sizeof *out_a->shape) == 0)
        return 0;
    PyErr_SetString(PyExc_ValueError, "out_a, lse_a, out_b and lse_b do not fit: give both outputs "
                                      "in one shape, (..., width), and lse_a and lse_b as (...)");
    return -1;
}

static PyObject *
merge(const struct py_array *shard)
{
    struct py_array out = {0}, lse = {0};
    PyObject *first = NULL, *second = NULL;
    struct py_call call;
    bool merged = false;
    const size_t axes = shard[0].axes, width = shard[0].shape[axes - 1];

    if (check_shards(&shard[0], &shard[1], &shard[2], &shard[3]) == 0 &&
        (first = py_array_out(NULL, "out", shard, PY_F32, axes, shard->shape, &out)) != NULL &&
        (second = py_array_out(NULL, "lse", shard, PY_F32, axes - 1, shard->shape, &lse)) != NULL &&
        py_call_begin(&call, NULL) == 0) {
        const dotk_status status = dotk_attention_merge(py_array_rows(shard), width, shard[0].data,
                                                        shard[1].data, shard[2].data, shard[3].data,
                                                        out.data, lse.data);
        merged = py_call_end(&call, status) == 0;
    }
    py_array_release(&out);
    py_array_release(&lse);
    if (merged)
        return one_or_two(first, second);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return NULL;
}

static PyObject *
attention_merge(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {
        "attention_merge", 4, 4, {"out_a", "lse_a", "out_b", "lse_b"}, {NULL}};
    static const struct py_want rows = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, PY_AXES};
    static const struct py_want numbers = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 0, PY_AXES};
    PyObject *given[4], *answer = NULL;
    struct py_array shard[4] = {{0}};
    int got = 0;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    for (size_t i = 0; i < 4 && got == 0; i++)
        got = py_array_get(given[i], args.names[i], i % 2 == 0 ? &rows : &numbers, &shard[i]);
    if (got == 0)
        answer = merge(shard);
    for (size_t i = 0; i < 4; i++)
        py_array_release(&shard[i]);
    return answer;
}

#define ARRAYS                                                                                     \
    "Shapes: B batch, H heads of queries, G heads of keys and values (H a multiple of G), L\n"     \
    "queries, S keys, D and E widths. Arrays are float32, float16 or bfloat16 (numpy's is that\n"  \
    "of ml_dtypes), all of one type; other number types are converted to float32. Of the four\n"   \
    "axes B, or B and H, may be left out everywhere. Rows may lie apart: a view of an array\n"     \
    "(B, L, H, D) with its axes swapped is used where it lies.\n\n"

#define OPTIONS                                                                                    \
    "scale           default 1 / sqrt(D)\n"                                                        \
    "causal          True: query i sees keys 0 .. i + query_offset\n"                              \
    "window_left     so many keys before the query's position, -1 for all; and\n"                  \
    "window_right    so many after it; where only one of them is given, the other is -1\n"         \
    "query_offset    place of query 0 among the keys: 0, or S - L with a past before L\n"          \
    "query_offsets   (B) ints, one for each batch entry in query_offset's place\n"                 \
    "key_lengths     (B) ints: keys from there on do not exist\n"                                  \
    "mask            bool, (..., L, S): False excludes the key\n"                                  \
    "bias            float32, (..., L, S): added to scores. Axes of a mask or bias but the\n"      \
    "                last may have one place for all\n"                                            \
    "blocks          (rows, cols, starts, columns): the only blocks of rows x cols scores that\n"  \
    "                count; row i of them lists columns[starts[i]:starts[i + 1]], ascending;\n"    \
    "                starts may be (H, ...)\n"                                                     \
    "softcap         scores become softcap * tanh(score / softcap), before the bias\n"             \
    "dropout, seed   weights are dropped at that rate; the same seed drops the same\n"             \
    "slopes          (H): slopes[h] * |position - key| is taken from scores (ALiBi)\n"             \
    "sinks           (H): logits that take weight and have no value\n"                             \
    "query_starts    (n + 1) ints, and key_starts: n packed sequences, which lie one after\n"      \
    "                another where B is 1; offsets and lengths then have n entries\n"              \
    "key_scales      (B, G, S): k is int8, and key j its numbers times its scale\n"

#define VALUE_SCALES "value_scales    (B, G, S): the same for v\n"

#define CONTEXT_LINE "context         a Context, whose threads do the work\n"

#define CALLS                                                                                      \
    "Arrays are only read during the call, which lets go of the GIL: other threads may use\n"      \
    "them. ValueError and TypeError name what is wrong; MemoryError.\n"

#define SIGNATURE                                                                                  \
    "scale=None, causal=False, window_left=None, window_right=None, query_offset=0, "              \
    "query_offsets=None, key_lengths=None, mask=None, bias=None, blocks=None, softcap=0.0, "       \
    "dropout=0.0, seed=0, slopes=None, sinks=None, query_starts=None, key_starts=None, "           \
    "key_scales=None"

static PyMethodDef methods[] = {
    PY_METHOD("attention", attention,
              "attention(q, k, v, *, " SIGNATURE
              ", value_scales=None, lse=False, out=None, context=None)\n--\n\n"
              "softmax(q k^T * scale) v, without the matrix: (B, H, L, E), from q (B, H, L, D),\n"
              "k (B, G, S, D) and v (B, G, S, E). A query that sees no key gives zeros.\n"
              "\n" ARRAYS OPTIONS VALUE_SCALES CONTEXT_LINE
              "lse             True, or a float32 array (B, H, L) to write to: the answer is then\n"
              "                (out, lse), lse being the logarithm of softmax's denominator\n"
              "out             an array to write to, (B, H, L, E), whose rows may lie apart\n"
              "\n" CALLS "\n"
              ">>> q = np.array([[1, 0], [0, 1]], np.float32)\n"
              ">>> dotk.attention(q, q, q, causal=True)[0]\n"
              "array([1., 0.], dtype=float32)\n"
              ">>> dotk.attention(q, q, q, scale=0.0)[0]\n"
              "array([0.5, 0.5], dtype=float32)\n"),
    PY_METHOD(
        "attention_weights", attention_weights,
        "attention_weights(q, k, *, " SIGNATURE ", average=False, out=None, context=None)\n--\n\n"
        "The weights that attention() sums values with, after dropout: float32, (B, H, L, S),\n"
        "or (B, L, S), their mean over heads, with average=True. 0 for keys that do not count.\n"
        "\n" ARRAYS OPTIONS CONTEXT_LINE "\n"
        ">>> q = np.eye(2, dtype=np.float32)\n"
        ">>> dotk.attention_weights(q, q, causal=True)[0]\n"
        "array([1., 0.], dtype=float32)\n"),
    PY_METHOD(
        "attention_scores", attention_scores,
        "attention_scores(q, k, *, " SIGNATURE ", stage='masked', out=None, context=None)\n--\n\n"
        "What softmax is taken of, float32 (B, H, L, S), at a stage: \"product\", scale * q . k;\n"
        "\"capped\", after the softcap; \"masked\", with bias and slopes, and -inf for keys that\n"
        "do not count.\n"
        "\n" ARRAYS OPTIONS CONTEXT_LINE "\n"
        ">>> q = np.eye(2, dtype=np.float32)\n"
        ">>> dotk.attention_scores(q, q, scale=3.0, causal=True)\n"
        "array([[  3., -inf],\n"
        "       [  0.,   3.]], dtype=float32)\n"),
    PY_METHOD("attention_plan", attention_plan,
              "attention_plan(q, k, v, *, " SIGNATURE ", value_scales=None, context=None)\n--\n\n"
              "Which path and kernel attention() would take for these arguments, and why: one\n"
              "line. q (B, H, L, D), k (B, G, S, D) and v (B, G, S, E) are not looked into.\n"
              "\n"
              ">>> q = np.eye(2, dtype=np.float32)\n"
              ">>> dotk.attention_plan(q, q, q).split()[0]\n"
              "'rows'\n"),
    PY_METHOD(
        "attention_merge", attention_merge,
        "attention_merge(out_a, lse_a, out_b, lse_b)\n--\n\n"
        "(out, lse) over the union of two disjoint sets of keys, from the answers over each:\n"
        "out_a and out_b (..., E), lse_a and lse_b (...), all float32 and dense.\n"
        "\n"
        ">>> k = np.eye(4, dtype=np.float32)\n"
        ">>> a = dotk.attention(k, k[:2], k[:2], lse=True)\n"
        ">>> b = dotk.attention(k, k[2:], k[2:], lse=True)\n"
        ">>> out, lse = dotk.attention_merge(*a, *b)\n"
        ">>> bool(np.allclose(out, dotk.attention(k, k, k)))\n"
        "True\n"),
    PY_METHODS_END,
};

int
py_add_attention(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
