/* linear_neon.c - linear attention for Neon; what the kernels do: linear.h */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vec_neon.h"

#include "kernel/linear_body.h"

VEC_TARGET void
dk_linear_f32_neon(const struct dk_linear_f32 *args)
{
    linear(args);
}

VEC_TARGET void
dk_exp_f32_neon(const float *x, size_t count, float *out)
{
    exponentials(x, count, out);
}
