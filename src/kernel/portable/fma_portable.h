/*
 * fma_portable.h - a fused multiply-add that is exact with or without the instruction
 *
 * Without it the product of two f32 is exact in double (24 + 24 <= 53 bits); the sum is then
 * rounded to *odd* - when it is inexact, to whichever neighbour has an odd last bit - after which
 * rounding to f32 is as if from the exact value, because 53 >= 24 + 2 (Boldo and Melquiond 2008,
 * "Emulation of FMA and correctly rounded sums"). libm's fmaf() does the same but is a call for
 * each element; this inlines and vectorises.
 */
#ifndef DOTK_KERNEL_FMA_PORTABLE_H
#define DOTK_KERNEL_FMA_PORTABLE_H

#include <stdint.h>
#include <string.h>

#include "kernel/kernel.h"

DK_INLINE float
dk_fma_portable(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    const double product = (double)a * b;
    double sum = product + c;
    /* sum + error is the exact value (Knuth's two-sum). */
    const double part = sum - product;
    const double error = (product - (sum - part)) + (c - part);
    uint64_t bits, error_bits;
    memcpy(&bits, &sum, sizeof bits);
    memcpy(&error_bits, &error, sizeof error_bits);
    /* Towards zero, by one ulp where the error points there; then odd. */
    const uint64_t inexact = (error < 0 ? 1 : 0) | (error > 0 ? 1 : 0); /* not for NaN */
    bits = (bits - ((bits ^ error_bits) >> 63 & inexact)) | inexact;
    memcpy(&sum, &bits, sizeof sum);
    return (float)sum;
#endif
}

#endif /* DOTK_KERNEL_FMA_PORTABLE_H */
