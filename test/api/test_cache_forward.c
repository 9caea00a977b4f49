/*
 * test_cache_forward.c - attention over a cache gives the bits of attention over arrays, for every
 * store, page size, option and number of threads
 */
#include "cache_reference.h"
#include "calls.h"
#include "contexts.h"

enum { MOST = 5 };

/* Some sequences of one cache and, as plain arrays, what they hold; queries for them. */
struct batch {
    dotk_cache *cache;
    dotk_sequence *sequence[MOST];
    dotk_store store;
    size_t count, heads, group, dim, width;
    size_t lengths[MOST], queries[MOST], query_starts[MOST + 1], key_starts[MOST + 1];
    int64_t offsets[MOST];
    dotk_attention_shape shape;
    dotk_attention_options options;
    void *q, *k, *v; /* of options.store, k and v of int8: codes */
    float *key_scales, *value_scales;
    void *out, *want;
    float *lse, *want_lse;
    uint8_t *mask;
    float *bias, *per_head;
};

static size_t
size_of(dotk_store store)
{
    return store == DOTK_STORE_F32 ? 4 : store == DOTK_STORE_INT8 ? 1 : 2;
}

/* The bits of a number that 'store' can hold. */
static void
put_number(dotk_store store, float x, void *array, size_t i)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    if (store == DOTK_STORE_F32)
        ((float *)array)[i] = x;
    else if (store == DOTK_STORE_BF16)
        ((uint16_t *)array)[i] = (uint16_t)(bits >> 16);
    else { /* f16: sign, and the size in units of its place */
        int exponent;
        (void)frexp(x, &exponent);
        const int place = x == 0 || exponent < -13 ? -13 : exponent; /* the least normal: 2^-14 */
        const double units = ldexp(fabs(x), 11 - place);
        const unsigned whole = (unsigned)units;
        ((uint16_t *)array)[i] = (uint16_t)((bits >> 16 & 0x8000u) +
                                            ((unsigned)(place + 13) << 10) + whole);
    }
}

static const size_t lengths[] = {0, 1, 5, 63, 64, 65, 200, 256, 1000, 1024, 1025, 2500};
static const size_t widths[] = {16, 31, 64, 80, 128, 1, 33, 1100};
static const size_t pages[] = {64, 128, 192, 256, 320, 512};

static size_t
pick(uint64_t *random, const size_t *values, size_t count)
{
    return values[test_random_below(random, count)];
}

/* The tokens of sequence i into the packed arrays, as the cache's store has them. */
static void
put_tokens(struct batch *b, size_t i, const struct tokens *tokens)
{
    float *const row = some_floats(b->dim + b->width);
    const size_t all = b->shape.keys;

    for (size_t h = 0; h < b->heads; h++) {
        for (size_t t = 0; t < b->lengths[i]; t++) {
            const size_t from = t * b->heads + h, to = h * all + b->key_starts[i] + t;
            const bool coded = b->store == DOTK_STORE_INT8;
            store_row(b->store, tokens->k + from * b->dim, b->dim, row,
                      coded ? (int8_t *)b->k + to * b->dim : NULL, &b->key_scales[to]);
            for (size_t d = 0; d < b->dim && !coded; d++)
                put_number(b->options.store, row[d], b->k, to * b->dim + d);
            store_row(b->store, tokens->v + from * b->width, b->width, row,
                      coded ? (int8_t *)b->v + to * b->width : NULL, &b->value_scales[to]);
            for (size_t e = 0; e < b->width && !coded; e++)
                put_number(b->options.store, row[e], b->v, to * b->width + e);
        }
    }
    free(row);
}

