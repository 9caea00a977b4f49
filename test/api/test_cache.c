/*
 * test_cache.c - pages and sequences of a key-value cache: what is added comes back, whatever is
 * forked, truncated, refused or out of memory meanwhile
 */
#include "cache_reference.h"
#include "contexts.h"

#include <dotk/rotary.h>

static const dotk_store stores[] = {DOTK_STORE_F32, DOTK_STORE_F16, DOTK_STORE_BF16,
                                    DOTK_STORE_INT8};

static dotk_cache *
make_cache(size_t heads, size_t dim, size_t width, dotk_store store, size_t page_keys, size_t limit)
{
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    dotk_cache *cache;

    options.value_width = width;
    options.store = store;
    options.page_keys = page_keys;
    options.memory_limit = limit;
    assert_ok(dotk_cache_create(heads, dim, &options, &cache));
    return cache;
}

static dotk_cache_usage
usage_of(const dotk_cache *cache)
{
    dotk_cache_usage usage;

    assert_ok(dotk_cache_get_usage(cache, &usage));
    return usage;
}

/* ------------------------------------------------------------------------- */
/*  What is added comes back                                                 */
/* ------------------------------------------------------------------------- */

static void
test_stores(void **state)
{
    static const size_t shapes[][4] = {
        {1, 1, 1, 64}, {3, 31, 5, 64}, {2, 64, 80, 192}, {1, 700, 513, 0}, {2, 128, 128, 256}};
    uint64_t random = 1;

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t s = 0; s < 4; s++) {
            const size_t *const shape = shapes[i];
            struct tokens tokens = make_tokens(&random, shape[0], shape[1], shape[2], 700);
            dotk_cache *const cache = make_cache(shape[0], shape[1], shape[2], stores[s], shape[3],
                                                 0);
            dotk_sequence *sequence;
            assert_ok(dotk_sequence_create(cache, &sequence));
            assert_int_equal(dotk_sequence_count(sequence), 0);
            for (size_t done = 0, n; done < 700; done += n) {
                n = test_random_below(&random, test_random_below(&random, 4) == 0 ? 300 : 5);
                n = n < 700 - done ? n : 700 - done;
                assert_ok(add_some(s % 2 == 0 ? NULL : two, sequence, &tokens, done, n));
            }
            check_tokens(sequence, stores[s], &tokens, 700);
            dotk_sequence_destroy(sequence);
            assert_int_equal(usage_of(cache).pages_in_use, 0);
            dotk_cache_destroy(cache);
            drop_tokens(&tokens);
        }
    }
}

/* Arrays of halves, and heads before tokens; many tokens, so that threads share the heads. */
static void
test_layouts(void **state)
{
    enum { G = 5, D = 70, E = 40, N = 3000 };
    uint64_t random = 2;
    struct tokens tokens = make_tokens(&random, G, D, E, N);
    uint16_t *const k = malloc(sizeof(uint16_t) * G * N * (D + 1));
    uint16_t *const v = malloc(sizeof(uint16_t) * G * N * E);

    (void)state;
    for (size_t i = 0; i < N * G * D; i++)
        tokens.k[i] = nearest_half(tokens.k[i], DOTK_STORE_BF16);
    for (size_t i = 0; i < N * G * E; i++)
        tokens.v[i] = nearest_half(tokens.v[i], DOTK_STORE_BF16);
    for (size_t h = 0; h < G; h++) {
        for (size_t i = 0; i < N; i++) {
            for (size_t d = 0; d < D; d++) {
                uint32_t bits;
                memcpy(&bits, &tokens.k[(i * G + h) * D + d], sizeof bits);
                k[(h * N + i) * (D + 1) + d] = (uint16_t)(bits >> 16);
            }
            for (size_t e = 0; e < E; e++) {
                uint32_t bits;
                memcpy(&bits, &tokens.v[(i * G + h) * E + e], sizeof bits);
                v[(h * N + i) * E + e] = (uint16_t)(bits >> 16);
            }
        }
    }
    for (size_t s = 0; s < 4; s++) {
        dotk_sequence_add_options options = DOTK_SEQUENCE_ADD_OPTIONS_INIT;
        dotk_cache *const cache = make_cache(G, D, E, stores[s], 64, 0);
        dotk_sequence *sequence;
        options.store = DOTK_STORE_BF16;
        options.key = (dotk_layout){0, N * (D + 1), D + 1};
        assert_ok(dotk_sequence_create(cache, &sequence));
        assert_ok(dotk_sequence_add(four, sequence, N, k, v, &options));
        check_tokens(sequence, stores[s], &tokens, N);
        dotk_sequence_destroy(sequence);
        dotk_cache_destroy(cache);
    }
    free(k);
    free(v);
    drop_tokens(&tokens);
}

