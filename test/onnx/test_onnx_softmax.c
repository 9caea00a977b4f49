/*
 * test_onnx_softmax.c - ONNX's Softmax and LogSoftmax, along any axis, by dotk_softmax()
 *
 * The values along an axis are gathered, and scattered again. Tolerance: rtol 1e-5, atol 1e-7.
 */
#include "cases.h"

#include <dotk/vector.h>

static void
run_along(const struct onnx_case *c, dotk_status softmax(const float *, size_t, float, float *))
{
    const struct onnx_tensor *const x = c->input[0];
    int64_t axis = onnx_integer(&c->node, "axis", -1);
    size_t inner = 1;

    axis += axis < 0 ? (int64_t)x->axes : 0;
    assert_in_range(axis, 0, x->axes - 1);
    for (size_t i = (size_t)axis + 1; i < x->axes; i++)
        inner *= x->dims[i];
    const size_t dim = x->dims[axis], outer = x->count / inner / dim;
    float *const values = onnx_floats(x), *const line = malloc(dim * sizeof *line);
    assert_non_null(line);
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < inner; i++) {
            float *const first = values + o * dim * inner + i;
            for (size_t d = 0; d < dim; d++)
                line[d] = first[d * inner];
            assert_ok(softmax(line, dim, 1, line));
            for (size_t d = 0; d < dim; d++)
                first[d * inner] = line[d];
        }
    }
    onnx_expect(c, c->output[0], values, 1e-5, 1e-7);
    free(values);
    free(line);
}

static void
run_softmax(const struct onnx_case *c)
{
    assert_string_equal(c->node.operator, "Softmax");
    run_along(c, dotk_softmax);
}

static void
run_log_softmax(const struct onnx_case *c)
{
    assert_string_equal(c->node.operator, "LogSoftmax");
    run_along(c, dotk_log_softmax);
}

static void
test_softmax(void **state)
{
    (void)state;
    onnx_run("test_softmax_", 7, run_softmax);
    onnx_run("test_logsoftmax_", 7, run_log_softmax);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_softmax)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
