/* gradient_neon.c - attention backwards for Neon: 24 registers of sums, 6 rows x 16 columns */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vec_neon.h"
#include "kernel/neon/vector_neon.h"

enum { VECS = 4 };

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
    .pairs = false,
    .tile = dk_tile_dot_f32_neon,
    .cells = dk_gradient_cells_f32_neon,
    .sum = dk_gradient_sum_f32_neon,
    .flop_per_ms = 3e7,
};
