/*
 * flat.c - the exact index: rows one after the other, every one scored
 *
 * rows.h says how rows are kept. While searches run, rows are added behind those that they see,
 * and removed rows stay as they are, hidden by a mask from searches that begin later. A row moves,
 * or gets other contents, only while nobody is inside (platform/gate.h): when the arrays grow, when
 * rows are updated, and when the gaps of removed rows are closed, which keeps the order.
 *
 * Queries are cut into batches that the scan takes and whose lists stay within LIST_BYTES; each
 * batch is a call of its own on the context, so that scratch memory does not grow with n.
 */
#include "codec/norm.h"
#include "epilogue/topk/range.h"
#include "epilogue/topk/topk.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "search/filter.h"
#include "search/flat/rows.h"
#include "search/index.h"
#include "search/results.h"
#include "tile/tile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    LIST_BYTES = 64 << 20,
    /*
     * Gaps are closed when one position of so many is dead: at the first number, if nobody is
     * inside; at the second one waits for that. So scans pass over a sixteenth of dead rows, or a
     * quarter at worst, and each removal pays for moving 16 rows at most.
     */
    DEAD_OF_IDLE = 16,
    DEAD_OF_BUSY = 4,
    SCREEN_WEIGHT = 8, /* at least, beside its queries' codes, for a progress bar */
};

struct flat {
    struct dotk_index base;
    struct dk_i4 *i4;        /* with DOTK_SCREEN_INT4 */
    struct dk_rows rows;     /* base.ids.count of them */
    double squared_norm_max; /* no stored row has more; removals leave it */
};

/* ------------------------------------------------------------------------- */
/*  Changing                                                                 */
/* ------------------------------------------------------------------------- */

static dotk_status
flat_init(struct dotk_index *base)
{
    const struct dk_kernels *const kernels = dk_context_kernels(base->context);
    struct flat *const flat = (struct flat *)base;
    dotk_status status = DOTK_OK;

    if (kernels == NULL)
        return dk_fail_kernels();
    if (base->screen == DOTK_SCREEN_INT4)
        status = dk_i4_create(kernels, base->dim, base->seed, base->delta, &flat->i4);
    dk_rows_init(&flat->rows, kernels, base->dim, base->metric, base->store, base->screen,
                 flat->i4);
    return status;
}

static void
flat_release(struct dotk_index *base)
{
    struct flat *const flat = (struct flat *)base;

    dk_rows_release(&flat->rows);
    dk_i4_destroy(flat->i4);
}

static dotk_status
make_room(struct flat *flat, size_t n)
{
    const size_t count = flat->base.ids.count;

    if (dk_rows_have_room(&flat->rows, count, n))
        return DOTK_OK;
    dk_gate_clear(flat->base.gate);
    const dotk_status status = dk_rows_reserve(&flat->rows, count, n);
    dk_gate_open(flat->base.gate);
    return status;
}

/* Rows are written beyond the last one that anybody sees and appear when their ids do. */
static dotk_status
flat_add(struct dotk_index *base, size_t n, const float *rows, size_t stride, const int64_t *ids)
{
    struct flat *const flat = (struct flat *)base;
    const size_t count = base->ids.count;
    double most = flat->squared_norm_max;

    dotk_status status = make_room(flat, n);
    for (size_t i = 0; status == DOTK_OK && i < n; i++) {
        const float *const row = rows + i * stride;
        double sum;
        status = dk_check_vector(base, "rows", i, row, &sum);
        if (status == DOTK_OK)
            status = dk_rows_check(&flat->rows, i, row);
        if (status == DOTK_OK)
            most = fmax(most, dk_rows_set(&flat->rows, count + i, row, sum));
    }
    if (status != DOTK_OK)
        return status;
    dk_rows_encode(&flat->rows, count, n);
    if (dk_ids_append_moves(&base->ids, n, ids))
        dk_gate_clear(base->gate);
    else
        dk_gate_stop(base->gate);
    status = dk_ids_append(&base->ids, n, ids);
    if (status == DOTK_OK)
        flat->squared_norm_max = most;
    dk_index_publish(base);
    return status;
}