/* 'type' is of queries and outputs; the arrays k and v are of it too, unless the cache is int8. */
static struct batch
make_batch(uint64_t *random, dotk_store store, dotk_store type)
{
    struct batch b = {.store = store, .options = DOTK_ATTENTION_OPTIONS_INIT};
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    struct tokens tokens[MOST];

    b.options.store = type;
    b.count = 1 + test_random_below(random, MOST);
    b.heads = 1 + test_random_below(random, 3);
    b.group = (size_t)1 << test_random_below(random, 3);
    b.dim = pick(random, widths, 8);
    b.width = pick(random, widths, 7);
    options.value_width = b.width;
    options.store = store;
    options.page_keys = pick(random, pages, 6);
    assert_ok(dotk_cache_create(b.heads, b.dim, &options, &b.cache));
    for (size_t i = 0; i < b.count; i++) {
        const bool fork = i > 0 && test_random_below(random, 2) == 0;
        const size_t shared = fork ? test_random_below(random, b.lengths[i - 1] + 1) : 0;
        b.lengths[i] = pick(random, lengths, 12);
        b.lengths[i] = b.lengths[i] < shared ? shared : b.lengths[i];
        b.queries[i] = test_random_below(random, 4) == 0 ? 1 : test_random_below(random, 8);
        b.query_starts[i + 1] = b.query_starts[i] + b.queries[i];
        b.key_starts[i + 1] = b.key_starts[i] + b.lengths[i];
        b.offsets[i] = (int64_t)b.lengths[i] - (int64_t)b.queries[i];
        tokens[i] = make_tokens(random, b.heads, b.dim, b.width, b.lengths[i]);
        if (fork) {
            memcpy(tokens[i].k, tokens[i - 1].k, shared * b.heads * b.dim * sizeof(float));
            memcpy(tokens[i].v, tokens[i - 1].v, shared * b.heads * b.width * sizeof(float));
            assert_ok(dotk_sequence_fork(b.sequence[i - 1], shared, &b.sequence[i]));
        } else {
            assert_ok(dotk_sequence_create(b.cache, &b.sequence[i]));
        }
        for (size_t done = shared, n; done < b.lengths[i]; done += n) {
            n = 1 + test_random_below(random, 900);
            n = n < b.lengths[i] - done ? n : b.lengths[i] - done;
            assert_ok(add_some(NULL, b.sequence[i], &tokens[i], done, n));
        }
    }
    const size_t queries = b.query_starts[b.count], keys = b.key_starts[b.count];
    const size_t heads = b.heads * b.group;
    b.shape = (dotk_attention_shape){1, heads, queries, keys, b.dim, b.width, b.heads};
    b.q = some_floats(heads * queries * b.dim);
    b.k = some_floats(b.heads * keys * b.dim);
    b.v = some_floats(b.heads * keys * b.width);
    b.key_scales = some_floats(b.heads * keys);
    b.value_scales = some_floats(b.heads * keys);
    b.out = some_floats(heads * queries * b.width);
    b.want = some_floats(heads * queries * b.width);
    b.lse = some_floats(heads * queries);
    b.want_lse = some_floats(heads * queries);
    for (size_t i = 0; i < b.count; i++) {
        put_tokens(&b, i, &tokens[i]);
        drop_tokens(&tokens[i]);
    }
    for (size_t i = 0; i < heads * queries * b.dim; i++)
        put_number(type, nearest_half((float)test_random_normal(random), type), b.q, i);
    b.mask = malloc(queries * keys + 1);
    b.bias = some_floats(queries * keys);
    b.per_head = some_floats(2 * heads);
    for (size_t i = 0; i < queries * keys; i++) {
        b.mask[i] = test_random_below(random, 8) != 0;
        b.bias[i] = test_random_below(random, 30) == 0 ? -INFINITY : test_random_float(random);
    }
    test_random_floats(random, b.per_head, 2 * heads);
    return b;
}

static void
drop_batch(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        dotk_sequence_destroy(b->sequence[i]);
    dotk_cache_destroy(b->cache);
    void *const arrays[] = {b->q,    b->k,       b->v,   b->key_scales, b->value_scales,
                            b->out,  b->want,    b->lse, b->want_lse,   b->mask,
                            b->bias, b->per_head};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free(arrays[i]);
}

