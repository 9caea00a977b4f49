/*
 * index.c - the public functions of an index: arguments are checked here, the kind does the rest
 *
 * A row or query is refused when its squared norm is above 2^125: below that no score overflows
 * (|q.k| <= |q| |k| <= 2^125, |q - k|^2 <= (|q| + |k|)^2 <= 2^127), nor any partial sum, with room
 * for rounding.
 */
#include "search/index.h"

#include "codec/norm.h"
#include "codec/rotation.h"
#include "platform/clock.h"
#include "platform/float_mode.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "search/filter.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { DIM_MAX = 65536 };

static const double SQUARED_NORM_MAX = 0x1p125;
static const double UNIT_TOLERANCE = 1e-3;
static const double DELTA_DEFAULT = 1e-9, DELTA_MIN = 1e-100;

static const struct dk_index_ops *const kinds[] = {
#define DK_INDEX_KIND(NAME, name) [DOTK_INDEX_##NAME] = &dk_index_##name,
#include "search/kinds.def"
#undef DK_INDEX_KIND
};

const char *
dotk_metric_name(dotk_metric metric)
{
    switch (metric) {
    case DOTK_METRIC_DOT: return "dot";
    case DOTK_METRIC_COSINE: return "cosine";
    case DOTK_METRIC_L2: return "l2";
    }
    return NULL;
}

/* ------------------------------------------------------------------------- */
/*  Creating                                                                 */
/* ------------------------------------------------------------------------- */

static dotk_status
check_screen(size_t dim, const dotk_index_options *options)
{
    const double delta = options->delta;

    switch (options->screen) {
    case DOTK_SCREEN_NONE:
    case DOTK_SCREEN_INT8:
        if (delta != 0 || options->seed != 0)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s is set without DOTK_SCREEN_INT4: leave it 0",
                           delta != 0 ? "delta" : "seed");
        return DOTK_OK;
    case DOTK_SCREEN_INT4:
        if (dim > DK_ROTATION_DIM_MAX)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "dim is %zu: DOTK_SCREEN_INT4 takes at most %d, choose DOTK_SCREEN_INT8",
                           dim, DK_ROTATION_DIM_MAX);
        if (options->store != DOTK_STORE_F32)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->store is %d: DOTK_SCREEN_INT4 takes DOTK_STORE_F32 alone",
                           (int)options->store);
        if (!(delta == 0 || (delta >= DELTA_MIN && delta < 1)))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->delta is %g: a probability from %g to below 1, or 0 for %g",
                           delta, DELTA_MIN, DELTA_DEFAULT);
        return DOTK_OK;
    }
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "options->screen is %d: choose DOTK_SCREEN_NONE, _INT8 or _INT4",
                   (int)options->screen);
}

dotk_status
dotk_index_create(dotk_context *context, size_t dim, const dotk_index_options *options,
                  dotk_index **out)
{
    static const dotk_index_options defaults = DOTK_INDEX_OPTIONS_INIT;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the index");
    *out = NULL;
    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &defaults;
    if (dim == 0 || dim > DIM_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "dim is %zu: it can be 1 to %d", dim, DIM_MAX);
    if ((size_t)options->kind >= sizeof kinds / sizeof *kinds)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->kind is %d: this library has no such index",
                       (int)options->kind);
    if (dotk_metric_name(options->metric) == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->metric is %d: choose DOTK_METRIC_DOT, _COSINE or _L2",
                       (int)options->metric);

    const dotk_status refused = check_screen(dim, options);
    if (refused != DOTK_OK)
        return refused;
    if (dotk_store_name(options->store) == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->store is %d: choose DOTK_STORE_F32, _F16, _BF16 or _INT8",
                       (int)options->store);
    const struct dk_index_ops *const ops = kinds[options->kind];
    dotk_index *const index = dk_alloc(ops->bytes);
    if (index == NULL)
        return dk_fail_memory(ops->bytes, "an index");
    memset(index, 0, ops->bytes);
    index->ops = ops;
    index->context = context;
    index->dim = dim;
    index->metric = options->metric;
    index->expect_unit = options->expect_unit != 0;
    index->screen = options->screen;
    index->store = options->store;
    if (index->screen == DOTK_SCREEN_INT4) {
        index->delta = options->delta > 0 ? options->delta : DELTA_DEFAULT;
        index->seed = options->seed;
    }
    index->gate = dk_gate_create();
    if (index->gate == NULL) {
        dk_free(index);
        return dk_fail_memory(ops->bytes, "an index");
    }
    const uint64_t mode = dk_float_mode_enter();
    const dotk_status status = ops->init(index);
    dk_float_mode_leave(mode);
    if (status != DOTK_OK) {
        dk_gate_destroy(index->gate);
        dk_free(index);
        return status;
    }
    *out = index;
    return DOTK_OK;
}

void
dotk_index_destroy(dotk_index *index)
{
    if (index == NULL)
        return;
    index->ops->release(index);
    dk_ids_release(&index->ids);
    dk_gate_destroy(index->gate);
    dk_free(index);
}

