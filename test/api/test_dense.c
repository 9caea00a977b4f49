/*
 * test_dense.c - dense layers as a caller sees them: against double precision, bit against bit,
 * without allocating, and with arguments that must be refused
 */
#include "contexts.h"

#include <dotk/dense.h>

/* ------------------------------------------------------------------------- */
/*  A layer                                                                  */
/* ------------------------------------------------------------------------- */

struct layer {
    size_t rows, outputs, inputs;
    size_t x_stride, w_stride, y_stride;
    struct test_guarded guarded[3];
    float *x, *w, *y, *bias;
    dotk_dense_options options;
    dotk_dense_stats stats;
};

/* Every array ends at a page that faults; rows are 'gap' elements further apart than wide. */
static void
layer_make(struct layer *l, uint64_t seed, size_t rows, size_t outputs, size_t inputs, size_t gap)
{
    *l = (struct layer){rows,
                        outputs,
                        inputs,
                        inputs + gap,
                        inputs + gap,
                        outputs + gap,
                        .options = DOTK_DENSE_OPTIONS_INIT};
    const size_t x_count = (rows - 1) * l->x_stride + inputs;
    const size_t w_count = (outputs - 1) * l->w_stride + inputs;
    l->x = test_guarded_floats(&l->guarded[0], x_count);
    l->w = test_guarded_floats(&l->guarded[1], w_count);
    l->y = test_guarded_floats(&l->guarded[2], (rows - 1) * l->y_stride + outputs);
    l->bias = malloc(outputs * sizeof *l->bias);
    test_require(l->bias != NULL, "malloc");
    test_random_floats(&seed, l->x, x_count);
    test_random_floats(&seed, l->w, w_count);
    test_random_floats(&seed, l->bias, outputs);
    l->options.x_stride = gap == 0 ? 0 : l->x_stride;
    l->options.y_stride = gap == 0 ? 0 : l->y_stride;
    l->options.w_stride = gap == 0 ? 0 : l->w_stride;
    l->options.stats = &l->stats;
}

static void
layer_free(struct layer *l)
{
    for (size_t i = 0; i < 3; i++)
        test_guarded_free(&l->guarded[i]);
    free(l->bias);
}

static void
run_plain(struct layer *l, dotk_context *context)
{
    assert_ok(dotk_dense(context, l->rows, l->outputs, l->inputs, l->x, l->w, l->bias, &l->options,
                         l->y));
}

static void
run_prepared(struct layer *l, dotk_context *context)
{
    dotk_dense_weights *weights;

    assert_ok(dotk_dense_prepare(l->outputs, l->inputs, l->w, l->w_stride, l->bias, &weights));
    assert_ok(dotk_dense_forward(context, weights, l->rows, l->x, &l->options, l->y));
    dotk_dense_destroy(weights);
}

/* The outputs, rows one after the other, with y cleared for the next run. */
static float *
take_outputs(struct layer *l)
{
    const size_t elements = (l->rows - 1) * l->y_stride + l->outputs;
    float *const taken = malloc(l->rows * l->outputs * sizeof *taken);

    test_require(taken != NULL, "malloc");
    for (size_t r = 0; r < l->rows; r++) {
        memcpy(taken + r * l->outputs, l->y + r * l->y_stride, l->outputs * sizeof *taken);
        /* Between the rows nothing may have been written. */
        for (size_t c = l->outputs; c < l->y_stride && r + 1 < l->rows; c++) {
            const uint32_t untouched = UINT32_MAX;
            assert_memory_equal(&l->y[r * l->y_stride + c], &untouched, sizeof untouched);
        }
    }
    memset(l->y, 0xff, elements * sizeof *l->y);
    return taken;
}

static void
assert_same(const struct layer *l, const float *a, const float *b, const char *what)
{
    if (memcmp(a, b, l->rows * l->outputs * sizeof *a) != 0)
        fail_msg("%s: %zu x %zu x %zu: other bits", what, l->rows, l->outputs, l->inputs);
}

