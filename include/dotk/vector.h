/*
 * dotk/vector.h - one or two vectors: products, lengths, angles, softmax
 *
 *     dotk_dot, dotk_cosine, dotk_l2, dotk_norm, dotk_angle ... numbers
 *     dotk_normalize, dotk_project ............................ vectors
 *     dotk_softmax, dotk_log_softmax .......................... weights
 *     dotk_narrow, dotk_widen ................................. f32 to f16 or bf16, and back
 *     dotk_inspect ............................................ a whole set of vectors
 *
 * Vectors are 'dim' consecutive f32 values. dim = 0 is allowed wherever the result
 * has a meaning (dot 0, norm 0). Functions that return a float cannot fail; NaN and
 * infinity pass through them as IEEE 754 arithmetic has it.
 *
 * The bits of dotk_dot() and dotk_l2() are the ones that a search with the same
 * vectors reports, on every CPU: fused multiply-adds in chains of 256 dimensions, in
 * order, chain sums added in order. Norms accumulate in double.
 *
 * Memory:  every argument is borrowed.
 * Threads: pure, all of them.
 *
 * "Squared norm not finite" means as an f32: a NaN, an infinity, or a length above 1.8e19.
 */
#ifndef DOTK_VECTOR_H
#define DOTK_VECTOR_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The sum of a[i] * b[i]. Error <= (dim + 1) * 2^-24 * sum |a[i] * b[i]|. */
DOTK_API float dotk_dot(const float *a, const float *b, size_t dim);

/* The squared Euclidean distance, the sum of (a[i] - b[i])^2. */
DOTK_API float dotk_l2(const float *a, const float *b, size_t dim);

/* The Euclidean length of a, accumulated in double. */
DOTK_API float dotk_norm(const float *a, size_t dim);

/*
 * The cosine of the angle between a and b, in [-1, 1], accumulated in double.
 * Errors: DOTK_BAD_ARGUMENT when a or b is a zero vector or its squared norm is not
 *         finite: no angle exists.
 */
DOTK_API dotk_status dotk_cosine(const float *a, const float *b, size_t dim, float *out);

/*
 * The angle between a and b in radians, 0 .. pi; accurate near 0 and pi too, where acos() of
 * the cosine is not. Errors: as dotk_cosine().
 */
DOTK_API dotk_status dotk_angle(const float *a, const float *b, size_t dim, float *out);

/*
 * out = a / |a|; out may be a. norm, unless NULL, receives |a|.
 * Errors: DOTK_BAD_ARGUMENT when a is a zero vector or its squared norm is not finite.
 */
DOTK_API dotk_status dotk_normalize(const float *a, size_t dim, float *out, float *norm);

/*
 * out = (a.b / b.b) b, the projection of a on b; out may be a or b.
 * Errors: DOTK_BAD_ARGUMENT when b is a zero vector or a squared norm is not finite.
 */
DOTK_API dotk_status dotk_project(const float *a, const float *b, size_t dim, float *out);

/*
 * out[i] = exp(a[i] / temperature) / sum_j exp(a[j] / temperature), computed after
 * subtracting the maximum, so that it cannot overflow; out may be a. -INFINITY entries
 * get weight 0; when all are -INFINITY every weight is 0. A NaN or a +INFINITY makes every
 * weight NaN. Relative error of a weight <= 2^-23, for weights above 2^-126.
 * Errors: DOTK_BAD_ARGUMENT unless temperature is finite and above 0.
 */
DOTK_API dotk_status dotk_softmax(const float *a, size_t dim, float temperature, float *out);

/*
 * out[i] = the logarithm of what dotk_softmax() gives, worked out without its underflow; out may be
 * a. Where that is 0, or NaN, this is -INFINITY, or NaN. Error <= 2^-24 |out[i]| + dim * 2^-52.
 * Errors: as dotk_softmax().
 */
DOTK_API dotk_status dotk_log_softmax(const float *a, size_t dim, float temperature, float *out);

/*
 * out = 'count' numbers as 'store' (f32, f16 or bf16) has them: to the nearest, of two equally near
 * ones to the one whose last bit is 0; beyond the largest, infinity. NaN stays NaN. f16 and bf16
 * are 2 bytes each. 'numbers' and out do not overlap. Errors: DOTK_BAD_ARGUMENT (NULL, int8).
 */
DOTK_API dotk_status dotk_narrow(const float *numbers, size_t count, dotk_store store, void *out);

/* The way back, which is exact. Errors: as dotk_narrow(). */
DOTK_API dotk_status dotk_widen(const void *numbers, size_t count, dotk_store store, float *out);

/* ------------------------------------------------------------------------- */
/*  Looking at a whole set                                                   */
/* ------------------------------------------------------------------------- */

typedef struct dotk_inspection {
    size_t rows, dim;
    size_t nan_rows, infinite_rows;       /* rows with a NaN; rows with an infinity and no NaN   */
    size_t zero_rows;                     /* rows of zeros only                                  */
    size_t duplicate_rows;                /* rows equal, bit for bit, to an earlier row          */
    size_t unit_rows;                     /* finite rows with | |x| - 1 | <= 1e-3                */
    double norm_min, norm_mean, norm_max; /* over the finite rows; 0 when there are none   */
    double norm_quantile[5];              /* 1 %, 25 %, 50 %, 75 %, 99 % of those norms          */
    int unit;                             /* 1: every row is a unit vector                       */
    int mixed;                            /* 1: some rows are normalised and some are not; below */
    const char *metric;                   /* the metric that fits: "dot", "cosine" or "l2"       */
    const char *why;                      /* one sentence; both are static text                  */
} dotk_inspection;

/*
 * Describes 'rows' vectors of 'dim' values: norms, bad rows, and the metric that fits.
 *
 * "mixed" looks at the finite rows that are not zero: some are unit length, at least 1 % of
 * them, and they outnumber those whose length misses 1 by 1e-3 to 1e-2 (lengths that merely
 * lie around 1 are not a mixture). Quantiles are exact (nearest rank), norms rounded to f32.
 *
 * Memory:  needs about 24 bytes a row while it runs.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, dim 0, stride below dim, a size that overflows),
 *          DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_inspect(dotk_context *context, const float *vectors, size_t rows,
                                  size_t dim, size_t stride, dotk_inspection *out);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_VECTOR_H */
