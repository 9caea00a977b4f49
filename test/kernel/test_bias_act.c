/*
 * test_bias_act.c - activations within their bounds, the same on every ISA and in every place
 *
 * Largest errors found over every f32 with 2^-14 <= |x| < 2^7 and every 31st of the others, in ulp:
 * gelu 4.39, silu 3.40, sigmoid 2.41, tanh 2.50; gelu_tanh 1.72 * 2^-24 |x|. This test takes every
 * 4,099th of all.
 */
#include "support.h"

#include "kernel/kernel.h"

enum { EVERY = 4099 };

static const char *const names[DK_ACT_KINDS] = {
    [DK_ACT_NONE] = "none", [DK_ACT_RELU] = "relu",       [DK_ACT_GELU] = "gelu",
    [DK_ACT_SILU] = "silu", [DK_ACT_SIGMOID] = "sigmoid", [DK_ACT_GELU_TANH] = "gelu_tanh",
    [DK_ACT_TANH] = "tanh",
};

/* The textbook's formulas; libm's erfc() and exp() are good to some 1e-15. */
static double
exact(enum dk_activation activation, double x)
{
    switch (activation) {
    case DK_ACT_RELU: return x > 0 ? x : 0;
    case DK_ACT_GELU: return x < -100 ? 0 : x / 2 * erfc(-x * M_SQRT1_2);
    case DK_ACT_GELU_TANH:
        return x < -100 ? 0 : x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case DK_ACT_SILU: return x < -700 ? 0 : x / (1 + exp(-x));
    case DK_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case DK_ACT_TANH: return tanh(x);
    default: return x;
    }
}

/* The spacing of f32 numbers at r. */
static double
ulp(double r)
{
    int exponent;

    (void)frexp(r, &exponent);
    return fmax(ldexp(1, exponent - 24), 0x1p-149);
}

static double
bound(enum dk_activation activation, double x, double r)
{
    switch (activation) {
    case DK_ACT_NONE:
    case DK_ACT_RELU: return 0;
    case DK_ACT_GELU_TANH: return 0x1p-23 * fabs(x) + 0x1p-149;
    default: return DK_ACT_ULP * ulp(r);
    }
}

static void
check_value(const char *isa, enum dk_activation activation, float x, float y)
{
    if (isnan(x)) {
        if (!isnan(y))
            fail_msg("%s %s(NaN) is %a", isa, names[activation], y);
        return;
    }
    const double r = exact(activation, x);
    if (isinf(r) ? y != r : !(fabs(y - r) <= bound(activation, x, r)))
        fail_msg("%s %s(%a) is %a, not %a", isa, names[activation], x, y, r);
}

static bool
same_bits(float a, float b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

/* 64 values at a time through every ISA. */
static void
check_values(enum dk_activation activation, float tile[1][64])
{
    _Alignas(64) static const float no_bias[64] = {0};
    float portable[64], out[64];
    const struct dk_kernels *kernels = dk_kernels_at(0);

    kernels->bias_act_f32(tile, 1, 64, no_bias, activation, portable, 64);
    for (size_t c = 0; c < 64; c++)
        check_value(kernels->isa, activation, tile[0][c] + 0.0f, portable[c]);
    for (size_t i = 1; (kernels = dk_kernels_at(i)) != NULL; i++) {
        kernels->bias_act_f32(tile, 1, 64, no_bias, activation, out, 64);
        for (size_t c = 0; c < 64; c++) {
            if (!same_bits(out[c], portable[c]))
                fail_msg("%s %s(%a) is %a, portable %a", kernels->isa, names[activation],
                         tile[0][c], out[c], portable[c]);
        }
    }
}

static void
test_all_over_the_range(void **state)
{
    _Alignas(64) float tile[1][64];
    uint32_t bits = 0;

    (void)state;
    for (uint64_t i = 0; i <= UINT32_MAX / EVERY / 64; i++) {
        for (size_t c = 0; c < 64; c++, bits += EVERY)
            memcpy(&tile[0][c], &bits, sizeof bits);
        for (int a = 0; a < DK_ACT_KINDS; a++)
            check_values((enum dk_activation)a, tile);
    }
}

/* Where ranges end: zeros, denormals, limits of the reductions, the largest, infinities. */
static void
test_ends_of_ranges(void **state)
{
    static const float ends[] = {0,
                                 0x1p-149f,
                                 0x1p-127f,
                                 0x1.fffffcp-127f,
                                 0x1p-126f,
                                 0x1p-24f,
                                 0.34657f,
                                 0.34658f,
                                 1,
                                 9.99f,
                                 10,
                                 10.01f,
                                 10.99f,
                                 11,
                                 11.01f,
                                 13.2f,
                                 14.36f,
                                 14.49f,
                                 14.5f,
                                 14.51f,
                                 87.3f,
                                 103.9f,
                                 104,
                                 108.6f,
                                 111.9f,
                                 112,
                                 112.1f,
                                 1e10f,
                                 0x1.fffffep127f,
                                 INFINITY,
                                 NAN};
    _Alignas(64) float tile[1][64] = {{0}};
    const size_t count = sizeof ends / sizeof *ends;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        tile[0][i] = ends[i];
        tile[0][32 + i] = -ends[i];
    }
    for (int a = 0; a < DK_ACT_KINDS; a++)
        check_values((enum dk_activation)a, tile);
}

