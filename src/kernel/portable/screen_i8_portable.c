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

void
dk_screen_i8_portable(const struct dk_screen_i8 *args)
{
    const struct dk_key_terms *const key = args->key;

    for (size_t q = 0; q < args->queries; q++) {
        const struct dk_query_terms *const term = &args->term[q];
        int32_t sum[DK_PANEL];
        uint64_t above = 0;

        products(args->codes, args->query[q], args->groups, term->start, sum);
        for (size_t r = 0; r < DK_PANEL; r++) {
            const float bound = (float)sum[r] * term->scale * key->scale[r] +
                                (term->residual * key->residual[r] +
                                 (term->norm * key->norm[r] + key->offset[r]));
            above |= (uint64_t) !(bound <= args->threshold[q]) << r;
        }
        args->above[q] = above;
    }
}
