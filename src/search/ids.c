/* ids.c - ids and positions; see ids.h */
#include "search/ids.h"

#include "platform/memory.h"
#include "platform/status.h"

#include <inttypes.h>
#include <string.h>

/* Spreads ids over all bits (the finaliser of splitmix64, Steele, Lea and Flood 2014). */
static uint64_t
hash(int64_t id)
{
    uint64_t z = (uint64_t)id;

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The place that holds 'id', or the free one where it would go. */
static size_t
probe(const struct dk_ids *ids, int64_t id)
{
    const size_t mask = ids->places - 1;
    size_t at = (size_t)hash(id) & mask;

    while (ids->place[at] != 0 && ids->id[ids->place[at] - 1] != id)
        at = (at + 1) & mask;
    return at;
}

/* Empties the table and enters all ids but those of dead positions. */
static void
refill(struct dk_ids *ids)
{
    memset(ids->place, 0, ids->places * sizeof *ids->place);
    for (size_t p = 0; p < ids->count; p++)
        if (!dk_ids_is_dead(ids, p))
            ids->place[probe(ids, ids->id[p])] = p + 1;
}

/*
 * Takes an id, which is there, out of the table. Ids behind it that a free place would hide move
 * up (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
 */
static void
take_out(struct dk_ids *ids, int64_t id)
{
    const size_t mask = ids->places - 1;
    size_t free = probe(ids, id);

    for (size_t at = (free + 1) & mask; ids->place[at] != 0; at = (at + 1) & mask) {
        const size_t home = (size_t)hash(ids->id[ids->place[at] - 1]) & mask;
        if (((at - home) & mask) >= ((at - free) & mask)) {
            ids->place[free] = ids->place[at];
            free = at;
        }
    }
    ids->place[free] = 0;
}

static size_t
find_ascending(const struct dk_ids *ids, int64_t id)
{
    size_t low = 0, high = ids->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ids->id[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ids->count && ids->id[low] == id ? low : DK_IDS_NONE;
}

size_t
dk_ids_find(const struct dk_ids *ids, int64_t id)
{
    size_t found = DK_IDS_NONE;

    if (id < 0 || ids->count == 0)
        return DK_IDS_NONE;
    if (ids->source == DK_IDS_GIVEN) { /* the dead are not in the table */
        const size_t place = ids->place[probe(ids, id)];
        return place != 0 ? place - 1 : DK_IDS_NONE;
    }
    if (ids->id != NULL)
        found = find_ascending(ids, id);
    else if ((uint64_t)id < ids->count)
        found = (size_t)id;
    return found == DK_IDS_NONE || dk_ids_is_dead(ids, found) ? DK_IDS_NONE : found;
}

/* ------------------------------------------------------------------------- */
/*  Appending                                                                */
/* ------------------------------------------------------------------------- */

static dotk_status
reserve_ids(struct dk_ids *ids, size_t count)
{
    if (count <= ids->id_capacity)
        return DOTK_OK;
    const size_t capacity = dk_max(count, ids->id_capacity + ids->id_capacity / 2);
    int64_t *const id = dk_alloc_array(capacity, sizeof *id);
    if (id == NULL)
        return dk_fail_memory(capacity * sizeof *id, "ids");
    if (ids->count > 0)
        memcpy(id, ids->id, ids->count * sizeof *id);
    dk_free(ids->id);
    ids->id = id;
    ids->id_capacity = capacity;
    return DOTK_OK;
}

static dotk_status
reserve_places(struct dk_ids *ids, size_t count)
{
    size_t places = 16;

    while (places / 3 * 2 < count) {
        if (!dk_mul(places, 2, &places))
            return dk_fail_memory(SIZE_MAX, "a table of ids");
    }
    if (places <= ids->places)
        return DOTK_OK;
    size_t *const place = dk_alloc_array(places, sizeof *place);
    if (place == NULL)
        return dk_fail_memory(places * sizeof *place, "a table of ids");
    dk_free(ids->place);
    ids->place = place;
    ids->places = places;
    refill(ids);
    return DOTK_OK;
}

/* Room for a bit for each of 'count' positions. */
static dotk_status
reserve_dead(struct dk_ids *ids, size_t count)
{
    const size_t words = (count - 1) / 64 + 1;

    if (words <= ids->dead_words)
        return DOTK_OK;
    const size_t capacity = dk_max(words, ids->dead_words + ids->dead_words / 2);
    uint64_t *const dead = dk_alloc_array(capacity, sizeof *dead);
    if (dead == NULL)
        return dk_fail_memory(capacity * sizeof *dead, "marks of removed rows");
    memset(dead, 0, capacity * sizeof *dead);
    if (ids->dead_words > 0)
        memcpy(dead, ids->dead, ids->dead_words * sizeof *dead);
    dk_free(ids->dead);
    ids->dead = dead;
    ids->dead_words = capacity;
    return DOTK_OK;
}

static dotk_status
append_assigned(struct dk_ids *ids, size_t n)
{
    if (ids->id != NULL) {
        const dotk_status status = reserve_ids(ids, ids->count + n);
        if (status != DOTK_OK)
            return status;
        for (size_t i = 0; i < n; i++)
            ids->id[ids->count + i] = ids->next + (int64_t)i;
    }
    ids->next += (int64_t)n;
    ids->count += n;
    ids->source = DK_IDS_ASSIGNED;
    return DOTK_OK;
}

/* Why ids[i] cannot be entered. */
static dotk_status
refuse(const struct dk_ids *ids, size_t i, int64_t id, size_t place)
{
    if (id < 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "ids[%zu] is %" PRId64 ": ids are 0 or more", i, id);
    if (ids->place[place] > ids->count)
        return dk_fail(DOTK_BAD_ARGUMENT, "ids[%zu] is %" PRId64 ", as is ids[%zu]: give each once",
                       i, id, ids->place[place] - 1 - ids->count);
    return dk_fail(DOTK_EXISTS, "ids[%zu] is %" PRId64 ", which is present: use update", i, id);
}

static dotk_status
append_given(struct dk_ids *ids, size_t n, const int64_t *given)
{
    dotk_status status = reserve_ids(ids, ids->count + n);
    if (status == DOTK_OK)
        status = reserve_places(ids, ids->count + n);
    if (status != DOTK_OK)
        return status;

    bool ascending = ids->ascending || ids->count == 0;
    for (size_t i = 0; i < n; i++) {
        const size_t position = ids->count + i, place = probe(ids, given[i]);
        if (given[i] < 0 || ids->place[place] != 0) {
            status = refuse(ids, i, given[i], place);
            while (i-- > 0) /* the last entered leaves first: probing sees what it saw */
                ids->place[probe(ids, given[i])] = 0;
            return status;
        }
        ids->id[position] = given[i];
        ids->place[place] = position + 1;
        ascending = ascending && (position == 0 || ids->id[position - 1] < given[i]);
    }
    ids->count += n;
    ids->ascending = ascending;
    ids->source = DK_IDS_GIVEN;
    return DOTK_OK;
}

dotk_status
dk_ids_append(struct dk_ids *ids, size_t n, const int64_t *given)
{
    size_t count;

    if (n == 0)
        return DOTK_OK;
    if (!dk_add(ids->count, n, &count))
        return dk_fail_memory(SIZE_MAX, "ids");
    if (given == NULL && ids->source == DK_IDS_GIVEN)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "ids is NULL, but this index took ids from its caller: give ids");
    if (given != NULL && ids->source == DK_IDS_ASSIGNED)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "ids is not NULL, but this index assigns its own ids: pass NULL");
    dotk_status status = ids->dead_count > 0 ? reserve_dead(ids, count) : DOTK_OK;
    if (status == DOTK_OK)
        status = given == NULL ? append_assigned(ids, n) : append_given(ids, n, given);
    if (status != DOTK_OK && ids->source == DK_IDS_UNDECIDED)
        dk_ids_release(ids); /* its own ids may come next, and those need no memory */
    return status;
}

