/*
 * softmax_v_tile.h - a tile for tests of weigh kernels: its memory, calls, and what scores become
 *
 * A test makes queries and panels of its own kind of words, and knows the product of a query and a
 * key.
 */
#ifndef DOTK_TEST_SOFTMAX_V_TILE_H
#define DOTK_TEST_SOFTMAX_V_TILE_H

#include "support.h"

#include "kernel/kernel.h"

enum { ROWS = DK_ATTEND_ROWS, BLOCK = DK_ATTEND_BLOCK, TILE_KEYS = 4 * DK_PANEL };

/* Everything a tile has; queries, panels and biases end at unmapped pages. */
struct tile {
    size_t rows, dim, words, width, stride;
    struct test_guarded query_guarded, panel_guarded, bias_guarded;
    float *query, *panel; /* 4 panels */
    float scale, softcap;
    float (*bias)[DK_PANEL]; /* NULL or ROWS rows for each panel */
    float (*weight)[BLOCK];
    struct dk_softmax_rows *softmax;
    float *output;
};

static inline void *
aligned(size_t bytes)
{
    void *const block = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(block);
    memset(block, 0xff, (bytes + 63) / 64 * 64);
    return block;
}

static inline void
begin(struct tile *tile)
{
    memset(tile->softmax, 0, sizeof *tile->softmax);
    for (size_t r = 0; r < ROWS; r++)
        tile->softmax->max[r] = -INFINITY;
    memset(tile->output, 0, tile->rows * tile->stride * sizeof *tile->output);
}

/* A tile whose queries and panels, of so many words, are still to be written. */
static inline struct tile
room_for_tile(size_t rows, size_t dim, size_t words, size_t width)
{
    struct tile tile = {.rows = rows, .dim = dim, .words = words, .width = width};

    tile.stride = (width + DK_ATTEND_LANES - 1) / DK_ATTEND_LANES * DK_ATTEND_LANES;
    tile.query = test_guarded_floats(&tile.query_guarded, rows * words);
    tile.panel = test_guarded_floats(&tile.panel_guarded, TILE_KEYS * words);
    tile.weight = aligned(ROWS * sizeof *tile.weight);
    tile.softmax = aligned(sizeof *tile.softmax);
    tile.output = aligned(rows * tile.stride * sizeof *tile.output);
    begin(&tile);
    return tile;
}

/* Gives the tile biases: normals times 'size'. */
static inline void
add_bias(struct tile *tile, float size, uint64_t *seed)
{
    const size_t count = (3 * ROWS + tile->rows) * DK_PANEL;

    float *const bias = test_guarded_floats(&tile->bias_guarded, count);
    test_random_normals(seed, bias, count);
    for (size_t i = 0; i < count; i++)
        bias[i] *= size;
    tile->bias = (float(*)[DK_PANEL])bias;
}

static inline void
drop_tile(struct tile *tile)
{
    if (tile->bias_guarded.pages != NULL)
        test_guarded_free(&tile->bias_guarded);
    test_guarded_free(&tile->query_guarded);
    test_guarded_free(&tile->panel_guarded);
    free(tile->weight);
    free(tile->softmax);
    free(tile->output);
}

static inline void
weigh_panels(const struct dk_softmax_v_kernels *kernels, const struct tile *tile, size_t panel,
             size_t panels, size_t cols, const uint64_t *keep)
{
    kernels->weigh(&(struct dk_weigh){
        .query = tile->query,
        .rows = tile->rows,
        .dim = tile->words,
        .cols = cols,
        .panels = panels,
        .panel = tile->panel + panel * DK_PANEL * tile->words,
        .scale = tile->scale,
        .softcap = tile->softcap,
        .bias = tile->bias != NULL ? tile->bias + panel * ROWS : NULL,
        .keep = keep,
        .column = panel * DK_PANEL,
        .weight = tile->weight,
        .softmax = tile->softmax,
        .output = tile->output,
        .output_stride = tile->stride,
    });
}

/* A product, with a bound of its error, becomes the score of row r and a key. */
static inline double
adjusted(const struct tile *tile, size_t r, size_t key, double product, double *error)
{
    if (tile->softcap != 0) {
        product = tile->softcap * tanh(product / tile->softcap);
        *error += 3e-7 * fabs(product); /* tanh does not magnify the error before it */
    }
    if (tile->bias != NULL) {
        product += tile->bias[key / DK_PANEL * ROWS + r][key % DK_PANEL];
        *error += 0x1p-24 * fabs(product);
    }
    return product;
}

static inline bool
is_kept(const uint64_t *keep, size_t r, size_t key)
{
    return keep == NULL || (keep[key / DK_PANEL * ROWS + r] >> key % DK_PANEL & 1) != 0;
}

/* 2^(score - m), with a bound: the score's error and that of subtracting m; 2^x; underflow. */
static inline double
weight_of(double score, double m, double score_error, double *bound)
{
    const double want = exp2(score - m);
    const double error = score == -INFINITY ? 0 : score_error + fabs(score - m) * 0x1p-24;

    *bound = want * (exp2(error) - 1 + 4e-7) + 0x1p-126;
    return want;
}

static inline double
sum_of_lanes(const float *lanes)
{
    double sum = 0;

    for (size_t lane = 0; lane < DK_ATTEND_LANES; lane++)
        sum += lanes[lane];
    return sum;
}

/* A row's sum of weights, and its m, by the highest score that counts. */
static inline void
check_sum(const struct tile *tile, size_t r, double want, double bound, double highest)
{
    const double m = tile->softmax->max[r];

    assert_true(fabs(sum_of_lanes(tile->softmax->sum[r]) - want) <= bound + 32 * 0x1p-24 * want);
    if (highest == -INFINITY) {
        assert_true(m == -INFINITY);
    } else {
        assert_true(m == rint(m));
        assert_true(highest - m < 8.001); /* or a weight would exceed 256 */
    }
}

/* Random masks of a panel's first columns, full and empty ones too; returns what some row sees. */
static inline uint64_t
mask_rows(const struct tile *tile, size_t cols, uint64_t *keep, uint64_t *seed)
{
    static const uint64_t choices[] = {0, 1, ~UINT64_C(0)};
    const uint64_t within = ~UINT64_C(0) >> (64 - cols);
    uint64_t any = 0;

    for (size_t r = 0; r < tile->rows; r++) {
        const size_t choice = test_random_below(seed, 6);
        keep[r] = within & (choice < 3 ? choices[choice] : test_random(seed));
        any |= keep[r];
    }
    return any;
}

/* What is in columns that no row sees. */
static inline float
garbage(size_t column)
{
    return column % 3 == 0 ? NAN : column % 3 == 1 ? INFINITY : -INFINITY;
}

#endif /* DOTK_TEST_SOFTMAX_V_TILE_H */
