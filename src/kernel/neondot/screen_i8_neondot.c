/*
 * screen_i8_neondot.c - codes of 64 keys against up to 6 queries, for Neon with dot products
 *
 * One sdot is 16 multiply-adds, four for each of four keys; the query's four codes are the first
 * lane of a register. The instruction is written out because clang 14 has the intrinsic only in
 * files that are compiled for it as a whole.
 */
#include <arm_neon.h>
#include <string.h>

#include "kernel/neondot/kernels_neondot.h"

#if defined(__clang__)
#define SCREEN_TARGET DK_TARGET("dotprod")
#else
#define SCREEN_TARGET DK_TARGET("arch=armv8.2-a+dotprod")
#endif

typedef float four_codes; /* their bits, so that they are loaded where sdot wants them */

DK_INLINE SCREEN_TARGET four_codes
load_four(const int8_t *codes)
{
    four_codes four;

    memcpy(&four, codes, sizeof four);
    return four;
}

DK_INLINE SCREEN_TARGET int32x4_t
add_products(int32x4_t sum, int8x16_t keys, four_codes query)
{
    __asm__("sdot %0.4s, %1.16b, %2.4b[0]" : "+w"(sum) : "w"(keys), "w"(query));
    return sum;
}

#include "kernel/screen_i8_neon_body.h"

SCREEN_TARGET void
dk_screen_i8_neondot(const struct dk_screen_i8 *args)
{
    screen_body(args);
}
