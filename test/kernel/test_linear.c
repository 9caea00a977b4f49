/*
 * test_linear.c - kernels of linear attention: every instruction set against the definition written
 * out, bit by bit, and e^x against libm
 */
#include "support.h"

#include "kernel/kernel.h"

/* A NaN for what no kernel may touch. */
enum { PAD = 0x7fc12345 };

struct arrays {
    float *state, *key, *keep, *probe, *beta, *value, *query, *out;
};

static float *
aligned(size_t count)
{
    float *const block = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64 + 64);
    test_require(block != NULL, "aligned_alloc");
    return block;
}

/* linear.h's definition, with libm's correctly rounded fmaf(). */
static void
define(const struct dk_linear_f32 *args)
{
    for (size_t t = 0; t < args->tokens; t++) {
        for (size_t c = 0; c < args->cols; c++) {
            float u = args->value[t * 64 + c], recalled = 0;
            for (size_t d = 0; args->probe != NULL && d < args->dim; d++)
                recalled = fmaf(args->probe[t * args->stride + d], args->state[d * 64 + c],
                                recalled);
            if (args->probe != NULL)
                u = args->beta[t] * (u - recalled);
            for (size_t d = 0; d < args->dim; d++) {
                float *const s = &args->state[d * 64 + c];
                const float kept = args->keep != NULL ? args->keep[t * args->stride + d] * *s : *s;
                *s = fmaf(args->key[t * args->stride + d], u, kept);
            }
            for (size_t h = 0; h < args->heads; h++) {
                const float *const query = args->query + (t * args->heads + h) * args->stride;
                float sum = 0;
                for (size_t d = 0; d < args->dim; d++)
                    sum = fmaf(query[d], args->state[d * 64 + c], sum);
                args->out[(t * args->heads + h) * 64 + c] = sum;
            }
        }
    }
}

static struct arrays
make(uint64_t *seed, const struct dk_linear_f32 *size)
{
    const size_t rows = size->tokens * size->stride;
    const struct arrays arrays = {aligned(size->dim * 64),
                                  aligned(rows),
                                  aligned(rows),
                                  aligned(rows),
                                  aligned(size->tokens),
                                  aligned(size->tokens * 64),
                                  aligned(rows * size->heads),
                                  aligned(size->tokens * size->heads * 64)};
    test_random_floats(seed, arrays.key, rows);
    test_random_floats(seed, arrays.keep, rows);
    test_random_floats(seed, arrays.probe, rows);
    test_random_floats(seed, arrays.beta, size->tokens);
    test_random_floats(seed, arrays.value, size->tokens * 64);
    test_random_floats(seed, arrays.query, rows * size->heads);
    return arrays;
}

static void
drop(struct arrays *arrays)
{
    float *const all[] = {arrays->state, arrays->key,   arrays->keep,  arrays->probe,
                          arrays->beta,  arrays->value, arrays->query, arrays->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* State and output with what no kernel may touch marked. */
static void
begin(uint64_t seed, const struct dk_linear_f32 *args)
{
    const uint32_t mark = PAD;

    for (size_t i = 0; i < args->dim * 64; i++) {
        if (i % 64 < args->cols)
            args->state[i] = test_random_float(&seed);
        else
            memcpy(&args->state[i], &mark, sizeof mark);
    }
    for (size_t i = 0; i < args->tokens * args->heads * 64; i++)
        memcpy(&args->out[i], &mark, sizeof mark);
}

static void
check(size_t dim, size_t cols, size_t tokens, size_t heads, int rule)
{
    uint64_t seed = dim * 1000 + cols + tokens + heads;
    struct dk_linear_f32 args = {
        .dim = dim, .stride = (dim + 15) / 16 * 16, .cols = cols, .tokens = tokens, .heads = heads};
    struct arrays arrays = make(&seed, &args);
    const size_t states = dim * 64, outs = tokens * heads * 64;
    float *const state = aligned(states), *const out = aligned(outs);
    const struct dk_kernels *kernels;

    args.key = arrays.key;
    args.keep = rule & 1 ? arrays.keep : NULL;
    args.probe = rule & 2 ? arrays.probe : NULL;
    args.beta = rule & 2 ? arrays.beta : NULL;
    args.value = arrays.value;
    args.query = arrays.query;
    args.state = state;
    args.out = out;
    begin(7, &args);
    define(&args);
    args.state = arrays.state;
    args.out = arrays.out;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        begin(7, &args);
        kernels->linear_f32(&args);
        if (memcmp(state, arrays.state, states * sizeof *state) != 0 ||
            memcmp(out, arrays.out, outs * sizeof *out) != 0)
            fail_msg("%s: dim %zu cols %zu tokens %zu heads %zu rule %d", kernels->isa, dim, cols,
                     tokens, heads, rule);
    }
    free(state);
    free(out);
    drop(&arrays);
}

static void
test_against_definition(void **state)
{
    static const size_t dims[] = {1, 2, 17, 64, 80};

    (void)state;
    for (int rule = 0; rule < 4; rule++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            for (size_t cols = 16; cols <= 64; cols += 16) {
                check(dims[d], cols, 5, 1, rule);
                check(dims[d], cols, 3, 3, rule);
            }
        }
        check(8, 64, 0, 1, rule);
        check(300, 64, 1, 1, rule);
    }
}