static void
choose_options(uint64_t *random, struct batch *b)
{
    dotk_attention_options *const options = &b->options;

    options->causal = test_random_below(random, 2) == 0;
    if (test_random_below(random, 3) == 0) {
        options->has_window = 1;
        options->window_left = (int64_t)test_random_below(random, 1500) - 1;
        options->window_right = (int64_t)test_random_below(random, 20) - 1;
    }
    if (test_random_below(random, 4) == 0)
        options->softcap = 3;
    if (test_random_below(random, 4) == 0)
        options->slopes = b->per_head;
    if (test_random_below(random, 4) == 0)
        options->sinks = b->per_head + b->shape.heads;
    if (test_random_below(random, 4) == 0) {
        options->mask = b->mask;
        options->mask_layout.row = b->shape.keys;
    }
    if (test_random_below(random, 4) == 0) {
        options->bias = b->bias;
        options->bias_layout.row = b->shape.keys;
    }
    if (test_random_below(random, 4) == 0) {
        options->has_scale = 1;
        options->scale = 0.3f;
    }
}

/* More queries than tokens need to be told where they stand. */
static dotk_status
run_cache(dotk_context *context, const struct batch *b, const dotk_attention_options *given)
{
    dotk_attention_options placed = *given;
    const dotk_attention_options *const options = &placed;

    for (size_t i = 0; i < b->count; i++) {
        if (b->queries[i] > b->lengths[i] && placed.query_offsets == NULL)
            placed.query_offsets = b->offsets;
    }
    memset(b->out, 0xee, b->shape.heads * b->shape.queries * b->width * size_of(options->store));
    memset(b->lse, 0xee, b->shape.heads * b->shape.queries * sizeof *b->lse);
    return dotk_cache_forward(context, b->count, (const dotk_sequence *const *)b->sequence,
                              b->queries, b->shape.heads, b->q, options, b->out, b->lse);
}

static dotk_status
run_arrays(dotk_context *context, const struct batch *b, const dotk_attention_options *options)
{
    dotk_attention_options packed = *options;

    packed.sequences = b->count;
    packed.query_starts = b->query_starts;
    packed.key_starts = b->key_starts;
    if (packed.query_offsets == NULL)
        packed.query_offsets = b->offsets;
    packed.key_scales = b->store == DOTK_STORE_INT8 ? b->key_scales : NULL;
    packed.value_scales = b->store == DOTK_STORE_INT8 ? b->value_scales : NULL;
    return dotk_attention_forward(context, &b->shape, b->q, b->k, b->v, &packed, b->want,
                                  b->want_lse);
}

static void
check_bits(const struct batch *b, dotk_store type)
{
    const size_t rows = b->shape.heads * b->shape.queries;

    assert_memory_equal(b->out, b->want, rows * b->width * size_of(type));
    assert_memory_equal(b->lse, b->want_lse, rows * sizeof *b->lse);
}

/* What the cache stores, and what queries and outputs are. */
static const dotk_store stores[][2] = {
    {DOTK_STORE_F32, DOTK_STORE_F32},   {DOTK_STORE_BF16, DOTK_STORE_BF16},
    {DOTK_STORE_F16, DOTK_STORE_F16},   {DOTK_STORE_INT8, DOTK_STORE_F32},
    {DOTK_STORE_INT8, DOTK_STORE_BF16}, {DOTK_STORE_F16, DOTK_STORE_F32},
    {DOTK_STORE_BF16, DOTK_STORE_F32},
};

static void
test_bits(void **state)
{
    dotk_context *const contexts[] = {NULL, one, two, four};
    uint64_t random = 1;
    size_t split = 0;

    (void)state;
    for (size_t i = 0; i < 84; i++) {
        const dotk_store *const store = stores[i % 7];
        struct batch b = make_batch(&random, store[0], store[1]);
        dotk_attention_stats stats, want;
        choose_options(&random, &b);
        b.options.stats = &want;
        assert_ok(run_arrays(contexts[test_random_below(&random, 4)], &b, &b.options));
        b.options.stats = &stats;
        for (size_t c = 0; c < 4; c++) {
            assert_ok(run_cache(contexts[c], &b, &b.options));
            check_bits(&b, store[1]);
            assert_int_equal(stats.pairs, want.pairs);
            split += strcmp(stats.path, "chunks") == 0;
        }
        drop_batch(&b);
    }
    assert_true(split > 0);
}

