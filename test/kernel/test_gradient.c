/*
 * test_gradient.c - cells and sums of the gradient kernels of every instruction set, f32 and bf16
 *
 * Against double precision within the bounds of gradient.h, at every number of rows, at odd widths
 * and between guard pages; what does not count is full of NaN.
 */
#include "support.h"

#include "kernel/kernel.h"

enum { ROWS = DK_GRADIENT_ROWS, STRIDE = DK_GRADIENT_STRIDE };

/* Kernels i, NULL past the end: those of f32, then those of bf16 unless they are the same. */
static const struct dk_gradient_kernels *
gradient_at(size_t i)
{
    const struct dk_kernels *kernels;

    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        const size_t count = kernels->gradient_bf16->pairs ? 2 : 1;
        assert_false(kernels->gradient->pairs);
        if (count == 1)
            assert_ptr_equal(kernels->gradient_bf16, kernels->gradient);
        if (i < count)
            return i == 0 ? kernels->gradient : kernels->gradient_bf16;
        i -= count;
    }
    return NULL;
}

static float
bf16(uint32_t upper)
{
    float x;

    upper &= 0xffff0000;
    memcpy(&x, &upper, sizeof x);
    return x;
}

/* Half i of a word of two. */
static float
half_of(float word, size_t i)
{
    uint32_t bits;

    memcpy(&bits, &word, sizeof bits);
    return bf16(i == 0 ? bits << 16 : bits);
}

/* Normal numbers as words. */
static void
random_words(bool pairs, uint64_t *seed, float *out, size_t count)
{
    test_random_normals(seed, out, count);
    for (size_t i = 0; pairs && i < count; i++) {
        const float other = (float)test_random_normal(seed);
        uint32_t low, high;
        memcpy(&low, &other, sizeof low);
        memcpy(&high, &out[i], sizeof high);
        high = (high & 0xffff0000) | low >> 16;
        memcpy(&out[i], &high, sizeof high);
    }
}

/* The product of two words; *magnitude grows by the sizes of what is added. */
static double
multiply(bool pairs, float a, float b, double *magnitude)
{
    double sum = 0;

    for (size_t i = 0; i < (pairs ? 2 : 1); i++) {
        const double product = pairs ? (double)half_of(a, i) * (double)half_of(b, i)
                                     : (double)a * (double)b;
        sum += product;
        *magnitude += fabs(product);
    }
    return sum;
}

struct cells {
    _Alignas(64) float score[ROWS][64], product[ROWS][64], bias[ROWS][64];
    _Alignas(64) float weight[ROWS][STRIDE], gradient[ROWS][STRIDE];
    _Alignas(64) float across[ROWS][STRIDE], exact[ROWS][STRIDE];
    float lse[ROWS], delta[ROWS];
    uint64_t keep[ROWS], stay[ROWS];
};

static void
fill(struct cells *cells, float size, uint64_t *seed)
{
    memset(cells, 0xff, sizeof *cells);
    for (size_t r = 0; r < ROWS; r++) {
        test_random_normals(seed, cells->score[r], 64);
        test_random_normals(seed, cells->product[r], 64);
        test_random_normals(seed, cells->bias[r], 64);
        for (size_t c = 0; c < 64; c++)
            cells->score[r][c] *= size;
        cells->lse[r] = size * (2 + 0.3f * (float)test_random_normal(seed));
        cells->delta[r] = (float)test_random_normal(seed);
        cells->keep[r] = test_random(seed) | test_random(seed);
        cells->stay[r] = test_random(seed) | test_random(seed);
    }
}

static struct dk_gradient_cells
call_of(struct cells *cells, size_t rows, size_t cols)
{
    return (struct dk_gradient_cells){
        .rows = rows,
        .cols = cols,
        .score = cells->score,
        .product = cells->product,
        .lse = cells->lse,
        .delta = cells->delta,
        .scale = 1,
        .boost = 1,
        .weight = cells->weight,
        .gradient = cells->gradient,
        .across = cells->across,
        .exact = cells->exact,
    };
}

/* Weight and gradient as numbers; those of pairs stand where they should, and are rounded. */
static struct numbers {
    double weight, gradient;
} numbers_at(bool pairs, const struct dk_gradient_cells *call, size_t r, size_t c)
{
    if (!pairs)
        return (struct numbers){(double)call->weight[r][c], (double)call->gradient[r][c]};
    const float gradient = half_of(call->gradient[r / 2][c], r % 2);
    const float across = half_of(call->across[r][c / 2], c % 2);
    uint32_t bits;
    assert_memory_equal(&gradient, &across, sizeof across);
    if (call->exact != NULL && !isnan(gradient)) {
        memcpy(&bits, &call->exact[r][c], sizeof bits);
        assert_true(
            gradient ==
            (fabsf(call->exact[r][c]) < 0x1p-126f ? 0 : bf16(bits + 0x7fff + (bits >> 16 & 1))));
    }
    return (struct numbers){(double)half_of(call->weight[r / 2][c], r % 2), (double)gradient};
}

