/*
 * screen_avx512.c - which of 16 rows may score above a threshold, for AVX-512
 *
 * Rows are read exactly as they lie in memory, one after the other, because that is what reaches
 * the read bandwidth: 0.95 of it, where two rows side by side reached 0.80 and 16 transposed rows
 * (few_avx512.c) 0.75, with every prefetch tried. Lanes add along the dimensions, so the sums are
 * not in the defined order: this is a screen, and its bound is in kernel.h.
 *
 * Queries are interleaved, 16 dimensions of each in turn. As separate rows 3,072 bytes apart they
 * fell into few cache sets, and 8 queries took 1.3 times as long.
 *
 * Rows that will be wanted are prefetched into L2 alone. With 8 queries of 3 KiB most of an L1 of
 * 32 KiB is taken: prefetched into L1, rows and queries drive each other out, and 8 queries take
 * twice as long. One or two queries leave the out-of-order window room for enough loads, and a
 * prefetch is in their way, but for rows that lie apart, as under a filter, and for two queries
 * of halves, which have twice as much to do for each line.
 * (bench/ladder/search.md)
 */
#include <immintrin.h>

#include "kernel/avx512/half_avx512.h"
#include "kernel/avx512/kernels_avx512.h"

#define TARGET DK_TARGET("avx512f,avx512vl,avx512dq,avx512bw")

enum {
    LANES = DK_SCREEN_LANES,
    LINE = 64,
    ROWS = 3,
    ONE_ROW_QUERIES = 4,
    APART_QUERIES = 2, /* up to here lanes are added query by query: fewer instructions */
};

#define PREFETCH_L2(address) __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)(address)))

DK_INLINE TARGET __m512
add_term(const enum dk_score score, __m512 query, __m512 row, __m512 sum)
{
    if (score == DK_SCORE_DOT)
        return _mm512_fmadd_ps(query, row, sum);
    const __m512 difference = _mm512_sub_ps(query, row);
    return _mm512_fnmadd_ps(difference, difference, sum);
}