/* One query each is the default, and positions may be given. */
static void
test_defaults(void **state)
{
    uint64_t random = 20;

    (void)state;
    for (size_t round = 0; round < 12; round++) {
        struct batch b = make_batch(&random, DOTK_STORE_F32, DOTK_STORE_F32);
        b.options.causal = 1;
        int64_t offsets[MOST];
        for (size_t i = 0; i < b.count; i++) {
            offsets[i] = (int64_t)test_random_below(&random, b.lengths[i] + 1);
            assert_true(dotk_sequence_count(b.sequence[i]) == b.lengths[i]);
        }
        b.options.query_offsets = offsets;
        assert_ok(run_arrays(NULL, &b, &b.options));
        assert_ok(run_cache(two, &b, &b.options));
        check_bits(&b, DOTK_STORE_F32);
        b.options.query_offsets = NULL;
        bool ones = b.shape.queries >= b.count;
        for (size_t i = 0; i < b.count; i++)
            ones = ones && b.lengths[i] > 0;
        for (size_t i = 0; ones && i < b.count; i++) {
            b.queries[i] = 1;
            b.query_starts[i + 1] = i + 1;
            b.offsets[i] = (int64_t)b.lengths[i] - 1;
        }
        if (ones) {
            b.shape.queries = b.count;
            assert_ok(run_arrays(NULL, &b, &b.options));
            assert_ok(dotk_cache_forward(two, b.count, (const dotk_sequence *const *)b.sequence,
                                         NULL, b.shape.heads, b.q, &b.options, b.out, b.lse));
            check_bits(&b, DOTK_STORE_F32);
        }
        drop_batch(&b);
    }
}

/* A sequence that comes twice, tokens first and heads second, no log-sum-exp. */
static void
test_layouts(void **state)
{
    enum { H = 4, G = 2, D = 24, E = 20, N = 300, L = 4 };
    uint64_t random = 3;
    struct tokens tokens = make_tokens(&random, G, D, E, N);
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    dotk_attention_options forward = DOTK_ATTENTION_OPTIONS_INIT;
    const size_t queries[] = {3, 1};
    float q[L * H * D], turned[H * L * D], out[L * H * E], want[H * L * E];
    const dotk_sequence *twice[2];
    dotk_sequence *sequence;
    dotk_cache *cache;

    (void)state;
    options.value_width = E;
    assert_ok(dotk_cache_create(G, D, &options, &cache));
    assert_ok(dotk_sequence_create(cache, &sequence));
    assert_ok(add_some(NULL, sequence, &tokens, 0, N));
    twice[0] = twice[1] = sequence;
    test_random_normals(&random, q, L * H * D);
    for (size_t i = 0; i < L; i++) {
        for (size_t h = 0; h < H; h++)
            memcpy(turned + (h * L + i) * D, q + (i * H + h) * D, D * sizeof *q);
    }
    forward.causal = 1;
    assert_ok(dotk_cache_forward(NULL, 2, twice, queries, H, turned, &forward, want, NULL));
    forward.query = (dotk_layout){0, D, H * D};
    forward.output = (dotk_layout){0, E, H * E};
    assert_ok(dotk_cache_forward(NULL, 2, twice, queries, H, q, &forward, out, NULL));
    for (size_t i = 0; i < L; i++) {
        for (size_t h = 0; h < H; h++)
            assert_memory_equal(out + (i * H + h) * E, want + (h * L + i) * E, E * sizeof *out);
    }
    dotk_sequence_destroy(sequence);
    dotk_cache_destroy(cache);
    drop_tokens(&tokens);
}

