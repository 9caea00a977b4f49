/*
 * rotary.c - rotary and linear_attention
 */
#include "args.h"
#include "array.h"
#include "attend.h"
#include "context.h"
#include "module.h"

#include <dotk/linear_attention.h>
#include <dotk/rotary.h>
#include <string.h>

#define HALVES (PY_BIT(PY_F32) | PY_BIT(PY_F16) | PY_BIT(PY_BF16))

static int
refuse(const struct py_array *array, const char *needs)
{
    PyErr_Format(PyExc_ValueError, "%s has another shape than it needs: give %s", array->name,
                 needs);
    return -1;
}

/* ------------------------------------------------------------------------- */
/*  Rotary embedding                                                         */
/* ------------------------------------------------------------------------- */

enum {
    ROTARY_WIDTH = 1,
    INTERLEAVED,
    INVERSE,
    THETA,
    FREQUENCIES,
    POSITIONS,
    OFFSET,
    COSINES,
    SINES,
    ROTARY_OUT,
    ROTARY_CONTEXT,
    ROTARY_ALL
};

struct rotary {
    struct py_array x, frequencies, positions, cosines, sines;
    size_t axes;
    dotk_rotary_shape shape;
    dotk_rotary_options options;
};

static int
get_tables(struct rotary *out, PyObject *const *given)
{
    static const struct py_want line = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, 1};
    static const struct py_want table = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 2, 2};
    static const struct py_want whole = {PY_BIT(PY_I64), PY_I64, PY_DENSE, 1, 2};
    dotk_rotary_options *const options = &out->options;
    const size_t pairs = (options->rotary_width != 0 ? options->rotary_width : out->shape.width) /
                         2;

    if ((given[FREQUENCIES] != NULL &&
         py_array_get(given[FREQUENCIES], "frequencies", &line, &out->frequencies) < 0) ||
        (given[POSITIONS] != NULL &&
         py_array_get(given[POSITIONS], "positions", &whole, &out->positions) < 0) ||
        (given[COSINES] != NULL &&
         py_array_get(given[COSINES], "cosines", &table, &out->cosines) < 0) ||
        (given[SINES] != NULL && py_array_get(given[SINES], "sines", &table, &out->sines) < 0))
        return -1;
    if (given[FREQUENCIES] != NULL && out->frequencies.count != pairs)
        return refuse(&out->frequencies, "one frequency for each pair of a row");
    if (given[POSITIONS] != NULL &&
        (out->positions.count != out->shape.batch * out->shape.tokens ||
         out->positions.shape[out->positions.axes - 1] != out->shape.tokens))
        return refuse(&out->positions, "(batch, tokens) positions");
    if (given[COSINES] != NULL && out->cosines.shape[1] != pairs)
        return refuse(&out->cosines, "a row for each position, of one value for each pair");
    if (given[SINES] != NULL &&
        (given[COSINES] == NULL ||
         memcmp(out->sines.shape, out->cosines.shape, 2 * sizeof *out->sines.shape) != 0))
        return refuse(&out->sines, "the same shape as cosines has");
    options->frequencies = out->frequencies.data;
    options->positions = out->positions.data;
    options->cosines = out->cosines.data;
    options->sines = out->sines.data;
    options->table_rows = given[COSINES] != NULL ? out->cosines.shape[0] : 0;
    return 0;
}

static int
get_rotary(struct rotary *out, PyObject *const *given)
{
    static const struct py_want x = {HALVES, PY_F32, PY_ROWS, 2, 4};
    bool interleaved = false, inverse = false;

    memset(out, 0, sizeof *out);
    out->options = (dotk_rotary_options)DOTK_ROTARY_OPTIONS_INIT;
    if (py_args_size(given[ROTARY_WIDTH], "rotary_width", &out->options.rotary_width) < 0 ||
        py_args_flag(given[INTERLEAVED], "interleaved", &interleaved) < 0 ||
        py_args_flag(given[INVERSE], "inverse", &inverse) < 0 ||
        py_args_double(given[THETA], "theta", &out->options.theta) < 0 ||
        py_args_int64(given[OFFSET], "offset", &out->options.offset) < 0 ||
        py_array_get(given[0], "x", &x, &out->x) < 0)
        return -1;
    out->axes = out->x.axes;
    py_attend_pad(&out->x);
    out->options.interleaved = interleaved;
    out->options.inverse = inverse;
    out->options.store = py_type_store(out->x.type);
    out->options.input = py_array_layout(&out->x);
    out->shape = (dotk_rotary_shape){out->x.shape[0], out->x.shape[1], out->x.shape[2],
                                     out->x.shape[3]};
    return get_tables(out, given);
}

