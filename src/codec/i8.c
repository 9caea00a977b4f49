/* i8.c - rounding to a byte, and bounds for what it loses (doc/math/screening.md) */
#include "codec/i8.h"

#include <math.h>
#include <string.h>

static const float MOST = 127;
static const double SMALLEST = 0x1p-120; /* scales below, and denormals with them, become 0 */
static const double SLACK = 0x1p-18;     /* for the kernel's f32 roundings: it needs 9 of 64 */
static const double SUMMED = 0x1p-36;    /* more than a sum of 65,536 squares is off by      */

/* Above x by at least 2^-25 of it, which covers this file's roundings in double as well. */
static float
up(double x)
{
    return nextafterf((float)x, INFINITY);
}

static float
down(double x)
{
    return nextafterf((float)x, -INFINITY);
}

size_t
dk_i8_panel_bytes(size_t dim)
{
    return (dim + DK_I8_GROUP - 1) / DK_I8_GROUP * DK_I8_GROUP * DK_PANEL;
}

static float
scale_of(const float *x, size_t dim)
{
    float most = 0;

    for (size_t d = 0; d < dim; d++)
        most = fabsf(x[d]) > most ? fabsf(x[d]) : most;
    return most / MOST >= SMALLEST ? most / MOST : 0;
}

static int
code_of(float x, float inverse)
{
    const float steps = x * inverse;
    return (int)rintf(steps > MOST ? MOST : steps < -MOST ? -MOST : steps);
}

/* Sums over a vector and its codes. */
struct sums {
    double norm2, residual2, coded2;
    int32_t codes;
};

static void
add_sums(struct sums *sums, float x, float scale, int code)
{
    const double coded = (double)scale * code, residual = x - coded;

    sums->norm2 += (double)x * x;
    sums->residual2 += residual * residual;
    sums->coded2 += coded * coded;
    sums->codes += code;
}

void
dk_i8_encode_key(struct dk_codes_i8 *store, size_t position, const float *x, bool squared)
{
    const size_t r = position % DK_PANEL, dim = store->dim;
    uint8_t *const codes = store->codes + position / DK_PANEL * dk_i8_panel_bytes(dim) +
                           r * DK_I8_GROUP;
    struct dk_key_terms *const key = &store->keys[position / DK_PANEL];
    const float scale = scale_of(x, dim), inverse = scale > 0 ? 1 / scale : 0;
    struct sums sums = {0};

    for (size_t d = 0; d < dim; d += DK_I8_GROUP) {
        uint8_t *const group = codes + d * DK_PANEL;
        for (size_t j = 0; j < DK_I8_GROUP; j++) {
            const int code = d + j < dim ? code_of(x[d + j], inverse) : 0;
            if (d + j < dim)
                add_sums(&sums, x[d + j], scale, code);
            group[j] = (uint8_t)(code + 128);
        }
    }
    key->scale[r] = scale;
    key->residual[r] = up(sqrt(sums.residual2));
    key->norm[r] = up(sqrt(sums.norm2));
    key->offset[r] = squared ? up(-sums.norm2 * (1 - SLACK)) : 0;
}

void
dk_i8_encode_query(const float *x, size_t dim, bool squared, double roundings, int8_t *codes,
                   struct dk_query_terms *terms)
{
    const size_t padded = (dim + DK_I8_GROUP - 1) / DK_I8_GROUP * DK_I8_GROUP;
    const double times = squared ? 2 : 1;
    const float scale = scale_of(x, dim), inverse = scale > 0 ? 1 / scale : 0;
    struct sums sums = {0};

    memset(codes, 0, padded);
    for (size_t d = 0; d < dim; d++) {
        const int code = code_of(x[d], inverse);
        codes[d] = (int8_t)code;
        add_sums(&sums, x[d], scale, code);
    }
    const double coded = sqrt(sums.coded2), norm = sqrt(sums.norm2);
    terms->start = -128 * sums.codes;
    terms->scale = (float)(times * scale);
    terms->residual = up(times * coded * (1 + SLACK));
    terms->norm = up(times * (sqrt(sums.residual2) * (1 + SLACK) + SLACK * coded) +
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
    return down(exact);
}
