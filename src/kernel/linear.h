/*
 * linear.h - kernels of linear attention: a run of tokens through a state, and e^x
 *
 * The state is a matrix of 'dim' rows (one a key dimension) and up to 64 columns (values); with
 * more columns there are several, because a column never meets another one. For each token, in
 * order, with u[c] = value[c], or under the delta rule beta * (value[c] - recalled[c]):
 *
 *     recalled[c] = sum over d of probe[d] * state[d][c]        before the update
 *     state[d][c] = fma(key[d], u[c], keep[d] * state[d][c])
 *     out[h][c]   = sum over d of query[h][d] * state[d][c]     after it
 *
 * Sums are one chain of fused multiply-adds in order of d from +0, on every instruction set: the
 * bits depend on neither the set nor on how tokens are cut into runs, columns into states.
 * |sum - exact| <= (dim + 1) 2^-24 sum |q s|.
 *
 * The textbook's way to make this fast is to turn stretches of tokens into matrix products
 * ("chunked form"; for the delta rule by a triangular inverse), which does more arithmetic and
 * rounds differently for each way to cut. Here the update of a token, what its first query reads
 * and what the next token recalls are one pass over the state, and without the delta rule two
 * tokens share a pass: most of the way to being bound by arithmetic
 * (bench/ladder/linear_attention.md).
 */
#ifndef DOTK_KERNEL_LINEAR_H
#define DOTK_KERNEL_LINEAR_H

#include <stddef.h>

/*
 * Every array is 64-byte aligned. Vectors over d are 'stride' floats apart, a multiple of 16; those
 * over columns, and rows of the state, 64 floats. 'cols' is 16, 32, 48 or 64, and no column beyond
 * is touched.
 */
struct dk_linear_f32 {
    size_t dim, stride, cols;
    size_t tokens, heads; /* heads: queries of each token, at least 1             */
    float *state;
    const float *key;   /* (tokens)                                               */
    const float *keep;  /* (tokens), or NULL: nothing is forgotten                */
    const float *probe; /* (tokens): keep * key; or NULL: no delta rule           */
    const float *beta;  /* with probe: a number for each token, of any alignment  */
    const float *value; /* (tokens)                                               */
    const float *query; /* (tokens, heads)                                        */
    float *out;         /* (tokens, heads)                                        */
};
typedef void dk_linear_f32_fn(const struct dk_linear_f32 *args);

/*
 * out[i] = e^x[i] with an error of at most DK_EXP_ULP, which near 0 are units of 2^-149; the same
 * bits on every instruction set. NaN gives NaN, infinities give infinity and 0. x and out are
 * 64-byte aligned and may be the same; count is a multiple of 16.
 */
#define DK_EXP_ULP 1.5
typedef void dk_exp_f32_fn(const float *x, size_t count, float *out);

#endif /* DOTK_KERNEL_LINEAR_H */
