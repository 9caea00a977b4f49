/* test_latent.c - eigenvectors, and the strongest directions of a sparse matrix */
#include "support.h"

#include "platform/memory.h"
#include "text/eigen.h"
#include "text/latent.h"

static void *
xmalloc(size_t size)
{
    void *const block = malloc(size > 0 ? size : 1);
    test_require(block != NULL, "malloc");
    return block;
}

/* |A v - w v|, |V'V - I| and the order, for a symmetric matrix of rank 'rank'. */
static void
check_eigen(size_t n, size_t rank, uint64_t seed)
{
    double *const a = xmalloc(n * n * sizeof *a), *const v = xmalloc(n * n * sizeof *v);
    double *const value = xmalloc(n * sizeof *value), *const work = xmalloc(n * sizeof *work);
    double *const x = xmalloc(rank * n * sizeof *x);

    for (size_t i = 0; i < rank * n; i++)
        x[i] = test_random_normal(&seed);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            a[i * n + j] = 0;
            for (size_t r = 0; r < rank; r++) /* signs differ: not only positive eigenvalues */
                a[i * n + j] += (r % 3 == 0 ? -1 : 1) * x[r * n + i] * x[r * n + j];
            v[i * n + j] = a[i * n + j];
        }
    }
    dk_eigen_symmetric(n, v, value, work);
    const double largest = fmax(fabs(value[0]), fabs(value[n - 1]));
    const double bound = 8 * (double)n * 0x1p-53 * (largest > 0 ? largest : 1);
    for (size_t k = 0; k < n; k++) {
        assert_true(k == 0 || value[k] <= value[k - 1]);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++)
                sum += a[i * n + j] * v[k * n + j];
            assert_true(fabs(sum - value[k] * v[k * n + i]) <= bound);
        }
        for (size_t l = 0; l <= k; l++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++)
                sum += v[k * n + j] * v[l * n + j];
            assert_true(fabs(sum - (k == l)) <= 8 * (double)n * 0x1p-53);
        }
    }
    free(a);
    free(v);
    free(value);
    free(work);
    free(x);
}

static void
eigenvectors(void **state)
{
    (void)state;
    for (size_t n = 1; n < 90; n = n < 12 ? n + 1 : n + 17)
        for (size_t rank = 0; rank <= n; rank += rank < 2 ? 1 : n)
            check_eigen(n, rank, n * 100 + rank);
    dk_eigen_symmetric(0, NULL, NULL, NULL);
}

/* A matrix of which the directions are known: sum of s[r] u[r] v[r]'. */
enum { ROWS = 150, COLUMNS = 90, RANK = 5 };

struct known {
    float dense[ROWS][COLUMNS];
    double u[RANK][ROWS], v[RANK][COLUMNS], s[RANK];
    size_t start[ROWS + 1];
    uint32_t column[ROWS * COLUMNS];
    float value[ROWS * COLUMNS];
    struct dk_sparse sparse;
};

/* Gram and Schmidt; rows become orthonormal. */
static void
orthonormal(double *rows, size_t count, size_t n, uint64_t *seed)
{
    for (size_t r = 0; r < count; r++) {
        double square = 0;
        for (size_t i = 0; i < n; i++)
            rows[r * n + i] = test_random_normal(seed);
        for (size_t p = 0; p < r; p++) {
            double dot = 0;
            for (size_t i = 0; i < n; i++)
                dot += rows[r * n + i] * rows[p * n + i];
            for (size_t i = 0; i < n; i++)
                rows[r * n + i] -= dot * rows[p * n + i];
        }
        for (size_t i = 0; i < n; i++)
            square += rows[r * n + i] * rows[r * n + i];
        for (size_t i = 0; i < n; i++)
            rows[r * n + i] /= sqrt(square);
    }
}

static struct known *
make_known(void)
{
    struct known *const k = xmalloc(sizeof *k);
    uint64_t seed = 11;
    size_t entries = 0;

    orthonormal(&k->u[0][0], RANK, ROWS, &seed);
    orthonormal(&k->v[0][0], RANK, COLUMNS, &seed);
    for (size_t r = 0; r < RANK; r++)
        k->s[r] = 10.0 / (double)(r + 1);
    for (size_t i = 0; i < ROWS; i++) {
        k->start[i] = entries;
        for (size_t j = 0; j < COLUMNS; j++) {
            double sum = 0;
            for (size_t r = 0; r < RANK; r++)
                sum += k->s[r] * k->u[r][i] * k->v[r][j];
            k->dense[i][j] = (float)sum;
            k->column[entries] = (uint32_t)j;
            k->value[entries++] = (float)sum;
        }
    }
    k->start[ROWS] = entries;
    k->sparse = (struct dk_sparse){ROWS, COLUMNS, k->start, k->column, k->value};
    return k;
}

