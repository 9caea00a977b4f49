/*
 * test_attention_arguments.c - options of attention that must be refused, each with its name, its
 * value and a remedy; test_attention_calls.c has shapes, strides and overlaps
 */
#include "attention_reference.h"
#include "contexts.h"

#include <limits.h>

enum { B = 2, H = 4, L = 3, S = 5, D = 6 };

/* Every function that takes these options must refuse them with these words. */
static void
refuse(const struct problem *p, const char *const *words, size_t count)
{
    float matrix[B * H * L * S];
    char plan[300];

    for (int function = 0; function < 5; function++) {
        const dotk_status status =
            function == 0 ? forward(NULL, p)
            : function == 1
                ? dotk_attention_weights(NULL, &p->shape, p->q, p->k, &p->options, 0, matrix)
            : function == 2
                ? dotk_attention_weights(NULL, &p->shape, p->q, p->k, &p->options, 1, matrix)
            : function == 3 ? dotk_attention_scores(NULL, &p->shape, p->q, p->k, &p->options,
                                                    DOTK_STAGE_MASKED, matrix)
                            : dotk_attention_plan(NULL, &p->shape, &p->options, plan, sizeof plan);
        assert_status(status, DOTK_BAD_ARGUMENT);
        for (size_t i = 0; i < count; i++)
            assert_message(words[i]);
    }
}

#define refused(p, ...)                                                                            \
    refuse(&(p), (const char *const[]){__VA_ARGS__},                                               \
           sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* ------------------------------------------------------------------------- */
/*  Shapes and types                                                         */
/* ------------------------------------------------------------------------- */

static void
test_heads_and_types(void **state)
{
    struct problem good = make(1, B, H, L, S, D, D), p = good;

    (void)state;
    assert_ok(forward(NULL, &p));
    p.shape.key_heads = 3;
    refused(p, "shape->heads is 4", "shape->key_heads 3", "multiple");
    p.shape.key_heads = 8;
    refused(p, "shape->heads is 4", "shape->key_heads 8");
    p = good, p.options.store = DOTK_STORE_INT8;
    refused(p, "options->store is 3", "DOTK_STORE_F16 or DOTK_STORE_BF16");
    p = good, p.options.store = (dotk_store)77;
    refused(p, "options->store is 77");
    p = good, p.options.struct_size = sizeof p.options + 8;
    refused(p, "struct_size");
    drop(&good);
}

static void
test_switches(void **state)
{
    struct problem good = make(9, 1, H, L, S, D, D), p;
    const size_t starts[] = {0, L};

    (void)state;
    p = good, p.options.scale = 0.5f;
    refused(p, "options->scale is 0.5", "has_scale 0: set has_scale to 1");
    p = good, p.options.window_left = 2;
    refused(p, "options->window_left is 2", "has_window 0: set has_window to 1");
    p = good, p.options.window_right = -5;
    refused(p, "window_right -5", "has_window 0");
    p = good, p.options.query_starts = starts;
    refused(p, "options->query_starts is given", "options->sequences 0");
    p = good, p.options.key_starts = starts;
    refused(p, "options->key_starts is given", "options->sequences 0");
    drop(&good);
}

static void
test_numbers(void **state)
{
    const float not_finite[] = {NAN, INFINITY, -INFINITY};
    struct problem good = make(2, B, H, L, S, D, D), p;
    float heads[H] = {0.5f, 0.25f, 0.125f, 0.0625f};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        p = good, p.options.has_scale = 1, p.options.scale = not_finite[i];
        refused(p, "options->scale is", "finite");
        p = good, p.options.softcap = not_finite[i];
        refused(p, "options->softcap is", "a cap of");
        p = good, p.options.dropout = not_finite[i];
        refused(p, "options->dropout is", "below 1");
        heads[2] = not_finite[i];
        p = good, p.options.slopes = heads;
        refused(p, "options->slopes[2] is", "finite");
        p = good, p.options.sinks = heads;
        refused(p, "options->sinks[2] is", "finite");
    }
    p = good, p.options.softcap = -2;
    refused(p, "options->softcap is -2", "0 for none");
    p = good, p.options.softcap = 1e31f; /* beyond f32 when it is multiplied */
    refused(p, "options->softcap is 1e+31");
    p = good, p.options.dropout = 1;
    refused(p, "options->dropout is 1", "below 1");
    p = good, p.options.dropout = -0.5f;
    refused(p, "options->dropout is -0.5");
    drop(&good);
}

/* ------------------------------------------------------------------------- */
/*  Positions                                                                */
/* ------------------------------------------------------------------------- */

