/*
 * test_open.c - which format a file is, how it is held, and what is no vector file at all;
 * headerless files
 */
#include "io/files.h"
#include "temp.h"

#include "float_mode.h"

static dotk_vectors_options
raw(dotk_raw_type type, size_t dim)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    options.raw = type;
    options.dim = dim;
    return options;
}

static void
test_raw(void **state)
{
    const dotk_vectors_options f32 = raw(DOTK_RAW_F32, 3), u8 = raw(DOTK_RAW_U8, 8);
    struct bytes bytes = {.size = 0};
    dotk_vectors *vectors;

    (void)state;
    for (int i = 0; i < 6; i++)
        put_f32(&bytes, (float)i);
    vectors = parse_good(&bytes, "x", &f32);
    assert_int_equal(vectors->rows, 2);
    assert_int_equal(vectors->dim, 3);
    assert_string_equal(vectors->format, "raw");
    assert_memory_equal(vectors->data, bytes.data, bytes.size);
    dotk_vectors_close(vectors);
    vectors = parse_good(&bytes, "x.npy", &u8); /* as told, whatever the name is */
    assert_int_equal(vectors->rows, 3);
    assert_string_equal(vectors->type, "u8");
    for (size_t i = 0; i < bytes.size; i++)
        assert_true(vectors->data[i] == bytes.data[i]);
    dotk_vectors_close(vectors);

    const dotk_vectors_options one = raw(DOTK_RAW_F32, 6);
    check_every_length(&bytes, "x", &one);
    const dotk_vectors_options five = raw(DOTK_RAW_F32, 5), huge = raw(DOTK_RAW_F32, SIZE_MAX / 2);
    assert_status(parse_guarded(&bytes, "x", &five), DOTK_CORRUPT);
    assert_message("24 bytes are no whole number of rows of 5 f32 values (20 bytes)");
    assert_status(dotk_vectors_parse(bytes.data, bytes.size, "x", &huge, &vectors),
                  DOTK_BAD_ARGUMENT);
    assert_message("options->dim");

    test_temp_file(path, folder, "raw", bytes.data, bytes.size);
    assert_ok(dotk_vectors_open(path, &f32, &vectors));
    assert_int_equal(vectors->mapped, 1);
    assert_memory_equal(vectors->data, bytes.data, bytes.size);
    dotk_vectors_close(vectors);
}

/* The same six bytes as every type of small values. */
static void
test_raw_of_small_types(void **state)
{
    static const struct {
        dotk_raw_type type;
        const char *name;
        size_t count;
        float values[6];
    } cases[] = {
        {DOTK_RAW_F16, "f16", 3, {1, -2, 0x1p-24f}},
        {DOTK_RAW_BF16, "bf16", 3, {0x1p-7f, -0x1p1f, 0x1p-133f}},
        {DOTK_RAW_I8, "i8", 6, {0, 60, 0, -64, 1, 0}},
        {DOTK_RAW_U8, "u8", 6, {0, 60, 0, 192, 1, 0}},
    };
    const uint16_t halves[] = {0x3c00, 0xc000, 0x0001};
    struct bytes bytes = {.size = 0};

    (void)state;
    put(&bytes, halves, sizeof halves);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const dotk_vectors_options options = raw(cases[i].type, cases[i].count);
        dotk_vectors *const vectors = parse_good(&bytes, "x", &options);
        assert_string_equal(vectors->type, cases[i].name);
        assert_int_equal(vectors->rows, 1);
        assert_int_equal(vectors->dim, cases[i].count);
        assert_memory_equal(vectors->data, cases[i].values, cases[i].count * sizeof(float));
        dotk_vectors_close(vectors);
        check_every_length(&bytes, "x", &options);
        const dotk_vectors_options five = raw(cases[i].type, 5);
        assert_status(parse_guarded(&bytes, "x", &five), DOTK_CORRUPT);
        assert_message(cases[i].name);
    }
}

