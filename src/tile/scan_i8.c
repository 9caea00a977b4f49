/*
 * scan_i8.c - a scan that reads a byte an element and scores in f32 what that cannot exclude
 *
 *     for each panel of 64 keys                       (codes: a quarter of the bytes)
 *       for each 6 queries: bounds of 6 x 64 scores   (integer products, exact)
 *         a key whose bound is above the query's threshold waits
 *     16 waiting keys of a query are scored in f32, in the defined order, and offered
 *
 * The threshold is that of the f32 scores found so far, so what is offered, and with it the
 * answer, is what the plain scan finds, bit for bit. Where more than half of a panel's bounds are
 * above (the first keys; data that codes cannot tell apart), the next panels are scanned in f32 at
 * once: twice as many each time, up to 256, before the codes are tried again. Keys behind the last
 * whole panel have no codes, so that codes are written once and never while they are read.
 */
#include "tile/scan.h"

#include "codec/norm.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <math.h>

enum {
    SKIP_MOST = 256,
    TASK_BYTES = 4 << 20,
    FEW_QUERIES = 2,           /* bound by reading alone     */
    AHEAD_BYTES_FEW = 4 << 10, /* how far codes are prefetched */
    AHEAD_BYTES = 12 << 10,
    /* Keys of a panel that cost in f32 what screening the panel costs (bench/ladder/search.md) */
    SPARSE_FEW = 8,
    SPARSE_BATCH = 14,
};

static const double TASK_SECONDS = 2e-3; /* of arithmetic */
static const double PACE = 3;            /* integer products beside f32, roughly */

/* What one participant keeps for each query. */
struct waiting {
    uint32_t count;
    uint32_t position[DK_FEW_ROWS]; /* counted from the task's first key */
};

struct own {
    _Alignas(DK_LINE) struct dk_query_terms *terms; /* with this slot's thresholds */
    struct waiting *waiting;
    uint64_t *above; /* of a call's queries */
    uint64_t rescored;
    size_t skip, skip_next; /* panels to scan in f32; how many the next time */
};

struct screened {
    const struct dk_scan_job *job;
    const int8_t **query; /* codes of each query */
    double *squared_norm; /* of each query */
    struct own *own;      /* by slot */
    size_t sparse;        /* the most keys of a panel that are scored sooner than screened */
};

static bool
is_squared(const struct dk_scan *scan)
{
    return scan->score == DK_SCORE_L2;
}

static void
update_threshold(const struct screened *screened, size_t slot, size_t q)
{
    const struct dk_scan *const scan = screened->job->scan;
    const float *const threshold = scan->epilogue->thresholds(scan->epilogue, slot);

    screened->own[slot].terms[q].threshold = dk_i8_threshold(
        threshold[q], scan->dim, is_squared(scan), dk_scan_roundings(scan->dim),
        screened->squared_norm[q]);
}

/* Scores a query's waiting keys in the defined order and offers them. */
static void
score_waiting(const struct screened *screened, size_t slot, size_t q, size_t first)
{
    const struct dk_scan *const scan = screened->job->scan;
    struct dk_scan_epilogue *const epilogue = scan->epilogue;
    struct waiting *const waiting = &screened->own[slot].waiting[q];
    const float *const query = scan->queries + q * scan->query_stride;
    size_t position[DK_FEW_ROWS];
    const float *row[DK_FEW_ROWS];
    _Alignas(DK_LINE) float score[1][DK_FEW_ROWS];

    if (waiting->count == 0)
        return;
    for (size_t i = 0; i < waiting->count; i++)
        position[i] = first + waiting->position[i];
    dk_scan_load_few(screened->job, slot, position, waiting->count, row);
    for (size_t i = waiting->count; i < DK_FEW_ROWS; i++)
        row[i] = row[0];
    screened->job->kernels->few_f32[scan->score](&(struct dk_few_f32){
        .query = &query,
        .queries = 1,
        .dim = scan->dim,
        .row = row,
        .score = score,
    });
    const float *const threshold = epilogue->thresholds(epilogue, slot);
    for (size_t i = 0; i < waiting->count; i++) {
        if (score[0][i] > threshold[q])
            epilogue->take(epilogue, slot, q, position[i], score[0][i]);
    }
    screened->own[slot].rescored += waiting->count;
    waiting->count = 0;
    update_threshold(screened, slot, q);
}

