/* bias_act_portable.c - bias and activation in plain C, one value at a time; method: bias_act.h */
#include "kernel/portable/kernels_portable.h"
#include "kernel/portable/vec_portable.h"

#include "kernel/bias_act_body.h"

void
dk_bias_act_f32_portable(float (*tile)[64], size_t rows, size_t cols, const float *bias,
                         enum dk_activation activation, float *out, size_t out_stride)
{
    bias_act(tile, rows, cols, bias, activation, out, out_stride);
}
