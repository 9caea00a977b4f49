/*
 * eigen.c - Householder's reduction to tridiagonal form, then QL steps with implicit shifts
 *
 * The classical pair (Martin, Reinsch and Wilkinson 1968; Dubrulle, Martin and Wilkinson 1968;
 * Golub and Van Loan, Matrix Computations, 8.3), on rows where the textbook has columns: a
 * rotation of two eigenvectors then runs over two contiguous rows, and so does a reflection.
 */
#include "text/eigen.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

/* row -= factor * other, over n values */
static void
subtract(double *row, double factor, const double *other, size_t n)
{
    for (size_t i = 0; i < n; i++)
        row[i] -= factor * other[i];
}

static double
dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/*
 * Reduces row and column k from the last to the second by the reflection I - u u'/h, u stored in
 * row k of a, h in value[k] (0: nothing to do). off[k] becomes the element beside the diagonal.
 */
static void
reduce_row(size_t n, double *a, size_t k, double *value, double *off)
{
    double *const u = a + k * n;
    double scale = 0;

    for (size_t i = 0; i < k; i++)
        scale += fabs(u[i]);
    value[k] = 0;
    if (k == 1 || scale == 0) {
        off[k] = u[k - 1];
        return;
    }
    double h = 0;
    for (size_t i = 0; i < k; i++) {
        u[i] /= scale;
        h += u[i] * u[i];
    }
    const double last = u[k - 1], length = last > 0 ? -sqrt(h) : sqrt(h);
    off[k] = scale * length;
    h -= last * length;
    u[k - 1] = last - length;
    /* p = A u / h, kept in off[0 .. k-1]; A is full and symmetric, so rows serve as columns. */
    for (size_t i = 0; i < k; i++)
        off[i] = dot(a + i * n, u, k) / h;
    const double half = dot(off, u, k) / (2 * h);
    for (size_t i = 0; i < k; i++)
        off[i] -= half * u[i];
    for (size_t i = 0; i < k; i++) {
        double *const row = a + i * n;
        const double ui = u[i], pi = off[i];
        for (size_t j = 0; j < k; j++)
            row[j] -= ui * off[j] + pi * u[j];
    }
    value[k] = h;
}

/* Turns the stored reflections into the orthogonal matrix, row by row, its transpose in a. */
static void
accumulate(size_t n, double *a, double *value)
{
    for (size_t k = 0; k < n; k++) {
        double *const u = a + k * n;
        if (value[k] != 0) {
            for (size_t i = 0; i < k; i++)
                subtract(a + i * n, dot(a + i * n, u, k) / value[k], u, k);
        }
        value[k] = u[k];
        u[k] = 1;
        for (size_t i = 0; i < k; i++)
            u[i] = a[i * n + k] = 0;
    }
}

/* One QL step on rows low .. high of the tridiagonal matrix; rotates the vectors along. */
static void
ql_step(size_t n, double *a, double *value, double *off, size_t low, size_t high)
{
    double g = (value[low + 1] - value[low]) / (2 * off[low]);
    const double root = hypot(g, 1);
    g = value[high] - value[low] + off[low] / (g + (g < 0 ? -root : root));
    double sine = 1, cosine = 1, shift = 0;

    for (size_t i = high; i-- > low;) {
        const double f = sine * off[i], b = cosine * off[i];
        const double r = hypot(f, g);
        off[i + 1] = r;
        if (r == 0) { /* the matrix falls apart here: start again */
            value[i + 1] -= shift;
            off[high] = 0;
            return;
        }
        sine = f / r;
        cosine = g / r;
        g = value[i + 1] - shift;
        const double t = (value[i] - g) * sine + 2 * cosine * b;
        shift = sine * t;
        value[i + 1] = g + shift;
        g = cosine * t - b;
        double *const x = a + i * n, *const y = x + n;
        for (size_t j = 0; j < n; j++) {
            const double yj = y[j];
            y[j] = sine * x[j] + cosine * yj;
            x[j] = cosine * x[j] - sine * yj;
        }
    }
    value[low] -= shift;
    off[low] = g;
    off[high] = 0;
}

static void
diagonalise(size_t n, double *a, double *value, double *off)
{
    enum { MOST_STEPS = 60 }; /* each takes 2 or 3; NaN must not turn this into an endless loop */

    for (size_t i = 1; i < n; i++)
        off[i - 1] = off[i];
    off[n - 1] = 0;
    for (size_t low = 0; low < n; low++) {
        for (int step = 0; step < MOST_STEPS; step++) {
            size_t high = low;
            while (high + 1 < n &&
                   fabs(off[high]) > DBL_EPSILON * (fabs(value[high]) + fabs(value[high + 1])))
                high++;
            if (high == low)
                break;
            ql_step(n, a, value, off, low, high);
        }
    }
}

/* Largest first; insertion of whole rows by exchanging them. */
static void
sort_rows(size_t n, double *a, double *value)
{
    for (size_t i = 0; i + 1 < n; i++) {
        size_t best = i;
        for (size_t j = i + 1; j < n; j++)
            if (value[j] > value[best])
                best = j;
        if (best == i)
            continue;
        const double kept = value[i];
        value[i] = value[best];
        value[best] = kept;
        for (size_t j = 0; j < n; j++) {
            const double x = a[i * n + j];
            a[i * n + j] = a[best * n + j];
            a[best * n + j] = x;
        }
    }
}

void
dk_eigen_symmetric(size_t n, double *a, double *value, double *work)
{
    if (n == 0)
        return;
    for (size_t k = n; k-- > 1;)
        reduce_row(n, a, k, value, work);
    value[0] = 0;
    accumulate(n, a, value);
    diagonalise(n, a, value, work);
    sort_rows(n, a, value);
}
