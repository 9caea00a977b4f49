/* linear_avx512.c - linear attention for AVX-512; what the kernels do: linear.h */
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/vec_avx512_body.h"

#include "kernel/linear_body.h"

VEC_TARGET void
dk_linear_f32_avx512(const struct dk_linear_f32 *args)
{
    linear(args);
}

VEC_TARGET void
dk_exp_f32_avx512(const float *x, size_t count, float *out)
{
    exponentials(x, count, out);
}
