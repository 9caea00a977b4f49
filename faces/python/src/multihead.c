/*
 * multihead.c - multihead and multihead_backward: attention with its projections
 *
 * Parameters come as a dict under the names of a state dict. All arrays are dense.
 */
#include "args.h"
#include "array.h"
#include "context.h"
#include "module.h"

#include <dotk/multihead.h>
#include <string.h>

enum { QUERY, KEY, VALUE, INPUTS };

enum {
    IN_PROJ_WEIGHT,
    Q_PROJ_WEIGHT,
    K_PROJ_WEIGHT,
    V_PROJ_WEIGHT,
    IN_PROJ_BIAS,
    BIAS_K,
    BIAS_V,
    OUT_PROJ_WEIGHT,
    OUT_PROJ_BIAS,
    PARAMETERS
};

static const char *const input_names[INPUTS] = {"query", "key", "value"};

static const char *const parameter_names[PARAMETERS] = {
    "in_proj_weight", "q_proj_weight", "k_proj_weight",   "v_proj_weight", "in_proj_bias",
    "bias_k",         "bias_v",        "out_proj.weight", "out_proj.bias",
};

/* The options that both functions take, in this order. */
enum {
    BATCH_FIRST,
    ADD_ZERO_ATTN,
    CAUSAL,
    KEY_PADDING_MASK,
    KEY_PADDING_BIAS,
    ATTN_MASK,
    ATTN_BIAS,
    DROPOUT,
    SEED,
    OPTIONS
};

#define OPTION_NAMES                                                                               \
    "batch_first", "add_zero_attn", "causal", "key_padding_mask", "key_padding_bias", "attn_mask", \
        "attn_bias", "dropout", "seed"

/* A call's arguments as the library wants them. */
struct multihead {
    struct py_array inputs[INPUTS], parameters[PARAMETERS];
    struct py_array masks[4]; /* KEY_PADDING_MASK .. ATTN_BIAS */
    dotk_multihead_shape shape;
    dotk_multihead_parameters values;
    dotk_multihead_options options;
    size_t all_keys; /* with those that are added */
};

static const struct py_want dense3 = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 3, 3};

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

static int
check_shape(const struct py_array *array, const char *name, size_t axes, const size_t *shape)
{
    if (array->axes == axes && memcmp(array->shape, shape, axes * sizeof *shape) == 0)
        return 0;
    PyObject *text = PyUnicode_FromFormat("%zu", shape[0]);
    for (size_t i = 1; text != NULL && i < axes; i++) {
        PyObject *const longer = PyUnicode_FromFormat("%U, %zu", text, shape[i]);
        Py_DECREF(text);
        text = longer;
    }
    if (text != NULL)
        PyErr_Format(PyExc_ValueError, "%s has another shape than it needs: give (%U)", name, text);
    Py_XDECREF(text);
    return -1;
}

static int
get_inputs(struct multihead *out, PyObject *const *given, bool batch_first)
{
    const size_t B = batch_first ? 0 : 1, L = 1 - B;

    for (size_t i = 0; i < INPUTS; i++) {
        if (py_array_get(given[i], input_names[i], &dense3, &out->inputs[i]) < 0)
            return -1;
        if (out->inputs[i].shape[2] == 0) {
            PyErr_Format(PyExc_ValueError, "%s has rows of no values: give at least one",
                         input_names[i]);
            return -1;
        }
    }
    const size_t *const query = out->inputs[QUERY].shape, *const key = out->inputs[KEY].shape;
    const size_t *const value = out->inputs[VALUE].shape;
    if (key[B] != query[B] || value[0] != key[0] || value[1] != key[1]) {
        PyErr_Format(PyExc_ValueError,
                     "query, key and value have %zu, %zu and %zu batch entries, key and value %zu "
                     "and %zu tokens: give equally many",
                     query[B], key[B], value[B], key[L], value[L]);
        return -1;
    }
    out->shape.batch = query[B];
    out->shape.queries = query[L];
    out->shape.keys = key[L];
    out->shape.width = query[2];
    out->shape.key_width = key[2];
    out->shape.value_width = value[2];
    return 0;
}

