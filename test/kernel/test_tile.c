/*
 * test_tile.c - score kernels of every instruction set: tiles, few queries, screens, packing
 *
 * Each is held against the portable one bit for bit, and that one against double precision
 * within the bound of kernel.h and against golden scores, whose bits are part of the interface.
 * Rows end at an unmapped page, so that reading one float too many is a crash.
 */
#include "support.h"

#include "kernel/kernel.h"

enum { MAX_DIM = 1100 };

static const size_t dims[] = {1,   2,   3,   7,   8,   9,   15,  16,   17,   31,   32,  33,  63,
                              64,  65,  100, 127, 128, 255, 256, 257,  258,  271,  300, 511, 512,
                              513, 600, 767, 768, 769, 960, 999, 1024, 1025, 1099, 1100};
enum { DIMS = sizeof dims / sizeof dims[0] };

/* Rows that lie anywhere, each ending at a guard page, and a panel of 64 columns. */
struct sides {
    size_t dim;
    struct test_guarded guarded[DK_FEW_ROWS];
    const float *row[DK_FEW_ROWS];
    struct test_guarded columns_guarded;
    float *columns; /* (64, dim), row-major */
    float *panel;
};

static void
make_sides(struct sides *sides, size_t dim, uint64_t *seed)
{
    sides->dim = dim;
    for (size_t r = 0; r < DK_FEW_ROWS; r++) {
        float *const row = test_guarded_floats(&sides->guarded[r], dim);
        test_random_normals(seed, row, dim);
        sides->row[r] = row;
    }
    sides->columns = test_guarded_floats(&sides->columns_guarded, DK_PANEL * dim);
    test_random_normals(seed, sides->columns, DK_PANEL * dim);
    sides->panel = aligned_alloc(64, DK_PANEL * dim * sizeof(float));
    assert_non_null(sides->panel);
    dk_kernels_at(0)->pack_f32(sides->columns, dim, DK_PANEL, dim, 1, sides->panel);
}

static void
free_sides(struct sides *sides)
{
    for (size_t r = 0; r < DK_FEW_ROWS; r++)
        test_guarded_free(&sides->guarded[r]);
    test_guarded_free(&sides->columns_guarded);
    free(sides->panel);
}

/* The defined score of kernel.h, one dimension after the other, by libm's fmaf(). */
static float
defined(enum dk_score score, const float *a, const float *b, size_t dim)
{
    float sum = 0;

    for (size_t start = 0; start < dim; start += DK_CHAIN) {
        float chain = 0;
        for (size_t d = start; d < dim && d < start + DK_CHAIN; d++) {
            const float difference = a[d] - b[d];
            chain = score == DK_SCORE_DOT ? fmaf(a[d], b[d], chain)
                                          : fmaf(-difference, difference, chain);
        }
        sum = start == 0 ? chain : sum + chain;
    }
    return sum;
}

static void
assert_same_bits(float got, float want, const char *isa, const char *what, size_t dim)
{
    if (memcmp(&got, &want, sizeof got) != 0) {
        print_error("%s %s, dim %zu: %a, want %a\n", isa, what, dim, (double)got, (double)want);
        fail();
    }
}

/* Every row count and width of one table's tile kernel. */
static void
check_tiles(const struct dk_kernels *kernels, enum dk_score score, const struct sides *sides)
{
    _Alignas(64) float tile[DK_TILE_ROWS][DK_PANEL];
    float want[DK_TILE_ROWS][DK_PANEL];

    for (size_t r = 0; r < DK_TILE_ROWS; r++) {
        for (size_t c = 0; c < DK_PANEL; c++)
            want[r][c] = defined(score, sides->row[r], sides->columns + c * sides->dim, sides->dim);
    }
    for (size_t cols = 16; cols <= DK_PANEL; cols += 16) {
        for (size_t rows = 1; rows <= kernels->tile_rows[cols / 16]; rows++) {
            memset(tile, 0x7f, sizeof tile);
            const uint64_t all = kernels->tile_f32[score](&(struct dk_tile_f32){
                .row = sides->row,
                .rows = rows,
                .dim = sides->dim,
                .cols = cols,
                .panel = sides->panel,
                .tile = tile,
            });
            assert_true(all == ~UINT64_C(0));
            for (size_t r = 0; r < rows; r++) {
                for (size_t c = 0; c < cols; c++)
                    assert_same_bits(tile[r][c], want[r][c], kernels->isa, "tile", sides->dim);
            }
            for (size_t r = rows; r < DK_TILE_ROWS; r++) {
                for (size_t c = 0; c < DK_PANEL; c++)
                    assert_memory_equal(&tile[r][c], "\x7f\x7f\x7f\x7f", 4);
            }
        }
    }
}

