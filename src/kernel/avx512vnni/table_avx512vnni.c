/* table_avx512vnni.c - the avx512 column with integer products of its own */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512vnni/kernels_avx512vnni.h"

const struct dk_kernels dk_kernels_avx512vnni = {
    .isa = "avx512vnni",
    DK_AVX512_LINES,
    DK_AVX512VNNI_LINES,
    .softmax_v_bf16 = &dk_softmax_v_avx512,
    .gradient_bf16 = &dk_gradient_avx512,
    .yardstick = &dk_yardstick_avx512,
};