static int
check_names(PyObject *parameters)
{
    PyObject *name, *value;
    Py_ssize_t at = 0;

    while (PyDict_Next(parameters, &at, &name, &value)) {
        size_t i = 0;
        while (i < PARAMETERS && (!PyUnicode_Check(name) ||
                                  PyUnicode_CompareWithASCIIString(name, parameter_names[i]) != 0))
            i++;
        if (i == PARAMETERS) {
            PyErr_Format(PyExc_ValueError,
                         "parameters has %R: give in_proj_weight, or q_proj_weight, k_proj_weight "
                         "and v_proj_weight; in_proj_bias, bias_k, bias_v, out_proj.weight, "
                         "out_proj.bias",
                         name);
            return -1;
        }
    }
    return 0;
}

static int
get_parameters(struct multihead *out, PyObject *parameters)
{
    static const struct py_want want = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, 3};
    const size_t M = out->shape.width, K = out->shape.key_width, V = out->shape.value_width;
    const struct {
        size_t axes, shape[3];
    } needs[PARAMETERS] = {{2, {3 * M, M}}, {2, {M, M}},    {2, {M, K}}, {2, {M, V}}, {1, {3 * M}},
                           {3, {1, 1, M}},  {3, {1, 1, M}}, {2, {M, M}}, {1, {M}}};

    if (!PyDict_Check(parameters)) {
        PyErr_Format(PyExc_TypeError, "parameters is a %R: give a dict of arrays by name",
                     Py_TYPE(parameters));
        return -1;
    }
    if (check_names(parameters) < 0)
        return -1;
    for (size_t i = 0; i < PARAMETERS; i++) {
        PyObject *const value = PyDict_GetItemString(parameters, parameter_names[i]);
        struct py_array *const array = &out->parameters[i];
        if (value == NULL || value == Py_None)
            continue;
        Py_INCREF(value); /* the dict may let go of it while other code runs */
        const int got = py_array_get(value, parameter_names[i], &want, array);
        Py_DECREF(value);
        if (got < 0)
            return -1;
        if (check_shape(array, parameter_names[i], needs[i].axes, needs[i].shape) < 0)
            return -1;
    }
    if (out->parameters[OUT_PROJ_WEIGHT].object == NULL) { /* the library names it otherwise */
        PyErr_Format(PyExc_ValueError, "parameters has no out_proj.weight: give it, (%zu, %zu)", M,
                     M);
        return -1;
    }
    out->values = (dotk_multihead_parameters){
        sizeof out->values,
        out->parameters[IN_PROJ_WEIGHT].data,
        out->parameters[Q_PROJ_WEIGHT].data,
        out->parameters[K_PROJ_WEIGHT].data,
        out->parameters[V_PROJ_WEIGHT].data,
        out->parameters[IN_PROJ_BIAS].data,
        out->parameters[BIAS_K].data,
        out->parameters[BIAS_V].data,
        out->parameters[OUT_PROJ_WEIGHT].data,
        out->parameters[OUT_PROJ_BIAS].data,
    };
    return 0;
}

static int
get_masks(struct multihead *out, PyObject *const *given)
{
    static const char *const names[4] = {"key_padding_mask", "key_padding_bias", "attn_mask",
                                         "attn_bias"};
    const dotk_multihead_shape *const s = &out->shape;
    const size_t scores[4] = {s->batch, s->heads, s->queries, s->keys};
    const size_t padding[2] = {s->batch, s->keys};

    for (size_t i = 0; i < 4; i++) {
        const enum py_type type = i % 2 == 0 ? PY_BOOL : PY_F32;
        const struct py_want want = {PY_BIT(type), type == PY_F32 ? PY_F32 : PY_OTHER, PY_DENSE, 2,
                                     4};
        struct py_array *const array = &out->masks[i];
        if (given[KEY_PADDING_MASK + i] == NULL)
            continue;
        if (py_array_get(given[KEY_PADDING_MASK + i], names[i], &want, array) < 0)
            return -1;
        const bool per_head = i >= 2 && array->axes == 4;
        if (check_shape(array, names[i], per_head ? 4 : 2,
                        i < 2      ? padding
                        : per_head ? scores
                                   : scores + 2) < 0)
            return -1;
        out->options.mask_per_head |= per_head;
    }
    out->options.key_padding_mask = out->masks[0].data;
    out->options.key_padding_bias = out->masks[1].data;
    out->options.attn_mask = out->masks[2].data;
    out->options.attn_bias = out->masks[3].data;
    return 0;
}

