/*
 * screen_i8_neon.c - codes of 64 keys against up to 6 queries, for Neon without dot products
 *
 * Two products of codes fit into 16 bits (2 * 128 * 127 < 2^15), so pairs of products are added
 * there before they are added to 32 bits: four instructions for 16 products.
 */
#include <arm_neon.h>
#include <string.h>

#include "kernel/neon/kernels_neon.h"

#define SCREEN_TARGET

typedef int8x16_t four_codes; /* four times */

DK_INLINE four_codes
load_four(const int8_t *codes)
{
    int32_t four;

    memcpy(&four, codes, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

DK_INLINE int32x4_t
add_products(int32x4_t sum, int8x16_t keys, four_codes query)
{
    const int16x8_t low = vmull_s8(vget_low_s8(keys), vget_low_s8(query));
    const int16x8_t high = vmull_high_s8(keys, query);

    return vpadalq_s16(sum, vpaddq_s16(low, high));
}

#include "kernel/screen_i8_neon_body.h"

void
dk_screen_i8_neon(const struct dk_screen_i8 *args)
{
    screen_body(args);
}
