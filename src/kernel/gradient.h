/*
 * gradient.h - kernels: attention backwards, from the log-sum-exp
 *
 * With s the scores, p = 2^(s - lse) the weights, dO the gradient of an output row and delta its
 * product with that output row, the textbook's
 *
 *     dV = p^T dO      dp = dO V^T      ds = p (dp - delta)      dQ = ds K      dK = ds^T Q
 *
 * are five products: scores and dp by tile kernels (kernel.h) on panels of keys and of values, and
 * the three others all of one kind, rows summed with weights:
 *
 *     cells()    6 rows x 64 keys of scores and dp become weights and gradients, which lie in
 *                blocks of DK_GRADIENT_STRIDE columns until all rows of a block are there
 *     sum()      for dQ the block's rows, one after the other, weigh keys ("across"); for dK and dV
 *                its columns weigh queries and gradients of outputs ("down")
 *
 * The stride is no multiple of 64, so that neighbouring rows of a column lie in different sets of
 * L1.
 *
 * What products multiply is a *word*, as in softmax_v.h: a float, or with 'pairs' a pair of bf16
 * numbers, the first in the lower half. Tiles have pairs of dimensions; sums have pairs of what
 * they add up, so that cells become pairs of rows for "down" and pairs of keys for "across".
 * Products of pairs are added in f32, denormals being taken for zeros, and cells are rounded to
 * bf16, to nearest even.
 */
#ifndef DOTK_KERNEL_GRADIENT_H
#define DOTK_KERNEL_GRADIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DK_GRADIENT_ROWS = 6,    /* most rows of a tile and of a sum */
    DK_GRADIENT_STRIDE = 80, /* of a block: 64 columns and room  */
};

/*
 * Weights and gradients of 'rows' rows and the first 'cols' (16, 32, 48 or 64) keys of a panel:
 *
 *     s              = score[r][c], of pairs times 'scale'; with a softcap softcap tanh(s/softcap);
 *                      with a bias plus bias[r][c]
 *     p              = 2^(s - lse[r])
 *     d              = product[r][c]
 *     p', d'         = p, d; with dropout both times 'boost' where bit c of stay[r] is set, else 0
 *     weight[r][c]   = p'
 *     gradient[r][c] = p (d' - delta[r]), times 1 - tanh^2(..) with a softcap unless 'uncapped'
 *
 * both 0 where keep is not NULL and bit c of keep[r] is not set, whatever else stands there. An
 * lse of +infinity makes weights 0. Columns from cols on become 0. All arrays of cells are 64-byte
 * aligned, and so is every row of weight and gradient.
 *
 * Of pairs, weight[r / 2][c] and gradient[r / 2][c] are words of the rows r and r + 1, r being
 * even, with 0 for a row that is missing; and across[r][c / 2] is the word of gradient[r][c] and
 * its neighbour. 'exact' receives the gradients before they are rounded.
 *
 * Error: 2^x within 4e-7 of itself, 0 below 2^-126; softcap as in softmax_v.h.
 */
struct dk_gradient_cells {
    size_t rows, cols;
    const float (*score)[64], (*product)[64];
    float scale;              /* of pairs alone                  */
    const float *lse, *delta; /* lse in base 2                   */
    const uint64_t *keep;     /* NULL: every key counts          */
    const uint64_t *stay;     /* NULL: no dropout                */
    float boost;
    const float (*bias)[64]; /* NULL: none; in base 2 */
    float softcap;           /* 0: none; in base 2: 0 or in 2^-126 .. 2^126 */
    bool uncapped;
    float (*weight)[DK_GRADIENT_STRIDE], (*gradient)[DK_GRADIENT_STRIDE];
    float (*across)[DK_GRADIENT_STRIDE]; /* of pairs alone */
    float (*exact)[DK_GRADIENT_STRIDE];  /* of pairs alone; NULL: not wanted */
};
typedef void dk_gradient_cells_fn(const struct dk_gradient_cells *args);

/*
 * output[r][e] += factor * sum of w(r, k) * value[k][e] over k < count, r < rows (1 .. 6),
 * e < width; the sum is of fused multiply-adds from 0 in order of k (the portable kernel rounds
 * between product and sum).
 *
 *     across   w(r, k) = weight[r * DK_GRADIENT_STRIDE + k]
 *     down     w(r, k) = weight[k * DK_GRADIENT_STRIDE + r]
 *
 * Weights and values are words, and so 'count' and 'value_stride' are of words.
 *
 * Rows of output and value have no alignment; exactly their 'width' is touched.
 * |error| <= (count + 3) 2^-24 (|output| + |factor| sum |w value|)
 */
struct dk_gradient_sum {
    bool down;
    const float *weight;
    size_t rows, count;
    const float *value;
    size_t value_stride, width;
    float factor;
    float *const *output;
};
typedef void dk_gradient_sum_fn(const struct dk_gradient_sum *args);

struct dk_gradient_kernels {
    const char *name;     /* "gradient_<isa>"                 */
    bool pairs;           /* words are pairs of bf16, or floats */
    dk_tile_f32_fn *tile; /* of words, without thresholds: whatever sums fastest; at most 6 rows */
    dk_gradient_cells_fn *cells;
    dk_gradient_sum_fn *sum;
    double flop_per_ms; /* roughly, to cut work into tasks of some milliseconds */
};

#endif /* DOTK_KERNEL_GRADIENT_H */
