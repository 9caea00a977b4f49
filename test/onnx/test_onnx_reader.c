/* test_onnx_reader.c - the reader of the conformance cases: values, and bytes that are none */
#include "cases.h"

/* A message, field by field; numbers of fields below 16. */
struct bytes {
    uint8_t at[256];
    size_t size;
};

static void
add(struct bytes *bytes, const void *from, size_t size)
{
    test_require(bytes->size + size <= sizeof bytes->at, "room");
    memcpy(bytes->at + bytes->size, from, size);
    bytes->size += size;
}

static void
add_bytes(struct bytes *bytes, unsigned field, const void *from, size_t size)
{
    const uint8_t key[] = {(uint8_t)(field << 3 | PB_BYTES), (uint8_t)size};
    add(bytes, key, sizeof key);
    add(bytes, from, size);
}

static void
add_number(struct bytes *bytes, unsigned field, uint8_t value)
{
    const uint8_t field_bytes[] = {(uint8_t)(field << 3 | PB_VARINT), value};
    add(bytes, field_bytes, sizeof field_bytes);
}

static struct bytes
tensor_of(enum onnx_type type, uint8_t count, const void *values, size_t size)
{
    struct bytes out = {.size = 0};

    add_number(&out, 1, count);
    add_number(&out, 2, (uint8_t)type);
    add_bytes(&out, 8, "x", 1);
    add_bytes(&out, 9, values, size);
    return out;
}

