/* gradient_avx512.c - attention backwards for AVX-512: 24 registers of sums, 6 rows x 64 columns */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"

#define GRADIENT_TARGET DK_TARGET("avx512f,avx512dq")
#define VEC_FN          DK_INLINE GRADIENT_TARGET

enum { LANES = 16, VECS = 4 };
typedef __m512 vec;

VEC_FN vec
vec_load(const float *from)
{
    return _mm512_load_ps(from);
}

VEC_FN vec
vec_load_any(const float *from)
{
    return _mm512_loadu_ps(from);
}

VEC_FN vec
vec_load_first(const float *from, size_t count)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
}

VEC_FN void
vec_store(float *to, vec a)
{
    _mm512_store_ps(to, a);
}

VEC_FN void
vec_store_any(float *to, vec a)
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
    return _mm512_abs_ps(a);
}

VEC_FN vec
vec_with_sign(vec a, vec s)
{
    return _mm512_or_ps(a, _mm512_and_ps(s, _mm512_set1_ps(-0.0f)));
}

VEC_FN vec
vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

VEC_FN vec
vec_scale(vec a, vec n)
{
    return _mm512_mul_ps(a,
                         _mm512_castsi512_ps(_mm512_slli_epi32(
                             _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23)));
}

VEC_FN bool
vec_any_above(vec a, vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0;
}

VEC_FN vec
vec_above(vec a, vec b, vec x, vec y)
{
    return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), x);
}

VEC_FN vec
vec_keep(uint64_t bits, size_t c, vec x)
{
    return _mm512_maskz_mov_ps((__mmask16)(bits >> c), x);
}

/* asm: see tile_avx512.c */
VEC_FN void
vec_prefetch(const float *from)
{
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)from));
}

#include "kernel/gradient_body.h"

GRADIENT_TARGET void
dk_gradient_cells_f32_avx512(const struct dk_gradient_cells *args)
{
    cells_rows(args);
}

GRADIENT_TARGET void
dk_gradient_sum_f32_avx512(const struct dk_gradient_sum *args)
{
    sum_of[args->rows](args);
}

const struct dk_gradient_kernels dk_gradient_avx512 = {
    .name = "gradient_avx512",
    .tile_f32 = dk_tile_dot_f32_avx512,
    .cells_f32 = dk_gradient_cells_f32_avx512,
    .sum_f32 = dk_gradient_sum_f32_avx512,
    .flop_per_ms = 1e8,
};
