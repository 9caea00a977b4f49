/* vec_avx2.h - a vector of f32 for AVX2; what the operations mean: portable/vec_portable.h */
#ifndef DOTK_KERNEL_VEC_AVX2_H
#define DOTK_KERNEL_VEC_AVX2_H

#include <immintrin.h>

#include "kernel/kernel.h"

#define VEC_TARGET DK_TARGET("avx2,fma")
#define VEC_FN     DK_INLINE VEC_TARGET

enum { VEC_LANES = 8 };
typedef __m256 vec;

VEC_FN vec
vec_load(const float *from)
{
    return _mm256_load_ps(from);
}

VEC_FN void
vec_store(float *to, vec a)
{
    _mm256_storeu_ps(to, a);
}

VEC_FN void
vec_store_first(float *to, size_t count, vec a)
{
    /* 'count' ones (1 .. 7), then zeros */
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const int32_t *const lanes = ones + VEC_LANES - count;
    _mm256_maskstore_ps(to, _mm256_loadu_si256((const __m256i *)lanes), a);
}

VEC_FN vec
vec_set(float a)
{
    return _mm256_set1_ps(a);
}

VEC_FN vec
vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

VEC_FN vec
vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

VEC_FN vec
vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

VEC_FN vec
vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

VEC_FN vec
vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

VEC_FN vec
vec_fnma(vec a, vec b, vec c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

VEC_FN vec
vec_larger(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

VEC_FN vec
vec_smaller(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

VEC_FN vec
vec_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

VEC_FN vec
vec_with_sign(vec a, vec s)
{
    return _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0f), s));
}

VEC_FN vec
vec_if_negative(vec s, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, s);
}

VEC_FN vec
vec_shift_to_power(vec a, unsigned bias)
{
    const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(shifted, _mm256_set1_epi32((int)bias)));
}

#endif /* DOTK_KERNEL_VEC_AVX2_H */
