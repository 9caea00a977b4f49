/*
 * rotation.c - drawing a rotation, and turning vectors by it
 *
 * Nothing here depends on the machine: random numbers are hashes of a counter, their logarithm is
 * a series of our own (that of the C library may differ in the last bit), and sums of doubles have
 * a fixed order. So a seed gives the same rotation everywhere.
 */
#include "codec/rotation.h"

#include <math.h>
#include <string.h>

#include "kernel/logarithm.h"
#include "platform/memory.h"

enum { LANES = 8, TOGETHER = 16 /* rows drawn in one pass over the reflections */ };

static const uint64_t GOLDEN = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio, odd */
static const double ROOT_HALF = 0.70710678118654752440;

/* ------------------------------------------------------------------------- */
/*  Random numbers                                                           */
/* ------------------------------------------------------------------------- */

struct random {
    uint64_t state; /* splitmix64 */
    double spare;   /* normal numbers come in pairs */
    bool has_spare;
};

static uint64_t
next(struct random *random)
{
    uint64_t x = random->state += GOLDEN;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* An odd multiple of 2^-53 between -1 and 1. */
static double
uniform(struct random *random)
{
    return (double)(int64_t)((next(random) >> 11 << 1) | 1) * 0x1p-53 - 1;
}

/* ln x for 0 < x < 1, from 2 artanh((m - 1) / (m + 1)) of the fraction m, |..| <= 0.172. */
static double
logarithm(double x)
{
    enum { TERMS = 12 };
    int exponent;
    double m = frexp(x, &exponent);

    if (m < ROOT_HALF) {
        m *= 2;
        exponent--;
    }
    const double t = (m - 1) / (m + 1), square = t * t;
    double sum = 0;
    for (int i = TERMS; i-- > 0;)
        sum = sum * square + 1 / (2.0 * i + 1);
    return 2 * t * sum + exponent * DK_LN_2;
}

/* Marsaglia's polar method: no sine, and one logarithm for two numbers. */
static double
normal(struct random *random)
{
    double x, y, square;

    if (random->has_spare) {
        random->has_spare = false;
        return random->spare;
    }
    do {
        x = uniform(random);
        y = uniform(random);
        square = x * x + y * y;
    } while (square >= 1);
    const double factor = sqrt(-2 * logarithm(square) / square);
    random->spare = y * factor;
    random->has_spare = true;
    return x * factor;
}

/* ------------------------------------------------------------------------- */
/*  Reflections                                                              */
/* ------------------------------------------------------------------------- */

/* The sum of a[i] b[i], eight sums side by side. */
static double
product(const double *a, const double *b, size_t n)
{
    double sum[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            sum[lane] += a[i + lane] * b[i + lane];
    }
    for (size_t lane = 0; i + lane < n; lane++)
        sum[lane] += a[i + lane] * b[i + lane];
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t lane = 0; lane < half; lane++)
            sum[lane] += sum[lane + half];
    }
    return sum[0];
}

/*
 * A reflection I - factor w w^T of the last n dimensions that takes the first of their axes to a
 * random direction g / |g|, or to its opposite: 'sign' mends that.
 */
struct reflection {
    double *w;
    double factor, sign;
};

static void
draw_reflection(struct reflection *reflection, size_t n, struct random *random)
{
    double *const w = reflection->w;

    for (size_t i = 0; i < n; i++)
        w[i] = normal(random);
    const double length = sqrt(product(w, w, n));
    reflection->sign = w[0] < 0 ? 1 : -1;
    w[0] += w[0] < 0 ? -length : length;
    reflection->factor = 2 / product(w, w, n);
}

/*
 * Rows i on of the matrix R_d, where R_n = sign (I - factor w w^T) diag(1, R_(n-1)): the axes go
 * through the transposed factors, the largest reflection first.
 */
static void
draw_rows(const struct reflection *reflections, size_t dim, size_t i, size_t count, double *x)
{
    memset(x, 0, count * dim * sizeof *x);
    for (size_t r = 0; r < count; r++)
        x[r * dim + i + r] = 1;
    for (size_t first = 0; first < dim; first++) {
        const struct reflection *const reflection = &reflections[first];
        const size_t n = dim - first;
        for (size_t r = 0; r < count; r++) {
            double *const y = x + r * dim + first;
            const double times = reflection->factor * product(reflection->w, y, n);
            for (size_t j = 0; j < n; j++)
                y[j] = reflection->sign * (y[j] - times * reflection->w[j]);
        }
    }
}