static dotk_status
flat_update(struct dotk_index *base, size_t n, const float *rows, size_t stride, const int64_t *ids)
{
    struct flat *const flat = (struct flat *)base;
    size_t *positions;

    dotk_status status = dk_ids_find_all(&base->ids, n, ids, &positions);
    for (size_t i = 0; status == DOTK_OK && i < n; i++) {
        status = dk_check_vector(base, "rows", i, rows + i * stride, NULL);
        if (status == DOTK_OK)
            status = dk_rows_check(&flat->rows, i, rows + i * stride);
    }
    if (status != DOTK_OK) {
        dk_free(positions);
        return status;
    }
    dk_gate_clear(base->gate);
    for (size_t i = 0; i < n; i++) {
        const float *const row = rows + i * stride;
        const size_t position = dk_ids_find(&base->ids, ids[i]);
        const double sum = dk_sum_of_squares(row, base->dim);
        flat->squared_norm_max = fmax(flat->squared_norm_max,
                                      dk_rows_set(&flat->rows, position, row, sum));
    }
    dk_rows_encode_again(&flat->rows, base->ids.count, n, positions);
    dk_free(positions);
    dk_index_publish(base);
    return DOTK_OK;
}

/* Moves rows up to where the dead ones are; for want of memory they stay. The gate is clear. */
static void
close_gaps(struct flat *flat)
{
    const size_t count = flat->base.ids.count;
    size_t *positions, n;

    if (dk_ids_close_gaps(&flat->base.ids, &positions, &n))
        dk_rows_close_gaps(&flat->rows, count, n, positions);
    dk_free(positions);
}

static dotk_status
flat_remove(struct dotk_index *base, size_t n, const int64_t *ids)
{
    struct dk_gate *const gate = base->gate;
    size_t *positions;

    dotk_status status = dk_ids_find_all(&base->ids, n, ids, &positions);
    if (status != DOTK_OK)
        return status;
    dk_gate_stop(gate);
    status = dk_ids_remove(&base->ids, n, positions);
    dk_index_publish(base);
    dk_free(positions);
    if (base->ids.dead_count > base->ids.count / DEAD_OF_BUSY)
        dk_gate_clear(gate);
    else if (base->ids.dead_count <= base->ids.count / DEAD_OF_IDLE || !dk_gate_try_clear(gate))
        return status;
    close_gaps((struct flat *)base);
    dk_gate_open(gate);
    return status;
}

static void
flat_reconstruct(const struct dotk_index *base, size_t position, float *out)
{
    dk_rows_get(&((const struct flat *)base)->rows, position, out);
}

/* ------------------------------------------------------------------------- */
/*  Searching                                                                */
/* ------------------------------------------------------------------------- */

/*
 * What a request sees of the index, and how it will be served; search, range and plan all come
 * through here. Other things may be looked at on entry only, as a writer may change them later.
 */
struct route {
    size_t count, rows;   /* positions, dead ones included; rows that are present */
    const size_t *gather; /* not NULL: positions of all that passes, and 'count' is their number */
    const int64_t *ids;   /* by position, or gathered; NULL: positions are ids */
    bool ascending;       /* ids are */
    double key_norm_max;
    struct dk_id_mask id_mask;
    const struct dk_mask *mask; /* NULL: every position passes */
    size_t passing;             /* rows that pass the filter */
    size_t k;                   /* at most that many can be found */
    size_t batch, batches;      /* queries at a time, and how often */
    size_t finish_runs;         /* runs of their own to finish long lists; 0: with the scan's */
    size_t scan_weight;         /* how many of those runs a scan takes the time of */
    bool screened;
    const char *path, *kernel;
};

/*
 * The largest batches that scan and lists allow, all of about one size, so that one odd query
 * left over does not go another way than the rest; where they are large, in whole panels.
 */
static size_t
batch_of(const struct dotk_index *index, const struct dk_call *call, size_t n, size_t k,
         size_t passing)
{
    const size_t bytes = dk_max(1, dk_topk_query_bytes(call->slots, k, passing));
    const size_t by_lists = dk_max(1, LIST_BYTES / bytes);
    const size_t most = dk_min(dk_scan_batch(index->dim), by_lists);
    const size_t even = (n - 1) / ((n - 1) / most + 1) + 1;
    return dk_min(most, even > DK_PANEL ? dk_round_up(even, DK_PANEL) : even);
}

