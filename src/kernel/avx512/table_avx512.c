/* table_avx512.c - the avx512 column of struct dk_kernels */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx512/kernels_avx512.h"

const struct dk_kernels dk_kernels_avx512 = {
    .isa = "avx512",
    DK_AVX512_LINES,
    .screen_i8 = dk_screen_i8_avx2,
    .screen_i8_name = "screen_i8_avx2",
    .screen_i4 = dk_screen_i4_avx2,
    .screen_i4_name = "screen_i4_avx2",
    .softmax_v_bf16 = &dk_softmax_v_avx512,
    .gradient_bf16 = &dk_gradient_avx512,
    .yardstick = &dk_yardstick_avx512,
};
