/* kernels_avx512vnni.h - what avx512vnni/ offers to its table; the rest is avx512/'s */
#ifndef DOTK_KERNEL_KERNELS_AVX512VNNI_H
#define DOTK_KERNEL_KERNELS_AVX512VNNI_H

#include "kernel/kernel.h"

dk_screen_i8_fn dk_screen_i8_avx512vnni;
dk_screen_i8_fn dk_screen_i4_avx512vnni;
extern const struct dk_kernels dk_kernels_avx512vnni;

#endif /* DOTK_KERNEL_KERNELS_AVX512VNNI_H */
