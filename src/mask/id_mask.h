/*
 * id_mask.h - the mask of a filtered search: which keys may be returned
 *
 * A bitmap over the positions of the keys, the same for every query. Whoever knows what id is
 * where (search/ids.h) fills it; here are only positions.
 */
#ifndef DOTK_MASK_ID_MASK_H
#define DOTK_MASK_ID_MASK_H

#include "tile/tile.h"

struct dk_id_mask {
    struct dk_mask mask; /* first: what a scan gets */
    uint64_t *words;     /* bit p % 64 of word p / 64; bits from 'count' on are 0 */
    size_t count;        /* positions */
};

/* Words of memory for 'count' positions. */
size_t dk_id_mask_words(size_t count);

/* An empty mask over positions 0 .. count - 1. Memory: borrows dk_id_mask_words(count) words. */
void dk_id_mask_init(struct dk_id_mask *mask, uint64_t *words, size_t count);

/* Lets one position, below 'count', through. */
static inline void
dk_id_mask_set(struct dk_id_mask *mask, size_t position)
{
    mask->words[position / 64] |= UINT64_C(1) << position % 64;
}

/* Lets through the positions that 'bitmap' names: bit p % 8 of byte p / 8, p below 'bits'. */
void dk_id_mask_set_bitmap(struct dk_id_mask *mask, const uint8_t *bitmap, size_t bits);

/* Lets every position through. */
void dk_id_mask_set_all(struct dk_id_mask *mask);

/* Lets none of the positions through whose bits are set in 'words', laid out as the mask's. */
void dk_id_mask_exclude(struct dk_id_mask *mask, const uint64_t *words);

/* How many positions are let through. */
size_t dk_id_mask_passing(const struct dk_id_mask *mask);

#endif /* DOTK_MASK_ID_MASK_H */
