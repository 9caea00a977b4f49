/* bias_act_portable.c - bias and activation in plain C, one value at a time; method: bias_act.h */
#include <string.h>

#include "kernel/portable/fma_portable.h"
#include "kernel/portable/kernels_portable.h"

#define ACT_TARGET

enum { ACT_LANES = 1 };
typedef float vec;

DK_INLINE vec
vec_load(const float *from)
{
    return *from;
}

DK_INLINE void
vec_store(float *to, vec a)
{
    *to = a;
}

/* With one lane there is never a part of a vector to store. */
DK_INLINE void
vec_store_first(float *to, size_t count, vec a)
{
    if (count == ACT_LANES)
        *to = a;
}

DK_INLINE vec
vec_set(float a)
{
    return a;
}

DK_INLINE vec
vec_add(vec a, vec b)
{
    return a + b;
}

DK_INLINE vec
vec_sub(vec a, vec b)
{
    return a - b;
}

DK_INLINE vec
vec_mul(vec a, vec b)
{
    return a * b;
}

DK_INLINE vec
vec_div(vec a, vec b)
{
    return a / b;
}

DK_INLINE vec
vec_fma(vec a, vec b, vec c)
{
    return dk_fma_portable(a, b, c);
}

DK_INLINE vec
vec_fnma(vec a, vec b, vec c)
{
    return dk_fma_portable(-a, b, c);
}

DK_INLINE vec
vec_larger(vec a, vec b)
{
    return a > b ? a : b;
}

DK_INLINE vec
vec_smaller(vec a, vec b)
{
    return a < b ? a : b;
}

DK_INLINE vec
vec_abs(vec a)
{
    return __builtin_fabsf(a);
}

DK_INLINE vec
vec_with_sign(vec a, vec s)
{
    return __builtin_copysignf(a, s);
}

DK_INLINE vec
vec_if_negative(vec s, vec a, vec b)
{
    return __builtin_signbit(s) ? a : b;
}

DK_INLINE vec
vec_shift_to_power(vec a, unsigned bias)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits << 23) + bias;
    memcpy(&a, &bits, sizeof a);
    return a;
}

#include "kernel/bias_act_body.h"

void
dk_bias_act_f32_portable(float (*tile)[64], size_t rows, size_t cols, const float *bias,
                         enum dk_activation activation, float *out, size_t out_stride)
{
    bias_act(tile, rows, cols, bias, activation, out, out_stride);
}
