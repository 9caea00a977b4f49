/* test_npy.c - .npy: what NumPy writes is read, anything else is refused with a reason */
#include "io/files.h"

static const float values[] = {1, -2, 0.5f, 3e38f, 1e-45f, 6};

/* A file of the version, header text and values. */
static struct bytes
make_npy(int version, const char *header, const void *data, size_t size)
{
    struct bytes bytes = {.size = 0};
    const uint8_t prefix[] = {0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)version, 0};
    const uint32_t length = (uint32_t)strlen(header);

    put(&bytes, prefix, sizeof prefix);
    put(&bytes, &length, version == 1 ? 2 : 4);
    put(&bytes, header, length);
    put(&bytes, data, size);
    return bytes;
}

/* The header as NumPy has it, with this shape. */
static const char *
header_of(const char *descr, const char *shape)
{
    static char text[256];
    snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }   \n",
             descr, shape);
    return text;
}

static struct bytes
good_file(void)
{
    return make_npy(1, header_of("<f4", "(2, 3)"), values, sizeof values);
}

static void
test_every_version(void **state)
{
    (void)state;
    for (int version = 1; version <= 3; version++) {
        const struct bytes bytes = make_npy(version, header_of("<f4", "(2, 3)"), values,
                                            sizeof values);
        dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);
        assert_int_equal(vectors->rows, 2);
        assert_int_equal(vectors->dim, 3);
        assert_int_equal(vectors->axes, 2);
        assert_int_equal(vectors->shape[0], 2);
        assert_int_equal(vectors->shape[1], 3);
        assert_string_equal(vectors->format, "npy");
        assert_string_equal(vectors->type, "f32");
        assert_memory_equal(vectors->data, values, sizeof values);
        dotk_vectors_close(vectors);
    }
}

static void
test_shapes(void **state)
{
    static const struct {
        const char *shape;
        size_t count, axes, rows, dim;
    } cases[] = {
        {"()", 1, 0, 1, 1},
        {"(6,)", 6, 1, 1, 6},
        {"(2, 3)", 6, 2, 2, 3},
        {"(1, 2, 3)", 6, 3, 2, 3},
        {"(3,2,1)", 6, 3, 6, 1},
        {"( 2 , 3 , )", 6, 2, 2, 3},
        {"(1, 1, 1, 1, 1, 1, 2, 3)", 6, 8, 2, 3},
        {"(0,)", 0, 1, 1, 0},
        {"(0, 3)", 0, 2, 0, 3},
        {"(3, 0)", 0, 2, 3, 0},
        {"(4611686018427387904, 0)", 0, 2, 4611686018427387904, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct bytes bytes = make_npy(1, header_of("<f4", cases[i].shape), values,
                                            4 * cases[i].count);
        dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);
        assert_int_equal(vectors->axes, cases[i].axes);
        assert_int_equal(vectors->rows, cases[i].rows);
        assert_int_equal(vectors->dim, cases[i].dim);
        assert_memory_equal(vectors->data, values, 4 * cases[i].count);
        dotk_vectors_close(vectors);
    }
}

