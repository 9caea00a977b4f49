/* gradient_avx512.c - attention backwards for AVX-512: 24 registers of sums, 6 rows x 64 columns */
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512/vec_avx512.h"

enum { VECS = 4 };

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

VEC_TARGET void
dk_gradient_cells_f32_avx512(const struct dk_gradient_cells *args)
{
    cells_rows(args);
}

VEC_TARGET void
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