/* int8: each number is off by half a scale at most, and so are the outputs, nearly. */
static void
test_int8_error(void **state)
{
    enum { N = 2000, D = 64 };
    uint64_t random = 4;
    struct tokens tokens = make_tokens(&random, 1, D, D, N);
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    dotk_attention_shape shape = {1, 1, 1, N, D, D, 1};
    dotk_cache *cache;
    dotk_sequence *sequence;
    float q[D], out[D], want[D];
    double off = 0, size = 0;

    (void)state;
    options.store = DOTK_STORE_INT8;
    assert_ok(dotk_cache_create(1, D, &options, &cache));
    assert_ok(dotk_sequence_create(cache, &sequence));
    assert_ok(add_some(NULL, sequence, &tokens, 0, N));
    for (size_t i = 0; i < 50; i++) {
        test_random_normals(&random, q, D);
        assert_ok(dotk_attention_forward(NULL, &shape, q, tokens.k, tokens.v, NULL, want, NULL));
        assert_ok(dotk_cache_forward(NULL, 1, (const dotk_sequence *const *)&sequence, NULL, 1, q,
                                     NULL, out, NULL));
        for (size_t e = 0; e < D; e++) {
            off += pow(out[e] - want[e], 2);
            size += pow(want[e], 2);
        }
    }
    assert_true(off > 0 && sqrt(off / size) < 0.02);
    dotk_sequence_destroy(sequence);
    dotk_cache_destroy(cache);
    drop_tokens(&tokens);
}

/* What lies behind the last key of a sequence has no influence: NaN of tokens that are gone. */
static void
test_forgotten_tokens(void **state)
{
    enum { D = 32, N = 131 };
    static const dotk_store halves[] = {DOTK_STORE_F32, DOTK_STORE_BF16, DOTK_STORE_F16};
    uint64_t random = 5;
    struct tokens tokens = make_tokens(&random, 1, D, D, N);
    float q[D], out[2][D], lse[2];

    (void)state;
    test_random_normals(&random, q, D);
    for (size_t count = 60; count < 70; count++) {
        for (size_t s = 0; s < 3; s++) {
            dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
            dotk_sequence *sequence, *fork;
            dotk_cache *cache;
            struct tokens spoilt = tokens;
            options.store = halves[s];
            assert_ok(dotk_cache_create(1, D, &options, &cache));
            assert_ok(dotk_sequence_create(cache, &sequence));
            assert_ok(add_some(NULL, sequence, &tokens, 0, count));
            for (size_t type = 0; type < 2; type++) {
                dotk_attention_options forward = DOTK_ATTENTION_OPTIONS_INIT;
                uint16_t half[D], half_out[2][D];
                forward.store = type == 0 ? DOTK_STORE_F32 : options.store;
                for (size_t d = 0; d < D && forward.store != DOTK_STORE_F32; d++)
                    put_number(forward.store, nearest_half(q[d], forward.store), half, d);
                const bool f32 = forward.store == DOTK_STORE_F32;
                for (size_t turn = 0; turn < 2; turn++) {
                    assert_ok(dotk_cache_forward(NULL, 1, (const dotk_sequence *const *)&sequence,
                                                 NULL, 1, f32 ? (void *)q : half, &forward,
                                                 f32 ? (void *)out[turn] : half_out[turn],
                                                 &lse[turn]));
                    if (turn == 1)
                        break;
                    spoilt.k = some_floats(N * D);
                    spoilt.v = some_floats(N * D);
                    for (size_t i = 0; i < N * D; i++)
                        spoilt.k[i] = spoilt.v[i] = NAN;
                    assert_ok(add_some(NULL, sequence, &spoilt, 0, N));
                    assert_ok(dotk_sequence_fork(sequence, count, &fork));
                    dotk_sequence_destroy(sequence);
                    sequence = fork;
                    free(spoilt.k);
                    free(spoilt.v);
                }
                if (f32)
                    assert_memory_equal(out[0], out[1], sizeof out[0]);
                else
                    assert_memory_equal(half_out[0], half_out[1], sizeof half_out[0]);
                assert_true(lse[0] == lse[1]);
            }
            dotk_sequence_destroy(sequence);
            dotk_cache_destroy(cache);
        }
    }
    drop_tokens(&tokens);
}

