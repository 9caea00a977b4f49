/* kernels_avx512.h - what avx512/ offers to its table */
#ifndef DOTK_KERNEL_KERNELS_AVX512_H
#define DOTK_KERNEL_KERNELS_AVX512_H

#include "kernel/kernel.h"

dk_tile_f32_fn dk_tile_dot_f32_avx512, dk_tile_l2_f32_avx512;
dk_few_f32_fn dk_few_dot_f32_avx512, dk_few_l2_f32_avx512;
dk_screen_fn dk_screen_dot_f32_avx512, dk_screen_l2_f32_avx512;
dk_screen_fn dk_screen_dot_f16_avx512, dk_screen_l2_f16_avx512;
dk_screen_fn dk_screen_dot_bf16_avx512, dk_screen_l2_bf16_avx512;
dk_pack_f32_fn dk_pack_f32_avx512;
dk_scale_f32_fn dk_scale_f32_avx512;
dk_bias_act_f32_fn dk_bias_act_f32_avx512;
dk_flags_fn dk_flags_avx512;
dk_dropout_fn dk_dropout_avx512;
dk_linear_f32_fn dk_linear_f32_avx512;
dk_exp_f32_fn dk_exp_f32_avx512;
dk_weigh_fn dk_weigh_f32_avx512;
dk_blend_fn dk_blend_f32_avx512;
dk_read_fn dk_read_avx512;
dk_fma_fn dk_fma_f32_avx512;
enum { DK_FMA_FLOP_AVX512 = 2 * 16 * 12 };
dk_gradient_cells_fn dk_gradient_cells_f32_avx512;
dk_gradient_sum_fn dk_gradient_sum_f32_avx512;
extern const struct dk_gradient_kernels dk_gradient_avx512;
extern const struct dk_softmax_v_kernels dk_softmax_v_avx512;
extern const struct dk_pairs_kernels dk_pairs_avx512;
extern const struct dk_widen_kernels dk_widen_avx512;
extern const struct dk_yardstick_kernels dk_yardstick_avx512;
extern const struct dk_kernels dk_kernels_avx512;

/* What the table has, of avx2/ too: for sets that only add to it. */
#define DK_AVX512_LINES                                                                            \
    .pace = 1e11,                                                                                  \
    .tile_f32 = {[DK_SCORE_DOT] = dk_tile_dot_f32_avx512, [DK_SCORE_L2] = dk_tile_l2_f32_avx512},  \
    .tile_f32_name = "tile_f32_avx512", .tile_rows = {0, 12, 12, 8, 6},                            \
    .few_f32 = {[DK_SCORE_DOT] = dk_few_dot_f32_avx512, [DK_SCORE_L2] = dk_few_l2_f32_avx512},     \
    .few_f32_name = "few_f32_avx512",                                                              \
    .pair_f32 = {[DK_SCORE_DOT] = dk_pair_dot_f32_avx2, [DK_SCORE_L2] = dk_pair_l2_f32_avx2},      \
    .screen = {[DK_ROW_F32] = DK_SCREENS(f32_avx512),                                              \
               [DK_ROW_F16] = DK_SCREENS(f16_avx512),                                              \
               [DK_ROW_BF16] = DK_SCREENS(bf16_avx512)},                                           \
    .screen_name = {[DK_ROW_F32] = "screen_f32_avx512",                                            \
                    [DK_ROW_F16] = "screen_f16_avx512",                                            \
                    [DK_ROW_BF16] = "screen_bf16_avx512"},                                         \
    .pack_f32 = dk_pack_f32_avx512, .scale_f32 = dk_scale_f32_avx512, .widen = &dk_widen_avx512,   \
    .softmax_v = &dk_softmax_v_avx512, .pairs = &dk_pairs_avx512, .flags = dk_flags_avx512,        \
    .dropout = dk_dropout_avx512, .gradient = &dk_gradient_avx512,                                 \
    .bias_act_f32 = dk_bias_act_f32_avx512, .linear_f32 = dk_linear_f32_avx512,                    \
    .exp_f32 = dk_exp_f32_avx512

#endif /* DOTK_KERNEL_KERNELS_AVX512_H */