static void
test_values(void **state)
{
    static const float f32[] = {1.5f, -0.0f, INFINITY};
    static const double f64[] = {-2.25, 1e300};
    static const int64_t i64[] = {-3, INT64_C(1) << 40};
    static const int32_t i32[] = {-7, 9};
    static const uint8_t u8[] = {0, 255};
    static const uint16_t f16[] = {0x3c00, 0xfc00, 0x0001, 0x7bff}, bf16[] = {0xbf80, 0x4049};
    static const struct {
        enum onnx_type type;
        uint8_t count;
        const void *values;
        double want[4];
    } cases[] = {
        {ONNX_F32, 3, f32, {1.5, 0, INFINITY}},
        {ONNX_F64, 2, f64, {-2.25, 1e300}},
        {ONNX_I64, 2, i64, {-3, 0x1p40}},
        {ONNX_I32, 2, i32, {-7, 9}},
        {ONNX_U8, 2, u8, {0, 255}},
        {ONNX_BOOL, 2, u8, {0, 1}},
        {ONNX_F16, 4, f16, {1, -INFINITY, 0x1p-24, 65504}},
        {ONNX_BF16, 2, bf16, {-1, 3.140625}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct bytes bytes = tensor_of(cases[i].type, cases[i].count, cases[i].values,
                                             cases[i].count * onnx_size(cases[i].type));
        struct onnx_tensor tensor;
        assert_true(onnx_tensor_parse(bytes.at, bytes.size, &tensor));
        assert_string_equal(tensor.name, "x");
        assert_int_equal(tensor.count, cases[i].count);
        for (size_t j = 0; j < tensor.count; j++)
            assert_true(onnx_value(&tensor, j) == cases[i].want[j]);
    }
}

static void
test_shapes(void **state)
{
    static const uint8_t packed[] = {2, 0x83, 0x00}, values[6] = {1, 2, 3, 4, 5, 6};
    struct bytes bytes = {.size = 0};
    struct onnx_tensor tensor;

    (void)state;
    add_bytes(&bytes, 1, packed, sizeof packed); /* 2, and 3 in two bytes */
    add_number(&bytes, 2, ONNX_U8);
    add_bytes(&bytes, 9, values, sizeof values);
    assert_true(onnx_tensor_parse(bytes.at, bytes.size, &tensor));
    assert_true(tensor.axes == 2 && tensor.dims[0] == 2 && tensor.dims[1] == 3);
    assert_true(onnx_value(&tensor, 5) == 6);
    for (size_t cut = 0; cut < bytes.size; cut++)
        assert_false(onnx_tensor_parse(bytes.at, cut, &tensor));

    bytes = tensor_of(ONNX_U8, 5, values, 6); /* a value too many */
    assert_false(onnx_tensor_parse(bytes.at, bytes.size, &tensor));
    bytes = tensor_of((enum onnx_type)3, 6, values, 6); /* int8: no case has it */
    assert_false(onnx_tensor_parse(bytes.at, bytes.size, &tensor));
    bytes = tensor_of(ONNX_U8, 6, values, 6);
    bytes.at[1] = 0;
    for (size_t i = 0; i < ONNX_AXES; i++) /* one axis more than there is room for */
        add_number(&bytes, 1, 1);
    assert_false(onnx_tensor_parse(bytes.at, bytes.size, &tensor));
    bytes = tensor_of(ONNX_F64, 0, values, 0);
    static const uint8_t huge[] = {1 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    add(&bytes, huge, sizeof huge);
    bytes.at[1] = 4; /* 4 * (2^63 - 1) overflows */
    assert_false(onnx_tensor_parse(bytes.at, bytes.size, &tensor));
}

static void
test_numbers_of_ten_bytes(void **state)
{
    static const uint8_t most[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t more[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2};
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                      0x80, 0x80, 0x80, 0x80, 0x80};
    uint64_t value;

    (void)state;
    struct pb at = {most, most + sizeof most};
    assert_true(pb_varint(&at, &value) && value == UINT64_MAX && at.at == at.end);
    at = (struct pb){more, more + sizeof more};
    assert_false(pb_varint(&at, &value));
    at = (struct pb){endless, endless + sizeof endless};
    assert_false(pb_varint(&at, &value));
}

/* Reads every value, so that a sanitizer or the page behind the bytes sees one that is not there.
 */
static void
parse_any(const uint8_t *bytes, size_t size)
{
    static volatile double sink;
    struct onnx_tensor tensor;
    struct onnx_node node;

    if (onnx_tensor_parse(bytes, size, &tensor)) {
        assert_true(tensor.count <= size);
        for (size_t i = 0; i < tensor.count; i++)
            sink = onnx_value(&tensor, i);
    }
    if (onnx_node_parse(bytes, size, &node))
        assert_true(node.inputs <= ONNX_ARGUMENTS && strlen(node.operator) < ONNX_NAME);
    (void)sink;
}

/* A model like the ones of the data set. */
static struct bytes
sample_model(void)
{
    struct bytes attribute = {.size = 0}, node = {.size = 0}, graph = {.size = 0},
                 model = {.size = 0};
    const uint8_t scale[] = {2 << 3 | PB_4_BYTES, 0, 0, 0x80, 0x3e};
    const uint8_t type[] = {0xa0, 0x01, 1}; /* field 20: its key has two bytes */

    add_bytes(&attribute, 1, "scale", 5);
    add(&attribute, scale, sizeof scale);
    add(&attribute, type, sizeof type);
    add_bytes(&node, 1, "Q", 1);
    add_bytes(&node, 1, "", 0);
    add_bytes(&node, 2, "Y", 1);
    add_bytes(&node, 4, "Attention", 9);
    add_bytes(&node, 5, attribute.at, attribute.size);
    add_bytes(&graph, 1, node.at, node.size);
    add_number(&model, 1, 10);
    add_bytes(&model, 7, graph.at, graph.size);
    return model;
}

static void
test_nodes(void **state)
{
    struct bytes model = sample_model();
    struct onnx_node node;

    (void)state;
    assert_true(onnx_node_parse(model.at, model.size, &node));
    assert_string_equal(node.operator, "Attention");
    assert_true(node.inputs == 2 && node.outputs == 1 && node.input[1][0] == '\0');
    assert_true(onnx_number(&node, "scale", 0) == 0.25f);
    assert_true(onnx_number(&node, "softcap", 7) == 7 && onnx_integer(&node, "scale", 3) == 0);
    for (size_t cut = 0; cut < model.size; cut++)
        assert_false(onnx_node_parse(model.at, cut, &node));
    const struct bytes once = model;
    add(&model, once.at, once.size); /* two nodes */
    assert_false(onnx_node_parse(model.at, model.size, &node));
}

/* Damaged bytes, before a page that nobody may touch. */
static void
test_damage(void **state)
{
    static const float values[] = {1, 2, 3, 4};
    const struct bytes samples[] = {sample_model(), tensor_of(ONNX_F32, 4, values, sizeof values)};
    uint64_t seed = 1;

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        for (size_t size = 0; size <= samples[s].size; size++) {
            struct test_guarded guarded;
            uint8_t *const bytes = test_guarded_alloc(&guarded, size, true);
            for (int round = 0; round < 300; round++) {
                memcpy(bytes, samples[s].at, size);
                for (size_t n = test_random_below(&seed, 4); n > 0 && size > 0; n--)
                    bytes[test_random_below(&seed, size)] = (uint8_t)test_random(&seed);
                parse_any(bytes, size);
            }
            test_guarded_free(&guarded);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_numbers_of_ten_bytes),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