static PyObject *
turn(struct rotary *rotary, PyObject *given_out, PyObject *context)
{
    struct py_array out;
    struct py_call call;
    PyObject *answer = py_array_out_rows(given_out, "out", &rotary->x, rotary->x.type, rotary->axes,
                                         rotary->x.shape + 4 - rotary->axes, &out);

    if (answer == NULL)
        return NULL;
    py_attend_pad(&out);
    rotary->options.output = py_array_layout(&out);
    if (py_call_begin(&call, context) < 0) {
        Py_CLEAR(answer);
    } else {
        const dotk_status status = dotk_rotary(call.context, &rotary->shape, rotary->x.data,
                                               &rotary->options, out.data);
        if (py_call_end(&call, status) < 0)
            Py_CLEAR(answer);
    }
    py_array_release(&out);
    return answer;
}

static PyObject *
rotary(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"rotary",
                                  1,
                                  1,
                                  {"x", "rotary_width", "interleaved", "inverse", "theta",
                                   "frequencies", "positions", "offset", "cosines", "sines", "out",
                                   "context"},
                                  {NULL}};
    PyObject *given[ROTARY_ALL], *answer = NULL;
    struct rotary arguments;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (get_rotary(&arguments, given) == 0)
        answer = turn(&arguments, given[ROTARY_OUT], given[ROTARY_CONTEXT]);
    py_array_release(&arguments.x);
    py_array_release(&arguments.frequencies);
    py_array_release(&arguments.positions);
    py_array_release(&arguments.cosines);
    py_array_release(&arguments.sines);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  Linear attention                                                         */
/* ------------------------------------------------------------------------- */

enum {
    RULE = 3,
    FEATURE_MAP,
    NORMALIZE,
    LINEAR_SCALE,
    DECAY,
    BETA,
    LENGTHS,
    PAST,
    PRESENT,
    LINEAR_OUT,
    LINEAR_CONTEXT,
    LINEAR_ALL
};

struct linear {
    struct py_array q, k, v, decay, beta, lengths, past, present, out;
    size_t axes;
    dotk_linear_attention_shape shape;
    dotk_linear_attention_options options;
};

/* (B, G, T) or (B, T) of the arrays' type, by strides, as the library wants numbers of tokens. */
static dotk_layout
layout_of_numbers(const struct py_array *array)
{
    size_t stride[3] = {0, 0, 0}, dense = 1;
    const size_t heads = array->axes == 3;

    for (size_t i = array->axes; i-- > 0;) {
        const size_t to = i == 0 ? 0 : i + (heads ? 0 : 1);
        stride[to] = array->shape[i] > 1 && array->count > 0 ? (size_t)array->stride[i] : dense;
        dense = stride[to] * (array->shape[i] > 0 ? array->shape[i] : 1);
    }
    return (dotk_layout){.batch = stride[0], .head = stride[1], .row = stride[2]};
}

static int
get_decay_and_beta(struct linear *out, PyObject *const *given)
{
    const struct py_want want = {PY_BIT(out->q.type), out->q.type == PY_F32 ? PY_F32 : PY_OTHER,
                                 PY_ROWS, 2, 4};
    const size_t *const k = out->k.shape;
    dotk_linear_attention_options *const options = &out->options;

    if (given[DECAY] != NULL) {
        if (py_array_get(given[DECAY], "decay", &want, &out->decay) < 0)
            return -1;
        const size_t axes = out->decay.axes;
        if (axes < 3 || memcmp(out->decay.shape, k, axes * sizeof *k) != 0)
            return refuse(&out->decay, "(B, G, T, D) or (B, G, T)");
        options->decay = out->decay.data;
        options->decay_per_head = axes == 3;
        options->decay_layout = axes == 3 ? layout_of_numbers(&out->decay)
                                          : py_array_layout(&out->decay);
    }
    if (given[BETA] != NULL) {
        if (py_array_get(given[BETA], "beta", &want, &out->beta) < 0)
            return -1;
        const size_t per_token[2] = {k[0], k[2]};
        const bool token = out->beta.axes == 2;
        if (out->beta.axes > 3 ||
            memcmp(out->beta.shape, token ? per_token : k, out->beta.axes * sizeof *k) != 0)
            return refuse(&out->beta, "(B, G, T) or (B, T)");
        options->beta = out->beta.data;
        options->beta_per_token = token;
        options->beta_layout = layout_of_numbers(&out->beta);
    }
    return 0;
}

