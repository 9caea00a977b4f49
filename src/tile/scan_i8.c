/*
 * scan_i8.c - a scan that reads codes and scores in f32 what their bounds cannot exclude
 *
 *     for each panel of 64 keys                       (codes: a quarter or an eighth of the bytes)
 *       for each 6 queries: bounds of 6 x 64 scores   (integer products, exact)
 *       a key whose bound is above a query's threshold waits, and is prefetched
 *     16 waiting keys of a query are scored in f32, in the defined order, and offered
 *
 * Codes are of a byte an element, or of four bits under a rotation (i8.h, i4.h): they differ in the
 * kernel, in how queries are encoded, and in what a bound promises.
 *
 * The threshold is that of the f32 scores found so far, so what is offered, and with it the
 * answer, is what the plain scan finds, bit for bit. Lists of waiting keys live as long as the
 * scan: emptied after each task, they would be scored a few keys at a time, at the price of 16.
 *
 * Where many of a panel's bounds are above (the first keys; data that codes cannot tell apart) it
 * is scored in f32 as a whole, and so are the next panels: twice as many each time, up to 256,
 * before the codes are tried again, and half as many after a panel where they were of use. Under a
 * mask, panels of which few keys are left are scored so, too: a panel is screened as a whole, at
 * the price of 8 to 14 scores in f32. Keys behind the last whole panel have no codes, so that codes
 * are written once and never while they are read.
 */
#include "tile/waiting.h"

#include "codec/i4.h"
#include "codec/norm.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <math.h>
#include <stdatomic.h>

enum {
    SKIP_MOST = 256,
    TASK_BYTES = 4 << 20,
    FEW_QUERIES = 2, /* bound by reading alone */
    /*
     * How far ahead codes are prefetched (bench/ladder/search.md). One call of the kernel for each
     * panel leaves the machine's own prefetching enough to see; several do not.
     */
    AHEAD_BYTES_FEW = 8 << 10,
    AHEAD_BYTES_CALLS = 48 << 10,
    /*
     * A panel with more than one in so many pairs above is scored as a whole. A pair that waits
     * costs three to four times as much as one among many, but for few queries what costs is to
     * read the key, either way.
     */
    PAIRS_FEW = 2,
    PAIRS = 5,
    /* Keys of a panel that cost in f32 what screening the panel costs (bench/ladder/search.md) */
    SPARSE_FEW = 8,
    SPARSE_BATCH = 14,
    ENCODED_LEAST = 16, /* queries turned together */
};

static const double TASK_SECONDS = 2e-3; /* of arithmetic */
static const double PACE = 3;            /* integer products beside f32, roughly */

struct own {
    _Alignas(DK_LINE) float *threshold; /* of bounds, by query */
    struct dk_waiting *waiting;         /* by query */
    uint64_t *above;                    /* by query */
    uint64_t rescored;
    size_t skip, skip_next; /* panels to scan in f32; how many the next time */
};

struct screened {
    const struct dk_scan_job *job;
    const int8_t **query; /* codes of each query */
    struct dk_query_terms *terms;
    double *squared_norm;  /* of each query */
    _Atomic float *shared; /* of each query: no key with a bound below matters to anybody */
    struct own *own;       /* by slot */
    size_t slots;
    size_t sparse; /* the most keys of a panel that are scored sooner than screened */
    dk_screen_i8_fn *screen;
};

static bool
is_squared(const struct dk_scan *scan)
{
    return scan->score == DK_SCORE_L2;
}

/* The larger one; if either is a NaN, a. */
static float
larger(float a, float b)
{
    return b > a ? b : a;
}

/*
 * A score that ties with another participant's k-th may be the better one by its id: it passes, as
 * no score of at least the threshold has a bound below. Two who store at once may leave the lower
 * number, which is as right.
 */
static void
update_threshold(const struct screened *screened, size_t slot, size_t q)
{
    const struct dk_scan *const scan = screened->job->scan;
    const float *const threshold = scan->epilogue->thresholds(scan->epilogue, slot);
    const float shared = atomic_load_explicit(&screened->shared[q], memory_order_relaxed);
    const float own = dk_i8_threshold(threshold[q], scan->dim, is_squared(scan),
                                      dk_roundings(scan->dim), screened->squared_norm[q]);

    if (own > shared)
        atomic_store_explicit(&screened->shared[q], own, memory_order_relaxed);
    screened->own[slot].threshold[q] = larger(own, shared);
}