void
dk_index_publish(struct dotk_index *index)
{
    __atomic_store_n(&index->rows, dk_ids_present(&index->ids), __ATOMIC_RELEASE);
    dk_gate_open(index->gate);
}

size_t
dotk_index_count(const dotk_index *index)
{
    return index == NULL ? 0 : __atomic_load_n(&index->rows, __ATOMIC_ACQUIRE);
}

size_t
dotk_index_dim(const dotk_index *index)
{
    return index == NULL ? 0 : index->dim;
}

dotk_metric
dotk_index_metric(const dotk_index *index)
{
    return index == NULL ? DOTK_METRIC_DOT : index->metric;
}

/* ------------------------------------------------------------------------- */
/*  Checking                                                                 */
/* ------------------------------------------------------------------------- */

static dotk_status
refuse_not_finite(const char *what, size_t i, const float *x, size_t dim)
{
    size_t d = 0;

    while (d + 1 < dim && isfinite(x[d]))
        d++;
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "%s[%zu] has a component that is not finite (%f at dimension %zu): remove or "
                   "repair it",
                   what, i, (double)x[d], d);
}

dotk_status
dk_check_vector(const struct dotk_index *index, const char *what, size_t i, const float *x,
                double *sum)
{
    const double squared = dk_sum_of_squares(x, index->dim);

    if (!isfinite(squared))
        return refuse_not_finite(what, i, x, index->dim);
    if (squared > SQUARED_NORM_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s[%zu] has norm %g, so that a score could overflow: scale it down", what,
                       i, sqrt(squared));
    if (index->expect_unit && !(fabs(sqrt(squared) - 1) <= UNIT_TOLERANCE))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s[%zu] has norm %.6g, but this index expects unit vectors: normalise it",
                       what, i, sqrt(squared));
    if (index->metric == DOTK_METRIC_COSINE && squared == 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s[%zu] is a zero vector, which has no cosine with anything: remove it",
                       what, i);
    if (sum != NULL)
        *sum = squared;
    return DOTK_OK;
}

static dotk_status
check_index(const dotk_index *index)
{
    if (index == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "index is NULL: create one first");
    return DOTK_OK;
}

/* n vectors called 'what'; *stride becomes the real one. */
static dotk_status
check_matrix(const dotk_index *index, const char *what, size_t n, const float *vectors,
             size_t *stride)
{
    size_t bytes;

    if (*stride == 0)
        *stride = index->dim;
    if (*stride < index->dim)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "stride is %zu, less than dim, %zu: give 0 or more than "
                       "dim - 1",
                       *stride, index->dim);
    if (n > 0 && vectors == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass %zu vectors", what, n);
    if (!dk_mul(n, *stride, &bytes) || !dk_mul(bytes, sizeof(float), &bytes))
        return dk_fail(DOTK_BAD_ARGUMENT, "n is %zu: n * stride overflows", n);
    return DOTK_OK;
}

