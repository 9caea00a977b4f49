/* test_generate.c - synthetic vectors: the same bits for any threads and parts, and the shape
 * that the header promises */
#include "support.h"

#include <dotk/machine.h>

enum { ROWS = 1000, DIM = 96 };

static dotk_context *
context_of(uint32_t threads)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = threads;
    assert_ok(dotk_context_create(&options, &context));
    return context;
}

static float *
floats(size_t count)
{
    float *const out = malloc(count * sizeof *out);
    assert_non_null(out);
    return out;
}

/* FNV-1a of the bytes. */
static uint64_t
hash_of(const void *bytes, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static void
the_bits_are_these(void **state)
{
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float *const rows = floats(ROWS * DIM);

    (void)state;
    assert_ok(dotk_generate(NULL, ROWS, DIM, NULL, rows));
    assert_int_equal(hash_of(rows, ROWS * DIM * sizeof *rows), UINT64_C(0x7ce97d6c80c9cfd8));
    options.queries = 1;
    assert_ok(dotk_generate(NULL, ROWS, DIM, &options, rows));
    assert_int_equal(hash_of(rows, ROWS * DIM * sizeof *rows), UINT64_C(0x549999fd53e51c24));
    options.kind = DOTK_GENERATE_UNIFORM;
    options.queries = 0;
    options.seed = 7;
    assert_ok(dotk_generate(NULL, ROWS, DIM, &options, rows));
    assert_int_equal(hash_of(rows, ROWS * DIM * sizeof *rows), UINT64_C(0x61927081af99f4e3));
    free(rows);
}

static void
threads_and_parts_change_nothing(void **state)
{
    enum { MANY = 40000, CUT = 12345 }; /* several tasks */
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float *const whole = floats(MANY * DIM), *const other = floats(MANY * DIM);

    (void)state;
    assert_ok(dotk_generate(NULL, MANY, DIM, NULL, whole));
    for (uint32_t threads = 2; threads <= 4; threads++) {
        dotk_context *const context = context_of(threads);
        memset(other, 0xff, MANY * DIM * sizeof *other);
        assert_ok(dotk_generate(context, MANY, DIM, NULL, other));
        assert_memory_equal(whole, other, MANY * DIM * sizeof *whole);
        dotk_context_destroy(context);
    }
    memset(other, 0xff, MANY * DIM * sizeof *other);
    assert_ok(dotk_generate(NULL, CUT, DIM, &options, other));
    options.first = CUT;
    assert_ok(dotk_generate(NULL, MANY - CUT, DIM, &options, other + CUT * DIM));
    assert_memory_equal(whole, other, MANY * DIM * sizeof *whole);
    free(whole);
    free(other);
}

static void
rows_are_unit_vectors(void **state)
{
    float *const rows = floats(ROWS * DIM);
    double mean = 0;

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        for (int queries = 0; queries < 2; queries++) {
            dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
            options.kind = (dotk_generate_kind)kind;
            options.queries = queries;
            assert_ok(dotk_generate(NULL, ROWS, DIM, &options, rows));
            for (size_t i = 0; i < ROWS; i++)
                assert_true(fabs(test_dot(rows + i * DIM, rows + i * DIM, DIM, NULL) - 1) < 1e-5);
            mean = 0;
            for (size_t i = 0; i < ROWS * DIM; i++)
                mean += rows[i] / (ROWS * DIM);
            /* 1 / sqrt(DIM) / sqrt(ROWS DIM) is 0.00033, more where rows share centres. */
            assert_true(fabs(mean) < 0.005);
        }
    }
    free(rows);
}

/*
 * Pairs of rows: of one centre with probability sum_i p_i^2 = (pi^2 / 6) / H^2 = 0.0156 for
 * p_i = 1 / ((i + 1) H), H = 10.28; those have a cosine of about 1 / 3.25, the others of about
 * 0 +- 1 / sqrt(D).
 */
