/*
 * test_attention_memory.c - every form of attention by itself: what it must not touch, the memory
 * it takes, and that it survives without
 */
#include "attention_reference.h"
#include "calls.h"
#include "contexts.h"

/* ------------------------------------------------------------------------- */
/*  Forms                                                                    */
/* ------------------------------------------------------------------------- */

enum { HEADS = 4, BLOCK = 256 };

/* What the options of a form point to; at most 'keys' slots of a row of a mask are there. */
struct form {
    dotk_attention_shape shape;
    dotk_attention_options options;
    size_t key_size, value_size, size; /* of a number of k, v, and of q and out */
    dotk_attention_blocks blocks;
    size_t *starts, *columns, query_starts[3], key_starts[3], key_lengths[2];
    float slopes[HEADS], sinks[HEADS];
};

static const char *const forms[] = {
    "plain", "causal",  "window",  "mask",         "bias", "blocks", "packed",    "capped", "alibi",
    "sinks", "dropout", "grouped", "one key head", "f16",  "bf16",   "int8 keys", "int8"};
enum { FORMS = sizeof forms / sizeof *forms };

static bool
is_form(size_t form, const char *name)
{
    return strcmp(forms[form], name) == 0;
}

/* Every block row lists two columns of the first 'keys' keys. */
static void
list_blocks(struct form *f, size_t keys)
{
    const size_t rows = (f->shape.queries + BLOCK - 1) / BLOCK, cols = (keys + BLOCK - 1) / BLOCK;

    f->starts = calloc(rows + 1, sizeof *f->starts);
    f->columns = calloc(2 * rows + 1, sizeof *f->columns);
    test_require(f->starts != NULL && f->columns != NULL, "calloc");
    for (size_t row = 0; row < rows; row++) {
        const size_t first = row % cols, second = (row + cols / 2) % cols;
        size_t count = f->starts[row];
        f->columns[count++] = first < second ? first : second;
        if (first != second)
            f->columns[count++] = first < second ? second : first;
        f->starts[row + 1] = count;
    }
    f->blocks = (dotk_attention_blocks){BLOCK, BLOCK, f->starts, f->columns, 0};
    f->options.blocks = &f->blocks;
}

/*
 * 'mask', 'bias' and 'scales' are rows of what those forms need; 'existing' of the keys are there.
 * Queries are the last ones.
 */
static void
make_form(struct form *f, size_t form, size_t queries, size_t keys, size_t existing, size_t width,
          const uint8_t *mask, const float *bias, const float *scales)
{
    dotk_attention_options *const o = &f->options;

    *f = (struct form){.shape = {1, HEADS, queries, keys, width, 0, HEADS},
                       .options = DOTK_ATTENTION_OPTIONS_INIT,
                       .size = 4};
    o->query_offset = existing > queries ? (int64_t)(existing - queries) : 0;
    for (size_t h = 0; h < HEADS; h++) {
        f->slopes[h] = 0.01f / (float)(h + 1);
        f->sinks[h] = 0.5f * (float)h;
    }
    o->causal = is_form(form, "causal");
    o->has_window = is_form(form, "window");
    o->window_left = o->has_window ? 255 : 0;
    o->mask = is_form(form, "mask") ? mask : NULL;
    o->bias = is_form(form, "bias") ? bias : NULL;
    if (is_form(form, "blocks"))
        list_blocks(f, existing);
    if (is_form(form, "packed")) {
        f->query_starts[1] = queries / 3;
        f->query_starts[2] = queries;
        f->key_starts[1] = existing / 3;
        f->key_starts[2] = keys;
        o->sequences = 2;
        o->query_starts = f->query_starts;
        o->key_starts = f->key_starts;
    }
    o->softcap = is_form(form, "capped") ? 2 : 0;
    o->slopes = is_form(form, "alibi") ? f->slopes : NULL;
    o->sinks = is_form(form, "sinks") ? f->sinks : NULL;
    o->dropout = is_form(form, "dropout") ? 0.25f : 0;
    if (is_form(form, "grouped"))
        f->shape.key_heads = 2;
    if (is_form(form, "one key head"))
        f->shape.key_heads = 1;
    o->store = is_form(form, "f16")    ? DOTK_STORE_F16
               : is_form(form, "bf16") ? DOTK_STORE_BF16
                                       : DOTK_STORE_F32;
    o->key_scales = strncmp(forms[form], "int8", 4) == 0 ? scales : NULL;
    o->value_scales = is_form(form, "int8") ? scales : NULL;
    f->size = o->store == DOTK_STORE_F32 ? 4 : 2;
    f->key_size = o->key_scales != NULL ? 1 : f->size;
    f->value_size = o->value_scales != NULL ? 1 : f->size;
}

