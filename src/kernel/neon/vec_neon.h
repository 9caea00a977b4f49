/* vec_neon.h - a vector of f32 for Neon; what the operations mean: portable/vec_portable.h */
#ifndef DOTK_KERNEL_VEC_NEON_H
#define DOTK_KERNEL_VEC_NEON_H

#include <arm_neon.h>

#include "kernel/kernel.h"

#define VEC_TARGET
#define VEC_FN DK_INLINE VEC_TARGET

enum { VEC_LANES = 4 };
typedef float32x4_t vec;

VEC_FN vec
vec_load(const float *from)
{
    return vld1q_f32(from);
}

VEC_FN void
vec_store(float *to, vec a)
{
    vst1q_f32(to, a);
}

VEC_FN void
vec_store_first(float *to, size_t count, vec a)
{
    for (size_t i = 0; i < count; i++)
        to[i] = a[i];
}

VEC_FN vec
vec_set(float a)
{
    return vdupq_n_f32(a);
}

VEC_FN vec
vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

VEC_FN vec
vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}

VEC_FN vec
vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

VEC_FN vec
vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}

VEC_FN vec
vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

VEC_FN vec
vec_fnma(vec a, vec b, vec c)
{
    return vfmsq_f32(c, a, b);
}

VEC_FN vec
vec_larger(vec a, vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

VEC_FN vec
vec_smaller(vec a, vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

VEC_FN vec
vec_abs(vec a)
{
    return vabsq_f32(a);
}

VEC_FN vec
vec_with_sign(vec a, vec s)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), s, a);
}

VEC_FN vec
vec_if_negative(vec s, vec a, vec b)
{
    return vbslq_f32(vcltzq_s32(vreinterpretq_s32_f32(s)), a, b);
}

VEC_FN vec
vec_shift_to_power(vec a, unsigned bias)
{
    const uint32x4_t shifted = vshlq_n_u32(vreinterpretq_u32_f32(a), 23);
    return vreinterpretq_f32_u32(vaddq_u32(shifted, vdupq_n_u32(bias)));
}

#endif /* DOTK_KERNEL_VEC_NEON_H */
