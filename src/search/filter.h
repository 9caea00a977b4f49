/* filter.h - a caller's filter over ids, checked and made a mask over positions */
#ifndef DOTK_SEARCH_FILTER_H
#define DOTK_SEARCH_FILTER_H

#include <dotk/search.h>

#include "mask/id_mask.h"
#include "search/ids.h"

/* Errors: DOTK_BAD_ARGUMENT, naming what is wrong. NULL is fine. */
dotk_status dk_filter_check(const dotk_filter *filter);

/*
 * Fills *mask with the positions that are not dead and whose ids pass a checked filter (NULL: all
 * do), and sets *passing to their number. Memory: scratch of 'call'. Errors: DOTK_NO_MEMORY.
 */
dotk_status dk_filter_mask(const dotk_filter *filter, const struct dk_ids *ids,
                           struct dk_call *call, struct dk_id_mask *mask, size_t *passing);

/* What a short list of ids lets through, in order of ids. */
struct dk_listed {
    size_t count;
    const size_t *position;
    const int64_t *id;
};

/* Whether a checked filter is a list so short that its ids are better looked up than marked. */
bool dk_filter_is_short(const dotk_filter *filter, const struct dk_ids *ids);

/* Looks up the ids of a list that are present. Memory, Errors: as above. */
dotk_status dk_filter_list(const dotk_filter *filter, const struct dk_ids *ids,
                           struct dk_call *call, struct dk_listed *listed);

#endif /* DOTK_SEARCH_FILTER_H */
