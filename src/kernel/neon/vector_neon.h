/* vector_neon.h - what several kernels for Neon need: halves, 4 x 4 blocks, bits */
#ifndef DOTK_KERNEL_VECTOR_NEON_H
#define DOTK_KERNEL_VECTOR_NEON_H

#include <arm_neon.h>

#include "kernel/kernel.h"

/* asm, because gcc 12 keeps only the first of several prefetches in an unrolled loop */
#define DK_PREFETCH_NEON(address) __asm__ volatile("prfm pldl2keep, [%0]" : : "r"(address))

/* The first 'count' of 4 floats, zeros for the others; 0 reads nothing. */
DK_INLINE float32x4_t
dk_load_first_neon(const float *from, size_t count)
{
    switch (count) {
    case 0: return vdupq_n_f32(0);
    case 1: return (float32x4_t){from[0], 0, 0, 0};
    case 2: return (float32x4_t){from[0], from[1], 0, 0};
    case 3: return (float32x4_t){from[0], from[1], from[2], 0};
    default: return vld1q_f32(from);
    }
}

/* 4 halves; f16 obeys the floating-point mode. */
DK_INLINE float32x4_t
dk_widen_lanes_neon(const enum dk_half kind, const uint16_t *from)
{
    const uint16x4_t halves = vld1_u16(from);

    return kind == DK_HALF_F16 ? vcvt_f32_f16(vreinterpret_f16_u16(halves))
                               : vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}

/* x[i][j] <-> x[j][i] */
DK_INLINE void
dk_transpose_4x4(float32x4_t x[4])
{
    const float64x2_t low01 = vreinterpretq_f64_f32(vtrn1q_f32(x[0], x[1]));
    const float64x2_t high01 = vreinterpretq_f64_f32(vtrn2q_f32(x[0], x[1]));
    const float64x2_t low23 = vreinterpretq_f64_f32(vtrn1q_f32(x[2], x[3]));
    const float64x2_t high23 = vreinterpretq_f64_f32(vtrn2q_f32(x[2], x[3]));

    x[0] = vreinterpretq_f32_f64(vtrn1q_f64(low01, low23));
    x[1] = vreinterpretq_f32_f64(vtrn1q_f64(high01, high23));
    x[2] = vreinterpretq_f32_f64(vtrn2q_f64(low01, low23));
    x[3] = vreinterpretq_f32_f64(vtrn2q_f64(high01, high23));
}

/* Bit i of the result: lane i of 16, each all ones or all zeros. */
DK_INLINE uint64_t
dk_bits_of_lanes(const uint32x4_t lanes[4])
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint16x8_t low = vcombine_u16(vmovn_u32(lanes[0]), vmovn_u32(lanes[1]));
    const uint16x8_t high = vcombine_u16(vmovn_u32(lanes[2]), vmovn_u32(lanes[3]));
    const uint8x16_t bytes = vcombine_u8(vmovn_u16(low), vmovn_u16(high));
    const uint8x16_t chosen = vandq_u8(bytes, vld1q_u8(bits));

    return vaddv_u8(vget_low_u8(chosen)) | (uint64_t)vaddv_u8(vget_high_u8(chosen)) << 8;
}

#endif /* DOTK_KERNEL_VECTOR_NEON_H */
