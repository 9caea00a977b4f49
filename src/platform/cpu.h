/* cpu.h - which instruction sets the CPU and the operating system let us use */
#ifndef DOTK_PLATFORM_CPU_H
#define DOTK_PLATFORM_CPU_H

#include <stdint.h>

enum dk_cpu_feature {
    DK_CPU_FMA = 1 << 0,    /* x86: AVX2, FMA3, F16C */
    DK_CPU_AVX512 = 1 << 1, /* x86: AVX-512 F, BW, DQ, VL, besides DK_CPU_FMA */
    DK_CPU_VNNI = 1 << 2,   /* x86: AVX-512 VNNI, besides DK_CPU_AVX512 */
    DK_CPU_BF16 = 1 << 3,   /* x86: AVX-512 BF16, besides DK_CPU_VNNI */
    DK_CPU_DOT = 1 << 4,    /* aarch64: sdot and udot; Neon every one has */
};

/* The set of dk_cpu_feature this machine has. */
unsigned dk_cpu_features(void);

/* CPUs this process may use, at least 1. */
uint32_t dk_cpu_count(void);

#endif /* DOTK_PLATFORM_CPU_H */
