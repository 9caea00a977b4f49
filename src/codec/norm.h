/*
 * norm.h - lengths of f32 vectors, and unit vectors
 *
 * One definition for search, for the vector functions and for tests, with the same bits on
 * every machine.
 */
#ifndef DOTK_CODEC_NORM_H
#define DOTK_CODEC_NORM_H

#include <stddef.h>

/*
 * The sum of x[i]^2 in double: eight sums, of the dimensions congruent modulo 8 in order, are
 * added pairwise. Squares are exact and cannot overflow, so the result is finite exactly when
 * every x[i] is, and 0 exactly when every x[i] is. Relative error <= (dim / 8 + 4) * 2^-53.
 */
double dk_sum_of_squares(const float *x, size_t dim);

/*
 * out[i] = x[i] * (1 / sqrt(sum_of_squares)), multiplied in double and rounded once; out may be
 * x. 'sum_of_squares' is that of x, finite and above 0.
 */
void dk_scale_to_unit(const float *x, size_t dim, double sum_of_squares, float *out);

#endif /* DOTK_CODEC_NORM_H */
