/*
 * vector.c - products, lengths and angles of one or two vectors
 *
 * dot and l2 are scores, with a score's bits (kernel/kernel.h). Everything that divides by a
 * length accumulates in double, where the square of an f32 is exact and no sum of them can
 * overflow or vanish.
 *
 * The textbook's acos(cosine) loses half its digits near 0 and pi, where the cosine is flat;
 * dotk_angle() uses Kahan's 2 atan2(|u - v|, |u + v|) of the unit vectors u and v ("How Futile
 * are Mindless Assessments of Roundoff", 2006, section 12), which is accurate everywhere.
 */
#include <dotk/vector.h>

#include "codec/norm.h"
#include "kernel/kernel.h"
#include "platform/float_mode.h"
#include "platform/status.h"

#include <math.h>

/*
 * What runs between dk_float_mode_enter() and _leave(). Compilers move arithmetic across a change
 * of the mode, which they do not know of, but not out of a function they must call.
 */
#define IN_FLOAT_MODE __attribute__((noinline))

/* ------------------------------------------------------------------------- */
/*  Scores                                                                   */
/* ------------------------------------------------------------------------- */

/* The default kernels; the weakest, which every CPU has, when $DOTK_ISA names none. */
static const struct dk_kernels *
default_kernels(void)
{
    static const struct dk_kernels *found; /* selecting costs as much as a short product */
    const struct dk_kernels *kernels = __atomic_load_n(&found, __ATOMIC_RELAXED);

    if (kernels == NULL) {
        kernels = dk_kernels_select(NULL);
        if (kernels == NULL)
            kernels = dk_kernels_at(0);
        __atomic_store_n(&found, kernels, __ATOMIC_RELAXED);
    }
    return kernels;
}

IN_FLOAT_MODE static float
score(enum dk_score kind, const float *a, const float *b, size_t dim)
{
    const float result = default_kernels()->pair_f32[kind](a, b, dim);
    return kind == DK_SCORE_L2 ? 0.0f - result : result; /* 0 - 0 is +0, which -0 would not be */
}

float
dotk_dot(const float *a, const float *b, size_t dim)
{
    const uint64_t float_mode = dk_float_mode_enter();
    const float dot = score(DK_SCORE_DOT, a, b, dim);
    dk_float_mode_leave(float_mode);
    return dot;
}

float
dotk_l2(const float *a, const float *b, size_t dim)
{
    const uint64_t float_mode = dk_float_mode_enter();
    const float l2 = score(DK_SCORE_L2, a, b, dim);
    dk_float_mode_leave(float_mode);
    return l2;
}

/* ------------------------------------------------------------------------- */
/*  In double                                                                */
/* ------------------------------------------------------------------------- */

/* Partial sums, so that the compiler may use lanes without reordering any addition. */
enum { LANES = 8 };

/* As dk_sum_of_squares(), for two vectors. */
static double
sum_of_products(const float *a, const float *b, size_t dim)
{
    double sum[LANES] = {0};
    size_t d = 0;

    for (; dim - d >= LANES; d += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            sum[lane] += (double)a[d + lane] * b[d + lane];
    }
    for (; d < dim; d++)
        sum[d % LANES] += (double)a[d] * b[d];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* Finite as f32: what dotk/search.h asks of a row, so that no score of it can overflow. */
static dotk_status
check_squared_norm(const char *name, double squared)
{
    if (isfinite((float)squared))
        return DOTK_OK;
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "%s has a squared norm of %g: give finite values of magnitude below 1e19", name,
                   squared);
}

