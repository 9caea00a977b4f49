/* softmax_v_avx512bf16.c - weights and weighted sums of bf16 for AVX-512 with bf16 products */
#include "kernel/avx512bf16/kernels_avx512bf16.h"

#define WORD_KEYS 2
#include "kernel/blend_avx512_body.h"
#include "kernel/softmax_v_avx512_body.h"

TARGET void
dk_weigh_bf16_avx512bf16(const struct dk_weigh *args)
{
    weigh(args);
}

TARGET void
dk_blend_bf16_avx512bf16(const struct dk_blend *args)
{
    blend(args);
}

const struct dk_softmax_v_kernels dk_softmax_v_avx512bf16 = {
    .name = "softmax_v_avx512bf16",
    .pairs = true,
    .weigh = dk_weigh_bf16_avx512bf16,
    .blend = dk_blend_bf16_avx512bf16,
    .flop_per_ms = 1.8e8,
};
