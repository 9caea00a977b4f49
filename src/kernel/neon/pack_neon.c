/* pack_neon.c - rows to a panel, 4 x 4 blocks transposed in registers */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neon/vector_neon.h"

enum { LANES = 4 };

void
dk_pack_f32_neon(const float *rows, size_t stride, size_t count, size_t dim, float factor,
                 float *panel)
{
    for (size_t c = 0; c < DK_PANEL; c += LANES) {
        for (size_t d = 0; d < dim; d += LANES) {
            const size_t wide = dim - d < LANES ? dim - d : LANES;
            float32x4_t block[LANES];
            for (size_t r = 0; r < LANES; r++)
                block[r] = c + r < count ? dk_load_first_neon(rows + (c + r) * stride + d, wide)
                                         : vdupq_n_f32(0);
            dk_transpose_4x4(block);
            for (size_t i = 0; i < wide; i++)
                vst1q_f32(panel + (d + i) * DK_PANEL + c, vmulq_n_f32(block[i], factor));
        }
    }
}
