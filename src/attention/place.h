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

/* What one thread works in. */
struct dk_place_room {
    size_t entry, key_head, key; /* whose keys are here; entry SIZE_MAX: nobody's */
    float *key_panels, *value_panels;
    float *keys;       /* (keys, dim), widened; NULL where keys are f32           */
    float *values;     /* (64, width), widened; NULL where values are f32         */
    float *clean_keys; /* (keys, dim), with zeros for keys that are not finite    */
    uint64_t bad_keys[DK_PLACE_KEYS / DK_PANEL];
    float *queries, *d_out;             /* (rows, dim), multiplied; (rows, width)           */
    float *clean_queries, *clean_d_out; /* with zeros for rows that are not finite */
    float lse[DK_PLACE_ROWS], delta[DK_PLACE_ROWS]; /* lse in base 2 */
    bool bad[DK_PLACE_ROWS], any_bad; /* rows of queries or d_out that are not finite */
    float (*weight)[DK_GRADIENT_STRIDE], (*gradient)[DK_GRADIENT_STRIDE]; /* (rows) */
    uint64_t keep[DK_PLACE_ROWS]; /* pairs of the panel that count */
};

/* False: out of memory. */
bool dk_place_alloc(struct dk_call *call, const struct dk_attention *problem,
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

void dk_place_begin(const struct dk_place *place);
void dk_place_work(const struct dk_place *place, struct dk_place_room *room);
void dk_place_end(const struct dk_place *place);

/* Whether q, k and v are not f32. */
static inline bool
dk_place_is_half(const struct dk_attention *problem)
{
    return problem->options.store != DOTK_STORE_F32;
}

#endif /* DOTK_ATTENTION_PLACE_H */