static void
tiles_have_the_defined_bits(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; i < DIMS; i++) {
        struct sides sides;
        const struct dk_kernels *kernels;
        make_sides(&sides, dims[i], &seed);
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            check_tiles(kernels, DK_SCORE_DOT, &sides);
            check_tiles(kernels, DK_SCORE_L2, &sides);
        }
        free_sides(&sides);
    }
}

/* A threshold lets through what is strictly above it, and says which columns those are. */
static void
thresholds_are_strict(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 2;
    struct sides sides;

    (void)state;
    make_sides(&sides, 300, &seed);
    for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
        for (size_t cols = 16; cols <= DK_PANEL; cols += 16) {
            const size_t rows = kernels->tile_rows[cols / 16];
            _Alignas(64) float tile[DK_TILE_ROWS][DK_PANEL];
            _Alignas(64) float threshold[DK_PANEL];
            uint64_t want = 0;
            for (size_t c = 0; c < DK_PANEL; c++) {
                float best = -INFINITY;
                for (size_t r = 0; r < rows; r++)
                    best = fmaxf(best,
                                 defined(DK_SCORE_DOT, sides.row[r], sides.columns + c * 300, 300));
                const bool passes = test_random_below(&seed, 4) == 0;
                threshold[c] = passes ? nextafterf(best, -INFINITY) : best;
                want |= (uint64_t)(passes && c < cols) << c;
            }
            struct dk_tile_f32 args = {.row = sides.row,
                                       .rows = rows,
                                       .dim = 300,
                                       .cols = cols,
                                       .panel = sides.panel,
                                       .threshold = threshold,
                                       .tile = tile};
            assert_true(kernels->tile_f32[DK_SCORE_DOT](&args) == want);
            for (size_t c = 0; c < DK_PANEL; c++)
                threshold[c] = INFINITY;
            assert_true(kernels->tile_f32[DK_SCORE_DOT](&args) == 0);
        }
    }
    free_sides(&sides);
}

static void
few_have_the_defined_bits(void **state)
{
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < DIMS; i++) {
        const size_t dim = dims[i];
        const struct dk_kernels *kernels;
        const float *query[DK_FEW_QUERIES];
        struct sides sides;
        make_sides(&sides, dim, &seed);
        for (size_t q = 0; q < DK_FEW_QUERIES; q++)
            query[q] = sides.columns + (DK_PANEL - DK_FEW_QUERIES + q) * dim;
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            for (size_t queries = 1; queries <= DK_FEW_QUERIES; queries++) {
                for (size_t score = 0; score < DK_SCORE_KINDS; score++) {
                    _Alignas(64) float got[DK_FEW_QUERIES][DK_FEW_ROWS];
                    kernels->few_f32[score](&(struct dk_few_f32){.query = query,
                                                                 .queries = queries,
                                                                 .dim = dim,
                                                                 .row = sides.row,
                                                                 .score = got});
                    for (size_t q = 0; q < queries; q++) {
                        for (size_t r = 0; r < DK_FEW_ROWS; r++)
                            assert_same_bits(got[q][r], defined(score, query[q], sides.row[r], dim),
                                             kernels->isa, "few", dim);
                    }
                }
            }
        }
        free_sides(&sides);
    }
}