/* Takes over what the other participants have found. */
static void
share_thresholds(const struct screened *screened, struct own *own)
{
    for (size_t q = 0; q < screened->job->scan->query_count; q++)
        own->threshold[q] = larger(
            own->threshold[q], atomic_load_explicit(&screened->shared[q], memory_order_relaxed));
}

static void
score_waiting(const struct screened *screened, size_t slot, size_t q)
{
    struct own *const own = &screened->own[slot];

    own->rescored += own->waiting[q].count;
    if (dk_waiting_score(&own->waiting[q], screened->job, slot, q, 1, NULL, 0) > 0)
        update_threshold(screened, slot, q);
}

static void
score_all_waiting(const struct screened *screened, size_t slot)
{
    for (size_t q = 0; q < screened->job->scan->query_count; q++)
        score_waiting(screened, slot, q);
}

/* Bounds of one panel and every query, into own->above. */
static void
screen_panel(const struct screened *screened, struct own *own, size_t panel)
{
    const struct dk_scan_job *const job = screened->job;
    const struct dk_scan *const scan = job->scan;
    const struct dk_codes_i8 *const codes = scan->codes;
    const size_t bytes = dk_codes_panel_bytes(codes);
    const size_t calls = (scan->query_count + DK_I8_QUERIES - 1) / DK_I8_QUERIES;
    const size_t together = (scan->query_count + calls - 1) / calls;
    const size_t panels = scan->count / DK_PANEL, all = panels * bytes;
    const size_t lines = (bytes / DK_LINE + calls - 1) / calls; /* prefetched by each call */
    const bool few = scan->query_count <= FEW_QUERIES;
    size_t ahead = few || calls > 1
                       ? dk_min(all, panel * bytes + (few ? AHEAD_BYTES_FEW : AHEAD_BYTES_CALLS))
                       : all;
    struct dk_screen_i8 args = {
        .codes = codes->codes + panel * bytes,
        .groups = bytes / (DK_PANEL * DK_I8_GROUP),
        .key = &codes->keys[panel],
    };

    if (panel + 1 < panels)
        dk_prefetch(&codes->keys[panel + 1], sizeof *codes->keys);
    for (size_t q = 0; q < scan->query_count; q += args.queries) {
        args.queries = dk_min(together, scan->query_count - q);
        args.query = screened->query + q;
        args.term = screened->terms + q;
        args.threshold = own->threshold + q;
        args.above = own->above + q;
        args.ahead = (const char *)codes->codes + ahead;
        args.ahead_lines = dk_min(lines, (all - ahead) / DK_LINE);
        ahead += args.ahead_lines * DK_LINE;
        screened->screen(&args);
    }
}

/* Leaves the bits of 'keys' in own->above; returns how many there are, for all queries. */
static size_t
count_above(struct own *own, size_t queries, uint64_t keys)
{
    size_t passed = 0;

    for (size_t q = 0; q < queries; q++) {
        own->above[q] &= keys;
        passed += (size_t)__builtin_popcountll(own->above[q]);
    }
    return passed;
}

/* Puts the keys of own->above, counted from 'start', on the lists. */
static void
let_wait(const struct screened *screened, size_t slot, size_t start)
{
    const struct dk_scan *const scan = screened->job->scan;
    struct own *const own = &screened->own[slot];

    for (size_t q = 0; q < scan->query_count; q++) {
        struct dk_waiting *const waiting = &own->waiting[q];
        for (uint64_t above = own->above[q]; above != 0; above &= above - 1) {
            const size_t position = start + (size_t)__builtin_ctzll(above);
            if (scan->store != DOTK_STORE_INT8) /* else it is one of these codes */
                dk_prefetch(dk_scan_key(scan, position), dk_scan_key_bytes(scan));
            waiting->position[waiting->count] = position;
            if (++waiting->count == DK_FEW_ROWS)
                score_waiting(screened, slot, q);
        }
    }
}