/* 'given': query, key, value, parameters, heads. 'out' is to be released either way. */
static int
get_multihead(struct multihead *out, PyObject *const *given, PyObject *const *options)
{
    bool batch_first = false, add_zero_attn = false, causal = false;
    double dropout = 0;

    memset(out, 0, sizeof *out);
    out->options = (dotk_multihead_options)DOTK_MULTIHEAD_OPTIONS_INIT;
    if (py_args_flag(options[BATCH_FIRST], "batch_first", &batch_first) < 0 ||
        py_args_flag(options[ADD_ZERO_ATTN], "add_zero_attn", &add_zero_attn) < 0 ||
        py_args_flag(options[CAUSAL], "causal", &causal) < 0 ||
        py_args_double(options[DROPOUT], "dropout", &dropout) < 0 ||
        py_args_uint64(options[SEED], "seed", &out->options.seed) < 0 ||
        py_args_size(given[4], "heads", &out->shape.heads) < 0 ||
        get_inputs(out, given, batch_first) < 0 || get_parameters(out, given[3]) < 0)
        return -1;
    out->options.batch_first = batch_first;
    out->options.add_zero_attn = add_zero_attn;
    out->options.causal = causal;
    out->options.dropout = (float)dropout;
    out->all_keys = out->shape.keys + (out->values.bias_k != NULL) + add_zero_attn;
    return get_masks(out, options);
}

static void
release(struct multihead *multihead)
{
    for (size_t i = 0; i < INPUTS; i++)
        py_array_release(&multihead->inputs[i]);
    for (size_t i = 0; i < PARAMETERS; i++)
        py_array_release(&multihead->parameters[i]);
    for (size_t i = 0; i < 4; i++)
        py_array_release(&multihead->masks[i]);
}

/* ------------------------------------------------------------------------- */
/*  Forward                                                                  */
/* ------------------------------------------------------------------------- */

enum { WEIGHTS_NONE, WEIGHTS_MEAN, WEIGHTS_HEADS };

struct answers {
    PyObject *out, *weights, *saved; /* what goes back to the caller; NULL: not wanted */
    struct py_array out_array, weights_array, saved_array;
};

static int
make_answers(struct multihead *multihead, size_t weights, bool saved, PyObject *given_out,
             struct answers *answers)
{
    const struct py_array *const query = &multihead->inputs[QUERY];
    const dotk_multihead_shape *const s = &multihead->shape;
    const size_t per_head[4] = {s->batch, s->heads, s->queries, multihead->all_keys};
    const size_t mean[3] = {s->batch, s->queries, multihead->all_keys};
    size_t count = 0;

    multihead->options.weights_per_head = weights == WEIGHTS_HEADS;
    answers->out = py_array_out(given_out, "out", query, PY_F32, 3, query->shape,
                                &answers->out_array);
    if (answers->out == NULL)
        return -1;
    if (weights != WEIGHTS_NONE) {
        answers->weights = py_array_out(
            NULL, "weights", query, PY_F32, weights == WEIGHTS_HEADS ? 4 : 3,
            weights == WEIGHTS_HEADS ? per_head : mean, &answers->weights_array);
        if (answers->weights == NULL)
            return -1;
    }
    if (!saved)
        return 0;
    const dotk_status status = dotk_multihead_saved_count(s, &multihead->values,
                                                          &multihead->options, &count);
    if (status != DOTK_OK)
        return py_raise(status);
    answers->saved = py_array_out(NULL, "saved", query, PY_F32, 1, &count, &answers->saved_array);
    return answers->saved == NULL ? -1 : 0;
}

