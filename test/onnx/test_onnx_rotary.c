/*
 * test_onnx_rotary.c - ONNX's RotaryEmbedding by dotk_rotary()
 *
 * Without position ids the tables have a row for every token of every batch entry, so the positions
 * are 0, 1, 2, ... over all of them. Tolerance: rtol 1e-6, atol 1e-6 (a result may be a small
 * difference of products, each rounded by the reference).
 */
#include "cases.h"

#include <dotk/rotary.h>

static void
run_rotary(const struct onnx_case *c)
{
    const struct onnx_tensor *const x = c->input[0], *const ids = c->input[3];
    const bool flat = x->axes == 3; /* (B, L, H * D), else (B, H, L, D) */
    const size_t heads = flat ? (size_t)onnx_integer(&c->node, "num_heads", 0) : x->dims[1];
    const size_t tokens = x->dims[flat ? 1 : 2];
    const dotk_rotary_shape shape = {x->dims[0], heads, tokens,
                                     flat ? x->dims[2] / heads : x->dims[3]};
    const size_t rows = shape.batch * tokens;
    float *const values = onnx_floats(x), *const cosines = onnx_floats(c->input[1]);
    float *const sines = onnx_floats(c->input[2]), *const out = malloc(x->count * sizeof *out);
    int64_t *const positions = malloc(rows * sizeof *positions);
    dotk_rotary_options options = DOTK_ROTARY_OPTIONS_INIT;

    assert_string_equal(c->node.operator, "RotaryEmbedding");
    assert_true(out != NULL && positions != NULL && (ids == NULL || ids->count == rows));
    for (size_t i = 0; i < rows; i++)
        positions[i] = ids != NULL ? (int64_t)onnx_value(ids, i) : (int64_t)i;
    options.rotary_width = (size_t)onnx_integer(&c->node, "rotary_embedding_dim", 0);
    options.interleaved = onnx_integer(&c->node, "interleaved", 0) != 0;
    if (flat) {
        options.input.row = x->dims[2];
        options.input.head = shape.width;
        options.input.batch = tokens * x->dims[2];
        options.output = options.input;
    }
    options.positions = positions;
    options.cosines = cosines;
    options.sines = sines;
    const size_t turned = options.rotary_width != 0 ? options.rotary_width : shape.width;
    options.table_rows = c->input[1]->count / (turned / 2);
    assert_ok(dotk_rotary(NULL, &shape, values, &options, out));
    onnx_expect(c, c->output[0], out, 1e-6, 1e-6);
    free(values);
    free(cosines);
    free(sines);
    free(out);
    free(positions);
}

static void
test_rotary(void **state)
{
    (void)state;
    onnx_run("test_rotary_embedding", 8, run_rotary);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rotary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
