/* table_avx512.c - the avx512 column of struct dk_kernels */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx512/kernels_avx512.h"

const struct dk_kernels dk_kernels_avx512 = {
    .isa = "avx512",
    .pace = 1e11,
    .tile_f32 = {[DK_SCORE_DOT] = dk_tile_dot_f32_avx512, [DK_SCORE_L2] = dk_tile_l2_f32_avx512},
    .tile_f32_name = "tile_f32_avx512",
    .tile_rows = {0, 12, 12, 8, 6},
    .few_f32 = {[DK_SCORE_DOT] = dk_few_dot_f32_avx512, [DK_SCORE_L2] = dk_few_l2_f32_avx512},
    .few_f32_name = "few_f32_avx512",
    .pair_f32 = {[DK_SCORE_DOT] = dk_pair_dot_f32_avx2, [DK_SCORE_L2] = dk_pair_l2_f32_avx2},
    .screen_f32 =
        {[DK_SCORE_DOT] = dk_screen_dot_f32_avx512, [DK_SCORE_L2] = dk_screen_l2_f32_avx512},
    .screen_f32_name = "screen_f32_avx512",
    .pack_f32 = dk_pack_f32_avx512,
    .softmax_v = &dk_softmax_v_avx512,
    .bias_act_f32 = dk_bias_act_f32_avx512,
    .yardstick = &dk_yardstick_avx512,
};
