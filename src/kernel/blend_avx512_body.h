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
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++) {
            line[v] = v + 1 < vecs ? _mm512_loadu_ps(value + v * LANES)
                                   : _mm512_maskz_loadu_ps(tail, value + v * LANES);
            if (rows == ROWS)
                PREFETCH_L1(value + AHEAD_STEPS * stride + v * LANES);
            else if (stride > 4 * LANES) /* rows with gaps between the columns of this pass */
                PREFETCH_L2(value + AHEAD_STEPS * stride + v * LANES);
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
blend_all(const struct dk_blend *args)
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

#if WORD_KEYS == 1
/*
 * Of a panel that few keys are kept of, each row takes those alone. An FMA then loads its operand,
 * which no other row shares: that pays up to PICKED_MOST of the cells.
 */
enum {
    PICKED_MOST = 60, /* per cent                                                       */
    PICKED_ROWS = 3,  /* side by side, each at its own key: sums wait for those before */
};

/* acc += the first key of 'keep', without which that comes back. */
DK_INLINE TARGET uint64_t
pick_key(const size_t vecs, const float *weight, uint64_t keep, const float *value, size_t stride,
         __mmask16 tail, __m512 acc[4])
{
    const size_t k = (size_t)__builtin_ctzll(keep);
    const float *const line = value + k * stride;
    const __m512 x = _mm512_set1_ps(weight[k]);

    DK_UNROLL
    for (size_t v = 0; v < vecs; v++)
        FMA(acc[v], x,
            v + 1 < vecs || tail == 0xffff ? _mm512_loadu_ps(line + v * LANES)
                                           : _mm512_maskz_loadu_ps(tail, line + v * LANES));
    return keep & (keep - 1);
}

/*
 * Rows r .. r + rows - 1 and columns e .. e + 16 vecs - 1 (the last vector only where 'tail' says)
 * of the panel at 'first'.
 */
DK_INLINE TARGET void
pick_columns(const size_t rows, const size_t vecs, const struct dk_blend *args, size_t r,
             size_t first, size_t e, __mmask16 tail)
{
    const float *const value = args->value + first * args->value_stride + e;
    float *const output = args->output + r * args->output_stride + e;
    const float *weight[PICKED_ROWS];
    uint64_t keep[PICKED_ROWS];
    __m512 acc[PICKED_ROWS][4];
    size_t steps = DK_PANEL;

    DK_UNROLL
    for (size_t i = 0; i < rows; i++) {
        keep[i] = args->keep[first / DK_PANEL][r + i];
        weight[i] = args->weight[r + i] + first;
        const size_t count = (size_t)__builtin_popcountll(keep[i]);
        steps = count < steps ? count : steps;
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            acc[i][v] = _mm512_load_ps(output + i * args->output_stride + v * LANES);
    }
    for (; steps > 0; steps--) {
        DK_UNROLL
        for (size_t i = 0; i < rows; i++)
            keep[i] = pick_key(vecs, weight[i], keep[i], value, args->value_stride, tail, acc[i]);
    }
    DK_UNROLL
    for (size_t i = 0; i < rows; i++) {
        while (keep[i] != 0)
            keep[i] = pick_key(vecs, weight[i], keep[i], value, args->value_stride, tail, acc[i]);
        DK_UNROLL
        for (size_t v = 0; v < vecs; v++)
            _mm512_store_ps(output + i * args->output_stride + v * LANES, acc[i][v]);
    }
}

/* The panel that begins at 'first'. */
DK_INLINE TARGET void
pick_panel(const struct dk_blend *args, size_t first)
{
    for (size_t e = 0, columns; e < args->width; e += columns) {
        columns = args->width - e < 4 * LANES ? args->width - e : 4 * LANES;
        const size_t vecs = (columns + LANES - 1) / LANES;
        const __mmask16 tail = (__mmask16)(0xffff >> (vecs * LANES - columns));
        size_t r = 0;
        for (; columns == 4 * LANES && r + PICKED_ROWS <= args->rows; r += PICKED_ROWS)
            pick_columns(PICKED_ROWS, 4, args, r, first, e, 0xffff);
        for (; r < args->rows; r++) {
            switch (vecs) {
            case 1: pick_columns(1, 1, args, r, first, e, tail); break;
            case 2: pick_columns(1, 2, args, r, first, e, tail); break;
            case 3: pick_columns(1, 3, args, r, first, e, tail); break;
            default: pick_columns(1, 4, args, r, first, e, tail); break;
            }
        }
    }
}

DK_INLINE TARGET bool
is_picked(const struct dk_blend *args, size_t first)
{
    const size_t keys = args->last - first < DK_PANEL ? args->last - first : DK_PANEL;
    size_t cells = 0;

    if (args->keep == NULL)
        return false;
    for (size_t r = 0; r < args->rows; r++)
        cells += (size_t)__builtin_popcountll(args->keep[first / DK_PANEL][r]);
    return cells * 100 <= args->rows * keys * PICKED_MOST;
}

DK_INLINE TARGET void
blend(const struct dk_blend *args)
{
    struct dk_blend part = *args;

    for (size_t end; part.first < args->last; part.first = end) {
        end = part.first + DK_PANEL;
        if (is_picked(args, part.first)) {
            pick_panel(args, part.first);
            continue;
        }
        while (end < args->last && !is_picked(args, end))
            end += DK_PANEL;
        part.last = end < args->last ? end : args->last;
        blend_all(&part);
    }
}
#else
DK_INLINE TARGET void
blend(const struct dk_blend *args)
{
    blend_all(args);
}
#endif
