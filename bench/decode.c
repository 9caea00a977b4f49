/*
 * decode.c - one query against a long cache, as a fraction of what memory gives
 *
 *     bench-decode [--threads T] [--heads H] [--key-heads G] [--keys S] [--dim D] [--sequences N]
 *                  [--page P] [--rounds R] [--only I]
 *
 * For each store: dotk_cache_forward() of N sequences with a new token each. Then, of f32,
 * dotk_attention_forward() of one query against keys that lie as rows, which it packs as it goes.
 * --only 1 .. 5 takes one of these.
 */
#include "bench.h"

enum { STORES = 4, MOST_SEQUENCES = 64 };

struct decode {
    dotk_context *context;
    dotk_cache *cache;
    dotk_sequence *sequence[MOST_SEQUENCES];
    size_t sequences;
    dotk_attention_shape shape; /* of one sequence */
    dotk_attention_options options;
    const void *q; /* of options.store */
    const float *k, *v;
    float *out;
};

static dotk_status
run_cache(void *user)
{
    const struct decode *const decode = user;

    return dotk_cache_forward(decode->context, decode->sequences,
                              (const dotk_sequence *const *)decode->sequence, NULL,
                              decode->shape.heads, decode->q, &decode->options, decode->out, NULL);
}

static dotk_status
run_arrays(void *user)
{
    const struct decode *const decode = user;

    return dotk_attention_forward(decode->context, &decode->shape, decode->q, decode->k, decode->v,
                                  &decode->options, decode->out, NULL);
}

/* A cache of 'store' with the keys and values of 'base' in each sequence. */
static struct decode
make(const struct decode *base, dotk_store store, size_t page_keys)
{
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    struct decode decode = *base;

    options.value_width = base->shape.value_width;
    options.store = store;
    options.page_keys = page_keys;
    bench_check(
        dotk_cache_create(base->shape.key_heads, base->shape.width, &options, &decode.cache));
    for (size_t i = 0; i < decode.sequences; i++) {
        bench_check(dotk_sequence_create(decode.cache, &decode.sequence[i]));
        bench_check(dotk_sequence_add(base->context, decode.sequence[i], base->shape.keys, base->k,
                                      base->v, NULL));
    }
    if (store == DOTK_STORE_F16 || store == DOTK_STORE_BF16) { /* int8: queries of f32 */
        const size_t numbers = base->shape.heads * base->sequences * base->shape.width;
        uint16_t *const halves = bench_array(numbers, sizeof *halves);
        bench_check(dotk_narrow(base->q, numbers, store, halves));
        decode.options.store = store;
        decode.q = halves;
    }
    return decode;
}

static void
drop(struct decode *decode)
{
    for (size_t i = 0; i < decode->sequences; i++)
        dotk_sequence_destroy(decode->sequence[i]);
    dotk_cache_destroy(decode->cache);
    if (decode->options.store != DOTK_STORE_F32)
        free((void *)(uintptr_t)decode->q);
}

/* Bytes of keys and values, as the cache keeps them. */
static double
bytes_of(const struct decode *decode, dotk_store store)
{
    const dotk_attention_shape *const shape = &decode->shape;
    const double numbers = (double)shape->keys * (double)shape->key_heads *
                           (double)(shape->width + shape->value_width);
    const double each = store == DOTK_STORE_F32 ? 4 : store == DOTK_STORE_INT8 ? 1 : 2;

    return numbers * each +
           (store == DOTK_STORE_INT8 ? 8.0 * (double)(shape->keys * shape->key_heads) : 0);
}

int
main(int argc, char **argv)
{
    static const struct bench_rival nobody = {.name = ""};
    dotk_context *const context = bench_context(bench_size(argc, argv, "--threads", 1));
    const size_t heads = bench_size(argc, argv, "--heads", 32);
    const size_t key_heads = bench_size(argc, argv, "--key-heads", 8);
    const size_t keys = bench_size(argc, argv, "--keys", 32768);
    const size_t dim = bench_size(argc, argv, "--dim", 128);
    const size_t page = bench_size(argc, argv, "--page", 256);
    const size_t sequences = bench_size(argc, argv, "--sequences", 1);
    const float one = sqrtf((float)dim); /* makes values of variance 1 */

    if (sequences > MOST_SEQUENCES)
        bench_die("--sequences %zu: at most %d", sequences, MOST_SEQUENCES);
    struct decode base = {
        .context = context,
        .sequences = sequences,
        .shape = {1, heads, 1, keys, dim, dim, key_heads},
        .options = DOTK_ATTENTION_OPTIONS_INIT,
        .q = bench_rows(context, heads * sequences, dim, one, 1),
        .k = bench_rows(context, key_heads * keys, dim, one, 2),
        .v = bench_rows(context, key_heads * keys, dim, one, 3),
        .out = bench_array(heads * sequences * dim, sizeof(float)),
    };
    struct decode decode[STORES];
    struct bench_case cases[STORES + 1] = {{.what = ""}};
    const double flop = 4.0 * (double)keys * (double)heads * (double)dim;
    const size_t only = bench_size(argc, argv, "--only", STORES + 2);
    const int first = only > STORES + 1 ? 0 : (int)only - 1;
    const int end = only > STORES + 1 ? STORES + 1 : (int)only;
    for (int i = first; i < end; i++) {
        const bool cached = i < STORES;
        const dotk_store store = cached ? (dotk_store)i : DOTK_STORE_F32;
        const size_t many = cached ? sequences : 1;
        if (cached)
            decode[i] = make(&base, store, page);
        cases[i].ours = (dotk_timed){cached ? run_cache : run_arrays, cached ? &decode[i] : &base,
                                     flop * (double)many, bytes_of(&base, store) * (double)many};
        snprintf(cases[i].what, sizeof cases[i].what,
                 "\"keys\": \"%s\", \"store\": \"%s\", \"sequences\": %zu, \"heads\": %zu, "
                 "\"key_heads\": %zu, \"length\": %zu, \"dim\": %zu",
                 cached ? "cache" : "rows", dotk_store_name(store), many, heads, key_heads, keys,
                 dim);
    }
    const int code = bench_run("decode", context, &nobody, (size_t)1 << 28,
                               bench_size(argc, argv, "--rounds", 7), cases + first,
                               (size_t)(end - first));
    for (int i = first; i < end && i < STORES; i++)
        drop(&decode[i]);
    dotk_context_destroy(context);
    free((void *)(uintptr_t)base.q);
    free((void *)(uintptr_t)base.k);
    free((void *)(uintptr_t)base.v);
    free(base.out);
    return code;
}
