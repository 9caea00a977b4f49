/* widen_portable.c - vectors stored in less than f32, to f32 and back: the definition */
#include "kernel/half.h"
#include "kernel/kernel.h"
#include "kernel/portable/kernels_portable.h"

static void
widen_f16(const uint16_t *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = dk_f16_to_f32(from[i]);
}

static void
widen_bf16(const uint16_t *from, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = dk_bf16_to_f32(from[i]);
}

static void
narrow_f16(const float *from, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = dk_f32_to_f16(from[i]);
}

static void
narrow_bf16(const float *from, size_t count, uint16_t *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = dk_f32_to_bf16(from[i]);
}

static void
widen_i8(const uint8_t *codes, size_t dim, float scale, float *out)
{
    for (size_t d = 0; d < dim; d++)
        out[d] = dk_widened_code(codes, d, scale);
}

const struct dk_widen_kernels dk_widen_portable = {
    .widen_half = {[DK_HALF_F16] = widen_f16, [DK_HALF_BF16] = widen_bf16},
    .narrow_half = {[DK_HALF_F16] = narrow_f16, [DK_HALF_BF16] = narrow_bf16},
    .widen_i8 = widen_i8,
};
