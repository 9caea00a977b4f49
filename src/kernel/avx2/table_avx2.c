/* table_avx2.c - the avx2 column of struct dk_kernels */
#include "kernel/avx2/kernels_avx2.h"

const struct dk_kernels dk_kernels_avx2 = {
    .isa = "avx2",
    .pace = 4e10,
    .tile_f32 = {[DK_SCORE_DOT] = dk_tile_dot_f32_avx2, [DK_SCORE_L2] = dk_tile_l2_f32_avx2},
    .tile_f32_name = "tile_f32_avx2",
    .tile_rows = {0, 6, 6, 6, 6},
    .few_f32 = {[DK_SCORE_DOT] = dk_few_dot_f32_avx2, [DK_SCORE_L2] = dk_few_l2_f32_avx2},
    .few_f32_name = "few_f32_avx2",
    .pair_f32 = {[DK_SCORE_DOT] = dk_pair_dot_f32_avx2, [DK_SCORE_L2] = dk_pair_l2_f32_avx2},
    .screen = {[DK_ROW_F32] = DK_SCREENS(f32_avx2),
               [DK_ROW_F16] = DK_SCREENS(f16_avx2),
               [DK_ROW_BF16] = DK_SCREENS(bf16_avx2)},
    .screen_name = {[DK_ROW_F32] = "screen_f32_avx2",
                    [DK_ROW_F16] = "screen_f16_avx2",
                    [DK_ROW_BF16] = "screen_bf16_avx2"},
    .screen_i8 = dk_screen_i8_avx2,
    .screen_i8_name = "screen_i8_avx2",
    .screen_i4 = dk_screen_i4_avx2,
    .screen_i4_name = "screen_i4_avx2",
    .pack_f32 = dk_pack_f32_avx2,
    .widen = &dk_widen_avx2,
    .softmax_v = &dk_softmax_v_avx2,
    .gradient = &dk_gradient_avx2,
    .bias_act_f32 = dk_bias_act_f32_avx2,
    .yardstick = &dk_yardstick_avx2,
};
