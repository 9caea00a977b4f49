/* gradient_avx512.c - attention backwards for AVX-512 */
#include "kernel/avx512/kernels_avx512.h"
#include "kernel/gradient_avx512_body.h"

VEC_TARGET void
dk_gradient_cells_f32_avx512(const struct dk_gradient_cells *args)
{
    cells_rows(args);
}

VEC_TARGET void
dk_gradient_sum_f32_avx512(const struct dk_gradient_sum *args)
{
    sum_of[args->rows](args);
}

const struct dk_gradient_kernels dk_gradient_avx512 = {
    .name = "gradient_avx512",
    .pairs = false,
    .tile = dk_tile_dot_f32_avx512,
    .cells = dk_gradient_cells_f32_avx512,
    .sum = dk_gradient_sum_f32_avx512,
    .flop_per_ms = 1e8,
};
