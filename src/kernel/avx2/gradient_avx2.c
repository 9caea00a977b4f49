/* gradient_avx2.c - attention backwards for AVX2: 12 registers of sums, 6 rows x 16 columns */
#include <immintrin.h>

#include "kernel/avx2/kernels_avx2.h"

#define GRADIENT_TARGET DK_TARGET("avx2,fma")
#define VEC_FN          DK_INLINE GRADIENT_TARGET

enum { LANES = 8, VECS = 2 };
typedef __m256 vec;

/* Lanes below 'count' all ones, the others zeros. */
VEC_FN __m256i
first_lanes(size_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

VEC_FN vec
vec_load(const float *from)
{
    return _mm256_load_ps(from);
}

VEC_FN vec
vec_load_any(const float *from)
{
    return _mm256_loadu_ps(from);
}

VEC_FN vec
vec_load_first(const float *from, size_t count)
{
    return _mm256_maskload_ps(from, first_lanes(count));
}

VEC_FN void
vec_store(float *to, vec a)
{
    _mm256_store_ps(to, a);
}

VEC_FN void
vec_store_any(float *to, vec a)
{
    _mm256_storeu_ps(to, a);
}

VEC_FN void
vec_store_first(float *to, size_t count, vec a)
{
    _mm256_maskstore_ps(to, first_lanes(count), a);
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
    return _mm256_or_ps(a, _mm256_and_ps(s, _mm256_set1_ps(-0.0f)));
}

VEC_FN vec
vec_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

VEC_FN vec
vec_scale(vec a, vec n)
{
    return _mm256_mul_ps(a,
                         _mm256_castsi256_ps(_mm256_slli_epi32(
                             _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)));
}

VEC_FN bool
vec_any_above(vec a, vec b)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
}

VEC_FN vec
vec_above(vec a, vec b, vec x, vec y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

VEC_FN vec
vec_keep(uint64_t bits, size_t c, vec x)
{
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i byte = _mm256_set1_epi32((int)(bits >> c & 0xff));
    return _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(byte, bit), bit)),
                         x);
}

/* asm: see tile_avx512.c */
VEC_FN void
vec_prefetch(const float *from)
{
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)from));
}

#include "kernel/gradient_body.h"

GRADIENT_TARGET void
dk_gradient_cells_f32_avx2(const struct dk_gradient_cells *args)
{
    cells_rows(args);
}

GRADIENT_TARGET void
dk_gradient_sum_f32_avx2(const struct dk_gradient_sum *args)
{
    sum_of[args->rows](args);
}

const struct dk_gradient_kernels dk_gradient_avx2 = {
    .name = "gradient_avx2",
    .tile_f32 = dk_tile_dot_f32_avx2,
    .cells_f32 = dk_gradient_cells_f32_avx2,
    .sum_f32 = dk_gradient_sum_f32_avx2,
    .flop_per_ms = 5e7,
};
