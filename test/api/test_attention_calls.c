/*
 * test_attention_calls.c - weights, merging and plans of attention; arguments that must be refused,
 * memory, cancelling
 */
#include "attention_reference.h"
#include "calls.h"
#include "contexts.h"

/* ------------------------------------------------------------------------- */
/*  Weights, merging                                                         */
/* ------------------------------------------------------------------------- */

static void
test_weights(void **state)
{
    const size_t lengths[] = {0, 70, 130};

    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct problem p = make((uint64_t)variant, 3, 2, 70, 130, 20, 20);
        float *const weights = floats(6 * 70 * 130);
        double out[20], want[130];
        p.options.causal = variant & 1;
        p.options.query_offset = 10;
        p.options.key_lengths = variant & 2 ? lengths : NULL;
        assert_ok(dotk_attention_weights(variant & 1 ? two : NULL, &p.shape, p.q, p.k, &p.options,
                                         0, weights));
        for (size_t row = 0; row < 6 * 70; row++) {
            (void)reference(&p, row / 70, row % 70, out, want);
            for (size_t j = 0; j < 130; j++)
                assert_true(fabs(weights[row * 130 + j] - want[j]) <= 1e-6);
        }
        free(weights);
        drop(&p);
    }
}

static void
test_merge(void **state)
{
    enum { L = 20, S = 1500, D = 16 };

    (void)state;
    for (size_t cut = 0; cut <= S; cut += 250) {
        struct problem p = make(cut, 1, 1, L, S, D, D);
        float out_a[L * D], out_b[L * D], lse_a[L], lse_b[L];
        struct problem a = p, b = p;
        a.shape.keys = cut;
        a.out = out_a;
        a.lse = lse_a;
        b.shape.keys = S - cut;
        b.k += cut * D;
        b.v += cut * D;
        b.out = out_b;
        b.lse = lse_b;
        assert_ok(forward(NULL, &a));
        assert_ok(forward(NULL, &b));
        assert_ok(dotk_attention_merge(L, D, out_a, lse_a, out_b, lse_b, p.out, p.lse));
        check(&p, 1);
        /* over an input */
        assert_ok(dotk_attention_merge(L, D, out_a, lse_a, out_b, lse_b, out_b, lse_b));
        assert_same(out_b, p.out, L * D);
        assert_same(lse_b, p.lse, L);
        drop(&p);
    }
    const float zero[2] = {0, 0}, none = -INFINITY, some[2] = {1, 2}, lse = 3;
    float out[2], sum;
    assert_ok(dotk_attention_merge(1, 2, zero, &none, zero, &none, out, &sum));
    assert_true(out[0] == 0 && out[1] == 0 && sum == -INFINITY);
    assert_ok(dotk_attention_merge(1, 2, zero, &none, some, &lse, out, &sum));
    assert_true(out[0] == 1 && out[1] == 2 && sum == 3);
    assert_status(dotk_attention_merge(1, 2, NULL, &none, some, &lse, out, &sum),
                  DOTK_BAD_ARGUMENT);
    assert_message("out_a is NULL");
    assert_status(dotk_attention_merge(SIZE_MAX / 2, 3, some, &lse, some, &lse, out, &sum),
                  DOTK_BAD_ARGUMENT);
    assert_message("overflows");
}

/* ------------------------------------------------------------------------- */
/*  Plan                                                                     */
/* ------------------------------------------------------------------------- */