/* ------------------------------------------------------------------------- */
/*  Threads                                                                  */
/* ------------------------------------------------------------------------- */

struct decoder {
    const struct batch *batch;
    int *stop;
};

static void *
decode(void *user)
{
    const struct decoder *const decoder = user;
    const struct batch *const b = decoder->batch;
    float *const out = some_floats(b->shape.heads * b->shape.queries * b->width);

    while (!__atomic_load_n(decoder->stop, __ATOMIC_ACQUIRE)) {
        assert_ok(dotk_cache_forward(two, b->count, (const dotk_sequence *const *)b->sequence,
                                     b->queries, b->shape.heads, b->q, &b->options, out, NULL));
        assert_memory_equal(out, b->want, b->shape.heads * b->shape.queries * b->width * 4);
    }
    free(out);
    return NULL;
}

/* Two threads read what a third one forks and extends. */
static void
test_threads(void **state)
{
    uint64_t random = 6;
    int stop = 0;

    (void)state;
    for (size_t round = 0; round < 3; round++) {
        struct batch b = make_batch(&random, DOTK_STORE_F32, DOTK_STORE_F32);
        const struct decoder decoder = {&b, &stop};
        b.options.query_offsets = b.offsets;
        struct tokens more = make_tokens(&random, b.heads, b.dim, b.width, 200);
        pthread_t threads[2];
        assert_ok(run_arrays(NULL, &b, &b.options));
        __atomic_store_n(&stop, 0, __ATOMIC_RELEASE);
        for (size_t i = 0; i < 2; i++)
            test_require(pthread_create(&threads[i], NULL, decode, (void *)(uintptr_t)&decoder) ==
                             0,
                         "thread");
        for (size_t step = 0; step < 60; step++) {
            dotk_sequence *fork;
            assert_ok(dotk_sequence_fork(b.sequence[0], b.lengths[0] - b.lengths[0] / 3, &fork));
            assert_ok(add_some(NULL, fork, &more, 0, 1 + step));
            assert_ok(add_some(NULL, fork, &more, 1 + step, 100));
            dotk_sequence_destroy(fork);
        }
        __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
        for (size_t i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        drop_tokens(&more);
        drop_batch(&b);
    }
}

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

static dotk_status
call_cache(dotk_context *context, void *user)
{
    const struct batch *const batch = user;
    return run_cache(context, batch, &batch->options);
}

static void
test_allocation_failures(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (size_t s = 0; s < 4; s++) {
        struct batch b = make_batch(&random, stores[s][0], stores[s][1]);
        assert_true(test_call_fail_each(call_cache, &b) > 2);
        drop_batch(&b);
    }
}

static void
test_no_allocation_once_warm(void **state)
{
    uint64_t random = 8;

    (void)state;
    for (size_t s = 0; s < 4; s++) {
        struct batch b = make_batch(&random, stores[s][0], stores[s][1]);
        test_call_warm(2, call_cache, &b);
        drop_batch(&b);
    }
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

static void
test_arguments(void **state)
{
    enum { G = 2, D = 4 };
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    const dotk_attention_options init = DOTK_ATTENTION_OPTIONS_INIT;
    dotk_attention_stats stats;
    dotk_cache *cache, *foreign;
    dotk_sequence *sequence, *stranger;
    const dotk_sequence *list[2];
    float q[4 * D] = {0}, out[4 * D], lse[4];
    const size_t queries[] = {SIZE_MAX, 2, 0}, starts[] = {0, 1};
    const int64_t offsets[] = {0};

    (void)state;
    assert_ok(dotk_cache_create(G, D, NULL, &cache));
    assert_ok(dotk_cache_create(G, D, NULL, &foreign));
    assert_ok(dotk_sequence_create(cache, &sequence));
    assert_ok(dotk_sequence_create(foreign, &stranger));
    list[0] = sequence;
    list[1] = NULL;
#define refused(count, heads, text)                                                                \
    do {                                                                                           \
        assert_status(dotk_cache_forward(NULL, count, list, NULL, heads, q, &options, out, lse),   \
                      DOTK_BAD_ARGUMENT);                                                          \
        assert_message(text);                                                                      \
        options = init;                                                                            \
    } while (0)
    refused(2, 4, "sequences[1] is NULL");
    list[1] = stranger;
    refused(2, 4, "sequences[1] is of another cache");
    refused(1, 3, "heads is 3");
    options.key.row = 4;
    refused(1, 4, "options->key is set");
    options.value.head = 4;
    refused(1, 4, "options->value is set");
    options.key_scales = q;
    refused(1, 4, "options->key_scales is set");
    options.value_scales = q;
    refused(1, 4, "options->value_scales is set");
    options.sequences = 1;
    refused(1, 4, "options->sequences is set");
    options.query_starts = starts;
    refused(1, 4, "options->query_starts is set");
    options.key_starts = starts;
    refused(1, 4, "options->key_starts is set");
    options.query_offset = -1;
    refused(1, 4, "set query_offsets");
    options.struct_size = 8;
    refused(1, 4, "struct_size");
    options.query.row = 2;
    options.query_offsets = offsets;
    assert_status(dotk_cache_forward(NULL, 1, list, queries + 1, 4, q, &options, out, lse),
                  DOTK_BAD_ARGUMENT);
    assert_message("options->query.row is 2");
    options = init;
    assert_status(dotk_cache_forward(NULL, 1, NULL, NULL, 4, q, NULL, out, lse), DOTK_BAD_ARGUMENT);
    assert_message("sequences is NULL");
    options.query_offsets = offsets;
    assert_status(dotk_cache_forward(NULL, 1, list, NULL, 4, NULL, &options, out, lse),
                  DOTK_BAD_ARGUMENT);
    assert_message("q is NULL");
    assert_status(dotk_cache_forward(NULL, 1, list, NULL, 4, q, &options, q + 1, lse),
                  DOTK_BAD_ARGUMENT);
    assert_message("out overlaps q");
    assert_status(dotk_cache_forward(NULL, 1, list, queries, 4, q, NULL, out, lse),
                  DOTK_BAD_ARGUMENT);
    assert_message("queries[0]");
    assert_status(dotk_cache_forward(NULL, 1, list, NULL, 4, q, NULL, out, lse), DOTK_BAD_ARGUMENT);
    assert_message("queries[0] is 1 (queries is NULL), sequences[0] has 0 tokens");
    assert_status(dotk_cache_forward(NULL, 1, list, queries + 1, 4, q, NULL, out, lse),
                  DOTK_BAD_ARGUMENT);
    assert_message("queries[0] is 2, sequences[0] has 0 tokens: add theirs first");

    /* nothing to do */
    options.stats = &stats;
    assert_ok(dotk_cache_forward(NULL, 0, NULL, NULL, 4, NULL, &options, NULL, NULL));
    assert_string_equal(stats.path, "empty");
    assert_ok(dotk_cache_forward(NULL, 1, list, queries + 2, 4, NULL, NULL, NULL, NULL));
    options.query_offsets = offsets;
    assert_ok(dotk_cache_forward(NULL, 1, list, NULL, 4, q, &options, out, lse));
    for (size_t i = 0; i < 4 * D; i++)
        assert_true(out[i] == 0);
    assert_true(lse[3] == -INFINITY);
    dotk_sequence_destroy(sequence);
    dotk_sequence_destroy(stranger);
    dotk_cache_destroy(cache);
    dotk_cache_destroy(foreign);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_int8_error),
        cmocka_unit_test(test_forgotten_tokens),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_no_allocation_once_warm),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