static void
drop_form(struct form *f)
{
    free(f->starts);
    free(f->columns);
}

/* Random bytes that are numbers of any type: f32, f16 and bf16 of 1 .. 2 or so in size. */
static void
fill(void *array, size_t count, size_t size, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        const uint64_t random = test_random(seed);
        const float x = (float)(1 + random % 128) / 64 * (random >> 63 ? -1.0f : 1.0f);
        if (size == 4)
            ((float *)array)[i] = x;
        else if (size == 2) /* an exponent that is about 1 in both types */
            ((uint16_t *)array)[i] = (uint16_t)(0x3c00 | random % 1024 | (random >> 48 & 0x8000));
        else
            ((int8_t *)array)[i] = (int8_t)(random % 255 - 127);
    }
}

/* ------------------------------------------------------------------------- */
/*  What must not be touched                                                 */
/* ------------------------------------------------------------------------- */

static void *
guarded(struct test_guarded *guard, size_t count, size_t size, uint64_t *seed)
{
    void *const array = test_guarded_alloc(guard, count * size, true);

    fill(array, count, size, seed);
    return array;
}

/* Keys, values, scales, masks and biases beyond the lengths lie on pages that nobody may touch. */
static void
test_beyond_lengths(void **state)
{
    enum { L = 50, S = 3000, D = 24, SIZES = 9 };
    const size_t lengths[SIZES] = {3, 37, 64, 100, 129, 255, 256, 1024, 1100};

    (void)state;
    for (size_t n = 0; n < SIZES * FORMS; n++) {
        const size_t length = lengths[n % SIZES];
        struct test_guarded guards[5];
        struct form f;
        uint64_t seed = n;
        uint8_t *const mask = guarded(&guards[0], length, 1, &seed);
        float *const bias = guarded(&guards[1], length, 4, &seed);
        float *const scales = guarded(&guards[2], length, 4, &seed);
        for (size_t j = 0; j < length; j++) {
            mask[j] &= 1;
            scales[j] = fabsf(scales[j]) / 128;
        }
        make_form(&f, n / SIZES, L, S, length, D, mask, bias, scales);
        f.shape.key_heads = 1; /* only the last head's keys can end at a page */
        void *const k = guarded(&guards[3], length * D, f.key_size, &seed);
        void *const v = guarded(&guards[4], length * D, f.value_size, &seed);
        void *const q = floats(HEADS * L * D), *const out = floats(HEADS * L * D);
        void *const want = floats(HEADS * L * D);
        float *const weights = floats(HEADS * L * S), *const less = floats(HEADS * L * S);
        float *const lse = floats(2 * HEADS * L);
        fill(q, HEADS * L * D, f.size, &seed);

        f.options.key_lengths = f.key_lengths;
        f.key_lengths[0] = f.options.sequences > 0 ? length / 3 : length;
        f.key_lengths[1] = length - length / 3;
        assert_ok(dotk_attention_forward(two, &f.shape, q, k, v, &f.options, out, lse));
        assert_ok(dotk_attention_weights(two, &f.shape, q, k, &f.options, 0, weights));
        assert_ok(dotk_attention_scores(two, &f.shape, q, k, &f.options, DOTK_STAGE_PRODUCT, less));
        for (size_t row = 0; row < HEADS * L; row++) { /* beyond is nothing */
            for (size_t j = length; j < S; j++)
                assert_true(weights[row * S + j] == 0 && less[row * S + j] == -INFINITY);
        }
        /* the same without slots that are not there */
        f.options.key_lengths = NULL;
        f.shape.keys = f.key_starts[2] = length;
        assert_ok(
            dotk_attention_forward(NULL, &f.shape, q, k, v, &f.options, want, lse + HEADS * L));
        assert_memory_equal(out, want, HEADS * L * D * f.size);
        assert_same(lse, lse + HEADS * L, HEADS * L);
        assert_ok(dotk_attention_weights(NULL, &f.shape, q, k, &f.options, 0, less));
        for (size_t row = 0; row < HEADS * L; row++)
            assert_same(weights + row * S, less + row * length, length);

        for (size_t g = 0; g < 5; g++)
            test_guarded_free(&guards[g]);
        drop_form(&f);
        free(q);
        free(out);
        free(want);
        free(weights);
        free(less);
        free(lse);
    }
}

