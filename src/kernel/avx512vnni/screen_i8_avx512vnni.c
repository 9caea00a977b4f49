/*
 * screen_i8_avx512vnni.c - codes of 64 keys against up to 6 queries, for AVX-512 with VNNI
 *
 * Four vectors of 16 keys, four dimensions in each lane: one vpdpbusd is 64 multiply-adds. With 6
 * queries 24 sums, 4 keys and a query stay in registers. gcc 12 spills around the intrinsic, which
 * is why the instruction is written out.
 *
 * One or two queries are bound by reading. Loads alone reached 0.87 of the bandwidth with one
 * query, because the machine's own prefetching begins anew with each 4 KiB; prefetching everything
 * reached 0.65. Half of each 4 KiB, two of them ahead, leaves the machine the other half: 0.96.
 * (bench/ladder/search.md)
 *
 * Codes of four bits become bytes 2 n by a shift and a mask, which cost nothing beside reading. The
 * lower nibbles of 16 keys meet all queries before the upper ones, and query codes are broadcast
 * from memory, so that 24 sums and what is in work fit into the registers.
 */
#include <immintrin.h>

#include "kernel/ahead.h"
#include "kernel/avx512vnni/kernels_avx512vnni.h"

#define TARGET DK_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

enum {
    VECS = 4,
    LANES = 16,
    GROUP_BYTES = 256,
    READING_QUERIES = 2, /* up to here reading is the limit */
    PAGE_GROUPS = DK_AHEAD_PAGE / GROUP_BYTES,
};

/* sum + key . query in each lane: unsigned times signed bytes, no saturation. */
DK_INLINE TARGET __m512i
dot_step(__m512i sum, __m512i key, __m512i query)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(key), "v"(query));
    return sum;
}

/* The same with four query codes in memory. */
DK_INLINE TARGET __m512i
dot_step_memory(__m512i sum, __m512i key, const int8_t *query)
{
    typedef int32_t four __attribute__((may_alias, aligned(1)));
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(key), "m"(*(const four *)query));
    return sum;
}

typedef __m512i sums[DK_I8_QUERIES][VECS];

/* One group of dimensions; 'query' points to each query's codes of it. */
DK_INLINE TARGET void
add_bytes(const size_t queries, const uint8_t *codes, const int8_t *const *query, size_t at,
          sums sum)
{
    __m512i x[VECS];

    DK_UNROLL
    for (int v = 0; v < VECS; v++)
        x[v] = _mm512_load_si512(codes + v * 64);
    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        int32_t four;
        __builtin_memcpy(&four, query[q] + at, sizeof four);
        const __m512i y = _mm512_set1_epi32(four);
        DK_UNROLL
        for (int v = 0; v < VECS; v++)
            sum[q][v] = dot_step(sum[q][v], x[v], y);
    }
}

DK_INLINE TARGET void
add_nibbles(const size_t queries, const uint8_t *codes, const int8_t *const *query, size_t at,
            sums sum)
{
    const __m512i mask = _mm512_set1_epi8(0x1e);

    DK_UNROLL
    for (int v = 0; v < VECS; v++) {
        const __m512i both = _mm512_load_si512(codes + v * 64);
        const __m512i lower = _mm512_and_si512(_mm512_slli_epi16(both, 1), mask);
        const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(both, 3), mask);
        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            sum[q][v] = dot_step_memory(sum[q][v], lower, query[q] + at);
        DK_UNROLL
        for (size_t q = 0; q < queries; q++)
            sum[q][v] = dot_step_memory(sum[q][v], upper, query[q] + at + DK_I4_GROUP / 2);
    }
}

/* 'queries' and 'group' (DK_I8_GROUP or DK_I4_GROUP) are constants at every call. */
DK_INLINE TARGET void
screen_body(const size_t queries, const size_t group, const struct dk_screen_i8 *args)
{
    const struct dk_key_terms *const key = args->key;
    const uint8_t *codes = args->codes;
    struct dk_ahead ahead = dk_ahead_of(args->ahead, args->ahead_lines, args->groups);
    const int8_t *query[DK_I8_QUERIES];
    sums sum;

    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        query[q] = args->query[q];
        DK_UNROLL
        for (int v = 0; v < VECS; v++)
            sum[q][v] = _mm512_set1_epi32(args->term[q].start);
    }
    for (size_t g = 0, stop; g < args->groups; g = stop) {
        stop = args->groups;
        if (queries <= READING_QUERIES) {
            dk_ahead_half_page(&ahead);
            stop = stop - g < PAGE_GROUPS ? stop : g + PAGE_GROUPS;
        }
        for (; g < stop; g++, codes += GROUP_BYTES) {
            if (queries > READING_QUERIES)
                dk_ahead_some(&ahead);
            if (group == DK_I8_GROUP)
                add_bytes(queries, codes, query, g * group, sum);
            else
                add_nibbles(queries, codes, query, g * group, sum);
        }
    }
    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        const struct dk_query_terms *const term = &args->term[q];
        uint64_t above = 0;
        DK_UNROLL
        for (int v = 0; v < VECS; v++) {
            const size_t at = (size_t)v * LANES;
            const __m512 rest = _mm512_fmadd_ps(
                _mm512_set1_ps(term->residual), _mm512_load_ps(key->residual + at),
                _mm512_fmadd_ps(_mm512_set1_ps(term->norm), _mm512_load_ps(key->norm + at),
                                _mm512_load_ps(key->offset + at)));
            const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[q][v]),
                                                 _mm512_set1_ps(term->scale));
            const __m512 bound = _mm512_fmadd_ps(product, _mm512_load_ps(key->scale + at), rest);
            const __mmask16 hit = _mm512_cmp_ps_mask(bound, _mm512_set1_ps(args->threshold[q]),
                                                     _CMP_NLE_UQ);
            above |= (uint64_t)hit << at;
        }
        args->above[q] = above;
    }
}

DK_INLINE TARGET void
screen(const size_t group, const struct dk_screen_i8 *args)
{
    switch (args->queries) {
    case 1: screen_body(1, group, args); break;
    case 2: screen_body(2, group, args); break;
    case 3: screen_body(3, group, args); break;
    case 4: screen_body(4, group, args); break;
    case 5: screen_body(5, group, args); break;
    case 6: screen_body(6, group, args); break;
    default: __builtin_unreachable();
    }
}

TARGET void
dk_screen_i8_avx512vnni(const struct dk_screen_i8 *args)
{
    screen(DK_I8_GROUP, args);
}

TARGET void
dk_screen_i4_avx512vnni(const struct dk_screen_i8 *args)
{
    screen(DK_I4_GROUP, args);
}
