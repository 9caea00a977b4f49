/* kernels_portable.h - what portable/ offers to its table */
#ifndef DOTK_KERNEL_KERNELS_PORTABLE_H
#define DOTK_KERNEL_KERNELS_PORTABLE_H

#include "kernel/kernel.h"

dk_tile_f32_fn dk_tile_dot_f32_portable, dk_tile_l2_f32_portable;
dk_screen_i8_fn dk_screen_i8_portable;
dk_screen_i8_fn dk_screen_i4_portable;
dk_few_f32_fn dk_few_dot_f32_portable, dk_few_l2_f32_portable;
dk_pair_f32_fn dk_pair_dot_f32_portable, dk_pair_l2_f32_portable;
dk_screen_fn dk_screen_dot_f32_portable, dk_screen_l2_f32_portable;
dk_screen_fn dk_screen_dot_f16_portable, dk_screen_l2_f16_portable;
dk_screen_fn dk_screen_dot_bf16_portable, dk_screen_l2_bf16_portable;
dk_pack_f32_fn dk_pack_f32_portable;
dk_bias_act_f32_fn dk_bias_act_f32_portable;
dk_weigh_f32_fn dk_weigh_f32_portable;
dk_blend_f32_fn dk_blend_f32_portable;
extern const struct dk_softmax_v_kernels dk_softmax_v_portable;
extern const struct dk_widen_kernels dk_widen_portable;
extern const struct dk_yardstick_kernels dk_yardstick_portable;
extern const struct dk_kernels dk_kernels_portable;

#endif /* DOTK_KERNEL_KERNELS_PORTABLE_H */
