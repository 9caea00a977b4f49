/*
 * screen_i8_neon_body.h - codes of 64 keys against up to 6 queries, for Neon with and without sdot
 *
 * 16 keys at a time: with 6 queries 24 sums stay in registers, each lane one key. Keys' bytes are
 * made signed by their upper bit, so that a query's codes (and their sum, 128 times) have to stand
 * for the 128 in each byte.
 *
 * A file defines SCREEN_TARGET (its function attribute), a type four_codes, load_four(codes) and
 * add_products(sum, keys, four): sum[i] + the product of 4 codes of key i and those of a query.
 */
#include "kernel/neon/vector_neon.h"

enum { VECS = 4, LANES = 4, KEYS = LANES * VECS, GROUP_BYTES = DK_PANEL * DK_I8_GROUP };

/* What the sums of a query begin with, now that keys lack their 128. */
DK_INLINE SCREEN_TARGET int32_t
start_of(const struct dk_screen_i8 *args, size_t q)
{
    const int8_t *const query = args->query[q];
    int32x4_t sum = vdupq_n_s32(0);
    size_t g = 0;

    for (; g + 4 <= args->groups; g += 4)
        sum = vpadalq_s16(sum, vpaddlq_s8(vld1q_s8(query + g * DK_I8_GROUP)));
    int32_t total = vaddvq_s32(sum);
    for (size_t d = g * DK_I8_GROUP; d < args->groups * DK_I8_GROUP; d++)
        total += query[d];
    return args->term[q].start + 128 * total;
}

/* Bit r: key at + r may be above the query's threshold, 16 keys. */
DK_INLINE SCREEN_TARGET uint64_t
keys_above(const struct dk_screen_i8 *args, size_t q, size_t at, const int32x4_t sum[VECS])
{
    const struct dk_key_terms *const key = args->key;
    const struct dk_query_terms *const term = &args->term[q];
    uint32x4_t below[VECS];

    DK_UNROLL
    for (size_t v = 0; v < VECS; v++) {
        const size_t first = at + v * LANES;
        const float32x4_t norms = vfmaq_n_f32(vld1q_f32(key->offset + first),
                                              vld1q_f32(key->norm + first), term->norm);
        const float32x4_t rest = vfmaq_n_f32(norms, vld1q_f32(key->residual + first),
                                             term->residual);
        const float32x4_t product = vmulq_n_f32(vcvtq_f32_s32(sum[v]), term->scale);
        const float32x4_t bound = vfmaq_f32(rest, product, vld1q_f32(key->scale + first));
        below[v] = vcleq_f32(bound, vdupq_n_f32(args->threshold[q])); /* never, of NaN */
    }
    return dk_bits_of_lanes(below) ^ 0xffff;
}

/* Keys at .. at + 15 of the panel; 'queries' is a constant. */
DK_INLINE SCREEN_TARGET void
screen_keys(const size_t queries, const struct dk_screen_i8 *args, const int32_t *start, size_t at)
{
    const uint8_t *codes = args->codes + at * DK_I8_GROUP;
    const int8_t *query[DK_I8_QUERIES];
    int32x4_t sum[DK_I8_QUERIES][VECS];

    DK_UNROLL
    for (size_t q = 0; q < queries; q++) {
        query[q] = args->query[q];
        sum[q][0] = sum[q][1] = sum[q][2] = sum[q][3] = vdupq_n_s32(start[q]);
    }
    for (size_t g = 0; g < args->groups; g++, codes += GROUP_BYTES) {
        int8x16_t x[VECS];
        DK_UNROLL
        for (size_t v = 0; v < VECS; v++)
            x[v] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes + v * 16), vdupq_n_u8(128)));
        DK_UNROLL
        for (size_t q = 0; q < queries; q++) {
            const four_codes y = load_four(query[q] + g * DK_I8_GROUP);
            DK_UNROLL
            for (size_t v = 0; v < VECS; v++)
                sum[q][v] = add_products(sum[q][v], x[v], y);
        }
    }
    DK_UNROLL
    for (size_t q = 0; q < queries; q++)
        args->above[q] |= keys_above(args, q, at, sum[q]) << at;
}

DK_INLINE SCREEN_TARGET void
screen_body(const struct dk_screen_i8 *args)
{
    int32_t start[DK_I8_QUERIES];

    for (size_t q = 0; q < args->queries; q++) {
        args->above[q] = 0;
        start[q] = start_of(args, q);
    }
    for (size_t i = 0; i < args->ahead_lines; i++)
        DK_PREFETCH_NEON(args->ahead + i * 64);
    for (size_t at = 0; at < DK_PANEL; at += KEYS) {
        switch (args->queries) {
        case 1: screen_keys(1, args, start, at); break;
        case 2: screen_keys(2, args, start, at); break;
        case 3: screen_keys(3, args, start, at); break;
        case 4: screen_keys(4, args, start, at); break;
        case 5: screen_keys(5, args, start, at); break;
        default: screen_keys(6, args, start, at); break;
        }
    }
}
