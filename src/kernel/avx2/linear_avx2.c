/* linear_avx2.c - linear attention for AVX2; what the kernels do: linear.h */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx2/vec_avx2.h"

#include "kernel/linear_body.h"

VEC_TARGET void
dk_linear_f32_avx2(const struct dk_linear_f32 *args)
{
    linear(args);
}

VEC_TARGET void
dk_exp_f32_avx2(const float *x, size_t count, float *out)
{
    exponentials(x, count, out);
}
