/* cache_reference.h - what a cache should hold, kept as plain arrays */
#ifndef DOTK_TEST_CACHE_REFERENCE_H
#define DOTK_TEST_CACHE_REFERENCE_H

#include "support.h"

#include <dotk/cache.h>

/* One sequence as f32, token after token: (count, G, D) and (count, G, E). */
struct tokens {
    size_t heads, dim, width, count;
    float *k, *v;
};

static inline float *
some_floats(size_t count)
{
    float *const out = malloc((count + 1) * sizeof *out);
    test_require(out != NULL, "malloc");
    return out;
}

/* 'count' random ones; a few numbers are small, so that halves have denormals among them. */
static inline struct tokens
make_tokens(uint64_t *state, size_t heads, size_t dim, size_t width, size_t count)
{
    struct tokens tokens = {heads,
                            dim,
                            width,
                            count,
                            some_floats(count * heads * dim),
                            some_floats(count * heads * width)};

    test_random_normals(state, tokens.k, count * heads * dim);
    test_random_normals(state, tokens.v, count * heads * width);
    for (size_t i = 0; i < count * heads * dim; i += 97)
        tokens.k[i] *= 0x1p-18f;
    return tokens;
}

static inline void
drop_tokens(struct tokens *tokens)
{
    free(tokens->k);
    free(tokens->v);
}

/* The f32 of the half nearest to x: f16 has quanta of 2^-24 and up, 11 bits; bf16 has 8 bits. */
static inline float
nearest_half(float x, dotk_store store)
{
    int exponent;

    (void)frexp(x, &exponent);
    double quantum = ldexp(1, exponent - (store == DOTK_STORE_F16 ? 11 : 8));
    if (store == DOTK_STORE_F16 && quantum < 0x1p-24)
        quantum = 0x1p-24;
    return x == 0 ? 0 : (float)(rint((double)x / quantum) * quantum);
}

/* What a store makes of a row; codes and *scale, unless NULL, are those of int8. */
static inline void
store_row(dotk_store store, const float *x, size_t width, float *out, int8_t *codes, float *scale)
{
    float most = 0;

    for (size_t i = 0; i < width; i++)
        most = fmaxf(most, fabsf(x[i]));
    most /= 127;
    if (most < 0x1p-120f)
        most = 0;
    if (scale != NULL)
        *scale = most;
    for (size_t i = 0; i < width; i++) {
        const int code = most == 0 ? 0 : (int)rintf(x[i] / most);
        if (codes != NULL)
            codes[i] = (int8_t)code;
        if (out != NULL)
            out[i] = store == DOTK_STORE_F32    ? x[i]
                     : store == DOTK_STORE_INT8 ? (float)code * most
                                                : nearest_half(x[i], store);
    }
}

/* Adds tokens first .. first + n - 1 of 'tokens', which lie as (n, G, D). */
static inline dotk_status
add_some(dotk_context *context, dotk_sequence *sequence, const struct tokens *tokens, size_t first,
         size_t n)
{
    dotk_sequence_add_options options = DOTK_SEQUENCE_ADD_OPTIONS_INIT;
    const size_t keys = tokens->heads * tokens->dim, values = tokens->heads * tokens->width;

    options.key = (dotk_layout){0, tokens->dim, keys};
    options.value = (dotk_layout){0, tokens->width, values};
    return dotk_sequence_add(context, sequence, n, tokens->k + first * keys,
                             tokens->v + first * values, &options);
}

/* The sequence must hold exactly the first 'count' of the tokens, as the store rounds them. */
static inline void
check_tokens(const dotk_sequence *sequence, dotk_store store, const struct tokens *tokens,
             size_t count)
{
    const size_t dim = tokens->dim, width = tokens->width;
    float *const k = some_floats(count * tokens->heads * dim);
    float *const v = some_floats(count * tokens->heads * width);
    float *const want = some_floats(dim + width);

    assert_int_equal(dotk_sequence_count(sequence), count);
    assert_ok(dotk_sequence_get(sequence, 0, count, k, v));
    for (size_t h = 0; h < tokens->heads; h++) {
        for (size_t i = 0; i < count; i++) {
            const size_t at = i * tokens->heads + h, got = h * count + i;
            store_row(store, tokens->k + at * dim, dim, want, NULL, NULL);
            assert_memory_equal(k + got * dim, want, dim * sizeof *want);
            store_row(store, tokens->v + at * width, width, want, NULL, NULL);
            assert_memory_equal(v + got * width, want, width * sizeof *want);
        }
    }
    free(k);
    free(v);
    free(want);
}

#endif /* DOTK_TEST_CACHE_REFERENCE_H */