/* Keys that a cache turns are those of dotk_rotary(), in all its forms. */
static void
test_rotary(void **state)
{
    enum { G = 3, D = 40, E = 8, N = 500 };
    uint64_t random = 9;
    struct tokens tokens = make_tokens(&random, G, D, E, N);
    struct tokens turned = tokens;
    const dotk_rotary_shape shape = {1, G, N, D};
    int64_t positions[N];
    float frequencies[D / 2];

    (void)state;
    turned.k = some_floats(N * G * D);
    for (size_t i = 0; i < N; i++)
        positions[i] = (int64_t)test_random_below(&random, 100000) - 500;
    test_random_floats(&random, frequencies, D / 2);
    for (size_t form = 0; form < 16; form++) {
        dotk_rotary_options rotary = DOTK_ROTARY_OPTIONS_INIT;
        dotk_sequence_add_options options = DOTK_SEQUENCE_ADD_OPTIONS_INIT;
        dotk_cache *const cache = make_cache(G, D, E, stores[form % 4], 64, 0);
        dotk_sequence *sequence;
        rotary.input = rotary.output = (dotk_layout){0, D, G * D};
        rotary.interleaved = options.interleaved = form & 1;
        rotary.rotary_width = options.rotary_width = form & 2 ? 12 : 0;
        rotary.theta = options.theta = (form & 12) == 4 ? 500000 : 0;
        rotary.frequencies = options.frequencies = form & 8 ? frequencies : NULL;
        rotary.positions = form & 4 ? positions : NULL;
        assert_ok(dotk_rotary(NULL, &shape, tokens.k, &rotary, turned.k));
        options.rotary = 1;
        options.key = rotary.input;
        options.value = (dotk_layout){0, E, G * E};
        assert_ok(dotk_sequence_create(cache, &sequence));
        for (size_t done = 0, n; done < N; done += n) {
            n = done == 0 ? 3 : done == 3 ? 300 : N - done;
            options.positions = rotary.positions == NULL ? NULL : positions + done;
            assert_ok(dotk_sequence_add(form & 2 ? two : NULL, sequence, n, tokens.k + done * G * D,
                                        tokens.v + done * G * E, &options));
        }
        check_tokens(sequence, stores[form % 4], &turned, N);
        dotk_sequence_destroy(sequence);
        dotk_cache_destroy(cache);
    }
    free(turned.k);
    drop_tokens(&tokens);
}

/* ------------------------------------------------------------------------- */
/*  Forks                                                                    */
/* ------------------------------------------------------------------------- */

static void
test_pages_are_shared(void **state)
{
    uint64_t random = 3;
    struct tokens tokens = make_tokens(&random, 2, 8, 8, 300);
    dotk_cache *const cache = make_cache(2, 8, 8, DOTK_STORE_F32, 64, 0);
    dotk_sequence *first, *fork, *whole;

    (void)state;
    assert_ok(dotk_sequence_create(cache, &first));
    assert_ok(add_some(NULL, first, &tokens, 0, 200));
    assert_int_equal(usage_of(cache).pages_in_use, 4);
    assert_ok(dotk_sequence_fork(first, 200, &fork));
    assert_ok(dotk_sequence_fork(first, 128, &whole));
    assert_int_equal(usage_of(cache).pages_in_use, 4);
    assert_ok(add_some(NULL, whole, &tokens, 128, 10)); /* a new page: nothing to copy */
    assert_int_equal(usage_of(cache).pages_in_use, 5);
    assert_ok(add_some(NULL, fork, &tokens, 200, 1)); /* a copy of the last one */
    assert_int_equal(usage_of(cache).pages_in_use, 6);
    assert_ok(add_some(NULL, first, &tokens, 200, 50)); /* which the first has for itself now */
    assert_int_equal(usage_of(cache).pages_in_use, 6);
    check_tokens(first, DOTK_STORE_F32, &tokens, 250);
    check_tokens(fork, DOTK_STORE_F32, &tokens, 201);
    check_tokens(whole, DOTK_STORE_F32, &tokens, 138);
    dotk_sequence_destroy(first);
    assert_int_equal(usage_of(cache).pages_in_use, 5);
    check_tokens(fork, DOTK_STORE_F32, &tokens, 201);
    dotk_sequence_destroy(fork);
    dotk_sequence_destroy(whole);
    assert_int_equal(usage_of(cache).pages_in_use, 0);
    dotk_cache_destroy(cache);
    drop_tokens(&tokens);
}

