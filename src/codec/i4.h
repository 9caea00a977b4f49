/*
 * i4.h - vectors turned by a random rotation, as four bits an element, with a bound that may fail
 *
 * A key x is turned to R x and rounded to 16 levels; what is lost is made orthogonal to R x by the
 * choice of the scale, as in RaBitQ (Gao and Long, SIGMOD 2024). Given R x, what of R q does not
 * point along it points anywhere with equal chance. So the product of R q and what is lost is
 * small, except with a probability that can be stated: a caller's delta for all rows of a query
 * together. Kernel and terms are those of codes of a byte (kernel/screen_i8.h);
 * doc/math/screening4.md has the proof.
 */
#ifndef DOTK_CODEC_I4_H
#define DOTK_CODEC_I4_H

#include "codec/i8.h"
#include "codec/rotation.h"

/* What all vectors of an index share. */
struct dk_i4 {
    struct dk_rotation *rotation;
    double delta;
    double error; /* |computed R x - R x| is at most that times |x|                     */
    double near;  /* an element so near to a border of codes, in steps, might cross it  */
    double doubt; /* each such element adds that, relatively, to the square of a spread */
    float *room;  /* of dk_i4_encode_keys(), for one writer */
};

/* dim at most DK_ROTATION_DIM_MAX, 0 < delta < 1. Errors: DOTK_NO_MEMORY. */
dotk_status dk_i4_create(const struct dk_kernels *kernels, size_t dim, uint64_t seed, double delta,
                         struct dk_i4 **out);

void dk_i4_destroy(struct dk_i4 *i4); /* NULL allowed */

/* Bytes of codes of 64 keys. */
size_t dk_i4_panel_bytes(size_t dim);

/* The same of either kind of codes. */
size_t dk_codes_panel_bytes(const struct dk_codes_i8 *store);

/* The codes of a query: dim rounded up to whole groups. */
size_t dk_i4_query_bytes(size_t dim);

/*
 * Sets the keys at position[0 .. count - 1], at most 64, to the rows at these positions in 'rows',
 * which are dim apart. One thread at a time for each i4.
 */
void dk_i4_encode_keys(struct dk_codes_i8 *store, const size_t *position, size_t count,
                       const float *rows, bool squared);

/* Floats that dk_i4_encode_queries() needs for n queries. */
size_t dk_i4_room(const struct dk_i4 *i4, size_t n);

/*
 * Codes of n queries (1 .. 64), 'stride' apart, and their terms, less the threshold, which is
 * dk_i8_threshold()'s; codes are dk_i4_query_bytes() apart. Of 'count' keys, all have a bound that
 * holds for a query, but with probability delta. 'room' is dk_i4_room() floats, 64-byte aligned;
 * 'roundings' as for dk_i8_encode_query(). Any number of threads.
 */
void dk_i4_encode_queries(const struct dk_i4 *i4, size_t count, const float *queries, size_t stride,
                          size_t n, bool squared, double roundings, float *room, int8_t *codes,
                          struct dk_query_terms *terms);

/*
 * The smallest z we can prove such that, of a random direction in dim - 1 dimensions, one
 * coordinate is above z with probability p at most; never below what p = 1/128 asks, 1 if p is 0.
 */
double dk_i4_spread(size_t dim, double p);

#endif /* DOTK_CODEC_I4_H */
