/* half.c - arrays of halves as they lie in files: kernel/half.h says what a half is */
#include "codec/half.h"

void
dk_f16_to_f32_array(const void *from, size_t count, float *out)
{
    const uint8_t *const bytes = from;

    for (size_t i = 0; i < count; i++)
        out[i] = dk_f16_to_f32((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

void
dk_bf16_to_f32_array(const void *from, size_t count, float *out)
{
    const uint8_t *const bytes = from;

    for (size_t i = 0; i < count; i++)
        out[i] = dk_bf16_to_f32((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

static void
put_half(uint8_t *bytes, uint16_t half)
{
    bytes[0] = (uint8_t)half;
    bytes[1] = (uint8_t)(half >> 8);
}

void
dk_f32_to_f16_array(const float *from, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++)
        put_half((uint8_t *)out + 2 * i, dk_f32_to_f16(from[i]));
}

void
dk_f32_to_bf16_array(const float *from, size_t count, void *out)
{
    for (size_t i = 0; i < count; i++)
        put_half((uint8_t *)out + 2 * i, dk_f32_to_bf16(from[i]));
}