static void
test_positions(void **state)
{
    struct problem good = make(3, B, H, L, S, D, D), p;
    int64_t offsets[B] = {0, 0};
    static const int64_t wrong[] = {-L - 1, S + 1, INT64_MIN, INT64_MAX};

    (void)state;
    for (int causal = 0; causal < 2; causal++) {
        for (size_t i = 0; i < 4; i++) {
            char text[80];
            p = good;
            p.options.causal = causal;
            p.options.query_offset = wrong[i];
            snprintf(text, sizeof text, "options->query_offset is %lld", (long long)wrong[i]);
            refused(p, text, "-3 (queries)", "5 (keys)");
            p.options.query_offset = 0;
            p.options.query_offsets = offsets;
            offsets[1] = wrong[i];
            snprintf(text, sizeof text, "options->query_offsets[1] is %lld", (long long)wrong[i]);
            refused(p, text, "-3 (queries)", "5 (keys)");
            offsets[1] = i % 2 == 0 ? -L : S; /* just possible */
            assert_ok(forward(NULL, &p));
            p.options.query_offsets = NULL;
            p.options.query_offset = offsets[1];
            assert_ok(forward(NULL, &p));
        }
    }
    p = good, p.options.has_window = 1, p.options.window_left = -2;
    refused(p, "options->window_left is -2", "-1 for all");
    p = good, p.options.has_window = 1, p.options.window_right = INT64_MIN;
    refused(p, "window_right -9223372036854775808");
    p.options.window_left = p.options.window_right = INT64_MAX; /* all keys */
    assert_ok(forward(NULL, &p));
    check(&p, 1);
    drop(&good);
}

static void
test_packed(void **state)
{
    struct problem good = make(4, 1, H, L, S, D, D), p;
    size_t queries[] = {0, 1, L}, keys[] = {0, 4, S}, lengths[] = {4, 2};
    int64_t offsets[] = {0, 2};

    (void)state;
    good.options.sequences = 2;
    good.options.query_starts = queries;
    good.options.key_starts = keys;
    assert_ok(forward(NULL, &good));
    check(&good, 1);
    p = good, p.options.query_starts = NULL;
    refused(p, "options->query_starts is NULL", "3 starts");
    p = good, p.options.key_starts = NULL;
    refused(p, "options->key_starts is NULL");
    p = good, p.shape.batch = 2;
    refused(p, "shape->batch is 2", "options->sequences 2");
    p = good;
    queries[2] = L - 1;
    refused(p, "options->query_starts", "to 2", "3 queries");
    queries[2] = L, queries[0] = 1;
    refused(p, "options->query_starts", "from 1");
    queries[0] = 0, keys[2] = S + 1;
    refused(p, "options->key_starts", "to 6", "5 keys");
    keys[2] = S, keys[1] = S + 1;
    refused(p, "options->key_starts[2] is 5", "below the 6");
    keys[1] = 4;
    p.options.key_lengths = lengths; /* the second has one key */
    refused(p, "options->key_lengths[1] is 2", "1 keys");
    p.options.key_lengths = NULL;
    p.options.query_offsets = offsets;
    refused(p, "options->query_offsets[1] is 2", "1 (keys)");
    p.options.query_offsets = NULL;
    p.options.query_offset = S; /* of all queries and keys */
    assert_ok(forward(NULL, &p));
    p.options.query_offset = S + 1;
    refused(p, "options->query_offset is 6");
    p = good, p.options.sequences = SIZE_MAX;
    p.options.query_starts = NULL;
    refused(p, "options->query_starts is NULL");
    drop(&good);
}

/* ------------------------------------------------------------------------- */
/*  Masks, biases, blocks                                                    */
/* ------------------------------------------------------------------------- */

static void
refused_by_forward(struct problem p, const char *message)
{
    assert_status(forward(NULL, &p), DOTK_BAD_ARGUMENT);
    assert_message(message);
}

static void
test_masks(void **state)
{
    struct problem good = make(5, B, H, L, S, D, D), p;
    const uint8_t mask[B * H * L * S] = {1, 1};
    const float bias[B * H * L * S] = {0};

    (void)state;
    p = good, p.options.mask = mask, p.options.mask_layout.row = S - 1;
    refused(p, "options->mask_layout.row is 4", "5 keys", "0 would be");
    p = good, p.options.bias = bias, p.options.bias_layout.row = 1;
    refused(p, "options->bias_layout.row is 1", "5 keys");
    p = good, p.options.mask = mask, p.options.mask_layout.batch = SIZE_MAX / 2;
    p.options.mask_layout.head = SIZE_MAX / 2;
    refused(p, "mask", "overflow");
    p = good, p.options.bias = bias, p.options.bias_layout.head = SIZE_MAX / 8;
    refused(p, "bias", "overflow");
    p = good, p.options.bias = p.out, p.options.bias_layout.row = S;
    assert_status(forward(NULL, &p), DOTK_BAD_ARGUMENT);
    assert_message("out overlaps options->bias");
    p = good, p.options.mask = (const uint8_t *)p.lse;
    assert_status(forward(NULL, &p), DOTK_BAD_ARGUMENT);
    assert_message("lse overlaps options->mask");
    p = good, p.options.bias = bias;
    assert_status(
        dotk_attention_weights(NULL, &p.shape, p.q, p.k, &p.options, 0, (float *)(uintptr_t)bias),
        DOTK_BAD_ARGUMENT);
    assert_message("weights overlaps options->bias");
    drop(&good);
}