/* Limits that have to be met exactly. */
static void
test_limits(void **state)
{
    static const struct {
        enum dk_activation activation;
        float low, high;
    } limits[] = {{DK_ACT_NONE, -INFINITY, INFINITY},
                  {DK_ACT_RELU, 0, INFINITY},
                  {DK_ACT_GELU, 0, INFINITY},
                  {DK_ACT_GELU_TANH, 0, INFINITY},
                  {DK_ACT_SILU, 0, INFINITY},
                  {DK_ACT_SIGMOID, 0, 1},
                  {DK_ACT_TANH, -1, 1}};
    _Alignas(64) float tile[1][64] = {{-INFINITY, INFINITY, NAN}};
    _Alignas(64) static const float no_bias[64] = {0};
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
            float out[3];
            kernels->bias_act_f32(tile, 1, 3, no_bias, limits[l].activation, out, 3);
            assert_true(out[0] == limits[l].low);
            assert_true(out[1] == limits[l].high);
            assert_true(isnan(out[2]));
        }
    }
}

/* Every width and some heights: the bias is added, places do not matter, nothing else is touched.
 */
static void
check_shape(const struct dk_kernels *kernels, enum dk_activation activation, size_t rows,
            size_t cols, float (*tile)[64], const float *bias)
{
    const size_t stride = cols + cols % 3;
    struct test_guarded guarded;
    float *const out = test_guarded_floats(&guarded, (rows - 1) * stride + cols);
    const uint32_t untouched = UINT32_MAX;

    kernels->bias_act_f32(tile, rows, cols, bias, activation, out, stride);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            _Alignas(64) float alone[1][64] = {{0}};
            _Alignas(64) static const float no_bias[64] = {0};
            float expected;
            alone[0][0] = tile[r][c] + bias[c];
            kernels->bias_act_f32(alone, 1, 1, no_bias, activation, &expected, 1);
            if (!same_bits(out[r * stride + c], expected))
                fail_msg("%s %s %zu x %zu at %zu, %zu: %a, not %a", kernels->isa, names[activation],
                         rows, cols, r, c, out[r * stride + c], expected);
        }
        for (size_t c = cols; c < stride && r + 1 < rows; c++)
            assert_memory_equal(&out[r * stride + c], &untouched, sizeof untouched);
    }
    test_guarded_free(&guarded);
}

static void
test_shapes(void **state)
{
    _Alignas(64) float tile[DK_TILE_ROWS][64], bias[64];
    uint64_t seed = 3;
    const struct dk_kernels *kernels;

    (void)state;
    test_random_normals(&seed, tile[0], DK_TILE_ROWS * 64);
    test_random_normals(&seed, bias, 64);
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        for (int a = 0; a < DK_ACT_KINDS; a++) {
            for (size_t cols = 1; cols <= 64; cols++)
                check_shape(kernels, (enum dk_activation)a, 1 + cols % DK_TILE_ROWS, cols, tile,
                            bias);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_over_the_range),
        cmocka_unit_test(test_ends_of_ranges),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
