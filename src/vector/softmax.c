/*
 * softmax.c - softmax of one vector, with a temperature, and its logarithm
 *
 * Stable: the maximum is subtracted first, so the largest term is exp(0) = 1 and nothing
 * overflows. exp and the sum are libm's, in double; a weight is rounded to f32 twice, so its
 * relative error is below 2^-23 (while it is a normal number). The logarithm subtracts that of
 * the sum, and does not take it of a weight, which may be too small for an f32.
 */
#include <dotk/vector.h>

#include "platform/float_mode.h"
#include "platform/status.h"

#include <math.h>

/* A maximum that is NaN where there is one. */
static double
largest(const float *a, size_t dim)
{
    double max = -INFINITY;

    for (size_t i = 0; i < dim; i++)
        max = a[i] > max || isnan(a[i]) ? a[i] : max; /* nothing is above a NaN: it stays */
    return max;
}

/* Not inlined: arithmetic must not move across the change of the floating-point mode. */
__attribute__((noinline)) static void
softmax(const float *a, size_t dim, double temperature, float *out)
{
    const double max = largest(a, dim);
    double sum = 0;

    for (size_t i = 0; i < dim; i++) {
        const double weight = max == -INFINITY ? 0 : exp((a[i] - max) / temperature);
        sum += weight;
        out[i] = (float)weight;
    }
    for (size_t i = 0; i < dim; i++)
        out[i] = max == -INFINITY ? 0 : (float)(out[i] / sum);
}

__attribute__((noinline)) static void
log_softmax(const float *a, size_t dim, double temperature, float *out)
{
    const double max = largest(a, dim);
    double sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += exp((a[i] - max) / temperature);
    const double log_sum = log(sum);
    for (size_t i = 0; i < dim; i++)
        out[i] = max == -INFINITY ? -INFINITY : (float)((a[i] - max) / temperature - log_sum);
}

/* Either of the two, its arguments checked. */
static dotk_status
of_vector(void work(const float *, size_t, double, float *), const float *a, size_t dim,
          float temperature, float *out)
{
    if (dim > 0 && (a == NULL || out == NULL))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", a == NULL ? "a" : "out");
    if (!(isfinite(temperature) && temperature > 0))
        return dk_fail(DOTK_BAD_ARGUMENT, "temperature is %g: it must be finite and above 0",
                       (double)temperature);
    const uint64_t float_mode = dk_float_mode_enter();
    work(a, dim, temperature, out);
    dk_float_mode_leave(float_mode);
    return DOTK_OK;
}

dotk_status
dotk_softmax(const float *a, size_t dim, float temperature, float *out)
{
    return of_vector(softmax, a, dim, temperature, out);
}

dotk_status
dotk_log_softmax(const float *a, size_t dim, float temperature, float *out)
{
    return of_vector(log_softmax, a, dim, temperature, out);
}
