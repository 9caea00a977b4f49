/* screen_i8_portable.c - the bound of screen_i8.h in plain C */
#include "kernel/kernel.h"
#include "kernel/portable/kernels_portable.h"

/* c . d of 64 keys and one query. */
static void
products(const uint8_t *codes, const int8_t *query, size_t groups, int32_t start, int32_t *sum)
{
    for (size_t r = 0; r < DK_PANEL; r++)
        sum[r] = start;
    for (size_t g = 0; g < groups; g++, codes += DK_PANEL * DK_I8_GROUP, query += DK_I8_GROUP) {
        for (size_t r = 0; r < DK_PANEL; r++) {
            for (size_t j = 0; j < DK_I8_GROUP; j++)
                sum[r] += codes[r * DK_I8_GROUP + j] * query[j];
        }
    }
}

/* The same of codes of four bits. */
static void
products_i4(const uint8_t *codes, const int8_t *query, size_t groups, int32_t start, int32_t *sum)
{
    enum { BYTES = DK_I4_GROUP / 2 }; /* of a key in a group */

    for (size_t r = 0; r < DK_PANEL; r++)
        sum[r] = start;
    for (size_t g = 0; g < groups; g++, codes += DK_PANEL * BYTES, query += DK_I4_GROUP) {
        for (size_t r = 0; r < DK_PANEL; r++) {
            for (size_t j = 0; j < BYTES; j++) {
                const int code = codes[r * BYTES + j];
                sum[r] += 2 * ((code & 15) * query[j] + (code >> 4) * query[BYTES + j]);
            }
        }
    }
}

/* Which of 64 sums make a bound above the threshold of query q. */
static uint64_t
above_threshold(const struct dk_screen_i8 *args, size_t q, const int32_t *sum)
{
    const struct dk_key_terms *const key = args->key;
    const struct dk_query_terms *const term = &args->term[q];
    uint64_t above = 0;

    for (size_t r = 0; r < DK_PANEL; r++) {
        const float bound = (float)sum[r] * term->scale * key->scale[r] +
                            (term->residual * key->residual[r] +
                             (term->norm * key->norm[r] + key->offset[r]));
        above |= (uint64_t) !(bound <= args->threshold[q]) << r;
    }
    return above;
}

void
dk_screen_i8_portable(const struct dk_screen_i8 *args)
{
    for (size_t q = 0; q < args->queries; q++) {
        int32_t sum[DK_PANEL];
        products(args->codes, args->query[q], args->groups, args->term[q].start, sum);
        args->above[q] = above_threshold(args, q, sum);
    }
}

void
dk_screen_i4_portable(const struct dk_screen_i8 *args)
{
    for (size_t q = 0; q < args->queries; q++) {
        int32_t sum[DK_PANEL];
        products_i4(args->codes, args->query[q], args->groups, args->term[q].start, sum);
        args->above[q] = above_threshold(args, q, sum);
    }
}
