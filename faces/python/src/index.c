/*
 * index.c - dotk.Index: making one, its rows
 *
 * Every call lets go of the GIL, however small: a change may wait for a search that is under way,
 * and that search must be able to look for signals meanwhile.
 */
#include "index.h"

#include "args.h"
#include "array.h"
#include "context.h"
#include "module.h"

const char *const py_metrics[] = {"dot", "cosine", "l2", NULL};
static const char *const stores[] = {"f32", "f16", "bf16", "int8", NULL};
static const char *const screens[] = {"none", "int8", "int4", NULL};

static dotk_index *
handle_of(PyObject *self)
{
    return ((struct index_object *)self)->handle;
}

static PyObject *
context_of(PyObject *self)
{
    return ((struct index_object *)self)->context;
}

/* ------------------------------------------------------------------------- */
/*  Making one                                                               */
/* ------------------------------------------------------------------------- */

enum { DIM, METRIC, DTYPE, SCREEN, EXPECT_UNIT, DELTA, SEED, CONTEXT, NEW_ARGS };

static PyObject *
index_new(PyTypeObject *type, PyObject *values, PyObject *keywords)
{
    static struct py_args args = {
        "Index",
        1,
        3,
        {"dim", "metric", "dtype", "screen", "expect_unit", "delta", "seed", "context"},
        {NULL}};
    PyObject *given[NEW_ARGS];
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    size_t dim = 0, metric = 0, store = 0, screen = 0;
    bool expect_unit = false;

    if (py_args_parse_tuple(&args, values, keywords, given) < 0 ||
        py_args_size(given[DIM], "dim", &dim) < 0 ||
        py_args_choice(given[METRIC], "metric", py_metrics, &metric) < 0 ||
        py_args_type(given[DTYPE], "dtype", stores, &store) < 0 ||
        py_args_choice(given[SCREEN], "screen", screens, &screen) < 0 ||
        py_args_flag(given[EXPECT_UNIT], "expect_unit", &expect_unit) < 0 ||
        py_args_double(given[DELTA], "delta", &options.delta) < 0 ||
        py_args_uint64(given[SEED], "seed", &options.seed) < 0)
        return NULL;
    options.metric = (dotk_metric)metric;
    options.store = (dotk_store)store;
    options.screen = (dotk_screen)screen;
    options.expect_unit = expect_unit;

    PyObject *const context = py_context(given[CONTEXT]);
    if (context == NULL)
        return NULL;
    struct index_object *const self = (struct index_object *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        Py_DECREF(context);
        return NULL;
    }
    self->context = context;
    self->store = options.store;
    self->screen = options.screen;
    struct py_call call;
    if (py_call_begin(&call, context) == 0) {
        const dotk_status status = dotk_index_create(call.context, dim, &options, &self->handle);
        if (py_call_end(&call, status) == 0)
            return (PyObject *)self;
    }
    Py_DECREF(self);
    return NULL;
}

static void
index_dealloc(PyObject *self)
{
    PyTypeObject *const type = Py_TYPE(self);

    dotk_index_destroy(handle_of(self));
    Py_XDECREF(context_of(self));
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* ------------------------------------------------------------------------- */
/*  Rows                                                                     */
/* ------------------------------------------------------------------------- */

typedef dotk_status
change_function(dotk_index *index, size_t n, const float *rows, size_t stride, const int64_t *ids);

static PyObject *
change(struct py_args *args, PyObject *self, PyObject *const *values, Py_ssize_t count,
       PyObject *keywords, change_function *function)
{
    PyObject *given[2], *answer = NULL;
    struct py_rows rows = {0};
    struct py_array ids = {0};
    struct py_call call;

    if (py_args_parse(args, values, count, keywords, given) < 0 ||
        py_rows_get(given[0], "rows", dotk_index_dim(handle_of(self)), &rows) < 0)
        return NULL;
    if (given[1] != NULL && py_ids_get(given[1], "ids", &ids) < 0)
        goto done;
    if (given[1] != NULL && ids.shape[0] != rows.rows) {
        PyErr_Format(PyExc_ValueError, "ids has %zu ids and rows %zu rows: give one id a row",
                     ids.shape[0], rows.rows);
        goto done;
    }
    if (py_call_begin(&call, context_of(self)) < 0)
        goto done;
    const dotk_status status = function(handle_of(self), rows.rows, rows.data, rows.stride,
                                        ids.data);
    if (py_call_end(&call, status) == 0) {
        answer = Py_None;
        Py_INCREF(answer);
    }
done:
    py_array_release(&ids);
    py_rows_release(&rows);
    return answer;
}

static PyObject *
index_add(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"add", 1, 2, {"rows", "ids"}, {NULL}};

    return change(&args, self, values, count, keywords, dotk_index_add);
}

