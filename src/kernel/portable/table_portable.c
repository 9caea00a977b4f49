/* table_portable.c - the portable column of struct dk_kernels */
#include "kernel/portable/kernels_portable.h"

const struct dk_kernels dk_kernels_portable = {
    .isa = "portable",
    .pace = 1e9,
    .tile_f32 =
        {[DK_SCORE_DOT] = dk_tile_dot_f32_portable, [DK_SCORE_L2] = dk_tile_l2_f32_portable},
    .tile_f32_name = "tile_f32_portable",
    .tile_rows = {0, DK_TILE_ROWS, DK_TILE_ROWS, DK_TILE_ROWS, DK_TILE_ROWS},
    .few_f32 = {[DK_SCORE_DOT] = dk_few_dot_f32_portable, [DK_SCORE_L2] = dk_few_l2_f32_portable},
    .few_f32_name = "few_f32_portable",
    .pair_f32 =
        {[DK_SCORE_DOT] = dk_pair_dot_f32_portable, [DK_SCORE_L2] = dk_pair_l2_f32_portable},
    .screen = {[DK_ROW_F32] = DK_SCREENS(f32_portable),
               [DK_ROW_F16] = DK_SCREENS(f16_portable),
               [DK_ROW_BF16] = DK_SCREENS(bf16_portable)},
    .screen_name = {[DK_ROW_F32] = "screen_f32_portable",
                    [DK_ROW_F16] = "screen_f16_portable",
                    [DK_ROW_BF16] = "screen_bf16_portable"},
    .screen_i8 = dk_screen_i8_portable,
    .screen_i8_name = "screen_i8_portable",
    .screen_i4 = dk_screen_i4_portable,
    .screen_i4_name = "screen_i4_portable",
    .pack_f32 = dk_pack_f32_portable,
    .scale_f32 = dk_scale_f32_portable,
    .widen = &dk_widen_portable,
    .softmax_v = &dk_softmax_v_portable,
    .softmax_v_bf16 = &dk_softmax_v_portable,
    .pairs = &dk_pairs_portable,
    .flags = dk_flags_portable,
    .dropout = dk_dropout_portable,
    .gradient = &dk_gradient_portable,
    .gradient_bf16 = &dk_gradient_portable,
    .bias_act_f32 = dk_bias_act_f32_portable,
    .linear_f32 = dk_linear_f32_portable,
    .exp_f32 = dk_exp_f32_portable,
    .yardstick = &dk_yardstick_portable,
};