static int
get_linear_arrays(struct linear *out, PyObject *const *given)
{
    static const char *const names[3] = {"q", "k", "v"};
    struct py_array *const arrays[3] = {&out->q, &out->k, &out->v};

    for (size_t i = 0; i < 3; i++) {
        static const struct py_want want = {HALVES, PY_F32, PY_ROWS, 4, 4};
        if (py_array_get(given[i], names[i], &want, arrays[i]) < 0)
            return -1;
        if (arrays[i]->type != out->q.type) {
            PyErr_Format(PyExc_TypeError, "%s holds %s and q %s: give both in one type", names[i],
                         py_type_name(arrays[i]->type), py_type_name(out->q.type));
            return -1;
        }
    }
    const size_t *const q = out->q.shape, *const k = out->k.shape, *const v = out->v.shape;
    if (k[0] != q[0] || k[2] != q[2] || k[3] != q[3] || (k[1] == 0 && q[1] != 0))
        return refuse(&out->k, "(B, G, T, D), with B, T and D as q has them");
    if (v[0] != k[0] || v[1] != k[1] || v[2] != k[2] || v[3] == 0)
        return refuse(&out->v, "(B, G, T, E), with B, G and T as k has them");
    out->shape = (dotk_linear_attention_shape){q[0], q[1], q[2], q[3], v[3], k[1]};
    out->options.store = py_type_store(out->q.type);
    out->options.query = py_array_layout(&out->q);
    out->options.key = py_array_layout(&out->k);
    out->options.value = py_array_layout(&out->v);
    return get_decay_and_beta(out, given);
}

static int
get_linear(struct linear *out, PyObject *const *given)
{
    static const char *const rules[] = {"linear", "gated", "delta", "gated_delta", NULL};
    static const char *const maps[] = {"none", "elu_plus_1", NULL};
    static const struct py_want states = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 4, 4};
    size_t rule = 0, map = 0;
    bool normalize = false;
    double scale = 0;

    memset(out, 0, sizeof *out);
    out->options = (dotk_linear_attention_options)DOTK_LINEAR_ATTENTION_OPTIONS_INIT;
    if (py_args_choice(given[RULE], "rule", rules, &rule) < 0 ||
        py_args_choice(given[FEATURE_MAP], "feature_map", maps, &map) < 0 ||
        py_args_flag(given[NORMALIZE], "normalize", &normalize) < 0 ||
        py_args_double(given[LINEAR_SCALE], "scale", &scale) < 0 ||
        get_linear_arrays(out, given) < 0)
        return -1;
    out->options.rule = (dotk_linear_rule)rule;
    out->options.feature_map = (dotk_feature_map)map;
    out->options.normalize = normalize;
    out->options.has_scale = given[LINEAR_SCALE] != NULL;
    out->options.scale = (float)scale;
    const size_t state[4] = {out->shape.batch, out->shape.key_heads, out->shape.width,
                             out->shape.value_width + normalize};
    if (given[PAST] != NULL) {
        if (py_array_get(given[PAST], "past", &states, &out->past) < 0)
            return -1;
        if (memcmp(out->past.shape, state, sizeof state) != 0)
            return refuse(&out->past, "(B, G, D, E), or with normalize (B, G, D, E + 1)");
    }
    if (given[LENGTHS] == NULL)
        return 0;
    if (py_ids_get(given[LENGTHS], "lengths", &out->lengths) < 0)
        return -1;
    const int64_t *const lengths = out->lengths.data;
    if (out->lengths.count != out->shape.batch)
        return refuse(&out->lengths, "one length for each batch entry");
    for (size_t i = 0; i < out->lengths.count; i++) {
        if (lengths[i] < 0) {
            PyErr_Format(PyExc_ValueError, "lengths[%zu] is %lld: give 0 or more", i,
                         (long long)lengths[i]);
            return -1;
        }
    }
    out->options.lengths = out->lengths.data;
    return 0;
}

static PyObject *
pass(struct linear *linear, PyObject *given_out, PyObject *given_present, PyObject *context)
{
    const dotk_linear_attention_shape *const s = &linear->shape;
    const size_t state[4] = {s->batch, s->key_heads, s->width,
                             s->value_width + (size_t)linear->options.normalize};
    const size_t shape[4] = {s->batch, s->heads, s->tokens, s->value_width};
    const bool wanted = given_present != NULL && given_present != Py_False;
    struct py_call call;
    PyObject *present = NULL, *answer = NULL;
    PyObject *const out = py_array_out_rows(given_out, "out", &linear->q, linear->q.type, 4, shape,
                                            &linear->out);

    if (given_present == Py_True)
        given_present = NULL;
    if (out != NULL && wanted)
        present = py_array_out(given_present, "present", &linear->q, PY_F32, 4, state,
                               &linear->present);
    if (out != NULL && (present != NULL || !wanted)) {
        linear->options.output = py_array_layout(&linear->out);
        if (py_call_begin(&call, context) == 0) {
            const dotk_status status = dotk_linear_attention(
                call.context, s, linear->q.data, linear->k.data, linear->v.data, &linear->options,
                linear->past.data, linear->present.data, linear->out.data);
            if (py_call_end(&call, status) == 0) {
                answer = present == NULL ? out : PyTuple_Pack(2, out, present);
                if (present == NULL)
                    Py_INCREF(answer);
            }
        }
    }
    Py_XDECREF(out);
    Py_XDECREF(present);
    return answer;
}

