/* table_avx512vnni.c - the avx512 column with integer products of its own */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512vnni/kernels_avx512vnni.h"

const struct dk_kernels dk_kernels_avx512vnni = {
    .isa = "avx512vnni",
    DK_AVX512_LINES,
    .screen_i8 = dk_screen_i8_avx512vnni,
    .screen_i8_name = "screen_i8_avx512vnni",
    .screen_i4 = dk_screen_i4_avx512vnni,
    .screen_i4_name = "screen_i4_avx512vnni",
};
