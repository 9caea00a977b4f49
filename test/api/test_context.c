/* test_context.c - calls without a context, where $DOTK_ISA names nothing that can be used */
#include "support.h"

#include <dotk/attention.h>
#include <dotk/dense.h>
#include <dotk/search.h>

static const char REFUSAL[] =
    "$DOTK_ISA is \"nope\", which this CPU or build does not have: choose "
    "from portable, ";

#define assert_refused(call)                                                                       \
    do {                                                                                           \
        assert_status(call, DOTK_BAD_ARGUMENT);                                                    \
        assert_message(REFUSAL);                                                                   \
    } while (0)

static void
contexts_are_refused(void **state)
{
    dotk_context *context;

    (void)state;
    assert_refused(dotk_context_create(NULL, &context));
    assert_null(context);
    assert_string_equal(dotk_context_isa(NULL), "none");
}

static void
indexes_are_refused(void **state)
{
    static const dotk_screen screens[] = {DOTK_SCREEN_NONE, DOTK_SCREEN_INT8, DOTK_SCREEN_INT4};
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;

    (void)state;
    for (size_t i = 0; i < sizeof screens / sizeof *screens; i++) {
        options.screen = screens[i];
        assert_refused(dotk_index_create(NULL, 8, &options, &index));
        assert_null(index);
    }
}

static void
attention_is_refused(void **state)
{
    const dotk_attention_shape shape = {1, 1, 1, 1, 1, 1, 0};
    const float one = 1;
    float out;
    char line[200];

    (void)state;
    assert_refused(dotk_attention_plan(NULL, &shape, NULL, line, sizeof line));
    assert_refused(dotk_attention_forward(NULL, &shape, &one, &one, &one, NULL, &out, NULL));
}

static void
dense_layers_are_refused(void **state)
{
    const float one = 1;
    dotk_dense_weights *weights;
    float out;
    char line[200];

    (void)state;
    assert_refused(dotk_dense_prepare(1, 1, &one, 0, NULL, &weights));
    assert_null(weights);
    assert_refused(dotk_dense_plan(NULL, 1, 1, 1, 0, line, sizeof line));
    assert_refused(dotk_dense(NULL, 1, 1, 1, &one, &one, NULL, NULL, &out));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_are_refused),
        cmocka_unit_test(indexes_are_refused),
        cmocka_unit_test(attention_is_refused),
        cmocka_unit_test(dense_layers_are_refused),
    };
    test_require(setenv("DOTK_ISA", "nope", 1) == 0, "setenv"); /* looked at once, at first use */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
