/* test_inspect.c - the description of a set of vectors, over threads and shapes */
#include "support.h"

#include <dotk/vector.h>

enum { ROWS = 4000, DIM = 24, STRIDE = 29 };

static float vectors[ROWS * STRIDE];

static float *
row(size_t i)
{
    return vectors + i * STRIDE;
}

/* Random rows with norms spread from 1 to 3; NaN between them. */
static void
fill(uint64_t seed, bool unit)
{
    for (size_t i = 0; i < ROWS * STRIDE; i++)
        vectors[i] = NAN;
    for (size_t i = 0; i < ROWS; i++) {
        test_random_normals(&seed, row(i), DIM);
        assert_ok(dotk_normalize(row(i), DIM, row(i), NULL));
        const float length = unit ? 1 : 2 + 0.999f * test_random_float(&seed);
        for (size_t d = 0; d < DIM; d++)
            row(i)[d] *= length;
    }
}

static dotk_inspection
inspect(void)
{
    dotk_inspection out;
    assert_ok(dotk_inspect(NULL, vectors, ROWS, DIM, STRIDE, &out));
    return out;
}

static int
by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void
test_norms(void **state)
{
    static double norms[ROWS];
    const double at[] = {0.01, 0.25, 0.5, 0.75, 0.99};
    double sum = 0;

    (void)state;
    fill(1, false);
    const dotk_inspection found = inspect();
    for (size_t i = 0; i < ROWS; i++) {
        norms[i] = sqrt(test_dot(row(i), row(i), DIM, NULL));
        sum += norms[i];
    }
    qsort(norms, ROWS, sizeof *norms, by_value);
    assert_int_equal(found.rows, ROWS);
    assert_int_equal(found.dim, DIM);
    assert_true(fabs(found.norm_min - norms[0]) < 1e-12);
    assert_true(fabs(found.norm_max - norms[ROWS - 1]) < 1e-12);
    assert_true(fabs(found.norm_mean - sum / ROWS) < 1e-12);
    for (size_t q = 0; q < 5; q++) {
        const size_t rank = (size_t)(at[q] * (ROWS - 1) + 0.5);
        assert_true(found.norm_quantile[q] == (float)norms[rank]);
    }
    assert_int_equal(found.unit, 0);
    assert_int_equal(found.mixed, 0);
    assert_string_equal(found.metric, "cosine");
    assert_int_equal(found.nan_rows + found.infinite_rows + found.zero_rows, 0);
    assert_int_equal(found.duplicate_rows, 0);
}

static void
test_bad_rows(void **state)
{
    (void)state;
    fill(2, true);
    row(5)[DIM - 1] = NAN;
    row(6)[0] = NAN;
    row(6)[1] = INFINITY;
    row(7)[DIM - 1] = -INFINITY;
    row(7)[3] = INFINITY;
    row(8)[9] = INFINITY;
    memset(row(9), 0, DIM * sizeof(float));
    memset(row(10), 0, DIM * sizeof(float));
    row(10)[4] = -0.0f; /* a zero row, but not the same bits */
    for (size_t d = 0; d < DIM; d++)
        row(11)[d] *= 1e-30f;
    const dotk_inspection found = inspect();
    assert_int_equal(found.nan_rows, 2);
    assert_int_equal(found.infinite_rows, 2);
    assert_int_equal(found.zero_rows, 2);
    assert_int_equal(found.duplicate_rows, 0);
    assert_int_equal(found.unit_rows, ROWS - 7);
    assert_int_equal(found.unit, 0);
    assert_int_equal(found.mixed, 1); /* row 11 */
    assert_true(found.norm_min == 0);
    assert_true(found.norm_quantile[0] > 0.999 && found.norm_quantile[4] < 1.001);
    assert_true(isfinite(found.norm_mean) && isfinite(found.norm_max));
}

static void
test_duplicates(void **state)
{
    (void)state;
    fill(3, false);
    for (size_t i = 1000; i < 1500; i++)
        memcpy(row(i), row(i - 1000), DIM * sizeof(float));
    for (size_t i = 2000; i < 2100; i++)
        memcpy(row(i), row(1999), DIM * sizeof(float));
    row(3000)[DIM - 1] = NAN; /* equal bits, though no equal values */
    memcpy(row(3001), row(3000), DIM * sizeof(float));
    memcpy(row(3002), row(3000), (DIM - 1) * sizeof(float)); /* differs in the last value only */
    assert_int_equal(inspect().duplicate_rows, 500 + 100 + 1);
    for (size_t i = 0; i < ROWS; i++)
        memcpy(row(i), row(0), DIM * sizeof(float));
    assert_int_equal(inspect().duplicate_rows, ROWS - 1);
}

/* Of all rows equal and of odd dimensions too: hashing takes 8 bytes at a time. */
static void
test_every_small_shape(void **state)
{
    uint64_t seed = 4;

    (void)state;
    for (size_t dim = 1; dim <= 9; dim++) {
        for (size_t rows = 0; rows <= 20; rows++) {
            struct test_guarded guarded;
            float *const x = test_guarded_floats(&guarded, rows * dim);
            size_t duplicates = 0;
            dotk_inspection found;
            for (size_t i = 0; i < rows * dim; i++)
                x[i] = (float)test_random_below(&seed, 2);
            for (size_t i = 0; i < rows; i++) {
                bool seen = false;
                for (size_t j = 0; j < i; j++)
                    seen |= memcmp(x + i * dim, x + j * dim, dim * sizeof *x) == 0;
                duplicates += seen;
            }
            assert_ok(dotk_inspect(NULL, x, rows, dim, 0, &found));
            assert_int_equal(found.duplicate_rows, duplicates);
            assert_int_equal(found.rows, rows);
            assert_non_null(found.metric);
            assert_non_null(found.why);
            if (rows == 0)
                assert_true(found.norm_min == 0 && found.norm_max == 0 && found.unit == 0);
            test_guarded_free(&guarded);
        }
    }
}