/* An array of rows of which nothing is mapped but what open_rows() opens, to whole pages. */
static char *
closed_rows(size_t rows, size_t row_bytes)
{
    char *const array = mmap(NULL, rows * row_bytes, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    test_require(array != MAP_FAILED, "mmap");
    return array;
}

static void
open_rows(char *array, size_t first, size_t last, size_t row_bytes)
{
    test_require(mprotect(array + first * row_bytes, (last - first) * row_bytes,
                          PROT_READ | PROT_WRITE) == 0,
                 "mprotect");
}

/* A window touches no 64 keys before it: its cost is L * w. */
static void
test_window_skips(void **state)
{
    enum { L = 700, S = 100352, D = 64, LEFT = 255, FIRST = (S - L - LEFT) / 64 * 64 };
    const size_t row = D * sizeof(float);
    struct problem p = make(1, 1, 1, L, 1, D, D);
    float *const one_k = p.k, *const one_v = p.v;
    dotk_attention_stats stats;

    (void)state;
    p.k = (float *)(void *)closed_rows(S, row);
    p.v = (float *)(void *)closed_rows(S, row);
    open_rows((char *)p.k, FIRST, S, row);
    open_rows((char *)p.v, FIRST, S, row);
    uint64_t seed = 3;
    test_random_normals(&seed, p.k + FIRST * D, (S - FIRST) * D);
    test_random_normals(&seed, p.v + FIRST * D, (S - FIRST) * D);
    p.shape.keys = S;
    p.options.query_offset = S - L;
    p.options.has_window = 1;
    p.options.window_left = LEFT;
    p.options.stats = &stats;
    assert_ok(forward(two, &p));
    assert_int_equal(stats.pairs, (uint64_t)L * (LEFT + 1));
    check(&p, 97);
    munmap(p.k, S * row);
    munmap(p.v, S * row);
    p.k = one_k;
    p.v = one_v;
    drop(&p);
}

/* Blocks that no row lists are not touched. */
static void
test_blocks_skip(void **state)
{
    enum { L = 600, S = 16384, D = 64, ROWS = (L + BLOCK - 1) / BLOCK, COLS = 64 };
    const size_t row = D * sizeof(float);
    const size_t starts[ROWS + 1] = {0, 2, 3, 6}, columns[] = {1, 40, 17, 1, 17, 63};
    const dotk_attention_blocks blocks = {BLOCK, COLS, starts, columns, 0};
    struct problem p = make(2, 1, 1, L, 1, D, D);
    float *const one_k = p.k, *const one_v = p.v;
    dotk_attention_stats stats;
    uint64_t seed = 4;

    (void)state;
    p.k = (float *)(void *)closed_rows(S, row);
    p.v = (float *)(void *)closed_rows(S, row);
    for (size_t i = 0; i < 6; i++) {
        const size_t first = columns[i] * COLS;
        open_rows((char *)p.k, first, first + COLS, row);
        open_rows((char *)p.v, first, first + COLS, row);
        test_random_normals(&seed, p.k + first * D, COLS * D);
        test_random_normals(&seed, p.v + first * D, COLS * D);
    }
    p.shape.keys = S;
    p.options.blocks = &blocks;
    p.options.stats = &stats;
    assert_ok(forward(two, &p));
    assert_int_equal(stats.pairs, COLS * (3 * BLOCK + 3 * (L - 2 * BLOCK)));
    check(&p, 97);
    munmap(p.k, S * row);
    munmap(p.v, S * row);
    p.k = one_k;
    p.v = one_v;
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

struct arrays {
    void *q, *k, *v, *out;
    uint8_t *mask;
    float *lse, *bias, *scales, *weights;
};

/* All zeros: pages that are not written take no memory. */
static struct arrays
make_arrays(size_t queries, size_t keys, size_t width)
{
    struct arrays a = {
        .q = calloc(HEADS * queries * width, 4),
        .k = calloc(HEADS * keys * width, 4),
        .v = calloc(HEADS * keys * width, 4),
        .out = calloc(HEADS * queries * width, 4),
        .lse = calloc(HEADS * queries, 4),
        .mask = calloc(keys, 1),
        .bias = calloc(keys, 4),
        .scales = calloc(HEADS * keys, 4),
    };

    test_require(a.q && a.k && a.v && a.out && a.lse && a.mask && a.bias && a.scales, "calloc");
    memset(a.mask, 1, keys);
    return a;
}

static void
drop_arrays(struct arrays *a)
{
    free(a->q);
    free(a->k);
    free(a->v);
    free(a->out);
    free(a->lse);
    free(a->mask);
    free(a->bias);
    free(a->scales);
}

/* L = S = 32,768, cancelled when all working memory is there. */
static void
test_memory(void **state)
{
    enum { L = 32768, D = 64 };
    struct arrays a = make_arrays(L, L, D);

    (void)state;
    for (size_t n = 0; n < 4 * FORMS; n++) {
        struct test_alloc alloc;
        struct form f;
        int calls = 2;
        make_form(&f, n / 4, L, L, L, D, a.mask, a.bias, a.scales);
        test_alloc_install(&alloc);
        dotk_context *const context = test_context(1u << n % 4, test_cancel_at_third, &calls);
        const dotk_status status = dotk_attention_forward(context, &f.shape, a.q, a.k, a.v,
                                                          &f.options, a.out, a.lse);
        dotk_context_destroy(context);
        test_alloc_remove();
        assert_int_equal(alloc.blocks, 0);
        assert_status(status, DOTK_CANCELLED);
        assert_true(alloc.most_bytes > 50000);
        if (alloc.most_bytes > (16u << 20) + (size_t)64 * L * HEADS)
            fail_msg("%s: %zu bytes with %u threads", forms[n / 4], alloc.most_bytes, 1u << n % 4);
        drop_form(&f);
    }
    drop_arrays(&a);
}

/* Weights averaged over heads hold no matrix of a head. */
static void
test_memory_of_weights(void **state)
{
    enum { L = 3, S = 32768, D = 64 };
    struct arrays a = make_arrays(L, S, D);
    float *const weights = floats((size_t)L * S);

    (void)state;
    for (size_t form = 0; form < FORMS; form++) {
        struct test_alloc alloc;
        struct form f;
        make_form(&f, form, L, S, S, D, a.mask, a.bias, a.scales);
        test_alloc_install(&alloc);
        dotk_context *const context = test_context(2, NULL, NULL);
        const dotk_status status = dotk_attention_weights(context, &f.shape, a.q, a.k, &f.options,
                                                          1, weights);
        dotk_context_destroy(context);
        test_alloc_remove();
        assert_ok(status);
        assert_true(alloc.most_bytes < 2u << 20);
        drop_form(&f);
    }
    free(weights);
    drop_arrays(&a);
}

struct attempt {
    struct form f;
    struct arrays a;
    float *weights;
};

static dotk_status
call_forward(dotk_context *context, void *user)
{
    const struct attempt *const attempt = user;
    const struct form *const f = &attempt->f;
    const struct arrays *const a = &attempt->a;

    return dotk_attention_forward(context, &f->shape, a->q, a->k, a->v, &f->options, a->out,
                                  a->lse);
}

/* Every function that works on a context. */
static dotk_status
call_all(dotk_context *context, void *user)
{
    const struct attempt *const attempt = user;
    const struct form *const f = &attempt->f;
    const struct arrays *const a = &attempt->a;
    dotk_status status = call_forward(context, user);

    for (int32_t average = 0; average < 2 && status == DOTK_OK; average++)
        status = dotk_attention_weights(context, &f->shape, a->q, a->k, &f->options, average,
                                        attempt->weights);
    if (status == DOTK_OK)
        status = dotk_attention_scores(context, &f->shape, a->q, a->k, &f->options,
                                       DOTK_STAGE_MASKED, attempt->weights);
    return status;
}

static void
test_allocation_failures(void **state)
{
    static const size_t shapes[][2] = {{70, 200}, {1, 4000}};

    (void)state;
    for (size_t n = 0; n < 2 * FORMS; n++) {
        const size_t L = shapes[n % 2][0], S = shapes[n % 2][1], D = 40;
        struct attempt attempt = {.a = make_arrays(L, S, D), .weights = floats(HEADS * L * S)};
        make_form(&attempt.f, n / 2, L, S, S, D, attempt.a.mask, attempt.a.bias, attempt.a.scales);
        assert_true(test_call_fail_each(call_all, &attempt) > 5);
        drop_form(&attempt.f);
        drop_arrays(&attempt.a);
        free(attempt.weights);
    }
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    static const size_t shapes[][2] = {{300, 500}, {1, 5000}};

    (void)state;
    for (size_t n = 0; n < 2 * FORMS; n++) {
        const size_t L = shapes[n % 2][0], S = shapes[n % 2][1], D = 32;
        struct attempt attempt = {.a = make_arrays(L, S, D)};
        make_form(&attempt.f, n / 2, L, S, S, D, attempt.a.mask, attempt.a.bias, attempt.a.scales);
        test_call_warm(1, call_forward, &attempt);
        drop_form(&attempt.f);
        drop_arrays(&attempt.a);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beyond_lengths),
        cmocka_unit_test(test_window_skips),
        cmocka_unit_test(test_blocks_skip),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_memory_of_weights),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
