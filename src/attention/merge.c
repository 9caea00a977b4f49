/* merge.c - one answer from two over disjoint keys, given as outputs and log-sum-exps */
#include <dotk/attention.h>

#include <math.h>

#include "kernel/logarithm.h"
#include "platform/memory.h"
#include "platform/status.h"

dotk_status
dotk_attention_merge(size_t rows, size_t width, const float *out_a, const float *lse_a,
                     const float *out_b, const float *lse_b, float *out, float *lse)
{
    size_t values;

    if (!dk_mul(rows, width, &values) || values > PTRDIFF_MAX / sizeof *out)
        return dk_fail(DOTK_BAD_ARGUMENT, "rows is %zu and width %zu: their product overflows",
                       rows, width);
    const struct {
        const char *name;
        const float *array;
        size_t count;
    } arrays[] = {{"out_a", out_a, values}, {"lse_a", lse_a, rows}, {"out_b", out_b, values},
                  {"lse_b", lse_b, rows},   {"out", out, values},   {"lse", lse, rows}};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (arrays[i].array == NULL && arrays[i].count > 0)
            return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass %zu values", arrays[i].name,
                           arrays[i].count);
    }
    for (size_t r = 0; r < rows; r++) {
        /* shares of the sum of weights: a = 1 / (1 + e^(lse_b - lse_a)), b = 1 - a */
        const double la = lse_a[r], lb = lse_b[r];
        double a, b;
        if (la == lb) { /* two infinities, too, that have no difference */
            a = b = 0.5;
        } else {
            a = 1 / (1 + exp(lb - la));
            b = 1 / (1 + exp(la - lb));
        }
        for (size_t e = r * width; e < (r + 1) * width; e++) {
            /* a side that saw nothing is zeros; one of no weight may be anything */
            const double from_a = a == 0 ? 0 : a * out_a[e], from_b = b == 0 ? 0 : b * out_b[e];
            out[e] = (float)(from_a + from_b);
        }
        lse[r] = la == lb ? (float)(la + DK_LN_2)
                          : (float)(fmax(la, lb) + log1p(exp(-fabs(la - lb))));
        if (la != la || lb != lb)
            lse[r] = NAN;
    }
    return DOTK_OK;
}