static void
check_cells(const struct dk_gradient_kernels *kernels, const struct dk_gradient_cells *call)
{
    const double rounding = kernels->pairs ? 0x1p-8 : 0;

    for (size_t r = 0; r < call->rows; r++) {
        for (size_t c = 0; c < 64; c++) {
            const struct numbers numbers = numbers_at(kernels->pairs, call, r, c);
            const double got_weight = numbers.weight, got = numbers.gradient;
            const bool counts = c < call->cols &&
                                (call->keep == NULL || (call->keep[r] >> c & 1) != 0);
            if (!counts) {
                assert_true(got_weight == 0 && got == 0);
                continue;
            }
            const double cap = (double)call->softcap;
            double s = call->score[r][c], d = call->product[r][c], slope = 1;
            double error = 0; /* of the score */
            if (kernels->pairs) {
                s *= (double)call->scale;
                error += 0x1p-24 * fabs(s);
            }
            if (cap != 0) {
                slope = call->uncapped ? 1 : 1 - tanh(s / cap) * tanh(s / cap);
                s = cap * tanh(s / cap);
                error += 3e-7 * fabs(s);
            }
            if (call->bias != NULL) {
                s += (double)call->bias[r][c];
                error += 0x1p-24 * fabs(s);
            }
            error += 0x1p-24 * fabs(s - (double)call->lse[r]);
            const double p = exp2(s - (double)call->lse[r]);
            double boost = 1;
            if (call->stay != NULL)
                boost = (call->stay[r] >> c & 1) != 0 ? (double)call->boost : 0;
            const double relative = exp2(error) - 1 + 4e-7;
            const double spread = fabs(d * boost) + fabs((double)call->delta[r]);
            const double want = p * (d * boost - (double)call->delta[r]) * slope;
            const double tiny = 0x1p-125 * (1 + spread) * (1 + boost);
            if (!(fabs(got_weight - p * boost) <=
                  p * boost * (relative + 0x1p-23 + rounding) + tiny))
                fail_msg("%s: rows %zu cols %zu: weight %zu, %zu is %.9g, want %.9g", kernels->name,
                         call->rows, call->cols, r, c, got_weight, p * boost);
            if (!(fabs(got - want) <=
                  p * spread * (relative + 1e-6) + rounding * fabs(want) + tiny))
                fail_msg("%s: rows %zu cols %zu: gradient %zu, %zu is %.9g, want %.9g",
                         kernels->name, call->rows, call->cols, r, c, got, want);
        }
    }
}

/* Every set of options, rows and columns. */
static void
test_cells(void **state)
{
    const struct dk_gradient_kernels *kernels;
    struct cells cells;
    uint64_t seed = 1;

    (void)state;
    for (size_t k = 0; (kernels = gradient_at(k)) != NULL; k++) {
        for (size_t round = 0; round < 32 * 24; round++) {
            fill(&cells, round % 3 == 0 ? 1 : 30, &seed);
            struct dk_gradient_cells call = call_of(&cells, 1 + round % ROWS,
                                                    16 + 16 * (round / ROWS % 4));
            const size_t with = round / 24;
            if ((with & 1) != 0)
                call.keep = cells.keep;
            if ((with & 2) != 0) {
                call.stay = cells.stay;
                call.boost = 1.25f;
            }
            if ((with & 4) != 0)
                call.bias = cells.bias;
            if ((with & 8) != 0)
                call.softcap = round % 2 == 0 ? 20 : 200;
            call.uncapped = (with & 16) != 0;
            call.scale = round % 2 == 0 ? 1 : 0.25f;
            call.exact = round % 3 == 0 ? NULL : cells.exact;
            for (size_t r = 0; r < ROWS; r++) {
                for (size_t c = 0; c < 64; c++) {
                    if (call.keep == NULL || (call.keep[r] >> c & 1) != 0)
                        continue;
                    cells.score[r][c] = c % 2 == 0 ? NAN : INFINITY;
                    cells.product[r][c] = c % 3 == 0 ? NAN : -INFINITY;
                    cells.bias[r][c] = NAN;
                }
            }
            kernels->cells(&call);
            check_cells(kernels, &call);
            for (size_t r = 0; r < call.rows;
                 r++) { /* the room beside the columns is not touched */
                for (size_t c = 64; c < STRIDE; c++)
                    assert_true(isnan(cells.weight[r][c]) && isnan(cells.gradient[r][c]) &&
                                isnan(cells.across[r][c - 32]) && isnan(cells.exact[r][c]));
            }
        }
    }
}