/* In each 128-bit quarter: the sums of four quarters of a, b, c, d. */
DK_INLINE TARGET __m512
add_quads(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512d ab = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
    const __m512d cd = _mm512_castps_pd(
        _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
}

/* The sums over the lanes of 8 vectors, in order. */
DK_INLINE TARGET __m256
add_lanes(const __m512 sum[DK_FEW_QUERIES])
{
    const __m512 lo = add_quads(sum[0], sum[1], sum[2], sum[3]);
    const __m512 hi = add_quads(sum[4], sum[5], sum[6], sum[7]);
    const __m512 halves = _mm512_add_ps(_mm512_shuffle_f32x4(lo, hi, 0x44),
                                        _mm512_shuffle_f32x4(lo, hi, 0xee));
    const __m512 all = _mm512_add_ps(halves, _mm512_shuffle_f32x4(halves, halves, 0xb1));
    return _mm512_castps512_ps256(_mm512_shuffle_f32x4(all, all, 0x08));
}

/* 16 numbers of a row, or the first of them, the others zeros; 'kind' is a constant. */
DK_INLINE TARGET __m512
load(const enum dk_row kind, const void *from)
{
    if (kind == DK_ROW_F32)
        return _mm512_loadu_ps(from);
    return dk_widen_lanes_avx512(dk_half_of(kind), _mm256_loadu_si256(from));
}

DK_INLINE TARGET __m512
load_first(const enum dk_row kind, const void *from, size_t count)
{
    const __mmask16 lanes = count < LANES ? (__mmask16)((1u << count) - 1) : (__mmask16)0xffff;

    if (kind == DK_ROW_F32)
        return _mm512_maskz_loadu_ps(lanes, from);
    return dk_widen_lanes_avx512(dk_half_of(kind), _mm256_maskz_loadu_epi16(lanes, from));
}

/*
 * Bits 0 .. rows - 1 for rows r .. r + rows - 1, rows being 1 or 3; all but args and r are
 * constants. Rows share each load of a query, but their memory is still asked for in the order
 * in which it lies, a cache line of each in turn.
 */
DK_INLINE TARGET uint32_t
screen_rows(const enum dk_row kind, const enum dk_score score, const size_t queries,
            const size_t rows, const bool prefetch, const struct dk_screen *args, size_t r)
{
    const __m256 threshold = _mm256_load_ps(args->threshold);
    const size_t bytes = dk_row_bytes(kind, LANES), dim = args->dim;
    const size_t whole = dk_row_bytes(kind, dim) / LINE * LINE;
    const char *const first = args->later[r];
    const bool adjacent = rows > 1 &&
                          args->later[r + rows - 1] == first + (rows - 1) * dk_row_bytes(kind, dim);
    /* One row alone: halves of a line are added apart, or additions wait for one another. */
    const size_t aside = queries <= ONE_ROW_QUERIES ? ONE_ROW_QUERIES : 0;
    const size_t later_step = adjacent ? rows * LINE : LINE;
    const float *query = args->query;
    const char *row[ROWS], *later[ROWS];
    __m512 sum[ROWS][DK_FEW_QUERIES];
    uint32_t above = 0;

    DK_UNROLL
    for (size_t i = 0; i < rows; i++) {
        row[i] = args->row[r + i];
        later[i] = adjacent ? first + i * LINE : args->later[r + i];
        DK_UNROLL
        for (size_t q = 0; q < DK_FEW_QUERIES; q++)
            sum[i][q] = _mm512_setzero_ps();
    }
    for (size_t at = 0; at < whole; at += LINE) {
        DK_UNROLL
        for (size_t part = 0; part < LINE / bytes; part++) {
            __m512 x[ROWS];
            DK_UNROLL
            for (size_t i = 0; i < rows; i++) {
                x[i] = load(kind, row[i] + at + part * bytes);
                if (prefetch && part == 0)
                    PREFETCH_L2(later[i]);
                later[i] += part == 0 ? later_step : 0;
            }
            DK_UNROLL
            for (size_t q = 0; q < queries; q++) {
                __m512 y = _mm512_load_ps(query + q * LANES);
                __asm__("" : "+v"(y)); /* else gcc 12 loads it again for the next row */
                DK_UNROLL
                for (size_t i = 0; i < rows; i++) {
                    __m512 *const to = &sum[i][q + part * aside];
                    *to = add_term(score, y, x[i], *to);
                }
            }
            query += queries * LANES;
        }
    }
    if (aside > 0 && bytes < LINE) {
        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            sum[0][q] = _mm512_add_ps(sum[0][q], sum[0][q + aside]);
    }
    for (size_t d = whole / bytes * LANES, part = 0; part < LINE / bytes && d < dim; part++) {
        DK_UNROLL
        for (size_t i = 0; i < rows; i++) {
            const __m512 x = load_first(kind, row[i] + whole + part * bytes, dim - d);
            DK_UNROLL
            for (size_t q = 0; q < queries; q++)
                sum[i][q] = add_term(score, _mm512_load_ps(query + q * LANES), x, sum[i][q]);
        }
        query += queries * LANES;
        d += LANES;
    }
    DK_UNROLL
    for (size_t i = 0; i < rows; i++) {
        if (queries <= APART_QUERIES) {
            DK_UNROLL
            for (size_t q = 0; q < queries; q++)
                above |= (uint32_t)(_mm512_reduce_add_ps(sum[i][q]) > args->threshold[q]) << i;
            continue;
        }
        const __mmask8 hit = _mm256_cmp_ps_mask(add_lanes(sum[i]), threshold, _CMP_GT_OQ);
        above |= (uint32_t)(hit != 0) << i;
    }
    return above;
}

/* 'kind', 'score' and 'queries' are constants at every call. */
DK_INLINE TARGET uint32_t
screen_body(const enum dk_row kind, const enum dk_score score, const size_t queries,
            const bool prefetch, const struct dk_screen *args)
{
    const size_t together = queries > ONE_ROW_QUERIES ? ROWS : 1;
    uint32_t above = 0;
    size_t r = 0;

    for (; r + together <= args->count; r += together)
        above |= screen_rows(kind, score, queries, together, prefetch, args, r) << r;
    for (; r < args->count; r++)
        above |= screen_rows(kind, score, queries, 1, prefetch, args, r) << r;
    return above;
}

DK_INLINE TARGET uint32_t
screen(const enum dk_row kind, const enum dk_score score, const struct dk_screen *args)
{
    const bool apart = dk_rows_lie_apart(kind, args);

    switch (args->queries) {
    case 1:
        return apart ? screen_body(kind, score, 1, true, args)
                     : screen_body(kind, score, 1, false, args);
    case 2:
        return apart || kind != DK_ROW_F32 ? screen_body(kind, score, 2, true, args)
                                           : screen_body(kind, score, 2, false, args);
    case 3: return screen_body(kind, score, 3, true, args);
    case 4: return screen_body(kind, score, 4, true, args);
    case 5: return screen_body(kind, score, 5, true, args);
    case 6: return screen_body(kind, score, 6, true, args);
    case 7: return screen_body(kind, score, 7, true, args);
    case 8: return screen_body(kind, score, 8, true, args);
    default: __builtin_unreachable();
    }
}

TARGET uint32_t
dk_screen_dot_f32_avx512(const struct dk_screen *args)
{
    return screen(DK_ROW_F32, DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_f32_avx512(const struct dk_screen *args)
{
    return screen(DK_ROW_F32, DK_SCORE_L2, args);
}

TARGET uint32_t
dk_screen_dot_f16_avx512(const struct dk_screen *args)
{
    return screen(DK_ROW_F16, DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_f16_avx512(const struct dk_screen *args)
{
    return screen(DK_ROW_F16, DK_SCORE_L2, args);
}

TARGET uint32_t
dk_screen_dot_bf16_avx512(const struct dk_screen *args)
{
    return screen(DK_ROW_BF16, DK_SCORE_DOT, args);
}

TARGET uint32_t
dk_screen_l2_bf16_avx512(const struct dk_screen *args)
{
    return screen(DK_ROW_BF16, DK_SCORE_L2, args);
}
