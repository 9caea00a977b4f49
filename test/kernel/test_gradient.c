/*
 * test_gradient.c - cells and sums of the gradient kernels of every instruction set
 *
 * Against double precision within the bounds of gradient.h, at every number of rows, at odd widths
 * and between guard pages; what does not count is full of NaN.
 */
#include "support.h"

#include "kernel/kernel.h"

enum { ROWS = DK_GRADIENT_ROWS, STRIDE = DK_GRADIENT_STRIDE };

struct cells {
    _Alignas(64) float score[ROWS][64], product[ROWS][64], bias[ROWS][64];
    _Alignas(64) float weight[ROWS][STRIDE], gradient[ROWS][STRIDE];
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
        .boost = 1,
        .weight = cells->weight,
        .gradient = cells->gradient,
    };
}

static void
check_cells(const char *isa, const struct dk_gradient_cells *call)
{
    for (size_t r = 0; r < call->rows; r++) {
        for (size_t c = 0; c < 64; c++) {
            const double got_weight = call->weight[r][c], got = call->gradient[r][c];
            const bool counts = c < call->cols &&
                                (call->keep == NULL || (call->keep[r] >> c & 1) != 0);
            if (!counts) {
                assert_true(got_weight == 0 && got == 0);
                continue;
            }
            const double cap = (double)call->softcap;
            double s = call->score[r][c], d = call->product[r][c], slope = 1;
            double error = 0; /* of the score */
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
            if (!(fabs(got_weight - p * boost) <= p * boost * (relative + 0x1p-23) + tiny))
                fail_msg("%s: rows %zu cols %zu: weight %zu, %zu is %.9g, want %.9g", isa,
                         call->rows, call->cols, r, c, got_weight, p * boost);
            if (!(fabs(got - want) <= p * spread * (relative + 1e-6) + tiny))
                fail_msg("%s: rows %zu cols %zu: gradient %zu, %zu is %.9g, want %.9g", isa,
                         call->rows, call->cols, r, c, got, want);
        }
    }
}

/* Every set of options, rows and columns. */
static void
test_cells(void **state)
{
    const struct dk_kernels *kernels;
    struct cells cells;
    uint64_t seed = 1;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
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
            for (size_t r = 0; r < ROWS; r++) {
                for (size_t c = 0; c < 64; c++) {
                    if (call.keep == NULL || (call.keep[r] >> c & 1) != 0)
                        continue;
                    cells.score[r][c] = c % 2 == 0 ? NAN : INFINITY;
                    cells.product[r][c] = c % 3 == 0 ? NAN : -INFINITY;
                    cells.bias[r][c] = NAN;
                }
            }
            kernels->gradient->cells_f32(&call);
            check_cells(kernels->isa, &call);
            for (size_t r = 0; r < call.rows;
                 r++) { /* the room beside the columns is not touched */
                for (size_t c = 64; c < STRIDE; c++)
                    assert_true(isnan(cells.weight[r][c]) && isnan(cells.gradient[r][c]));
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
    const struct dk_kernels *kernels;
    struct cells cells;
    uint64_t seed = 2;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            fill(&cells, 1, &seed);
            const struct dk_gradient_cells call = call_of(&cells, 1, 64);
            cells.score[0][i] = cases[i].score;
            cells.lse[0] = cases[i].lse;
            kernels->gradient->cells_f32(&call);
            if (cases[i].weight < 0)
                assert_true(isnan(cells.weight[0][i]) && isnan(cells.gradient[0][i]));
            else
                assert_true(cells.weight[0][i] == cases[i].weight);
            if (cases[i].weight == 0)
                assert_true(cells.gradient[0][i] == 0);
        }
    }
}

/* Dropped weights take no part even where products are not finite. */
static void
test_dropped_cells(void **state)
{
    const struct dk_kernels *kernels;
    struct cells cells;
    uint64_t seed = 3;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
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
        kernels->gradient->cells_f32(&call);
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t c = 0; c < 64; c++) {
                assert_true(isfinite(cells.gradient[r][c]));
                assert_int_equal(cells.weight[r][c] != 0, cells.stay[r] >> c & 1);
            }
        }
    }
}

