/* kernels_avx512bf16.h - what avx512bf16/ offers to its table; the rest is avx512vnni/'s */
#ifndef DOTK_KERNEL_KERNELS_AVX512BF16_H
#define DOTK_KERNEL_KERNELS_AVX512BF16_H

#include "kernel/kernel.h"

dk_fma_fn dk_fma_bf16_avx512bf16;
enum { DK_FMA_FLOP_AVX512BF16 = 4 * 16 * 12 };
extern const struct dk_kernels dk_kernels_avx512bf16;

/*
 * acc (16 floats) += products of pairs: of the bf16 numbers 2i and 2i + 1 of a and b, into float i,
 * denormals taken for zeros. asm, because gcc 12 copies registers around the intrinsic. The second
 * takes one pair in memory for all of a; see softmax_v_avx512.c.
 */
#define DK_DOT_PAIRS(acc, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b))
#define DK_DOT_PAIR_OF(acc, pair, b)                                                               \
    __asm__("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(acc) : "m"(pair), "v"(b))

#endif /* DOTK_KERNEL_KERNELS_AVX512BF16_H */
