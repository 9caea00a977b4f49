/*
 * test_softmax_v.c - weigh and blend kernels of every instruction set
 *
 * Against double precision within the bounds of softmax_v.h, between guard pages; and row
 * against row bit for bit: what a row gets must not depend on how many rows share its tile, on
 * how its neighbours fare, or on how far a tile's columns are cut.
 */
#include "softmax_v_tile.h"

static struct tile
make_tile(size_t rows, size_t dim, size_t width, float size, uint64_t *seed)
{
    struct tile tile = room_for_tile(rows, dim, dim, width);

    test_random_normals(seed, tile.query, rows * dim);
    test_random_normals(seed, tile.panel, TILE_KEYS * dim);
    for (size_t i = 0; i < rows * dim; i++)
        tile.query[i] *= size / sqrtf((float)dim);
    return tile;
}

static void
weigh(const struct dk_kernels *kernels, const struct tile *tile, size_t panel, size_t cols,
      const uint64_t *keep)
{
    weigh_panels(kernels->softmax_v, tile, panel, 1, cols, keep);
}

/* The score of row r and a key, and a bound of a kernel's error. */
static double
score(const struct tile *tile, size_t r, size_t key, double *error)
{
    const float *const panel = tile->panel + key / DK_PANEL * DK_PANEL * tile->dim;
    double sum = 0, magnitude = 0;

    for (size_t d = 0; d < tile->dim; d++) {
        const double product = (double)tile->query[r * tile->dim + d] *
                               panel[d * DK_PANEL + key % DK_PANEL];
        sum += product;
        magnitude += fabs(product);
    }
    *error = (double)(tile->dim + 1) * 0x1p-24 * magnitude;
    return adjusted(tile, r, key, sum, error);
}

/* The weights of keys below 'keys', and their sums, against double precision. */
static void
check_weights(const char *isa, const struct tile *tile, size_t keys, const uint64_t *keep)
{
    for (size_t r = 0; r < tile->rows; r++) {
        const double m = tile->softmax->max[r];
        double sum = 0, sum_bound = 0, highest = -INFINITY;
        for (size_t j = 0; j < keys; j++) {
            double score_error, bound;
            const double s = score(tile, r, j, &score_error), got = tile->weight[r][j];
            if (!is_kept(keep, r, j)) {
                assert_true(got == 0);
                continue;
            }
            const double want = weight_of(s, m, score_error, &bound);
            if (!(fabs(got - want) <= bound))
                fail_msg("%s: rows %zu dim %zu: weight of row %zu key %zu is %.9g, want %.9g +- "
                         "%.2g",
                         isa, tile->rows, tile->dim, r, j, got, want, bound);
            highest = fmax(highest, s);
            sum += want;
            sum_bound += bound;
        }
        check_sum(tile, r, sum, sum_bound, highest);
    }
}

static void
test_weights(void **state)
{
    static const size_t dims[] = {1, 2, 15, 32, 33, 64, 100, 256, 257, 512, 600, 1100};
    const struct dk_kernels *kernels;
    uint64_t seed = 1;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            for (size_t rows = 1; rows <= ROWS; rows++) {
                struct tile tile = make_tile(rows, dims[d], 20, rows % 2 == 0 ? 1 : 6, &seed);
                for (size_t panel = 0; panel < 4; panel++) {
                    weigh(kernels, &tile, panel, DK_PANEL, NULL);
                    check_weights(kernels->isa, &tile, (panel + 1) * DK_PANEL, NULL);
                }
                drop_tile(&tile);
            }
        }
    }
}

/* Random masks, full ones and empty ones, fewer columns, and garbage where nobody looks. */
static void
test_masked_weights(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 2;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t round = 0; round < 200; round++) {
            struct tile tile = make_tile(1 + round % ROWS, 24, 20, 3, &seed);
            uint64_t keep[4 * ROWS] = {0};
            for (size_t panel = 0; panel < 4; panel++) {
                const size_t cols = 16 * (1 + test_random_below(&seed, 4));
                const uint64_t any = mask_rows(&tile, cols, keep + panel * ROWS, &seed);
                for (size_t c = 0; c < DK_PANEL; c++) {
                    if ((any >> c & 1) == 0)
                        tile.panel[panel * DK_PANEL * tile.dim + 5 * DK_PANEL + c] = garbage(c);
                }
                weigh(kernels, &tile, panel, cols, keep + panel * ROWS);
                for (size_t r = 0; r < tile.rows; r++)
                    memset(&tile.weight[r][panel * DK_PANEL + cols], 0,
                           (DK_PANEL - cols) * sizeof(float)); /* unspecified */
            }
            check_weights(kernels->isa, &tile, BLOCK, keep);
            drop_tile(&tile);
        }
    }
}

