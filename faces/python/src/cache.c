/*
 * cache.c - dotk.Cache and dotk.Sequence: keys and values of the tokens so far
 */
#include "cache.h"
#include "args.h"
#include "array.h"
#include "attend.h"
#include "context.h"
#include "module.h"

PyTypeObject *py_sequence_type;

static PyTypeObject *cache_type;

int
py_sequence_enter(struct sequence_object *self, bool write)
{
    if (self->written || (write && self->readers > 0)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the sequence is in use by another thread: give each thread a fork");
        return -1;
    }
    if (write)
        self->written = true;
    else
        self->readers++;
    return 0;
}

void
py_sequence_leave(struct sequence_object *self, bool write)
{
    if (write)
        self->written = false;
    else
        self->readers--;
}

static const char *const stores[] = {"f32", "f16", "bf16", "int8", NULL};

/* ------------------------------------------------------------------------- */
/*  Sequences                                                                */
/* ------------------------------------------------------------------------- */

static PyObject *
wrap(struct cache_object *cache, dotk_sequence *handle)
{
    struct sequence_object *const self = (struct sequence_object *)PyType_GenericAlloc(
        py_sequence_type, 0);

    if (self == NULL) {
        dotk_sequence_destroy(handle);
        return NULL;
    }
    Py_INCREF((PyObject *)cache);
    self->cache = cache;
    self->handle = handle;
    return (PyObject *)self;
}

static PyObject *
cache_sequence(PyObject *self, PyObject *unused)
{
    struct cache_object *const cache = (struct cache_object *)self;
    dotk_sequence *handle;

    (void)unused;
    const dotk_status status = dotk_sequence_create(cache->handle, &handle);
    if (status != DOTK_OK) {
        py_raise(status);
        return NULL;
    }
    return wrap(cache, handle);
}

static void
sequence_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);
    struct sequence_object *const sequence = (struct sequence_object *)self;

    dotk_sequence_destroy(sequence->handle);
    Py_XDECREF((PyObject *)sequence->cache);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static Py_ssize_t
sequence_length(PyObject *self)
{
    struct sequence_object *const sequence = (struct sequence_object *)self;

    if (py_sequence_enter(sequence, false) < 0)
        return -1;
    const size_t count = dotk_sequence_count(sequence->handle);
    py_sequence_leave(sequence, false);
    return (Py_ssize_t)count;
}

static PyObject *
sequence_fork(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"fork", 0, 1, {"count"}, {NULL}};
    struct sequence_object *const sequence = (struct sequence_object *)self;
    PyObject *given[1];
    dotk_sequence *handle;

    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    if (py_sequence_enter(sequence, false) < 0)
        return NULL;
    size_t tokens = dotk_sequence_count(sequence->handle);
    if (py_args_size(given[0], "count", &tokens) < 0) {
        py_sequence_leave(sequence, false);
        return NULL;
    }
    const dotk_status status = dotk_sequence_fork(sequence->handle, tokens, &handle);
    py_sequence_leave(sequence, false);
    if (status != DOTK_OK) {
        py_raise(status);
        return NULL;
    }
    return wrap(sequence->cache, handle);
}