static void
test_bad_arguments(void **state)
{
    dotk_vectors *vectors;
    dotk_vectors_options wrong[] = {raw(DOTK_RAW_F32, 0), raw(DOTK_RAW_NONE, 3),
                                    raw((dotk_raw_type)6, 3), raw(DOTK_RAW_U8, 3)};

    (void)state;
    wrong[3].struct_size--;
    for (size_t i = 0; i < 4; i++) {
        vectors = (dotk_vectors *)(uintptr_t)1;
        assert_status(dotk_vectors_parse("x", 1, "x", &wrong[i], &vectors), DOTK_BAD_ARGUMENT);
        assert_message("options->");
        assert_null(vectors);
        vectors = (dotk_vectors *)(uintptr_t)1;
        assert_status(dotk_vectors_open("x", &wrong[i], &vectors), DOTK_BAD_ARGUMENT);
        assert_null(vectors);
    }
    assert_status(dotk_vectors_parse(NULL, 1, "x", NULL, &vectors), DOTK_BAD_ARGUMENT);
    assert_message("bytes is NULL");
    assert_status(dotk_vectors_parse("x", 1, NULL, NULL, &vectors), DOTK_BAD_ARGUMENT);
    assert_message("name is NULL");
    assert_status(dotk_vectors_parse("x", 1, "x", NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
    assert_status(dotk_vectors_open("x", NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_message("out is NULL");
    assert_status(dotk_vectors_open(NULL, NULL, &vectors), DOTK_BAD_ARGUMENT);
    assert_message("path is NULL");
    dotk_vectors_close(NULL);
}

static void
test_no_vector_file(void **state)
{
    static const struct {
        const char *name, *bytes, *message;
        dotk_status status;
    } cases[] = {
        {"x.txt", "hello world", "neither .npy, .fvecs, .bvecs, .fbin", DOTK_UNSUPPORTED},
        {"x", "\x1f\x8b\x08 and so on", "gzip", DOTK_UNSUPPORTED},
        {"x.npz", "PK\3\4 and so on", "zip archive", DOTK_UNSUPPORTED},
        {"x.npy", "hello world", "does not start as a .npy", DOTK_CORRUPT},
        {"x.idx", "hello world", "does not start as an IDX", DOTK_CORRUPT},
        {"x.npy", "", "is empty", DOTK_CORRUPT},
        {"fvecs", "hello world", "neither", DOTK_UNSUPPORTED},
        {"fbin", "hello world", "neither", DOTK_UNSUPPORTED},
        {"", "hello world", "neither", DOTK_UNSUPPORTED},
        {".gz", "hello world", "neither", DOTK_UNSUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = {.size = 0};
        put(&bytes, cases[i].bytes, strlen(cases[i].bytes));
        assert_status(parse_guarded(&bytes, cases[i].name, NULL), cases[i].status);
        assert_message(cases[i].message);
    }
}

static void
test_what_cannot_be_opened(void **state)
{
    dotk_vectors *vectors;
    const dotk_vectors_options u8 = raw(DOTK_RAW_U8, 1);

    (void)state;
    assert_status(dotk_vectors_open(folder, NULL, &vectors), DOTK_IO);
    assert_message("Is a directory");
    snprintf(path, sizeof path, "%.400s/fifo.npy", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_status(dotk_vectors_open(path, NULL, &vectors), DOTK_IO);
    assert_message("fifo.npy: is a pipe or device");
    assert_status(dotk_vectors_open("no/such/file.npy", NULL, &vectors), DOTK_IO);
    assert_message("no/such/file.npy: cannot open: No such file");
    test_temp_file(path, folder, "empty.npy", "", 0);
    assert_status(dotk_vectors_open(path, NULL, &vectors), DOTK_CORRUPT);
    assert_message("empty.npy: is empty");
    assert_status(dotk_vectors_open(path, &u8, &vectors), DOTK_CORRUPT);
    test_temp_file(path, folder, "secret.npy", "x", 1);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() != 0) {
        assert_status(dotk_vectors_open(path, NULL, &vectors), DOTK_IO);
        assert_message("Permission denied");
    }
    assert_null(vectors);
}

/* Values off a 4-byte boundary are copied; on one they are used where they are. */
static void
test_alignment_in_the_file(void **state)
{
    const float values[] = {1, 2, 3};

    (void)state;
    for (size_t pad = 0; pad < 4; pad++) {
        struct bytes bytes = {.size = 0};
        char header[80];
        dotk_vectors *vectors;
        const int length = snprintf(header, sizeof header,
                                    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3)}%*s",
                                    (int)pad, "");
        put(&bytes, "\x93NUMPY\1\0", 8);
        put(&bytes, &(uint16_t){(uint16_t)length}, 2);
        put(&bytes, header, (size_t)length);
        const bool aligned = bytes.size % 4 == 0;
        put(&bytes, values, sizeof values);
        test_temp_file(path, folder, "x.npy", bytes.data, bytes.size);
        assert_ok(dotk_vectors_open(path, NULL, &vectors));
        assert_int_equal(vectors->mapped, aligned);
        assert_int_equal((uintptr_t)vectors->data % 4, 0);
        assert_memory_equal(vectors->data, values, sizeof values);
        dotk_vectors_close(vectors);
        for (size_t shift = 0; shift < 4; shift++) { /* and off any boundary in memory */
            uint8_t moved[sizeof bytes.data + 4];
            memcpy(moved + shift, bytes.data, bytes.size);
            assert_ok(dotk_vectors_parse(moved + shift, bytes.size, "x", NULL, &vectors));
            assert_memory_equal(vectors->data, values, sizeof values);
            dotk_vectors_close(vectors);
        }
    }
}

/* Whether the file is mapped into this process. */
static bool
is_mapped(void)
{
    char line[1024];
    bool found = false;
    FILE *const maps = fopen("/proc/self/maps", "r");

    test_require(maps != NULL, "/proc/self/maps");
    while (fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, path) != NULL;
    fclose(maps);
    return found;
}

static void
test_nothing_stays_mapped(void **state)
{
    const dotk_vectors_options f32 = raw(DOTK_RAW_F32, 1), u8 = raw(DOTK_RAW_U8, 1);
    dotk_vectors *vectors;

    (void)state;
    test_temp_file(path, folder, "x.raw", "abcd", 4);
    assert_ok(dotk_vectors_open(path, &f32, &vectors));
    assert_true(is_mapped());
    dotk_vectors_close(vectors);
    assert_false(is_mapped());
    assert_ok(dotk_vectors_open(path, &u8, &vectors)); /* converted */
    assert_false(is_mapped());
    dotk_vectors_close(vectors);
    assert_status(dotk_vectors_open(path, NULL, &vectors), DOTK_UNSUPPORTED);
    assert_false(is_mapped());
}

/* A caller that flushes denormals still gets them from an f64 file. */
static void
test_float_mode(void **state)
{
    (void)state;
    const double f64 = 1e-40;
    struct bytes bytes = {.size = 0};
    char header[80];
    dotk_vectors *vectors;

    const int length = snprintf(header, sizeof header,
                                "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}");
    put(&bytes, "\x93NUMPY\1\0", 8);
    put(&bytes, &(uint16_t){(uint16_t)length}, 2);
    put(&bytes, header, (size_t)length);
    put(&bytes, &f64, sizeof f64);
    const unsigned before = test_mode_get();
    test_mode_set(before | TEST_MODE_FLUSH);
    const dotk_status status = dotk_vectors_parse(bytes.data, bytes.size, "x", NULL, &vectors);
    const unsigned after = test_mode_get();
    test_mode_set(before);
    assert_ok(status);
    assert_int_equal(after & TEST_MODE_FLUSH, TEST_MODE_FLUSH);
    assert_true(vectors->data[0] == 1e-40f);
    dotk_vectors_close(vectors);
}

static dotk_status
open_converted(void *user)
{
    const dotk_vectors_options u8 = raw(DOTK_RAW_U8, 2);
    dotk_vectors *vectors;
    const dotk_status status = dotk_vectors_open(user, &u8, &vectors);
    assert_true((vectors != NULL) == (status == DOTK_OK));
    dotk_vectors_close(vectors);
    return status;
}

static dotk_status
parse_converted(void *user)
{
    const dotk_vectors_options u8 = raw(DOTK_RAW_U8, 2);
    dotk_vectors *vectors;
    const dotk_status status = dotk_vectors_parse(user, 4, "x", &u8, &vectors);
    assert_true((vectors != NULL) == (status == DOTK_OK));
    dotk_vectors_close(vectors);
    return status;
}

static void
test_no_memory(void **state)
{
    (void)state;
    test_temp_file(path, folder, "raw", "abcd", 4);
    assert_int_equal(test_alloc_fail_each(open_converted, path), 2);
    assert_int_equal(test_alloc_fail_each(parse_converted, (char[]){"abcd"}), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_raw, temp_set_up, temp_tear_down),
        cmocka_unit_test(test_raw_of_small_types),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_no_vector_file),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_opened, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_alignment_in_the_file, temp_set_up, temp_tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_stays_mapped, temp_set_up, temp_tear_down),
        cmocka_unit_test(test_float_mode),
        cmocka_unit_test_setup_teardown(test_no_memory, temp_set_up, temp_tear_down),
    };
    return cmocka_run_group_tests_name("io/open", tests, NULL, NULL);
}