static int
run_forward(const struct multihead *multihead, const struct answers *answers, PyObject *context)
{
    struct py_call call;

    if (py_call_begin(&call, context) < 0)
        return -1;
    const dotk_status status = dotk_multihead_forward(
        call.context, &multihead->shape, &multihead->values, multihead->inputs[QUERY].data,
        multihead->inputs[KEY].data, multihead->inputs[VALUE].data, &multihead->options,
        answers->out_array.data, answers->weights_array.data, answers->saved_array.data);
    return py_call_end(&call, status);
}

static PyObject *
or_none(PyObject *object)
{
    return object == NULL ? Py_None : object;
}

static PyObject *
multihead(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"multihead",
                                  5,
                                  5,
                                  {"query", "key", "value", "parameters", "heads", OPTION_NAMES,
                                   "weights", "saved", "out", "context"},
                                  {NULL}};
    static const char *const kinds[] = {"none", "mean", "heads", NULL};
    enum { FIRST = 5, WEIGHTS = FIRST + OPTIONS, SAVED, OUT, CONTEXT, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct multihead arguments;
    struct answers answers = {NULL, NULL, NULL, {0}, {0}, {0}};
    size_t weights = WEIGHTS_NONE;
    bool saved = false;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_choice(given[WEIGHTS], "weights", kinds, &weights) < 0 ||
        py_args_flag(given[SAVED], "saved", &saved) < 0)
        return NULL;
    if (get_multihead(&arguments, given, given + FIRST) == 0 &&
        make_answers(&arguments, weights, saved, given[OUT], &answers) == 0 &&
        run_forward(&arguments, &answers, given[CONTEXT]) == 0) {
        if (saved)
            answer = PyTuple_Pack(3, answers.out, or_none(answers.weights), answers.saved);
        else if (answers.weights != NULL)
            answer = PyTuple_Pack(2, answers.out, answers.weights);
        else
            Py_XINCREF(answer = answers.out);
    }
    py_array_release(&answers.out_array);
    py_array_release(&answers.weights_array);
    py_array_release(&answers.saved_array);
    Py_XDECREF(answers.out);
    Py_XDECREF(answers.weights);
    Py_XDECREF(answers.saved);
    release(&arguments);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  Gradients                                                                */
/* ------------------------------------------------------------------------- */

/* Which of the inputs and parameters, in the order of their names: by gradients= or, where that is
 * NULL, all that there are. */
static int
get_wanted(const struct multihead *multihead, PyObject *names, bool *wanted)
{
    const char *choices[INPUTS + PARAMETERS + 1] = {NULL};

    memcpy(choices, input_names, sizeof input_names);
    memcpy(choices + INPUTS, parameter_names, sizeof parameter_names);
    for (size_t i = 0; names == NULL && i < INPUTS + PARAMETERS; i++)
        wanted[i] = i < INPUTS || multihead->parameters[i - INPUTS].object != NULL;
    if (names == NULL)
        return 0;
    PyObject *const tuple = py_args_names(names, "gradients");
    int got = tuple == NULL ? -1 : 0;
    const Py_ssize_t count = got == 0 ? PyTuple_Size(tuple) : 0;
    for (Py_ssize_t i = 0; i < count && got == 0; i++) {
        size_t place = 0;
        got = py_args_choice(PyTuple_GetItem(tuple, i), "gradients", choices, &place);
        if (got == 0 && place >= INPUTS && multihead->parameters[place - INPUTS].object == NULL) {
            PyErr_Format(PyExc_ValueError, "gradients has \"%s\", and parameters has none",
                         choices[place]);
            got = -1;
        }
        wanted[place] |= got == 0;
    }
    Py_XDECREF(tuple);
    return got;
}