static PyObject *
sequence_truncate(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"truncate", 1, 1, {"count"}, {NULL}};
    struct sequence_object *const sequence = (struct sequence_object *)self;
    PyObject *given[1];
    size_t tokens = 0;

    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_size(given[0], "count", &tokens) < 0 || py_sequence_enter(sequence, true) < 0)
        return NULL;
    const dotk_status status = dotk_sequence_truncate(sequence->handle, tokens);
    py_sequence_leave(sequence, true);
    if (status != DOTK_OK) {
        py_raise(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------- */
/*  Tokens in and out                                                        */
/* ------------------------------------------------------------------------- */

enum { ROTARY = 2, INTERLEAVED, ROTARY_WIDTH, THETA, FREQUENCIES, POSITIONS, ADD_CONTEXT, ADD_ALL };

struct addition {
    struct py_array k, v, frequencies, positions;
    dotk_sequence_add_options options;
};

static int
check_tokens(const struct py_array *array, size_t heads, size_t tokens, size_t width)
{
    if (array->shape[0] == heads && array->shape[1] == tokens && array->shape[2] == width)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has the shape (%zu, %zu, %zu): give (%zu, %zu, %zu)",
                 array->name, array->shape[0], array->shape[1], array->shape[2], heads, tokens,
                 width);
    return -1;
}

static dotk_layout
layout_of_tokens(const struct py_array *array)
{
    struct py_array padded = *array;

    py_attend_pad(&padded);
    return py_array_layout(&padded);
}

static int
get_addition(struct addition *out, const struct cache_object *cache, PyObject *const *given)
{
    static const struct py_want rows = {PY_BIT(PY_F32) | PY_BIT(PY_F16) | PY_BIT(PY_BF16), PY_F32,
                                        PY_ROWS, 3, 3};
    static const struct py_want line = {PY_BIT(PY_F32), PY_F32, PY_DENSE, 1, 1};
    dotk_sequence_add_options *const options = &out->options;
    bool rotary = false, interleaved = false;

    if (py_args_flag(given[ROTARY], "rotary", &rotary) < 0 ||
        py_args_flag(given[INTERLEAVED], "interleaved", &interleaved) < 0 ||
        py_args_size(given[ROTARY_WIDTH], "rotary_width", &options->rotary_width) < 0 ||
        py_args_double(given[THETA], "theta", &options->theta) < 0 ||
        py_array_get(given[0], "k", &rows, &out->k) < 0 ||
        py_array_get(given[1], "v", &rows, &out->v) < 0 ||
        check_tokens(&out->k, cache->heads, out->k.shape[1], cache->width) < 0 ||
        check_tokens(&out->v, cache->heads, out->k.shape[1], cache->value_width) < 0)
        return -1;
    if (out->v.type != out->k.type) {
        PyErr_Format(PyExc_TypeError, "v holds %s and k %s: give both in one type",
                     py_type_name(out->v.type), py_type_name(out->k.type));
        return -1;
    }
    options->rotary = rotary;
    options->interleaved = interleaved;
    options->store = py_type_store(out->k.type);
    options->key = layout_of_tokens(&out->k);
    options->value = layout_of_tokens(&out->v);
    const size_t pairs = (options->rotary_width != 0 ? options->rotary_width : cache->width) / 2;
    if (given[FREQUENCIES] != NULL) {
        if (py_array_get(given[FREQUENCIES], "frequencies", &line, &out->frequencies) < 0)
            return -1;
        if (out->frequencies.count != pairs) {
            PyErr_Format(PyExc_ValueError, "frequencies has %zu values: give %zu",
                         out->frequencies.count, pairs);
            return -1;
        }
    }
    if (given[POSITIONS] != NULL) {
        if (py_ids_get(given[POSITIONS], "positions", &out->positions) < 0)
            return -1;
        if (out->positions.count != out->k.shape[1]) {
            PyErr_Format(PyExc_ValueError, "positions has %zu values: give %zu, one a token",
                         out->positions.count, out->k.shape[1]);
            return -1;
        }
    }
    options->frequencies = out->frequencies.data;
    options->positions = out->positions.data;
    return 0;
}

static int
run_add(struct sequence_object *sequence, const struct addition *addition, PyObject *context)
{
    struct py_call call;

    if (py_sequence_enter(sequence, true) < 0)
        return -1;
    int ended = py_call_begin(&call, context);
    if (ended == 0) {
        const dotk_status status = dotk_sequence_add(call.context, sequence->handle,
                                                     addition->k.shape[1], addition->k.data,
                                                     addition->v.data, &addition->options);
        ended = py_call_end(&call, status);
    }
    py_sequence_leave(sequence, true);
    return ended;
}

static PyObject *
sequence_add(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"add",
                                  2,
                                  2,
                                  {"k", "v", "rotary", "interleaved", "rotary_width", "theta",
                                   "frequencies", "positions", "context"},
                                  {NULL}};
    struct sequence_object *const sequence = (struct sequence_object *)self;
    PyObject *given[ADD_ALL];
    struct addition addition = {{0}, {0}, {0}, {0}, DOTK_SEQUENCE_ADD_OPTIONS_INIT};

    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    int ended = get_addition(&addition, sequence->cache, given);
    if (ended == 0)
        ended = run_add(sequence, &addition, given[ADD_CONTEXT]);
    py_array_release(&addition.k);
    py_array_release(&addition.v);
    py_array_release(&addition.frequencies);
    py_array_release(&addition.positions);
    if (ended < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
sequence_get(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"get", 0, 2, {"first", "count"}, {NULL}};
    struct sequence_object *const sequence = (struct sequence_object *)self;
    const struct cache_object *const cache = sequence->cache;
    PyObject *given[2], *answer = NULL, *keys = NULL, *rows = NULL;
    struct py_array k = {0}, v = {0};
    struct py_call call;
    size_t first = 0;

    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_args_size(given[0], "first", &first) < 0 || py_sequence_enter(sequence, false) < 0)
        return NULL;
    const size_t tokens = dotk_sequence_count(sequence->handle);
    size_t n = first < tokens ? tokens - first : 0;
    if (py_args_size(given[1], "count", &n) == 0) {
        const size_t k_shape[3] = {cache->heads, n, cache->width};
        const size_t v_shape[3] = {cache->heads, n, cache->value_width};
        if (first > tokens || n > tokens - first)
            PyErr_Format(PyExc_ValueError,
                         "first is %zu and count %zu: the sequence has %zu tokens", first, n,
                         tokens);
        else if ((keys = py_array_out(NULL, "k", NULL, PY_F32, 3, k_shape, &k)) != NULL)
            rows = py_array_out(NULL, "v", NULL, PY_F32, 3, v_shape, &v);
    }
    if (rows != NULL && py_call_begin(&call, NULL) == 0) {
        const dotk_status status = dotk_sequence_get(sequence->handle, first, n, k.data, v.data);
        if (py_call_end(&call, status) == 0)
            answer = PyTuple_Pack(2, keys, rows);
    }
    py_sequence_leave(sequence, false);
    py_array_release(&k);
    py_array_release(&v);
    Py_XDECREF(keys);
    Py_XDECREF(rows);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  Caches                                                                   */
/* ------------------------------------------------------------------------- */

static PyObject *
cache_new(PyTypeObject *type, PyObject *values, PyObject *keywords)
{
    static struct py_args args = {
        "Cache",
        2,
        3,
        {"heads", "width", "dtype", "value_width", "page_keys", "memory_limit"},
        {NULL}};
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    PyObject *given[6];
    size_t heads = 0, width = 0, store = 0;

    if (py_args_parse_tuple(&args, values, keywords, given) < 0 ||
        py_args_size(given[0], "heads", &heads) < 0 ||
        py_args_size(given[1], "width", &width) < 0 ||
        py_args_type(given[2], "dtype", stores, &store) < 0 ||
        py_args_size(given[3], "value_width", &options.value_width) < 0 ||
        py_args_size(given[4], "page_keys", &options.page_keys) < 0 ||
        py_args_size(given[5], "memory_limit", &options.memory_limit) < 0)
        return NULL;
    options.store = (dotk_store)store;
    struct cache_object *const self = (struct cache_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL)
        return NULL;
    self->heads = heads;
    self->width = width;
    self->value_width = options.value_width != 0 ? options.value_width : width;
    self->store = options.store;
    const dotk_status status = dotk_cache_create(heads, width, &options, &self->handle);
    if (status == DOTK_OK)
        return (PyObject *)self;
    py_raise(status);
    Py_DECREF(self);
    return NULL;
}

static void
cache_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    dotk_cache_destroy(((struct cache_object *)self)->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *
cache_usage(PyObject *self, PyObject *unused)
{
    dotk_cache_usage usage;

    (void)unused;
    const dotk_status status = dotk_cache_get_usage(((struct cache_object *)self)->handle, &usage);
    if (status != DOTK_OK) {
        py_raise(status);
        return NULL;
    }
    return Py_BuildValue("{s:n,s:n,s:n,s:n}", "page_keys", (Py_ssize_t)usage.page_keys,
                         "page_bytes", (Py_ssize_t)usage.page_bytes, "pages",
                         (Py_ssize_t)usage.pages, "pages_in_use", (Py_ssize_t)usage.pages_in_use);
}

/* ------------------------------------------------------------------------- */
/*  The types                                                                */
/* ------------------------------------------------------------------------- */

static PyObject *
cache_heads(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct cache_object *)self)->heads);
}

