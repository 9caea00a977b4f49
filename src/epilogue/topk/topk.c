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

enum { TASK_HITS = 1 << 16 }; /* that one task merges and sorts: some milliseconds */

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

struct finish {
    const struct dk_topk *topk;
    size_t task_queries;
};

/* Some queries: every slot's list into slot 0's. */
static void
finish_task(void *arg, size_t task, size_t slot)
{
    const struct finish *const finish = arg;
    const struct dk_topk *const topk = finish->topk;
    const size_t end = dk_min(topk->queries, (task + 1) * finish->task_queries);

    (void)slot;
    for (size_t q = task * finish->task_queries; q < end; q++) {
        struct dk_hit *const list = topk->slot[0].hits + q * topk->k;
        size_t *const filled = &topk->slot[0].filled[q];

        for (size_t s = 1; s < topk->slots; s++) {
            const struct dk_hit *const other = topk->slot[s].hits + q * topk->k;
            for (size_t i = 0; i < topk->slot[s].filled[q]; i++)
                offer(list, topk->k, filled, other[i]);
        }
        dk_hits_sort(list, *filled);
    }
}

/* Queries whose lists one task merges and sorts. */
static size_t
task_queries(size_t slots, size_t k)
{
    const size_t entries = dk_topk_query_bytes(slots, k) / sizeof(struct dk_hit);
    return TASK_HITS / dk_min(TASK_HITS, entries);
}

bool
dk_topk_finish_shared(size_t slots, size_t queries, size_t k)
{
    return queries > task_queries(slots, k);
}

dotk_status
dk_topk_finish(struct dk_topk *topk, struct dk_call *call, bool shared)
{
    struct finish finish = {topk, shared ? task_queries(topk->slots, topk->k) : topk->queries};

    if (shared)
        return dk_call_run(call, (topk->queries - 1) / finish.task_queries + 1, finish_task,
                           &finish);
    finish_task(&finish, 0, 0);
    return DOTK_OK;
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
