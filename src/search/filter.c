/* filter.c - from ids to positions; see filter.h */
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

static bool
in_bitmap(const dotk_filter *filter, int64_t id)
{
    return (uint64_t)id < filter->bitmap_bits && (filter->bitmap[id / 8] >> (id % 8) & 1) != 0;
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
    } else {
        for (size_t p = 0; p < ids->count; p++) {
            if (in_bitmap(filter, ids->id[p]))
                dk_id_mask_set(mask, p);
        }
    }
    if (ids->dead_count > 0)
        dk_id_mask_exclude(mask, ids->dead);
    *passing = dk_id_mask_passing(mask);
    return DOTK_OK;
}