/* Softcap, bias and mask together: the last excludes whatever the others make. */
static void
test_adjusted_weights(void **state)
{
    static const size_t dims[] = {1, 7, 64, 256, 300};
    static const float caps[] = {0, 0.7f, 3, 72.13f, 1e4f};
    const struct dk_kernels *kernels;
    uint64_t seed = 8;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t round = 0; round < 240; round++) {
            struct tile tile = make_tile(1 + round % ROWS, dims[round / 6 % 5], 20,
                                         round / 6 % 4 == 0 ? 40 : 3, &seed);
            uint64_t keep[4 * ROWS];
            tile.softcap = caps[test_random_below(&seed, 5)];
            if (round / 6 % 3 != 0)
                add_bias(&tile, round / 6 % 3 == 1 ? 1 : 50, &seed);
            for (size_t i = 0; i < 4 * ROWS; i++)
                keep[i] = test_random(&seed) | test_random(&seed);
            for (size_t i = 0; i < 40 && tile.bias != NULL; i++) {
                const size_t row = test_random_below(&seed, 3 * ROWS + tile.rows);
                const size_t c = test_random_below(&seed, DK_PANEL);
                if (i % 2 == 0) {
                    tile.bias[row][c] = -INFINITY; /* weight 0 with and without a mask */
                } else if (round % 2 == 0) {
                    tile.bias[row][c] = i % 4 == 1 ? NAN : INFINITY;
                    keep[row] &= ~(UINT64_C(1) << c);
                }
            }
            const uint64_t *const mask = round % 2 == 0 ? keep : NULL;
            for (size_t panel = 0, panels; panel < 4; panel += panels) {
                panels = 1 + test_random_below(&seed, 4 - panel);
                weigh_panels(kernels->softmax_v, &tile, panel, panels, DK_PANEL,
                             mask != NULL ? mask + panel * ROWS : NULL);
            }
            check_weights(kernels->isa, &tile, BLOCK, mask);
            drop_tile(&tile);
        }
    }
}

/*
 * How close softcap comes, made visible by a bias that takes the capped score away again: what is
 * left is the error. Two thirds of the scores are small against the cap.
 */
static void
test_softcap(void **state)
{
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t rows = 1; rows <= ROWS; rows += ROWS - 1) {
            uint64_t seed = 9;
            struct tile tile = make_tile(rows, 1, 1, 1, &seed);
            add_bias(&tile, 0, &seed);
            tile.softcap = 72.13f;
            for (size_t r = 0; r < rows; r++)
                tile.query[r] = r % 2 == 0 ? 1 : -1;
            for (size_t j = 0; j < BLOCK; j++) {
                float *const s = &tile.panel[j];
                *s = ldexpf((float)(j % 2 == 0 ? 1 : -1) * (1 + (float)(j % 16) / 16),
                            (int)(j / 16) - 5);
                if (j % 85 == 84)
                    *s = j % 2 == 0 ? INFINITY : -INFINITY;
                for (size_t r = 0; r < rows; r++)
                    tile.bias[j / DK_PANEL * ROWS + r][j % DK_PANEL] = (float)-(
                        tile.softcap * tanh((double)tile.query[r] * *s / tile.softcap));
            }
            for (size_t panel = 0; panel < 4; panel++)
                weigh(kernels, &tile, panel, DK_PANEL, NULL);
            for (size_t r = 0; r < rows; r++) {
                for (size_t j = 0; j < BLOCK; j++) {
                    const double bias = tile.bias[j / DK_PANEL * ROWS + r][j % DK_PANEL];
                    const double raw = (double)tile.query[r] * tile.panel[j];
                    const double want = tile.softcap * tanh(raw / tile.softcap);
                    const double left = log2(tile.weight[r][j]) + tile.softmax->max[r];
                    const double small = fabs(raw) < 0.2 * tile.softcap ? 1e-7 : 3e-7;
                    if (!(fabs(left - (want + bias)) <= small * fabs(want) + 6e-7))
                        fail_msg("%s: the capped score of %g is off by %g", kernels->isa, raw,
                                 left - (want + bias));
                }
            }
            drop_tile(&tile);
        }
    }
}

