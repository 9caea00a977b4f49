/* bias_act_neon.c - bias and activation for Neon; method: bias_act.h */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vec_neon.h"

#include "kernel/bias_act_body.h"

void
dk_bias_act_f32_neon(float (*tile)[64], size_t rows, size_t cols, const float *bias,
                     enum dk_activation activation, float *out, size_t out_stride)
{
    bias_act(tile, rows, cols, bias, activation, out, out_stride);
}
