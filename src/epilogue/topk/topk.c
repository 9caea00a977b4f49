/*
 * topk.c - the k best so far, for each slot and query
 *
 * Up to HEAP_MOST a list is a heap with the worst hit on top: once it has k entries the worst one's
 * score is the threshold, and what the scan offers is better and replaces it. A larger k is a
 * reservoir: hits are appended up to 2 k, the k best of them are selected, and the worst of those
 * is the threshold until the next time. That takes a few nanoseconds a hit where a heap of 10,000
 * took 200, but lets 1.4 times as many through, k log2(n / k) instead of k ln(n / k), which costs
 * more than the heap where k is small. A list never has room for more than the hits there can be:
 * at k = n nothing is selected, and all is sorted in the end. (bench/ladder/search.md)
 *
 * Ties: a slot sees positions in ascending order. Where ids ascend with them, a later key never
 * wins a tie, so "strictly above the worst score" is the exact test. Where they do not, the
 * threshold is one step lower and the order of hits decides.
 */
#include "epilogue/topk/topk.h"

#include <math.h>

/* A line of its own for each slot, so that threads do not write to one line in turns. */
struct dk_topk_slot {
    _Alignas(DK_LINE) float *threshold; /* by query, to a multiple of 64 */
    size_t *filled;                     /* by query */
    struct dk_hit *hits;                /* 'room' for each query */
    uint64_t candidates;
};

enum {
    HEAP_MOST = 64,
    TASK_HITS = 1 << 16, /* that one task merges or sorts: milliseconds up to k = 1 million */
};

static float *
thresholds(struct dk_scan_epilogue *epilogue, size_t slot)
{
    return ((struct dk_topk *)epilogue)->slot[slot].threshold;
}

/* Adds a hit to a list with *n hits; once it returns true hits[worst] is the worst of the k best.
 */
static inline bool
offer(const struct dk_topk *topk, struct dk_hit *list, size_t *n, struct dk_hit hit)
{
    if (topk->heap && *n == topk->k) {
        if (dk_hit_better(hit, list[0]))
            dk_heap_sink(list, topk->k, 0, hit);
        return true;
    }
    list[(*n)++] = hit;
    if (*n < topk->room)
        return false;
    if (topk->heap)
        dk_heap_build(list, topk->k);
    else
        dk_hits_select(list, *n, topk->k);
    *n = topk->k;
    return true;
}

static void
take(struct dk_scan_epilogue *epilogue, size_t slot, size_t query, size_t position, float score)
{
    const struct dk_topk *const topk = (const struct dk_topk *)epilogue;
    struct dk_topk_slot *const own = &topk->slot[slot];
    struct dk_hit *const list = own->hits + query * topk->room;
    const int64_t id = topk->ids != NULL ? topk->ids[position] : (int64_t)position;

    own->candidates++;
    if (offer(topk, list, &own->filled[query], (struct dk_hit){id, score})) {
        const float worst = list[topk->heap ? 0 : topk->k - 1].score;
        own->threshold[query] = topk->ascending ? worst : nextafterf(worst, -INFINITY);
    }
}

/* Entries of one list: more than k where hits are appended before the best are selected. */
static size_t
room_for(size_t k, size_t most)
{
    if (k <= HEAP_MOST)
        return k;
    return k > most / 2 ? dk_max(k, most) + 1 : 2 * k;
}

size_t
dk_topk_query_bytes(size_t slots, size_t k, size_t most)
{
    size_t bytes;
    return dk_mul(slots, room_for(k, most), &bytes) && dk_mul(bytes, sizeof(struct dk_hit), &bytes)
               ? bytes
               : SIZE_MAX;
}

static bool
slot_init(struct dk_topk_slot *slot, struct dk_call *call, size_t queries, size_t room)
{
    const size_t padded = dk_round_up(queries, DK_PANEL);
    size_t hits;

    slot->candidates = 0;
    slot->threshold = dk_call_alloc(call, padded, sizeof *slot->threshold);
    slot->filled = dk_call_alloc(call, queries, sizeof *slot->filled);
    slot->hits = dk_mul(queries, room, &hits) ? dk_call_alloc(call, hits, sizeof *slot->hits)
                                              : NULL;
    if (slot->threshold == NULL || slot->filled == NULL || slot->hits == NULL)
        return false;
    for (size_t q = 0; q < padded; q++)
        slot->threshold[q] = q < queries ? -INFINITY : INFINITY;
    for (size_t q = 0; q < queries; q++)
        slot->filled[q] = 0;
    return true;
}