/* What row r holds after one panel. */
struct row_state {
    float max, sum[DK_ATTEND_LANES], weight[DK_PANEL];
};

static struct row_state
row_state(const struct tile *tile, size_t r, size_t panel)
{
    struct row_state state = {.max = tile->softmax->max[r]};

    memcpy(state.sum, tile->softmax->sum[r], sizeof state.sum);
    memcpy(state.weight, &tile->weight[r][panel * DK_PANEL], sizeof state.weight);
    return state;
}

/* Row r of a tile of six, in which some rows take every kind of slow way, against row r alone. */
static void
test_rows_are_independent(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 3;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t round = 0; round < 120; round++) {
            struct tile all = make_tile(ROWS, 40, 16, 2, &seed);
            const size_t wild = test_random_below(&seed, ROWS);
            all.softcap = round % 3 == 1 ? 2 : 0;
            if (round % 4 == 3)
                add_bias(&all, 3, &seed);
            uint64_t keep[ROWS];
            for (size_t d = 0; d < 40; d++) {
                float *const q = &all.query[wild * 40 + d];
                switch (round % 5) {
                case 0: *q *= 60; break; /* m moves */
                case 1: *q = NAN; break;
                case 2: *q = d == 0 ? INFINITY : 0; break;
                case 3: *q *= 1e20f; break;
                }
            }
            for (size_t r = 0; r < ROWS; r++)
                keep[r] = r == wild && round % 5 == 4 ? 0 : ~UINT64_C(0);
            const uint64_t *const mask = round % 5 == 4 ? keep : NULL;
            struct row_state states[ROWS][4];
            for (size_t panel = 0; panel < 4; panel++) {
                weigh(kernels, &all, panel, DK_PANEL, panel % 2 == 0 ? mask : NULL);
                for (size_t r = 0; r < ROWS; r++)
                    states[r][panel] = row_state(&all, r, panel);
            }
            uint64_t every[4 * ROWS]; /* of panels 0 and 2, as above */
            for (size_t i = 0; i < 4 * ROWS; i++)
                every[i] = mask != NULL && i / ROWS % 2 == 0 ? keep[i % ROWS] : ~UINT64_C(0);
            if (round % 5 != 4 || round % 2 == 0) { /* all panels in one call */
                begin(&all);
                weigh_panels(kernels->softmax_v, &all, 0, 1 + round % 4, DK_PANEL,
                             round % 2 == 0 ? every : NULL);
                for (size_t r = 0; r < ROWS; r++) {
                    const struct row_state together = row_state(&all, r, round % 4);
                    assert_memory_equal(&together, &states[r][round % 4], sizeof together);
                }
            }
            for (size_t rows = 1; rows < ROWS && mask == NULL; rows++) { /* the first rows alone */
                struct tile few = all;
                few.rows = rows;
                begin(&few);
                weigh_panels(kernels->softmax_v, &few, 0, 1 + round % 4, DK_PANEL, NULL);
                for (size_t r = 0; r < rows; r++) {
                    const struct row_state together = row_state(&few, r, round % 4);
                    assert_memory_equal(&together, &states[r][round % 4], sizeof together);
                }
            }
            for (size_t r = 0; r < ROWS; r++) {
                struct tile one = all;
                one.rows = 1;
                one.query = all.query + r * 40;
                one.bias = all.bias != NULL ? all.bias + r : NULL;
                begin(&one);
                for (size_t panel = 0; panel < 4; panel++) {
                    const uint64_t everything = ~UINT64_C(0);
                    const bool masked = mask != NULL && panel % 2 == 0;
                    weigh(kernels, &one, panel, DK_PANEL, masked ? keep + r : &everything);
                    const struct row_state alone = row_state(&one, 0, panel);
                    assert_memory_equal(&alone, &states[r][panel], sizeof alone);
                }
            }
            drop_tile(&all);
        }
    }
}

