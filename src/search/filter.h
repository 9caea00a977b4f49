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

#endif /* DOTK_SEARCH_FILTER_H */