/* Scores at the ends of the range, an lse of infinity, and NaN where it counts. */
static void
test_extreme_cells(void **state)
{
    static const struct {
        float score, lse, weight; /* weight -1: NaN */
    } cases[] = {{-INFINITY, 1, 0},  {-1e30f, 1, 0},   {-127, 0, 0}, {-126, 0, 0x1p-126f},
                 {127, 0, 0x1p127f}, {5, INFINITY, 0}, {NAN, 0, -1}, {0, NAN, -1},
                 {200, 0, INFINITY}, {3, 3, 1}};
    const struct dk_gradient_kernels *kernels;
    struct cells cells;
    uint64_t seed = 2;

    (void)state;
    for (size_t k = 0; (kernels = gradient_at(k)) != NULL; k++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            fill(&cells, 1, &seed);
            const struct dk_gradient_cells call = call_of(&cells, 1, 64);
            cells.score[0][i] = cases[i].score;
            cells.lse[0] = cases[i].lse;
            kernels->cells(&call);
            const struct numbers got = numbers_at(kernels->pairs, &call, 0, i);
            if (cases[i].weight < 0)
                assert_true(isnan(got.weight) && isnan(got.gradient));
            else
                assert_true(got.weight == (double)cases[i].weight);
            if (cases[i].weight == 0)
                assert_true(got.gradient == 0);
        }
    }
}

/* Dropped weights take no part even where products are not finite. */
static void
test_dropped_cells(void **state)
{
    const struct dk_gradient_kernels *kernels;
    struct cells cells;
    uint64_t seed = 3;

    (void)state;
    for (size_t k = 0; (kernels = gradient_at(k)) != NULL; k++) {
        fill(&cells, 1, &seed);
        struct dk_gradient_cells call = call_of(&cells, ROWS, 64);
        call.stay = cells.stay;
        call.boost = 2;
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t c = 0; c < 64; c++) {
                if ((cells.stay[r] >> c & 1) == 0)
                    cells.product[r][c] = c % 2 == 0 ? NAN : INFINITY;
            }
        }
        kernels->cells(&call);
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t c = 0; c < 64; c++) {
                const struct numbers got = numbers_at(kernels->pairs, &call, r, c);
                assert_true(isfinite(got.gradient));
                assert_int_equal(got.weight != 0, cells.stay[r] >> c & 1);
            }
        }
    }
}

/* Tiles of scores and of products, against double precision. */
static void
test_tiles(void **state)
{
    static const size_t dims[] = {1, 2, 15, 64, 100, 257, 600};
    const struct dk_gradient_kernels *kernels;
    uint64_t seed = 4;

    (void)state;
    for (size_t k = 0; (kernels = gradient_at(k)) != NULL; k++) {
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            const size_t dim = dims[i], per = kernels->pairs ? 2 : 1;
            struct test_guarded rows_guarded, panel_guarded;
            float *const rows = test_guarded_floats(&rows_guarded, ROWS * dim);
            float *const panel = test_guarded_floats(&panel_guarded, 64 * dim);
            const float *row[ROWS];
            _Alignas(64) float tile[ROWS][64];
            random_words(kernels->pairs, &seed, rows, ROWS * dim);
            random_words(kernels->pairs, &seed, panel, 64 * dim);
            for (size_t r = 0; r < ROWS; r++)
                row[r] = rows + r * dim;
            for (size_t count = 1; count <= ROWS; count++) {
                for (size_t cols = 16; cols <= 64; cols += 16) {
                    memset(tile, 0xff, sizeof tile);
                    (void)kernels->tile(&(struct dk_tile_f32){
                        .row = row,
                        .rows = count,
                        .dim = dim,
                        .cols = cols,
                        .panel = panel,
                        .tile = tile,
                    });
                    for (size_t r = 0; r < count; r++) {
                        for (size_t c = 0; c < cols; c++) {
                            double want = 0, magnitude = 0;
                            for (size_t d = 0; d < dim; d++)
                                want += multiply(kernels->pairs, row[r][d], panel[d * 64 + c],
                                                 &magnitude);
                            assert_true(fabs((double)tile[r][c] - want) <=
                                        (double)(per * dim + 1) * 0x1p-24 * magnitude);
                        }
                    }
                }
            }
            test_guarded_free(&rows_guarded);
            test_guarded_free(&panel_guarded);
        }
    }
}