static PyObject *
cache_width(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct cache_object *)self)->width);
}

static PyObject *
cache_value_width(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(((struct cache_object *)self)->value_width);
}

static PyObject *
cache_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(stores[((struct cache_object *)self)->store]);
}

static PyGetSetDef cache_members[] = {
    {"heads", cache_heads, NULL, "How many heads of keys and values, G.", NULL},
    {"width", cache_width, NULL, "Of a key, D.", NULL},
    {"value_width", cache_value_width, NULL, "Of a value, E.", NULL},
    {"dtype", cache_dtype, NULL, "What keys and values are kept as.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define EXAMPLE                                                                                    \
    ">>> cache = dotk.Cache(heads=1, width=2)\n"                                                   \
    ">>> sequence = cache.sequence()\n"                                                            \
    ">>> sequence.add(np.ones((1, 3, 2)), np.ones((1, 3, 2)))\n"

static PyMethodDef cache_methods[] = {
    PY_METHOD_NONE("sequence", cache_sequence,
                   "sequence($self)\n--\n\n"
                   "A new, empty Sequence.\n"
                   "\n"
                   ">>> len(dotk.Cache(heads=1, width=2).sequence())\n"
                   "0\n"),
    PY_METHOD_NONE("usage", cache_usage,
                   "usage($self)\n--\n\n"
                   "How many pages there are: a dict.\n"
                   "\n"
                   ">>> dotk.Cache(heads=1, width=2).usage()[\"pages\"]\n"
                   "0\n"),
    PY_METHOD(
        "attention", py_cache_attention,
        "attention($self, sequences, q, *, scale=None, causal=False, window_left=None, "
        "window_right=None, query_offsets=None, key_lengths=None, mask=None, bias=None, "
        "softcap=0.0, dropout=0.0, seed=0, slopes=None, sinks=None, queries=None, lse=False, "
        "out=None, context=None)\n--\n\n"
        "dotk.attention() of some queries of each of several sequences: (H, L, E), from q\n"
        "(H, L, D), whose queries come sequence after sequence. queries, (n) ints, says how many\n"
        "each has; None: one each. Positions are those of the last tokens, so causal lets the\n"
        "last query of a sequence see all of it. Options are those of dotk.attention() that go\n"
        "with a cache; keys of all sequences are numbered on.\n"
        "\n" EXAMPLE ">>> cache.attention([sequence], np.ones((1, 1, 2)), causal=True)\n"
        "array([[[1., 1.]]], dtype=float32)\n"),
    PY_METHODS_END,
};

static PyType_Slot cache_slots[] = {
    {Py_tp_doc,
     "Cache(heads, width, dtype='f32', *, value_width=0, page_keys=0, memory_limit=0)\n--\n\n"
     "Keys and values of the tokens so far, of one layer, kept as attention reads them; in\n"
     "pages that sequences with a common beginning share.\n"
     "\n"
     "heads, width  of keys and values, G, and of a key, D\n"
     "dtype         \"f32\", \"f16\", \"bf16\" or \"int8\": what is kept\n"
     "value_width   of a value, E; 0: D\n"
     "page_keys     keys of a page, a multiple of 64; 0: 256\n"
     "memory_limit  bytes that pages may take; 0: as much as there is\n"
     "\n"
     "Pages are kept until the cache and its sequences are gone. Threads may each write their\n"
     "own sequence. ValueError, TypeError; MemoryError beyond the limit.\n"
     "\n" EXAMPLE ">>> len(sequence), cache.usage()[\"pages_in_use\"]\n"
     "(3, 1)\n"},
    {Py_tp_new, cache_new},
    {Py_tp_dealloc, cache_dealloc},
    {Py_tp_getset, cache_members},
    {Py_tp_methods, cache_methods},
    {0, NULL},
};

static PyMethodDef sequence_methods[] = {
    PY_METHOD(
        "add", sequence_add,
        "add($self, k, v, *, rotary=False, interleaved=False, rotary_width=0, theta=0.0, "
        "frequencies=None, positions=None, context=None)\n--\n\n"
        "Appends n tokens, k (G, n, D) and v (G, n, E); both are copied. rotary=True turns keys\n"
        "before they are stored, token i of the sequence at position i or as positions, (n),\n"
        "says; the other options are those of dotk.rotary(), and refused without rotary=True.\n"
        "RuntimeError where another thread uses the sequence, ValueError, TypeError, MemoryError:\n"
        "then nothing is appended.\n"
        "\n" EXAMPLE ">>> len(sequence)\n"
        "3\n"),
    PY_METHOD("get", sequence_get,
              "get($self, first=0, count=None)\n--\n\n"
              "(k, v) of tokens first .. first + count - 1, float32 (G, n, D) and (G, n, E).\n"
              "\n" EXAMPLE ">>> sequence.get(2)[0]\n"
              "array([[[1., 1.]]], dtype=float32)\n"),
    PY_METHOD("fork", sequence_fork,
              "fork($self, count=None)\n--\n\n"
              "A Sequence that begins with the first count tokens of this one; their pages are\n"
              "shared.\n"
              "\n" EXAMPLE ">>> len(sequence.fork(2))\n"
              "2\n"),
    PY_METHOD("truncate", sequence_truncate,
              "truncate($self, count)\n--\n\n"
              "Keeps the first count tokens.\n"
              "\n" EXAMPLE ">>> sequence.truncate(1)\n"
              ">>> len(sequence)\n"
              "1\n"),
    PY_METHODS_END,
};

static PyType_Slot sequence_slots[] = {
    {Py_tp_doc,
     "Tokens of a Cache, made by its sequence(); len() tells how many. One thread may write a\n"
     "sequence, or several read it; others may write other sequences meanwhile.\n"
     "\n" EXAMPLE ">>> len(sequence)\n"
     "3\n"},
    {Py_tp_dealloc, sequence_dealloc},
    {Py_tp_methods, sequence_methods},
    {Py_sq_length, sequence_length},
    {0, NULL},
};

static PyType_Spec cache_spec = {
    "dotk.Cache", sizeof(struct cache_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    cache_slots,
};

static PyType_Spec sequence_spec = {
    "dotk.Sequence",
    sizeof(struct sequence_object),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    sequence_slots,
};

int
py_add_cache(PyObject *module)
{
    cache_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &cache_spec, NULL);
    if (cache_type == NULL || PyModule_AddType(module, cache_type) < 0)
        return -1;
    py_sequence_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &sequence_spec, NULL);
    return py_sequence_type == NULL ? -1 : PyModule_AddType(module, py_sequence_type);
}
