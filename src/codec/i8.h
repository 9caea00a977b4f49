/*
 * i8.h - vectors as one byte an element and a scale, and what that costs, exactly
 *
 * Symmetric, one scale a vector: code = round(x / scale), scale = max |x| / 127. What is lost is
 * kept as a number: the norm of the residual x - scale code. kernel/screen_i8.h says how keys and
 * queries meet, and doc/math/screening.md proves the bound, for vectors of a squared norm of at
 * most 2^125, which is what an index accepts.
 */
#ifndef DOTK_CODEC_I8_H
#define DOTK_CODEC_I8_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/kernel.h"

struct dk_i4;

/*
 * Panels of 64 keys: (count + 63) / 64 of each where codes are the rows, count / 64 where they lie
 * beside the rows. Zeros are an empty store.
 */
struct dk_codes_i8 {
    size_t dim;
    const struct dk_i4 *i4;    /* NULL; else codes are of four bits, and i4.h has their bound */
    uint8_t *codes;            /* dk_codes_panel_bytes() a panel (i4.h) */
    struct dk_key_terms *keys; /* one a panel                           */
};

/* Bytes of codes of 64 keys, of a byte an element. */
size_t dk_i8_panel_bytes(size_t dim);

/* The first group of codes of key 'position', and its scale: what dk_widen_i8_fn takes. */
static inline const uint8_t *
dk_i8_key(const struct dk_codes_i8 *store, size_t position)
{
    return store->codes + position / DK_PANEL * dk_i8_panel_bytes(store->dim) +
           position % DK_PANEL * DK_I8_GROUP;
}

static inline float
dk_i8_scale(const struct dk_codes_i8 *store, size_t position)
{
    return store->keys[position / DK_PANEL].scale[position % DK_PANEL];
}

/* Sets key 'position' to x; 'squared': whether offsets are wanted (l2). */
void dk_i8_encode_key(struct dk_codes_i8 *store, size_t position, const float *x, bool squared);

/*
 * Sets key 'position' to what is nearest to x among the multiples of x's codes: the key is from
 * now on its widened codes (kernel/widen.h), and its terms are about those.
 */
void dk_i8_store_key(struct dk_codes_i8 *store, size_t position, const float *x, bool squared);

/* Keys 'to' .. to + n - 1 become those from 'from' on, which is above 'to'; they may overlap. */
void dk_i8_move_keys(struct dk_codes_i8 *store, size_t to, size_t from, size_t n);

/*
 * Codes of a query (dim rounded up to a multiple of 4, zeros beyond) and its terms, less the
 * threshold. 'roundings' times 2^-24 times |q| |k| bounds the error of a score in the order that
 * defines its bits.
 */
void dk_i8_encode_query(const float *x, size_t dim, bool squared, double roundings, int8_t *codes,
                        struct dk_query_terms *terms);

/* What bounds are compared with: a key whose score is at least 'threshold' has a bound above. */
float
dk_i8_threshold(float threshold, size_t dim, bool squared, double roundings, double squared_norm);

#endif /* DOTK_CODEC_I8_H */
