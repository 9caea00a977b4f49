/*
 * gradient_avx512_body.h - gradient_body.h for AVX-512: 24 registers of sums, 6 rows x 64 columns
 *
 * SUM_WORDS, where words are not floats: gradient_body.h.
 */
#ifndef DOTK_KERNEL_GRADIENT_AVX512_BODY_H
#define DOTK_KERNEL_GRADIENT_AVX512_BODY_H

#include "kernel/vec_avx512_body.h"

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

#endif /* DOTK_KERNEL_GRADIENT_AVX512_BODY_H */