static dotk_status
check_ids(size_t n, const int64_t *ids)
{
    if (n > 0 && ids == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "ids is NULL: say which %zu rows are meant", n);
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Rows                                                                     */
/* ------------------------------------------------------------------------- */

static uint64_t
writer_begin(dotk_index *index)
{
    dk_gate_begin(index->gate);
    return dk_float_mode_enter();
}

static void
writer_end(dotk_index *index, uint64_t mode)
{
    dk_float_mode_leave(mode);
    dk_gate_end(index->gate);
}

dotk_status
dotk_index_add(dotk_index *index, size_t n, const float *rows, size_t stride, const int64_t *ids)
{
    dotk_status status = check_index(index);
    if (status == DOTK_OK)
        status = check_matrix(index, "rows", n, rows, &stride);
    if (status != DOTK_OK || n == 0)
        return status;
    const uint64_t mode = writer_begin(index);
    status = index->ops->add(index, n, rows, stride, ids);
    writer_end(index, mode);
    return status;
}

dotk_status
dotk_index_update(dotk_index *index, size_t n, const float *rows, size_t stride, const int64_t *ids)
{
    dotk_status status = check_index(index);
    if (status == DOTK_OK)
        status = check_matrix(index, "rows", n, rows, &stride);
    if (status == DOTK_OK)
        status = check_ids(n, ids);
    if (status != DOTK_OK || n == 0)
        return status;
    const uint64_t mode = writer_begin(index);
    status = index->ops->update(index, n, rows, stride, ids);
    writer_end(index, mode);
    return status;
}

dotk_status
dotk_index_remove(dotk_index *index, size_t n, const int64_t *ids)
{
    dotk_status status = check_index(index);
    if (status == DOTK_OK)
        status = check_ids(n, ids);
    if (status != DOTK_OK || n == 0)
        return status;
    const uint64_t mode = writer_begin(index);
    status = index->ops->remove(index, n, ids);
    writer_end(index, mode);
    return status;
}

dotk_status
dotk_index_reconstruct(const dotk_index *index, int64_t id, float *out)
{
    const dotk_status status = check_index(index);
    if (status != DOTK_OK)
        return status;
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass room for %zu values", index->dim);
    dk_gate_enter(index->gate);
    const size_t position = dk_ids_find(&index->ids, id);
    dk_gate_settle(index->gate);
    if (position != DK_IDS_NONE) {
        const uint64_t mode = dk_float_mode_enter();
        index->ops->reconstruct(index, position, out);
        dk_float_mode_leave(mode);
    }
    dk_gate_leave(index->gate);
    if (position == DK_IDS_NONE)
        return dk_fail(DOTK_NOT_FOUND, "id is %" PRId64 ", which is not in the index", id);
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Searching                                                                */
/* ------------------------------------------------------------------------- */

static dotk_status
check_queries(const dotk_index *index, const struct dk_request *request)
{
    dotk_status status = DOTK_OK;

    for (size_t i = 0; status == DOTK_OK && i < request->n; i++)
        status = dk_check_vector(index, "queries", i, request->queries + i * request->stride, NULL);
    return status;
}

/* What search, range and plan have in common: params and the number of queries. */
static dotk_status
request_init(struct dk_request *request, const dotk_search_params *params, size_t n,
             dotk_search_stats *stats)
{
    DK_CHECK_OPTIONS(params);
    *stats = (dotk_search_stats){.path = "empty", .kernel = "-"};
    *request = (struct dk_request){.n = n, .stats = stats};
    if (params != NULL) {
        request->filter = params->filter;
        request->clip_at_zero = params->clip_at_zero != 0;
    }
    return dk_filter_check(request->filter);
}

static dotk_status
check_k(size_t n, size_t k)
{
    size_t entries, bytes;

    if (k == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "k is 0: ask for at least 1 neighbour");
    if (!dk_mul(n, k, &entries) || !dk_mul(entries, sizeof(int64_t), &bytes))
        return dk_fail(DOTK_BAD_ARGUMENT, "k is %zu and n %zu: n * k overflows", k, n);
    return DOTK_OK;
}

dotk_status
dotk_index_search(const dotk_index *index, size_t n, const float *queries, size_t stride, size_t k,
                  const dotk_search_params *params, int64_t *out_ids, float *out_scores,
                  size_t *out_counts)
{
    const double start = dk_seconds();
    struct dk_request request;
    dotk_search_stats stats;

    dotk_status status = check_index(index);
    if (status == DOTK_OK)
        status = request_init(&request, params, n, &stats);
    if (status == DOTK_OK)
        status = check_matrix(index, "queries", n, queries, &stride);
    if (status == DOTK_OK)
        status = check_k(n, k);
    if (status != DOTK_OK)
        return status;
    if (out_ids == NULL && n > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "out_ids is NULL: pass room for n * k ids");
    request.queries = queries;
    request.stride = stride;
    request.k = k;
    request.out_ids = out_ids;
    request.out_scores = out_scores;
    request.out_counts = out_counts;

    const uint64_t mode = dk_float_mode_enter();
    status = check_queries(index, &request);
    if (status == DOTK_OK && n > 0)
        status = index->ops->search(index, &request);
    dk_float_mode_leave(mode);
    if (status == DOTK_OK && params != NULL && params->stats != NULL) {
        stats.seconds = dk_seconds() - start;
        *params->stats = stats;
    }
    return status;
}

dotk_status
dotk_index_range(const dotk_index *index, size_t n, const float *queries, size_t stride,
                 float threshold, const dotk_search_params *params, dotk_hits **out)
{
    const double start = dk_seconds();
    struct dk_request request;
    dotk_search_stats stats;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the hits");
    *out = NULL;
    dotk_status status = check_index(index);
    if (status == DOTK_OK)
        status = request_init(&request, params, n, &stats);
    if (status == DOTK_OK)
        status = check_matrix(index, "queries", n, queries, &stride);
    if (status != DOTK_OK)
        return status;
    if (isnan(threshold))
        return dk_fail(DOTK_BAD_ARGUMENT, "threshold is NaN: nothing compares with it");
    request.queries = queries;
    request.stride = stride;

    const uint64_t mode = dk_float_mode_enter();
    status = check_queries(index, &request);
    if (status == DOTK_OK)
        status = index->ops->range(index, &request, threshold, out);
    dk_float_mode_leave(mode);
    if (status == DOTK_OK && params != NULL && params->stats != NULL) {
        stats.seconds = dk_seconds() - start;
        *params->stats = stats;
    }
    return status;
}

dotk_status
dotk_index_plan(const dotk_index *index, size_t n, size_t k, const dotk_search_params *params,
                char *out, size_t capacity)
{
    struct dk_request request;
    dotk_search_stats stats;

    dotk_status status = check_index(index);
    if (status == DOTK_OK)
        status = request_init(&request, params, n, &stats);
    if (status == DOTK_OK)
        status = check_k(n, k);
    if (status != DOTK_OK)
        return status;
    if (out == NULL || capacity == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is %p with capacity %zu: pass room for a line",
                       (void *)out, capacity);
    request.k = k;
    return index->ops->plan(index, &request, out, capacity);
}
