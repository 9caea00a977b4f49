/*
 * vec_portable.h - a vector of f32, for kernels whose body is written once
 *
 * Every vec_<isa>.h and vec_avx512_body.h defines VEC_TARGET (the function attribute), VEC_FN (what
 * goes before an inline function's type), VEC_LANES, and a type 'vec' of that many f32 with
 *
 *     vec_load vec_store vec_store_first      64-byte aligned; any alignment; the first n lanes
 *     vec_set vec_add vec_sub vec_mul vec_div
 *     vec_fma(a, b, c)       a b + c          vec_fnma(a, b, c)      c - a b
 *     vec_larger(a, b)       a > b ? a : b, so a NaN in b stays
 *     vec_smaller(a, b)      a < b ? a : b
 *     vec_abs(a)             vec_with_sign(a, s): a >= 0 with the sign of s
 *     vec_if_negative(s, a, b)                a where the sign of s is set, else b
 *     vec_shift_to_power(a, bias)             bits of a, times 2^23, plus bias, modulo 2^32
 *
 * Each is the same operation of IEEE 754 in every lane, so that a body gives the same bits on every
 * instruction set. Here a vector is one number.
 */
#ifndef DOTK_KERNEL_VEC_PORTABLE_H
#define DOTK_KERNEL_VEC_PORTABLE_H

#include <string.h>

#include "kernel/portable/fma_portable.h"

#define VEC_TARGET
#define VEC_FN DK_INLINE VEC_TARGET

enum { VEC_LANES = 1 };
typedef float vec;

VEC_FN vec
vec_load(const float *from)
{
    return *from;
}

VEC_FN void
vec_store(float *to, vec a)
{
    *to = a;
}

/* With one lane there is never a part of a vector to store. */
VEC_FN void
vec_store_first(float *to, size_t count, vec a)
{
    if (count == VEC_LANES)
        *to = a;
}

VEC_FN vec
vec_set(float a)
{
    return a;
}

VEC_FN vec
vec_add(vec a, vec b)
{
    return a + b;
}

VEC_FN vec
vec_sub(vec a, vec b)
{
    return a - b;
}

VEC_FN vec
vec_mul(vec a, vec b)
{
    return a * b;
}

VEC_FN vec
vec_div(vec a, vec b)
{
    return a / b;
}

VEC_FN vec
vec_fma(vec a, vec b, vec c)
{
    return dk_fma_portable(a, b, c);
}

VEC_FN vec
vec_fnma(vec a, vec b, vec c)
{
    return dk_fma_portable(-a, b, c);
}

VEC_FN vec
vec_larger(vec a, vec b)
{
    return a > b ? a : b;
}

VEC_FN vec
vec_smaller(vec a, vec b)
{
    return a < b ? a : b;
}

VEC_FN vec
vec_abs(vec a)
{
    return __builtin_fabsf(a);
}

VEC_FN vec
vec_with_sign(vec a, vec s)
{
    return __builtin_copysignf(a, s);
}

VEC_FN vec
vec_if_negative(vec s, vec a, vec b)
{
    return __builtin_signbit(s) ? a : b;
}

VEC_FN vec
vec_shift_to_power(vec a, unsigned bias)
{
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits = (bits << 23) + bias;
    memcpy(&a, &bits, sizeof a);
    return a;
}

#endif /* DOTK_KERNEL_VEC_PORTABLE_H */