static const double HIT_SECONDS = 60e-9; /* to merge and sort one */

/* For a progress bar that moves evenly, more or less. */
static size_t
scan_weight(const struct route *route, const struct dotk_index *index, const struct dk_call *call)
{
    const double row = 2 * (double)index->dim / call->kernels->pace;
    const double hits = (double)call->slots * (double)route->k / (double)route->finish_runs;
    return (size_t)fmin(1000, 1 + (double)route->passing * row / (hits * HIT_SECONDS));
}

static dotk_status
take_view(struct route *route, const struct flat *flat, const struct dk_request *request,
          struct dk_call *call)
{
    const struct dk_ids *const ids = &flat->base.ids;

    *route = (struct route){
        .count = ids->count,
        .rows = dk_ids_present(ids),
        .ids = ids->id,
        .ascending = dk_ids_ascending(ids),
        .key_norm_max = sqrt(flat->squared_norm_max),
        .passing = ids->count,
        .path = "empty",
        .kernel = "-",
    };
    if (request->filter == NULL && ids->dead_count == 0)
        return DOTK_OK;
    if (dk_filter_is_short(request->filter, ids)) {
        struct dk_listed listed = {0};
        const dotk_status status = dk_filter_list(request->filter, ids, call, &listed);
        route->gather = listed.position;
        route->ids = listed.id;
        route->ascending = true;
        route->count = route->passing = listed.count;
        return status;
    }
    const dotk_status status = dk_filter_mask(request->filter, ids, call, &route->id_mask,
                                              &route->passing);
    if (status == DOTK_OK && route->passing < route->count)
        route->mask = &route->id_mask.mask;
    return status;
}

/*
 * Enters the index; route_end() leaves it, also after a failure. Memory: the mask is scratch of
 * 'call'. Errors: DOTK_NO_MEMORY.
 */
static dotk_status
route_begin(struct route *route, const struct flat *flat, const struct dk_request *request,
            struct dk_call *call)
{
    const struct dotk_index *const index = &flat->base;

    dk_gate_enter(index->gate);
    const dotk_status status = take_view(route, flat, request, call);
    dk_gate_settle(index->gate);
    if (status != DOTK_OK || route->passing == 0 || request->n == 0)
        return status;
    route->k = dk_min(request->k, route->passing);
    route->batch = batch_of(index, call, request->n, route->k, route->passing);
    route->batches = (request->n - 1) / route->batch + 1;
    if (route->k > 0) /* a range search has no lists */
        route->finish_runs = dk_topk_finish_runs(call->slots, route->batch, route->k,
                                                 route->passing);
    if (route->finish_runs > 0)
        route->scan_weight = scan_weight(route, index, call);
    const size_t first = dk_min(route->batch, request->n);
    const bool coded = index->screen != DOTK_SCREEN_NONE || index->store == DOTK_STORE_INT8;
    if (coded && route->gather == NULL) {
        route->screened = true;
        route->scan_weight = dk_max(SCREEN_WEIGHT, route->scan_weight);
        route->path = "screened";
        route->kernel = index->screen == DOTK_SCREEN_INT4 ? call->kernels->screen_i4_name
                                                          : call->kernels->screen_i8_name;
        return DOTK_OK;
    }
    route->path = dk_scan_path(first);
    route->kernel = dk_scan_kernel(call->kernels, first, index->store);
    return DOTK_OK;
}

static void
route_end(const struct flat *flat)
{
    dk_gate_leave(flat->base.gate);
}

static void
count_work(const struct dk_request *request, const struct route *route)
{
    dotk_search_stats *const stats = request->stats;

    stats->rows_scored = (uint64_t)route->passing * request->n;
    stats->rows_filtered = (uint64_t)(route->rows - route->passing) * request->n;
    stats->path = route->path;
    stats->kernel = route->kernel;
}

/* After all scans: only where a bound has excluded something, a bound may have failed. */
static void
count_doubt(const struct flat *flat, const struct dk_request *request, const struct route *route)
{
    dotk_search_stats *const stats = request->stats;

    if (route->screened && stats->rows_rescored < stats->rows_scored)
        stats->delta = flat->base.delta;
}