static PyObject *
index_update(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"update", 2, 2, {"rows", "ids"}, {NULL}};

    return change(&args, self, values, count, keywords, dotk_index_update);
}

static PyObject *
index_remove(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"remove", 1, 1, {"ids"}, {NULL}};
    PyObject *given[1], *answer = NULL;
    struct py_array ids;
    struct py_call call;

    if (py_args_parse(&args, values, count, keywords, given) < 0 ||
        py_ids_get(given[0], "ids", &ids) < 0)
        return NULL;
    if (py_call_begin(&call, context_of(self)) == 0) {
        const dotk_status status = dotk_index_remove(handle_of(self), ids.shape[0], ids.data);
        if (py_call_end(&call, status) == 0) {
            answer = Py_None;
            Py_INCREF(answer);
        }
    }
    py_array_release(&ids);
    return answer;
}

/* Fills out (n, dim). */
static int
reconstruct_all(PyObject *self, const int64_t *ids, size_t n, float *out)
{
    const size_t dim = dotk_index_dim(handle_of(self));
    dotk_status status = DOTK_OK;
    struct py_call call;

    if (py_call_begin(&call, context_of(self)) < 0)
        return -1;
    for (size_t i = 0; i < n && status == DOTK_OK; i++) {
        if (i % 256 == 255 && py_call_poll(&call) != 0)
            break;
        status = dotk_index_reconstruct(handle_of(self), ids[i], out + i * dim);
    }
    return py_call_end(&call, status);
}

/* An int, or what stands for one: a number of numpy's, an array without axes. */
static bool
is_number(PyObject *object)
{
    if (PyLong_Check(object) || !PyIndex_Check(object))
        return PyLong_Check(object);
    PyObject *const axes = PyObject_GetAttrString(object, "ndim");
    const bool none = axes == NULL || PyLong_AsLong(axes) == 0;
    PyErr_Clear();
    Py_XDECREF(axes);
    return none;
}

static PyObject *
index_reconstruct(PyObject *self, PyObject *const *values, Py_ssize_t count, PyObject *keywords)
{
    static struct py_args args = {"reconstruct", 1, 1, {"ids", "out"}, {NULL}};
    PyObject *given[2], *answer = NULL;
    struct py_array ids = {0}, out;
    int64_t id = 0;
    size_t shape[2] = {1, dotk_index_dim(handle_of(self))};

    if (py_args_parse(&args, values, count, keywords, given) < 0)
        return NULL;
    const bool single = is_number(given[0]);
    if (single ? py_args_int64(given[0], "ids", &id) < 0 : py_ids_get(given[0], "ids", &ids) < 0)
        return NULL;
    if (!single)
        shape[0] = ids.shape[0];
    answer = py_array_out(given[1], "out", &ids, PY_F32, single ? 1 : 2, shape + single, &out);
    if (answer != NULL) {
        if (reconstruct_all(self, single ? &id : ids.data, shape[0], out.data) < 0)
            Py_CLEAR(answer);
        py_array_release(&out);
    }
    py_array_release(&ids);
    return answer;
}

/* ------------------------------------------------------------------------- */
/*  What it is                                                               */
/* ------------------------------------------------------------------------- */

static Py_ssize_t
index_length(PyObject *self)
{
    return (Py_ssize_t)dotk_index_count(handle_of(self));
}

static PyObject *
index_dim(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromSize_t(dotk_index_dim(handle_of(self)));
}

static PyObject *
index_metric(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(dotk_metric_name(dotk_index_metric(handle_of(self))));
}

static PyObject *
index_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(stores[((struct index_object *)self)->store]);
}

static PyObject *
index_screen(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(screens[((struct index_object *)self)->screen]);
}

static PyObject *
index_context(PyObject *self, void *unused)
{
    PyObject *const context = context_of(self);

    (void)unused;
    Py_INCREF(context);
    return context;
}

static PyObject *
index_repr(PyObject *self)
{
    const struct index_object *const index = (struct index_object *)self;
    dotk_index *const handle = index->handle;

    return PyUnicode_FromFormat("<dotk.Index of %zu rows: dim=%zu, metric='%s', dtype='%s', "
                                "screen='%s'>",
                                dotk_index_count(handle), dotk_index_dim(handle),
                                dotk_metric_name(dotk_index_metric(handle)), stores[index->store],
                                screens[index->screen]);
}