static void
test_plan(void **state)
{
    static const size_t shapes[][3] = {{1, 1, 5000}, {1, 500, 500}, {6, 1, 3000},
                                       {1, 7, 1},    {2, 3, 0},     {1, 40, 40000}};
    dotk_context *const contexts[] = {NULL, one, two, four};
    size_t split = 0, whole = 0;

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t c = 0; c < 4; c++) {
            struct problem p = make(s, 1, shapes[s][0], shapes[s][1], shapes[s][2], 8, 8);
            dotk_attention_stats stats;
            char plan[200], ran[200], cut[8];
            p.options.stats = &stats;
            assert_ok(dotk_attention_plan(contexts[c], &p.shape, &p.options, plan, sizeof plan));
            assert_ok(forward(contexts[c], &p));
            snprintf(ran, sizeof ran, "%s %s:", stats.path, stats.kernel);
            assert_memory_equal(plan, ran, strlen(ran));
            assert_true(stats.seconds >= 0);
            assert_int_equal(stats.pairs, shapes[s][0] * shapes[s][1] * shapes[s][2]);
            if (shapes[s][2] > 0) {
                assert_memory_equal(stats.kernel, "softmax_v_", 10);
                assert_true(test_is_kernel_of(stats.kernel, dotk_context_isa(contexts[c])));
            }
            split += strcmp(stats.path, "chunks") == 0;
            whole += strcmp(stats.path, "rows") == 0;
            assert_ok(dotk_attention_plan(contexts[c], &p.shape, &p.options, cut, sizeof cut));
            assert_int_equal(strlen(cut), 7);
            drop(&p);
        }
    }
    assert_true(split > 0 && whole > 0); /* both paths have been seen */
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(forward(NULL, &(p)), DOTK_BAD_ARGUMENT);                                     \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    const struct problem good = make(1, 2, 2, 3, 4, 5, 6);
    const size_t lengths[] = {4, 5};
    struct problem p;

    (void)state;
    assert_ok(forward(NULL, &good));
    assert_status(dotk_attention_forward(NULL, NULL, good.q, good.k, good.v, NULL, good.out, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    p = good, p.q = NULL;
    refused(p, "q is NULL");
    p = good, p.k = NULL;
    refused(p, "k is NULL");
    p = good, p.v = NULL;
    refused(p, "v is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.shape.width = 65537;
    refused(p, "shape->width is 65537");
    p = good, p.shape.value_width = 65537;
    refused(p, "shape->value_width is 65537");
    p = good, p.options.has_scale = 1, p.options.scale = NAN;
    refused(p, "options->scale is nan");
    p = good, p.options.key_lengths = lengths;
    refused(p, "options->key_lengths[1] is 5");
    p = good, p.options.key.row = 4;
    refused(p, "options->key.row is 4");
    p = good, p.options.query.head = 4;
    refused(p, "options->query.head is 4");
    p = good, p.options.value.batch = 5;
    refused(p, "options->value.batch is 5");
    p = good, p.options.query.row = 9;
    refused(p, "options->query.head is 0 in strides of 0, 0, 9 (batch, head, row): set all three");
    p = good, p.options.key.head = 90;
    refused(p, "options->key.row is 0 in strides of 0, 90, 0");
    p = good, p.options.value = (dotk_layout){0, 90, 9};
    refused(p, "options->value.batch is 0 in strides of 0, 90, 9");
    p = good, p.options.output = (dotk_layout){90, 0, 9};
    refused(p, "options->output.head is 0 in strides of 90, 0, 9");
    p = good, p.options.output = (dotk_layout){36, 17, 6};
    refused(p, "rows of 6 would overlap");
    p = good, p.shape.keys = SIZE_MAX / 4;
    refused(p, "overflow");
    p = good, p.options.key = (dotk_layout){100, 50, SIZE_MAX / 16};
    refused(p, "overflow");
    p = good, p.shape.heads = SIZE_MAX / 8;
    refused(p, "overflow");
    p = good, p.out = p.q + 59;
    refused(p, "out overlaps q");
    p = good, p.out = p.v;
    refused(p, "out overlaps v");
    p = good, p.lse = p.k + 3;
    refused(p, "lse overlaps k");
    p = good, p.lse = p.out + 71;
    refused(p, "overlaps");
    p = good, p.options.struct_size = 8;
    refused(p, "struct_size is 8");

    p = good;
    assert_status(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, 0, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("weights is NULL");
    assert_status(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, 0, p.q),
                  DOTK_BAD_ARGUMENT);
    assert_message("weights overlaps q");
    p.shape.queries = p.shape.keys = SIZE_MAX / 4096;
    assert_status(dotk_attention_weights(NULL, &p.shape, p.q, p.k, NULL, 0, p.out),
                  DOTK_BAD_ARGUMENT);
    assert_message("overflow");
    assert_status(dotk_attention_plan(NULL, &good.shape, NULL, NULL, 10), DOTK_BAD_ARGUMENT);
    p = good;
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Memory, cancelling                                                       */
/* ------------------------------------------------------------------------- */

static dotk_status
call_forward(dotk_context *context, void *user)
{
    return forward(context, user);
}

static dotk_status
call_both(dotk_context *context, void *user)
{
    const struct problem *const p = user;
    const dotk_status status = forward(context, p);

    return status == DOTK_OK
               ? dotk_attention_weights(context, &p->shape, p->q, p->k, NULL, 0, p->out)
               : status;
}

static void
test_allocation_failures(void **state)
{
    static const size_t shapes[][2] = {{100, 50}, {1, 4000}};

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        struct problem p = make(1, 1, 1, shapes[s][0], shapes[s][1], 8, 50);
        /* room for the weights, too */
        p.out = realloc(p.out, shapes[s][0] * shapes[s][1] * 50 * sizeof *p.out);
        assert_true(test_call_fail_each(call_both, &p) > 5);
        drop(&p);
    }
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    static const size_t shapes[][2] = {{300, 500}, {1, 5000}, {7, 2100}};

    (void)state;
    for (size_t s = 0; s < 3; s++) {
        struct problem p = make(1, 1, 1, shapes[s][0], shapes[s][1], 32, 32);
        test_call_warm(1, call_forward, &p);
        drop(&p);
    }
}

/* L = S = 32,768 with 12 heads, cancelled when all working memory is there. */
static void
test_memory(void **state)
{
    enum { H = 12, L = 32768, D = 64 };
    struct problem p = {{1, H, L, L, D, 0, 0}, DOTK_ATTENTION_OPTIONS_INIT, 0, 0, 0, 0, 0};

    (void)state;
    p.q = calloc((size_t)H * L * D, sizeof *p.q);
    p.k = calloc((size_t)H * L * D, sizeof *p.k);
    p.v = calloc((size_t)H * L * D, sizeof *p.v);
    p.out = calloc((size_t)H * L * D, sizeof *p.out);
    p.lse = calloc((size_t)H * L, sizeof *p.lse);
    for (uint32_t threads = 1; threads <= 8; threads *= 2) {
        struct test_alloc alloc;
        int calls = 2;
        test_alloc_install(&alloc);
        dotk_context *const context = test_context(threads, test_cancel_at_third, &calls);
        assert_status(forward(context, &p), DOTK_CANCELLED);
        dotk_context_destroy(context);
        test_alloc_remove();
        assert_true(alloc.most_bytes > 50000);
        assert_true(alloc.most_bytes <= (16u << 20) + (size_t)64 * L * H);
    }
    drop(&p);
}

static void
test_cancel(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct problem p = make(1, 1, 4, 500, 600, 16, 16);
        test_call_cancel(threads, call_forward, &p);
        check(&p, 50);
        drop(&p);
    }
}

/* Chunks and their merging, stretch after stretch, are one count. */
static void
test_progress_of_chunks(void **state)
{
    struct problem p = make(4, 1, 7, 1, 300000, 16, 16);
    struct test_watch watch = {0};
    dotk_context *const context = test_context(16, test_follow, &watch);

    (void)state;
    assert_ok(forward(context, &p));
    assert_true(watch.calls > 1 && watch.done == watch.total);
    dotk_context_destroy(context);
    drop(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_progress_of_chunks),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cancel),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