static dotk_status
draw(struct dk_rotation *rotation, uint64_t seed)
{
    const size_t dim = rotation->dim, numbers = dim * (dim + 1) / 2 + TOGETHER * dim;
    double *const memory = dk_alloc_array(numbers, sizeof *memory);
    struct reflection *const reflections = dk_alloc_array(dim, sizeof *reflections);
    struct random random = {.state = seed * GOLDEN};

    if (memory == NULL || reflections == NULL) {
        dk_free(memory);
        dk_free(reflections);
        return dk_fail_memory(numbers * sizeof *memory, "a rotation");
    }
    random.state = next(&random); /* else each seed has the next one's numbers, one later */
    double *const x = memory, *w = memory + TOGETHER * dim;
    for (size_t first = 0; first < dim; first++) {
        reflections[first].w = w;
        draw_reflection(&reflections[first], dim - first, &random);
        w += dim - first;
    }
    for (size_t i = 0; i < dim; i += TOGETHER) {
        const size_t count = dk_min(TOGETHER, dim - i);
        draw_rows(reflections, dim, i, count, x);
        for (size_t d = 0; d < count * dim; d++)
            rotation->rows[i * dim + d] = (float)x[d];
    }
    dk_free(memory);
    dk_free(reflections);
    return DOTK_OK;
}

dotk_status
dk_rotation_create(const struct dk_kernels *kernels, size_t dim, uint64_t seed,
                   struct dk_rotation **out)
{
    const size_t padded = dk_round_up(dim, DK_FEW_ROWS), floats = padded * dim;
    struct dk_rotation *const rotation = dk_alloc_array(1, sizeof *rotation);
    float *const memory = dk_alloc_array(floats, sizeof *memory);
    dotk_status status = DOTK_NO_MEMORY;

    if (rotation == NULL || memory == NULL) {
        status = dk_fail_memory(floats * sizeof *memory, "a rotation");
    } else {
        *rotation = (struct dk_rotation){
            .kernels = kernels, .dim = dim, .padded = padded, .rows = memory};
        memset(rotation->rows + dim * dim, 0, (padded - dim) * dim * sizeof *memory);
        status = draw(rotation, seed);
    }
    *out = status == DOTK_OK ? rotation : NULL;
    if (status != DOTK_OK) {
        dk_free(rotation);
        dk_free(memory);
    }
    return status;
}

void
dk_rotation_destroy(struct dk_rotation *rotation)
{
    if (rotation != NULL)
        dk_free(rotation->rows);
    dk_free(rotation);
}

/* ------------------------------------------------------------------------- */
/*  Turning vectors                                                          */
/* ------------------------------------------------------------------------- */

void
dk_rotate_rows(const struct dk_rotation *rotation, const float *rows, size_t stride, size_t count,
               float *packed, float *out)
{
    const struct dk_kernels *const kernels = rotation->kernels;
    const size_t dim = rotation->dim, cols = dk_round_up(count, 16);
    const size_t step = kernels->tile_rows[cols / 16];

    kernels->pack_f32(rows, stride, count, dim, 1, packed);
    for (size_t d = 0; d < dim; d += step) {
        const float *row[DK_TILE_ROWS];
        const size_t n = dk_min(step, dim - d);
        for (size_t i = 0; i < n; i++)
            row[i] = rotation->rows + (d + i) * dim;
        kernels->tile_f32[DK_SCORE_DOT](&(struct dk_tile_f32){
            .row = row,
            .rows = n,
            .dim = dim,
            .cols = cols,
            .panel = packed,
            .tile = (float(*)[DK_PANEL])(out + d * DK_PANEL),
        });
    }
}

void
dk_rotate(const struct dk_rotation *rotation, const float *x, float *out)
{
    const size_t dim = rotation->dim;

    for (size_t d = 0; d < rotation->padded; d += DK_FEW_ROWS) {
        const float *row[DK_FEW_ROWS];
        _Alignas(DK_LINE) float score[1][DK_FEW_ROWS];
        for (size_t i = 0; i < DK_FEW_ROWS; i++)
            row[i] = rotation->rows + (d + i) * dim;
        rotation->kernels->few_f32[DK_SCORE_DOT](&(struct dk_few_f32){
            .query = &x,
            .queries = 1,
            .dim = dim,
            .row = row,
            .score = score,
        });
        memcpy(out + d, score, sizeof score);
    }
}