/* Some sequences, forked, truncated and extended at random, each beside its own copy. */
static void
test_random_changes(void **state)
{
    enum { MOST = 8, G = 2, D = 6, E = 3, LENGTH = 400 };

    (void)state;
    for (size_t s = 0; s < 4; s++) {
        dotk_cache *const cache = make_cache(G, D, E, stores[s], 64, 0);
        dotk_sequence *sequence[MOST] = {NULL};
        struct tokens copy[MOST];
        uint64_t random = 40 + s;
        for (size_t i = 0; i < MOST; i++) {
            copy[i] = make_tokens(&random, G, D, E, LENGTH);
            copy[i].count = 0;
        }
        for (size_t step = 0; step < 600; step++) {
            const size_t i = test_random_below(&random, MOST);
            const size_t j = test_random_below(&random, MOST);
            const size_t what = test_random_below(&random, 10);
            struct tokens *const mine = &copy[i];
            if (sequence[i] == NULL) {
                if (sequence[j] == NULL) {
                    assert_ok(dotk_sequence_create(cache, &sequence[i]));
                    mine->count = 0;
                    continue;
                }
                mine->count = test_random_below(&random, copy[j].count + 1);
                assert_ok(dotk_sequence_fork(sequence[j], mine->count, &sequence[i]));
                memcpy(mine->k, copy[j].k, mine->count * G * D * sizeof(float));
                memcpy(mine->v, copy[j].v, mine->count * G * E * sizeof(float));
            } else if (what == 0) {
                dotk_sequence_destroy(sequence[i]);
                sequence[i] = NULL;
            } else if (what == 1) {
                mine->count = test_random_below(&random, mine->count + 1);
                assert_ok(dotk_sequence_truncate(sequence[i], mine->count));
            } else {
                size_t n = test_random_below(&random, what < 4 ? 100 : 3);
                n = n < LENGTH - mine->count ? n : LENGTH - mine->count;
                test_random_normals(&random, mine->k + mine->count * G * D, n * G * D);
                test_random_normals(&random, mine->v + mine->count * G * E, n * G * E);
                assert_ok(add_some(NULL, sequence[i], mine, mine->count, n));
                mine->count += n;
            }
            if (step % 10 == 0) {
                for (size_t all = 0; all < MOST; all++) {
                    if (sequence[all] != NULL)
                        check_tokens(sequence[all], stores[s], &copy[all], copy[all].count);
                }
            }
        }
        for (size_t i = 0; i < MOST; i++) {
            dotk_sequence_destroy(sequence[i]);
            drop_tokens(&copy[i]);
        }
        assert_int_equal(usage_of(cache).pages_in_use, 0);
        dotk_cache_destroy(cache);
    }
}

/* ------------------------------------------------------------------------- */
/*  Threads                                                                  */
/* ------------------------------------------------------------------------- */

enum { WRITERS = 4, COMMON = 100, ROUNDS = 40 };

struct writer {
    const dotk_sequence *common;
    const struct tokens *tokens;
};

/* Forks, extends, truncates and forgets, while others do the same with the same pages. */
static void *
write_forks(void *user)
{
    const struct writer *const writer = user;

    for (size_t round = 0; round < ROUNDS; round++) {
        dotk_sequence *fork, *other;
        assert_ok(dotk_sequence_fork(writer->common, COMMON, &fork));
        assert_ok(add_some(NULL, fork, writer->tokens, COMMON, 30 + round));
        assert_ok(dotk_sequence_fork(fork, COMMON + 10, &other));
        assert_ok(dotk_sequence_truncate(fork, COMMON + 20));
        assert_ok(add_some(NULL, fork, writer->tokens, COMMON + 20, 60));
        assert_ok(add_some(NULL, other, writer->tokens, COMMON + 10, 3));
        check_tokens(fork, DOTK_STORE_F32, writer->tokens, COMMON + 80);
        check_tokens(other, DOTK_STORE_F32, writer->tokens, COMMON + 13);
        dotk_sequence_destroy(fork);
        check_tokens(other, DOTK_STORE_F32, writer->tokens, COMMON + 13);
        dotk_sequence_destroy(other);
    }
    return NULL;
}

