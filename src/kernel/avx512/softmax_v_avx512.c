/* softmax_v_avx512.c - weights and weighted sums for AVX-512 */
#include "kernel/avx512/kernels_avx512.h"

#define WORD_KEYS 1
#include "kernel/blend_avx512_body.h"
#include "kernel/softmax_v_avx512_body.h"

TARGET void
dk_weigh_f32_avx512(const struct dk_weigh *args)
{
    weigh(args);
}

TARGET void
dk_blend_f32_avx512(const struct dk_blend *args)
{
    blend(args);
}

const struct dk_softmax_v_kernels dk_softmax_v_avx512 = {
    .name = "softmax_v_avx512",
    .weigh = dk_weigh_f32_avx512,
    .blend = dk_blend_f32_avx512,
    .flop_per_ms = 1e8,
};
