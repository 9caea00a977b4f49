/*
 * place.h - one place: a block of keys x a block of rows, and what it adds to gradients
 *
 *     begin    zeros, where these are the first keys of the rows or the first rows of the keys
 *     work     adds the five products of what is seen
 *     end      narrows gradients of halves, where these are the last keys or rows
 *
 * Places of one row come in the order of keys, those of one key in the order of rows.
 */
#ifndef DOTK_ATTENTION_PLACE_H
#define DOTK_ATTENTION_PLACE_H

#include "attention/gradient.h"

enum {
    DK_PLACE_ROWS = 192, /* most rows of a place, a multiple of 6 */
    DK_PLACE_KEYS = 256, /* most keys, a multiple of 64           */
};

/* Rows and keys of a place: a matter of the widths alone, so that bits are. */
size_t dk_place_rows(const struct dk_attention *problem);
size_t dk_place_keys(const struct dk_attention *problem);

/* Which gradients a sweep adds to. */
struct dk_place_wanted {
    bool queries, keys, bias;
};

/* Rows as sums read them, in words: those of pairs have two rows each. */
struct dk_place_words {
    const float *row;
    size_t stride;
};

/*
 * What one thread works in. Words are those of gradient->words. Of rows and keys that are not
 * finite, sums have zeros.
 */
struct dk_place_room {
    size_t entry, key_head, key; /* whose keys are here; entry SIZE_MAX: nobody's */
    float *key_panels, *value_panels;
    float *keys;       /* floats: (keys, dim), widened, NULL where keys are f32; pairs: of keys */
    float *values;     /* (64, width), widened; NULL where values are f32, or pairs             */
    float *clean_keys; /* floats: (keys, dim), for sums                                         */
    struct dk_place_words key_sums;
    uint64_t bad_keys[DK_PLACE_KEYS / DK_PANEL];
    float *queries, *d_out;             /* (rows, words) for tiles; floats of queries multiplied */
    float *other_queries, *other_d_out; /* for sums: floats where some are not finite, or pairs */
    struct dk_place_words query_sums, d_out_sums;
    float lse[DK_PLACE_ROWS], delta[DK_PLACE_ROWS]; /* lse in base 2 */
    bool bad[DK_PLACE_ROWS], any_bad; /* rows of queries or d_out that are not finite */
    float (*weight)[DK_GRADIENT_STRIDE], (*gradient)[DK_GRADIENT_STRIDE]; /* for "down"         */
    float (*across)[DK_GRADIENT_STRIDE]; /* of gradients: (rows), with floats the same          */
    float (*exact)[DK_GRADIENT_STRIDE];  /* (rows), for the gradient of a bias, or NULL         */
    uint64_t keep[DK_PLACE_ROWS];        /* pairs of the panel that count                       */
    float *wide;                         /* pairs: a row, widened                               */
};

/* False: out of memory. */
bool dk_place_alloc(struct dk_call *call, const struct dk_gradient *gradient,
                    struct dk_place_room *room);

/* Gradients of halves before they are narrowed; NULL where they are f32. */
struct dk_place_sums {
    float *queries, *keys, *values;
};

struct dk_place {
    const struct dk_gradient *gradient;
    struct dk_place_wanted wanted;
    struct dk_visible visible;
    size_t entry, key_head;
    size_t key, keys; /* those that exist: perhaps 0 */
    size_t row, rows;
    struct dk_place_sums sums; /* of rows from 'row' on, and of keys from 'key' on */
};

/* Makes keys and values of the place ready, unless they are; and its rows. */
void dk_place_load_keys(struct dk_place_room *room, const struct dk_place *place);
void dk_place_load_rows(struct dk_place_room *room, const struct dk_place *place);

void dk_place_begin(const struct dk_place *place);
void dk_place_work(const struct dk_place *place, struct dk_place_room *room);
void dk_place_end(const struct dk_place *place);

/* Whether q, k and v are not f32. */
static inline bool
dk_place_is_half(const struct dk_attention *problem)
{
    return problem->options.store != DOTK_STORE_F32;
}

/* How many numbers of a row, or rows of a sum, are a word. */
static inline size_t
dk_place_per_word(const struct dk_gradient *gradient)
{
    return gradient->words->pairs ? 2 : 1;
}

/* The address of element 'at' of an array of halves or f32. */
static inline char *
dk_place_element(const struct dk_attention *problem, const void *array, size_t at)
{
    return (char *)(uintptr_t)array + at * dk_attention_size(problem);
}

/* Where the row of key 'key' of the entry begins, in numbers. */
static inline size_t
dk_place_key(const struct dk_place *place, const dotk_layout *layout, size_t key)
{
    const struct dk_attend_entry *const entry = &place->visible.entry;

    return dk_attention_head(layout, entry->batch, place->key_head) +
           (entry->key + key) * layout->row;
}

#endif /* DOTK_ATTENTION_PLACE_H */
