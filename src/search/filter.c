/*
 * filter.c - from ids to positions; see filter.h
 *
 * A bitmap, or a long list, becomes a bit for each position; a short list becomes the positions
 * themselves, for which a scan works as long as it has rows to score and not a moment for the rest.
 */
#include "search/filter.h"

#include <inttypes.h>

dotk_status
dk_filter_check(const dotk_filter *filter)
{
    if (filter == NULL)
        return DOTK_OK;
    if (filter->bitmap != NULL && filter->ids != NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "filter has both a bitmap and ids: give one and leave the other NULL");
    if (filter->bitmap == NULL && filter->bitmap_bits != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "filter->bitmap is NULL, but bitmap_bits is %zu: give the bitmap",
                       filter->bitmap_bits);
    if (filter->ids == NULL && filter->id_count != 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "filter->ids is NULL, but id_count is %zu: give the ids",
                       filter->id_count);
    for (size_t i = 0; i < filter->id_count; i++) {
        if (filter->ids[i] < 0)
            return dk_fail(DOTK_BAD_ARGUMENT, "filter->ids[%zu] is %" PRId64 ": ids are 0 or more",
                           i, filter->ids[i]);
        if (i > 0 && filter->ids[i] <= filter->ids[i - 1])
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "filter->ids[%zu] is %" PRId64 " after %" PRId64
                           ": sort them and drop duplicates",
                           i, filter->ids[i], filter->ids[i - 1]);
    }
    return DOTK_OK;
}

/* Which of n ids (at most 64) a bitmap names, as bits; no branch, as nobody can tell the next. */
static uint64_t
named(const dotk_filter *filter, const int64_t *id, size_t n)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < n; i++) {
        const bool inside = (uint64_t)id[i] < filter->bitmap_bits;
        const uint8_t byte = filter->bitmap[inside ? (uint64_t)id[i] / 8 : 0];
        bits |= (uint64_t)((byte >> id[i] % 8 & 1) & inside) << i;
    }
    return bits;
}

dotk_status
dk_filter_mask(const dotk_filter *filter, const struct dk_ids *ids, struct dk_call *call,
               struct dk_id_mask *mask, size_t *passing)
{
    const size_t words = dk_id_mask_words(ids->count);
    uint64_t *const memory = dk_call_alloc(call, words, sizeof *memory);

    if (memory == NULL)
        return dk_fail_memory(words * sizeof *memory, "the filter's bitmap");
    dk_id_mask_init(mask, memory, ids->count);
    if (filter == NULL) {
        dk_id_mask_set_all(mask);
    } else if (filter->bitmap == NULL) {
        for (size_t i = 0; i < filter->id_count; i++) {
            const size_t position = dk_ids_find(ids, filter->ids[i]);
            if (position != DK_IDS_NONE)
                dk_id_mask_set(mask, position);
        }
    } else if (ids->id == NULL) {
        dk_id_mask_set_bitmap(mask, filter->bitmap, filter->bitmap_bits);
    } else if (filter->bitmap_bits > 0) {
        for (size_t p = 0; p < ids->count; p += dk_min(64, ids->count - p))
            memory[p / 64] = named(filter, ids->id + p, dk_min(64, ids->count - p));
    }
    if (ids->dead_count > 0)
        dk_id_mask_exclude(mask, ids->dead);
    *passing = dk_id_mask_passing(mask);
    return DOTK_OK;
}

bool
dk_filter_is_short(const dotk_filter *filter, const struct dk_ids *ids)
{
    return filter != NULL && filter->bitmap == NULL && filter->id_count < ids->count / 64;
}

dotk_status
dk_filter_list(const dotk_filter *filter, const struct dk_ids *ids, struct dk_call *call,
               struct dk_listed *listed)
{
    const size_t most = dk_max(1, filter->id_count);
    size_t *const position = dk_call_alloc(call, most, sizeof *position);
    int64_t *const id = dk_call_alloc(call, most, sizeof *id);
    size_t n = 0;

    if (position == NULL || id == NULL)
        return dk_fail_memory(most * (sizeof *position + sizeof *id), "the filter's ids");
    for (size_t i = 0; i < filter->id_count; i++) {
        const size_t at = dk_ids_find(ids, filter->ids[i]);
        if (at != DK_IDS_NONE) {
            position[n] = at;
            id[n++] = filter->ids[i];
        }
    }
    *listed = (struct dk_listed){n, position, id};
    return DOTK_OK;
}
