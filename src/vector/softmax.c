/*
 * softmax.c - softmax of one vector, with a temperature
 *
 * Stable: the maximum is subtracted first, so the largest term is exp(0) = 1 and nothing
 * overflows. exp and the sum are libm's, in double; a weight is rounded to f32 twice, so its
 * relative error is below 2^-23 (while it is a normal number).
 */
#include <dotk/vector.h>

#include "platform/float_mode.h"
#include "platform/status.h"

#include <math.h>

/* Not inlined: arithmetic must not move across the change of the floating-point mode. */
__attribute__((noinline)) static void
softmax(const float *a, size_t dim, double temperature, float *out)
{
    double max = -INFINITY, sum = 0;

    for (size_t i = 0; i < dim; i++)
        max = a[i] > max || isnan(a[i]) ? a[i] : max; /* nothing is above a NaN: it stays */
    for (size_t i = 0; i < dim; i++) {
        const double weight = max == -INFINITY ? 0 : exp((a[i] - max) / temperature);
        sum += weight;
        out[i] = (float)weight;
    }
    for (size_t i = 0; i < dim; i++)
        out[i] = max == -INFINITY ? 0 : (float)(out[i] / sum);
}

dotk_status
dotk_softmax(const float *a, size_t dim, float temperature, float *out)
{
    if (dim > 0 && (a == NULL || out == NULL))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", a == NULL ? "a" : "out");
    if (!(isfinite(temperature) && temperature > 0))
        return dk_fail(DOTK_BAD_ARGUMENT, "temperature is %g: it must be finite and above 0",
                       (double)temperature);
    const uint64_t float_mode = dk_float_mode_enter();
    softmax(a, dim, temperature, out);
    dk_float_mode_leave(float_mode);
    return DOTK_OK;
}
