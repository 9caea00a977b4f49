/*
 * i4.c - rounding turned vectors to four bits, and bounds for what that loses
 *
 * The names of numbers are those of doc/math/screening4.md. Levels are the odd numbers -15 .. 15
 * times half a step, evenly spaced, because a product of whole numbers costs nothing; the step is
 * the best one for normally distributed elements (Max, Quantizing for minimum distortion, 1960). A
 * step fitted to each key gains less than 1 % of the bound, and would depend on the rotation.
 */
#include "codec/i4.h"

#include "codec/bound.h"
#include "codec/norm.h"
#include "platform/memory.h"

#include <math.h>
#include <string.h>

enum {
    HALF = DK_I4_GROUP / 2,
    LEVELS = 8, /* on either side */
    ALONE = 3,  /* so many queries are turned one by one sooner than together */
};

static const double STEP = 0.3352;     /* for elements of variance 1 */
static const double LEAST = 0x1p-80;   /* squared norms outside of these are not coded, */
static const double MOST = 0x1p120;    /* so that nothing over- or underflows           */
static const double SUMMED = 0x1p-38;  /* a sum of 4,096 squares is off by less, relatively */
static const double PROBABLE = 0x1p-7; /* spreads are at least this one's: see 'doubt' */
static const double PI = 3.14159265358979323846;

/* ------------------------------------------------------------------------- */
/*  How far a random direction spreads                                       */
/* ------------------------------------------------------------------------- */

/* The logarithm of a bound for the probability that a coordinate is above z, 0 < z < 1. */
static double
log_tail(size_t dim, double z)
{
    const double n = (double)dim - 2, decay = n / 2 * log1p(-z * z);
    return decay - fmax(log(2), log(z) + 0.5 * log(2 * PI * n));
}

