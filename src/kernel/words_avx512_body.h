/*
 * words_avx512_body.h - what AVX-512 does with words: floats, or pairs of bf16
 *
 * A file defines WORD_KEYS: how many keys' weights stand in a word, 1 or (pairs) 2. What pairs need
 * beyond avx512f is asm: gcc 12 copies registers around the intrinsics.
 */
#ifndef DOTK_KERNEL_WORDS_AVX512_BODY_H
#define DOTK_KERNEL_WORDS_AVX512_BODY_H

#include <immintrin.h>

#include "kernel/kernel.h"

#define TARGET DK_TARGET("avx512f,avx512vl,avx512dq")

/*
 * Few rows take keys and values as fast as memory gives them. What lies without gaps they do not
 * ask for ahead of time: the machine reads ahead by itself, and a prefetch that waits in the miss
 * buffers of L1 keeps that out (bench/ladder/decode.md).
 */
enum { LANES = 16, ROWS = DK_ATTEND_ROWS, AHEAD_STEPS = 8, PAIRS = WORD_KEYS == 2 };

/* asm: see tile_avx512.c */
#define PREFETCH_L1(address) __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)(address)))
#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

/*
 * acc += x * line, x a word in memory. asm, because gcc makes one broadcast of two uses of x. On
 * Zen 4 an operand like this costs nothing, and a broadcast costs a third of an FMA.
 */
#if WORD_KEYS == 2
#define FMA_BROADCAST(acc, x, line)                                                                \
    __asm__("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(acc) : "m"(x), "v"(line))
#define FMA(acc, x, line) __asm__("vdpbf16ps %1, %2, %0" : "+v"(acc) : "v"(x), "v"(line))
#else
#define FMA_BROADCAST(acc, x, line)                                                                \
    __asm__("vfmadd231ps %1%{1to16%}, %2, %0" : "+v"(acc) : "m"(x), "v"(line))
#define FMA(acc, x, line) ((acc) = _mm512_fmadd_ps(x, line, acc))
#endif

/*
 * Stores the weights of 32 keys from 'column' on (16 when there is no second vector). What comes
 * back is for divide_by().
 */
DK_INLINE TARGET __m512
store_weights(const size_t vecs, float *row, size_t column, __m512 low, __m512 high)
{
#if WORD_KEYS == 2
    __m512 both;
    if (vecs == 1)
        high = _mm512_setzero_ps();
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(low), "v"(high));
    _mm512_store_ps(row + column / 2, both);
    return both;
#else
    _mm512_store_ps(row + column, low);
    if (vecs == 2)
        _mm512_store_ps(row + column + LANES, high);
    return low;
#endif
}

/* after = before + a panel's weights as they were rounded, from what store_weights() gave. */
DK_INLINE TARGET void
divide_by(const float *before, __m512 low, __m512 high, float *after)
{
#if WORD_KEYS == 2
    const __m512i ones = _mm512_set1_epi16(0x3f80);
    __m512 divisor = _mm512_load_ps(before);
    FMA(divisor, low, ones);
    FMA(divisor, high, ones);
    _mm512_store_ps(after, divisor);
#else
    (void)before, (void)low, (void)high, (void)after;
#endif
}

/* array[0 .. count - 1] *= 2^shift, which is exact; count is a multiple of 16. */
DK_INLINE TARGET void
shift_exponents(float *array, size_t count, __m512 shift)
{
    for (size_t i = 0; i < count; i += LANES)
        _mm512_store_ps(array + i, _mm512_scalef_ps(_mm512_load_ps(array + i), shift));
}

/* The same of the first 'count' weights of a row. */
DK_INLINE TARGET void
shift_weights(float *row, size_t count, __m512 shift)
{
#if WORD_KEYS == 2
    const __m512i upper = _mm512_set1_epi32(-0x10000);

    for (size_t i = 0; i < count / 2; i += LANES) {
        const __m512i pair = _mm512_castps_si512(_mm512_load_ps(row + i));
        const __m512 first = _mm512_scalef_ps(_mm512_castsi512_ps(_mm512_slli_epi32(pair, 16)),
                                              shift);
        const __m512 second = _mm512_scalef_ps(_mm512_castsi512_ps(_mm512_and_si512(pair, upper)),
                                               shift);
        _mm512_store_ps(row + i, _mm512_castsi512_ps(_mm512_or_si512(
                                     _mm512_srli_epi32(_mm512_castps_si512(first), 16),
                                     _mm512_and_si512(_mm512_castps_si512(second), upper))));
    }
#else
    shift_exponents(row, count, shift);
#endif
}

#endif /* DOTK_KERNEL_WORDS_AVX512_BODY_H */
