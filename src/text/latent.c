/*
 * latent.c - truncated singular value decomposition of a sparse matrix by random projection
 *
 * Halko, Martinsson and Tropp (2011), algorithm 4.4 with one power step: the range of A is found
 * from A times a few hundred random vectors, and the rest happens in that range. It differs from
 * the textbook in what is kept. U is not needed, and V (m, r) is never formed: with Q the
 * orthonormal range, B = A'Q (m, l) and G = Q'AA'Q = E S^2 E', a row x has x V = x B E S^-1. So a
 * row costs one sparse product with B and one small dense one, and the dense products, which go
 * through dotk_dense(), all have n, not m, as their long side.
 *
 * Orthonormal columns come from the Cholesky factor of Y'Y, twice (Yamamoto et al. 2015), because
 * that is dense products again; Householder's method would be slower and gains nothing that a
 * ranking could show. Directions that rounding has drowned are dropped, so a matrix of low rank
 * (the same passage a hundred times) is fine.
 */
#include "text/latent.h"

#include <dotk/dense.h>

#include "platform/memory.h"
#include "platform/status.h"
#include "text/eigen.h"
#include "tile/tile.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
    EXTRA = 32,     /* random vectors beyond the directions wanted */
    TASK_ROWS = 64, /* rows of a sparse product in one task        */
};

/* A column whose remainder is this part of it or less is rounding. */
#define DROWNED 1e-6

/* ------------------------------------------------------------------------- */
/*  Sparse products                                                          */
/* ------------------------------------------------------------------------- */

struct product {
    const struct dk_sparse *a;
    const float *x; /* (columns, width) */
    float *y;       /* (rows, width)    */
    size_t width;
};

static void
multiply_rows(void *arg, size_t task, size_t slot)
{
    const struct product *const p = arg;
    const size_t first = task * TASK_ROWS, last = dk_min(first + TASK_ROWS, p->a->rows);
    const size_t width = p->width;

    (void)slot;
    for (size_t row = first; row < last; row++) {
        float *restrict const y = p->y + row * width;
        memset(y, 0, width * sizeof *y);
        for (size_t i = p->a->start[row]; i < p->a->start[row + 1]; i++) {
            const float *restrict const x = p->x + p->a->column[i] * width;
            const float value = p->a->value[i];
            for (size_t j = 0; j < width; j++)
                y[j] += value * x[j];
        }
    }
}

/* y (rows, width) = a x */
static dotk_status
multiply(struct dk_call *call, const struct dk_sparse *a, const float *x, size_t width, float *y)
{
    struct product product = {a, x, y, width};
    return dk_call_run(call, (a->rows + TASK_ROWS - 1) / TASK_ROWS, multiply_rows, &product);
}

static void
release_sparse(struct dk_sparse *a)
{
    dk_free(a->start);
    dk_free(a->column);
    dk_free(a->value);
    *a = (struct dk_sparse){0};
}

/* out = a', its rows sorted by column. */
static dotk_status
transpose(const struct dk_sparse *a, struct dk_sparse *out)
{
    const size_t entries = a->start[a->rows];

    *out = (struct dk_sparse){
        .rows = a->columns,
        .columns = a->rows,
        .start = dk_alloc_array(a->columns + 1, sizeof *out->start),
        .column = dk_alloc_array(entries, sizeof *out->column),
        .value = dk_alloc_array(entries, sizeof *out->value),
    };
    if (out->start == NULL || out->column == NULL || out->value == NULL) {
        release_sparse(out);
        return dk_fail_memory(entries * sizeof(float), "a transposed matrix");
    }
    memset(out->start, 0, (a->columns + 1) * sizeof *out->start);
    for (size_t i = 0; i < entries; i++)
        out->start[a->column[i] + 1]++;
    for (size_t c = 0; c < a->columns; c++)
        out->start[c + 1] += out->start[c];
    for (size_t row = 0; row < a->rows; row++) {
        for (size_t i = a->start[row]; i < a->start[row + 1]; i++) {
            const size_t to = out->start[a->column[i]]++;
            out->column[to] = (uint32_t)row;
            out->value[to] = a->value[i];
        }
    }
    /* Each start has moved to its row's end, which is the next one's start. */
    memmove(out->start + 1, out->start, a->columns * sizeof *out->start);
    out->start[0] = 0;
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Small dense matrices                                                     */
/* ------------------------------------------------------------------------- */

/* out (columns, rows) = x (rows, columns)' */
static void
transpose_dense(const float *x, size_t rows, size_t columns, float *out)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            out[j * rows + i] = x[i * columns + j];
}

