/*
 * test_search_store.c - indexes that keep f16, bf16 or int8 instead of f32
 *
 * Two things are held apart. What a stored row is: for halves the nearest one, worked out in
 * double precision; for int8 whole multiples of one scale, close to the row. And what a search
 * returns: exactly what the definition of a score gives for the stored rows, ids and bits.
 */
#include "api/search_reference.h"

static const dotk_store stores[] = {DOTK_STORE_F32, DOTK_STORE_F16, DOTK_STORE_BF16,
                                    DOTK_STORE_INT8};
enum { STORES = sizeof stores / sizeof *stores };

static dotk_index *
create_store(dotk_context *context, size_t dim, dotk_metric metric, dotk_store store,
             dotk_screen screen)
{
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;

    options.metric = metric;
    options.store = store;
    options.screen = screen;
    assert_ok(dotk_index_create(context, dim, &options, &index));
    return index;
}

/* The multiple of 'place' nearest to x, of two the even one. */
static float
nearest(float x, double place)
{
    return (float)(rint((double)x / place) * place);
}

/* x as a half, by arithmetic: within a power of two, halves are equally far apart. */
static float
as_half(dotk_store store, float x)
{
    const int exponent = x == 0 ? -1000 : ilogbf(x);

    if (store == DOTK_STORE_F16)
        return nearest(x, ldexp(1, (exponent > -14 ? exponent : -14) - 10));
    return nearest(x, ldexp(1, (exponent > -126 ? exponent : -126) - 7));
}

/* A row of an int8 store: codes times a scale that fits, and nowhere half a step away. */
static void
assert_codes(const float *stored, const float *row, size_t dim)
{
    float most = 0, stored_most = 0;
    double error = 0, norm = 0;

    for (size_t d = 0; d < dim; d++) {
        most = fmaxf(most, fabsf(row[d]));
        stored_most = fmaxf(stored_most, fabsf(stored[d]));
    }
    const double scale = stored_most / 127.0;
    for (size_t d = 0; d < dim; d++) {
        const double code = scale == 0 ? 0 : stored[d] / scale;
        assert_true(fabs(code - rint(code)) < 1e-4);
        assert_true(fabs((double)stored[d] - row[d]) <= most / 127 * 0.51 + 0.005 * fabs(row[d]));
        error += ((double)stored[d] - row[d]) * stored[d];
        norm += (double)stored[d] * stored[d];
    }
    /* The scale is the best for these codes: what is lost is at right angles to what is kept. */
    assert_true(fabs(error) <= 1e-6 * norm);
}

/* out = the row that a store keeps of x (of a unit vector, under cosine). */
static void
stored_row(dotk_store store, size_t dim, const float *x, float *out)
{
    dotk_index *const index = create_store(NULL, dim, DOTK_METRIC_DOT, store, DOTK_SCREEN_NONE);

    assert_ok(dotk_index_add(index, 1, x, 0, NULL));
    assert_ok(dotk_index_reconstruct(index, 0, out));
    dotk_index_destroy(index);
}

/* A reference whose rows are scored as 'store' keeps them. */
static void
reference_store(struct reference *ref, dotk_store store, size_t start)
{
    float *const row = allocate(ref->dim, sizeof *row);

    for (size_t p = start; p < ref->count; p++) {
        float *const unit = ref->units + p * ref->dim;
        stored_row(store, ref->dim, unit, row);
        memcpy(unit, row, ref->dim * sizeof *row);
    }
    free(row);
}

static bool
is_odd(const void *user, int64_t id)
{
    (void)user;
    return id % 2 != 0;
}

/* ------------------------------------------------------------------------- */
/*  What is stored                                                           */
/* ------------------------------------------------------------------------- */

static void
rows_are_rounded_to_nearest(void **state)
{
    enum { DIM = 77, ROUNDS = 300 };
    uint64_t seed = 1;
    float row[DIM], stored[DIM];

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t d = 0; d < DIM; d++)
            row[d] = ldexpf(test_random_float(&seed), (int)test_random_below(&seed, 40) - 26);
        for (size_t s = 0; s < STORES; s++) {
            stored_row(stores[s], DIM, row, stored);
            if (stores[s] == DOTK_STORE_INT8)
                assert_codes(stored, row, DIM);
            for (size_t d = 0; d < DIM && stores[s] != DOTK_STORE_INT8; d++)
                assert_true(stored[d] ==
                            (stores[s] == DOTK_STORE_F32 ? row[d] : as_half(stores[s], row[d])));
        }
    }
}

