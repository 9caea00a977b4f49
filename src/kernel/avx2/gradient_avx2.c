/* gradient_avx2.c - attention backwards for AVX2: 12 registers of sums, 6 rows x 16 columns */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx2/vec_avx2.h"

enum { VECS = 2 };

/* Lanes below 'count' all ones, the others zeros. */
VEC_FN __m256i
first_lanes(size_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
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

VEC_TARGET void
dk_gradient_cells_f32_avx2(const struct dk_gradient_cells *args)
{
    cells_rows(args);
}

VEC_TARGET void
dk_gradient_sum_f32_avx2(const struct dk_gradient_sum *args)
{
    sum_of[args->rows](args);
}

const struct dk_gradient_kernels dk_gradient_avx2 = {
    .name = "gradient_avx2",
    .pairs = false,
    .tile = dk_tile_dot_f32_avx2,
    .cells = dk_gradient_cells_f32_avx2,
    .sum = dk_gradient_sum_f32_avx2,
    .flop_per_ms = 5e7,
};