double
dk_i4_spread(size_t dim, double p)
{
    enum { HALVINGS = 60 };
    double low = 0, high = 1;

    if (dim < 4 || !(p > 0))
        return 1;
    const double goal = log(fmin(p, PROBABLE)) - 1e-9; /* roundings of the logarithms are less */
    for (int i = 0; i < HALVINGS; i++) {
        const double middle = (low + high) / 2;
        if (log_tail(dim, middle) > goal)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* ------------------------------------------------------------------------- */
/*  What all vectors share                                                   */
/* ------------------------------------------------------------------------- */

dotk_status
dk_i4_create(const struct dk_kernels *kernels, size_t dim, uint64_t seed, double delta,
             struct dk_i4 **out)
{
    struct dk_i4 *const i4 = dk_alloc_array(1, sizeof *i4);
    float *const room = dk_alloc_array(dim, 2 * DK_PANEL * sizeof *room);
    struct dk_rotation *rotation = NULL;
    dotk_status status = DOTK_OK;

    *out = NULL;
    if (i4 == NULL || room == NULL)
        status = dk_fail_memory(dim * 2 * DK_PANEL * sizeof *room, "turned rows");
    if (status == DOTK_OK)
        status = dk_rotation_create(kernels, dim, seed, &rotation);
    if (status != DOTK_OK) {
        dk_free(i4);
        dk_free(room);
        return status;
    }
    const double roundings = dk_roundings(dim), root = sqrt((double)dim);
    const double element = 1.01 * (roundings + 2) * 0x1p-24; /* of one element, against |x| */
    const double z = dk_i4_spread(dim, delta);               /* no query's spread is less    */
    *i4 = (struct dk_i4){
        .rotation = rotation,
        .delta = delta,
        .error = element * root,
        .near = 2.01 * element * root / STEP,
        .doubt = dim < 4 ? 0 : 1.01 * 2 * log(2) / (((double)dim - 2) * z * z),
        .room = room,
    };
    *out = i4;
    return DOTK_OK;
}

void
dk_i4_destroy(struct dk_i4 *i4)
{
    if (i4 != NULL) {
        dk_rotation_destroy(i4->rotation);
        dk_free(i4->room);
    }
    dk_free(i4);
}

size_t
dk_i4_query_bytes(size_t dim)
{
    return dk_round_up(dim, DK_I4_GROUP);
}

size_t
dk_i4_panel_bytes(size_t dim)
{
    return dk_i4_query_bytes(dim) / 2 * DK_PANEL;
}

size_t
dk_codes_panel_bytes(const struct dk_codes_i8 *store)
{
    return store->i4 != NULL ? dk_i4_panel_bytes(store->dim) : dk_i8_panel_bytes(store->dim);
}

static bool
is_coded(double norm2)
{
    return norm2 >= LEAST && norm2 <= MOST;
}

/* ------------------------------------------------------------------------- */
/*  Keys                                                                     */
/* ------------------------------------------------------------------------- */

/* Sums over a turned key y and its levels v, odd whole numbers. */
struct sums {
    double vy, yy;
    int64_t vv;
    size_t doubtful; /* elements near a border */
};

/* The nibble of an element, 'steps' from 0. */
static unsigned
add_element(struct sums *sums, double y, double steps, double near)
{
    const double inside = steps < -LEVELS ? -LEVELS : steps > LEVELS ? LEVELS : steps;
    const int below = (int)(inside + LEVELS), border = (int)(inside + LEVELS + 0.5);
    const int nibble = below < 2 * LEVELS ? below : 2 * LEVELS - 1;
    const int level = 2 * nibble - (2 * LEVELS - 1);

    sums->doubtful += border > 0 && border < 2 * LEVELS && fabs(inside + LEVELS - border) <= near;
    sums->vy += level * y;
    sums->yy += y * y;
    sums->vv += level * level;
    return (unsigned)nibble;
}

static void
set_terms(const struct dk_i4 *i4, struct dk_key_terms *key, size_t r, const struct sums *sums,
          double norm2, bool squared)
{
    const double norm = sqrt(norm2), spread = sqrt(1 + i4->doubt * (double)sums->doubtful);

    key->scale[r] = (float)(norm2 / sums->vy);
    const double s = key->scale[r], coded2 = s * s * (double)sums->vv, twice = 2 * s * sums->vy;
    const double lost2 = fmax(coded2 - twice + sums->yy, 0) + SUMMED * (coded2 + twice + sums->yy);
    key->residual[r] = dk_up(spread * (sqrt(lost2) + i4->error * norm));
    key->norm[r] = dk_up(sqrt(fmax(coded2, norm2)));
    key->offset[r] = squared ? dk_up(-norm2 * (1 - DK_SLACK)) : 0;
}

/* Key r of a panel; 'turned': its elements 64 apart. */
static void
encode_key(const struct dk_i4 *i4, uint8_t *codes, struct dk_key_terms *key, size_t r,
           const float *turned, double norm2, bool squared)
{
    const size_t dim = i4->rotation->dim;
    const double inverse = is_coded(norm2) ? sqrt((double)dim / norm2) / STEP : 0;
    struct sums sums = {0};

    codes += r * HALF;
    for (size_t d = 0; d < dim; d += DK_I4_GROUP, codes += HALF * DK_PANEL) {
        memset(codes, 0, HALF);
        for (size_t j = 0; j < DK_I4_GROUP && d + j < dim; j++) {
            const double y = turned[(d + j) * DK_PANEL];
            const unsigned nibble = add_element(&sums, y, y * inverse, i4->near);
            codes[j % HALF] |= (uint8_t)(j < HALF ? nibble : nibble << 4);
        }
    }
    if (is_coded(norm2)) {
        set_terms(i4, key, r, &sums, norm2, squared);
    } else { /* always passes */
        key->scale[r] = key->residual[r] = key->norm[r] = 0;
        key->offset[r] = INFINITY;
    }
}

void
dk_i4_encode_keys(struct dk_codes_i8 *store, const size_t *position, size_t count,
                  const float *rows, bool squared)
{
    const struct dk_i4 *const i4 = store->i4;
    const size_t dim = store->dim;
    float *const packed = i4->room, *const turned = packed + DK_PANEL * dim;
    double norm2[DK_PANEL];

    for (size_t i = 0; i < count; i++) {
        const float *const row = rows + position[i] * dim;
        norm2[i] = dk_sum_of_squares(row, dim);
        memcpy(turned + i * dim, row, dim * sizeof *row);
    }
    dk_rotate_rows(i4->rotation, turned, dim, count, packed, turned);
    for (size_t i = 0; i < count; i++) {
        const size_t panel = position[i] / DK_PANEL;
        encode_key(i4, store->codes + panel * dk_i4_panel_bytes(dim), &store->keys[panel],
                   position[i] % DK_PANEL, turned + i, norm2[i], squared);
    }
}

/* ------------------------------------------------------------------------- */
/*  Queries                                                                  */
/* ------------------------------------------------------------------------- */

static void
encode_query(const struct dk_i4 *i4, size_t count, const float *x, const float *rotated,
             bool squared, double roundings, int8_t *codes, struct dk_query_terms *terms)
{
    const size_t dim = i4->rotation->dim;
    const double norm2 = dk_sum_of_squares(x, dim), norm = sqrt(norm2), times = squared ? 2 : 1;
    const double z = dk_i4_spread(dim, i4->delta / (double)count);
    int32_t sum = 0;

    memset(codes, 0, dk_i4_query_bytes(dim));
    if (is_coded(norm2)) {
        dk_i8_encode_query(rotated, dim, squared, 0, codes, terms);
        const double more = times * (2 * i4->error + 3 * 0x1p-24) * (1 + DK_SLACK);
        const double score = squared ? 0 : 1.01 * 0x1p-24 * roundings;
        terms->residual = dk_up(times * z * norm * (1 + DK_SLACK));
        terms->norm = dk_up(terms->norm + (more + score) * norm);
    } else { /* everything passes */
        *terms = (struct dk_query_terms){.norm = INFINITY};
    }
    for (size_t d = 0; d < dim; d++)
        sum += codes[d];
    terms->start = -(2 * LEVELS - 1) * sum;
}

size_t
dk_i4_room(const struct dk_i4 *i4, size_t n)
{
    const size_t one = i4->rotation->padded;
    return n <= ALONE ? one : one + 2 * DK_PANEL * i4->rotation->dim;
}

void
dk_i4_encode_queries(const struct dk_i4 *i4, size_t count, const float *queries, size_t stride,
                     size_t n, bool squared, double roundings, float *room, int8_t *codes,
                     struct dk_query_terms *terms)
{
    const size_t dim = i4->rotation->dim;
    float *const one = room, *const packed = one + i4->rotation->padded;

    if (n > ALONE)
        dk_rotate_rows(i4->rotation, queries, stride, n, packed, packed + DK_PANEL * dim);
    for (size_t q = 0; q < n; q++) {
        const float *const x = queries + q * stride;
        if (n <= ALONE)
            dk_rotate(i4->rotation, x, one);
        for (size_t d = 0; n > ALONE && d < dim; d++)
            one[d] = packed[(dim + d) * DK_PANEL + q];
        encode_query(i4, count, x, one, squared, roundings, codes + q * dk_i4_query_bytes(dim),
                     &terms[q]);
    }
}
