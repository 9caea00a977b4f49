/* linear_portable.c - linear attention in plain C; what the kernels do: linear.h */
#include "kernel/portable/kernels_portable.h"
#include "kernel/portable/vec_portable.h"

#include "kernel/linear_body.h"

VEC_TARGET void
dk_linear_f32_portable(const struct dk_linear_f32 *args)
{
    linear(args);
}

VEC_TARGET void
dk_exp_f32_portable(const float *x, size_t count, float *out)
{
    exponentials(x, count, out);
}