/* When m moves, sums, outputs and earlier weights of the block follow by a power of two. */
static void
test_moving_m(void **state)
{
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        uint64_t seed = 4;
        struct tile tile = make_tile(ROWS, 1, 40, 1, &seed);
        for (size_t r = 0; r < ROWS; r++)
            tile.query[r] = r < 5 ? 1 : -1; /* the last row's scores fall */
        for (size_t c = 0; c < 2 * DK_PANEL; c++)
            tile.panel[c] = c < DK_PANEL ? 0.25f : 30.5f;
        weigh(kernels, &tile, 0, DK_PANEL, NULL);
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t e = 0; e < tile.stride; e++)
                tile.output[r * tile.stride + e] = (float)(e + 1);
        }
        const struct row_state first = row_state(&tile, 0, 0), last = row_state(&tile, 5, 0);
        assert_true(first.max == 1 && last.max == 0);
        weigh(kernels, &tile, 1, DK_PANEL, NULL);
        for (size_t r = 0; r < ROWS; r++) {
            const float factor = r < 5 ? 0x1p-30f : 1;
            const struct row_state *const before = r < 5 ? &first : &last;
            assert_true(tile.softmax->max[r] == (r < 5 ? 31 : 0));
            for (size_t c = 0; c < DK_PANEL; c++) {
                assert_true(tile.weight[r][c] == before->weight[c] * factor);
                assert_true(
                    fabs(tile.weight[r][DK_PANEL + c] - (r < 5 ? exp2(-0.5) : exp2(-30.5))) < 1e-6);
            }
            for (size_t e = 0; e < tile.stride; e++)
                assert_true(tile.output[r * tile.stride + e] == (float)(e + 1) * factor);
        }
        drop_tile(&tile);
    }
}

static void
test_not_numbers(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 5;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t bad = 0; bad < 3; bad++) {
            struct tile tile = make_tile(ROWS, 3, 16, 1, &seed);
            for (size_t panel = 0; panel < 4; panel++) {
                if (panel == 1) /* key 70: NaN, infinity, or -infinity for queries above 0 */
                    tile.panel[DK_PANEL * 3 + 6] = bad == 0 ? NAN : bad == 1 ? INFINITY : -INFINITY;
                weigh(kernels, &tile, panel, DK_PANEL, NULL);
                for (size_t r = 0; r < ROWS; r++) {
                    const float q = tile.query[r * 3];
                    const bool poisoned = panel >= 1 && (bad == 0 || (bad == 1 ? q > 0 : q < 0));
                    assert_int_equal(isnan(tile.softmax->max[r]), poisoned);
                    assert_int_equal(isnan(tile.softmax->sum[r][0]), poisoned);
                    if (panel == 1 && !poisoned)
                        assert_true(tile.weight[r][70] == 0);
                }
            }
            drop_tile(&tile);
        }
    }
}

/* Output sums against double precision; values end at a guard page, at odd addresses. */
static void
test_blend(void **state)
{
    static const size_t widths[] = {1,  2,  7,  8,  9,  15, 16, 17,  31,  32, 33,
                                    47, 48, 50, 63, 64, 65, 80, 127, 128, 200};
    const struct dk_kernels *kernels;
    uint64_t seed = 6;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (size_t rows = 1; rows <= ROWS; rows++) {
                static const size_t ranges[][2] = {{0, BLOCK}, {0, 1}, {63, 64}, {17, 80}};
                for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
                    const size_t first = ranges[i][0], last = ranges[i][1], width = widths[w];
                    const size_t stride = width + rows % 3;
                    struct tile tile = make_tile(rows, 1, width, 1, &seed);
                    struct test_guarded guarded;
                    float *const value = test_guarded_floats(&guarded, (last - 1) * stride + width);
                    test_random_normals(&seed, value + first * stride,
                                        (last - 1 - first) * stride + width);
                    float *const before = aligned(rows * tile.stride * sizeof *before);
                    test_random_normals(&seed, tile.weight[0], ROWS * BLOCK);
                    for (size_t r = 0; r < rows; r++)
                        test_random_normals(&seed, tile.output + r * tile.stride, width);
                    memcpy(before, tile.output, rows * tile.stride * sizeof *before);
                    kernels->softmax_v->blend(&(struct dk_blend){
                        .weight = tile.weight,
                        .rows = rows,
                        .first = first,
                        .last = last,
                        .value = value,
                        .value_stride = stride,
                        .width = width,
                        .output = tile.output,
                        .output_stride = tile.stride,
                    });
                    for (size_t r = 0; r < rows; r++) {
                        for (size_t e = 0; e < width; e++) {
                            double want = before[r * tile.stride + e], magnitude = fabs(want);
                            for (size_t j = first; j < last; j++) {
                                const double product = (double)tile.weight[r][j] *
                                                       value[j * stride + e];
                                want += product;
                                magnitude += fabs(product);
                            }
                            const double got = tile.output[r * tile.stride + e];
                            const double bound = (double)(last - first + 2) * 0x1p-24 * magnitude;
                            if (!(fabs(got - want) <= bound))
                                fail_msg("%s: rows %zu width %zu keys %zu..%zu: row %zu column %zu "
                                         "is %.9g, want %.9g",
                                         kernels->isa, rows, width, first, last, r, e, got, want);
                        }
                    }
                    free(before);
                    test_guarded_free(&guarded);
                    drop_tile(&tile);
                }
            }
        }
    }
}

