/* test_files.c - vector files through the public interface: saved, opened, real ones */
#include "temp.h"

#include <dotk/io.h>
#include <dotk/vector.h>

static int
set_up(void **state)
{
    (void)temp_set_up(state);
    snprintf(path, sizeof path, "%.400s/x.npy", folder);
    return 0;
}

static void
test_saved_and_opened(void **state)
{
    static const size_t shapes[][DOTK_MAX_AXES] = {
        {0}, {7}, {5, 3}, {2, 3, 4}, {0, 3}, {3, 0}, {1, 2, 1, 2, 1, 2, 1, 3}};
    static const size_t axes[] = {0, 1, 2, 3, 2, 2, 8};
    uint64_t seed = 1;
    float values[64];

    (void)state;
    test_random_floats(&seed, values, 64);
    for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++) {
        dotk_vectors *vectors;
        size_t count = 1;
        for (size_t axis = 0; axis < axes[i]; axis++)
            count *= shapes[i][axis];
        assert_ok(dotk_npy_save(path, DOTK_NPY_F32, values, axes[i], shapes[i]));
        assert_ok(dotk_vectors_open(path, NULL, &vectors));
        assert_int_equal(vectors->mapped, 1);
        assert_int_equal((uintptr_t)vectors->data % 64, 0);
        assert_int_equal(vectors->axes, axes[i]);
        assert_memory_equal(vectors->shape, shapes[i], axes[i] * sizeof(size_t));
        assert_int_equal(vectors->rows * vectors->dim, count);
        assert_memory_equal(vectors->data, values, count * sizeof(float));
        dotk_vectors_close(vectors);
    }
}

/* Byte for byte what numpy.save() (2.4) writes. */
static void
test_bytes_of_numpy(void **state)
{
    static const char expected[] =
        "\x93NUMPY\1\0v\0{'descr': '<i8', 'fortran_order': False, 'shape': (2, 1), }"
        "                                                          \n";
    const int64_t values[] = {-1, INT64_C(1) << 40};
    char found[256];

    (void)state;
    assert_ok(dotk_npy_save(path, DOTK_NPY_I64, values, 2, (const size_t[]){2, 1}));
    FILE *const file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(found, 1, sizeof found, file), 128 + sizeof values);
    fclose(file);
    assert_int_equal(sizeof expected - 1, 128);
    assert_memory_equal(found, expected, 128);
    assert_memory_equal(found + 128, values, sizeof values);
}

static void
test_bad_saves(void **state)
{
    const size_t shape[] = {SIZE_MAX / 2, 4};
    const float value = 1;

    (void)state;
    assert_status(dotk_npy_save(NULL, DOTK_NPY_F32, &value, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_message("path is NULL");
    assert_status(dotk_npy_save(path, DOTK_NPY_F32, &value, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    assert_status(dotk_npy_save(path, DOTK_NPY_F32, NULL, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_message("data is NULL");
    assert_status(dotk_npy_save(path, (dotk_npy_type)2, &value, 0, NULL), DOTK_BAD_ARGUMENT);
    assert_message("type is 2");
    assert_status(dotk_npy_save(path, DOTK_NPY_F32, &value, 9, shape), DOTK_BAD_ARGUMENT);
    assert_message("axes is 9");
    assert_status(dotk_npy_save(path, DOTK_NPY_F32, &value, 2, shape), DOTK_BAD_ARGUMENT);
    assert_message("overflows");
    assert_true(access(path, F_OK) != 0);
    assert_status(dotk_npy_save("/no/such/folder/x.npy", DOTK_NPY_F32, &value, 0, NULL), DOTK_IO);
    assert_message("/no/such/folder/x.npy");
    assert_status(dotk_npy_save("/dev/full", DOTK_NPY_F32, &value, 0, NULL), DOTK_IO);
    assert_ok(dotk_npy_save(path, DOTK_NPY_F32, NULL, 1, (const size_t[]){0}));
}

static dotk_status
save_once(void *user)
{
    return dotk_npy_save(path, DOTK_NPY_F32, user, 1, (const size_t[]){1});
}

static void
test_save_without_memory(void **state)
{
    float value = 1;
    (void)state;
    assert_true(test_alloc_fail_each(save_once, &value) > 0);
}

/* The descriptors of a texture: 128 whole numbers from 0 to 255 each. */
static void
test_real_fvecs(void **state)
{
    char real[TEST_PATH];
    dotk_vectors *vectors;
    dotk_inspection about;

    (void)state;
    if (test_data_path(real, "sift/siftsmall_query.fvecs") == NULL)
        skip();
    assert_ok(dotk_vectors_open(real, NULL, &vectors));
    assert_int_equal(vectors->mapped, 1);
    assert_int_equal(vectors->rows, 100);
    assert_int_equal(vectors->dim, 128);
    assert_int_equal(vectors->stride, 129);
    for (size_t row = 0; row < vectors->rows; row++) {
        for (size_t d = 0; d < vectors->dim; d++) {
            const float x = vectors->data[row * vectors->stride + d];
            assert_true(x >= 0 && x <= 255 && x == floorf(x));
        }
    }
    assert_ok(
        dotk_inspect(NULL, vectors->data, vectors->rows, vectors->dim, vectors->stride, &about));
    assert_int_equal(about.nan_rows + about.infinite_rows + about.zero_rows, 0);
    assert_string_equal(about.metric, "l2");
    dotk_vectors_close(vectors);
    assert_non_null(test_data_path(real, "sift/siftsmall_groundtruth.ivecs"));
    assert_status(dotk_vectors_open(real, NULL, &vectors), DOTK_UNSUPPORTED);
}

/* Word vectors of many lengths: direction is what counts. */
static void
test_real_raw(void **state)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    char real[TEST_PATH];
    dotk_vectors *vectors;
    dotk_inspection about;

    (void)state;
    if (test_data_path(real, "emb-googlenews/googlenews-8000x300.f32") == NULL)
        skip();
    options.raw = DOTK_RAW_F32;
    options.dim = 300;
    assert_ok(dotk_vectors_open(real, &options, &vectors));
    assert_int_equal(vectors->rows, 8000);
    assert_int_equal(vectors->mapped, 1);
    assert_ok(dotk_inspect(NULL, vectors->data, 8000, 300, 0, &about));
    assert_int_equal(about.unit, 0);
    assert_int_equal(about.mixed, 0);
    assert_true(about.norm_quantile[4] > 1.2 * about.norm_quantile[0]);
    assert_string_equal(about.metric, "cosine");
    dotk_vectors_close(vectors);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_saved_and_opened, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_bytes_of_numpy, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_bad_saves, set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_save_without_memory, set_up, temp_tear_down),
        cmocka_unit_test(test_real_fvecs),
        cmocka_unit_test(test_real_raw),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
