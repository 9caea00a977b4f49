/*
 * test_onnx_products.c - ONNX's Gemm, MatMul, MatMulInteger and a batched Einsum by dotk_dense()
 *
 * dotk_dense() is x W^T + b: what is to be multiplied by it is transposed first. Scaling by alpha
 * and beta, and adding a matrix, are products as well: alpha A B + beta C = [A C] [alpha B; beta
 * I]. Tolerances: rtol 1e-5 and atol 1e-7 for f32 (each side is off by its own roundings), for
 * MatMulInteger none.
 */
#include "cases.h"

#include <dotk/dense.h>
#include <dotk/vector.h>

struct matrix {
    size_t rows, cols;
    float *at; /* dense */
};

static struct matrix
matrix(size_t rows, size_t cols)
{
    const struct matrix out = {rows, cols, calloc(rows * cols + 1, sizeof(float))};

    test_require(out.at != NULL, "calloc");
    return out;
}

static struct matrix
transposed(size_t rows, size_t cols, const float *from)
{
    const struct matrix out = matrix(cols, rows);

    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++)
            out.at[c * rows + r] = from[r * cols + c];
    }
    return out;
}

/* x W^T + bias */
static struct matrix
dense(struct matrix x, struct matrix w, const float *bias)
{
    const struct matrix out = matrix(x.rows, w.rows);

    assert_int_equal(x.cols, w.cols);
    assert_ok(dotk_dense(NULL, x.rows, w.rows, x.cols, x.at, w.at, bias, NULL, out.at));
    return out;
}

/* factor * m, as a product with a diagonal matrix. */
static struct matrix
scaled(struct matrix m, float factor)
{
    const struct matrix diagonal = matrix(m.cols, m.cols);

    for (size_t i = 0; i < m.cols; i++)
        diagonal.at[i * m.cols + i] = factor;
    const struct matrix out = dense(m, diagonal, NULL);
    free(diagonal.at);
    return out;
}

static struct matrix
side_by_side(struct matrix a, struct matrix b)
{
    const struct matrix out = matrix(a.rows, a.cols + b.cols);

    assert_int_equal(a.rows, b.rows);
    for (size_t r = 0; r < a.rows; r++) {
        memcpy(out.at + r * out.cols, a.at + r * a.cols, a.cols * sizeof *a.at);
        memcpy(out.at + r * out.cols + a.cols, b.at + r * b.cols, b.cols * sizeof *b.at);
    }
    return out;
}

/* An input as a matrix, transposed on request. */
static struct matrix
read_matrix(const struct onnx_tensor *tensor, bool transpose)
{
    assert_int_equal(tensor->axes, 2);
    const struct matrix plain = {tensor->dims[0], tensor->dims[1], onnx_floats(tensor)};
    if (!transpose)
        return plain;
    const struct matrix out = transposed(plain.rows, plain.cols, plain.at);
    free(plain.at);
    return out;
}

/* C, a number, a row or a matrix, over rows x cols. */
static struct matrix
spread(const struct onnx_tensor *c, size_t rows, size_t cols)
{
    const struct matrix out = matrix(rows, cols);
    const size_t high = c->axes < 2 ? 1 : c->dims[0];
    const size_t wide = c->axes == 0 ? 1 : c->dims[c->axes - 1];

    assert_true((high == 1 || high == rows) && (wide == 1 || wide == cols));
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++)
            out.at[i * cols + j] = (float)onnx_value(c, (high == 1 ? 0 : i) * wide +
                                                            (wide == 1 ? 0 : j));
    }
    return out;
}

static void
run_gemm(const struct onnx_case *c)
{
    const struct matrix a = read_matrix(c->input[0], onnx_integer(&c->node, "transA", 0) != 0);
    const struct matrix b = read_matrix(c->input[1], onnx_integer(&c->node, "transB", 0) == 0);
    const struct matrix weights = scaled(b, onnx_number(&c->node, "alpha", 1));
    const float beta = onnx_number(&c->node, "beta", 1);
    const bool is_row = c->input[2] != NULL && (c->input[2]->axes < 2 || c->input[2]->dims[0] == 1);

    assert_string_equal(c->node.operator, "Gemm");
    struct matrix out;
    if (c->input[2] == NULL) {
        out = dense(a, weights, NULL);
    } else if (is_row) { /* a bias */
        const struct matrix row = spread(c->input[2], 1, weights.rows);
        const struct matrix bias = scaled(row, beta);
        out = dense(a, weights, bias.at);
        free(row.at);
        free(bias.at);
    } else {
        const struct matrix rest = spread(c->input[2], a.rows, weights.rows);
        const struct matrix unit = matrix(weights.rows, weights.rows);
        for (size_t i = 0; i < unit.rows; i++)
            unit.at[i * unit.cols + i] = beta;
        const struct matrix x = side_by_side(a, rest), w = side_by_side(weights, unit);
        out = dense(x, w, NULL);
        free(rest.at);
        free(unit.at);
        free(x.at);
        free(w.at);
    }
    assert_int_equal(out.rows * out.cols, c->output[0]->count);
    onnx_expect(c, c->output[0], out.at, 1e-5, 1e-7);
    free(a.at);
    free(b.at);
    free(weights.at);
    free(out.at);
}