/* Keys in any order, either quote, spaces anywhere, no trailing comma, no newline. */
static void
test_spelling(void **state)
{
    static const char *const good[] = {
        "{'shape': (2, 3), 'descr': '<f4', 'fortran_order': False}",
        "{\"fortran_order\":False,\"shape\":(2,3),\"descr\":\"<f4\"}\n",
        "  {  'descr'  :  '<f4'  ,  'fortran_order' : False , 'shape' : (2, 3) , }  ",
    };
    static const char *const bad[] = {
        "",
        " ",
        "\n",
        "{",
        "{}",
        "[]",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), ",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<f4', 'shape': (2, 3)}",
        "{'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr' '<f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': false, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}",
        "{'descr': <f4, 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<\\x66 4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f\t4', 'fortran_order': False, 'shape': (2, 3)}",
        "{descr: '<f4', 'fortran_order': False, 'shape': (2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 6}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3]}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (+2, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (02, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 3)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999999999999999)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 18446744073709551616)}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const struct bytes bytes = make_npy(1, good[i], values, sizeof values);
        assert_ok(parse_guarded(&bytes, "x", NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct bytes bytes = make_npy(1, bad[i], values, sizeof values);
        if (parse_guarded(&bytes, "x", NULL) != DOTK_CORRUPT)
            fail_msg("%s: not refused as malformed", bad[i]);
    }
}

/* What NumPy may write and this does not read: the message says what to do. */
static void
test_unsupported(void **state)
{
    static const struct {
        const char *header, *message;
    } cases[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}", "ascontiguousarray"},
        {"{'descr': '>f8', 'fortran_order': False, 'shape': (2, 3)}", "'>f8'"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}", "dtype='<f4'"},
        {"{'descr': 'O', 'fortran_order': False, 'shape': (2, 3)}", "'O'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2, 3)}", "'<c8'"},
        {"{'descr': '>f2', 'fortran_order': False, 'shape': (2, 3)}", "'>f2'"},
        {"{'descr': '<i1', 'fortran_order': False, 'shape': (2, 3)}", "'<i1'"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)}", "'<i4'"},
        {"{'descr': '<Unnnnnnnnnnnnnnnnnnnnnnn', 'fortran_order': False, 'shape': (2, 3)}",
         "'<Unnnnnnnnnnnnnn'"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3)}", "structured"},
        {"{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (2, 3)}", "structured"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", "Fortran"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 2, 3)}",
         "more than 8 axes"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct bytes bytes = make_npy(1, cases[i].header, values, sizeof values);
        assert_status(parse_guarded(&bytes, "file.npy", NULL), DOTK_UNSUPPORTED);
        assert_message(cases[i].message);
    }
    struct bytes bytes = good_file();
    bytes.data[6] = 4;
    assert_status(parse_guarded(&bytes, "x", NULL), DOTK_UNSUPPORTED);
    assert_message("version 4.0");
    bytes.data[6] = 1;
    bytes.data[7] = 1;
    assert_status(parse_guarded(&bytes, "x", NULL), DOTK_UNSUPPORTED);
    assert_message("version 1.1");
    bytes.data[0] = 0x92;
    assert_status(parse_guarded(&bytes, "x.npy", NULL), DOTK_CORRUPT);
    assert_message("does not start");
}

/* Fortran order changes nothing for one axis or none. */
static void
test_fortran_order_of_one_axis(void **state)
{
    struct bytes bytes = make_npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}",
                                  values, sizeof values);
    (void)state;
    assert_ok(parse_guarded(&bytes, "x", NULL));
    bytes = make_npy(1, "{'descr': '<f4', 'fortran_order': True, 'shape': ()}", values, 4);
    assert_ok(parse_guarded(&bytes, "x", NULL));
}

static void
test_f64(void **state)
{
    double f64[] = {1, -2.5, 1e-300, INFINITY, NAN, 3.4028235e38};
    const float expected[] = {1, -2.5f, 0, INFINITY, NAN, 3.4028235e38f};
    struct bytes bytes = make_npy(1, header_of("<f8", "(2, 3)"), f64, sizeof f64);
    dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);

    (void)state;
    assert_string_equal(vectors->type, "f64");
    for (size_t i = 0; i < 6; i++)
        assert_true(vectors->data[i] == expected[i] || (i == 4 && isnan(vectors->data[i])));
    dotk_vectors_close(vectors);
    f64[4] = -3.5e38;
    bytes = make_npy(1, header_of("<f8", "(2, 3)"), f64, sizeof f64);
    assert_status(parse_guarded(&bytes, "x", NULL), DOTK_UNSUPPORTED);
    assert_message("row 1, column 1 is -3.5e+38");
}