static void
test_unit_and_mixed(void **state)
{
    (void)state;
    fill(5, true);
    dotk_inspection found = inspect();
    assert_int_equal(found.unit_rows, ROWS);
    assert_int_equal(found.unit, 1);
    assert_int_equal(found.mixed, 0);
    assert_string_equal(found.metric, "dot");

    row(77)[0] += 3; /* one row that escaped */
    found = inspect();
    assert_int_equal(found.unit, 0);
    assert_int_equal(found.mixed, 1);
    assert_string_equal(found.metric, "cosine");

    for (size_t i = ROWS / 20; i < ROWS; i++) { /* 5 % are unit length */
        for (size_t d = 0; d < DIM; d++)
            row(i)[d] *= 3;
    }
    assert_int_equal(inspect().mixed, 1);

    uint64_t seed = 6; /* lengths around 1, from 0.98 to 1.02: some hit it by chance */
    fill(7, true);
    for (size_t i = 0; i < ROWS; i++) {
        const float length = 1 + 0.02f * test_random_float(&seed);
        for (size_t d = 0; d < DIM; d++)
            row(i)[d] *= length;
    }
    found = inspect();
    assert_true(found.unit_rows > ROWS / 100);
    assert_int_equal(found.mixed, 0);
}

static void
test_advice(void **state)
{
    (void)state;
    fill(8, false);
    for (size_t i = 0; i < ROWS * STRIDE; i++)
        vectors[i] = fabsf(vectors[i]);
    assert_string_equal(inspect().metric, "l2");
    row(ROWS - 1)[DIM - 1] = -1;
    assert_string_equal(inspect().metric, "cosine");
    for (size_t i = 0; i < ROWS; i++)
        memset(row(i), 0, DIM * sizeof(float));
    assert_string_equal(inspect().metric, "l2");
    assert_int_equal(inspect().zero_rows, ROWS);
}

/* The same answer, to the bit, whatever the threads. */
static void
test_threads(void **state)
{
    dotk_inspection first = {0};

    (void)state;
    fill(9, false);
    memcpy(row(700), row(3700), DIM * sizeof(float));
    for (uint32_t threads = 1; threads <= 4; threads++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        dotk_inspection found = {0};
        options.threads = threads;
        assert_ok(dotk_context_create(&options, &context));
        /* Several blocks: seen as rows of one value. */
        assert_ok(dotk_inspect(context, vectors, ROWS * STRIDE, 1, 1, &found));
        assert_ok(dotk_inspect(context, vectors, ROWS, DIM, STRIDE, &found));
        dotk_context_destroy(context);
        if (threads == 1)
            first = found;
        assert_int_equal(found.duplicate_rows, 1);
        assert_memory_equal(&found, &first, sizeof found);
    }
}

static int
cancel(void *user, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    return --*(int *)user < 0;
}

static void
test_cancelling(void **state)
{
    (void)state;
    fill(10, false);
    size_t cancelled = 0;
    for (int calls = 0;; calls++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        dotk_inspection found;
        int left = calls;
        options.threads = 2;
        options.progress = cancel;
        options.progress_user = &left;
        assert_ok(dotk_context_create(&options, &context));
        const dotk_status status = dotk_inspect(context, vectors, ROWS, DIM, STRIDE, &found);
        dotk_context_destroy(context);
        if (status == DOTK_OK)
            break;
        assert_status(status, DOTK_CANCELLED);
        cancelled++;
    }
    assert_true(cancelled >= 5); /* the rows, then four digits */
}

static dotk_status
inspect_in_context(void *user)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;
    dotk_inspection found;

    (void)user;
    options.threads = 2;
    dotk_status status = dotk_context_create(&options, &context);
    if (status == DOTK_OK)
        status = dotk_inspect(context, vectors, ROWS, DIM, STRIDE, &found);
    dotk_context_destroy(context);
    return status;
}

static void
test_no_memory(void **state)
{
    (void)state;
    fill(11, true);
    assert_true(test_alloc_fail_each(inspect_in_context, NULL) >= 6);
}

static void
test_bad_arguments(void **state)
{
    dotk_inspection out;

    (void)state;
    assert_status(dotk_inspect(NULL, NULL, 1, 1, 1, &out), DOTK_BAD_ARGUMENT);
    assert_status(dotk_inspect(NULL, vectors, 1, 1, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_inspect(NULL, vectors, 1, 0, 1, &out), DOTK_BAD_ARGUMENT);
    assert_status(dotk_inspect(NULL, vectors, 1, 5, 4, &out), DOTK_BAD_ARGUMENT);
    assert_message("dim is 5 and stride is 4");
    assert_status(dotk_inspect(NULL, vectors, SIZE_MAX / 4, 5, 5, &out), DOTK_BAD_ARGUMENT);
    assert_ok(dotk_inspect(NULL, NULL, 0, 1, 1, &out));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),          cmocka_unit_test(test_bad_rows),
        cmocka_unit_test(test_duplicates),     cmocka_unit_test(test_every_small_shape),
        cmocka_unit_test(test_unit_and_mixed), cmocka_unit_test(test_advice),
        cmocka_unit_test(test_threads),        cmocka_unit_test(test_cancelling),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_bad_arguments),
    };
    return cmocka_run_group_tests_name("vector/inspect", tests, NULL, NULL);
}