static PyGetSetDef members[] = {
    {"dim", index_dim, NULL, "How many values a row has.", NULL},
    {"metric", index_metric, NULL, "'dot', 'cosine' or 'l2'.", NULL},
    {"dtype", index_dtype, NULL, "What rows are kept as: 'f32', 'f16', 'bf16' or 'int8'.", NULL},
    {"screen", index_screen, NULL, "'none', 'int8' or 'int4'.", NULL},
    {"context", index_context, NULL, "The Context that searches run on.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    PY_METHOD(
        "add", index_add,
        "add($self, rows, ids=None)\n--\n\n"
        "Adds rows, (n, dim) or (dim), which are copied. Without ids the index gives them 0,\n"
        "1, 2, ..., never one twice; else ids, (n), are distinct integers from 0 on, none\n"
        "of them present. The first add decides between the two for good.\n"
        "\n"
        ">>> index = dotk.Index(2)\n"
        ">>> index.add([[1, 0], [0, 1]])\n"
        ">>> len(index)\n"
        "2\n"),
    PY_METHOD("update", index_update,
              "update($self, rows, ids)\n--\n\n"
              "Replaces the rows of ids, (n), by rows, (n, dim).\n"
              "\n"
              ">>> index = dotk.Index(2)\n"
              ">>> index.add([[1, 0], [0, 1]])\n"
              ">>> index.update([[5, 5]], [1])\n"
              ">>> index.reconstruct(1)\n"
              "array([5., 5.], dtype=float32)\n"),
    PY_METHOD("remove", index_remove,
              "remove($self, ids)\n--\n\n"
              "Removes the rows of ids, (n). KeyError, and nothing removed, if one is absent.\n"
              "\n"
              ">>> index = dotk.Index(2)\n"
              ">>> index.add([[1, 0], [0, 1]])\n"
              ">>> index.remove([0])\n"
              ">>> len(index)\n"
              "1\n"),
    PY_METHOD("reconstruct", index_reconstruct,
              "reconstruct($self, ids, *, out=None)\n--\n\n"
              "The row of an id, (dim), or the rows of ids (n), (n, dim): what the index keeps of\n"
              "them, under cosine with their own lengths.\n"
              "\n"
              ">>> index = dotk.Index(2)\n"
              ">>> index.add([[1, 0], [0, 3]])\n"
              ">>> index.reconstruct(1)\n"
              "array([0., 3.], dtype=float32)\n"),
    PY_METHOD("search", py_index_search, py_index_search_doc),
    PY_METHOD("range", py_index_range, py_index_range_doc),
    PY_METHOD("plan", py_index_plan, py_index_plan_doc),
    PY_METHODS_END,
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     "Index(dim, metric='dot', dtype='f32', *, screen=None, expect_unit=False,\n"
     "      delta=None, seed=None, context=None)\n--\n\n"
     "Rows of dim values that are searched for those closest to a query.\n"
     "\n"
     "metric: 'dot' or 'cosine', higher is better; 'l2', the squared distance, lower is better.\n"
     "dtype: what rows are kept as, 'f32', 'f16', 'bf16' or 'int8'. A search is exact for what is\n"
     "kept.\n"
     "screen: None; 'int8', a byte a value that is read first: the same answers, faster for few\n"
     "queries; 'int4', half a byte: the same but for a probability of delta (1e-9) a query, over\n"
     "the rotation drawn from seed.\n"
     "expect_unit: refuse rows and queries that are not of unit length.\n"
     "\n"
     "Any number of threads may search, and others change the rows meanwhile. Rows and queries\n"
     "are float32; other number types are converted, which takes a copy.\n"
     "\n"
     ">>> index = dotk.Index(2, metric='l2')\n"
     ">>> index.add([[0, 0], [3, 4]])\n"
     ">>> ids, scores = index.search([0, 1], k=2)\n"
     ">>> ids, scores\n"
     "(array([0, 1]), array([ 1., 18.], dtype=float32))\n"},
    {Py_tp_new, index_new},
    {Py_tp_dealloc, index_dealloc},
    {Py_tp_repr, index_repr},
    {Py_tp_getset, members},
    {Py_tp_methods, methods},
    {Py_sq_length, index_length},
    {0, NULL},
};

static PyType_Spec spec = {
    "dotk.Index", sizeof(struct index_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    slots,
};

int
py_add_index(PyObject *module)
{
    PyObject *const type = PyType_FromModuleAndSpec(module, &spec, NULL);

    if (type == NULL)
        return -1;
    const int added = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return added;
}