/* What a call reads while it writes, and what would be looked at again afterwards. */
static void
test_overlaps_with_options(void **state)
{
    struct problem good = make(5, B, H, L, S, D, D), p;
    const dotk_attention_blocks blocks = {L, S, (const size_t *)(const void *)good.lse, NULL, 0};

    (void)state;
    memset(good.lse, 0, B * H * L * sizeof *good.lse);
    p = good, p.options.key_lengths = (const size_t *)(const void *)p.lse;
    refused_by_forward(p, "lse overlaps options->key_lengths");
    p = good, p.options.query_offsets = (const int64_t *)(const void *)p.lse;
    refused_by_forward(p, "lse overlaps options->query_offsets");
    p = good, p.options.slopes = p.lse;
    refused_by_forward(p, "lse overlaps options->slopes");
    p = good, p.options.sinks = p.lse + 1;
    refused_by_forward(p, "lse overlaps options->sinks");
    p = good, p.options.blocks = &blocks;
    refused_by_forward(p, "lse overlaps options->blocks->starts");
    drop(&good);
}

/* Nothing to do takes no time, whatever the sizes of nothing. */
static void
test_sizes_of_nothing(void **state)
{
    dotk_attention_shape shape = {.batch = SIZE_MAX, .width = 8};

    (void)state;
    assert_ok(dotk_attention_forward(NULL, &shape, NULL, NULL, NULL, NULL, NULL, NULL));
}

static void
test_blocks(void **state)
{
    struct problem good = make(6, B, H, L, S, D, D), p;
    size_t starts[H * 3] = {0, 2, 3}, columns[] = {0, 2, 1};
    dotk_attention_blocks blocks = {2, 2, starts, columns, 0};

    (void)state;
    p = good, p.options.blocks = &blocks;
    assert_ok(forward(NULL, &p));
    check(&p, 1);
    blocks.rows = 0;
    refused(p, "options->blocks are 0 x 2", "at least 1 x 1");
    blocks.rows = 2, blocks.cols = 0;
    refused(p, "options->blocks are 2 x 0");
    blocks.cols = 2, blocks.starts = NULL;
    refused(p, "options->blocks->starts is NULL");
    blocks.starts = starts, blocks.columns = NULL;
    refused(p, "options->blocks->columns is NULL");
    blocks.columns = columns, columns[1] = 3;
    refused(p, "options->blocks->columns[1] is 3", "below the 3");
    columns[1] = 0;
    refused(p, "options->blocks->columns[1] is 0", "ascending");
    columns[1] = 2, columns[2] = SIZE_MAX;
    refused(p, "options->blocks->columns[2] is 18446744073709551615");
    columns[2] = 1, starts[1] = 4;
    refused(p, "options->blocks->starts[2] is 3", "below the 4");
    starts[1] = 2, blocks.rows = blocks.cols = SIZE_MAX; /* one block has it all */
    columns[0] = 0, starts[1] = 1;
    assert_ok(forward(NULL, &p));
    check(&p, 1);
    columns[0] = 1;
    refused(p, "options->blocks->columns[0] is 1", "below the 1");
    columns[0] = 0, starts[1] = 2, blocks.rows = blocks.cols = 2,
    blocks.per_head = 1; /* the lists of heads 1 .. 3 fall to 0 from 0: empty */
    assert_ok(forward(NULL, &p));
    starts[3] = 3, starts[4] = 2;
    refused(p, "options->blocks->starts[4] is 2", "below the 3");
    drop(&good);
}

/* ------------------------------------------------------------------------- */
/*  Overlaps and sizes of weights and scores                                 */
/* ------------------------------------------------------------------------- */

static void
test_matrices(void **state)
{
    struct problem p = make(7, B, H, L, S, D, D);
    float matrix[B * H * L * S];
    static const int stages[] = {-1, 3, INT_MAX};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[40];
        assert_status(dotk_attention_scores(NULL, &p.shape, p.q, p.k, &p.options,
                                            (dotk_attention_stage)stages[i], matrix),
                      DOTK_BAD_ARGUMENT);
        snprintf(text, sizeof text, "stage is %d", stages[i]);
        assert_message(text);
    }
    assert_status(dotk_attention_scores(NULL, &p.shape, p.q, p.k, NULL, DOTK_STAGE_CAPPED, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("scores is NULL");
    assert_status(dotk_attention_scores(NULL, &p.shape, p.q, p.k, NULL, DOTK_STAGE_CAPPED, p.k),
                  DOTK_BAD_ARGUMENT);
    assert_message("scores overlaps k");
    assert_status(dotk_attention_weights(NULL, &p.shape, NULL, p.k, NULL, 1, matrix),
                  DOTK_BAD_ARGUMENT);
    assert_message("q is NULL");
    /* nothing to write */
    p.shape.keys = 0;
    assert_ok(dotk_attention_weights(NULL, &p.shape, p.q, NULL, NULL, 0, NULL));
    p.shape.keys = S;
    p.shape.heads = p.shape.key_heads = 0;
    assert_ok(dotk_attention_scores(NULL, &p.shape, NULL, NULL, NULL, DOTK_STAGE_MASKED, NULL));
    p.shape.heads = H;
    drop(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_and_types),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_overlaps_with_options),
        cmocka_unit_test(test_sizes_of_nothing),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_switches),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
