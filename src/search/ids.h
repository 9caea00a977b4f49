/*
 * ids.h - which id is at which position of an index
 *
 * Positions are 0 .. count - 1, in the order in which rows lie. Ids come in three kinds:
 *
 *     identity    the index assigns them and nothing was removed: id = position, no memory
 *     assigned    the same after a removal: ascending, found by binary search
 *     given       the caller's, in any order: found by a hash table
 *
 * The table holds positions, not ids: open addressing with linear probing over a power of two
 * of places, at most two thirds of them used.
 */
#ifndef DOTK_SEARCH_IDS_H
#define DOTK_SEARCH_IDS_H

#include <dotk/base.h>
#include <stdbool.h>

enum dk_ids_source { DK_IDS_UNDECIDED, DK_IDS_ASSIGNED, DK_IDS_GIVEN };

struct dk_ids {
    enum dk_ids_source source;
    size_t count;
    int64_t next; /* assigned: the id of the next row */
    int64_t *id;  /* by position; NULL: identity */
    size_t id_capacity;
    bool ascending; /* given: ids ascend with positions; ask dk_ids_ascending() */
    size_t *place;  /* given: position + 1, 0: free */
    size_t places;  /* a power of two, or 0 */
};

/* Where an id is; DK_IDS_NONE: nowhere. */
#define DK_IDS_NONE SIZE_MAX
size_t dk_ids_find(const struct dk_ids *ids, int64_t id);

/* The id at a position. */
static inline int64_t
dk_ids_at(const struct dk_ids *ids, size_t position)
{
    return ids->id != NULL ? ids->id[position] : (int64_t)position;
}

static inline bool
dk_ids_ascending(const struct dk_ids *ids)
{
    return ids->source != DK_IDS_GIVEN || ids->ascending;
}

/*
 * Appends n ids, 'given' or (NULL) the next ones, at positions count, count + 1, ...
 * Errors: as dotk_index_add(); nothing has changed then.
 */
dotk_status dk_ids_append(struct dk_ids *ids, size_t n, const int64_t *given);

/*
 * Finds n distinct ids; *positions, ascending, is released with dk_free().
 * Errors: DOTK_NOT_FOUND, DOTK_BAD_ARGUMENT (one twice), DOTK_NO_MEMORY; *positions is NULL then.
 */
dotk_status
dk_ids_find_all(const struct dk_ids *ids, size_t n, const int64_t *wanted, size_t **positions);

/*
 * Removes the ids at n ascending positions; later ones move up.
 * Errors: DOTK_NO_MEMORY; nothing has changed then.
 */
dotk_status dk_ids_remove(struct dk_ids *ids, size_t n, const size_t *positions);

/* Closes the gaps that n ascending positions leave in an array of 'count' items. */
void dk_close_gaps(void *items, size_t item_bytes, size_t count, size_t n, const size_t *positions);

void dk_ids_release(struct dk_ids *ids);

#endif /* DOTK_SEARCH_IDS_H */
