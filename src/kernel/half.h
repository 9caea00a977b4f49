/*
 * half.h - numbers of 16 bits: f16 (IEEE binary16) and bf16 (the upper half of an f32)
 *
 *            sign  exponent  fraction   largest     smallest > 0
 *     f16      1       5        10      65504       2^-24
 *     bf16     1       8         7      3.39e38     2^-133
 *
 * The contract, which every faster form keeps bit by bit:
 *
 * To f32       Exact: every half has its own f32. Denormals are kept.
 * From f32     To the nearest half, of two equally near ones to the one whose last bit is 0.
 *              Denormals are kept, on either side (vcvtneps2bf16 does not do that). What rounds
 *              beyond the largest half becomes infinity: for f16 from 65520 on, for bf16 from
 *              0x1.ffp127 on.
 * NaN          Stays NaN, with its sign and the upper bits of its payload, and is quiet
 *              afterwards: what F16C does. bf16 to f32 changes nothing, not even that.
 * Mode         Integer arithmetic: the rounding mode and FTZ of the caller do not matter.
 *
 * A conversion instruction would depend on what the processor has and, some of them, on the
 * caller's floating-point mode; shifts and adds depend on neither. Rounding adds just under half of
 * the last place, and one more where that place is odd: a carry then moves into the exponent,
 * which is right, because the halves in order of their bits are the halves in order of their size.
 */
#ifndef DOTK_KERNEL_HALF_H
#define DOTK_KERNEL_HALF_H

#include <stdint.h>
#include <string.h>

#define DK_F32_INFINITY 0x7f800000u
#define DK_F16_INFINITY 0x7c00u
#define DK_F16_QUIET    0x0200u
#define DK_BF16_QUIET   0x0040u

/* As f32 bits: 65520, half-way between the largest f16 and the next power of two; 2^-14, the
 * smallest normal f16; 2^-25, half of the smallest f16. */
#define DK_F16_OVERFLOW 0x477ff000u
#define DK_F16_NORMAL   0x38800000u
#define DK_F16_VANISHES 0x33000000u

enum {
    DK_F16_BIAS = 127 - 15,     /* between the exponents of f32 and f16 */
    DK_F16_DROPPED = 13,        /* bits of the fraction that f16 lacks  */
    DK_F16_LAST = 127 - 24 + 23 /* the exponent of an f32 whose last place is 2^-24 */
};

static inline uint32_t
dk_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float
dk_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bits / 2^shift to the nearest whole number, ties to even. */
static inline uint32_t
dk_round_off(uint32_t bits, unsigned shift)
{
    const uint32_t odd = bits >> shift & 1;
    return (bits + (1u << (shift - 1)) - 1 + odd) >> shift;
}

static inline float
dk_f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;

    if (exponent == 0x1f)
        return dk_float_of(sign | DK_F32_INFINITY | fraction << DK_F16_DROPPED |
                           (fraction != 0 ? DK_F16_QUIET << DK_F16_DROPPED : 0));
    if (exponent != 0)
        return dk_float_of(sign | (exponent + DK_F16_BIAS) << 23 | fraction << DK_F16_DROPPED);
    if (fraction == 0)
        return dk_float_of(sign);
    /* Denormal: fraction * 2^-24, which f32 has with an exponent. */
    const unsigned shift = (unsigned)__builtin_clz(fraction) - 8; /* to bit 23, which is implied */
    return dk_float_of(sign | (((DK_F16_LAST - shift) << 23) + (fraction << shift) - (1u << 23)));
}

static inline uint16_t
dk_f32_to_f16(float value)
{
    const uint32_t bits = dk_bits_of(value), size = bits & 0x7fffffffu;
    const uint32_t sign = bits >> 16 & 0x8000u;

    if (size > DK_F32_INFINITY)
        return (uint16_t)(sign | DK_F16_INFINITY | DK_F16_QUIET |
                          (size >> DK_F16_DROPPED & 0x3ffu));
    if (size >= DK_F16_OVERFLOW)
        return (uint16_t)(sign | DK_F16_INFINITY);
    if (size >= DK_F16_NORMAL)
        return (uint16_t)(sign |
                          dk_round_off(size - ((uint32_t)DK_F16_BIAS << 23), DK_F16_DROPPED));
    if (size <= DK_F16_VANISHES)
        return (uint16_t)sign;
    const uint32_t fraction = (size & 0x7fffffu) | 1u << 23;
    return (uint16_t)(sign | dk_round_off(fraction, DK_F16_LAST - (size >> 23)));
}

static inline float
dk_bf16_to_f32(uint16_t half)
{
    return dk_float_of((uint32_t)half << 16);
}

static inline uint16_t
dk_f32_to_bf16(float value)
{
    const uint32_t bits = dk_bits_of(value);

    if ((bits & 0x7fffffffu) > DK_F32_INFINITY)
        return (uint16_t)(bits >> 16 | DK_BF16_QUIET);
    return (uint16_t)dk_round_off(bits, 16);
}

#endif /* DOTK_KERNEL_HALF_H */