static PyObject *
linear_attention(PyObject *module, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"linear_attention",
                                  3,
                                  3,
                                  {"q", "k", "v", "rule", "feature_map", "normalize", "scale",
                                   "decay", "beta", "lengths", "past", "present", "out", "context"},
                                  {NULL}};
    PyObject *given[LINEAR_ALL], *answer = NULL;
    struct linear linear;

    (void)module;
    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (get_linear(&linear, given) == 0)
        answer = pass(&linear, given[LINEAR_OUT], given[PRESENT], given[LINEAR_CONTEXT]);
    struct py_array *const arrays[] = {&linear.q,     &linear.k,       &linear.v,
                                       &linear.decay, &linear.beta,    &linear.lengths,
                                       &linear.past,  &linear.present, &linear.out};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        py_array_release(arrays[i]);
    return answer;
}

static PyMethodDef methods[] = {
    PY_METHOD(
        "rotary", rotary,
        "rotary(x, *, rotary_width=0, interleaved=False, inverse=False, theta=0.0, "
        "frequencies=None, positions=None, offset=0, cosines=None, sines=None, out=None, "
        "context=None)\n--\n\n"
        "Queries or keys turned by their positions: (B, H, T, D), from x of that shape, or of its\n"
        "last three or two axes; float32, float16 or bfloat16, whose rows may lie apart.\n"
        "\n"
        "rotary_width  how many numbers of a row are turned, R; 0: all\n"
        "interleaved   True: pairs are numbers 2 i and 2 i + 1; False: i and i + R / 2\n"
        "inverse       True: turned back\n"
        "theta         frequency i is theta ** (-2 i / R); 0: 10000\n"
        "frequencies   (R / 2), in theta's place\n"
        "positions     (B, T) ints; without them token t stands at offset + t\n"
        "cosines       (n, R / 2), and sines: tables in the place of frequencies, a row a "
        "position\n"
        "out           an array to write to; it may be x itself\n"
        "\n"
        "Arrays are only read during the call, which lets go of the GIL. ValueError and TypeError\n"
        "name what is wrong.\n"
        "\n"
        ">>> dotk.rotary([[1.0, 0.0], [1.0, 0.0]]).round(4)\n"
        "array([[1.    , 0.    ],\n"
        "       [0.5403, 0.8415]], dtype=float32)\n"),
    PY_METHOD(
        "linear_attention", linear_attention,
        "linear_attention(q, k, v, *, rule='linear', feature_map='none', normalize=False, "
        "scale=None, decay=None, beta=None, lengths=None, past=None, present=False, out=None, "
        "context=None)\n--\n\n"
        "Attention with a running state in place of all keys: (B, H, T, E), from q (B, H, T, D),\n"
        "k (B, G, T, D) and v (B, G, T, E), all float32, float16 or bfloat16; H is a multiple of\n"
        "G. Token t sees itself and what came before, through a state (D, E) of each key head.\n"
        "\n"
        "rule         \"linear\", \"gated\", \"delta\" or \"gated_delta\"\n"
        "feature_map  \"none\" or \"elu_plus_1\": what is done to queries and keys first\n"
        "normalize    True: divided by the sum of weights; states have E + 1 columns\n"
        "scale        default 1 / sqrt(D)\n"
        "decay        logarithms, for gated rules: (B, G, T, D) or (B, G, T)\n"
        "beta         for delta rules: (B, G, T) or (B, T)\n"
        "lengths      (B) ints: tokens from there on do not exist\n"
        "past         float32 (B, G, D, E), the states before; None: zeros\n"
        "present      True, or an array to write to, which may be past: the answer is then\n"
        "             (out, states after the last token)\n"
        "\n"
        "Arrays are only read during the call, which lets go of the GIL. ValueError and TypeError\n"
        "name what is wrong.\n"
        "\n"
        ">>> x = np.ones((1, 1, 3, 1), np.float32)\n"
        ">>> dotk.linear_attention(x, x, x).ravel()\n"
        "array([1., 2., 3.], dtype=float32)\n"),
    PY_METHODS_END,
};

int
py_add_rotary(PyObject *module)
{
    return PyModule_AddFunctions(module, methods);
}
