/*
 * test_softmax_v_bf16.c - weigh and blend kernels of pairs of bf16, and what packs their words
 *
 * As test_softmax_v.c, for the instruction sets that multiply pairs: against double precision,
 * between guard pages, row against row and cut against whole bit for bit.
 */
#include "softmax_v_tile.h"

#include "kernel/half.h"

/* The kernels of table k, NULL past the end; those without pairs are passed over. */
static const struct dk_kernels *
next_of_pairs(size_t *k)
{
    const struct dk_kernels *kernels;

    while ((kernels = dk_kernels_at((*k)++)) != NULL) {
        if (kernels->softmax_v_bf16->pairs)
            return kernels;
        assert_ptr_equal(kernels->softmax_v_bf16, kernels->softmax_v);
    }
    return NULL;
}

static uint16_t
half_of(const float *words, size_t i)
{
    return ((const uint16_t *)(const void *)words)[i];
}

static void
set_half(float *words, size_t i, float value)
{
    ((uint16_t *)(void *)words)[i] = dk_f32_to_bf16(value);
}

static double
number(const float *words, size_t i)
{
    return (double)dk_bf16_to_f32(half_of(words, i));
}

/* Number d of row r of the queries, and of a key. */
static size_t
query_at(const struct tile *tile, size_t r, size_t d)
{
    return 2 * r * tile->words + d;
}

static size_t
key_at(const struct tile *tile, size_t key, size_t d)
{
    return 2 * ((key / DK_PANEL * tile->words + d / 2) * DK_PANEL + key % DK_PANEL) + d % 2;
}

static struct tile
make_tile(size_t rows, size_t dim, size_t width, float size, uint64_t *seed)
{
    struct tile tile = room_for_tile(rows, dim, (dim + 1) / 2, width);

    tile.scale = size / sqrtf((float)dim);
    memset(tile.query, 0, rows * tile.words * sizeof *tile.query);
    memset(tile.panel, 0, TILE_KEYS * tile.words * sizeof *tile.panel);
    for (size_t d = 0; d < dim; d++) {
        float normal[4 * DK_PANEL];
        test_random_normals(seed, normal, rows);
        for (size_t r = 0; r < rows; r++)
            set_half(tile.query, query_at(&tile, r, d), normal[r]);
        test_random_normals(seed, normal, 4 * DK_PANEL);
        for (size_t key = 0; key < 4 * DK_PANEL; key++)
            set_half(tile.panel, key_at(&tile, key, d), normal[key]);
    }
    return tile;
}

static void
weigh(const struct dk_kernels *kernels, const struct tile *tile, size_t panel, size_t panels,
      size_t cols, const uint64_t *keep)
{
    weigh_panels(kernels->softmax_v_bf16, tile, panel, panels, cols, keep);
}

/* The score of row r and a key, and a bound of a kernel's error. */
static double
score(const struct tile *tile, size_t r, size_t key, double *error)
{
    double sum = 0, magnitude = 0;

    for (size_t d = 0; d < tile->dim; d++) {
        const double product = number(tile->query, query_at(tile, r, d)) *
                               number(tile->panel, key_at(tile, key, d)) * tile->scale;
        sum += product;
        magnitude += fabs(product);
    }
    *error = (double)(tile->dim + 2) * 0x1p-24 * magnitude;
    return adjusted(tile, r, key, sum, error);
}