/* Scores keys start .. end - 1, from a panel's first on, in f32. */
static void
score_rows(const struct screened *screened, size_t slot, size_t start, size_t end)
{
    const struct dk_scan *const scan = screened->job->scan;
    size_t keys = 0;

    score_all_waiting(screened, slot); /* keys are offered in order */
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
    const size_t limit = scan->query_count <= FEW_QUERIES ? PAIRS_FEW : PAIRS;
    const size_t first = screened->job->task_start[task];
    const size_t end = screened->job->task_start[task + 1];
    size_t next;

    for (size_t start = first; start < end; start = next) {
        next = dk_min(end, start + dk_max(1, own->skip) * DK_PANEL);
        if (own->skip > 0) {
            own->skip -= (next - start + DK_PANEL - 1) / DK_PANEL;
            score_rows(screened, slot, start, next);
            continue;
        }
        const uint64_t keys = dk_scan_keys(scan, start, end);
        if (keys == 0)
            continue;
        /* the last panel has no codes before it is full */
        if (scan->count - start < DK_PANEL || is_sparse(keys, screened->sparse)) {
            next = sparse_end(screened, next, end);
            score_rows(screened, slot, start, next);
            continue;
        }
        if (screened->slots > 1)
            share_thresholds(screened, own);
        screen_panel(screened, own, start / DK_PANEL);
        const size_t passed = count_above(own, scan->query_count, keys);
        if (limit * passed > (size_t)__builtin_popcountll(keys) * scan->query_count) {
            own->skip = own->skip_next;
            own->skip_next = dk_min(SKIP_MOST, 2 * own->skip_next);
            next = start; /* again, in f32 */
        } else {
            own->skip_next = dk_max(1, own->skip_next / 2);
            let_wait(screened, slot, start);
        }
    }
}

static bool
own_init(struct own *own, struct dk_call *call, size_t queries)
{
    own->threshold = dk_call_alloc(call, queries, sizeof *own->threshold);
    own->waiting = dk_call_alloc(call, queries, sizeof *own->waiting);
    own->above = dk_call_alloc(call, queries, sizeof *own->above);
    if (own->threshold == NULL || own->waiting == NULL || own->above == NULL)
        return false;
    for (size_t q = 0; q < queries; q++)
        own->waiting[q].count = 0;
    own->rescored = 0;
    own->skip = 0;
    own->skip_next = 1;
    return true;
}

/* Codes and terms of the queries, so many to a task. */
struct encoding {
    struct screened *screened;
    size_t together, padded; /* bytes of the codes of one */
    int8_t *codes;
    float **room; /* by slot, for codes of four bits */
};

static void
encode_task(void *arg, size_t task, size_t slot)
{
    const struct encoding *const encoding = arg;
    const struct screened *const screened = encoding->screened;
    const struct dk_scan *const scan = screened->job->scan;
    const struct dk_i4 *const i4 = scan->codes->i4;
    const double roundings = dk_roundings(scan->dim);
    const size_t first = task * encoding->together;
    const size_t end = dk_min(scan->query_count, first + encoding->together);

    for (size_t q = first; q < end; q++) {
        const float *const query = scan->queries + q * scan->query_stride;
        int8_t *const codes = encoding->codes + q * encoding->padded;
        screened->query[q] = codes;
        screened->squared_norm[q] = dk_sum_of_squares(query, scan->dim);
        if (i4 == NULL)
            dk_i8_encode_query(query, scan->dim, is_squared(scan), roundings, codes,
                               &screened->terms[q]);
    }
    if (i4 != NULL)
        dk_i4_encode_queries(i4, scan->count, scan->queries + first * scan->query_stride,
                             scan->query_stride, end - first, is_squared(scan), roundings,
                             encoding->room[slot], encoding->codes + first * encoding->padded,
                             screened->terms + first);
}

/* Queries that one task encodes: a rotation is best done for 64, at least for 16. */
static size_t
encoded_together(const struct dk_call *call, const struct dk_scan *scan)
{
    const double flop = 2.0 * (double)scan->dim * (double)scan->dim;
    const double by_time = TASK_SECONDS * call->kernels->pace / flop;
    const size_t even = dk_round_up((scan->query_count - 1) / call->slots + 1, ENCODED_LEAST);

    if (scan->codes->i4 == NULL || by_time >= DK_PANEL)
        return dk_min(DK_PANEL, even);
    return dk_min(dk_max(ENCODED_LEAST, (size_t)by_time / ENCODED_LEAST * ENCODED_LEAST), even);
}