/*
 * Batches of matrices: axes before the last two are broadcast. A vector on the left is a row, one
 * on the right a column. 'a' and 'b' are the values of c's first two inputs.
 */
static void
multiply(const struct onnx_case *c, const float *a, const float *b, float *out)
{
    const struct onnx_tensor *const left = c->input[0], *const right = c->input[1];
    const size_t rows = left->axes == 1 ? 1 : left->dims[left->axes - 2];
    const size_t inner = left->dims[left->axes - 1];
    const size_t cols = right->axes == 1 ? 1 : right->dims[right->axes - 1];
    const size_t axes = left->axes > right->axes ? left->axes : right->axes;
    size_t count = 1;

    for (size_t axis = axes; axis-- > 2;) { /* counted from the last */
        const size_t l = left->axes > axis ? left->dims[left->axes - 1 - axis] : 1;
        const size_t r = right->axes > axis ? right->dims[right->axes - 1 - axis] : 1;
        count *= l > r ? l : r;
    }
    assert_int_equal(count * rows * cols, c->output[0]->count);
    for (size_t i = 0; i < count; i++) {
        size_t at[2] = {0, 0}, step[2] = {rows * inner, inner * cols}, rest = i;
        for (size_t axis = 2; axis < axes; axis++) {
            const struct onnx_tensor *const sides[2] = {left, right};
            const size_t l = left->axes > axis ? left->dims[left->axes - 1 - axis] : 1;
            const size_t r = right->axes > axis ? right->dims[right->axes - 1 - axis] : 1;
            const size_t place = rest % (l > r ? l : r);
            rest /= l > r ? l : r;
            for (size_t s = 0; s < 2; s++) {
                const size_t dim = sides[s]->axes > axis ? sides[s]->dims[sides[s]->axes - 1 - axis]
                                                         : 1;
                at[s] += dim == 1 ? 0 : place * step[s];
                step[s] *= dim;
            }
        }
        const struct matrix w = transposed(inner, cols, b + at[1]);
        assert_ok(dotk_dense(NULL, rows, cols, inner, a + at[0], w.at, NULL, NULL,
                             out + i * rows * cols));
        free(w.at);
    }
}

static void
run_matmul(const struct onnx_case *c)
{
    float *const a = onnx_floats(c->input[0]), *const b = onnx_floats(c->input[1]);
    float *const out = malloc(c->output[0]->count * sizeof *out);

    assert_true(out != NULL &&
                (strcmp(c->node.operator, "MatMul") == 0 ||
                 strcmp(onnx_attribute(&c->node, "equation")->text, "bij, bjk -> bik") == 0));
    multiply(c, a, b, out);
    onnx_expect(c, c->output[0], out, 1e-5, 1e-7);
    if (c->input[0]->axes == 1 && c->input[1]->axes == 1) {
        out[0] = dotk_dot(a, b, c->input[0]->count);
        onnx_expect(c, c->output[0], out, 1e-5, 1e-7);
    }
    free(a);
    free(b);
    free(out);
}

/* Bytes stand for whole numbers counted from a zero point; f32 holds these sums exactly. */
static void
run_matmul_integer(const struct onnx_case *c)
{
    float *const a = onnx_floats(c->input[0]), *const b = onnx_floats(c->input[1]);
    float *const out = malloc(c->output[0]->count * sizeof *out);

    assert_string_equal(c->node.operator, "MatMulInteger");
    assert_true(out != NULL && c->input[2]->count == 1 && c->input[3]->count == 1);
    for (size_t i = 0; i < c->input[0]->count; i++)
        a[i] -= (float)onnx_value(c->input[2], 0);
    for (size_t i = 0; i < c->input[1]->count; i++)
        b[i] -= (float)onnx_value(c->input[3], 0);
    multiply(c, a, b, out);
    onnx_expect(c, c->output[0], out, 0, 0);
    free(a);
    free(b);
    free(out);
}

static void
test_gemm(void **state)
{
    (void)state;
    onnx_run("test_gemm_", 11, run_gemm);
}

static void
test_matmul(void **state)
{
    (void)state;
    onnx_run("test_matmul_", 7, run_matmul);
    onnx_run("test_einsum_batch_matmul", 1, run_matmul);
    onnx_run("test_matmulinteger", 1, run_matmul_integer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_matmul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