/* The weights of keys below 'keys', and their sums before and after rounding. */
static void
check_weights(const char *isa, const struct tile *tile, size_t keys, const uint64_t *keep)
{
    for (size_t r = 0; r < tile->rows; r++) {
        const double m = tile->softmax->max[r];
        double sum = 0, sum_bound = 0, highest = -INFINITY, rounded = 0;
        for (size_t j = 0; j < keys; j++) {
            double score_error, bound;
            const double s = score(tile, r, j, &score_error), got = number(tile->weight[r], j);
            if (!is_kept(keep, r, j)) {
                assert_true(got == 0);
                continue;
            }
            const double want = weight_of(s, m, score_error, &bound);
            if (!(fabs(got - want) <= bound + 0x1p-8 * want))
                fail_msg("%s: rows %zu dim %zu: weight of row %zu key %zu is %.9g, want %.9g", isa,
                         tile->rows, tile->dim, r, j, got, want);
            highest = fmax(highest, s);
            rounded += got;
            sum += want;
            sum_bound += bound;
        }
        assert_true(fabs(sum_of_lanes(tile->softmax->divisor[r]) - rounded) <=
                    32 * 0x1p-24 * rounded);
        check_sum(tile, r, sum, sum_bound, highest);
    }
}

static void
test_weights(void **state)
{
    static const size_t dims[] = {1, 2, 3, 15, 32, 33, 64, 128, 257, 512, 513, 1100};
    const struct dk_kernels *kernels;
    uint64_t seed = 1;

    (void)state;
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            for (size_t rows = 1; rows <= ROWS; rows++) {
                for (int capped = 0; capped < 2; capped++) {
                    struct tile tile = make_tile(rows, dims[d], 20, rows % 2 == 0 ? 1 : -6, &seed);
                    tile.softcap = capped == 1 ? 3 : 0;
                    weigh(kernels, &tile, 0, 1, DK_PANEL, NULL);
                    weigh(kernels, &tile, 1, 3, DK_PANEL, NULL);
                    check_weights(kernels->isa, &tile, BLOCK, NULL);
                    drop_tile(&tile);
                }
            }
        }
    }
}

/* Random masks, biases, fewer columns, and garbage where nobody looks. */
static void
test_masked_weights(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 2;

    (void)state;
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        for (size_t round = 0; round < 200; round++) {
            struct tile tile = make_tile(1 + round % ROWS, 24, 20, 3, &seed);
            uint64_t keep[4 * ROWS] = {0};
            if (round % 3 == 0)
                add_bias(&tile, 1, &seed);
            for (size_t panel = 0; panel < 4; panel++) {
                const size_t cols = 16 * (1 + test_random_below(&seed, 4));
                const uint64_t any = mask_rows(&tile, cols, keep + panel * ROWS, &seed);
                for (size_t c = 0; c < DK_PANEL; c++) {
                    if ((any >> c & 1) == 0)
                        set_half(tile.panel, key_at(&tile, panel * DK_PANEL + c, 5), garbage(c));
                }
                weigh(kernels, &tile, panel, 1, cols, keep + panel * ROWS);
                for (size_t r = 0; r < tile.rows; r++)
                    memset(&tile.weight[r][(panel * DK_PANEL + cols) / 2], 0,
                           (DK_PANEL - cols) / 2 * sizeof(float)); /* unspecified */
            }
            check_weights(kernels->isa, &tile, BLOCK, keep);
            drop_tile(&tile);
        }
    }
}

/* What row r holds after one panel. */
struct row_state {
    float max, sum[DK_ATTEND_LANES], divisor[DK_ATTEND_LANES], weight[DK_PANEL / 2];
};

static struct row_state
row_state(const struct tile *tile, size_t r, size_t panel)
{
    struct row_state state = {.max = tile->softmax->max[r]};

    memcpy(state.sum, tile->softmax->sum[r], sizeof state.sum);
    memcpy(state.divisor, tile->softmax->divisor[r], sizeof state.divisor);
    memcpy(state.weight, &tile->weight[r][panel * DK_PANEL / 2], sizeof state.weight);
    return state;
}

