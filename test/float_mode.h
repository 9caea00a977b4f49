/*
 * float_mode.h - floating-point modes other than the one that a score's bits assume
 *
 *     test_mode_get, test_mode_set ... this thread's mode, without the flags of what has happened
 *     TEST_MODE_DEFAULT .............. to nearest, denormals kept
 *     TEST_MODE_FLUSH, _DOWN, _ZERO .. or-ed to it: denormals become 0, rounding down or to zero
 */
#ifndef DOTK_TEST_FLOAT_MODE_H
#define DOTK_TEST_FLOAT_MODE_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

enum {
    TEST_MODE_DEFAULT = 0x1f80,
    TEST_MODE_FLUSH = 0x8040, /* FTZ, DAZ */
    TEST_MODE_DOWN = 0x2000,
    TEST_MODE_ZERO = 0x6000,
};

static inline unsigned
test_mode_get(void)
{
    return _mm_getcsr() & ~0x3fu;
}

static inline void
test_mode_set(unsigned mode)
{
    _mm_setcsr(mode);
}

#else /* aarch64 */

enum {
    TEST_MODE_DEFAULT = 0,
    TEST_MODE_FLUSH = 7 << 24, /* FZ; DN and AHP: NaN and halves mean something else */
    TEST_MODE_DOWN = 2 << 22,
    TEST_MODE_ZERO = 3 << 22,
};

static inline unsigned
test_mode_get(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode) : : "memory");
    return (unsigned)mode;
}

static inline void
test_mode_set(unsigned mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode) : "memory");
}

#endif

#endif /* DOTK_TEST_FLOAT_MODE_H */