bool
dk_ids_append_moves(const struct dk_ids *ids, size_t n, const int64_t *given)
{
    return (given != NULL || ids->id != NULL) && n > ids->id_capacity - ids->count;
}

/* ------------------------------------------------------------------------- */
/*  Finding and removing many                                                */
/* ------------------------------------------------------------------------- */

/* Puts 'value' where heap[hole] is and restores the heap, its largest on top, below. */
static void
sink(size_t *heap, size_t n, size_t hole, size_t value)
{
    for (size_t child; (child = 2 * hole + 1) < n; hole = child) {
        if (child + 1 < n && heap[child] < heap[child + 1])
            child++;
        if (value >= heap[child])
            break;
        heap[hole] = heap[child];
    }
    heap[hole] = value;
}

/* Heapsort, as qsort() may allocate memory of its own. Positions in order are left alone. */
static void
sort_positions(size_t *positions, size_t n)
{
    size_t ordered = 1;

    while (ordered < n && positions[ordered - 1] < positions[ordered])
        ordered++;
    if (ordered >= n)
        return;
    for (size_t i = n / 2; i-- > 0;)
        sink(positions, n, i, positions[i]);
    while (n > 1) {
        const size_t last = positions[--n];
        positions[n] = positions[0];
        sink(positions, n, 0, last);
    }
}

