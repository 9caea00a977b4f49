/* bound.h - roundings of the terms of a bound that err on the safe side (doc/math/screening.md) */
#ifndef DOTK_CODEC_BOUND_H
#define DOTK_CODEC_BOUND_H

#include <math.h>

#define DK_SLACK 0x1p-18 /* for a kernel's f32 roundings: it needs 9 of 64 */

/* Above x by at least 2^-25 of it, which covers the roundings in double before it as well. */
static inline float
dk_up(double x)
{
    return nextafterf((float)x, INFINITY);
}

static inline float
dk_down(double x)
{
    return nextafterf((float)x, -INFINITY);
}

#endif /* DOTK_CODEC_BOUND_H */
