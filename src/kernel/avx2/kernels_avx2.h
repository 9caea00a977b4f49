/* kernels_avx2.h - what avx2/ offers to its table */
#ifndef DOTK_KERNEL_KERNELS_AVX2_H
#define DOTK_KERNEL_KERNELS_AVX2_H

#include "kernel/kernel.h"

dk_tile_f32_fn dk_tile_dot_f32_avx2, dk_tile_l2_f32_avx2;
dk_screen_i8_fn dk_screen_i8_avx2;
dk_screen_i8_fn dk_screen_i4_avx2;
dk_few_f32_fn dk_few_dot_f32_avx2, dk_few_l2_f32_avx2;
dk_pair_f32_fn dk_pair_dot_f32_avx2, dk_pair_l2_f32_avx2;
dk_screen_fn dk_screen_dot_f32_avx2, dk_screen_l2_f32_avx2;
dk_screen_fn dk_screen_dot_f16_avx2, dk_screen_l2_f16_avx2;
dk_screen_fn dk_screen_dot_bf16_avx2, dk_screen_l2_bf16_avx2;
dk_pack_f32_fn dk_pack_f32_avx2;
dk_scale_f32_fn dk_scale_f32_avx2;
dk_bias_act_f32_fn dk_bias_act_f32_avx2;
dk_dropout_fn dk_dropout_avx2;
dk_linear_f32_fn dk_linear_f32_avx2;
dk_exp_f32_fn dk_exp_f32_avx2;
dk_weigh_fn dk_weigh_f32_avx2;
dk_blend_fn dk_blend_f32_avx2;
dk_gradient_cells_fn dk_gradient_cells_f32_avx2;
dk_gradient_sum_fn dk_gradient_sum_f32_avx2;
extern const struct dk_gradient_kernels dk_gradient_avx2;
extern const struct dk_softmax_v_kernels dk_softmax_v_avx2;
extern const struct dk_widen_kernels dk_widen_avx2;
extern const struct dk_yardstick_kernels dk_yardstick_avx2;
extern const struct dk_kernels dk_kernels_avx2;

#endif /* DOTK_KERNEL_KERNELS_AVX2_H */