/* Queries as dk_screen_f32 wants them. */
static float *
interleave(const float *const *query, size_t queries, size_t dim)
{
    const size_t steps = (dim + DK_SCREEN_LANES - 1) / DK_SCREEN_LANES;
    float *const out = aligned_alloc(64, queries * steps * DK_SCREEN_LANES * sizeof(float));
    float *at = out;

    assert_non_null(out);
    for (size_t d = 0; d < steps * DK_SCREEN_LANES; d += DK_SCREEN_LANES) {
        for (size_t q = 0; q < queries; q++) {
            for (size_t i = d; i < d + DK_SCREEN_LANES; i++)
                *at++ = i < dim ? query[q][i] : 0;
        }
    }
    return out;
}

/* The rows of sides, times a factor, as a screen reads them, each ending at a guard page; and
   what their numbers are in f32. */
struct screened {
    enum dk_row kind;
    struct test_guarded guarded[DK_FEW_ROWS];
    const void *row[DK_FEW_ROWS];
    float *wide[DK_FEW_ROWS];
};

static void
make_screened(struct screened *screened, enum dk_row kind, const struct sides *sides, float factor)
{
    const struct dk_widen_kernels *const widen = dk_kernels_at(0)->widen;
    const enum dk_half half = dk_half_of(kind);
    const size_t dim = sides->dim;

    screened->kind = kind;
    for (size_t r = 0; r < DK_FEW_ROWS; r++) {
        void *const row = test_guarded_alloc(&screened->guarded[r], dk_row_bytes(kind, dim), true);
        float *const wide = malloc(dim * sizeof *wide);
        assert_non_null(wide);
        for (size_t d = 0; d < dim; d++)
            wide[d] = sides->row[r][d] * factor;
        if (kind == DK_ROW_F32) {
            memcpy(row, wide, dim * sizeof *wide);
        } else {
            widen->narrow_half[half](wide, dim, row);
            widen->widen_half[half](row, dim, wide);
        }
        screened->row[r] = row;
        screened->wide[r] = wide;
    }
}

static void
free_screened(struct screened *screened)
{
    for (size_t r = 0; r < DK_FEW_ROWS; r++) {
        test_guarded_free(&screened->guarded[r]);
        free(screened->wide[r]);
    }
}

/* A row whose exact score is above threshold + bound passes, one below threshold - bound not. */
static void
check_screen(const struct dk_kernels *kernels, enum dk_score score, const struct sides *sides,
             const struct screened *screened, const float *const *query, size_t queries,
             size_t count)
{
    float *const interleaved = interleave(query, queries, sides->dim);

    for (size_t target = 0; target < queries; target++) {
        _Alignas(64) float threshold[DK_FEW_QUERIES];
        uint32_t must = 0, may = 0;
        for (size_t q = 0; q < DK_FEW_QUERIES; q++)
            threshold[q] = INFINITY;
        for (size_t r = 0; r < count; r++) {
            double size;
            const double exact = score == DK_SCORE_DOT
                                     ? test_dot(query[target], screened->wide[r], sides->dim, &size)
                                     : -test_l2(query[target], screened->wide[r], sides->dim);
            if (score == DK_SCORE_L2)
                size = -exact;
            const double bound = DK_SCREEN_ROUNDINGS(sides->dim) * 0x1p-24 * size;
            if (r == 0)
                threshold[target] = (float)exact; /* one row sits on the edge itself */
            must |= (uint32_t)(exact - bound > (double)threshold[target]) << r;
            may |= (uint32_t)(exact + bound >= (double)threshold[target]) << r;
        }
        const uint32_t above = kernels->screen[screened->kind][score](&(struct dk_screen){
            .query = interleaved,
            .queries = queries,
            .dim = sides->dim,
            .row = screened->row,
            .later = screened->row,
            .count = count,
            .threshold = threshold,
        });
        if ((must & ~above) != 0 || (above & ~may) != 0) {
            print_error("%s, dim %zu, %zu queries, %zu rows: %x, want %x to %x\n",
                        kernels->screen_name[screened->kind], sides->dim, queries, count, above,
                        must, may);
            fail();
        }
    }
    free(interleaved);
}