/* Under cosine the row comes back at its own length, as exact as its store. */
static void
rows_come_back(void **state)
{
    enum { DIM = 40, COUNT = 150 };
    static const float within[STORES] = {0x1p-22f, 0x1p-10f, 0x1p-7f, 0.02f};
    uint64_t seed = 2;
    float rows[COUNT * DIM], back[DIM];

    (void)state;
    test_random_normals(&seed, rows, COUNT * DIM);
    for (size_t s = 0; s < STORES; s++) {
        dotk_index *const index = create_store(NULL, DIM, DOTK_METRIC_COSINE, stores[s],
                                               DOTK_SCREEN_NONE);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        for (size_t i = 0; i < COUNT; i++) {
            const float *const row = rows + i * DIM;
            float length = 0;
            for (size_t d = 0; d < DIM; d++)
                length += row[d] * row[d];
            assert_ok(dotk_index_reconstruct(index, (int64_t)i, back));
            for (size_t d = 0; d < DIM; d++)
                assert_true(fabsf(back[d] - row[d]) <= within[s] * sqrtf(length));
        }
        dotk_index_destroy(index);
    }
}

/* ------------------------------------------------------------------------- */
/*  What is found                                                            */
/* ------------------------------------------------------------------------- */

struct sizes {
    size_t dim, count, queries, k;
};

/* Searches a changed index of one kind, all at once and in pieces, with a filter and a range. */
static void
check_search(dotk_context *context, dotk_metric metric, dotk_store store, dotk_screen screen,
             const struct reference *ref, const struct sizes *sizes, const float *rows,
             const float *queries)
{
    const size_t dim = sizes->dim, half = sizes->count / 2, n = sizes->queries;
    dotk_index *const index = create_store(context, dim, metric, store, screen);
    struct answer answer = answer_create(n, sizes->k);
    uint8_t *const odd = malloc(sizes->count / 8 + 1);
    const dotk_filter filter = {odd, sizes->count, NULL, 0};
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_search_stats stats;
    const int64_t last = (int64_t)sizes->count - 1, first = 0;

    memset(odd, 0xaa, sizes->count / 8 + 1);
    /* The first row comes last and goes; the last row is another one at first. */
    assert_ok(dotk_index_add(index, half, rows, 0, NULL));
    assert_ok(dotk_index_add(index, sizes->count - half, rows + half * dim, 0, NULL));
    assert_ok(dotk_index_update(index, 1, rows, 0, &last));
    assert_ok(dotk_index_update(index, 1, rows + (sizes->count - 1) * dim, 0, &last));
    assert_ok(dotk_index_remove(index, 1, &first));

    params.stats = &stats;
    search(index, queries, dim, &params, n, &answer);
    assert_answer(ref, queries, dim, NULL, NULL, &answer);
    char kernel[20];
    snprintf(kernel, sizeof kernel, "screen_%s_", dotk_store_name(store));
    if (store == DOTK_STORE_INT8 || screen == DOTK_SCREEN_INT8) {
        assert_string_equal(stats.path, "screened");
    } else {
        assert_string_equal(stats.path, n <= 8 ? "few" : "batch");
        assert_int_equal(strncmp(stats.kernel, kernel, strlen(kernel)) == 0, n <= 8);
    }
    search(index, queries, dim, NULL, 1, &answer);
    assert_answer(ref, queries, dim, NULL, NULL, &answer);
    params.filter = &filter;
    search(index, queries, dim, &params, n, &answer);
    assert_answer(ref, queries, dim, is_odd, NULL, &answer);

    dotk_hits *hits;
    const float limit = answer.scores[answer.counts[0] - 1];
    assert_ok(dotk_index_range(index, 1, queries, 0, limit, &params, &hits));
    assert_int_equal(hits->starts[1], answer.counts[0]);
    assert_memory_equal(hits->ids, answer.ids, answer.counts[0] * sizeof *hits->ids);
    assert_memory_equal(hits->scores, answer.scores, answer.counts[0] * sizeof *hits->scores);
    dotk_hits_destroy(hits);
    free(odd);
    answer_destroy(&answer);
    dotk_index_destroy(index);
}

/* All contexts and screens must give the answer of the stored rows. */
static void
check_sizes(const struct sizes *sizes, bool outliers)
{
    uint64_t seed = sizes->dim + sizes->count;
    float *const rows = allocate(sizes->count * sizes->dim, sizeof *rows);
    float *const queries = allocate(sizes->queries * sizes->dim, sizeof *queries);

    test_random_normals(&seed, rows, sizes->count * sizes->dim);
    test_random_normals(&seed, queries, sizes->queries * sizes->dim);
    for (size_t i = 0; outliers && i < sizes->count; i++)
        rows[i * sizes->dim + i % sizes->dim] *= 1000;
    for (size_t m = 0; m < METRICS; m++) {
        for (size_t s = 0; s < STORES; s++) {
            struct reference ref = reference_create(metrics[m], sizes->count, sizes->dim);
            for (size_t i = 1; i < sizes->count; i++) {
                const int64_t id = (int64_t)i;
                reference_add(&ref, 1, rows + i * sizes->dim, 0, &id);
            }
            reference_store(&ref, stores[s], 0);
            for (size_t c = 0; c < all_count; c++) {
                check_search(contexts[c], metrics[m], stores[s], DOTK_SCREEN_NONE, &ref, sizes,
                             rows, queries);
                check_search(contexts[c], metrics[m], stores[s], DOTK_SCREEN_INT8, &ref, sizes,
                             rows, queries);
            }
            reference_destroy(&ref);
        }
    }
    free(rows);
    free(queries);
}