/* Coordinate c of row i. */
static double
coordinate(const struct known *k, const struct dk_latent *latent, size_t i, size_t c)
{
    double sum = 0;
    for (size_t j = 0; j < COLUMNS; j++)
        for (size_t l = 0; l < latent->width; l++)
            sum += (double)k->dense[i][j] * latent->sketch[j * latent->width + l] *
                   latent->directions[c * latent->width + l];
    return sum;
}

static void
directions(void **state)
{
    struct known *const k = make_known();
    struct dk_latent latent;
    (void)state;
    assert_ok(dk_latent_fit(NULL, &k->sparse, 40, 1, &latent));
    assert_int_equal(latent.dim, RANK); /* it has no more, in spite of rounding */
    for (size_t c = 0; c < RANK; c++) {
        double sign = 0;
        for (size_t i = 0; i < ROWS; i++)
            sign += coordinate(k, &latent, i, c) * k->u[c][i];
        sign = sign < 0 ? -1 : 1;
        for (size_t i = 0; i < ROWS; i += 7)
            assert_true(fabs(sign * coordinate(k, &latent, i, c) - k->s[c] * k->u[c][i]) < 1e-3);
    }
    dk_latent_release(&latent);
    assert_ok(dk_latent_fit(NULL, &k->sparse, 2, 1, &latent));
    assert_int_equal(latent.dim, 2);
    dk_latent_release(&latent);
    free(k);
}

static void
degenerate(void **state)
{
    size_t start[4] = {0, 0, 0, 0};
    struct dk_sparse none = {3, 0, start, NULL, NULL};
    struct dk_latent latent;
    (void)state;
    assert_ok(dk_latent_fit(NULL, &none, 8, 1, &latent));
    assert_int_equal(latent.dim, 0);
    none.columns = 5; /* columns, but nothing in them */
    assert_ok(dk_latent_fit(NULL, &none, 8, 1, &latent));
    assert_int_equal(latent.dim, 0);
    /* The same row three times: one direction. */
    size_t starts[4] = {0, 2, 4, 6};
    uint32_t column[6] = {0, 1, 0, 1, 0, 1};
    float value[6] = {0.6f, 0.8f, 0.6f, 0.8f, 0.6f, 0.8f};
    const struct dk_sparse same = {3, 2, starts, column, value};
    assert_ok(dk_latent_fit(NULL, &same, 8, 1, &latent));
    assert_int_equal(latent.dim, 1);
    dk_latent_release(&latent);
    assert_ok(dk_latent_fit(NULL, &same, 0, 1, &latent));
    assert_int_equal(latent.dim, 0);
}

static void
same_for_any_threads(void **state)
{
    struct known *const k = make_known();
    struct dk_latent first, other;
    (void)state;
    assert_ok(dk_latent_fit(NULL, &k->sparse, 3, 7, &first));
    for (uint32_t threads = 1; threads <= 4; threads *= 2) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        options.threads = threads;
        assert_ok(dotk_context_create(&options, &context));
        assert_ok(dk_latent_fit(context, &k->sparse, 3, 7, &other));
        assert_int_equal(other.width, first.width);
        assert_memory_equal(other.sketch, first.sketch, COLUMNS * first.width * sizeof(float));
        assert_memory_equal(other.directions, first.directions, 3 * first.width * sizeof(float));
        dk_latent_release(&other);
        dotk_context_destroy(context);
    }
    dk_latent_release(&first);
    free(k);
}

static dotk_status
fit_known(void *user)
{
    const struct known *const k = user;
    struct dk_latent latent;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *context;

    options.threads = 1;
    dotk_status status = dotk_context_create(&options, &context);
    if (status != DOTK_OK)
        return status;
    status = dk_latent_fit(context, &k->sparse, 3, 1, &latent);
    assert_true(status == DOTK_OK || latent.sketch == NULL);
    dk_latent_release(&latent);
    dotk_context_destroy(context);
    return status;
}

static void
memory(void **state)
{
    struct known *const k = make_known();
    (void)state;
    assert_true(test_alloc_fail_each(fit_known, k) > 10);
    free(k);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eigenvectors), cmocka_unit_test(directions),
        cmocka_unit_test(degenerate),   cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
