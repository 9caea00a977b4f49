/* kernels_neon.h - what neon/ offers to its table */
#ifndef DOTK_KERNEL_KERNELS_NEON_H
#define DOTK_KERNEL_KERNELS_NEON_H

#include "kernel/kernel.h"

dk_tile_f32_fn dk_tile_dot_f32_neon, dk_tile_l2_f32_neon;
dk_few_f32_fn dk_few_dot_f32_neon, dk_few_l2_f32_neon;
dk_screen_fn dk_screen_dot_f32_neon, dk_screen_l2_f32_neon;
dk_screen_fn dk_screen_dot_f16_neon, dk_screen_l2_f16_neon;
dk_screen_fn dk_screen_dot_bf16_neon, dk_screen_l2_bf16_neon;
dk_screen_i8_fn dk_screen_i8_neon;
dk_pack_f32_fn dk_pack_f32_neon;
dk_bias_act_f32_fn dk_bias_act_f32_neon;
dk_linear_f32_fn dk_linear_f32_neon;
dk_exp_f32_fn dk_exp_f32_neon;
dk_weigh_fn dk_weigh_f32_neon;
dk_blend_fn dk_blend_f32_neon;
extern const struct dk_widen_kernels dk_widen_neon;
dk_gradient_cells_fn dk_gradient_cells_f32_neon;
dk_gradient_sum_fn dk_gradient_sum_f32_neon;
extern const struct dk_gradient_kernels dk_gradient_neon;
extern const struct dk_softmax_v_kernels dk_softmax_v_neon;
extern const struct dk_yardstick_kernels dk_yardstick_neon;
extern const struct dk_kernels dk_kernels_neon;

/*
 * What the table has, for sets that only add to it. Plain C has an FMA on aarch64, and pairs take
 * one number at a time on every instruction set.
 */
#define DK_NEON_LINES                                                                              \
    .pace = 3e10,                                                                                  \
    .tile_f32 = {[DK_SCORE_DOT] = dk_tile_dot_f32_neon, [DK_SCORE_L2] = dk_tile_l2_f32_neon},      \
    .tile_f32_name = "tile_f32_neon", .tile_rows = {0, 6, 6, 6, 6},                                \
    .few_f32 = {[DK_SCORE_DOT] = dk_few_dot_f32_neon, [DK_SCORE_L2] = dk_few_l2_f32_neon},         \
    .few_f32_name = "few_f32_neon",                                                                \
    .screen = {[DK_ROW_F32] = DK_SCREENS(f32_neon),                                                \
               [DK_ROW_F16] = DK_SCREENS(f16_neon),                                                \
               [DK_ROW_BF16] = DK_SCREENS(bf16_neon)},                                             \
    .screen_name = {[DK_ROW_F32] = "screen_f32_neon",                                              \
                    [DK_ROW_F16] = "screen_f16_neon",                                              \
                    [DK_ROW_BF16] = "screen_bf16_neon"},                                           \
    .pair_f32 =                                                                                    \
        {[DK_SCORE_DOT] = dk_pair_dot_f32_portable, [DK_SCORE_L2] = dk_pair_l2_f32_portable},      \
    .pack_f32 = dk_pack_f32_neon, .scale_f32 = dk_scale_f32_portable, .widen = &dk_widen_neon,     \
    .softmax_v = &dk_softmax_v_neon, .softmax_v_bf16 = &dk_softmax_v_neon,                         \
    .pairs = &dk_pairs_portable, .flags = dk_flags_portable, .dropout = dk_dropout_portable,       \
    .gradient = &dk_gradient_neon, .gradient_bf16 = &dk_gradient_neon,                             \
    .bias_act_f32 = dk_bias_act_f32_neon, .linear_f32 = dk_linear_f32_neon,                        \
    .exp_f32 = dk_exp_f32_neon, .yardstick = &dk_yardstick_neon

#endif /* DOTK_KERNEL_KERNELS_NEON_H */