/* Every third dimension with rows so small that their f16 are denormal. */
static void
screens_keep_their_bound(void **state)
{
    uint64_t seed = 4;

    (void)state;
    for (size_t i = 0; i < DIMS; i++) {
        const float *query[DK_FEW_QUERIES];
        struct sides sides;
        make_sides(&sides, dims[i], &seed);
        for (size_t q = 0; q < DK_FEW_QUERIES; q++)
            query[q] = sides.columns + q * dims[i];
        for (size_t kind = 0; kind < DK_ROW_KINDS; kind++) {
            const struct dk_kernels *kernels;
            struct screened screened;
            make_screened(&screened, kind, &sides, i % 3 == 0 ? 0x1p-19f : 1);
            for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
                for (size_t queries = 1; queries <= DK_FEW_QUERIES; queries++) {
                    for (size_t score = 0; score < DK_SCORE_KINDS; score++) {
                        check_screen(kernels, score, &sides, &screened, query, queries,
                                     DK_FEW_ROWS);
                        check_screen(kernels, score, &sides, &screened, query, queries,
                                     1 + (i + queries) % 15);
                    }
                }
            }
            free_screened(&screened);
        }
        free_sides(&sides);
    }
}

static void
panels_are_transposed_rows(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (size_t i = 0; i < DIMS; i++) {
        const size_t dim = dims[i], stride = dim + i % 3;
        for (size_t count = 1; count <= DK_PANEL; count += count < 18 ? 1 : 23) {
            struct test_guarded guarded;
            const struct dk_kernels *kernels;
            const size_t floats = (count - 1) * stride + dim;
            float *const rows = test_guarded_floats(&guarded, floats);
            float *const panel = aligned_alloc(64, DK_PANEL * dim * sizeof(float));
            assert_non_null(panel);
            test_random_normals(&seed, rows, floats);
            for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
                memset(panel, 0x7f, DK_PANEL * dim * sizeof(float));
                kernels->pack_f32(rows, stride, count, dim, 0.5f, panel);
                for (size_t d = 0; d < dim; d++) {
                    for (size_t c = 0; c < DK_PANEL; c++) {
                        const float want = c < count ? rows[c * stride + d] * 0.5f : 0;
                        assert_same_bits(panel[d * DK_PANEL + c], want, kernels->isa, "pack", dim);
                    }
                }
            }
            free(panel);
            test_guarded_free(&guarded);
        }
    }
}

/* Every element and nothing beside it; no -0 comes out. */
static void
scaling(void **state)
{
    uint64_t seed = 9;

    (void)state;
    for (size_t count = 0; count <= 100; count++) {
        const struct dk_kernels *kernels;
        struct test_guarded from_guarded, out_guarded;
        float *const from = test_guarded_floats(&from_guarded, count);
        float *const out = test_guarded_floats(&out_guarded, count);
        test_random_normals(&seed, from, count);
        for (size_t i = 0; i < count; i += 3)
            from[i] = i % 2 == 0 ? -0.0f : -0x1p-149f;
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            memset(out, 0x7f, count * sizeof *out);
            kernels->scale_f32(from, count, 0.3f, out);
            for (size_t i = 0; i < count; i++)
                assert_same_bits(out[i], from[i] * 0.3f + 0.0f, kernels->isa, "scale", count);
        }
        test_guarded_free(&from_guarded);
        test_guarded_free(&out_guarded);
    }
}

/* The defined score itself is within its stated bound of the exact one. */
static void
scores_keep_their_bound(void **state)
{
    uint64_t seed = 6;
    static float a[MAX_DIM], b[MAX_DIM];

    (void)state;
    for (size_t dim = 1; dim <= MAX_DIM; dim++) {
        double magnitude;
        test_random_normals(&seed, a, dim);
        test_random_normals(&seed, b, dim);
        const double exact = test_dot(a, b, dim, &magnitude), distance = test_l2(a, b, dim);
        const double u = 0x1p-24, n = (double)dim;
        assert_true(fabs(defined(DK_SCORE_DOT, a, b, dim) - exact) <= (n + 1) * u * magnitude);
        assert_true(fabs(defined(DK_SCORE_L2, a, b, dim) + distance) <= (n + 4) * u * distance);
    }
}

