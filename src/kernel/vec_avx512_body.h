/* vec_avx512_body.h - a vector of f32 for AVX-512; what the operations mean:
 * portable/vec_portable.h */
#ifndef DOTK_KERNEL_VEC_AVX512_BODY_H
#define DOTK_KERNEL_VEC_AVX512_BODY_H

#include <immintrin.h>

#include "kernel/kernel.h"

#define VEC_TARGET DK_TARGET("avx512f,avx512dq")
#define VEC_FN     DK_INLINE VEC_TARGET

enum { VEC_LANES = 16 };
typedef __m512 vec;

VEC_FN vec
vec_load(const float *from)
{
    return _mm512_load_ps(from);
}

VEC_FN void
vec_store(float *to, vec a)
{
    _mm512_storeu_ps(to, a);
}

VEC_FN void
vec_store_first(float *to, size_t count, vec a)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), a);
}

VEC_FN vec
vec_set(float a)
{
    return _mm512_set1_ps(a);
}

VEC_FN vec
vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

VEC_FN vec
vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

VEC_FN vec
vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

VEC_FN vec
vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

VEC_FN vec
vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

VEC_FN vec
vec_fnma(vec a, vec b, vec c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

VEC_FN vec
vec_larger(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

VEC_FN vec
vec_smaller(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

VEC_FN vec
vec_abs(vec a)
{
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}

VEC_FN vec
vec_with_sign(vec a, vec s)
{
    return _mm512_or_ps(a, _mm512_and_ps(_mm512_set1_ps(-0.0f), s));
}

VEC_FN vec
vec_if_negative(vec s, vec a, vec b)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(s)), b, a);
}

VEC_FN vec
vec_shift_to_power(vec a, unsigned bias)
{
    const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(a), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(shifted, _mm512_set1_epi32((int)bias)));
}

#endif /* DOTK_KERNEL_VEC_AVX512_BODY_H */