/*
 * Cholesky factor of the symmetric g (l, l), in place in the lower triangle; columns that depend
 * on earlier ones get a diagonal of 0.
 */
static void
factorise(double *g, size_t l)
{
    for (size_t j = 0; j < l; j++) {
        double *const row = g + j * l;
        const double whole = row[j];
        for (size_t k = 0; k <= j; k++) {
            double sum = row[k];
            const double *const other = g + k * l;
            for (size_t i = 0; i < k; i++)
                sum -= row[i] * other[i];
            if (k < j)
                row[k] = other[k] > 0 ? sum / other[k] : 0;
            else
                row[j] = sum > DROWNED * whole && sum > 0 ? sqrt(sum) : 0;
        }
    }
}

/*
 * inverse (kept, l) = the rows of the inverse of the lower triangular g (l, l) whose diagonal is
 * not 0; returns kept.
 */
static size_t
invert(const double *g, size_t l, float *inverse, double *row)
{
    size_t kept = 0;

    for (size_t j = 0; j < l; j++) {
        if (g[j * l + j] == 0)
            continue;
        /* Row j of the inverse, x g = e_j, from the back. */
        memset(row, 0, l * sizeof *row);
        row[j] = 1 / g[j * l + j];
        for (size_t i = j; i-- > 0;) {
            double sum = 0;
            for (size_t k = i + 1; k <= j; k++)
                sum += row[k] * g[k * l + i];
            row[i] = g[i * l + i] != 0 ? -sum / g[i * l + i] : 0;
        }
        for (size_t i = 0; i < l; i++)
            inverse[kept * l + i] = (float)row[i];
        kept++;
    }
    return kept;
}

/* Working memory of a fit. */
struct work {
    float *y, *z, *t;    /* (n, l) each */
    float *small;        /* (l, l) */
    double *gram;        /* (l, l) */
    double *row, *value; /* (l) each */
};

/* work->gram (l, l) = x' w, for x' and w' (l, n) */
static dotk_status
multiply_columns(dotk_context *context, size_t n, size_t l, const float *x, const float *w,
                 struct work *work)
{
    const dotk_status status = dotk_dense(context, l, l, n, x, w, NULL, NULL, work->small);
    for (size_t i = 0; status == DOTK_OK && i < l * l; i++)
        work->gram[i] = work->small[i];
    return status;
}

/* Makes the columns of work->y (n, *l) orthonormal; *l becomes the number that are left. */
static dotk_status
orthonormalise(dotk_context *context, size_t n, size_t *l, struct work *work)
{
    for (int round = 0; round < 2 && *l > 0; round++) {
        transpose_dense(work->y, n, *l, work->t);
        dotk_status status = multiply_columns(context, n, *l, work->t, work->t, work);
        if (status != DOTK_OK)
            return status;
        factorise(work->gram, *l);
        const size_t kept = invert(work->gram, *l, work->small, work->row);
        if (kept > 0)
            status = dotk_dense(context, n, kept, *l, work->y, work->small, NULL, NULL, work->z);
        if (status != DOTK_OK)
            return status;
        float *const y = work->y;
        work->y = work->z;
        work->z = y;
        *l = kept;
    }
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  The fit                                                                  */
/* ------------------------------------------------------------------------- */

/* +1 or -1, by splitmix64 (Steele, Lea and Flood 2014). */
static void
fill_with_signs(float *out, size_t count, uint64_t seed)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < count; i++, bits >>= 1) {
        if (i % 64 == 0) {
            uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));
            z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
            z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
            bits = z ^ (z >> 31);
        }
        out[i] = bits & 1 ? 1.0f : -1.0f;
    }
}

/* work->y (n, *l) = an orthonormal basis of the strongest part of a's range */
static dotk_status
find_range(dotk_context *context, struct dk_call *call, const struct dk_sparse *a,
           const struct dk_sparse *transposed, uint64_t seed, float *sketch, size_t *l,
           struct work *work)
{
    fill_with_signs(sketch, a->columns * *l, seed);
    dotk_status status = multiply(call, a, sketch, *l, work->y);
    if (status == DOTK_OK)
        status = orthonormalise(context, a->rows, l, work);
    if (status == DOTK_OK)
        status = multiply(call, transposed, work->y, *l, sketch);
    if (status == DOTK_OK)
        status = multiply(call, a, sketch, *l, work->y);
    return status == DOTK_OK ? orthonormalise(context, a->rows, l, work) : status;
}

