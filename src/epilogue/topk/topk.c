/*
 * topk.c - bounded heaps, one for each slot and query
 *
 * A list is filled in the order of arrival and becomes a heap, the worst hit on top, when it
 * has k entries; from then on the worst hit's score is the threshold, and what the scan offers
 * is better.
 *
 * Ties: a slot sees positions in ascending order. Where ids ascend with them, a later key never
 * wins a tie, so "strictly above the worst score" is the exact test. Where they do not, the
 * threshold is one step lower and the order of hits decides.
 *
 * The textbook's reservoir (collect 2 k, then select) was not needed: with k = 10 a replacement
 * costs a few nanoseconds, and random data needs only some k ln(n / k) of them.
 */
#include "epilogue/topk/topk.h"

#include <math.h>

/* A line of its own for each slot, so that threads do not write to one line in turns. */
struct dk_topk_slot {
    _Alignas(DK_LINE) float *threshold; /* by query, to a multiple of 64 */
    size_t *filled;                     /* by query */
    struct dk_hit *hits;                /* k for each query */
    uint64_t candidates;
};

enum { TASK_HITS = 1 << 16 }; /* that one task merges or sorts: milliseconds up to k = 1 million */

static float *
thresholds(struct dk_scan_epilogue *epilogue, size_t slot)
{
    return ((struct dk_topk *)epilogue)->slot[slot].threshold;
}

/* Adds a hit to a list of which *n of k places are filled. */
static inline void
offer(struct dk_hit *list, size_t k, size_t *n, struct dk_hit hit)
{
    if (*n == k) {
        if (dk_hit_better(hit, list[0]))
            dk_heap_sink(list, k, 0, hit);
        return;
    }
    list[(*n)++] = hit;
    if (*n == k)
        dk_heap_build(list, k);
}

static void
take(struct dk_scan_epilogue *epilogue, size_t slot, size_t query, size_t position, float score)
{
    const struct dk_topk *const topk = (const struct dk_topk *)epilogue;
    struct dk_topk_slot *const own = &topk->slot[slot];
    struct dk_hit *const list = own->hits + query * topk->k;
    const int64_t id = topk->ids != NULL ? topk->ids[position] : (int64_t)position;

    own->candidates++;
    offer(list, topk->k, &own->filled[query], (struct dk_hit){id, score});
    if (own->filled[query] == topk->k)
        own->threshold[query] = topk->ascending ? list[0].score
                                                : nextafterf(list[0].score, -INFINITY);
}

size_t
dk_topk_query_bytes(size_t slots, size_t k)
{
    size_t bytes;
    return dk_mul(slots, k, &bytes) && dk_mul(bytes, sizeof(struct dk_hit), &bytes) ? bytes
                                                                                    : SIZE_MAX;
}

static bool
slot_init(struct dk_topk_slot *slot, struct dk_call *call, size_t queries, size_t k)
{
    const size_t padded = dk_round_up(queries, DK_PANEL);
    size_t hits;

    slot->candidates = 0;
    slot->threshold = dk_call_alloc(call, padded, sizeof *slot->threshold);
    slot->filled = dk_call_alloc(call, queries, sizeof *slot->filled);
    slot->hits = dk_mul(queries, k, &hits) ? dk_call_alloc(call, hits, sizeof *slot->hits) : NULL;
    if (slot->threshold == NULL || slot->filled == NULL || slot->hits == NULL)
        return false;
    for (size_t q = 0; q < padded; q++)
        slot->threshold[q] = q < queries ? -INFINITY : INFINITY;
    for (size_t q = 0; q < queries; q++)
        slot->filled[q] = 0;
    return true;
}

dotk_status
dk_topk_init(struct dk_topk *topk, struct dk_call *call, size_t queries, size_t k,
             const int64_t *ids, bool ascending)
{
    *topk = (struct dk_topk){
        .epilogue = {thresholds, take},
        .queries = queries,
        .k = k,
        .slots = call->slots,
        .ids = ids,
        .ascending = ascending,
    };
    topk->slot = dk_call_alloc(call, topk->slots, sizeof *topk->slot);
    bool ok = topk->slot != NULL;
    for (size_t s = 0; ok && s < topk->slots; s++)
        ok = slot_init(&topk->slot[s], call, queries, k);
    if (!ok)
        return dk_fail(DOTK_NO_MEMORY,
                       "the lists of %zu queries, k %zu, could not be allocated: ask for a smaller "
                       "k or fewer threads",
                       queries, k);
    return DOTK_OK;
}

