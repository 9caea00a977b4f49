/* results.h - from hits (bigger is better) to what a caller receives */
#ifndef DOTK_SEARCH_RESULTS_H
#define DOTK_SEARCH_RESULTS_H

#include "epilogue/topk/hit.h"
#include "search/index.h"

/* Fills row 'query' of the outputs with 'count' <= k hits, best first, and pads it. */
void dk_results_write(const struct dk_request *request, dotk_metric metric, size_t query,
                      const struct dk_hit *hits, size_t count);

/*
 * Makes *out with room for 'count' hits of 'queries' queries; starts are zeros.
 * Errors: DOTK_NO_MEMORY; *out is NULL then.
 */
dotk_status dk_results_create(size_t queries, size_t count, dotk_hits **out);

/* Entry i of the answer of a range search. */
void
dk_results_set(dotk_hits *hits, size_t i, dotk_metric metric, bool clip_at_zero, struct dk_hit hit);

#endif /* DOTK_SEARCH_RESULTS_H */