/* ------------------------------------------------------------------------- */
/*  Right                                                                    */
/* ------------------------------------------------------------------------- */

/* vector.h's bound on the sum, and one rounding of the bias. */
static void
check_sums(const struct layer *l, const float *y)
{
    for (size_t r = 0; r < l->rows; r++) {
        for (size_t o = 0; o < l->outputs; o++) {
            double size;
            const double sum = test_dot(l->x + r * l->x_stride, l->w + o * l->w_stride, l->inputs,
                                        &size);
            const double z = sum + l->bias[o];
            const double bound = 0x1p-24 * ((double)(l->inputs + 1) * size * 1.0001 + fabs(z));
            if (!(fabs(y[r * l->outputs + o] - z) <= bound))
                fail_msg("%zu x %zu x %zu at %zu, %zu: %a, not %a", l->rows, l->outputs, l->inputs,
                         r, o, y[r * l->outputs + o], z);
        }
    }
}

static void
test_against_double(void **state)
{
    static const size_t rows[] = {1, 2, 5, 6, 7, 13, 64, 65};
    static const size_t outputs[] = {1, 15, 16, 17, 63, 64, 65, 130};
    static const size_t inputs[] = {1, 3, 255, 256, 257, 513};

    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (size_t o = 0; o < sizeof outputs / sizeof *outputs; o++) {
            for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
                struct layer l;
                layer_make(&l, r * 64 + o * 8 + i, rows[r], outputs[o], inputs[i], (r + o + i) % 3);
                run_plain(&l, one);
                float *const plain = take_outputs(&l);
                run_prepared(&l, two);
                float *const prepared = take_outputs(&l);
                check_sums(&l, plain);
                assert_same(&l, plain, prepared, "prepared");
                free(plain);
                free(prepared);
                layer_free(&l);
            }
        }
    }
}

/* z = W x + b in one call equals the sum written out. */
static void
test_sum_written_out(void **state)
{
    const float x[3] = {0.5f, -1.25f, 3}, bias[2] = {0.1f, -0.2f};
    const float w[2][3] = {{0.3f, 0.7f, -0.9f}, {-0.4f, 0.2f, 0.6f}};
    float z[2];

    (void)state;
    assert_ok(dotk_dense(one, 1, 2, 3, x, w[0], bias, NULL, z));
    for (size_t o = 0; o < 2; o++) {
        const float sum = fmaf(w[o][2], x[2], fmaf(w[o][1], x[1], w[o][0] * x[0]));
        assert_true(z[o] == sum + bias[o]);
    }
    assert_ok(dotk_dense(one, 1, 2, 3, x, w[0], NULL, NULL, z));
    assert_true(z[0] == fmaf(w[0][2], x[2], fmaf(w[0][1], x[1], w[0][0] * x[0])));
}

static double
activated(dotk_activation activation, double z)
{
    switch (activation) {
    case DOTK_ACTIVATION_RELU: return z > 0 ? z : 0;
    case DOTK_ACTIVATION_GELU: return z / 2 * erfc(-z * M_SQRT1_2);
    case DOTK_ACTIVATION_GELU_TANH:
        return z / 2 * (1 + tanh(sqrt(2 / M_PI) * (z + 0.044715 * z * z * z)));
    case DOTK_ACTIVATION_SILU: return z / (1 + exp(-z));
    case DOTK_ACTIVATION_SIGMOID: return 1 / (1 + exp(-z));
    case DOTK_ACTIVATION_TANH: return tanh(z);
    default: return z;
    }
}

