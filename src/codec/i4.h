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
    double error;   /* |computed R x - R x| is at most that times |x|                     */
    double near;    /* an element so near to a border of codes, in steps, might cross it  */
    double doubt;   /* each such element adds that, relatively, to the square of a spread */
    float *rotated; /* 64 keys; one writer */
};

/* dim at most DK_ROTATION_DIM_MAX, 0 < delta < 1. Errors: DOTK_NO_MEMORY. */
dotk_status dk_i4_create(const struct dk_kernels *kernels, size_t dim, uint64_t seed, double delta,
                         struct dk_i4 **out);

void dk_i4_destroy(struct dk_i4 *i4); /* NULL allowed */

/* Bytes of codes of 64 keys. */
size_t dk_i4_panel_bytes(size_t dim);

/* Of either kind of codes. */
size_t dk_codes_panel_bytes(const struct dk_codes_i8 *store);

/* The codes of a query: dim rounded up to whole groups. */
size_t dk_i4_query_bytes(size_t dim);

/*
 * Sets keys 'position' on, 'count' of them in one panel, to the rows one after the other.
 * One thread at a time for each i4.
 */
void dk_i4_encode_keys(struct dk_codes_i8 *store, size_t position, size_t count, const float *rows,
                       bool squared);

/*
 * Codes of a query and its terms, less the threshold, which is dk_i8_threshold()'s. Of 'count'
 * keys, all have a bound that holds, but with probability delta. 'rotated' is room for
 * i4->rotation->padded floats, 64-byte aligned; 'roundings' as for dk_i8_encode_query().
 */
void
dk_i4_encode_query(const struct dk_i4 *i4, size_t count, const float *x, bool squared,
                   double roundings, float *rotated, int8_t *codes, struct dk_query_terms *terms);

/*
 * The smallest z we can prove such that, of a random direction in dim - 1 dimensions, one
 * coordinate is above z with probability p at most; never below what p = 1/128 asks, 1 if p is 0.
 */
double dk_i4_spread(size_t dim, double p);

#endif /* DOTK_CODEC_I4_H */