/* Runs of one batch: a scan that screens has one more before it, for its queries' codes. */
static size_t
runs_of(const struct route *route)
{
    return route->screened + dk_max(1, route->scan_weight) + route->finish_runs;
}

/* Scans for queries first .. first + n - 1 of the request. */
static dotk_status
scan(const struct flat *flat, const struct dk_request *request, const struct route *route,
     struct dk_call *call, size_t first, size_t n, struct dk_scan_epilogue *epilogue)
{
    const size_t dim = flat->base.dim;
    struct dk_scan scan = {
        .key_norm_max = route->key_norm_max,
        .rescored = &request->stats->rows_rescored,
        .queries = request->queries + first * request->stride,
        .query_count = n,
        .query_stride = request->stride,
        .mask = route->mask,
        .epilogue = epilogue,
    };

    dk_rows_scan(&flat->rows, route->count, &scan);
    scan.gather = route->gather;
    if (flat->base.metric == DOTK_METRIC_COSINE) {
        float *const unit = dk_call_alloc(call, n, dim * sizeof *unit);
        if (unit == NULL)
            return dk_fail_memory(n * dim * sizeof *unit, "unit queries");
        for (size_t q = 0; q < n; q++) {
            const float *const query = scan.queries + q * request->stride;
            dk_scale_to_unit(query, dim, dk_sum_of_squares(query, dim), unit + q * dim);
        }
        scan.queries = unit;
        scan.query_stride = dim;
    }
    return dk_scan_run(call, &scan);
}

static dotk_status
search_batch(const struct flat *flat, const struct dk_request *request, const struct route *route,
             size_t first, size_t n)
{
    /* All batches alike, though the last may be small: progress is counted in runs. */
    const size_t runs = runs_of(route);
    struct dk_call call;
    struct dk_topk topk;

    dotk_status status = dk_call_begin(flat->base.context, &call);
    if (status != DOTK_OK)
        return status;
    status = dk_topk_init(&topk, &call, n, route->k, route->passing, route->ids, route->ascending);
    if (status == DOTK_OK) {
        call.part = first / route->batch * runs;
        call.parts = route->batches * runs;
        call.weight = route->scan_weight;
        status = scan(flat, request, route, &call, first, n, &topk.epilogue);
    }
    if (status == DOTK_OK)
        status = dk_topk_finish(&topk, &call, route->finish_runs);
    for (size_t q = 0; status == DOTK_OK && q < n; q++) {
        size_t count;
        const struct dk_hit *const hits = dk_topk_hits(&topk, q, &count);
        dk_results_write(request, flat->base.metric, first + q, hits, count);
    }
    if (status == DOTK_OK)
        request->stats->candidates += dk_topk_candidates(&topk);
    dk_call_end(&call);
    return status;
}

static dotk_status
flat_search(const struct dotk_index *base, const struct dk_request *request)
{
    const struct flat *const flat = (const struct flat *)base;
    struct dk_call call;
    struct route route;

    dotk_status status = dk_call_begin(base->context, &call);
    if (status != DOTK_OK)
        return status;
    status = route_begin(&route, flat, request, &call);
    if (status == DOTK_OK)
        count_work(request, &route);
    if (status == DOTK_OK && route.passing == 0) {
        for (size_t q = 0; q < request->n; q++)
            dk_results_write(request, base->metric, q, NULL, 0);
    } else {
        for (size_t first = 0; status == DOTK_OK && first < request->n; first += route.batch)
            status = search_batch(flat, request, &route, first,
                                  dk_min(route.batch, request->n - first));
    }
    count_doubt(flat, request, &route);
    route_end(flat);
    dk_call_end(&call);
    return status;
}

/* ------------------------------------------------------------------------- */
/*  Range                                                                    */
/* ------------------------------------------------------------------------- */

static dotk_status
range_batch(const struct flat *flat, const struct dk_request *request, const struct route *route,
            size_t first, size_t n, struct dk_range *range)
{
    struct dk_call call;

    dotk_status status = dk_call_begin(flat->base.context, &call);
    if (status != DOTK_OK)
        return status;
    dk_range_begin(range, first, n);
    call.part = first / route->batch * runs_of(route);
    call.parts = route->batches * runs_of(route);
    call.weight = route->scan_weight;
    status = scan(flat, request, route, &call, first, n, &range->epilogue);
    dk_call_end(&call);
    return status == DOTK_OK ? dk_range_check(range) : status;
}