/*
 * The work of finishing one query, counted in hits: (slots - 1) k to merge, then k to sort. A run
 * does steps first .. end - 1 for every query, so that long lists, too, are done in short tasks.
 * (Making a heap of a list is one piece: half a second for 10 million hits.)
 */
struct finish {
    const struct dk_topk *topk;
    size_t task_queries;
    size_t first, end;
};

/* Offers slot 0's list the hits that steps first .. end - 1 stand for. */
static void
merge(const struct dk_topk *topk, size_t q, size_t first, size_t end)
{
    struct dk_hit *const list = topk->slot[0].hits + q * topk->k;

    for (size_t s = 1 + first / topk->k; s < topk->slots && (s - 1) * topk->k < end; s++) {
        const struct dk_hit *const other = topk->slot[s].hits + q * topk->k;
        const size_t start = (s - 1) * topk->k;
        const size_t stop = dk_min(end - start, topk->slot[s].filled[q]);
        for (size_t i = first > start ? first - start : 0; i < stop; i++)
            offer(list, topk->k, &topk->slot[0].filled[q], other[i]);
    }
}

static void
finish_query(const struct finish *finish, size_t q)
{
    const struct dk_topk *const topk = finish->topk;
    const size_t merged = (topk->slots - 1) * topk->k, first = finish->first, end = finish->end;

    merge(topk, q, first, dk_min(end, merged));
    if (end <= merged)
        return;
    struct dk_hit *const list = topk->slot[0].hits + q * topk->k;
    const size_t filled = topk->slot[0].filled[q];
    if (first <= merged && filled < topk->k) /* a full list is a heap already */
        dk_heap_build(list, filled);
    const size_t before = first > merged ? first - merged : 0, after = end - merged;
    dk_heap_sort(list, before < filled ? filled - before : 0, after < filled ? filled - after : 1);
}

static void
finish_task(void *arg, size_t task, size_t slot)
{
    const struct finish *const finish = arg;
    const size_t end = dk_min(finish->topk->queries, (task + 1) * finish->task_queries);

    (void)slot;
    for (size_t q = task * finish->task_queries; q < end; q++)
        finish_query(finish, q);
}

/* Queries whose lists one task merges and sorts. */
static size_t
task_queries(size_t slots, size_t k)
{
    const size_t entries = dk_topk_query_bytes(slots, k) / sizeof(struct dk_hit);
    return TASK_HITS / dk_min(TASK_HITS, entries);
}

size_t
dk_topk_finish_runs(size_t slots, size_t queries, size_t k)
{
    const size_t entries = dk_topk_query_bytes(slots, k) / sizeof(struct dk_hit);

    if (entries <= TASK_HITS && queries <= task_queries(slots, k))
        return 0;
    return (entries - 1) / TASK_HITS + 1;
}

dotk_status
dk_topk_finish(struct dk_topk *topk, struct dk_call *call, size_t runs)
{
    const size_t steps = topk->slots * topk->k, most = (steps - 1) / dk_max(1, runs) + 1;
    struct finish finish = {.topk = topk, .task_queries = topk->queries, .end = steps};
    dotk_status status = DOTK_OK;

    if (runs == 0) {
        finish_task(&finish, 0, 0);
        return DOTK_OK;
    }
    finish.task_queries = task_queries(topk->slots, topk->k);
    const size_t tasks = (topk->queries - 1) / finish.task_queries + 1;
    for (size_t run = 0; status == DOTK_OK && run < runs; run++) {
        finish.first = dk_min(steps, run * most);
        finish.end = dk_min(steps, finish.first + most);
        call->part++;
        status = dk_call_run(call, tasks, finish_task, &finish);
    }
    return status;
}

const struct dk_hit *
dk_topk_hits(const struct dk_topk *topk, size_t query, size_t *count)
{
    *count = topk->slot[0].filled[query];
    return topk->slot[0].hits + query * topk->k;
}

uint64_t
dk_topk_candidates(const struct dk_topk *topk)
{
    uint64_t candidates = 0;

    for (size_t s = 0; s < topk->slots; s++)
        candidates += topk->slot[s].candidates;
    return candidates;
}
