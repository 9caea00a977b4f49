/*
 * merge.c - one top-k list from those of several shards
 *
 * All entries are sorted together, then the first k different ids are kept: simple, exact even
 * for lists that are not sorted, and k is small beside a search.
 */
#include "epilogue/topk/hit.h"
#include "platform/float_mode.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "search/ids.h"

#include <dotk/search.h>
#include <inttypes.h>
#include <math.h>

/* Collects the entries that are hits; *count of them. */
static dotk_status
collect(bool negate, size_t entries, const int64_t *ids, const float *scores, struct dk_hit *hits,
        size_t *count)
{
    *count = 0;
    for (size_t i = 0; i < entries; i++) {
        if (ids[i] == DOTK_NO_ID)
            continue;
        if (ids[i] < 0)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "ids[%zu] is %" PRId64 ": ids are 0 or more, or DOTK_NO_ID", i, ids[i]);
        if (isnan(scores[i]))
            return dk_fail(DOTK_BAD_ARGUMENT, "scores[%zu] is NaN: it has no rank", i);
        hits[(*count)++] = (struct dk_hit){ids[i], negate ? -scores[i] : scores[i]};
    }
    return DOTK_OK;
}

/* Keeps the first k different ids of sorted hits; *count of them. */
static dotk_status
keep_distinct(struct dk_hit *hits, size_t k, size_t *count)
{
    struct dk_ids seen = {0};
    dotk_status status = DOTK_OK;
    size_t kept = 0;

    for (size_t i = 0; i < *count && kept < k; i++) {
        if (dk_ids_find(&seen, hits[i].id) != DK_IDS_NONE)
            continue;
        status = dk_ids_append(&seen, 1, &hits[i].id);
        if (status != DOTK_OK)
            break;
        hits[kept++] = hits[i];
    }
    dk_ids_release(&seen);
    *count = kept;
    return status;
}

dotk_status
dotk_topk_merge(dotk_metric metric, size_t lists, size_t k, const int64_t *ids, const float *scores,
                int64_t *out_ids, float *out_scores)
{
    const bool negate = metric == DOTK_METRIC_L2;
    size_t entries, count;

    if (dotk_metric_name(metric) == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "metric is %d: choose DOTK_METRIC_DOT, _COSINE or _L2",
                       (int)metric);
    if (k == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "k is 0: lists have at least 1 entry");
    if (!dk_mul(lists, k, &entries))
        return dk_fail(DOTK_BAD_ARGUMENT, "lists is %zu and k %zu: lists * k overflows", lists, k);
    if (lists > 0 && (ids == NULL || scores == NULL))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass lists * k of them",
                       ids == NULL ? "ids" : "scores");
    if (out_ids == NULL || out_scores == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass room for k",
                       out_ids == NULL ? "out_ids" : "out_scores");

    struct dk_hit *const hits = dk_alloc_array(entries, sizeof *hits);
    if (hits == NULL)
        return dk_fail(DOTK_NO_MEMORY, "%zu entries to merge could not be allocated", entries);
    const uint64_t mode = dk_float_mode_enter();
    dotk_status status = collect(negate, entries, ids, scores, hits, &count);
    if (status == DOTK_OK) {
        dk_hits_sort(hits, count);
        status = keep_distinct(hits, k, &count);
    }
    dk_float_mode_leave(mode);
    for (size_t i = 0; status == DOTK_OK && i < k; i++) {
        const float score = i < count ? hits[i].score : -INFINITY;
        out_ids[i] = i < count ? hits[i].id : DOTK_NO_ID;
        out_scores[i] = negate ? -score : score;
    }
    dk_free(hits);
    return status;
}
