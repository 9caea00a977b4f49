/*
 * widen_neon.c - vectors stored in less than f32, to f32 and back, for Neon
 *
 * f16 is converted by instructions, which obey the floating-point mode (rounding, NaN, and what a
 * half of exponent 31 means): it is set meanwhile. bf16 is shifts and additions.
 */
#include <arm_neon.h>

#include "kernel/half.h"
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"
#include "platform/float_mode.h"

enum { LANES = 4 };

DK_INLINE void
widen_half(const enum dk_half kind, const uint16_t *from, size_t count, float *out)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES)
        vst1q_f32(out + i, dk_widen_lanes_neon(kind, from + i));
    for (; i < count; i++)
        out[i] = kind == DK_HALF_F16 ? dk_f16_to_f32(from[i]) : dk_bf16_to_f32(from[i]);
}

/* As dk_f32_to_bf16(). */
DK_INLINE uint16x4_t
round_to_bf16(uint32x4_t bits)
{
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t sum = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t size = vandq_u32(bits, vdupq_n_u32(0x7fffffff));
    const uint32x4_t nan = vcgtq_u32(size, vdupq_n_u32(DK_F32_INFINITY));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(DK_BF16_QUIET << 16));

    return vshrn_n_u32(vbslq_u32(nan, quiet, sum), 16);
}

DK_INLINE void
narrow_half(const enum dk_half kind, const float *from, size_t count, uint16_t *out)
{
    size_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        const float32x4_t x = vld1q_f32(from + i);
        vst1_u16(out + i, kind == DK_HALF_F16 ? vreinterpret_u16_f16(vcvt_f16_f32(x))
                                              : round_to_bf16(vreinterpretq_u32_f32(x)));
    }
    for (; i < count; i++)
        out[i] = kind == DK_HALF_F16 ? dk_f32_to_f16(from[i]) : dk_f32_to_bf16(from[i]);
}

static void
widen_f16(const uint16_t *from, size_t count, float *out)
{
    const uint64_t mode = dk_float_mode_enter();
    widen_half(DK_HALF_F16, from, count, out);
    dk_float_mode_leave(mode);
}

static void
widen_bf16(const uint16_t *from, size_t count, float *out)
{
    widen_half(DK_HALF_BF16, from, count, out);
}

static void
narrow_f16(const float *from, size_t count, uint16_t *out)
{
    const uint64_t mode = dk_float_mode_enter();
    narrow_half(DK_HALF_F16, from, count, out);
    dk_float_mode_leave(mode);
}

static void
narrow_bf16(const float *from, size_t count, uint16_t *out)
{
    narrow_half(DK_HALF_BF16, from, count, out);
}

static void
widen_i8(const uint8_t *codes, size_t dim, float scale, float *out)
{
    size_t d = 0;

    for (; d + LANES <= dim; d += LANES) {
        uint32_t four;
        memcpy(&four, codes + d * DK_PANEL, sizeof four);
        const uint16x8_t wide = vmovl_u8(vcreate_u8(four));
        const int32x4_t code = vsubq_s32(vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide))),
                                         vdupq_n_s32(128));
        vst1q_f32(out + d, vmulq_n_f32(vcvtq_f32_s32(code), scale));
    }
    for (; d < dim; d++)
        out[d] = dk_widened_code(codes, d, scale);
}

const struct dk_widen_kernels dk_widen_neon = {
    .widen_half = {[DK_HALF_F16] = widen_f16, [DK_HALF_BF16] = widen_bf16},
    .narrow_half = {[DK_HALF_F16] = narrow_f16, [DK_HALF_BF16] = narrow_bf16},
    .widen_i8 = widen_i8,
};
