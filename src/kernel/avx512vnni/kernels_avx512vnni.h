/* kernels_avx512vnni.h - what avx512vnni/ offers to its table; the rest is avx512/'s */
#ifndef DOTK_KERNEL_KERNELS_AVX512VNNI_H
#define DOTK_KERNEL_KERNELS_AVX512VNNI_H

#include "kernel/kernel.h"

dk_screen_i8_fn dk_screen_i8_avx512vnni;
dk_screen_i8_fn dk_screen_i4_avx512vnni;
extern const struct dk_kernels dk_kernels_avx512vnni;

/* What the table has beyond DK_AVX512_LINES: for sets that only add to it. */
#define DK_AVX512VNNI_LINES                                                                        \
    .screen_i8 = dk_screen_i8_avx512vnni, .screen_i8_name = "screen_i8_avx512vnni",                \
    .screen_i4 = dk_screen_i4_avx512vnni, .screen_i4_name = "screen_i4_avx512vnni"

#endif /* DOTK_KERNEL_KERNELS_AVX512VNNI_H */
