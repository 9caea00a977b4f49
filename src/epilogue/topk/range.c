/*
 * range.c - hit lists that grow
 *
 * A list is a chain of pieces, so that growing never copies. A thread that gets no memory for a
 * piece says so and lets nothing more through for that query; the call fails after the scan.
 *
 * "At least t" is "above the next number below t".
 */
#include "epilogue/topk/range.h"

#include <math.h>

enum { PIECE_HITS = 4096 };

struct piece {
    struct piece *older;
    size_t used;
    struct {
        size_t query;
        struct dk_hit hit;
    } found[PIECE_HITS];
};

struct dk_range_slot {
    _Alignas(DK_LINE) struct piece *newest;
    float *threshold; /* by query of the batch, to a multiple of 64 */
    size_t count;
    bool failed;
};

static float *
thresholds(struct dk_scan_epilogue *epilogue, size_t slot)
{
    return ((struct dk_range *)epilogue)->slot[slot].threshold;
}

static bool
grow(struct dk_range_slot *slot)
{
    struct piece *const piece = dk_alloc(sizeof *piece);
    if (piece == NULL)
        return false;
    piece->older = slot->newest;
    piece->used = 0;
    slot->newest = piece;
    return true;
}

static void
take(struct dk_scan_epilogue *epilogue, size_t slot, size_t query, size_t position, float score)
{
    const struct dk_range *const range = (const struct dk_range *)epilogue;
    struct dk_range_slot *const own = &range->slot[slot];
    const int64_t id = range->ids != NULL ? range->ids[position] : (int64_t)position;

    if (own->newest == NULL || own->newest->used == PIECE_HITS) {
        if (!grow(own)) {
            own->failed = true;
            own->threshold[query] = INFINITY;
            return;
        }
    }
    struct piece *const piece = own->newest;
    piece->found[piece->used].query = range->first + query;
    piece->found[piece->used].hit = (struct dk_hit){id, score};
    piece->used++;
    own->count++;
}

dotk_status
dk_range_init(struct dk_range *range, size_t slots, size_t batch, float threshold,
              const int64_t *ids)
{
    const size_t padded = dk_round_up(batch, DK_PANEL);
    size_t values;

    *range = (struct dk_range){.epilogue = {thresholds, take}, .threshold = threshold, .ids = ids};
    range->slot = dk_alloc_array(slots, sizeof *range->slot);
    if (range->slot == NULL)
        return dk_fail_memory(slots * sizeof *range->slot, "range lists");
    range->slots = slots;
    for (size_t s = 0; s < slots; s++)
        range->slot[s] = (struct dk_range_slot){0};
    if (dk_mul(slots, padded, &values))
        range->thresholds = dk_alloc_array(values, sizeof *range->thresholds);
    if (range->thresholds == NULL)
        return dk_fail_memory(slots * padded * sizeof *range->thresholds, "range thresholds");
    for (size_t s = 0; s < slots; s++)
        range->slot[s].threshold = range->thresholds + s * padded;
    return DOTK_OK;
}

void
dk_range_begin(struct dk_range *range, size_t first, size_t queries)
{
    const size_t padded = dk_round_up(queries, DK_PANEL);

    range->first = first;
    for (size_t s = 0; s < range->slots; s++) {
        for (size_t q = 0; q < padded; q++)
            range->slot[s].threshold[q] = q < queries ? nextafterf(range->threshold, -INFINITY)
                                                      : INFINITY;
    }
}

dotk_status
dk_range_check(const struct dk_range *range)
{
    for (size_t s = 0; s < range->slots; s++) {
        if (range->slot[s].failed)
            return dk_fail(DOTK_NO_MEMORY,
                           "memory ran out after %zu hits of a range search: choose a stricter "
                           "threshold",
                           dk_range_count(range));
    }
    return DOTK_OK;
}

size_t
dk_range_count(const struct dk_range *range)
{
    size_t count = 0;

    for (size_t s = 0; s < range->slots; s++)
        count += range->slot[s].count;
    return count;
}

void
dk_range_finish(const struct dk_range *range, size_t queries, size_t *starts, struct dk_hit *hits)
{
    for (size_t q = 0; q <= queries; q++)
        starts[q] = 0;
    for (size_t s = 0; s < range->slots; s++) {
        for (const struct piece *piece = range->slot[s].newest; piece != NULL; piece = piece->older)
            for (size_t i = 0; i < piece->used; i++)
                starts[piece->found[i].query]++;
    }

    size_t end = 0; /* starts[q] = where query q ends; placing its hits takes it to the start */
    for (size_t q = 0; q <= queries; q++) {
        end += starts[q];
        starts[q] = end;
    }
    for (size_t s = 0; s < range->slots; s++) {
        for (const struct piece *piece = range->slot[s].newest; piece != NULL; piece = piece->older)
            for (size_t i = 0; i < piece->used; i++)
                hits[--starts[piece->found[i].query]] = piece->found[i].hit;
    }
    for (size_t q = 0; q < queries; q++)
        dk_hits_sort(hits + starts[q], starts[q + 1] - starts[q]);
}

void
dk_range_release(struct dk_range *range)
{
    for (size_t s = 0; s < range->slots; s++) {
        while (range->slot[s].newest != NULL) {
            struct piece *const piece = range->slot[s].newest;
            range->slot[s].newest = piece->older;
            dk_free(piece);
        }
    }
    dk_free(range->slot);
    dk_free(range->thresholds);
    *range = (struct dk_range){0};
}