static void
score_all_waiting(const struct screened *screened, size_t slot, size_t first)
{
    for (size_t q = 0; q < screened->job->scan->query_count; q++)
        score_waiting(screened, slot, q, first);
}

/* Screens one panel against every query; returns how many pairs passed. */
static size_t
screen_panel(const struct screened *screened, size_t slot, size_t panel, uint64_t keys,
             size_t first)
{
    const struct dk_scan_job *const job = screened->job;
    const struct dk_scan *const scan = job->scan;
    struct own *const own = &screened->own[slot];
    const size_t bytes = dk_i8_panel_bytes(scan->dim);
    const uint8_t *const codes = scan->codes->codes + panel * bytes;
    const size_t offset = panel * DK_PANEL - first;
    const size_t calls = (scan->query_count + DK_I8_QUERIES - 1) / DK_I8_QUERIES;
    const size_t together = (scan->query_count + calls - 1) / calls;
    const size_t all = (scan->count + DK_PANEL - 1) / DK_PANEL * bytes;
    const size_t lines = (bytes / DK_LINE + calls - 1) / calls; /* prefetched by each call */
    size_t ahead = panel * bytes +
                   (scan->query_count <= FEW_QUERIES ? AHEAD_BYTES_FEW : AHEAD_BYTES);
    struct dk_screen_i8 args = {
        .codes = codes,
        .groups = bytes / (DK_PANEL * DK_I8_GROUP),
        .key = &scan->codes->keys[panel],
        .above = own->above,
    };
    size_t passed = 0;

    for (size_t q = 0; q < scan->query_count; q += args.queries) {
        args.queries = dk_min(together, scan->query_count - q);
        args.query = screened->query + q;
        args.term = own->terms + q;
        args.ahead = (const char *)scan->codes->codes + dk_min(ahead, all);
        args.ahead_lines = dk_min(lines, (all - dk_min(ahead, all)) / DK_LINE);
        ahead += lines * DK_LINE;
        job->kernels->screen_i8(&args);
        for (size_t i = 0; i < args.queries; i++) {
            uint64_t above = own->above[i] & keys;
            struct waiting *const waiting = &own->waiting[q + i];
            for (; above != 0; above &= above - 1) {
                waiting->position[waiting->count] = (uint32_t)offset +
                                                    (uint32_t)__builtin_ctzll(above);
                passed++;
                if (++waiting->count == DK_FEW_ROWS)
                    score_waiting(screened, slot, q + i, first);
            }
        }
    }
    return passed;
}

/* Scores keys start .. end - 1, from a panel's first on, in f32. */
static void
score_rows(const struct screened *screened, size_t slot, size_t start, size_t end)
{
    const struct dk_scan *const scan = screened->job->scan;
    size_t keys = 0;

    screened->job->rows(screened->job, slot, start, end);
    for (size_t position = start; position < end; position += DK_PANEL)
        keys += (size_t)__builtin_popcountll(dk_scan_keys(scan, position, end));
    screened->own[slot].rescored += keys * scan->query_count;
    for (size_t q = 0; q < scan->query_count; q++)
        update_threshold(screened, slot, q);
}

static bool
is_sparse(uint64_t keys, size_t most)
{
    return (size_t)__builtin_popcountll(keys) <= most;
}

/* Where a run of sparse panels ends: a little denser ones do not cut it into pieces. */
static size_t
sparse_end(const struct screened *screened, size_t start, size_t end)
{
    const struct dk_scan *const scan = screened->job->scan;

    while (start < end &&
           is_sparse(dk_scan_keys(scan, start, end), screened->sparse + screened->sparse / 2))
        start = dk_min(end, start + DK_PANEL);
    return start;
}

