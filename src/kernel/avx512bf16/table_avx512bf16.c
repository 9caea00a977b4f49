/* table_avx512bf16.c - the avx512vnni column with attention over bf16 and its gradients of its own
 */
#include "kernel/avx2/kernels_avx2.h"
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512bf16/kernels_avx512bf16.h"
#include "kernel/avx512vnni/kernels_avx512vnni.h"

static const struct dk_yardstick_kernels yardstick = {
    .read = dk_read_avx512,
    .fma_f32 = {dk_fma_f32_avx512, DK_FMA_FLOP_AVX512},
    .fma_bf16 = {dk_fma_bf16_avx512bf16, DK_FMA_FLOP_AVX512BF16},
    .adds = dk_adds_portable,
};

const struct dk_kernels dk_kernels_avx512bf16 = {
    .isa = "avx512bf16",
    DK_AVX512_LINES,
    DK_AVX512VNNI_LINES,
    .softmax_v_bf16 = &dk_softmax_v_avx512bf16,
    .gradient_bf16 = &dk_gradient_avx512bf16,
    .yardstick = &yardstick,
};
