/*
 * topk.h - the epilogue of a search: the k best of each query
 *
 * Every slot keeps a list of up to k hits for every query; the lists of a query are merged when
 * the scan is over.
 */
#ifndef DOTK_EPILOGUE_TOPK_TOPK_H
#define DOTK_EPILOGUE_TOPK_TOPK_H

#include "epilogue/topk/hit.h"
#include "tile/tile.h"

struct dk_topk {
    struct dk_scan_epilogue epilogue; /* first: what a scan gets */
    size_t queries, k, slots;
    const int64_t *ids; /* by position; NULL: positions are ids */
    bool ascending;     /* ids ascend with positions */
    struct dk_topk_slot *slot;
};

/* Bytes of lists for one query; SIZE_MAX when that overflows. */
size_t dk_topk_query_bytes(size_t slots, size_t k);

/*
 * Prepares empty lists for 'queries' (at least 1) and k (at least 1) in the scratch of 'call'.
 * Memory: borrows ids. Errors: DOTK_NO_MEMORY.
 */
dotk_status dk_topk_init(struct dk_topk *topk, struct dk_call *call, size_t queries, size_t k,
                         const int64_t *ids, bool ascending);

/* Whether finishing so many lists is so much work that threads should share it; k at least 1. */
bool dk_topk_finish_shared(size_t slots, size_t queries, size_t k);

/*
 * Merges the slots and sorts every list: 'shared' by dk_call_run(), else on the calling thread.
 * Errors: DOTK_CANCELLED.
 */
dotk_status dk_topk_finish(struct dk_topk *topk, struct dk_call *call, bool shared);

/* The *count <= k hits of one query, best first, once finished. */
const struct dk_hit *dk_topk_hits(const struct dk_topk *topk, size_t query, size_t *count);

/* How many scores were above their threshold and offered. */
uint64_t dk_topk_candidates(const struct dk_topk *topk);

#endif /* DOTK_EPILOGUE_TOPK_TOPK_H */
