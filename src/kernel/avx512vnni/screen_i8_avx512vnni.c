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

/* 'queries' is a constant at every call. */
DK_INLINE TARGET void
screen_body(const size_t queries, const struct dk_screen_i8 *args)
{
    const struct dk_key_terms *const key = args->key;
    const uint8_t *codes = args->codes;
    struct dk_ahead ahead = dk_ahead_of(args->ahead, args->ahead_lines, args->groups);
    const int8_t *query[DK_I8_QUERIES];
    __m512i sum[DK_I8_QUERIES][VECS];

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
            __m512i x[VECS];
            DK_UNROLL
            for (int v = 0; v < VECS; v++)
                x[v] = _mm512_load_si512(codes + v * 64);
            if (queries > READING_QUERIES)
                dk_ahead_some(&ahead);
            DK_UNROLL
            for (size_t q = 0; q < queries; q++) {
                int32_t four;
                __builtin_memcpy(&four, query[q] + g * DK_I8_GROUP, sizeof four);
                const __m512i y = _mm512_set1_epi32(four);
                DK_UNROLL
                for (int v = 0; v < VECS; v++)
                    sum[q][v] = dot_step(sum[q][v], x[v], y);
            }
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

TARGET void
dk_screen_i8_avx512vnni(const struct dk_screen_i8 *args)
{
    switch (args->queries) {
    case 1: screen_body(1, args); break;
    case 2: screen_body(2, args); break;
    case 3: screen_body(3, args); break;
    case 4: screen_body(4, args); break;
    case 5: screen_body(5, args); break;
    case 6: screen_body(6, args); break;
    default: __builtin_unreachable();
    }
}
