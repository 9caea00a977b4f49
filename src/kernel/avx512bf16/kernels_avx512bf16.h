/* kernels_avx512bf16.h - what avx512bf16/ offers to its table; the rest is avx512vnni/'s */
#ifndef DOTK_KERNEL_KERNELS_AVX512BF16_H
#define DOTK_KERNEL_KERNELS_AVX512BF16_H

#include "kernel/kernel.h"

dk_weigh_fn dk_weigh_bf16_avx512bf16;
dk_blend_fn dk_blend_bf16_avx512bf16;
dk_tile_f32_fn dk_gradient_tile_bf16_avx512bf16;
dk_gradient_cells_fn dk_gradient_cells_bf16_avx512bf16;
dk_gradient_sum_fn dk_gradient_sum_bf16_avx512bf16;
extern const struct dk_gradient_kernels dk_gradient_avx512bf16;
extern const struct dk_softmax_v_kernels dk_softmax_v_avx512bf16;
dk_fma_fn dk_fma_bf16_avx512bf16;
enum { DK_FMA_FLOP_AVX512BF16 = 4 * 16 * 12 };
extern const struct dk_kernels dk_kernels_avx512bf16;

#endif /* DOTK_KERNEL_KERNELS_AVX512BF16_H */