static void
screened_task(void *arg, size_t task, size_t slot)
{
    const struct screened *const screened = arg;
    const struct dk_scan *const scan = screened->job->scan;
    struct own *const own = &screened->own[slot];
    const size_t first = screened->job->task_start[task];
    const size_t end = screened->job->task_start[task + 1];
    size_t next;

    for (size_t start = first; start < end; start = next) {
        next = dk_min(end, start + DK_PANEL);
        if (own->skip > 0) {
            next = dk_min(end, start + own->skip * DK_PANEL);
            own->skip -= (next - start + DK_PANEL - 1) / DK_PANEL;
            score_all_waiting(screened, slot, first);
            score_rows(screened, slot, start, next);
            continue;
        }
        const uint64_t keys = dk_scan_keys(scan, start, end);
        if (keys == 0)
            continue;
        /* the last panel has no codes before it is full */
        if (scan->count - start < DK_PANEL || is_sparse(keys, screened->sparse)) {
            next = sparse_end(screened, next, end);
            score_all_waiting(screened, slot, first);
            score_rows(screened, slot, start, next);
            continue;
        }
        const size_t passed = screen_panel(screened, slot, start / DK_PANEL, keys, first);
        const size_t pairs = (size_t)__builtin_popcountll(keys) * scan->query_count;
        if (2 * passed > pairs) {
            own->skip = own->skip_next;
            own->skip_next = dk_min(SKIP_MOST, 2 * own->skip_next);
        } else {
            own->skip_next = 1;
        }
    }
    score_all_waiting(screened, slot, first);
}

static bool
own_init(struct own *own, struct dk_call *call, size_t queries)
{
    own->terms = dk_call_alloc(call, queries, sizeof *own->terms);
    own->waiting = dk_call_alloc(call, queries, sizeof *own->waiting);
    own->above = dk_call_alloc(call, DK_I8_QUERIES, sizeof *own->above);
    if (own->terms == NULL || own->waiting == NULL || own->above == NULL)
        return false;
    for (size_t q = 0; q < queries; q++)
        own->waiting[q].count = 0;
    own->rescored = 0;
    own->skip = 0;
    own->skip_next = 1;
    return true;
}

/* Codes and terms of every query, terms for every slot. */
static void
encode_queries(struct screened *screened, size_t slots, int8_t *codes, size_t padded)
{
    const struct dk_scan *const scan = screened->job->scan;

    for (size_t q = 0; q < scan->query_count; q++) {
        const float *const query = scan->queries + q * scan->query_stride;
        struct dk_query_terms terms = {0};
        screened->query[q] = codes + q * padded;
        screened->squared_norm[q] = dk_sum_of_squares(query, scan->dim);
        dk_i8_encode_query(query, scan->dim, is_squared(scan), dk_scan_roundings(scan->dim),
                           codes + q * padded, &terms);
        for (size_t slot = 0; slot < slots; slot++) {
            screened->own[slot].terms[q] = terms;
            update_threshold(screened, slot, q);
        }
    }
}

dotk_status
dk_scan_i8_run(struct dk_call *call, struct dk_scan_job *job)
{
    const struct dk_scan *const scan = job->scan;
    const size_t queries = scan->query_count, padded = dk_round_up(scan->dim, DK_I8_GROUP);
    struct screened screened = {
        .job = job,
        .sparse = scan->query_count <= DK_FEW_QUERIES ? SPARSE_FEW : SPARSE_BATCH,
    };

    int8_t *const codes = dk_call_alloc(call, queries, padded);
    screened.query = dk_call_alloc(call, queries, sizeof *screened.query);
    screened.squared_norm = dk_call_alloc(call, queries, sizeof *screened.squared_norm);
    screened.own = dk_call_alloc(call, call->slots, sizeof *screened.own);
    bool ok = codes != NULL && screened.query != NULL && screened.squared_norm != NULL &&
              screened.own != NULL;
    for (size_t slot = 0; ok && slot < call->slots; slot++)
        ok = own_init(&screened.own[slot], call, queries);
    if (!ok)
        return dk_fail_memory(queries * padded, "codes of queries");
    encode_queries(&screened, call->slots, codes, padded);

    const double flop = 2.0 * (double)scan->dim * (double)queries * DK_PANEL;
    const double by_time = fmin(TASK_SECONDS * PACE * call->kernels->pace / flop,
                                TASK_BYTES / ((double)scan->dim * DK_PANEL));
    const double most = by_time * (double)(scan->mask == NULL ? DK_PANEL : screened.sparse);
    dotk_status status = dk_scan_cut(call, job, most, DK_PANEL, screened.sparse);
    if (status == DOTK_OK)
        status = dk_call_run(call, job->tasks, screened_task, &screened);
    for (size_t slot = 0; slot < call->slots; slot++)
        *scan->rescored += screened.own[slot].rescored;
    return status;
}
