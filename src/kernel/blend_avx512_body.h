/*
 * blend_avx512_body.h - weighted sums of values for AVX-512, of floats or of pairs of bf16
 *
 * 6 weights by broadcast, 64 columns of a row of values. WORD_KEYS: words_avx512_body.h; contract:
 * softmax_v.h.
 */
#include "kernel/words_avx512_body.h"

/* Columns 0 .. 16 vecs - 1 of value and output, the last vector only where 'tail' says. */
DK_INLINE TARGET void
blend_columns(const size_t rows, const size_t vecs, const struct dk_blend *args, const float *value,
              float *output, __mmask16 tail)
{
    const size_t stride = args->value_stride, output_stride = args->output_stride;
    const float *weight = args->weight[0];
    const size_t first = (args->first + WORD_KEYS - 1) / WORD_KEYS, last = args->last / WORD_KEYS;
    __m512 acc[ROWS][4];

    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            acc[r][v] = _mm512_load_ps(output + r * output_stride + v * LANES);
    }
    value += first * stride;
    for (size_t k = first; k < last; k++) {
        __m512 line[4];
        const size_t ahead = stride > 4 * LANES      ? AHEAD_STEPS * stride
                             : k % STREAM_STEPS == 0 ? STREAM_WORDS
                                                     : 0; /* asks for what is loaded anyway */
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            line[v] = v + 1 < vecs ? _mm512_loadu_ps(value + v * LANES)
                                   : _mm512_maskz_loadu_ps(tail, value + v * LANES);
            if (rows == ROWS)
                PREFETCH_L1(value + AHEAD_STEPS * stride + v * LANES);
            else
                PREFETCH_L2(value + ahead + v * LANES);
        }
        DK_UNROLL
        for (size_t r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(weight[r * DK_ATTEND_BLOCK + k]);
            DK_UNROLL
            for (size_t v = 0; v < vecs; v++)
                FMA(acc[r][v], x, line[v]);
        }
        value += stride;
    }
    DK_UNROLL
    for (size_t r = 0; r < rows; r++) {
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            _mm512_store_ps(output + r * output_stride + v * LANES, acc[r][v]);
    }
}

DK_INLINE TARGET void
blend_rows(const size_t rows, const struct dk_blend *args)
{
    const size_t width = args->width;
    size_t e = 0;

    for (; e + 4 * LANES <= width; e += 4 * LANES)
        blend_columns(rows, 4, args, args->value + e, args->output + e, 0xffff);
    if (e == width)
        return;
    const size_t vecs = (width - e + LANES - 1) / LANES;
    const __mmask16 tail = (__mmask16)(0xffff >> (vecs * LANES - (width - e)));
    switch (vecs) {
    case 1: blend_columns(rows, 1, args, args->value + e, args->output + e, tail); break;
    case 2: blend_columns(rows, 2, args, args->value + e, args->output + e, tail); break;
    case 3: blend_columns(rows, 3, args, args->value + e, args->output + e, tail); break;
    default: blend_columns(rows, 4, args, args->value + e, args->output + e, tail); break;
    }
}

#if WORD_KEYS == 2
/* The pair of key k, of which the other one is no part of the range. */
static TARGET void
blend_half_pair(const struct dk_blend *args, size_t k)
{
    const __m512i half = _mm512_set1_epi32(k % 2 == 0 ? 0xffff : -0x10000);
    const float *const value = args->value + k / 2 * args->value_stride;

    for (size_t e = 0; e < args->width; e += LANES) {
        const size_t count = args->width - e < LANES ? args->width - e : LANES;
        const __m512i line = _mm512_and_si512(
            half, _mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1), value + e));
        for (size_t r = 0; r < args->rows; r++) {
            float *const output = args->output + r * args->output_stride + e;
            __m512 acc = _mm512_load_ps(output);
            FMA_BROADCAST(acc, args->weight[r][k / 2], line);
            _mm512_store_ps(output, acc);
        }
    }
}
#endif

DK_INLINE TARGET void
blend(const struct dk_blend *args)
{
#if WORD_KEYS == 2
    if (args->first % 2 != 0)
        blend_half_pair(args, args->first);
#endif
    switch (args->rows) {
    case 1: blend_rows(1, args); break;
    case 2: blend_rows(2, args); break;
    case 3: blend_rows(3, args); break;
    case 4: blend_rows(4, args); break;
    case 5: blend_rows(5, args); break;
    default: blend_rows(6, args); break;
    }
#if WORD_KEYS == 2
    if (args->last % 2 != 0)
        blend_half_pair(args, args->last - 1);
#endif
}