/* The directions within the range, from gram = E S^2 E'. */
static dotk_status
find_directions(const struct work *work, size_t l, size_t dim, struct dk_latent *out)
{
    double *const vectors = work->gram, *const value = work->value;

    dk_eigen_symmetric(l, vectors, value, work->row);
    size_t r = 0;
    while (r < l && r < dim && value[r] > DROWNED * value[0] && value[r] > 0)
        r++;
    out->directions = dk_alloc_array(r * l, sizeof *out->directions);
    if (out->directions == NULL)
        return dk_fail_memory(r * l * sizeof(float), "latent directions");
    for (size_t i = 0; i < r; i++)
        for (size_t j = 0; j < l; j++)
            out->directions[i * l + j] = (float)(vectors[i * l + j] / sqrt(value[i]));
    out->width = l;
    out->dim = r;
    return DOTK_OK;
}

/* gram = Q'A A'Q = B'B, by way of A A'Q, which has n rows where B has m; B goes to the sketch. */
static dotk_status
project(dotk_context *context, struct dk_call *call, const struct dk_sparse *a,
        const struct dk_sparse *transposed, float *sketch, size_t l, struct work *work)
{
    dotk_status status = multiply(call, transposed, work->y, l, sketch);
    if (status == DOTK_OK)
        status = multiply(call, a, sketch, l, work->z);
    if (status != DOTK_OK)
        return status;
    transpose_dense(work->y, a->rows, l, work->t);
    transpose_dense(work->z, a->rows, l, work->y);
    status = multiply_columns(context, a->rows, l, work->t, work->y, work);
    for (size_t i = 0; i < l; i++)
        for (size_t j = 0; j < i; j++)
            work->gram[i * l + j] = work->gram[j * l + i] =
                (work->gram[i * l + j] + work->gram[j * l + i]) / 2;
    return status;
}

static dotk_status
fit(dotk_context *context, const struct dk_sparse *a, const struct dk_sparse *transposed,
    size_t dim, size_t l, uint64_t seed, struct work *work, struct dk_latent *out)
{
    struct dk_call call;

    dotk_status status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    status = find_range(context, &call, a, transposed, seed, out->sketch, &l, work);
    if (status == DOTK_OK && l > 0)
        status = project(context, &call, a, transposed, out->sketch, l, work);
    dk_call_end(&call);
    return status == DOTK_OK && l > 0 ? find_directions(work, l, dim, out) : status;
}

static bool
allocate_work(size_t n, size_t l, struct work *work)
{
    size_t cells, square;

    if (!dk_mul(n, l, &cells) || !dk_mul(l, l, &square))
        return false;
    *work = (struct work){
        .y = dk_alloc_array(cells, sizeof(float)),
        .z = dk_alloc_array(cells, sizeof(float)),
        .t = dk_alloc_array(cells, sizeof(float)),
        .small = dk_alloc_array(square, sizeof(float)),
        .gram = dk_alloc_array(square, sizeof(double)),
        .row = dk_alloc_array(l, sizeof(double)),
        .value = dk_alloc_array(l, sizeof(double)),
    };
    return work->y != NULL && work->z != NULL && work->t != NULL && work->small != NULL &&
           work->gram != NULL && work->row != NULL && work->value != NULL;
}

static void
release_work(struct work *work)
{
    dk_free(work->y);
    dk_free(work->z);
    dk_free(work->t);
    dk_free(work->small);
    dk_free(work->gram);
    dk_free(work->row);
    dk_free(work->value);
}

dotk_status
dk_latent_fit(dotk_context *context, const struct dk_sparse *a, size_t dim, uint64_t seed,
              struct dk_latent *out)
{
    const size_t least = dk_min(a->rows, a->columns);
    const size_t l = dk_min(least, dk_min(dim, least) + EXTRA);
    struct dk_sparse transposed = {0};
    struct work work = {0};
    size_t cells;

    *out = (struct dk_latent){0};
    if (l == 0 || dim == 0)
        return DOTK_OK;
    if (dk_mul(a->columns, l, &cells))
        out->sketch = dk_alloc_array(cells, sizeof *out->sketch);
    dotk_status status = DOTK_OK;
    if (out->sketch == NULL || !allocate_work(a->rows, l, &work))
        status = dk_fail_memory(a->rows * sizeof(float), "a latent space");
    if (status == DOTK_OK)
        status = transpose(a, &transposed);
    if (status == DOTK_OK)
        status = fit(context, a, &transposed, dim, l, seed, &work, out);
    release_sparse(&transposed);
    release_work(&work);
    if (status != DOTK_OK || out->dim == 0)
        dk_latent_release(out);
    return status;
}

void
dk_latent_release(struct dk_latent *latent)
{
    dk_free(latent->sketch);
    dk_free(latent->directions);
    *latent = (struct dk_latent){0};
}