dotk_status
dk_topk_init(struct dk_topk *topk, struct dk_call *call, size_t queries, size_t k, size_t most,
             const int64_t *ids, bool ascending)
{
    *topk = (struct dk_topk){
        .epilogue = {thresholds, take},
        .queries = queries,
        .k = k,
        .room = room_for(k, most),
        .heap = k <= HEAP_MOST,
        .slots = call->slots,
        .ids = ids,
        .ascending = ascending,
    };
    topk->slot = dk_call_alloc(call, topk->slots, sizeof *topk->slot);
    bool ok = topk->slot != NULL;
    for (size_t s = 0; ok && s < topk->slots; s++)
        ok = slot_init(&topk->slot[s], call, queries, topk->room);
    if (!ok)
        return dk_fail(DOTK_NO_MEMORY,
                       "the lists of %zu queries, k %zu, could not be allocated: ask for a smaller "
                       "k or fewer threads",
                       queries, k);
    return DOTK_OK;
}

/*
 * The work of finishing one query, counted in hits: the other slots' lists to merge, then k to
 * sort. A run does steps first .. end - 1 for every query, so that long lists, too, are done in
 * short tasks. A run of sorting selects its part from all that is left, 10 ms for a million hits.
 */
struct finish {
    const struct dk_topk *topk;
    size_t task_queries;
    size_t first, end;
};

static size_t
merge_steps(const struct dk_topk *topk)
{
    return (topk->slots - 1) * topk->room;
}

/* Offers slot 0's list the hits that steps first .. end - 1 stand for. */
static void
merge(const struct dk_topk *topk, size_t q, size_t first, size_t end)
{
    const size_t room = topk->room;
    struct dk_hit *const list = topk->slot[0].hits + q * room;

    for (size_t s = 1 + first / room; s < topk->slots && (s - 1) * room < end; s++) {
        const struct dk_hit *const other = topk->slot[s].hits + q * room;
        const size_t start = (s - 1) * room;
        const size_t stop = dk_min(end - start, topk->slot[s].filled[q]);
        for (size_t i = first > start ? first - start : 0; i < stop; i++)
            offer(topk, list, &topk->slot[0].filled[q], other[i]);
    }
}

/* Sorts entries first .. end - 1 of what is left of a list from 'first' on. */
static void
sort_part(const struct dk_topk *topk, size_t q, size_t first, size_t end)
{
    struct dk_hit *const list = topk->slot[0].hits + q * topk->room;
    size_t *const filled = &topk->slot[0].filled[q];
    const size_t last = dk_min(end, dk_min(*filled, topk->k));

    if (last <= first)
        return;
    if (last < *filled)
        dk_hits_select(list + first, *filled - first, last - first);
    dk_hits_sort(list + first, last - first);
    if (end == topk->k)
        *filled = last;
}

static void
finish_query(const struct finish *finish, size_t q)
{
    const size_t merged = merge_steps(finish->topk), first = finish->first, end = finish->end;

    merge(finish->topk, q, first, dk_min(end, merged));
    if (end > merged)
        sort_part(finish->topk, q, first > merged ? first - merged : 0, end - merged);
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

static size_t
entries_of(size_t slots, size_t k, size_t most)
{
    return dk_topk_query_bytes(slots, k, most) / sizeof(struct dk_hit);
}

/* Queries whose lists one task merges and sorts. */
static size_t
task_queries(size_t entries)
{
    return TASK_HITS / dk_min(TASK_HITS, entries);
}

size_t
dk_topk_finish_runs(size_t slots, size_t queries, size_t k, size_t most)
{
    const size_t entries = entries_of(slots, k, most);

    if (entries <= TASK_HITS && queries <= task_queries(entries))
        return 0;
    return (entries - 1) / TASK_HITS + 1;
}

dotk_status
dk_topk_finish(struct dk_topk *topk, struct dk_call *call, size_t runs)
{
    const size_t steps = merge_steps(topk) + topk->k, most = (steps - 1) / dk_max(1, runs) + 1;
    struct finish finish = {.topk = topk, .task_queries = topk->queries, .end = steps};
    dotk_status status = DOTK_OK;

    if (runs == 0) {
        finish_task(&finish, 0, 0);
        return DOTK_OK;
    }
    finish.task_queries = task_queries(topk->slots * topk->room);
    const size_t tasks = (topk->queries - 1) / finish.task_queries + 1;
    for (size_t run = 0; status == DOTK_OK && run < runs; run++) {
        finish.first = dk_min(steps, run * most);
        finish.end = dk_min(steps, finish.first + most);
        call->part += dk_max(1, call->weight);
        call->weight = 1;
        status = dk_call_run(call, tasks, finish_task, &finish);
    }
    return status;
}

const struct dk_hit *
dk_topk_hits(const struct dk_topk *topk, size_t query, size_t *count)
{
    *count = topk->slot[0].filled[query];
    return topk->slot[0].hits + query * topk->room;
}

uint64_t
dk_topk_candidates(const struct dk_topk *topk)
{
    uint64_t candidates = 0;

    for (size_t s = 0; s < topk->slots; s++)
        candidates += topk->slot[s].candidates;
    return candidates;
}
