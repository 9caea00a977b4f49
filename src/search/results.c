/* results.c - scores as callers know them; see results.h */
#include "search/results.h"

#include "platform/memory.h"
#include "platform/status.h"

#include <math.h>

/* The squared distance of an l2 score; 0 - s makes the distance 0 a +0. */
static float
reported(dotk_metric metric, bool clip_at_zero, float score)
{
    if (metric == DOTK_METRIC_L2)
        return 0.0f - score;
    return clip_at_zero && !(score > 0) ? 0.0f : score;
}

void
dk_results_write(const struct dk_request *request, dotk_metric metric, size_t query,
                 const struct dk_hit *hits, size_t count)
{
    const size_t k = request->k;
    int64_t *const ids = request->out_ids + query * k;
    float *const scores = request->out_scores != NULL ? request->out_scores + query * k : NULL;
    const float worst = metric == DOTK_METRIC_L2 ? INFINITY : -INFINITY;

    for (size_t i = 0; i < k; i++)
        ids[i] = i < count ? hits[i].id : DOTK_NO_ID;
    for (size_t i = 0; scores != NULL && i < k; i++)
        scores[i] = i < count ? reported(metric, request->clip_at_zero, hits[i].score) : worst;
    if (request->out_counts != NULL)
        request->out_counts[query] = count;
}

dotk_status
dk_results_create(size_t queries, size_t count, dotk_hits **out)
{
    size_t entries;
    dotk_hits *const hits = dk_alloc(sizeof *hits);

    *out = NULL;
    if (hits == NULL)
        return dk_fail_memory(sizeof *hits, "the hits");
    hits->query_count = queries;
    hits->starts = dk_add(queries, 1, &entries) ? dk_alloc_array(entries, sizeof *hits->starts)
                                                : NULL;
    hits->ids = dk_alloc_array(count, sizeof *hits->ids);
    hits->scores = dk_alloc_array(count, sizeof *hits->scores);
    if (hits->starts == NULL || hits->ids == NULL || hits->scores == NULL) {
        dotk_hits_destroy(hits);
        return dk_fail(DOTK_NO_MEMORY, "%zu hits of %zu queries could not be allocated", count,
                       queries);
    }
    for (size_t q = 0; q <= queries; q++)
        hits->starts[q] = 0;
    *out = hits;
    return DOTK_OK;
}

void
dk_results_set(dotk_hits *hits, size_t i, dotk_metric metric, bool clip_at_zero, struct dk_hit hit)
{
    hits->ids[i] = hit.id;
    hits->scores[i] = reported(metric, clip_at_zero, hit.score);
}

void
dotk_hits_destroy(dotk_hits *hits)
{
    if (hits == NULL)
        return;
    dk_free(hits->starts);
    dk_free(hits->ids);
    dk_free(hits->scores);
    dk_free(hits);
}