static void
clusters_have_the_stated_sizes_and_width(void **state)
{
    enum { SOME = 600, WIDE = 768 };
    const double pairs = SOME * (SOME - 1) / 2.0;
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float *const rows = floats(SOME * WIDE);

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        double close = 0, cosine = 0, rest = 0;
        options.kind = (dotk_generate_kind)kind;
        assert_ok(dotk_generate(NULL, SOME, WIDE, &options, rows));
        for (size_t i = 0; i < SOME; i++) {
            for (size_t j = 0; j < i; j++) {
                const double dot = test_dot(rows + i * WIDE, rows + j * WIDE, WIDE, NULL);
                if (dot > 0.18) { /* 5 deviations from 0, 4 from 0.31 */
                    close++;
                    cosine += dot;
                } else {
                    rest += dot * dot;
                }
            }
        }
        assert_true(fabs(rest / (pairs - close) * WIDE - 1) < 0.1);
        if (options.kind == DOTK_GENERATE_UNIFORM) {
            assert_true(close == 0);
        } else {
            assert_true(close / pairs > 0.012 && close / pairs < 0.020);
            /* |c|^2 is 1 +- sqrt(2 / D), which moves the cosine by 0.011, and few centres count. */
            assert_true(fabs(cosine / close - 1 / 3.25) < 0.03);
        }
    }
    free(rows);
}

/* Queries share the centres of the rows, but are none of them; every tenth has no centre. */
static void
queries_are_fresh_draws(void **state)
{
    enum { BASE = 1500, ASKED = 200, WIDE = 768 };
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float *const rows = floats(BASE * WIDE), *const queries = floats(ASKED * WIDE);
    size_t near = 0, near_tenth = 0;

    (void)state;
    assert_ok(dotk_generate(NULL, BASE, WIDE, &options, rows));
    options.queries = 1;
    assert_ok(dotk_generate(NULL, ASKED, WIDE, &options, queries));
    for (size_t q = 0; q < ASKED; q++) {
        double best = -1;
        for (size_t i = 0; i < BASE; i++) {
            const double dot = test_dot(queries + q * WIDE, rows + i * WIDE, WIDE, NULL);
            best = dot > best ? dot : best;
        }
        assert_true(best < 0.6);
        near += q % 10 != 9 && best > 0.2;
        near_tenth += q % 10 == 9 && best > 0.2;
    }
    assert_int_equal(near_tenth, 0);
    assert_true(near > ASKED / 2); /* the rest chose a centre that no row chose */
    free(rows);
    free(queries);
}

static void
one_dimension_gives_ones(void **state)
{
    float row[5000];

    (void)state;
    assert_ok(dotk_generate(NULL, 5000, 1, NULL, row));
    for (size_t i = 0; i < 5000; i++)
        assert_true(row[i] == 1 || row[i] == -1);
    assert_ok(dotk_generate(NULL, 0, 3, NULL, NULL));
}

static void
bad_arguments_are_refused(void **state)
{
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float row[4];

    (void)state;
    assert_status(dotk_generate(NULL, 1, 0, NULL, row), DOTK_BAD_ARGUMENT);
    assert_message("dim is 0");
    assert_status(dotk_generate(NULL, 1, 65537, NULL, row), DOTK_BAD_ARGUMENT);
    assert_status(dotk_generate(NULL, 1, 4, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_generate(NULL, SIZE_MAX / 4, 4, NULL, row), DOTK_BAD_ARGUMENT);
    options.kind = (dotk_generate_kind)2;
    assert_status(dotk_generate(NULL, 1, 4, &options, row), DOTK_BAD_ARGUMENT);
    assert_message("options->kind is 2");
    options = (dotk_generate_options)DOTK_GENERATE_OPTIONS_INIT;
    options.struct_size = 3;
    assert_status(dotk_generate(NULL, 1, 4, &options, row), DOTK_BAD_ARGUMENT);
}

static int
stop_at_once(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    (void)done;
    (void)total;
    return 1;
}

static void
progress_cancels(void **state)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;
    float row[4];

    (void)state;
    options.progress = stop_at_once;
    assert_ok(dotk_context_create(&options, &context));
    assert_status(dotk_generate(context, 1, 4, NULL, row), DOTK_CANCELLED);
    dotk_context_destroy(context);
}

static dotk_status
generate_once(void *user)
{
    float row[4];
    dotk_context *context;

    (void)user;
    dotk_status status = dotk_context_create(NULL, &context);
    if (status == DOTK_OK)
        status = dotk_generate(context, 1, 4, NULL, row);
    dotk_context_destroy(context);
    return status;
}

static void
failing_allocations_are_reported(void **state)
{
    (void)state;
    assert_true(test_alloc_fail_each(generate_once, NULL) > 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bits_are_these),
        cmocka_unit_test(threads_and_parts_change_nothing),
        cmocka_unit_test(rows_are_unit_vectors),
        cmocka_unit_test(clusters_have_the_stated_sizes_and_width),
        cmocka_unit_test(queries_are_fresh_draws),
        cmocka_unit_test(one_dimension_gives_ones),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(progress_cancels),
        cmocka_unit_test(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
