/* bias_act_avx512.c - bias and activation for AVX-512; method: bias_act.h */
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/vec_avx512_body.h"

#include "kernel/bias_act_body.h"

VEC_TARGET void
dk_bias_act_f32_avx512(float (*tile)[64], size_t rows, size_t cols, const float *bias,
                       enum dk_activation activation, float *out, size_t out_stride)
{
    bias_act(tile, rows, cols, bias, activation, out, out_stride);
}