/* Tiles of scores and of products, against double precision. */
static void
test_tiles(void **state)
{
    static const size_t dims[] = {1, 2, 15, 64, 100, 257, 600};
    const struct dk_kernels *kernels;
    uint64_t seed = 4;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            const size_t dim = dims[i];
            struct test_guarded rows_guarded, panel_guarded;
            float *const rows = test_guarded_floats(&rows_guarded, ROWS * dim);
            float *const panel = test_guarded_floats(&panel_guarded, 64 * dim);
            const float *row[ROWS];
            _Alignas(64) float tile[ROWS][64];
            test_random_normals(&seed, rows, ROWS * dim);
            test_random_normals(&seed, panel, 64 * dim);
            for (size_t r = 0; r < ROWS; r++)
                row[r] = rows + r * dim;
            for (size_t count = 1; count <= ROWS; count++) {
                for (size_t cols = 16; cols <= 64; cols += 16) {
                    memset(tile, 0xff, sizeof tile);
                    (void)kernels->gradient->tile_f32(&(struct dk_tile_f32){
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
                            for (size_t d = 0; d < dim; d++) {
                                const double product = (double)row[r][d] *
                                                       (double)panel[d * 64 + c];
                                want += product;
                                magnitude += fabs(product);
                            }
                            assert_true(fabs((double)tile[r][c] - want) <=
                                        (double)(dim + 1) * 0x1p-24 * magnitude);
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
check_sum(const struct dk_kernels *kernels, bool down, size_t rows, size_t count, size_t width,
          uint64_t *seed)
{
    const size_t stride = width + rows % 3;
    const size_t cells = down ? (count - 1) * STRIDE + rows : (rows - 1) * STRIDE + count;
    struct test_guarded weight_guarded, value_guarded, output_guarded[ROWS];
    float *const weight = test_guarded_floats(&weight_guarded, cells);
    float *const value = test_guarded_floats(&value_guarded, (count - 1) * stride + width);
    float *const before = malloc(rows * width * sizeof *before);
    float *output[ROWS];

    test_random_normals(seed, weight, cells);
    test_random_normals(seed, value, (count - 1) * stride + width);
    test_random_normals(seed, before, rows * width);
    for (size_t r = 0; r < rows; r++) {
        output[r] = test_guarded_floats(&output_guarded[r], width);
        memcpy(output[r], before + r * width, width * sizeof **output);
    }
    kernels->gradient->sum_f32(&(struct dk_gradient_sum){
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
            double want = (double)before[r * width + e], magnitude = fabs(want);
            for (size_t j = 0; j < count; j++) {
                const float w = weight[down ? j * STRIDE + r : r * STRIDE + j];
                const double product = (double)0.7f * (double)w * (double)value[j * stride + e];
                want += product;
                magnitude += fabs(product);
            }
            if (!(fabs((double)output[r][e] - want) <= (double)(count + 3) * 0x1p-24 * magnitude))
                fail_msg("%s: down %d rows %zu count %zu width %zu: row %zu column %zu is %.9g, "
                         "want %.9g",
                         kernels->isa, down, rows, count, width, r, e, (double)output[r][e], want);
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
    const struct dk_kernels *kernels;
    uint64_t seed = 5;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
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
    const struct dk_kernels *kernels;
    uint64_t seed = 6;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (int down = 0; down < 2; down++) {
            static float weight[COUNT * STRIDE], value[COUNT * WIDTH], sum[ROWS][WIDTH];
            float alone[WIDTH], *output[ROWS], *one = alone;
            test_random_normals(&seed, weight, COUNT * STRIDE);
            test_random_normals(&seed, value, COUNT * WIDTH);
            for (size_t r = 0; r < ROWS; r++) {
                output[r] = sum[r];
                for (size_t j = COUNT / 2; j < COUNT; j++)
                    weight[down ? j * STRIDE + r : r * STRIDE + j] = 0;
            }
            memset(sum, 0, sizeof sum);
            struct dk_gradient_sum call = {down,  weight, ROWS, COUNT, value,
                                           WIDTH, WIDTH,  0.3f, output};
            kernels->gradient->sum_f32(&call);
            for (size_t r = 0; r < ROWS; r++) {
                memset(alone, 0, sizeof alone);
                call.weight = weight + (down ? r : r * STRIDE);
                call.rows = 1;
                call.count = COUNT / 2;
                call.output = &one;
                kernels->gradient->sum_f32(&call);
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