/* Each name stands for its function, and the bias comes before it. */
static void
test_activations(void **state)
{
    struct layer l;

    (void)state;
    for (size_t rows = 3; rows <= 20; rows += 17) { /* "few" and "pack" */
        layer_make(&l, 9, rows, 70, 40, 0);
        run_plain(&l, one);
        float *const z = take_outputs(&l);
        for (int a = 0; dotk_activation_name((dotk_activation)a) != NULL; a++) {
            l.options.activation = (dotk_activation)a;
            run_plain(&l, one);
            float *const y = take_outputs(&l);
            for (size_t i = 0; i < rows * 70; i++) {
                const double exact = activated((dotk_activation)a, z[i]);
                assert_true(fabs(y[i] - exact) <= 0x1p-22 * fabs(z[i]) + 0x1p-22 * fabs(exact));
            }
            run_prepared(&l, one);
            float *const prepared = take_outputs(&l);
            assert_same(&l, y, prepared, dotk_activation_name((dotk_activation)a));
            free(y);
            free(prepared);
        }
        free(z);
        layer_free(&l);
    }
    assert_string_equal(dotk_activation_name(DOTK_ACTIVATION_GELU_TANH), "gelu_tanh");
    assert_null(dotk_activation_name((dotk_activation)7));
    assert_null(dotk_activation_name((dotk_activation)-1));
}

/* NaN and infinity touch what they belong to and nothing else. */
static void
test_not_finite(void **state)
{
    struct layer l;

    (void)state;
    for (size_t rows = 4; rows <= 20; rows += 16) {
        layer_make(&l, 10, rows, 33, 50, 0);
        run_plain(&l, one);
        float *const before = take_outputs(&l);
        l.x[2 * 50 + 7] = NAN;
        l.x[3 * 50 + 8] = INFINITY;
        l.options.activation = DOTK_ACTIVATION_RELU;
        run_plain(&l, one);
        float *const after = take_outputs(&l);
        for (size_t i = 0; i < rows * 33; i++) {
            const size_t r = i / 33;
            if (r == 2)
                assert_true(isnan(after[i]));
            else if (r == 3)
                assert_true(after[i] == (l.w[i % 33 * 50 + 8] > 0 ? INFINITY : 0));
            else
                assert_true(after[i] == (before[i] > 0 ? before[i] : 0));
        }
        free(before);
        free(after);
        layer_free(&l);
    }
}

/* ------------------------------------------------------------------------- */
/*  The same bits                                                            */
/* ------------------------------------------------------------------------- */

/* Outputs for any number of threads are those of one, which are returned. */
static float *
check_threads(struct layer *l)
{
    dotk_context *const contexts[] = {NULL, two, four};

    run_plain(l, one);
    float *const whole = take_outputs(l);
    for (size_t i = 0; i < 3; i++) {
        run_plain(l, contexts[i]);
        float *const plain = take_outputs(l);
        run_prepared(l, contexts[i]);
        float *const prepared = take_outputs(l);
        assert_same(l, whole, plain, "threads, plain");
        assert_same(l, whole, prepared, "threads, prepared");
        free(plain);
        free(prepared);
    }
    return whole;
}

static void
test_threads(void **state)
{
    /* Many chunks of rows; many panels; both; one task. */
    static const size_t shapes[][3] = {{1800, 70, 20}, {10, 2500, 100}, {400, 400, 50}, {9, 3, 7}};

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct layer l;
        layer_make(&l, 20 + i, shapes[i][0], shapes[i][1], shapes[i][2], i % 2);
        free(check_threads(&l));
        layer_free(&l);
    }
}

/* Splits of the rows and of the outputs change no bit. */
static void
test_splits(void **state)
{
    static const size_t steps[] = {1, 5, 8, 9, 100};
    struct layer l;

    (void)state;
    layer_make(&l, 11, 203, 150, 300, 0);
    l.options.activation = DOTK_ACTIVATION_GELU;
    float *const whole = check_threads(&l);
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        for (size_t r = 0; r < l.rows; r += steps[s]) {
            const size_t rows = l.rows - r < steps[s] ? l.rows - r : steps[s];
            assert_ok(dotk_dense(two, rows, l.outputs, l.inputs, l.x + r * l.inputs, l.w, l.bias,
                                 &l.options, l.y + r * l.outputs));
        }
        float *const split = take_outputs(&l);
        assert_same(&l, whole, split, "rows split");
        free(split);
    }
    l.options.y_stride = l.outputs;
    for (size_t o = 0; o < l.outputs; o += 37) {
        const size_t outputs = l.outputs - o < 37 ? l.outputs - o : 37;
        assert_ok(dotk_dense(one, l.rows, outputs, l.inputs, l.x, l.w + o * l.inputs, l.bias + o,
                             &l.options, l.y + o));
    }
    float *const split = take_outputs(&l);
    assert_same(&l, whole, split, "outputs split");
    free(split);
    free(whole);
    layer_free(&l);
}