static void
check_sum(const struct dk_gradient_kernels *kernels, bool down, size_t rows, size_t count,
          size_t width, uint64_t *seed)
{
    const size_t stride = width + rows % 3;
    const size_t cells = down ? (count - 1) * STRIDE + rows : (rows - 1) * STRIDE + count;
    struct test_guarded weight_guarded, value_guarded, output_guarded[ROWS];
    float *const weight = test_guarded_floats(&weight_guarded, cells);
    float *const value = test_guarded_floats(&value_guarded, (count - 1) * stride + width);
    float *const before = malloc(rows * width * sizeof *before);
    float *output[ROWS];

    random_words(kernels->pairs, seed, weight, cells);
    random_words(kernels->pairs, seed, value, (count - 1) * stride + width);
    test_random_normals(seed, before, rows * width);
    for (size_t r = 0; r < rows; r++) {
        output[r] = test_guarded_floats(&output_guarded[r], width);
        memcpy(output[r], before + r * width, width * sizeof **output);
    }
    kernels->sum(&(struct dk_gradient_sum){
        .down = down,
        .weight = weight,
        .rows = rows,
        .count = count,
        .value = value,
        .value_stride = stride,
        .width = width,
        .factor = 0.7f,
        .output = output,
    });
    for (size_t r = 0; r < rows; r++) {
        for (size_t e = 0; e < width; e++) {
            const size_t terms = kernels->pairs ? 2 * count : count;
            double sum = 0, magnitude = 0;
            for (size_t j = 0; j < count; j++) {
                const float w = weight[down ? j * STRIDE + r : r * STRIDE + j];
                sum += multiply(kernels->pairs, w, value[j * stride + e], &magnitude);
            }
            const double want = (double)before[r * width + e] + (double)0.7f * sum;
            magnitude = fabs((double)before[r * width + e]) + (double)0.7f * magnitude;
            if (!(fabs((double)output[r][e] - want) <= (double)(terms + 3) * 0x1p-24 * magnitude))
                fail_msg("%s: down %d rows %zu count %zu width %zu: row %zu column %zu is %.9g, "
                         "want %.9g",
                         kernels->name, down, rows, count, width, r, e, (double)output[r][e], want);
        }
        test_guarded_free(&output_guarded[r]);
    }
    free(before);
    test_guarded_free(&weight_guarded);
    test_guarded_free(&value_guarded);
}

static void
test_sums(void **state)
{
    static const size_t widths[] = {1,  2,  7,  8,  9,  15, 16, 17,  31,  32, 33,
                                    47, 48, 50, 63, 64, 65, 80, 127, 128, 200};
    static const size_t counts[] = {1, 2, 30, 64};
    const struct dk_gradient_kernels *kernels;
    uint64_t seed = 5;

    (void)state;
    for (size_t k = 0; (kernels = gradient_at(k)) != NULL; k++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (size_t rows = 1; rows <= ROWS; rows++) {
                for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                    check_sum(kernels, false, rows, counts[i], widths[w], &seed);
                    check_sum(kernels, true, rows, counts[i], widths[w], &seed);
                }
            }
        }
    }
}

/* A row's sum does not depend on the rows beside it, nor on what is added with weight 0. */
static void
test_sum_bits(void **state)
{
    enum { COUNT = 64, WIDTH = 83 };
    const struct dk_gradient_kernels *kernels;
    uint64_t seed = 6;

    (void)state;
    for (size_t k = 0; (kernels = gradient_at(k)) != NULL; k++) {
        for (int down = 0; down < 2; down++) {
            static float weight[COUNT * STRIDE], value[COUNT * WIDTH], sum[ROWS][WIDTH];
            float alone[WIDTH], *output[ROWS], *one = alone;
            random_words(kernels->pairs, &seed, weight, COUNT * STRIDE);
            random_words(kernels->pairs, &seed, value, COUNT * WIDTH);
            for (size_t r = 0; r < ROWS; r++) {
                output[r] = sum[r];
                for (size_t j = COUNT / 2; j < COUNT; j++)
                    weight[down ? j * STRIDE + r : r * STRIDE + j] = 0;
            }
            memset(sum, 0, sizeof sum);
            struct dk_gradient_sum call = {down,  weight, ROWS, COUNT, value,
                                           WIDTH, WIDTH,  0.3f, output};
            kernels->sum(&call);
            for (size_t r = 0; r < ROWS; r++) {
                memset(alone, 0, sizeof alone);
                call.weight = weight + (down ? r : r * STRIDE);
                call.rows = 1;
                call.count = COUNT / 2;
                call.output = &one;
                kernels->sum(&call);
                assert_memory_equal(alone, sum[r], sizeof alone);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),         cmocka_unit_test(test_extreme_cells),
        cmocka_unit_test(test_dropped_cells), cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_sums),          cmocka_unit_test(test_sum_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
