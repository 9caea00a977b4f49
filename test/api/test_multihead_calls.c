/* test_multihead_calls.c - the multi-head module: bad arguments, memory, progress */
#include "calls.h"
#include "multihead_case.h"

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(forward(NULL, &(p), NULL), DOTK_BAD_ARGUMENT);                               \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    const struct problem good = make(1, BATCH_FIRST, 2, 3, 4, 8, 2);
    struct problem p;

    (void)state;
    assert_ok(forward(NULL, &good, NULL));
    assert_status(dotk_multihead_forward(NULL, NULL, &good.parameters, good.values, good.values,
                                         good.values, NULL, good.out, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    assert_status(dotk_multihead_forward(NULL, &good.shape, NULL, good.values, good.values,
                                         good.values, NULL, good.out, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("parameters is NULL");
    assert_status(dotk_multihead_forward(NULL, &good.shape, &good.parameters, good.values, NULL,
                                         good.values, NULL, good.out, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("key is NULL");
    assert_status(dotk_multihead_saved_count(&good.shape, &good.parameters, NULL, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.shape.heads = 3;
    refused(p, "shape->heads 3");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.shape.batch = SIZE_MAX / 64;
    refused(p, "overflow");
    p = good, p.shape.keys = SIZE_MAX;
    p.options.add_zero_attn = 1;
    refused(p, "overflow");
    p = good, p.shape.key_width = 5;
    refused(p, "shape->key_width is 5");
    p = good, p.parameters.in_proj_weight = NULL;
    refused(p, "q_proj_weight is NULL");
    p = good, p.parameters.v_proj_weight = good.values;
    refused(p, "v_proj_weight is given");
    p = good, p.parameters.out_proj_weight = NULL;
    refused(p, "out_proj_weight is NULL");
    p = good, p.parameters.bias_v = good.values;
    refused(p, "bias_k is NULL");
    p = good, p.parameters.struct_size = 1;
    refused(p, "struct_size is 1");
    p = good, p.options.struct_size = 1;
    refused(p, "struct_size is 1");
    p = good, p.options.dropout = 1;
    refused(p, "options->dropout is 1");
    p = good, p.options.attn_mask = p.attn, p.options.attn_bias = p.attn_bias;
    refused(p, "options->attn_bias are both given");
    p = good, p.options.key_padding_mask = p.padding, p.options.key_padding_bias = p.padding_bias;
    refused(p, "options->key_padding_bias are both given");
    p = good, p.out = p.values + 3;
    refused(p, "out overlaps query");
    p = good, p.out = p.values + p.start[W_V];
    refused(p, "out overlaps parameters->in_proj_weight");
    p = good, p.weights = p.out;
    refused(p, "weights overlaps out");
    p = good, p.options.key_padding_mask = (const uint8_t *)(const void *)(p.out + 2);
    refused(p, "out overlaps options->key_padding_mask");
    p = good;
    drop(&p);
}

static void
test_backward_arguments(void **state)
{
    struct problem p = make(1, BATCH_FIRST, 2, 3, 4, 8, 2);
    float *const saved = room_for_saved(&p), *const d_out = zeros(outputs(&p), sizeof *d_out);
    float *const gradient = zeros(p.start[PARTS], sizeof *gradient);
    dotk_multihead_gradients g = gradients_at(&p, gradient);

    (void)state;
    assert_ok(forward(NULL, &p, saved));
    assert_ok(backward(NULL, &p, saved, d_out, &g));
    assert_status(backward(NULL, &p, saved, d_out, NULL), DOTK_BAD_ARGUMENT);
    assert_message("gradients is NULL");
    assert_status(backward(NULL, &p, NULL, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("saved is NULL");
    assert_status(backward(NULL, &p, saved, NULL, &g), DOTK_BAD_ARGUMENT);
    assert_message("d_out is NULL");
    g.bias_k = gradient + p.start[BIAS_K];
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("gradients->bias_k is given");
    g.bias_k = NULL;
    g.key = g.query;
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("gradients->key overlaps gradients->query");
    g.key = d_out;
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("gradients->key overlaps d_out");
    g.struct_size = 3;
    assert_status(backward(NULL, &p, saved, d_out, &g), DOTK_BAD_ARGUMENT);
    assert_message("struct_size is 3");
    free(saved);
    free(d_out);
    free(gradient);
    drop(&p);
}

/* A problem, and room for its backward pass. */
struct both {
    struct problem p;
    float *saved, *d_out, *gradient;
};

static struct both
make_both(void)
{
    struct both both = {
        .p = make(2, BATCH_FIRST | ADDED | ZERO | PADDING | ATTN_BIAS, 2, 30, 40, 32, 4)};
    both.saved = room_for_saved(&both.p);
    both.d_out = zeros(outputs(&both.p), sizeof(float));
    both.gradient = zeros(both.p.start[PARTS], sizeof(float));
    return both;
}

static void
drop_both(struct both *both)
{
    free(both->saved);
    free(both->d_out);
    free(both->gradient);
    drop(&both->p);
}

static dotk_status
run_both(dotk_context *context, void *user)
{
    struct both *const both = user;
    const dotk_multihead_gradients g = gradients_at(&both->p, both->gradient);
    dotk_status status = forward(context, &both->p, NULL);

    if (status == DOTK_OK)
        status = forward(context, &both->p, both->saved);
    if (status == DOTK_OK)
        status = backward(context, &both->p, both->saved, both->d_out, &g);
    return status;
}

static void
test_allocation_failures(void **state)
{
    struct both both = make_both();

    (void)state;
    assert_true(test_call_fail_each(run_both, &both) > 5);
    drop_both(&both);
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    struct both both = make_both();

    (void)state;
    test_call_warm(2, run_both, &both);
    drop_both(&both);
}

enum kind { FORWARD, WITH_WEIGHTS, BACKWARD, ONE_BIAS, LAST_WEIGHT, KINDS };

static dotk_status
run_kind(dotk_context *context, struct both *both, enum kind kind)
{
    const dotk_multihead_gradients all = gradients_at(&both->p, both->gradient);
    dotk_multihead_gradients few = DOTK_MULTIHEAD_GRADIENTS_INIT;
    struct problem p = both->p;

    few.bias_v = kind == ONE_BIAS ? all.bias_v : NULL;
    few.out_proj_weight = kind == LAST_WEIGHT ? all.out_proj_weight : NULL;
    p.weights = kind == WITH_WEIGHTS ? p.weights : NULL;
    return kind <= WITH_WEIGHTS
               ? forward(context, &p, both->saved)
               : backward(context, &p, both->saved, both->d_out, kind == BACKWARD ? &all : &few);
}

/* One count from nothing to the end over all that a call does. */
static void
test_progress(void **state)
{
    struct both both = make_both();

    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct test_watch watch = {0};
        dotk_context *const context = test_context(threads, test_follow, &watch);
        for (enum kind kind = FORWARD; kind < KINDS; kind++) {
            watch = (struct test_watch){0};
            assert_ok(run_kind(context, &both, kind));
            assert_true(watch.calls > 4 && watch.done == watch.total);
            watch = (struct test_watch){.cancel_at = 1};
            assert_status(run_kind(context, &both, kind), DOTK_CANCELLED);
            assert_int_equal(watch.calls, 1);
        }
        dotk_context_destroy(context);
    }
    drop_both(&both);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_backward_arguments),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
