/* i8.c - rounding to a byte, and bounds for what it loses (doc/math/screening.md) */
#include "codec/i8.h"

#include "codec/bound.h"
#include "codec/i4.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, BLOCK = 128 };

static const float MOST = 127;
static const double SMALLEST = 0x1p-120; /* scales below, and denormals with them, become 0 */
static const double SUMMED = 0x1p-36;    /* more than a sum of 65,536 squares is off by      */

size_t
dk_i8_panel_bytes(size_t dim)
{
    return (dim + DK_I8_GROUP - 1) / DK_I8_GROUP * DK_I8_GROUP * DK_PANEL;
}

/*
 * Loops that do one thing each over BLOCK elements, and sums in LANES as in norm.c, are what the
 * compiler makes vectors of: twice as fast as element by element.
 */
static float
scale_of(const float *x, size_t dim)
{
    int32_t most_bits = 0; /* sizes compare as their bits do */
    float most;

    for (size_t d = 0; d < dim; d++) {
        int32_t bits;
        memcpy(&bits, &x[d], sizeof bits);
        bits &= INT32_MAX;
        most_bits = bits > most_bits ? bits : most_bits;
    }
    memcpy(&most, &most_bits, sizeof most);
    return most / MOST >= SMALLEST ? most / MOST : 0;
}

/* Sums over a vector and its codes. */
struct sums {
    double norm2, residual2, coded2;
    int32_t codes;
};

static double
add_lanes(const double lanes[LANES])
{
    double sum = 0;

    for (size_t lane = 0; lane < LANES; lane++)
        sum += lanes[lane];
    return sum;
}

/* The sum of n squares, a multiple of LANES. */
static double
squares(const double *x, size_t n)
{
    double sum[LANES] = {0};

    for (size_t i = 0; i < n; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            sum[lane] += x[i + lane] * x[i + lane];
    }
    return add_lanes(sum);
}

/* Up to BLOCK elements, with zeros behind them. */
static const float *
whole_block(const float *x, size_t n, float room[BLOCK])
{
    if (n == BLOCK)
        return x;
    memset(room, 0, BLOCK * sizeof *room);
    return memcpy(room, x, n * sizeof *x);
}

/*
 * x / scale to the nearest whole number. 1.5 * 2^23 has no room for a fraction; and x is hardly
 * more than 127 scale, so that no code is more than 127.
 */
static void
round_block(const float x[BLOCK], float scale, float rounded[BLOCK])
{
    const float inverse = scale > 0 ? 1 / scale : 0, whole = 0x1.8p23f;

    for (size_t i = 0; i < BLOCK; i++)
        rounded[i] = x[i] * inverse + whole - whole;
}

static void
add_block(const float x[BLOCK], float scale, const float rounded[BLOCK], int8_t code[BLOCK],
          struct sums *sums)
{
    double exact[BLOCK], coded[BLOCK], residual[BLOCK];
    int32_t codes = 0;

    for (size_t i = 0; i < BLOCK; i++) {
        const int32_t whole_code = (int32_t)rounded[i];
        code[i] = (int8_t)whole_code;
        codes += whole_code;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        exact[i] = x[i];
        coded[i] = (double)scale * rounded[i];
        residual[i] = exact[i] - coded[i];
    }
    sums->codes += codes;
    sums->norm2 += squares(exact, BLOCK);
    sums->residual2 += squares(residual, BLOCK);
    sums->coded2 += squares(coded, BLOCK);
}

/* Codes of x rounded by 'step', standing for themselves times 'scale'; 'widened': so does x. */
static void
set_key(struct dk_codes_i8 *store, size_t position, const float *x, float step, float scale,
        bool widened, bool squared)
{
    const size_t r = position % DK_PANEL, dim = store->dim;
    uint8_t *group = store->codes + position / DK_PANEL * dk_i8_panel_bytes(dim) + r * DK_I8_GROUP;
    struct dk_key_terms *const key = &store->keys[position / DK_PANEL];
    struct sums sums = {0};

    for (size_t d = 0; d < dim; d += BLOCK) {
        const size_t n = dim - d < BLOCK ? dim - d : BLOCK;
        float room[BLOCK], rounded[BLOCK];
        int8_t code[BLOCK];
        const float *key_block = whole_block(x + d, n, room);
        round_block(key_block, step, rounded);
        for (size_t i = 0; widened && i < BLOCK; i++)
            room[i] = rounded[i] * scale;
        add_block(widened ? room : key_block, scale, rounded, code, &sums);
        for (size_t i = 0; i < n; i += DK_I8_GROUP, group += DK_PANEL * DK_I8_GROUP) {
            for (size_t j = 0; j < DK_I8_GROUP; j++)
                group[j] = (uint8_t)(code[i + j] + 128);
        }
    }
    key->scale[r] = scale;
    key->residual[r] = dk_up(sqrt(sums.residual2));
    key->norm[r] = dk_up(sqrt(sums.norm2));
    key->offset[r] = squared ? dk_up(-sums.norm2 * (1 - DK_SLACK)) : 0;
}