/* Every instruction set gives the bits of the portable one. */
static void
test_instruction_sets(void **state)
{
    static const char *const names[] = {"avx2", "avx512", "avx512vnni", "avx512bf16"};
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *portable, *other;
    struct layer l;

    (void)state;
    options.threads = 1;
    options.isa = "portable";
    assert_ok(dotk_context_create(&options, &portable));
    for (size_t rows = 7; rows <= 31; rows += 24) {
        layer_make(&l, 12, rows, 90, 300, 1);
        for (int a = 0; dotk_activation_name((dotk_activation)a) != NULL; a++) {
            l.options.activation = (dotk_activation)a;
            run_plain(&l, portable);
            assert_non_null(strstr(l.stats.kernel, "portable"));
            float *const expected = take_outputs(&l);
            for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                options.isa = names[i];
                if (dotk_context_create(&options, &other) != DOTK_OK)
                    continue; /* this CPU has none */
                run_plain(&l, other);
                assert_true(test_is_kernel_of(l.stats.kernel, names[i]));
                float *const plain = take_outputs(&l);
                run_prepared(&l, other);
                float *const prepared = take_outputs(&l);
                assert_same(&l, expected, plain, names[i]);
                assert_same(&l, expected, prepared, names[i]);
                free(plain);
                free(prepared);
                dotk_context_destroy(other);
            }
            free(expected);
        }
        layer_free(&l);
    }
    dotk_context_destroy(portable);
}

/* x and y side by side in one matrix. */
static void
test_columns_of_one_matrix(void **state)
{
    enum { ROWS = 30, INPUTS = 20, OUTPUTS = 12, STRIDE = INPUTS + OUTPUTS };
    float both[ROWS][STRIDE], w[OUTPUTS * INPUTS], expected[ROWS * OUTPUTS], x[ROWS * INPUTS];
    dotk_dense_options options = DOTK_DENSE_OPTIONS_INIT;
    uint64_t seed = 13;

    (void)state;
    options.x_stride = options.y_stride = STRIDE;
    test_random_floats(&seed, w, OUTPUTS * INPUTS);
    test_random_floats(&seed, x, ROWS * INPUTS);
    assert_ok(dotk_dense(one, ROWS, OUTPUTS, INPUTS, x, w, NULL, NULL, expected));
    for (size_t first = 0; first <= OUTPUTS; first += OUTPUTS) { /* y on the left, on the right */
        float *const x_in = &both[0][OUTPUTS - first], *const y_in = &both[0][first ? INPUTS : 0];
        for (size_t r = 0; r < ROWS; r++)
            memcpy(x_in + r * STRIDE, x + r * INPUTS, INPUTS * sizeof *x);
        assert_ok(dotk_dense(one, ROWS, OUTPUTS, INPUTS, x_in, w, NULL, &options, y_in));
        for (size_t r = 0; r < ROWS; r++)
            assert_memory_equal(y_in + r * STRIDE, expected + r * OUTPUTS, OUTPUTS * sizeof *x);
        assert_status(dotk_dense(one, ROWS, OUTPUTS, INPUTS, x_in, w, NULL, &options,
                                 y_in + (first ? -1 : 1)),
                      DOTK_BAD_ARGUMENT);
        assert_message("y at");
    }
}

/* ------------------------------------------------------------------------- */
/*  Plan, memory, cancelling                                                 */
/* ------------------------------------------------------------------------- */

