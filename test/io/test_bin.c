/* test_bin.c - .fbin, .u8bin, .i8bin and .ibin */
#include "io/files.h"

static struct bytes
make_header(uint32_t rows, uint32_t dim)
{
    struct bytes bytes = {.size = 0};

    put_u32(&bytes, rows);
    put_u32(&bytes, dim);
    return bytes;
}

/* rows * dim values 0, 1, 2, ... of 4 bytes or 1; signed ones go below zero. */
static struct bytes
make_bin(uint32_t rows, uint32_t dim, size_t value_size)
{
    struct bytes bytes = make_header(rows, dim);

    for (uint32_t i = 0; i < rows * dim; i++) {
        if (value_size == 4)
            put_f32(&bytes, (float)i / 3);
        else
            put(&bytes, &(uint8_t){(uint8_t)(i * 23)}, 1);
    }
    return bytes;
}

static void
check_values(const dotk_vectors *vectors, size_t rows, size_t dim, const char *type)
{
    assert_int_equal(vectors->rows, rows);
    assert_int_equal(vectors->dim, dim);
    assert_int_equal(vectors->axes, 2);
    assert_int_equal(vectors->shape[0], rows);
    assert_int_equal(vectors->shape[1], dim);
    assert_string_equal(vectors->type, type);
    for (size_t i = 0; i < rows * dim; i++) {
        const float expected = strcmp(type, "f32") == 0  ? (float)i / 3
                               : strcmp(type, "u8") == 0 ? (float)(uint8_t)(i * 23)
                                                         : (float)(int8_t)(i * 23);
        assert_true(vectors->data[i] == expected);
    }
}

static void
test_every_kind(void **state)
{
    static const struct {
        const char *name, *format, *type;
        size_t value_size;
    } cases[] = {
        {"x.fbin", "fbin", "f32", 4},
        {"folder/x.u8bin", "u8bin", "u8", 1},
        {"x.i8bin.gz", "i8bin", "i8", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t rows = 0; rows <= 3; rows++) {
            for (uint32_t dim = 0; dim <= 70; dim += 7) {
                const struct bytes bytes = make_bin(rows, dim, cases[i].value_size);
                dotk_vectors *const vectors = parse_good(&bytes, cases[i].name, NULL);
                assert_string_equal(vectors->format, cases[i].format);
                check_values(vectors, rows, dim, cases[i].type);
                dotk_vectors_close(vectors);
            }
        }
    }
}

/* Mapped, since values begin at byte 8; smaller types are converted. */
static void
test_mapped_where_it_lies(void **state)
{
    char folder[TEST_PATH], path[TEST_PATH];
    const struct bytes f32 = make_bin(3, 5, 4), u8 = make_bin(3, 5, 1);
    dotk_vectors *vectors;

    (void)state;
    test_temp_folder(folder);
    test_temp_file(path, folder, "x.fbin", f32.data, f32.size);
    assert_ok(dotk_vectors_open(path, NULL, &vectors));
    assert_int_equal(vectors->mapped, 1);
    assert_int_equal(vectors->stride, 5);
    check_values(vectors, 3, 5, "f32");
    dotk_vectors_close(vectors);
    test_temp_file(path, folder, "x.u8bin", u8.data, u8.size);
    assert_ok(dotk_vectors_open(path, NULL, &vectors));
    assert_int_equal(vectors->mapped, 0);
    check_values(vectors, 3, 5, "u8");
    dotk_vectors_close(vectors);
    test_temp_remove(folder);
}

/* The number of rows may look like the mark of another format. */
static void
test_rows_that_look_like_marks(void **state)
{
    static const struct {
        uint32_t rows;
        const char *mark;
    } cases[] = {
        {0x00088b1f, "gzip"},
        {0x04034b50, "zip"},
        {0x02080000, "idx"},
        {0x4d554e93, "npy"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes bytes = make_header(cases[i].rows, 0);
        assert_ok(parse_guarded(&bytes, "x.fbin", NULL));
        assert_ok(parse_guarded(&bytes, "x.u8bin", NULL));
        assert_ok(parse_guarded(&bytes, "x.i8bin", NULL));
        put(&bytes, "x", 1);
        assert_true(parse_guarded(&bytes, "x.fbin", NULL) != DOTK_OK);
        assert_true(parse_guarded(&bytes, "x.u8bin", NULL) != DOTK_OK);
    }
    /* And a .npy file that is only called .fbin is still one. */
    static const char npy[] = "\x93NUMPY\1\0\x40\0{'descr': '|u1', 'fortran_order': False, "
                              "'shape': (2,)}          ab";
    struct bytes bytes = {.size = 0};
    put(&bytes, npy, sizeof npy - 1);
    bytes.data[8] = (uint8_t)(bytes.size - 12);
    dotk_vectors *const vectors = parse_good(&bytes, "x.fbin", NULL);
    assert_string_equal(vectors->format, "npy");
    dotk_vectors_close(vectors);
}

static void
test_sizes_beyond_the_file(void **state)
{
    static const struct {
        uint32_t rows, dim;
    } cases[] = {
        {0xffffffff, 0xffffffff},
        {0x80000000, 0x80000000},
        {0x40000000, 4},
        {1, 0xffffffff},
        {0x10000, 0x10000},
        {0xffffffff, 1},
        {4, 3},
        {3, 4},
        {2, 3},
        {0, 3},
        {3, 0},
        {0x55555556, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes f32 = make_bin(3, 3, 4), u8 = make_bin(3, 3, 1);
        memcpy(f32.data, &cases[i], 8);
        memcpy(u8.data, &cases[i], 8);
        assert_status(parse_guarded(&f32, "x.fbin", NULL), DOTK_CORRUPT);
        assert_status(parse_guarded(&u8, "x.u8bin", NULL), DOTK_CORRUPT);
        assert_status(parse_guarded(&u8, "x.i8bin", NULL), DOTK_CORRUPT);
        assert_message(i == 0 ? "bytes follow the header, which promises 18446744065119617025"
                              : "bytes follow the header");
        if (i <= 1) {
            assert_status(parse_guarded(&f32, "x.fbin", NULL), DOTK_CORRUPT);
            assert_message("more values than can be counted");
        }
    }
}

static void
test_damage(void **state)
{
    const struct bytes f32 = make_bin(2, 5, 4), u8 = make_bin(3, 7, 1);

    (void)state;
    check_every_length(&f32, "x.fbin", NULL);
    check_every_length(&u8, "x.u8bin", NULL);
    check_every_length(&u8, "x.i8bin", NULL);
    for (size_t at = 0; at < 8; at += 4) {
        check_huge_values(&f32, at, 4, false, "x.fbin");
        check_huge_values(&u8, at, 4, false, "x.u8bin");
        check_huge_values(&u8, at, 4, false, "x.i8bin");
    }
    check_every_byte(&f32, "x.fbin", NULL);
    check_every_byte(&u8, "x.i8bin", NULL);
}

static void
test_ibin(void **state)
{
    const struct bytes bytes = make_bin(1, 2, 4);

    (void)state;
    assert_status(parse_guarded(&bytes, "x.ibin", NULL), DOTK_UNSUPPORTED);
    assert_message("ground truth");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_mapped_where_it_lies),
        cmocka_unit_test(test_rows_that_look_like_marks),
        cmocka_unit_test(test_sizes_beyond_the_file),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_ibin),
    };
    return cmocka_run_group_tests_name("io/bin", tests, NULL, NULL);
}
