/*
 * range.h - the epilogue of a range search: every hit above a fixed threshold
 *
 * Each slot appends to a list of its own that grows in pieces; one object collects the hits of
 * as many scans as a call needs, then sorts them by query.
 */
#ifndef DOTK_EPILOGUE_TOPK_RANGE_H
#define DOTK_EPILOGUE_TOPK_RANGE_H

#include "epilogue/topk/hit.h"
#include "tile/tile.h"

struct dk_range {
    struct dk_scan_epilogue epilogue; /* first: what a scan gets */
    size_t slots;
    float threshold;    /* "at least", as scores go: bigger is better */
    const int64_t *ids; /* by position; NULL: positions are ids */
    size_t first;       /* number, in the call, of the scan's query 0 */
    struct dk_range_slot *slot;
    float *thresholds;
};

/*
 * Prepares for scans of at most 'batch' queries on up to 'slots' threads.
 * Memory: borrows ids; release with dk_range_release(), also after a failure.
 * Errors: DOTK_NO_MEMORY.
 */
dotk_status dk_range_init(struct dk_range *range, size_t slots, size_t batch, float threshold,
                          const int64_t *ids);

/* To be called before each scan: its queries are number first .. first + queries - 1. */
void dk_range_begin(struct dk_range *range, size_t first, size_t queries);

/* Whether the scans so far found memory for all their hits. Errors: DOTK_NO_MEMORY. */
dotk_status dk_range_check(const struct dk_range *range);

/* How many hits there are so far. */
size_t dk_range_count(const struct dk_range *range);

/*
 * Sorts what was found for queries 0 .. queries - 1 of the call into 'hits' (dk_range_count()
 * of them): query q owns hits[starts[q] .. starts[q + 1] - 1], best first.
 */
void
dk_range_finish(const struct dk_range *range, size_t queries, size_t *starts, struct dk_hit *hits);

void dk_range_release(struct dk_range *range);

#endif /* DOTK_EPILOGUE_TOPK_RANGE_H */
