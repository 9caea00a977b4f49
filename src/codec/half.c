/*
 * half.c - numbers of 16 bits, converted by integer arithmetic
 *
 * A conversion instruction would depend on what the processor has and on the caller's
 * floating-point mode; shifts and adds depend on neither. Rounding adds just under half of the
 * last place, and one more where that place is odd: a carry then moves into the exponent, which
 * is right, because the halves in order of their bits are the halves in order of their size.
 */
#include "codec/half.h"

#include <string.h>

#define F32_INFINITY 0x7f800000u
#define F16_INFINITY 0x7c00u
#define F16_QUIET    0x0200u
#define BF16_QUIET   0x0040u

/* As f32 bits: 65520, half-way between the largest f16 and the next power of two; 2^-14, the
 * smallest normal f16; 2^-25, half of the smallest f16. */
#define F16_OVERFLOW 0x477ff000u
#define F16_NORMAL   0x38800000u
#define F16_VANISHES 0x33000000u

enum {
    BIAS = 127 - 15,           /* between the exponents of f32 and f16 */
    DROPPED = 13,              /* bits of the fraction that f16 lacks  */
    LAST_PLACE = 127 - 24 + 23 /* the exponent of an f32 whose last place is 2^-24 */
};

static uint32_t
bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float
float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bits / 2^shift to the nearest whole number, ties to even. */
static uint32_t
round_off(uint32_t bits, unsigned shift)
{
    const uint32_t odd = bits >> shift & 1;
    return (bits + (1u << (shift - 1)) - 1 + odd) >> shift;
}

float
dk_f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;

    if (exponent == 0x1f)
        return float_of(sign | F32_INFINITY | fraction << DROPPED |
                        (fraction != 0 ? F16_QUIET << DROPPED : 0));
    if (exponent != 0)
        return float_of(sign | (exponent + BIAS) << 23 | fraction << DROPPED);
    if (fraction == 0)
        return float_of(sign);
    /* Denormal: fraction * 2^-24, which f32 has with an exponent. */
    const unsigned shift = (unsigned)__builtin_clz(fraction) - 8; /* to bit 23, which is implied */
    return float_of(sign | (((LAST_PLACE - shift) << 23) + (fraction << shift) - (1u << 23)));
}

uint16_t
dk_f32_to_f16(float value)
{
    const uint32_t bits = bits_of(value), size = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 16 & 0x8000u;

    if (size > F32_INFINITY)
        return (uint16_t)(sign | F16_INFINITY | F16_QUIET | (size >> DROPPED & 0x3ffu));
    if (size >= F16_OVERFLOW)
        return (uint16_t)(sign | F16_INFINITY);
    if (size >= F16_NORMAL)
        return (uint16_t)(sign | round_off(size - ((uint32_t)BIAS << 23), DROPPED));
    if (size <= F16_VANISHES)
        return (uint16_t)sign;
    const uint32_t fraction = (size & 0x7fffffu) | 1u << 23;
    return (uint16_t)(sign | round_off(fraction, LAST_PLACE - (size >> 23)));
}

float
dk_bf16_to_f32(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

uint16_t
dk_f32_to_bf16(float value)
{
    const uint32_t bits = bits_of(value);

    if ((bits & 0x7fffffffu) > F32_INFINITY)
        return (uint16_t)(bits >> 16 | BF16_QUIET);
    return (uint16_t)round_off(bits, 16);
}

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

void
dk_f32_to_f16_array(const float *from, size_t count, void *out)
{
    uint8_t *const bytes = out;

    for (size_t i = 0; i < count; i++) {
        const uint16_t half = dk_f32_to_f16(from[i]);
        bytes[2 * i] = (uint8_t)half;
        bytes[2 * i + 1] = (uint8_t)(half >> 8);
    }
}

void
dk_f32_to_bf16_array(const float *from, size_t count, void *out)
{
    uint8_t *const bytes = out;

    for (size_t i = 0; i < count; i++) {
        const uint16_t half = dk_f32_to_bf16(from[i]);
        bytes[2 * i] = (uint8_t)half;
        bytes[2 * i + 1] = (uint8_t)(half >> 8);
    }
}
