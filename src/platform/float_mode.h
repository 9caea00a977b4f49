/*
 * float_mode.h - the floating-point mode that defines a score's bits
 *
 * Round to nearest, denormals kept (FTZ and DAZ off), exceptions masked. A host program may
 * run in another mode (audio code and -ffast-math start-up files set FTZ): public entry
 * points and pool threads set ours and put back what was there.
 */
#ifndef DOTK_PLATFORM_FLOAT_MODE_H
#define DOTK_PLATFORM_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

enum { DK_MXCSR_DEFAULT = 0x1f80 };

static inline uint64_t
dk_float_mode_enter(void)
{
    const unsigned before = _mm_getcsr();
    if ((before & ~0x3fu) != DK_MXCSR_DEFAULT)
        _mm_setcsr(DK_MXCSR_DEFAULT);
    return before;
}

static inline void
dk_float_mode_leave(uint64_t before)
{
    if (((unsigned)before & ~0x3fu) != DK_MXCSR_DEFAULT)
        _mm_setcsr((unsigned)before);
}

#elif defined(__aarch64__)

/* What is loaded after a change is computed after it: hence "memory". */
static inline uint64_t
dk_float_mode_enter(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before) : : "memory");
    if (before != 0)
        __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0) : "memory");
    return before;
}

static inline void
dk_float_mode_leave(uint64_t before)
{
    if (before != 0)
        __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory");
}

#else
#error "dotk supports x86-64 and aarch64"
#endif

static inline void
dk_float_mode_default(void)
{
    (void)dk_float_mode_enter();
}

#endif /* DOTK_PLATFORM_FLOAT_MODE_H */