/* A row's sums do not depend on the rows beside it, nor on where a block of keys is cut. */
static void
test_blend_bits(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 7;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t width = 1; width < 150; width += 37) {
            struct tile tile = make_tile(ROWS, 1, width, 1, &seed);
            float *const value = aligned(BLOCK * width * sizeof *value);
            float *const together = aligned(ROWS * tile.stride * sizeof *together);
            test_random_normals(&seed, tile.weight[0], ROWS * BLOCK);
            test_random_normals(&seed, value, BLOCK * width);
            struct dk_blend blend = {tile.weight, ROWS,  0,           BLOCK,       value,
                                     width,       width, tile.output, tile.stride, NULL};
            kernels->softmax_v->blend(&blend);
            memcpy(together, tile.output, ROWS * tile.stride * sizeof *together);
            begin(&tile);
            for (size_t r = 0; r < ROWS; r++) {
                for (size_t first = 0; first < BLOCK; first = blend.last) {
                    blend.weight = tile.weight + r;
                    blend.rows = 1;
                    blend.first = first;
                    blend.last = first + 1 + test_random_below(&seed, BLOCK - first);
                    blend.output = tile.output + r * tile.stride;
                    kernels->softmax_v->blend(&blend);
                }
                assert_memory_equal(together + r * tile.stride, tile.output + r * tile.stride,
                                    width * sizeof *together);
            }
            free(value);
            free(together);
            drop_tile(&tile);
        }
    }
}

/* Keys that may be passed over, few or many of a panel, make no difference. */
static void
test_blend_of_kept_keys(void **state)
{
    static const size_t widths[] = {1, 16, 33, 50, 64, 72, 200};
    const struct dk_kernels *kernels;
    uint64_t seed = 8;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        for (size_t round = 0; round < 70; round++) {
            const size_t width = widths[round % 7], rows = 1 + round % ROWS;
            const size_t last = 1 + test_random_below(&seed, BLOCK);
            struct tile tile = make_tile(ROWS, 1, width, 1, &seed);
            float *const value = aligned(BLOCK * width * sizeof *value);
            float *const dense = aligned(ROWS * tile.stride * sizeof *dense);
            uint64_t keep[BLOCK / DK_PANEL][ROWS] = {{0}};
            test_random_normals(&seed, tile.weight[0], ROWS * BLOCK);
            test_random_normals(&seed, value, BLOCK * width);
            for (size_t j = 0; j < BLOCK; j++) {
                for (size_t r = 0; r < ROWS; r++) {
                    const bool kept = j < last &&
                                      test_random_below(&seed, 4) < (j / 64 + round) % 5;
                    keep[j / 64][r] |= (uint64_t)kept << j % 64;
                    tile.weight[r][j] = kept ? tile.weight[r][j] : 0;
                }
            }
            struct dk_blend blend = {tile.weight, rows,  0,           last,        value,
                                     width,       width, tile.output, tile.stride, NULL};
            kernels->softmax_v->blend(&blend);
            memcpy(dense, tile.output, rows * tile.stride * sizeof *dense);
            begin(&tile);
            blend.keep = (const uint64_t(*)[ROWS])keep;
            kernels->softmax_v->blend(&blend);
            for (size_t r = 0; r < rows; r++) {
                for (size_t e = 0; e < width; e++)
                    assert_true(tile.output[r * tile.stride + e] == dense[r * tile.stride + e]);
            }
            free(value);
            free(dense);
            drop_tile(&tile);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_masked_weights),
        cmocka_unit_test(test_adjusted_weights),
        cmocka_unit_test(test_softcap),
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_moving_m),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_blend),
        cmocka_unit_test(test_blend_bits),
        cmocka_unit_test(test_blend_of_kept_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