static int
run_backward(const struct multihead *multihead, const struct py_array *saved,
             const struct py_array *d_out, struct py_array *to, PyObject *context)
{
    const dotk_multihead_gradients gradients = {
        sizeof gradients,
        to[QUERY].data,
        to[KEY].data,
        to[VALUE].data,
        to[INPUTS + IN_PROJ_WEIGHT].data,
        to[INPUTS + Q_PROJ_WEIGHT].data,
        to[INPUTS + K_PROJ_WEIGHT].data,
        to[INPUTS + V_PROJ_WEIGHT].data,
        to[INPUTS + IN_PROJ_BIAS].data,
        to[INPUTS + BIAS_K].data,
        to[INPUTS + BIAS_V].data,
        to[INPUTS + OUT_PROJ_WEIGHT].data,
        to[INPUTS + OUT_PROJ_BIAS].data,
    };
    struct py_call call;

    if (py_call_begin(&call, context) < 0)
        return -1;
    const dotk_status status = dotk_multihead_backward(
        call.context, &multihead->shape, &multihead->values, multihead->inputs[QUERY].data,
        multihead->inputs[KEY].data, multihead->inputs[VALUE].data, &multihead->options,
        saved->data, d_out->data, &gradients);
    return py_call_end(&call, status);
}

static PyObject *
backward(const struct multihead *multihead, PyObject *names, const struct py_array *saved,
         const struct py_array *d_out, PyObject *context)
{
    struct py_array to[INPUTS + PARAMETERS];
    bool wanted[INPUTS + PARAMETERS] = {false};
    PyObject *answer = PyDict_New();

    memset(to, 0, sizeof to);
    if (answer != NULL && get_wanted(multihead, names, wanted) < 0)
        Py_CLEAR(answer);
    for (size_t i = 0; answer != NULL && i < INPUTS + PARAMETERS; i++) {
        const struct py_array *const of = i < INPUTS ? &multihead->inputs[i]
                                                     : &multihead->parameters[i - INPUTS];
        const char *const name = i < INPUTS ? input_names[i] : parameter_names[i - INPUTS];
        if (!wanted[i])
            continue;
        PyObject *const array = py_array_out(NULL, name, of, PY_F32, of->axes, of->shape, &to[i]);
        if (array == NULL || PyDict_SetItemString(answer, name, array) < 0)
            Py_CLEAR(answer);
        Py_XDECREF(array);
    }
    if (answer != NULL && run_backward(multihead, saved, d_out, to, context) < 0)
        Py_CLEAR(answer);
    for (size_t i = 0; i < INPUTS + PARAMETERS; i++)
        py_array_release(&to[i]);
    return answer;
}

static int
get_before(const struct multihead *multihead, PyObject *const *given, struct py_array *saved,
           struct py_array *d_out)
{
    static const struct py_want flat = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, 1};
    size_t count = 0;

    if (py_array_get(given[0], "saved", &flat, saved) < 0 ||
        py_array_get(given[1], "d_out", &dense3, d_out) < 0)
        return -1;
    const dotk_status status = dotk_multihead_saved_count(&multihead->shape, &multihead->values,
                                                          &multihead->options, &count);
    if (status != DOTK_OK)
        return py_raise(status);
    if (check_shape(saved, "saved", 1, &count) < 0)
        return -1;
    return check_shape(d_out, "d_out", 3, multihead->inputs[QUERY].shape);
}

static PyObject *
multihead_backward(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"multihead_backward",
                                  7,
                                  7,
                                  {"query", "key", "value", "parameters", "heads", "saved", "d_out",
                                   OPTION_NAMES, "gradients", "context"},
                                  {NULL}};
    enum { FIRST = 7, GRADIENTS = FIRST + OPTIONS, CONTEXT, ALL };
    PyObject *given[ALL], *answer = NULL;
    struct multihead arguments;
    struct py_array saved = {0}, d_out = {0};

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (get_multihead(&arguments, given, given + FIRST) == 0 &&
        get_before(&arguments, given + 5, &saved, &d_out) == 0)
        answer = backward(&arguments, given[GRADIENTS], &saved, &d_out, given[CONTEXT]);
    py_array_release(&saved);
    py_array_release(&d_out);
    release(&arguments);
    return answer;
}

