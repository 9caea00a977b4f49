/*
 * pairs_avx512.c - rows of bf16 to words of two: keys are transposed 16 x 16 words at a time,
 * values of two keys interleaved; see softmax_v.h. The 64 rows behind are asked for meanwhile: of
 * few queries packing is most of the time, and a burst of prefetches before it would not run beside
 * it.
 */
#include <immintrin.h>

#include "kernel/avx512/kernels_avx512.h"
#include "kernel/avx512/transpose_avx512.h"

#define TARGET DK_TARGET("avx512f,avx512bw")

enum { LANES = 16, HALVES = 32, AHEAD_ROWS = DK_PANEL };

/* asm: see tile_avx512.c */
#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

/* The first 'count' of 32 halves. */
DK_INLINE __mmask32
first_halves(size_t count)
{
    return count < HALVES ? (__mmask32)((1u << count) - 1) : ~(__mmask32)0;
}

/* Columns c0 .. c0 + 15 of the panel, of which 'count' (0 .. 16) exist. */
DK_INLINE TARGET void
pack_16(const uint16_t *rows, size_t stride, size_t count, size_t width, float *out)
{
    for (size_t d = 0; d < width; d += HALVES) {
        const __mmask32 halves = first_halves(width - d);
        const size_t words = width - d < HALVES ? (width - d + 1) / 2 : LANES;
        __m512 block[LANES];
        DK_UNROLL
        for (size_t r = 0; r < LANES; r++) {
            PREFETCH_L2(rows + (r + AHEAD_ROWS) * stride + d);
            block[r] = r < count ? _mm512_castsi512_ps(
                                       _mm512_maskz_loadu_epi16(halves, rows + r * stride + d))
                                 : _mm512_setzero_ps();
        }
        dk_transpose_16x16(block);
        if (words == LANES) {
            DK_UNROLL
            for (size_t i = 0; i < LANES; i++)
                _mm512_store_ps(out + i * DK_PANEL, block[i]);
        } else {
            for (size_t i = 0; i < words; i++)
                _mm512_store_ps(out + i * DK_PANEL, block[i]);
        }
        out += LANES * DK_PANEL;
    }
}

static TARGET void
pack_panel(const uint16_t *rows, size_t stride, size_t count, size_t width, float *out)
{
    for (size_t c = 0; c < DK_PANEL; c += LANES) {
        if (c + LANES <= count)
            pack_16(rows + c * stride, stride, LANES, width, out + c);
        else
            pack_16(c < count ? rows + c * stride : rows, stride, c < count ? count - c : 0, width,
                    out + c);
    }
}

static TARGET void
pack_values(const uint16_t *rows, size_t stride, size_t count, size_t width, float *out)
{
    for (size_t k = 0; k < count; k += 2, rows += 2 * stride, out += width) {
        for (size_t e = 0; e < width; e += LANES) {
            const __mmask32 halves = first_halves(width - e < LANES ? width - e : LANES);
            if (e % HALVES == 0) {
                PREFETCH_L2(rows + AHEAD_ROWS * stride + e);
                PREFETCH_L2(rows + (AHEAD_ROWS + 1) * stride + e);
            }
            const __m512i first = _mm512_cvtepu16_epi32(
                _mm512_castsi512_si256(_mm512_maskz_loadu_epi16(halves, rows + e)));
            __m512i second = _mm512_setzero_si512();
            if (k + 1 < count)
                second = _mm512_cvtepu16_epi32(
                    _mm512_castsi512_si256(_mm512_maskz_loadu_epi16(halves, rows + stride + e)));
            _mm512_mask_storeu_epi32(out + e, (__mmask16)halves,
                                     _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
        }
    }
}

const struct dk_pairs_kernels dk_pairs_avx512 = {.panel = pack_panel, .values = pack_values};
