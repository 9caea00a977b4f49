/*
 * screen_i8_avx2.c - codes of 64 keys against up to 6 queries, for AVX2
 *
 * vpmaddubsw adds pairs in 16 bits and saturates, which would not be exact. So bytes are widened in
 * place: even ones by a mask, odd ones by a shift, each pair times two signed query codes by
 * vpmaddwd. Eight keys at a time; queries that share the widened keys go two by two. Of codes of
 * four bits, on the other hand, 16 bits hold what both halves of a group add: 4 * 30 * 127 at most.
 */
#include <immintrin.h>

#include "kernel/ahead.h"
#include "kernel/avx2/kernels_avx2.h"

#define TARGET DK_TARGET("avx2,fma")

enum {
    VECS = 4,
    LANES = 8,
    GROUP_BYTES = 256,
    TOGETHER = 2,
    PAGE_GROUPS = DK_AHEAD_PAGE / GROUP_BYTES,
};

/* Codes 0 and 2 of a group as two signed 16-bit numbers, or 1 and 3. */
DK_INLINE TARGET __m256i
two_codes(const int8_t *query, int first)
{
    const uint32_t low = (uint16_t)query[first], high = (uint16_t)query[first + 2];
    return _mm256_set1_epi32((int32_t)(low | high << 16));
}

DK_INLINE TARGET __m256i
four_codes(const int8_t *query)
{
    int32_t four;
    __builtin_memcpy(&four, query, sizeof four);
    return _mm256_set1_epi32(four);
}

typedef __m256i sums[TOGETHER][VECS];

/* One group of dimensions; 'at' counts the queries' codes. */
DK_INLINE TARGET void
add_bytes(const size_t queries, const uint8_t *codes, const int8_t *const *query, size_t at,
          sums sum)
{
    const __m256i even = _mm256_set1_epi32(0x00ff00ff);
    __m256i y[TOGETHER][2];

    DK_UNROLL
    for (size_t i = 0; i < queries; i++) {
        y[i][0] = two_codes(query[i] + at, 0);
        y[i][1] = two_codes(query[i] + at, 1);
    }
    DK_UNROLL
    for (int v = 0; v < VECS; v++) {
        const __m256i x = _mm256_load_si256((const __m256i *)(codes + v * 32));
        const __m256i x02 = _mm256_and_si256(x, even), x13 = _mm256_srli_epi16(x, 8);
        DK_UNROLL
        for (size_t i = 0; i < queries; i++) {
            const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(x02, y[i][0]),
                                                      _mm256_madd_epi16(x13, y[i][1]));
            sum[i][v] = _mm256_add_epi32(sum[i][v], products);
        }
    }
}

DK_INLINE TARGET void
add_nibbles(const size_t queries, const uint8_t *codes, const int8_t *const *query, size_t at,
            sums sum)
{
    const __m256i mask = _mm256_set1_epi8(0x1e), ones = _mm256_set1_epi16(1);
    __m256i y[TOGETHER][2];

    DK_UNROLL
    for (size_t i = 0; i < queries; i++) {
        y[i][0] = four_codes(query[i] + at);
        y[i][1] = four_codes(query[i] + at + DK_I4_GROUP / 2);
    }
    DK_UNROLL
    for (int v = 0; v < VECS; v++) {
        const __m256i both = _mm256_load_si256((const __m256i *)(codes + v * 32));
        const __m256i lower = _mm256_and_si256(_mm256_slli_epi16(both, 1), mask);
        const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(both, 3), mask);
        DK_UNROLL
        for (size_t i = 0; i < queries; i++) {
            const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(lower, y[i][0]),
                                                   _mm256_maddubs_epi16(upper, y[i][1]));
            sum[i][v] = _mm256_add_epi32(sum[i][v], _mm256_madd_epi16(pairs, ones));
        }
    }
}

/* Keys at .. at + 31 of the panel, 'queries' (1 or 2) from q on; it and 'group' are constants. */
DK_INLINE TARGET void
screen_keys(const size_t queries, const size_t group, const struct dk_screen_i8 *args, size_t q,
            size_t at, struct dk_ahead *ahead)
{
    const struct dk_key_terms *const key = args->key;
    const uint8_t *codes = args->codes + at * DK_I8_GROUP;
    sums sum;

    DK_UNROLL
    for (size_t i = 0; i < queries; i++) {
        DK_UNROLL
        for (int v = 0; v < VECS; v++)
            sum[i][v] = _mm256_set1_epi32(args->term[q + i].start);
    }
    for (size_t g = 0; g < args->groups; g++, codes += GROUP_BYTES) {
        if (g % PAGE_GROUPS == 0)
            dk_ahead_some(ahead);
        if (group == DK_I8_GROUP)
            add_bytes(queries, codes, args->query + q, g * group, sum);
        else
            add_nibbles(queries, codes, args->query + q, g * group, sum);
    }
    DK_UNROLL
    for (size_t i = 0; i < queries; i++) {
        const struct dk_query_terms *const term = &args->term[q + i];
        DK_UNROLL
        for (int v = 0; v < VECS; v++) {
            const size_t first = at + (size_t)v * LANES;
            const __m256 rest = _mm256_fmadd_ps(
                _mm256_set1_ps(term->residual), _mm256_load_ps(key->residual + first),
                _mm256_fmadd_ps(_mm256_set1_ps(term->norm), _mm256_load_ps(key->norm + first),
                                _mm256_load_ps(key->offset + first)));
            const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[i][v]),
                                                 _mm256_set1_ps(term->scale));
            const __m256 bound = _mm256_fmadd_ps(product, _mm256_load_ps(key->scale + first), rest);
            const __m256 hit = _mm256_cmp_ps(bound, _mm256_set1_ps(args->threshold[q + i]),
                                             _CMP_NLE_UQ);
            args->above[q + i] |= (uint64_t)(unsigned)_mm256_movemask_ps(hit) << first;
        }
    }
}

DK_INLINE TARGET void
screen(const size_t group, const struct dk_screen_i8 *args)
{
    for (size_t q = 0; q < args->queries; q++)
        args->above[q] = 0;
    const size_t passes = DK_PANEL / (VECS * LANES) * ((args->queries + TOGETHER - 1) / TOGETHER);
    const size_t pages = (args->groups + PAGE_GROUPS - 1) / PAGE_GROUPS;
    struct dk_ahead ahead = dk_ahead_of(args->ahead, args->ahead_lines, passes * pages);

    for (size_t at = 0; at < DK_PANEL; at += VECS * LANES) {
        size_t q = 0;
        for (; q + TOGETHER <= args->queries; q += TOGETHER)
            screen_keys(TOGETHER, group, args, q, at, &ahead);
        if (q < args->queries)
            screen_keys(1, group, args, q, at, &ahead);
    }
}

TARGET void
dk_screen_i8_avx2(const struct dk_screen_i8 *args)
{
    screen(DK_I8_GROUP, args);
}

TARGET void
dk_screen_i4_avx2(const struct dk_screen_i8 *args)
{
    screen(DK_I4_GROUP, args);
}