dotk_status
dk_ids_find_all(const struct dk_ids *ids, size_t n, const int64_t *wanted, size_t **positions)
{
    size_t *const found = dk_alloc_array(n, sizeof *found);

    *positions = NULL;
    if (found == NULL)
        return dk_fail_memory(n * sizeof *found, "positions");
    for (size_t i = 0; i < n; i++) {
        found[i] = dk_ids_find(ids, wanted[i]);
        if (found[i] == DK_IDS_NONE) {
            dk_free(found);
            return dk_fail(DOTK_NOT_FOUND, "ids[%zu] is %" PRId64 ", which is not in the index", i,
                           wanted[i]);
        }
    }
    sort_positions(found, n);
    for (size_t i = 1; i < n; i++) {
        if (found[i] == found[i - 1]) {
            const int64_t id = dk_ids_at(ids, found[i]);
            dk_free(found);
            return dk_fail(DOTK_BAD_ARGUMENT, "ids holds %" PRId64 " twice: give each id once", id);
        }
    }
    *positions = found;
    return DOTK_OK;
}

void
dk_close_gaps(void *items, size_t item_bytes, size_t count, size_t n, const size_t *positions)
{
    char *const bytes = items;
    size_t kept = n > 0 ? positions[0] : 0;

    for (size_t i = 0; i < n; i++) {
        const size_t from = positions[i] + 1;
        const size_t run = (i + 1 < n ? positions[i + 1] : count) - from;
        memmove(bytes + kept * item_bytes, bytes + from * item_bytes, run * item_bytes);
        kept += run;
    }
}

dotk_status
dk_ids_remove(struct dk_ids *ids, size_t n, const size_t *positions)
{
    if (n == 0)
        return DOTK_OK;
    const dotk_status status = reserve_dead(ids, ids->count);
    if (status != DOTK_OK)
        return status;
    for (size_t i = 0; i < n; i++) {
        if (ids->source == DK_IDS_GIVEN)
            take_out(ids, ids->id[positions[i]]);
        ids->dead[positions[i] / 64] |= UINT64_C(1) << positions[i] % 64;
    }
    ids->dead_count += n;
    return DOTK_OK;
}

/* The identity, written down. */
static bool
write_down(struct dk_ids *ids)
{
    int64_t *const id = dk_alloc_array(ids->count, sizeof *id);

    if (id == NULL)
        return false;
    for (size_t p = 0; p < ids->count; p++)
        id[p] = (int64_t)p;
    ids->id = id;
    ids->id_capacity = ids->count;
    return true;
}

bool
dk_ids_close_gaps(struct dk_ids *ids, size_t **positions, size_t *n)
{
    size_t *const gaps = dk_alloc_array(ids->dead_count, sizeof *gaps);
    size_t found = 0;

    *positions = NULL;
    if (gaps == NULL || (ids->id == NULL && !write_down(ids))) {
        dk_free(gaps);
        return false;
    }
    for (size_t word = 0; found < ids->dead_count; word++) {
        for (uint64_t bits = ids->dead[word]; bits != 0; bits &= bits - 1)
            gaps[found++] = word * 64 + (size_t)__builtin_ctzll(bits);
        ids->dead[word] = 0;
    }
    dk_close_gaps(ids->id, sizeof *ids->id, ids->count, found, gaps);
    ids->count -= found;
    ids->dead_count = 0;
    if (ids->source == DK_IDS_GIVEN)
        refill(ids);
    *positions = gaps;
    *n = found;
    return true;
}

void
dk_ids_release(struct dk_ids *ids)
{
    dk_free(ids->id);
    dk_free(ids->place);
    dk_free(ids->dead);
    *ids = (struct dk_ids){0};
}