#define SHAPES                                                                                     \
    "query is (L, B, M), key (S, B, K), value (S, B, V), or with batch_first=True (B, L, M)\n"     \
    "and so on: float32 and dense, and M a multiple of heads. parameters is a dict that has\n"     \
    "in_proj_weight (3 M, M), or q_proj_weight (M, M), k_proj_weight (M, K) and v_proj_weight\n"   \
    "(M, V); in_proj_bias (3 M); bias_k and bias_v (1, 1, M); out_proj.weight (M, M) and\n"        \
    "out_proj.bias (M): the names of a state dict. Biases may be missing.\n"                       \
    "\n"                                                                                           \
    "batch_first       see above\n"                                                                \
    "add_zero_attn     one more key and value of zeros\n"                                          \
    "causal            query i sees keys 0 .. i, and those that are added\n"                       \
    "key_padding_mask  bool, (B, S): True hides a key; key_padding_bias, float32, is added to\n"   \
    "                  scores\n"                                                                   \
    "attn_mask         bool, (L, S) or (B, heads, L, S): True hides; attn_bias is added\n"         \
    "dropout, seed     weights are dropped at that rate; the same seed drops the same\n"           \
    "context           a Context, whose threads do the work\n"

#define SIGNATURE                                                                                  \
    "batch_first=False, add_zero_attn=False, causal=False, key_padding_mask=None, "                \
    "key_padding_bias=None, attn_mask=None, attn_bias=None, dropout=0.0, seed=0"

static PyMethodDef methods[] = {
    PY_METHOD(
        "multihead", multihead,
        "multihead(query, key, value, parameters, heads, *, " SIGNATURE
        ", weights='none', saved=False, out=None, context=None)\n--\n\n"
        "Multi-head attention with its projections, as torch's nn.MultiheadAttention has it: an\n"
        "array like query.\n"
        "\n" SHAPES "weights           \"mean\": the answer is (out, weights), weights (B, L, S') "
        "being the mean\n"
        "                  over heads, with S' = S and the added keys; \"heads\": (B, heads, L, "
        "S')\n"
        "saved             True: the answer is (out, weights or None, saved), for\n"
        "                  multihead_backward()\n"
        "out               a dense array to write to\n"
        "\n"
        "A query that sees no key gets the last bias. Arrays are only read during the call, which\n"
        "lets go of the GIL. ValueError and TypeError name what is wrong.\n"
        "\n"
        ">>> x = np.eye(2, dtype=np.float32)[None]\n"
        ">>> same = np.eye(2, dtype=np.float32)\n"
        ">>> parameters = {\"in_proj_weight\": np.tile(same, (3, 1)), \"out_proj.weight\": same}\n"
        ">>> dotk.multihead(x, x, x, parameters, 1, batch_first=True, causal=True)[0, 0]\n"
        "array([1., 0.], dtype=float32)\n"),
    PY_METHOD(
        "multihead_backward", multihead_backward,
        "multihead_backward(query, key, value, parameters, heads, saved, d_out, *, " SIGNATURE
        ", gradients=None, context=None)\n--\n\n"
        "Gradients of a loss by the inputs and parameters of multihead(), from d_out, that by its\n"
        "answer, and from what it saved: a dict, in the shapes of what they belong to.\n"
        "\n" SHAPES "gradients         names of those that are wanted; None: \"query\", \"key\", "
        "\"value\" and\n"
        "                  all parameters there are\n"
        "\n"
        ">>> x = np.eye(2, dtype=np.float32)[None]\n"
        ">>> same = np.eye(2, dtype=np.float32)\n"
        ">>> parameters = {\"in_proj_weight\": np.tile(same, (3, 1)), \"out_proj.weight\": same}\n"
        ">>> out, _, saved = dotk.multihead(x, x, x, parameters, 1, saved=True)\n"
        ">>> d_out = np.ones_like(out)\n"
        ">>> found = dotk.multihead_backward(x, x, x, parameters, 1, saved, d_out)\n"
        ">>> found[\"out_proj.weight\"].shape\n"
        "(2, 2)\n"),
    PY_METHODS_END,
};

int
py_add_multihead(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
