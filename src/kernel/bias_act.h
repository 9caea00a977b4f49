/*
 * bias_act.h - kernel: what a dense layer does to a tile of sums
 *
 * Method
 * ------
 * gelu, gelu_tanh, silu and sigmoid are x (or 1) times a distribution function F, and what is
 * left of F beyond |x| is small and smooth. With a = |x|, tail(a) = 1 - F(a) = F(-a):
 *
 *     sigmoid(x)    = tail(a) where x < 0, else 1 - tail(a)
 *     x F(x)        = max(x, 0) - a tail(a)
 *
 * which, unlike the textbook's x (1 + erf(x / sqrt 2)) / 2, loses nothing where x is negative, and
 * has its limits at infinity without an infinity times zero: 'a' stops where a tail(a) is 0 in f32.
 *
 *     sigmoid, silu   tail(a) = e^-a / (1 + e^-a)
 *     gelu_tanh       the same of 2 sqrt(2 / pi) (a + 0.044715 a^3), as (1 + tanh u) / 2 is the
 *                     logistic function of 2 u
 *     gelu            a tail(a) = e^(-a^2 / 2) t P(0.38 t), t = a / (1 + 0.38 a), P of degree 9:
 *                     minimax of relative error 1.0e-8 on a <= 14.5 (the form of Hastings 1955)
 *     tanh            (1 - e^-2a) / (1 + e^-2a) with the sign of x, by e^y - 1 without cancellation
 *     e^-y            n = round(-y / ln 2), e^r - 1 by a polynomial of degree 6 (3.1e-9)
 *
 * Every instruction set runs the same operations of IEEE 754 in every lane (bias_act_body.h), so
 * the results have the same bits on all of them, wherever in a tile a value stands.
 *
 * Error, over all 2^32 values of z = fl(tile + bias), against the exact function of z; an ulp is
 * the spacing of f32 at the exact result, 2^-149 where that is denormal:
 *
 *     none, relu   0                  sigmoid, silu   DK_ACT_ULP
 *     tanh         DK_ACT_ULP         gelu            DK_ACT_ULP
 *     gelu_tanh    2^-23 |z|: its exponent is rounded before it is raised
 *
 * A NaN gives a NaN. The largest errors found are in test/kernel/test_bias_act.c.
 */
#ifndef DOTK_KERNEL_BIAS_ACT_H
#define DOTK_KERNEL_BIAS_ACT_H

#include <stddef.h>

/* Values as in dotk_activation (dense.h), which src/dense checks at compile time. */
enum dk_activation {
    DK_ACT_NONE,
    DK_ACT_RELU,
    DK_ACT_GELU,
    DK_ACT_GELU_TANH,
    DK_ACT_SILU,
    DK_ACT_SIGMOID,
    DK_ACT_TANH,
    DK_ACT_KINDS
};

#define DK_ACT_ULP 5.0

/*
 * out[r * out_stride + c] = act(tile[r][c] + bias[c]) for r < rows, c < cols (1 .. 64).
 * bias is 64-byte aligned and 64 long (zeros where there is none), as is each row of the tile; out
 * has any alignment, and nothing beyond 'cols' is written.
 */
typedef void dk_bias_act_f32_fn(float (*tile)[64], size_t rows, size_t cols, const float *bias,
                                enum dk_activation activation, float *out, size_t out_stride);

#endif /* DOTK_KERNEL_BIAS_ACT_H */