/* The caller's answer from what the scans found. */
static dotk_status
range_answer(const struct dotk_index *base, const struct dk_request *request,
             const struct dk_range *range, dotk_hits **out)
{
    const size_t count = dk_range_count(range);
    struct dk_hit *const sorted = dk_alloc_array(count, sizeof *sorted);

    if (sorted == NULL)
        return dk_fail_memory(count * sizeof *sorted, "sorting hits");
    const dotk_status status = dk_results_create(request->n, count, out);
    if (status == DOTK_OK) {
        dk_range_finish(range, request->n, (*out)->starts, sorted);
        for (size_t i = 0; i < count; i++)
            dk_results_set(*out, i, base->metric, request->clip_at_zero, sorted[i]);
    }
    dk_free(sorted);
    return status;
}

static dotk_status
flat_range(const struct dotk_index *base, const struct dk_request *request, float threshold,
           dotk_hits **out)
{
    const struct flat *const flat = (const struct flat *)base;
    const float least = base->metric == DOTK_METRIC_L2 ? -threshold : threshold;
    struct dk_range range;
    struct dk_call call;
    struct route route;

    dotk_status status = dk_call_begin(base->context, &call);
    if (status != DOTK_OK)
        return status;
    status = route_begin(&route, flat, request, &call);
    if (status == DOTK_OK && (route.passing == 0 || request->n == 0)) {
        count_work(request, &route);
        status = dk_results_create(request->n, 0, out);
    } else if (status == DOTK_OK) {
        count_work(request, &route);
        status = dk_range_init(&range, call.slots, route.batch, least, route.ids);
        for (size_t first = 0; status == DOTK_OK && first < request->n; first += route.batch)
            status = range_batch(flat, request, &route, first,
                                 dk_min(route.batch, request->n - first), &range);
        if (status == DOTK_OK)
            status = range_answer(base, request, &range, out);
        request->stats->candidates = dk_range_count(&range);
        dk_range_release(&range);
    }
    count_doubt(flat, request, &route);
    route_end(flat);
    dk_call_end(&call);
    return status;
}

/* ------------------------------------------------------------------------- */
/*  Plan                                                                     */
/* ------------------------------------------------------------------------- */

static dotk_status
flat_plan(const struct dotk_index *base, const struct dk_request *request, char *out,
          size_t capacity)
{
    const struct flat *const flat = (const struct flat *)base;
    struct dk_call call;
    struct route route;

    dotk_status status = dk_call_begin(base->context, &call);
    if (status != DOTK_OK)
        return status;
    status = route_begin(&route, flat, request, &call);
    if (status == DOTK_OK) {
        const char *why = "because there is nothing to score";
        if (strcmp(route.path, "few") == 0)
            why = "because few queries are bound by reading: each row is read once for all";
        else if (strcmp(route.path, "batch") == 0)
            why = "because many queries are bound by arithmetic: they are packed, and blocks of "
                  "rows pass under them";
        else if (route.screened && route.count < DK_PANEL)
            why = "because all are scored in f32: rows get codes by the 64, and there are fewer";
        else if (route.screened)
            why = base->screen == DOTK_SCREEN_INT4
                      ? "because the index has codes of four bits an element: rows that their "
                        "bound, which fails with probability delta, does not exclude are scored "
                        "in f32"
                      : "because the index has codes of a byte an element: rows that their bound "
                        "cannot exclude are scored in f32";
        snprintf(out, capacity,
                 "%s %s for %zu queries x %zu of %zu %s rows, k %zu, %zu at a time: %s", route.path,
                 route.kernel, request->n, route.passing, route.rows, dotk_store_name(base->store),
                 request->k, route.batch, why);
    }
    route_end(flat);
    dk_call_end(&call);
    return status;
}

const struct dk_index_ops dk_index_flat = {
    .name = "flat",
    .bytes = sizeof(struct flat),
    .init = flat_init,
    .release = flat_release,
    .add = flat_add,
    .update = flat_update,
    .remove = flat_remove,
    .reconstruct = flat_reconstruct,
    .search = flat_search,
    .range = flat_range,
    .plan = flat_plan,
};
