/*
 * topk.h - the epilogue of a search: the k best of each query
 *
 * Every slot keeps a list of hits for every query; the lists of a query are merged when the scan is
 * over. 'most' is how many keys there are, so how many hits there can be.
 */
#ifndef DOTK_EPILOGUE_TOPK_TOPK_H
#define DOTK_EPILOGUE_TOPK_TOPK_H

#include "epilogue/topk/hit.h"
#include "tile/tile.h"

struct dk_topk {
    struct dk_scan_epilogue epilogue; /* first: what a scan gets */
    size_t queries, k, slots;
    size_t room;        /* entries of a list */
    bool heap;          /* lists are heaps, else reservoirs */
    const int64_t *ids; /* by position; NULL: positions are ids */
    bool ascending;     /* ids ascend with positions */
    struct dk_topk_slot *slot;
};

/* Bytes of lists for one query; SIZE_MAX when that overflows. */
size_t dk_topk_query_bytes(size_t slots, size_t k, size_t most);

/*
 * Prepares empty lists for 'queries' (at least 1) and k (at least 1) in the scratch of 'call'.
 * Memory: borrows ids. Errors: DOTK_NO_MEMORY.
 */
dotk_status dk_topk_init(struct dk_topk *topk, struct dk_call *call, size_t queries, size_t k,
                         size_t most, const int64_t *ids, bool ascending);

/*
 * In how many runs of a call so many lists should be finished, k at least 1; 0: there is so little
 * to do that the calling thread does it at once.
 */
size_t dk_topk_finish_runs(size_t slots, size_t queries, size_t k, size_t most);

/*
 * Merges the slots and sorts every list, in so many runs, each the next part of the call after the
 * scan's, which has call->weight parts. Errors: DOTK_CANCELLED.
 */
dotk_status dk_topk_finish(struct dk_topk *topk, struct dk_call *call, size_t runs);

/* The *count <= k hits of one query, best first, once finished. */
const struct dk_hit *dk_topk_hits(const struct dk_topk *topk, size_t query, size_t *count);

/* How many scores were above their threshold and offered. */
uint64_t dk_topk_candidates(const struct dk_topk *topk);

#endif /* DOTK_EPILOGUE_TOPK_TOPK_H */