static void
test_u8(void **state)
{
    const uint8_t u8[] = {0, 1, 127, 128, 254, 255};
    const struct bytes bytes = make_npy(1, header_of("|u1", "(3, 2)"), u8, sizeof u8);
    dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);

    (void)state;
    assert_string_equal(vectors->type, "u8");
    for (size_t i = 0; i < 6; i++)
        assert_true(vectors->data[i] == u8[i]);
    dotk_vectors_close(vectors);
}

static void
test_bool(void **state)
{
    const uint8_t flags[] = {0, 1, 1, 0, 1, 0};
    const struct bytes bytes = make_npy(1, header_of("|b1", "(3, 2)"), flags, sizeof flags);
    dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);

    (void)state;
    assert_string_equal(vectors->type, "u8");
    for (size_t i = 0; i < 6; i++)
        assert_true(vectors->data[i] == flags[i]);
    dotk_vectors_close(vectors);
}

static void
test_f16(void **state)
{
    const uint16_t f16[] = {0x3c00, 0xc100, 0x0001, 0x7bff, 0xfc00, 0x7e00};
    const float expected[] = {1, -2.5f, 0x1p-24f, 65504, -INFINITY, NAN};
    const struct bytes bytes = make_npy(1, header_of("<f2", "(2, 3)"), f16, sizeof f16);
    dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);

    (void)state;
    assert_string_equal(vectors->type, "f16");
    for (size_t i = 0; i < 6; i++)
        assert_true(vectors->data[i] == expected[i] || (i == 5 && isnan(vectors->data[i])));
    dotk_vectors_close(vectors);
    check_every_length(&bytes, "x.npy", NULL);
}

static void
test_i8(void **state)
{
    const int8_t i8[] = {0, 1, 127, -128, -2, -1};
    const struct bytes bytes = make_npy(1, header_of("|i1", "(3, 2)"), i8, sizeof i8);
    dotk_vectors *const vectors = parse_good(&bytes, "x", NULL);

    (void)state;
    assert_string_equal(vectors->type, "i8");
    for (size_t i = 0; i < 6; i++)
        assert_true(vectors->data[i] == i8[i]);
    dotk_vectors_close(vectors);
    check_every_length(&bytes, "x.npy", NULL);
}

static void
test_shapes_beyond_the_file(void **state)
{
    static const char *const shapes[] = {
        "(18446744073709551615,)",
        "(4611686018427387904, 3)",
        "(4294967296, 4294967296)",
        "(4294967296, 4294967295)",
        "(9223372036854775807, 2)",
        "(1, 1073741824)",
        "(100000000000, 768)",
        "(2, 4)",
        "(2, 2)",
        "(18446744073709551615, 18446744073709551615, 0)",
        "(3, 6148914691236517206, 3)", /* 2^64 + 2 rows: as if 2 */
        "(0, 4611686018427387904)",    /* no row can have so many bytes */
    };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct bytes bytes = make_npy(1, header_of("<f4", shapes[i]), values, sizeof values);
        assert_status(parse_guarded(&bytes, "x", NULL), DOTK_CORRUPT);
    }
}

static void
test_damage(void **state)
{
    (void)state;
    const struct bytes one = good_file();
    const struct bytes two = make_npy(2, header_of("<f4", "(2, 3)"), values, sizeof values);
    check_every_length(&one, "x.npy", NULL);
    check_every_length(&two, "x.npy", NULL);
    check_huge_values(&one, 8, 2, false, "x.npy");
    check_huge_values(&two, 8, 4, false, "x.npy");
    check_every_byte(&one, "x.npy", NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_version),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_fortran_order_of_one_axis),
        cmocka_unit_test(test_f64),
        cmocka_unit_test(test_u8),
        cmocka_unit_test(test_bool),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_i8),
        cmocka_unit_test(test_shapes_beyond_the_file),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("io/npy", tests, NULL, NULL);
}
