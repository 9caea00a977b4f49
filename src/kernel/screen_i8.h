/*
 * screen_i8.h - which of 64 keys may score above a threshold, from codes of one byte an element
 *
 * A key k is stored as code c and scale a, k = a c + r, with the norm of the residual r beside it;
 * a query q as code d and scale b, q = b d + s. Then
 *
 *     q . k = a b (c . d) + b d . r + s . k <= a b (c . d) + |b d| |r| + |s| |k|
 *
 * by Cauchy-Schwarz. The integer product is exact; the rest is one line of floats a key. What the
 * caller puts into the terms covers all roundings (doc/math/screening.md).
 *
 * Codes lie in panels of 64 keys, dimensions in groups of 4, a code plus 128 in a byte:
 *
 *                key 0     key 1    ...  key 63
 *     d = 0..3   0 .. 3    4 .. 7        252 .. 255
 *     d = 4..7   256 ..    ...
 *
 * Dimensions beyond the last are code 0 (byte 128).
 */
#ifndef DOTK_KERNEL_SCREEN_I8_H
#define DOTK_KERNEL_SCREEN_I8_H

#include <stddef.h>
#include <stdint.h>

enum {
    DK_I8_GROUP = 4,       /* dimensions side by side in a panel                      */
    DK_I8_QUERIES = 6,     /* most queries of one call                                */
    DK_I8_DIM_MAX = 65536, /* 255 * 127 * dim stays below 2^31                        */
};

/* Four floats a key, for the 64 keys of a panel. */
struct dk_key_terms {
    _Alignas(64) float scale[64]; /* a                                          */
    float residual[64];           /* |r|, rounded up                            */
    float norm[64];               /* |k|, rounded up                            */
    float offset[64];             /* dot: 0; l2: -|k|^2, rounded up with slack  */
};

struct dk_query_terms {
    int32_t start;  /* -128 sum d: what the 128 in each key's byte adds */
    float scale;    /* b; l2: 2 b                                       */
    float residual; /* times a key's residual                           */
    float norm;     /* times a key's norm                               */
};

/*
 * above[q] gets a bit for each key whose bound
 *
 *     scale (c . d) key.scale + residual key.residual + norm key.norm + key.offset
 *
 * is above threshold[q], or is not a number.
 *
 *     codes    groups * 256 bytes, 64-byte aligned
 *     query    groups * 4 codes each, 4-byte aligned
 *     ahead    as for tiles (kernel.h), but a hint: of memory that lies in order a kernel may leave
 *              a part to what the machine prefetches by itself
 */
struct dk_screen_i8 {
    const uint8_t *codes;
    size_t groups;
    const struct dk_key_terms *key;
    size_t queries; /* 1 .. 6 */
    const int8_t *const *query;
    const struct dk_query_terms *term;
    const float *threshold; /* one for each query */
    uint64_t *above;
    const char *ahead;
    size_t ahead_lines;
};
typedef void dk_screen_i8_fn(const struct dk_screen_i8 *args);

/*
 * Codes of four bits, for members named screen_i4: the same call and the same bound, with codes
 * c = 2 n - 15 for a nibble n of 0 .. 15, and -15 sum d in start. A group is 8 dimensions: in the
 * byte where int8 has dimension j of 4, the lower nibble is dimension j and the upper one 4 + j.
 * 'query' has groups * 8 codes, 0 beyond the last dimension, where a nibble may be anything.
 */
enum { DK_I4_GROUP = 8 };

#endif /* DOTK_KERNEL_SCREEN_I8_H */
