/* bits.h - flags of 64 neighbours as one word; SSE2 needs no choice, every x86-64 has it */
#ifndef DOTK_KERNEL_BITS_H
#define DOTK_KERNEL_BITS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Bit i: byte[i] != 0, for i < count <= 64; zeros from there on. Reads nothing behind 'count'. */
static inline uint64_t
dk_bits_of_bytes(const uint8_t *byte, size_t count)
{
    uint64_t bits = 0;
    size_t i = 0;

#if defined(__SSE2__)
    for (; i + 16 <= count; i += 16) {
        const __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)(byte + i));
        const int zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(sixteen, _mm_setzero_si128()));
        bits |= (uint64_t)(~zeros & 0xffff) << i;
    }
#endif
    for (; i < count; i++)
        bits |= (uint64_t)(byte[i] != 0) << i;
    return bits;
}

/* Bit i: value[i] is not -infinity (a NaN is not); else as above. */
static inline uint64_t
dk_bits_of_shown(const float *value, size_t count)
{
    uint64_t bits = 0;
    size_t i = 0;

#if defined(__SSE2__)
    const __m128 none = _mm_set1_ps(-INFINITY);
    for (; i + 4 <= count; i += 4)
        bits |= (uint64_t)_mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(value + i), none)) << i;
#endif
    for (; i < count; i++)
        bits |= (uint64_t)(value[i] != -INFINITY) << i;
    return bits;
}

#endif /* DOTK_KERNEL_BITS_H */