static void
check_plan(struct layer *l, int32_t prepared, const char *path)
{
    char plan[200], words[64];

    assert_ok(dotk_dense_plan(two, l->rows, l->outputs, l->inputs, prepared, plan, sizeof plan));
    if (prepared)
        run_prepared(l, two);
    else
        run_plain(l, two);
    snprintf(words, sizeof words, "%s %s: ", l->stats.path, l->stats.kernel);
    assert_memory_equal(plan, words, strlen(words));
    assert_string_equal(l->stats.path, path);
    assert_true(test_is_kernel_of(l->stats.kernel, dotk_context_isa(two)));
}

static void
test_plan(void **state)
{
    struct layer l;
    char plan[8];

    (void)state;
    for (size_t rows = 1; rows <= 17; rows += 8) {
        layer_make(&l, 14, rows, 100, 30, 0);
        check_plan(&l, 0, rows <= 8 ? "few" : "pack");
        check_plan(&l, 1, "panels");
        layer_free(&l);
    }
    assert_ok(dotk_dense_plan(NULL, 100, 3, 3, 0, plan, sizeof plan));
    assert_string_equal(plan, "pack ti");
    assert_ok(dotk_dense_plan(NULL, 0, 3, 3, 0, plan, sizeof plan));
    assert_string_equal(plan, "empty -");
    assert_status(dotk_dense_plan(NULL, 1, 3, 3, 0, NULL, 10), DOTK_BAD_ARGUMENT);
    assert_status(dotk_dense_plan(NULL, 1, 3, 3, 0, plan, 0), DOTK_BAD_ARGUMENT);
    assert_status(dotk_dense_plan(NULL, 1, 3, 0, 0, plan, 8), DOTK_BAD_ARGUMENT);
    assert_message("inputs is 0");
}

static dotk_status
everything_once(void *user)
{
    struct layer *const l = user;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context = NULL;
    dotk_dense_weights *weights = NULL;

    options.threads = 2;
    dotk_status status = dotk_context_create(&options, &context);
    if (status == DOTK_OK)
        status = dotk_dense_prepare(l->outputs, l->inputs, l->w, 0, l->bias, &weights);
    if (status == DOTK_OK)
        status = dotk_dense_forward(context, weights, l->rows, l->x, NULL, l->y);
    if (status == DOTK_OK)
        status = dotk_dense(context, l->rows, l->outputs, l->inputs, l->x, l->w, l->bias, NULL,
                            l->y);
    dotk_dense_destroy(weights);
    dotk_context_destroy(context);
    return status;
}

static void
test_allocation_failures(void **state)
{
    struct layer l;

    (void)state;
    layer_make(&l, 15, 20, 100, 30, 0);
    assert_true(test_alloc_fail_each(everything_once, &l) >= 6);
    layer_free(&l);
}

/* A call like an earlier one allocates nothing. */
static void
test_warm_path(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    struct test_alloc alloc;
    dotk_context *context;
    dotk_dense_weights *weights;
    struct layer l;

    (void)state;
    layer_make(&l, 16, 200, 300, 100, 0);
    test_alloc_install(&alloc);
    options.threads = 2;
    assert_ok(dotk_context_create(&options, &context));
    assert_ok(dotk_dense_prepare(l.outputs, l.inputs, l.w, 0, l.bias, &weights));
    size_t warm = 0;
    for (int round = 0; round < 4; round++) {
        assert_ok(dotk_dense_forward(context, weights, l.rows, l.x, NULL, l.y));
        run_plain(&l, context);
        assert_ok(dotk_dense(context, 3, l.outputs, l.inputs, l.x, l.w, l.bias, NULL, l.y));
        if (round == 1)
            warm = alloc.requests;
    }
    assert_true(warm > 0);
    assert_int_equal(alloc.requests, warm);
    dotk_dense_destroy(weights);
    dotk_context_destroy(context);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
    layer_free(&l);
}

static int
cancel_at_once(void *user, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    ++*(int *)user;
    return 1;
}

static void
test_cancelling(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;
    struct layer l;
    int asked = 0;

    (void)state;
    layer_make(&l, 17, 400, 300, 100, 0);
    options.progress = cancel_at_once;
    options.progress_user = &asked;
    assert_ok(dotk_context_create(&options, &context));
    assert_status(dotk_dense(context, l.rows, l.outputs, l.inputs, l.x, l.w, NULL, NULL, l.y),
                  DOTK_CANCELLED);
    assert_true(asked > 0);
    dotk_context_destroy(context);
    layer_free(&l);
}