/* Codes and terms of every query, in a run of its own, and thresholds for every slot. */
static dotk_status
encode_queries(struct dk_call *call, struct screened *screened)
{
    const struct dk_scan *const scan = screened->job->scan;
    const struct dk_i4 *const i4 = scan->codes->i4;
    const size_t queries = scan->query_count, weight = call->weight;
    struct encoding encoding = {
        .screened = screened,
        .together = encoded_together(call, scan),
        .padded = dk_round_up(scan->dim, DK_I4_GROUP),
    };
    const size_t room = i4 != NULL ? dk_i4_room(i4, dk_min(queries, encoding.together)) : 0;

    encoding.codes = dk_call_alloc(call, queries, encoding.padded);
    encoding.room = dk_call_alloc(call, call->slots, sizeof *encoding.room);
    bool ok = encoding.codes != NULL && encoding.room != NULL;
    for (size_t slot = 0; ok && slot < call->slots; slot++) {
        encoding.room[slot] = room > 0 ? dk_call_alloc(call, room, sizeof(float)) : NULL;
        ok = room == 0 || encoding.room[slot] != NULL;
    }
    if (!ok)
        return dk_fail_memory(queries * encoding.padded + call->slots * room * sizeof(float),
                              "codes of queries");
    call->weight = 1;
    const dotk_status status = dk_call_run(call, (queries - 1) / encoding.together + 1, encode_task,
                                           &encoding);
    call->part++;
    call->weight = weight;
    for (size_t q = 0; status == DOTK_OK && q < queries; q++) {
        atomic_init(&screened->shared[q], -INFINITY);
        for (size_t slot = 0; slot < screened->slots; slot++)
            update_threshold(screened, slot, q);
    }
    return status;
}

dotk_status
dk_scan_i8_run(struct dk_call *call, struct dk_scan_job *job)
{
    const struct dk_scan *const scan = job->scan;
    const size_t queries = scan->query_count;
    struct screened screened = {
        .job = job,
        .slots = call->slots,
        .sparse = scan->query_count <= DK_FEW_QUERIES ? SPARSE_FEW : SPARSE_BATCH,
        .screen = scan->codes->i4 != NULL ? call->kernels->screen_i4 : call->kernels->screen_i8,
    };

    screened.query = dk_call_alloc(call, queries, sizeof *screened.query);
    screened.terms = dk_call_alloc(call, queries, sizeof *screened.terms);
    screened.squared_norm = dk_call_alloc(call, queries, sizeof *screened.squared_norm);
    screened.shared = dk_call_alloc(call, queries, sizeof *screened.shared);
    screened.own = dk_call_alloc(call, call->slots, sizeof *screened.own);
    bool ok = screened.query != NULL && screened.terms != NULL && screened.squared_norm != NULL &&
              screened.shared != NULL && screened.own != NULL;
    for (size_t slot = 0; ok && slot < call->slots; slot++)
        ok = own_init(&screened.own[slot], call, queries);
    if (!ok)
        return dk_fail_memory(queries * sizeof *screened.terms, "terms of queries");
    dotk_status status = encode_queries(call, &screened);
    if (status != DOTK_OK)
        return status;

    const double flop = 2.0 * (double)scan->dim * (double)queries * DK_PANEL;
    const double by_time = fmin(TASK_SECONDS * PACE * call->kernels->pace / flop,
                                TASK_BYTES / (double)dk_codes_panel_bytes(scan->codes));
    const double most = by_time * (double)(scan->mask == NULL ? DK_PANEL : screened.sparse);
    status = dk_scan_cut(call, job, most, DK_PANEL, screened.sparse);
    if (status == DOTK_OK)
        status = dk_call_run(call, job->tasks, screened_task, &screened);
    for (size_t slot = 0; slot < call->slots; slot++) {
        if (status == DOTK_OK)
            score_all_waiting(&screened, slot);
        *scan->rescored += screened.own[slot].rescored;
    }
    return status;
}
