/* test_idx.c - IDX, MNIST's format */
#include "io/files.h"

/* A header of this magic number and these axes. */
static struct bytes
make_idx(uint32_t magic, size_t axes, const uint32_t *shape)
{
    struct bytes bytes = {.size = 0};

    put_u32_big(&bytes, magic);
    for (size_t axis = 0; axis < axes; axis++)
        put_u32_big(&bytes, shape[axis]);
    return bytes;
}

static struct bytes
good_u8(void)
{
    struct bytes bytes = make_idx(0x00000803, 3, (const uint32_t[]){2, 3, 2});
    for (uint8_t i = 0; i < 12; i++)
        put(&bytes, &(uint8_t){(uint8_t)(i * 23)}, 1);
    return bytes;
}

static struct bytes
good_f32(void)
{
    struct bytes bytes = make_idx(0x00000d02, 2, (const uint32_t[]){3, 2});
    for (int i = 0; i < 6; i++) {
        const float value = (float)i / 3;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_u32_big(&bytes, bits);
    }
    return bytes;
}

static void
test_images(void **state)
{
    const struct bytes bytes = good_u8();
    dotk_vectors *const vectors = parse_good(&bytes, "images", NULL);

    (void)state;
    assert_int_equal(vectors->rows, 2);
    assert_int_equal(vectors->dim, 6);
    assert_int_equal(vectors->axes, 3);
    assert_int_equal(vectors->shape[1], 3);
    assert_string_equal(vectors->format, "idx");
    assert_string_equal(vectors->type, "u8");
    for (size_t i = 0; i < 12; i++)
        assert_true(vectors->data[i] == (float)(i * 23));
    dotk_vectors_close(vectors);
}

static void
test_labels(void **state)
{
    struct bytes bytes = make_idx(0x00000801, 1, (const uint32_t[]){3});
    (void)state;
    put(&bytes, "\5\0\4", 3);
    dotk_vectors *const vectors = parse_good(&bytes, "labels", NULL);
    assert_int_equal(vectors->rows, 3);
    assert_int_equal(vectors->dim, 1);
    assert_true(vectors->data[0] == 5 && vectors->data[1] == 0 && vectors->data[2] == 4);
    dotk_vectors_close(vectors);
}

static void
test_big_endian_floats(void **state)
{
    const struct bytes bytes = good_f32();
    dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);

    (void)state;
    assert_int_equal(vectors->rows, 3);
    assert_string_equal(vectors->type, "f32");
    for (int i = 0; i < 6; i++)
        assert_true(vectors->data[i] == (float)i / 3);
    dotk_vectors_close(vectors);
}

static void
test_unsupported(void **state)
{
    static const struct {
        uint32_t magic;
        const char *message;
    } cases[] = {
        {0x00000901, "0x09"},
        {0x00000b01, "0x0b"},
        {0x00000c01, "0x0c"},
        {0x00000e01, "0x0e"},
        {0x000008ff, "255 axes"},
        {0x03080000, "little-endian"}, /* 0x00000803 the other way round */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct bytes bytes = make_idx(cases[i].magic, 1, (const uint32_t[]){0});
        assert_status(parse_guarded(&bytes, "x-ubyte", NULL), DOTK_UNSUPPORTED);
        assert_message(cases[i].message);
    }
    const struct bytes bytes = make_idx(0x01020304, 1, (const uint32_t[]){0});
    assert_status(parse_guarded(&bytes, "x.idx", NULL), DOTK_CORRUPT);
    assert_message("does not start");
}

static void
test_damage(void **state)
{
    (void)state;
    const struct bytes u8 = good_u8(), f32 = good_f32();
    check_every_length(&u8, "x-ubyte", NULL);
    check_every_length(&f32, "x-ubyte", NULL);
    for (size_t axis = 0; axis < 3; axis++)
        check_huge_values(&u8, 4 + 4 * axis, 4, true, "x-ubyte");
    for (size_t axis = 0; axis < 2; axis++)
        check_huge_values(&f32, 4 + 4 * axis, 4, true, "x-ubyte");
    check_every_byte(&u8, "x-ubyte", NULL);
    check_every_byte(&f32, "x-ubyte", NULL);
}

/* 2^32 - 1 to the eighth power */
static void
test_product_that_overflows(void **state)
{
    const struct bytes bytes = make_idx(0x00000808, 8,
                                        (const uint32_t[]){~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u});
    (void)state;
    assert_status(parse_guarded(&bytes, "x", NULL), DOTK_CORRUPT);
    assert_message("more values than can be counted");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_big_endian_floats),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_product_that_overflows),
    };
    return cmocka_run_group_tests_name("io/idx", tests, NULL, NULL);
}