static void
test_threads(void **state)
{
    uint64_t random = 5;
    struct tokens tokens = make_tokens(&random, 2, 16, 16, 300);
    dotk_cache *const cache = make_cache(2, 16, 16, DOTK_STORE_F32, 64, 0);
    dotk_sequence *common;
    struct writer writer = {.tokens = &tokens};
    pthread_t threads[WRITERS];

    (void)state;
    assert_ok(dotk_sequence_create(cache, &common));
    assert_ok(add_some(NULL, common, &tokens, 0, COMMON));
    writer.common = common;
    for (size_t i = 0; i < WRITERS; i++)
        test_require(pthread_create(&threads[i], NULL, write_forks, &writer) == 0, "thread");
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    check_tokens(common, DOTK_STORE_F32, &tokens, COMMON);
    assert_int_equal(usage_of(cache).pages_in_use, 2);
    dotk_sequence_destroy(common);
    dotk_cache_destroy(cache);
    drop_tokens(&tokens);
}

/* ------------------------------------------------------------------------- */
/*  Failures                                                                 */
/* ------------------------------------------------------------------------- */

static void
test_memory_limit(void **state)
{
    uint64_t random = 6;
    struct tokens tokens = make_tokens(&random, 2, 8, 8, 300);
    dotk_cache *cache = make_cache(2, 8, 8, DOTK_STORE_F32, 64, 0);
    const size_t page = usage_of(cache).page_bytes;
    dotk_sequence *first, *second;

    (void)state;
    assert_int_equal(page, 64 * 2 * (8 + 16) * sizeof(float)); /* values are padded to 16 */
    dotk_cache_destroy(cache);
    cache = make_cache(2, 8, 8, DOTK_STORE_F32, 64, 4 * page + page / 2);
    assert_ok(dotk_sequence_create(cache, &first));
    assert_ok(add_some(NULL, first, &tokens, 0, 100));
    assert_ok(dotk_sequence_fork(first, 90, &second));
    assert_status(add_some(NULL, second, &tokens, 90, 200), DOTK_NO_MEMORY);
    assert_message("memory_limit");
    check_tokens(first, DOTK_STORE_F32, &tokens, 100);
    check_tokens(second, DOTK_STORE_F32, &tokens, 90);
    assert_int_equal(usage_of(cache).pages_in_use, 2);
    assert_ok(add_some(NULL, second, &tokens, 90, 100));
    assert_int_equal(usage_of(cache).pages_in_use, 4);
    assert_status(add_some(NULL, first, &tokens, 100, 29), DOTK_NO_MEMORY);
    dotk_sequence_destroy(second);
    assert_ok(add_some(NULL, first, &tokens, 100, 156));
    check_tokens(first, DOTK_STORE_F32, &tokens, 256);
    assert_int_equal(usage_of(cache).pages, 4);
    dotk_sequence_destroy(first);
    dotk_cache_destroy(cache);
    drop_tokens(&tokens);
}

/* Whatever allocation fails, every sequence is as it was before the call. */
static dotk_status
grow_and_fork(void *user)
{
    const struct tokens *const tokens = user;
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    dotk_sequence *sequence[2] = {NULL, NULL};
    dotk_cache *cache = NULL;

    options.store = DOTK_STORE_INT8;
    options.page_keys = 64;
    dotk_status status = dotk_cache_create(2, 12, &options, &cache);
    if (status == DOTK_OK)
        status = dotk_sequence_create(cache, &sequence[0]);
    if (status == DOTK_OK)
        status = add_some(NULL, sequence[0], tokens, 0, 100);
    if (status == DOTK_OK)
        status = dotk_sequence_fork(sequence[0], 80, &sequence[1]);
    for (size_t i = 0; status == DOTK_OK && i < 2; i++) {
        const size_t before = dotk_sequence_count(sequence[i]);
        status = add_some(NULL, sequence[i], tokens, before, 1500 - before);
        check_tokens(sequence[i], DOTK_STORE_INT8, tokens, status == DOTK_OK ? 1500 : before);
    }
    if (cache != NULL) {
        const size_t pages = usage_of(cache).pages_in_use;
        assert_true(pages == 0 || pages == 2 || pages == 25 || pages == 47);
    }
    dotk_sequence_destroy(sequence[0]);
    dotk_sequence_destroy(sequence[1]);
    dotk_cache_destroy(cache);
    return status;
}

