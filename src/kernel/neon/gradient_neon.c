/* gradient_neon.c - attention backwards for Neon: 24 registers of sums, 6 rows x 16 columns */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"

#define GRADIENT_TARGET
#define VEC_FN DK_INLINE

enum { LANES = 4, VECS = 4 };
typedef float32x4_t vec;

VEC_FN vec
vec_load(const float *from)
{
    return vld1q_f32(from);
}

VEC_FN vec
vec_load_any(const float *from)
{
    return vld1q_f32(from);
}

VEC_FN vec
vec_load_first(const float *from, size_t count)
{
    return dk_load_first_neon(from, count);
}

VEC_FN void
vec_store(float *to, vec a)
{
    vst1q_f32(to, a);
}

VEC_FN void
vec_store_any(float *to, vec a)
{
    vst1q_f32(to, a);
}

VEC_FN void
vec_store_first(float *to, size_t count, vec a)
{
    float lane[4];

    vst1q_f32(lane, a);
    for (size_t i = 0; i < count && i < 4; i++)
        to[i] = lane[i];
}

VEC_FN vec
vec_set(float a)
{
    return vdupq_n_f32(a);
}

VEC_FN vec
vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

VEC_FN vec
vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}

VEC_FN vec
vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

VEC_FN vec
vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}

VEC_FN vec
vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

VEC_FN vec
vec_fnma(vec a, vec b, vec c)
{
    return vfmsq_f32(c, a, b);
}

VEC_FN vec
vec_larger(vec a, vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

VEC_FN vec
vec_smaller(vec a, vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

VEC_FN vec
vec_abs(vec a)
{
    return vabsq_f32(a);
}

VEC_FN vec
vec_with_sign(vec a, vec s)
{
    return vbslq_f32(vdupq_n_u32(0x80000000), s, a);
}

VEC_FN vec
vec_round(vec a)
{
    return vrndnq_f32(a);
}

VEC_FN vec
vec_scale(vec a, vec n)
{
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

VEC_FN bool
vec_any_above(vec a, vec b)
{
    return vmaxvq_u32(vcgtq_f32(a, b)) != 0;
}

VEC_FN vec
vec_above(vec a, vec b, vec x, vec y)
{
    return vbslq_f32(vcgtq_f32(a, b), x, y);
}

VEC_FN vec
vec_keep(uint64_t bits, size_t c, vec x)
{
    const uint32x4_t bit = {1, 2, 4, 8};
    const uint32x4_t lanes = vtstq_u32(vdupq_n_u32((uint32_t)(bits >> c)), bit);
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x), lanes));
}

VEC_FN void
vec_prefetch(const float *from)
{
    __asm__ volatile("prfm pldl1keep, [%0]" : : "r"(from));
}

#include "kernel/gradient_body.h"

void
dk_gradient_cells_f32_neon(const struct dk_gradient_cells *args)
{
    cells_rows(args);
}

void
dk_gradient_sum_f32_neon(const struct dk_gradient_sum *args)
{
    sum_of[args->rows](args);
}

const struct dk_gradient_kernels dk_gradient_neon = {
    .name = "gradient_neon",
    .tile_f32 = dk_tile_dot_f32_neon,
    .cells_f32 = dk_gradient_cells_f32_neon,
    .sum_f32 = dk_gradient_sum_f32_neon,
    .flop_per_ms = 3e7,
};
