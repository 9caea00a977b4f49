/*
 * cpu.c - what the processor can do: cpuid through the compiler, which also asks the OS (xgetbv),
 * or what Linux says of an aarch64
 */
#define _GNU_SOURCE
#include "platform/cpu.h"

#include <sched.h>
#include <stdbool.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>

enum { HAS_DOT = 1 << 20 }; /* HWCAP_ASIMDDP of Linux's asm/hwcap.h */
#endif

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports() knows this name. */
static bool
has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
}

static bool
has_avx512bf16(void)
{
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1 << 5) != 0;
}
#endif

unsigned
dk_cpu_features(void)
{
    unsigned features = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        features |= DK_CPU_FMA;
    if ((features & DK_CPU_FMA) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        features |= DK_CPU_AVX512;
    if ((features & DK_CPU_AVX512) && __builtin_cpu_supports("avx512vnni"))
        features |= DK_CPU_VNNI;
    if ((features & DK_CPU_VNNI) && has_avx512bf16())
        features |= DK_CPU_BF16;
#elif defined(__aarch64__)
    if (getauxval(AT_HWCAP) & HAS_DOT)
        features |= DK_CPU_DOT;
#endif
    return features;
}

uint32_t
dk_cpu_count(void)
{
    cpu_set_t usable;

    if (sched_getaffinity(0, sizeof usable, &usable) != 0)
        return 1;
    const int count = CPU_COUNT(&usable);
    return count > 0 ? (uint32_t)count : 1;
}