/* Scores whose bits are part of the interface: a change here is a change of major version. */
static void
golden_scores_stand(void **state)
{
    static const struct {
        size_t dim;
        float dot, l2;
    } golden[] = {
        {1, 0x1.b2b64ap-5f, -0x1.689bacp-13f},  {3, -0x1.175cbcp-2f, -0x1.9facaap+0f},
        {256, -0x1.feabfp+3f, -0x1.9eba5p+7f},  {257, -0x1.b78988p+1f, -0x1.6db08p+7f},
        {768, 0x1.a7c548p+0f, -0x1.0046eep+9f}, {1100, 0x1.33eedcp+4f, -0x1.5beadp+9f},
    };
    static float a[MAX_DIM], b[MAX_DIM];
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        const size_t dim = golden[i].dim;
        uint64_t seed = 8;
        test_random_floats(&seed, a, dim);
        test_random_floats(&seed, b, dim);
        assert_same_bits(defined(DK_SCORE_DOT, a, b, dim), golden[i].dot, "golden", "dot", dim);
        assert_same_bits(defined(DK_SCORE_L2, a, b, dim), golden[i].l2, "golden", "l2", dim);
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            assert_same_bits(kernels->pair_f32[DK_SCORE_DOT](a, b, dim), golden[i].dot,
                             kernels->isa, "dot", dim);
            assert_same_bits(kernels->pair_f32[DK_SCORE_L2](a, b, dim), golden[i].l2, kernels->isa,
                             "l2", dim);
        }
    }
}

/* Hard inputs for an imitated fused multiply-add: halfway cases, denormals, zeros of both signs. */
static void
hard_inputs_have_the_defined_bits(void **state)
{
    static const float hard[] = {
        0.0f,      -0.0f,          0x1p-149f, -0x1p-149f, 0x1.fffffep-127f, 0x1p-75f,
        -0x1p-74f, 0x1p-126f,      1.0f,      -1.0f,      0x1.000002p0f,    0x1.fffffep0f,
        0x1p24f,   0x1.000002p24f, -0x1p12f,  0x1.8p-60f, 0x1.555556p-1f};
    enum { HARD = sizeof hard / sizeof hard[0], DIM = 40, ROUNDS = 3000 };
    uint64_t seed = 7;

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        const struct dk_kernels *kernels;
        _Alignas(64) static float panel[DIM * DK_PANEL], tile[DK_TILE_ROWS][DK_PANEL];
        float row[DIM], column[DIM];
        const float *const rows[1] = {row};
        for (size_t d = 0; d < DIM; d++) {
            row[d] = hard[test_random_below(&seed, HARD)];
            column[d] = hard[test_random_below(&seed, HARD)];
            for (size_t c = 0; c < DK_PANEL; c++)
                panel[d * DK_PANEL + c] = column[d];
        }
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            for (size_t score = 0; score < DK_SCORE_KINDS; score++) {
                kernels->tile_f32[score](&(struct dk_tile_f32){.row = rows,
                                                               .rows = 1,
                                                               .dim = DIM,
                                                               .cols = DK_PANEL,
                                                               .panel = panel,
                                                               .tile = tile});
                const float want = defined(score, row, column, DIM);
                assert_same_bits(tile[0][0], want, kernels->isa, "hard", DIM);
                assert_same_bits(tile[0][63], want, kernels->isa, "hard", DIM);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_have_the_defined_bits),
        cmocka_unit_test(thresholds_are_strict),
        cmocka_unit_test(few_have_the_defined_bits),
        cmocka_unit_test(screens_keep_their_bound),
        cmocka_unit_test(panels_are_transposed_rows),
        cmocka_unit_test(scaling),
        cmocka_unit_test(scores_keep_their_bound),
        cmocka_unit_test(golden_scores_stand),
        cmocka_unit_test(hard_inputs_have_the_defined_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