static void
test_allocation_failures(void **state)
{
    uint64_t random = 7;
    struct tokens tokens = make_tokens(&random, 2, 12, 12, 1500);

    (void)state;
    assert_true(test_alloc_fail_each(grow_and_fork, &tokens) > 10);
    drop_tokens(&tokens);
}

static int
cancel(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return 1;
}

static void
test_cancelled(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    uint64_t random = 8;
    struct tokens tokens = make_tokens(&random, 4, 64, 64, 5000);
    dotk_cache *const cache = make_cache(4, 64, 64, DOTK_STORE_BF16, 0, 0);
    dotk_sequence *sequence, *fork;
    dotk_context *context;

    (void)state;
    options.threads = 1;
    options.progress = cancel;
    assert_ok(dotk_context_create(&options, &context));
    assert_ok(dotk_sequence_create(cache, &sequence));
    assert_ok(add_some(NULL, sequence, &tokens, 0, 100));
    assert_ok(dotk_sequence_fork(sequence, 99, &fork));
    assert_status(add_some(context, fork, &tokens, 99, 4000), DOTK_CANCELLED);
    assert_int_equal(usage_of(cache).pages_in_use, 1);
    check_tokens(fork, DOTK_STORE_BF16, &tokens, 99);
    check_tokens(sequence, DOTK_STORE_BF16, &tokens, 100);
    assert_ok(add_some(two, fork, &tokens, 99, 4901));
    check_tokens(fork, DOTK_STORE_BF16, &tokens, 5000);
    dotk_sequence_destroy(sequence);
    dotk_sequence_destroy(fork);
    dotk_cache_destroy(cache);
    dotk_context_destroy(context);
    drop_tokens(&tokens);
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

#define refused(call, part)                                                                        \
    do {                                                                                           \
        assert_status(call, DOTK_BAD_ARGUMENT);                                                    \
        assert_message(part);                                                                      \
    } while (0)

static void
test_cache_arguments(void **state)
{
    dotk_cache_options options = DOTK_CACHE_OPTIONS_INIT;
    dotk_cache *cache;

    (void)state;
    refused(dotk_cache_create(1, 1, NULL, NULL), "out is NULL");
    refused(dotk_cache_create(0, 1, NULL, &cache), "heads is 0");
    refused(dotk_cache_create(65537, 1, NULL, &cache), "heads is 65537");
    refused(dotk_cache_create(1, 0, NULL, &cache), "width is 0");
    refused(dotk_cache_create(1, 65537, NULL, &cache), "width is 65537");
    assert_null(cache);
    options.value_width = 65537;
    refused(dotk_cache_create(1, 1, &options, &cache), "value_width is 65537");
    options.value_width = 0;
    options.page_keys = 100;
    refused(dotk_cache_create(1, 1, &options, &cache), "page_keys is 100");
    options.page_keys = 65600;
    refused(dotk_cache_create(1, 1, &options, &cache), "page_keys is 65600");
    options.page_keys = 65536;
    options.memory_limit = 65536;
    refused(dotk_cache_create(1, 1, &options, &cache), "memory_limit is 65536");
    options.memory_limit = 0;
    options.store = (dotk_store)4;
    refused(dotk_cache_create(1, 1, &options, &cache), "store is 4");
    options.store = DOTK_STORE_F32;
    options.struct_size = 8;
    refused(dotk_cache_create(1, 1, &options, &cache), "struct_size");
    refused(dotk_cache_get_usage(NULL, NULL), "cache is NULL");
    dotk_cache_destroy(NULL);
}

static void
test_sequence_arguments(void **state)
{
    dotk_sequence_add_options options = DOTK_SEQUENCE_ADD_OPTIONS_INIT;
    dotk_cache *const cache = make_cache(2, 3, 3, DOTK_STORE_INT8, 64, 0);
    dotk_sequence *sequence, *fork;
    float k[60] = {0}, v[60] = {0};

    (void)state;
    refused(dotk_sequence_create(NULL, &sequence), "cache is NULL");
    refused(dotk_sequence_create(cache, NULL), "out is NULL");
    assert_ok(dotk_sequence_create(cache, &sequence));
    refused(dotk_sequence_add(NULL, NULL, 1, k, v, NULL), "sequence is NULL");
    refused(dotk_sequence_add(NULL, sequence, 1, NULL, v, NULL), "k is NULL");
    refused(dotk_sequence_add(NULL, sequence, 1, k, NULL, NULL), "v is NULL");
    refused(dotk_sequence_add(NULL, sequence, SIZE_MAX / 8, k, v, NULL), "overflow");
    options.key.row = 2;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "key.row is 2");
    options.key.row = 4;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options),
            "options->key.head is 0 in strides of 0, 0, 4");
    options.key.row = 0;
    options.value.head = 2;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "value.head is 2");
    options.value.head = 0;
    options.store = DOTK_STORE_INT8;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "store is 3");
    options.store = DOTK_STORE_F32;
    const int64_t far[] = {0, INT64_C(1) << 32};
    options.rotary = 1;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "rotary_width is 3");
    options.rotary_width = 4;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "rotary_width is 4");
    options.rotary_width = 2;
    options.theta = 0.5;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "theta is 0.5");
    options.theta = 100;
    options.frequencies = k;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "theta is 100 beside");
    options.theta = 0;
    options.frequencies = NULL;
    options.positions = far;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "positions[1] is 4294967296");
    options.rotary = 0;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "rotary_width is set without");
    options.rotary_width = 0;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "positions is set without");
    options.positions = NULL;
    options.frequencies = k;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "frequencies is set without");
    options.frequencies = NULL;
    options.interleaved = 1;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "interleaved is set without");
    options.interleaved = 0;
    options.theta = 500000;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options),
            "options->theta is 500000 without rotary");
    options.theta = 0;
    options.struct_size++;
    refused(dotk_sequence_add(NULL, sequence, 2, k, v, &options), "struct_size");
    k[3 * 10 + 5] = NAN; /* head 1 of 10 tokens, the second of them */
    refused(dotk_sequence_add(NULL, sequence, 10, k, v, NULL), "k: token 1 of head 1");
    k[3 * 10 + 5] = 0;
    v[0] = 2e38f;
    refused(dotk_sequence_add(NULL, sequence, 10, k, v, NULL), "v: token 0 of head 0");
    v[0] = -1e38f;
    assert_int_equal(dotk_sequence_count(sequence), 0);
    assert_int_equal(usage_of(cache).pages_in_use, 0);
    assert_ok(dotk_sequence_add(NULL, sequence, 0, NULL, NULL, NULL));
    assert_ok(dotk_sequence_add(NULL, sequence, 10, k, v, NULL));

    refused(dotk_sequence_fork(NULL, 0, &fork), "sequence is NULL");
    refused(dotk_sequence_fork(sequence, 10, NULL), "out is NULL");
    refused(dotk_sequence_fork(sequence, 11, &fork), "count is 11");
    assert_null(fork);
    refused(dotk_sequence_truncate(sequence, 11), "count is 11");
    refused(dotk_sequence_truncate(NULL, 0), "sequence is NULL");
    refused(dotk_sequence_get(NULL, 0, 0, k, v), "sequence is NULL");
    refused(dotk_sequence_get(sequence, 5, 6, k, v), "tokens 5 .. 5 + 6 of a sequence of 10");
    refused(dotk_sequence_get(sequence, 11, SIZE_MAX, k, v), "a sequence of 10");
    assert_int_equal(dotk_sequence_count(NULL), 0);
    assert_int_equal(dotk_sequence_count(sequence), 10);
    dotk_sequence_destroy(sequence);
    dotk_sequence_destroy(NULL);
    dotk_cache_destroy(cache);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stores),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_pages_are_shared),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_cache_arguments),
        cmocka_unit_test(test_sequence_arguments),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
