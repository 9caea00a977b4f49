/* test_fvecs.c - .fvecs, .bvecs and .ivecs */
#include "io/files.h"

static struct bytes
make_fvecs(uint32_t rows, uint32_t dim)
{
    struct bytes bytes = {.size = 0};

    for (uint32_t row = 0; row < rows; row++) {
        put_u32(&bytes, dim);
        for (uint32_t d = 0; d < dim; d++)
            put_f32(&bytes, (float)(row * 100 + d));
    }
    return bytes;
}

static struct bytes
make_bvecs(uint32_t rows, uint32_t dim)
{
    struct bytes bytes = {.size = 0};

    for (uint32_t row = 0; row < rows; row++) {
        put_u32(&bytes, dim);
        for (uint32_t d = 0; d < dim; d++)
            put(&bytes, &(uint8_t){(uint8_t)(row * 100 + d)}, 1);
    }
    return bytes;
}

static void
check_rows(const dotk_vectors *vectors, size_t rows, size_t dim)
{
    assert_int_equal(vectors->rows, rows);
    assert_int_equal(vectors->dim, dim);
    assert_int_equal(vectors->axes, 2);
    assert_int_equal(vectors->shape[0], rows);
    assert_int_equal(vectors->shape[1], dim);
    for (size_t row = 0; row < rows; row++) {
        for (size_t d = 0; d < dim; d++)
            assert_true(vectors->data[row * vectors->stride + d] == (float)(row * 100 + d));
    }
}

static void
test_rows(void **state)
{
    (void)state;
    for (uint32_t rows = 1; rows <= 2; rows++) {
        for (uint32_t dim = 1; dim <= 70; dim += 23) {
            const struct bytes f = make_fvecs(rows, dim), b = make_bvecs(rows, dim);
            dotk_vectors *vectors = parse_good(&f, "x.fvecs", NULL);
            check_rows(vectors, rows, dim);
            assert_string_equal(vectors->format, "fvecs");
            assert_string_equal(vectors->type, "f32");
            dotk_vectors_close(vectors);
            vectors = parse_good(&b, "folder/x.bvecs.gz", NULL);
            check_rows(vectors, rows, dim);
            assert_string_equal(vectors->format, "bvecs");
            assert_string_equal(vectors->type, "u8");
            dotk_vectors_close(vectors);
        }
    }
}

/* Mapped: rows lie dim + 1 floats apart, the first one float into the file. */
static void
test_mapped_where_it_lies(void **state)
{
    char folder[TEST_PATH], path[TEST_PATH];
    const struct bytes bytes = make_fvecs(3, 5);
    dotk_vectors *vectors;

    (void)state;
    test_temp_folder(folder);
    test_temp_file(path, folder, "x.fvecs", bytes.data, bytes.size);
    assert_ok(dotk_vectors_open(path, NULL, &vectors));
    assert_int_equal(vectors->mapped, 1);
    assert_int_equal(vectors->stride, 6);
    check_rows(vectors, 3, 5);
    dotk_vectors_close(vectors);

    const struct bytes u8 = make_bvecs(2, 5);
    test_temp_file(path, folder, "x.bvecs", u8.data, u8.size);
    assert_ok(dotk_vectors_open(path, NULL, &vectors));
    assert_int_equal(vectors->mapped, 0);
    check_rows(vectors, 2, 5);
    dotk_vectors_close(vectors);
    test_temp_remove(folder);
}

static void
test_rows_of_another_dimension(void **state)
{
    (void)state;
    struct bytes bytes = make_fvecs(3, 5);
    bytes.data[48] = 4; /* row 2 */
    assert_status(parse_guarded(&bytes, "x.fvecs", NULL), DOTK_CORRUPT);
    assert_message("row 2 (byte 48) claims 4 values, row 0 has 5");
}

static void
test_other_byte_order(void **state)
{
    (void)state;
    struct bytes bytes = {.size = 0};
    put_u32_big(&bytes, 2);
    put_u32_big(&bytes, 0x3f800000);
    put_u32_big(&bytes, 0x3f800000);
    assert_status(parse_guarded(&bytes, "x.fvecs", NULL), DOTK_UNSUPPORTED);
    assert_message("big-endian");
}

static void
test_ivecs(void **state)
{
    (void)state;
    const struct bytes bytes = make_fvecs(1, 2);
    assert_status(parse_guarded(&bytes, "x.ivecs", NULL), DOTK_UNSUPPORTED);
    assert_message("ground truth");
}

static void
test_damage(void **state)
{
    (void)state;
    /* Row sizes that no shorter length is a multiple of, but for whole rows. */
    struct bytes f = make_fvecs(1, 5), b = make_bvecs(1, 5);
    check_every_length(&f, "x.fvecs", NULL);
    check_every_length(&b, "x.bvecs", NULL);
    check_huge_values(&f, 0, 4, false, "x.fvecs");
    check_huge_values(&b, 0, 4, false, "x.bvecs");
    f = make_fvecs(2, 2);
    b = make_bvecs(2, 2);
    check_huge_values(&f, 12, 4, false, "x.fvecs");
    check_huge_values(&b, 6, 4, false, "x.bvecs");
    check_every_byte(&f, "x.fvecs", NULL);
    check_every_byte(&b, "x.bvecs", NULL);
    memset(f.data, 0, 4); /* dimension 0 */
    assert_status(parse_guarded(&f, "x.fvecs", NULL), DOTK_CORRUPT);
    assert_message("row 0 claims 0 values");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_mapped_where_it_lies),
        cmocka_unit_test(test_rows_of_another_dimension),
        cmocka_unit_test(test_other_byte_order),
        cmocka_unit_test(test_ivecs),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("io/fvecs", tests, NULL, NULL);
}