static void
answers_are_those_of_the_stored_rows(void **state)
{
    static const struct sizes sizes[] = {
        {1, 5, 3, 4},     {3, 64, 1, 5},    {16, 65, 9, 70},    {37, 190, 2, 7},
        {64, 200, 70, 5}, {100, 333, 8, 3}, {301, 129, 17, 10},
    };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_sizes(&sizes[i], i % 2 != 0);
}

/* Enough rows for several tasks of every thread, blocks and panels skipped and not. */
static void
answers_of_many_rows(void **state)
{
    static const struct sizes few = {19, 3000, 2, 6}, many = {24, 2500, 12, 20};

    (void)state;
    check_sizes(&few, false);
    check_sizes(&many, true);
}

/* ------------------------------------------------------------------------- */
/*  What is refused, and what it costs                                       */
/* ------------------------------------------------------------------------- */

static void
what_f16_cannot_hold_is_refused(void **state)
{
    enum { DIM = 3 };
    static const float fits[DIM] = {1, -65519.996f, 2}, beyond[2 * DIM] = {1, 2, 3, 1, 2, -65520};
    static const int64_t id = 0;
    dotk_index *index = create_store(NULL, DIM, DOTK_METRIC_DOT, DOTK_STORE_F16, DOTK_SCREEN_NONE);
    float row[DIM];

    (void)state;
    assert_status(dotk_index_add(index, 2, beyond, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_message("rows[1] has -65520 at dimension 2");
    assert_message("store bf16");
    assert_int_equal(dotk_index_count(index), 0);
    assert_ok(dotk_index_add(index, 1, fits, 0, NULL));
    assert_status(dotk_index_update(index, 1, beyond + DIM, 0, &id), DOTK_BAD_ARGUMENT);
    assert_message("rows[0] has -65520 at dimension 2");
    assert_ok(dotk_index_reconstruct(index, 0, row));
    assert_true(row[0] == 1 && row[1] == -65504 && row[2] == 2);
    dotk_index_destroy(index);

    index = create_store(NULL, DIM, DOTK_METRIC_L2, DOTK_STORE_BF16, DOTK_SCREEN_NONE);
    assert_ok(dotk_index_add(index, 2, beyond, 0, NULL));
    dotk_index_destroy(index);
    index = create_store(NULL, DIM, DOTK_METRIC_COSINE, DOTK_STORE_F16, DOTK_SCREEN_NONE);
    assert_ok(dotk_index_add(index, 2, beyond, 0, NULL)); /* unit vectors fit */
    dotk_index_destroy(index);
}

static void
unknown_stores_are_refused(void **state)
{
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;

    (void)state;
    options.store = (dotk_store)4;
    assert_status(dotk_index_create(NULL, 3, &options, &index), DOTK_BAD_ARGUMENT);
    assert_message("options->store is 4");
    assert_null(index);
    assert_string_equal(dotk_store_name(DOTK_STORE_F32), "f32");
    assert_string_equal(dotk_store_name(DOTK_STORE_F16), "f16");
    assert_string_equal(dotk_store_name(DOTK_STORE_BF16), "bf16");
    assert_string_equal(dotk_store_name(DOTK_STORE_INT8), "int8");
    assert_null(dotk_store_name((dotk_store)4));
}

/* Bytes that an index of 'count' rows of 'dim' asks for, as its header says. */
static void
a_row_takes_what_it_says(void **state)
{
    enum { DIM = 256, COUNT = 640 };
    static const size_t bytes[STORES] = {4 * DIM, 2 * DIM, 2 * DIM, DIM + 16};
    static float rows[COUNT * DIM];
    uint64_t seed = 3;

    (void)state;
    test_random_normals(&seed, rows, COUNT * DIM);
    for (size_t s = 0; s < STORES; s++) {
        struct test_alloc counted;
        test_alloc_install(&counted);
        dotk_index *const index = create_store(NULL, DIM, DOTK_METRIC_DOT, stores[s],
                                               DOTK_SCREEN_NONE);
        assert_ok(dotk_index_add(index, COUNT, rows, 0, NULL));
        const size_t used = counted.bytes;
        dotk_index_destroy(index);
        test_alloc_remove();
        assert_true(used >= COUNT * bytes[s]);
        assert_true(used <= COUNT * bytes[s] + 16 * DIM + 4096);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_rounded_to_nearest),
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(answers_are_those_of_the_stored_rows),
        cmocka_unit_test(answers_of_many_rows),
        cmocka_unit_test(what_f16_cannot_hold_is_refused),
        cmocka_unit_test(unknown_stores_are_refused),
        cmocka_unit_test(a_row_takes_what_it_says),
    };
    return cmocka_run_group_tests(tests, create_contexts, destroy_contexts);
}