static dotk_status
check_direction(const char *name, double squared)
{
    if (squared == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is a zero vector: it has no direction", name);
    return check_squared_norm(name, squared);
}

/* The lengths of a and b, which must have a direction. */
static dotk_status
lengths(const float *a, const float *b, size_t dim, double *length_a, double *length_b)
{
    const double aa = dk_sum_of_squares(a, dim), bb = dk_sum_of_squares(b, dim);

    dotk_status status = check_direction("a", aa);
    if (status == DOTK_OK)
        status = check_direction("b", bb);
    *length_a = sqrt(aa);
    *length_b = sqrt(bb);
    return status;
}

static dotk_status
check_pointers(const float *a, const float *b, size_t dim, const float *out)
{
    if (out != NULL && (dim == 0 || (a != NULL && b != NULL)))
        return DOTK_OK;
    return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", out == NULL ? "out" : a == NULL ? "a" : "b");
}

IN_FLOAT_MODE static float
norm_of(const float *a, size_t dim)
{
    return (float)sqrt(dk_sum_of_squares(a, dim));
}

IN_FLOAT_MODE static dotk_status
cosine(const float *a, const float *b, size_t dim, float *out)
{
    double length_a, length_b;
    const dotk_status status = lengths(a, b, dim, &length_a, &length_b);

    if (status == DOTK_OK) {
        const double exact = sum_of_products(a, b, dim) / (length_a * length_b);
        *out = (float)fmin(1, fmax(-1, exact));
    }
    return status;
}

IN_FLOAT_MODE static dotk_status
angle(const float *a, const float *b, size_t dim, float *out)
{
    double length_a, length_b, minus = 0, plus = 0;
    const dotk_status status = lengths(a, b, dim, &length_a, &length_b);

    if (status != DOTK_OK)
        return status;
    for (size_t d = 0; d < dim; d++) {
        const double u = a[d] / length_a, v = b[d] / length_b;
        minus += (u - v) * (u - v);
        plus += (u + v) * (u + v);
    }
    *out = (float)(2 * atan2(sqrt(minus), sqrt(plus)));
    return DOTK_OK;
}

IN_FLOAT_MODE static dotk_status
normalize(const float *a, size_t dim, float *out, float *norm)
{
    const double squared = dk_sum_of_squares(a, dim);
    const dotk_status status = check_direction("a", squared);

    if (status != DOTK_OK)
        return status;
    dk_scale_to_unit(a, dim, squared, out);
    if (norm != NULL)
        *norm = (float)sqrt(squared);
    return DOTK_OK;
}

IN_FLOAT_MODE static dotk_status
project(const float *a, const float *b, size_t dim, float *out)
{
    const double bb = dk_sum_of_squares(b, dim);

    dotk_status status = check_direction("b", bb);
    if (status == DOTK_OK)
        status = check_squared_norm("a", dk_sum_of_squares(a, dim));
    if (status != DOTK_OK)
        return status;
    const double factor = sum_of_products(a, b, dim) / bb;
    for (size_t d = 0; d < dim; d++)
        out[d] = (float)(factor * b[d]);
    return DOTK_OK;
}

float
dotk_norm(const float *a, size_t dim)
{
    const uint64_t float_mode = dk_float_mode_enter();
    const float norm = norm_of(a, dim);
    dk_float_mode_leave(float_mode);
    return norm;
}

/* What cosine, angle and projection have in common. */
static dotk_status
of_two(dotk_status work(const float *, const float *, size_t, float *), const float *a,
       const float *b, size_t dim, float *out)
{
    dotk_status status = check_pointers(a, b, dim, out);
    const uint64_t float_mode = dk_float_mode_enter();
    if (status == DOTK_OK)
        status = work(a, b, dim, out);
    dk_float_mode_leave(float_mode);
    return status;
}

dotk_status
dotk_cosine(const float *a, const float *b, size_t dim, float *out)
{
    return of_two(cosine, a, b, dim, out);
}

dotk_status
dotk_angle(const float *a, const float *b, size_t dim, float *out)
{
    return of_two(angle, a, b, dim, out);
}

dotk_status
dotk_project(const float *a, const float *b, size_t dim, float *out)
{
    return of_two(project, a, b, dim, out);
}

dotk_status
dotk_normalize(const float *a, size_t dim, float *out, float *norm)
{
    dotk_status status = check_pointers(a, a, dim, out);
    const uint64_t float_mode = dk_float_mode_enter();
    if (status == DOTK_OK)
        status = normalize(a, dim, out, norm);
    dk_float_mode_leave(float_mode);
    return status;
}