/* Row r of a tile of six, one of which is unusual, against row r alone: the same bits. */
static void
test_rows_are_independent(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 3;

    (void)state;
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        for (size_t round = 0; round < 120; round++) {
            struct tile all = make_tile(ROWS, 40, 16, 2, &seed);
            const size_t wild = test_random_below(&seed, ROWS);
            const uint64_t everything = ~UINT64_C(0);
            struct row_state states[ROWS][4];
            all.softcap = round % 3 == 0 ? 5 : 0;
            for (size_t d = 0; d < 40; d++) {
                const size_t at = query_at(&all, wild, d);
                const float q = (float)number(all.query, at);
                const float wilder[] = {q * 60, NAN, d == 0 ? INFINITY : 0, q * 1e20f};
                set_half(all.query, at, wilder[round % 4]);
            }
            for (size_t panel = 0; panel < 4; panel++) {
                weigh(kernels, &all, panel, 1, DK_PANEL, NULL);
                for (size_t r = 0; r < ROWS; r++)
                    states[r][panel] = row_state(&all, r, panel);
            }
            begin(&all);
            weigh(kernels, &all, 0, 1 + round % 4, DK_PANEL, NULL); /* panels in one call */
            for (size_t r = 0; r < ROWS; r++) {
                const struct row_state together = row_state(&all, r, round % 4);
                assert_memory_equal(&together, &states[r][round % 4], sizeof together);
            }
            for (size_t r = 0; r < ROWS; r++) {
                struct tile one = all;
                one.rows = 1;
                one.query = all.query + r * all.words;
                begin(&one);
                for (size_t panel = 0; panel < 4; panel++) {
                    weigh(kernels, &one, panel, 1, DK_PANEL, panel % 2 == 0 ? &everything : NULL);
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
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        uint64_t seed = 4;
        struct tile tile = make_tile(ROWS, 1, 40, 1, &seed);
        for (size_t r = 0; r < ROWS; r++)
            set_half(tile.query, query_at(&tile, r, 0), r < 5 ? 1 : -1); /* its scores fall */
        for (size_t c = 0; c < 2 * DK_PANEL; c++)
            set_half(tile.panel, key_at(&tile, c, 0), c < DK_PANEL ? 0.25f : 30.5f);
        weigh(kernels, &tile, 0, 1, DK_PANEL, NULL);
        for (size_t i = 0; i < ROWS * tile.stride; i++)
            tile.output[i] = (float)(i + 1);
        const struct row_state first = row_state(&tile, 0, 0), last = row_state(&tile, 5, 0);
        assert_true(first.max == 1 && last.max == 0);
        weigh(kernels, &tile, 1, 1, DK_PANEL, NULL);
        for (size_t r = 0; r < ROWS; r++) {
            const float factor = r < 5 ? 0x1p-30f : 1;
            const struct row_state *const before = r < 5 ? &first : &last;
            assert_true(tile.softmax->max[r] == (r < 5 ? 31 : 0));
            for (size_t c = 0; c < DK_PANEL; c++) {
                const double want = r < 5 ? exp2(-0.5) : exp2(-30.5);
                assert_true(number(tile.weight[r], c) == number(before->weight, c) * factor);
                assert_true(fabs(number(tile.weight[r], DK_PANEL + c) - want) < 0x1p-8 * want);
            }
            for (size_t e = 0; e < tile.stride; e++)
                assert_true(tile.output[r * tile.stride + e] ==
                            (float)(r * tile.stride + e + 1) * factor);
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
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        for (size_t bad = 0; bad < 3; bad++) {
            struct tile tile = make_tile(ROWS, 3, 16, 1, &seed);
            for (size_t panel = 0; panel < 4; panel++) {
                if (panel == 1) /* infinity, or -infinity for queries above 0 */
                    set_half(tile.panel, key_at(&tile, 70, 0),
                             bad == 0   ? NAN
                             : bad == 1 ? INFINITY
                                        : -INFINITY);
                weigh(kernels, &tile, panel, 1, DK_PANEL, NULL);
                for (size_t r = 0; r < ROWS; r++) {
                    const double q = number(tile.query, query_at(&tile, r, 0));
                    const bool poisoned = panel >= 1 && (bad == 0 || (bad == 1 ? q > 0 : q < 0));
                    assert_int_equal(isnan(tile.softmax->max[r]), poisoned);
                    assert_int_equal(isnan(tile.softmax->sum[r][0]), poisoned);
                    assert_int_equal(isnan(tile.softmax->divisor[r][0]), poisoned);
                    if (panel == 1 && !poisoned)
                        assert_true(number(tile.weight[r], 70) == 0);
                }
            }
            drop_tile(&tile);
        }
    }
}

/*
 * Output sums against double precision; values end at a guard page, and beside a range that ends
 * within a pair stands a NaN.
 */
static void
test_blend(void **state)
{
    static const size_t widths[] = {1, 2, 15, 16, 17, 31, 33, 48, 50, 64, 65, 80, 127, 128, 200};
    static const size_t ranges[][2] = {{0, BLOCK}, {0, 1}, {1, 2}, {63, 64}, {17, 80}, {3, 90}};
    const struct dk_kernels *kernels;
    uint64_t seed = 6;

    (void)state;
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths * 6 * ROWS; i++) {
            const size_t width = widths[i / 6 / ROWS], rows = 1 + i % ROWS;
            const size_t first = ranges[i / ROWS % 6][0], last = ranges[i / ROWS % 6][1];
            const size_t stride = width + rows % 3, words = ((last + 1) / 2 - 1) * stride + width;
            struct tile tile = make_tile(rows, 1, width, 1, &seed);
            struct test_guarded guarded;
            float *const value = test_guarded_floats(&guarded, words);
            float *const before = aligned(rows * tile.stride * sizeof *before);
            float normal[2 * 128 * 210];
            test_random_normals(&seed, normal, 2 * words);
            for (size_t j = 0; j < 2 * words; j++) {
                const size_t key = j / 2 / stride * 2 + j % 2;
                set_half(value, j, key < first || key >= last ? NAN : normal[j]);
            }
            test_random_normals(&seed, normal, ROWS * BLOCK);
            for (size_t j = 0; j < ROWS * BLOCK; j++)
                set_half(tile.weight[j / BLOCK], j % BLOCK, normal[j]);
            for (size_t r = 0; r < rows; r++)
                test_random_normals(&seed, tile.output + r * tile.stride, width);
            memcpy(before, tile.output, rows * tile.stride * sizeof *before);
            kernels->softmax_v_bf16->blend(&(struct dk_blend){
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
            for (size_t j = 0; j < rows * width; j++) {
                const size_t r = j / width, e = j % width;
                double want = before[r * tile.stride + e], magnitude = fabs(want);
                for (size_t key = first; key < last; key++) {
                    const double product = number(tile.weight[r], key) *
                                           number(value, 2 * (key / 2 * stride + e) + key % 2);
                    want += product;
                    magnitude += fabs(product);
                }
                const double got = tile.output[r * tile.stride + e];
                if (!(fabs(got - want) <= (double)(last - first + 2) * 0x1p-24 * magnitude))
                    fail_msg("%s: rows %zu width %zu keys %zu..%zu: row %zu column %zu is %.9g, "
                             "want %.9g",
                             kernels->isa, rows, width, first, last, r, e, got, want);
            }
            free(before);
            test_guarded_free(&guarded);
            drop_tile(&tile);
        }
    }
}

/*
 * A row's sums do not depend on the rows beside it, nor on where keys without weight are left out,
 * within a pair or not.
 */
static void
test_blend_bits(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 7;

    (void)state;
    for (size_t k = 0; (kernels = next_of_pairs(&k)) != NULL;) {
        for (size_t width = 1; width < 150; width += 37) {
            struct tile tile = make_tile(ROWS, 1, width, 1, &seed);
            float *const value = aligned(BLOCK / 2 * width * sizeof *value);
            float *const together = aligned(ROWS * tile.stride * sizeof *together);
            float normal[ROWS * BLOCK];
            test_random_normals(&seed, normal, ROWS * BLOCK);
            for (size_t j = 0; j < ROWS * BLOCK; j++)
                set_half(tile.weight[j / BLOCK], j % BLOCK,
                         test_random_below(&seed, 5) == 0 ? 0 : normal[j]);
            for (size_t j = 0; j < BLOCK * width; j++)
                set_half(value, j, test_random_float(&seed));
            struct dk_blend blend = {tile.weight, ROWS,  0,           BLOCK,       value,
                                     width,       width, tile.output, tile.stride, NULL};
            kernels->softmax_v_bf16->blend(&blend);
            memcpy(together, tile.output, ROWS * tile.stride * sizeof *together);
            begin(&tile);
            for (size_t r = 0; r < ROWS; r++) {
                blend.weight = tile.weight + r;
                blend.rows = 1;
                blend.output = tile.output + r * tile.stride;
                for (size_t key = 0; key < BLOCK; key = blend.last) {
                    while (key < BLOCK && number(tile.weight[r], key) == 0)
                        key++;
                    blend.first = blend.last = key;
                    while (blend.last < BLOCK && number(tile.weight[r], blend.last) != 0)
                        blend.last++;
                    if (blend.first < blend.last)
                        kernels->softmax_v_bf16->blend(&blend);
                }
                for (size_t e = 0; e < width; e++) /* + 0: -0 is 0 */
                    blend.output[e] += 0.0f, together[r * tile.stride + e] += 0.0f;
                assert_memory_equal(together + r * tile.stride, blend.output,
                                    width * sizeof *together);
            }
            free(value);
            free(together);
            drop_tile(&tile);
        }
    }
}

/* Words are as softmax_v.h says on every instruction set, NaN and all, rows at odd places. */
static void
test_packing(void **state)
{
    static const size_t widths[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 64, 65, 127, 200};
    static const size_t counts[] = {1, 2, 15, 16, 17, 33, 63, 64};
    const struct dk_kernels *kernels;
    uint64_t seed = 8;

    (void)state;
    for (size_t i = 0; i < sizeof widths / sizeof *widths * 8; i++) {
        const size_t width = widths[i / 8], count = counts[i % 8], stride = width + i % 3;
        const size_t halves = (count - 1) * stride + width;
        const size_t panel_words = (width + 1) / 2 * DK_PANEL;
        const size_t value_words = (count + 1) / 2 * width;
        struct test_guarded guarded;
        uint16_t *const rows = test_guarded_alloc(&guarded, halves * sizeof *rows, true);
        float *const panel = aligned(panel_words * sizeof *panel);
        float *const values = aligned(value_words * sizeof *values);
        for (size_t j = 0; j < halves; j++)
            rows[j] = (uint16_t)test_random(&seed);
        for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
            memset(panel, 0xff, panel_words * sizeof *panel);
            memset(values, 0xff, value_words * sizeof *values);
            kernels->pairs->panel(rows, stride, count, width, panel);
            kernels->pairs->values(rows, stride, count, width, values);
            for (size_t c = 0; c < DK_PANEL; c++) {
                for (size_t d = 0; d < (width + 1) / 2 * 2; d++)
                    assert_int_equal(half_of(panel, 2 * (d / 2 * DK_PANEL + c) + d % 2),
                                     c < count && d < width ? rows[c * stride + d] : 0);
            }
            for (size_t key = 0; key < (count + 1) / 2 * 2; key++) {
                for (size_t e = 0; e < width; e++)
                    assert_int_equal(half_of(values, 2 * (key / 2 * width + e) + key % 2),
                                     key < count ? rows[key * stride + e] : 0);
            }
        }
        free(panel);
        free(values);
        test_guarded_free(&guarded);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_masked_weights),
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_moving_m),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_blend),
        cmocka_unit_test(test_blend_bits),
        cmocka_unit_test(test_packing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