void
dk_i8_encode_key(struct dk_codes_i8 *store, size_t position, const float *x, bool squared)
{
    const float scale = scale_of(x, store->dim);

    set_key(store, position, x, scale, scale, false, squared);
}

/* Of the scales that x's codes by 'step' may have, the one that comes nearest to x; 0 if small. */
static float
best_scale(const float *x, size_t dim, float step)
{
    double product = 0, squared = 0;

    for (size_t d = 0; d < dim; d += BLOCK) {
        float room[BLOCK], rounded[BLOCK];
        double code[BLOCK], exact[BLOCK];
        const float *const block = whole_block(x + d, dim - d < BLOCK ? dim - d : BLOCK, room);
        round_block(block, step, rounded);
        for (size_t i = 0; i < BLOCK; i++) {
            code[i] = rounded[i];
            exact[i] = (double)rounded[i] * block[i];
        }
        squared += squares(code, BLOCK);
        for (size_t i = 0; i < BLOCK; i++)
            product += exact[i];
    }
    const double best = squared > 0 ? product / squared : 0;
    return best >= SMALLEST ? (float)best : 0;
}

void
dk_i8_store_key(struct dk_codes_i8 *store, size_t position, const float *x, bool squared)
{
    const float step = scale_of(x, store->dim);
    const float scale = best_scale(x, store->dim, step);

    set_key(store, position, x, scale > 0 ? step : 0, scale, true, squared);
}

/* Keys of one panel on either side; rows of the panel, as it were, are moved one by one. */
static void
move_within_panels(struct dk_codes_i8 *store, size_t to, size_t from, size_t n)
{
    const size_t bytes = dk_codes_panel_bytes(store);
    const size_t t = to % DK_PANEL, f = from % DK_PANEL;
    struct dk_key_terms *const keys = &store->keys[to / DK_PANEL];
    const struct dk_key_terms *const old = &store->keys[from / DK_PANEL];
    uint8_t *const codes = store->codes + to / DK_PANEL * bytes + t * DK_I8_GROUP;
    const uint8_t *const before = store->codes + from / DK_PANEL * bytes + f * DK_I8_GROUP;

    for (size_t at = 0; at < bytes; at += DK_PANEL * DK_I8_GROUP)
        memmove(codes + at, before + at, n * DK_I8_GROUP);
    memmove(keys->scale + t, old->scale + f, n * sizeof *keys->scale);
    memmove(keys->residual + t, old->residual + f, n * sizeof *keys->residual);
    memmove(keys->norm + t, old->norm + f, n * sizeof *keys->norm);
    memmove(keys->offset + t, old->offset + f, n * sizeof *keys->offset);
}

void
dk_i8_move_keys(struct dk_codes_i8 *store, size_t to, size_t from, size_t n)
{
    while (n > 0) {
        const size_t room = DK_PANEL - to % DK_PANEL, there = DK_PANEL - from % DK_PANEL;
        const size_t most = room < there ? room : there, piece = n < most ? n : most;
        move_within_panels(store, to, from, piece);
        to += piece;
        from += piece;
        n -= piece;
    }
}

void
dk_i8_encode_query(const float *x, size_t dim, bool squared, double roundings, int8_t *codes,
                   struct dk_query_terms *terms)
{
    const size_t padded = (dim + DK_I8_GROUP - 1) / DK_I8_GROUP * DK_I8_GROUP;
    const double times = squared ? 2 : 1;
    const float scale = scale_of(x, dim);
    struct sums sums = {0};

    memset(codes, 0, padded);
    for (size_t d = 0; d < dim; d += BLOCK) {
        const size_t n = dim - d < BLOCK ? dim - d : BLOCK;
        float room[BLOCK], rounded[BLOCK];
        int8_t code[BLOCK];
        const float *const block = whole_block(x + d, n, room);
        round_block(block, scale, rounded);
        add_block(block, scale, rounded, code, &sums);
        memcpy(codes + d, code, n);
    }
    const double coded = sqrt(sums.coded2), norm = sqrt(sums.norm2);
    terms->start = -128 * sums.codes;
    terms->scale = (float)(times * scale);
    terms->residual = dk_up(times * coded * (1 + DK_SLACK));
    terms->norm = dk_up(times * (sqrt(sums.residual2) * (1 + DK_SLACK) + DK_SLACK * coded) +
                        (squared ? 0 : 1.01 * 0x1p-24 * roundings * norm));
}

float
dk_i8_threshold(float threshold, size_t dim, bool squared, double roundings, double squared_norm)
{
    double exact = threshold - (double)(dim + 16) * 0x1p-146;

    if (threshold == -INFINITY)
        return threshold;
    if (squared)
        exact += -1.01 * 0x1p-24 * roundings * fabs((double)threshold) +
                 squared_norm * (1 - SUMMED);
    return dk_down(exact);
}
