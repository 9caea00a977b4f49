/*
 * ids.h - which id is at which position of an index
 *
 * Positions are 0 .. count - 1, in the order in which rows lie. Ids come in three kinds:
 *
 *     identity    the index assigns them and no row has moved: id = position, no memory
 *     assigned    the same after rows have moved: ascending, found by binary search
 *     given       the caller's, in any order: found by a hash table
 *
 * The table holds positions, not ids: open addressing with linear probing over a power of two
 * of places, at most two thirds of them used.
 *
 * A removed id keeps its position, which is *dead*, until gaps are closed. Views of searches
 * (platform/gate.h) refer to id[] below the count of their time; all else is looked at on entry
 * only. So appending needs the gate clear where id[] has to grow (dk_ids_append_moves()), closing
 * gaps always, and everything else that changes ids needs it stopped.
 */
#ifndef DOTK_SEARCH_IDS_H
#define DOTK_SEARCH_IDS_H

#include <dotk/base.h>
#include <stdbool.h>

enum dk_ids_source { DK_IDS_UNDECIDED, DK_IDS_ASSIGNED, DK_IDS_GIVEN };

struct dk_ids {
    enum dk_ids_source source;
    size_t count; /* of positions, dead ones included */
    int64_t next; /* assigned: the id of the next row */
    int64_t *id;  /* by position; NULL: identity */
    size_t id_capacity;
    bool ascending; /* given: ids ascend with positions; ask dk_ids_ascending() */
    size_t *place;  /* given: position + 1, 0: free */
    size_t places;  /* a power of two, or 0 */
    uint64_t *dead; /* bit p % 64 of word p / 64: position p is dead; NULL: none ever was */
    size_t dead_words, dead_count;
};

/* How many ids are present. */
static inline size_t
dk_ids_present(const struct dk_ids *ids)
{
    return ids->count - ids->dead_count;
}

static inline bool
dk_ids_is_dead(const struct dk_ids *ids, size_t position)
{
    return ids->dead_count > 0 && (ids->dead[position / 64] >> position % 64 & 1) != 0;
}

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

/* Whether that would give id[] other memory. */
bool dk_ids_append_moves(const struct dk_ids *ids, size_t n, const int64_t *given);

/*
 * Finds n distinct ids; *positions, ascending, is released with dk_free().
 * Errors: DOTK_NOT_FOUND, DOTK_BAD_ARGUMENT (one twice), DOTK_NO_MEMORY; *positions is NULL then.
 */
dotk_status
dk_ids_find_all(const struct dk_ids *ids, size_t n, const int64_t *wanted, size_t **positions);

/* Removes the ids at n positions. Errors: DOTK_NO_MEMORY; nothing has changed then. */
dotk_status dk_ids_remove(struct dk_ids *ids, size_t n, const size_t *positions);

/*
 * Moves ids up to where the dead were; *positions gets those, *n of them, to move rows by, and is
 * released with dk_free(). False: there is no memory for it, and nothing has changed.
 */
bool dk_ids_close_gaps(struct dk_ids *ids, size_t **positions, size_t *n);

/* Closes the gaps that n ascending positions leave in an array of 'count' items. */
void dk_close_gaps(void *items, size_t item_bytes, size_t count, size_t n, const size_t *positions);

void dk_ids_release(struct dk_ids *ids);

#endif /* DOTK_SEARCH_IDS_H */