/* What one run does, two runs do. */
static void
test_runs(void **state)
{
    struct dk_linear_f32 args = {.dim = 20, .stride = 32, .cols = 48, .tokens = 9, .heads = 2};
    uint64_t seed = 3;
    const struct dk_kernels *kernels;
    struct arrays arrays = make(&seed, &args);
    float whole[20 * 64], whole_out[9 * 2 * 64];

    (void)state;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        args = (struct dk_linear_f32){20,
                                      32,
                                      48,
                                      9,
                                      2,
                                      arrays.state,
                                      arrays.key,
                                      arrays.keep,
                                      arrays.probe,
                                      arrays.beta,
                                      arrays.value,
                                      arrays.query,
                                      arrays.out};
        begin(5, &args);
        kernels->linear_f32(&args);
        memcpy(whole, arrays.state, sizeof whole);
        memcpy(whole_out, arrays.out, sizeof whole_out);
        begin(5, &args);
        args.tokens = 4;
        kernels->linear_f32(&args);
        args.tokens = 5;
        args.key += 4 * 32;
        args.keep += 4 * 32;
        args.probe += 4 * 32;
        args.beta += 4;
        args.value += 4 * 64;
        args.query += 4 * 2 * 32;
        args.out += 4 * 2 * 64;
        kernels->linear_f32(&args);
        assert_memory_equal(whole, arrays.state, sizeof whole);
        assert_memory_equal(whole_out, arrays.out, sizeof whole_out);
    }
    drop(&arrays);
}

/* ------------------------------------------------------------------------- */
/*  e^x                                                                      */
/* ------------------------------------------------------------------------- */

/* 16 values through every instruction set, against libm's double. */
static void
check_exp(const float *x)
{
    _Alignas(64) float first[16], out[16];
    const struct dk_kernels *kernels;

    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        kernels->exp_f32(x, 16, out);
        if (i == 0)
            memcpy(first, out, sizeof first);
        for (size_t j = 0; j < 16; j++) {
            const double exact = exp((double)x[j]);
            int exponent = 0;
            (void)frexp(exact, &exponent);
            const double ulp = fmax(ldexp(1, exponent - 24), 0x1p-149);
            if (isnan(x[j]) ? !isnan(out[j])
                            : !(exact > 0x1.ffffffp127 ? isinf(out[j])
                                                       : fabs(out[j] - exact) <= DK_EXP_ULP * ulp))
                fail_msg("%s: exp(%a) is %a, not %a", kernels->isa, x[j], out[j], exact);
            assert_true(isnan(out[j]) || memcmp(&out[j], &first[j], sizeof out[j]) == 0);
        }
    }
}

static void
test_exp(void **state)
{
    _Alignas(64) float x[16] = {0,        -0.0f,         INFINITY,       -INFINITY,
                                NAN,      0x1p-149f,     88.72283f,      88.72284f,
                                -87.337f, -103.9720840f, -103.27893066f, -104,
                                -1e30f,   1e30f,         0.34657f,       -0.34658f};
    uint32_t bits = 0;

    (void)state;
    check_exp(x);
    for (uint64_t i = 0; i <= UINT32_MAX / 1009 / 16; i++) {
        for (size_t j = 0; j < 16; j++, bits += 1009)
            memcpy(&x[j], &bits, sizeof bits);
        check_exp(x);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_exp),
    };
    return cmocka_run_group_tests_name("kernel/linear", tests, NULL, NULL);
}