/* ------------------------------------------------------------------------- */
/*  Refused                                                                  */
/* ------------------------------------------------------------------------- */

#define assert_refused(call, part)                                                                 \
    do {                                                                                           \
        assert_status(call, DOTK_BAD_ARGUMENT);                                                    \
        assert_message(part);                                                                      \
    } while (0)

static void
test_bad_arguments(void **state)
{
    float x[6] = {0}, w[6] = {0}, y[8] = {0}, bias[6] = {0};
    dotk_dense_options options = DOTK_DENSE_OPTIONS_INIT;
    dotk_dense_weights *weights = (dotk_dense_weights *)x;

    (void)state;
    assert_refused(dotk_dense_prepare(2, 3, w, 0, bias, NULL), "out is NULL");
    assert_refused(dotk_dense_prepare(2, 3, NULL, 0, bias, &weights), "w is NULL");
    assert_null(weights);
    assert_refused(dotk_dense_prepare(0, 3, w, 0, bias, &weights), "outputs is 0");
    assert_refused(dotk_dense_prepare(2, 0, w, 0, bias, &weights), "inputs is 0");
    assert_refused(dotk_dense_prepare(2, 3, w, 2, bias, &weights), "w_stride is 2");
    assert_refused(dotk_dense_prepare(SIZE_MAX / 2, 3, w, 0, bias, &weights), "outputs is");
    assert_refused(dotk_dense_prepare(3, 2, w, SIZE_MAX / 4, bias, &weights), "w has 3 rows");
    assert_ok(dotk_dense_prepare(2, 3, w, 0, bias, &weights));

    assert_refused(dotk_dense_forward(one, NULL, 2, x, NULL, y), "weights is NULL");
    assert_refused(dotk_dense_forward(one, weights, 2, NULL, NULL, y), "x is NULL");
    assert_refused(dotk_dense_forward(one, weights, 2, x, NULL, NULL), "y is NULL");
    assert_refused(dotk_dense_forward(one, weights, 2, x, NULL, x + 2), "y at");
    assert_refused(dotk_dense_forward(one, weights, SIZE_MAX / 8, x, NULL, y), "x has");
    assert_ok(dotk_dense_forward(one, weights, 0, NULL, NULL, NULL));

    assert_refused(dotk_dense(one, 2, 2, 3, x, NULL, bias, NULL, y), "w is NULL");
    assert_refused(dotk_dense(one, 2, 2, 3, NULL, w, bias, NULL, y), "x is NULL");
    assert_refused(dotk_dense(one, 2, 0, 3, x, w, bias, NULL, y), "outputs is 0");
    assert_refused(dotk_dense(one, 2, 2, 0, x, w, bias, NULL, y), "inputs is 0");
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, NULL, w), "overlaps w");
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, NULL, bias + 1), "overlaps bias");

    options.activation = (dotk_activation)7;
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, &options, y), "options->activation is 7");
    options.activation = DOTK_ACTIVATION_TANH;
    options.x_stride = 2;
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, &options, y), "options->x_stride is 2");
    options.x_stride = 0;
    options.y_stride = 1;
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, &options, y), "options->y_stride is 1");
    options.y_stride = 0;
    options.w_stride = 1;
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, &options, y), "options->w_stride is 1");
    options.w_stride = 0;
    assert_ok(dotk_dense(one, 2, 2, 3, x, w, bias, &options, y));
    options.struct_size = 1;
    assert_refused(dotk_dense(one, 2, 2, 3, x, w, bias, &options, y), "struct_size is 1");
    dotk_dense_destroy(weights);
    dotk_dense_destroy(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_double),
        cmocka_unit_test(test_sum_written_out),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_instruction_sets),
        cmocka_unit_test(test_columns_of_one_matrix),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_path),
        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
