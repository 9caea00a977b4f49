/*
 * norm.c - sums of squares in a fixed order
 *
 * Eight sums side by side rather than one: the compiler keeps them in vector registers (with
 * whatever width it has, the order stays), which is some six times as fast as one chain.
 */
#include "codec/norm.h"

#include <math.h>

enum { LANES = 8 };

double
dk_sum_of_squares(const float *x, size_t dim)
{
    double sum[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= dim; i += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            sum[lane] += (double)x[i + lane] * x[i + lane];
    }
    for (size_t lane = 0; i + lane < dim; lane++)
        sum[lane] += (double)x[i + lane] * x[i + lane];
    for (size_t half = LANES / 2; half > 0; half /= 2) {
        for (size_t lane = 0; lane < half; lane++)
            sum[lane] += sum[lane + half];
    }
    return sum[0];
}

void
dk_scale_to_unit(const float *x, size_t dim, double sum_of_squares, float *out)
{
    const double scale = 1 / sqrt(sum_of_squares);

    for (size_t i = 0; i < dim; i++)
        out[i] = (float)(x[i] * scale);
}
