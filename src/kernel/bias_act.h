/* bias_act.h - kernel: what a dense layer does to a tile of sums */
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

/*
 * out[r * out_stride + c] = act(tile[r][c] + bias[c]) for r < rows, c < cols (1 .. 64).
 * bias is 64-byte aligned and 64 long (zeros where there is none); out has any alignment, and
 * nothing beyond 'cols' is written.
 */
typedef void dk_bias_act_f32_fn(float (*tile)[64], size_t rows, size_t cols, const float *bias,
                                enum dk_activation activation, float *out, size_t out_stride);

#endif /* DOTK_KERNEL_BIAS_ACT_H */
