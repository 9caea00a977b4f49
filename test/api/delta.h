/*
 * delta.h - how often an answer with codes of four bits is not the exact one
 *
 * For each delta, many rotations and many queries for each; a query fails when its ids or scores
 * are not those of a plain index. Data are such that a bound that fails is a wrong answer: a
 * query's k best rows have all about the same score, and so have the k rows that it finds first, a
 * thousandth less, so that each of the best is found only if its bound is not below its score.
 * Seeds are fixed: a run is like any other.
 */
#ifndef DOTK_TEST_DELTA_H
#define DOTK_TEST_DELTA_H

#include "api/search_reference.h"

enum {
    DELTA_ROWS = 512,
    DELTA_DIM = 32,
    DELTA_SEEN = 16, /* of them, those in which queries lie */
    DELTA_FIRST = 64,
    DELTA_BEST_OF = 8, /* one row in so many, from DELTA_FIRST on */
    DELTA_K = (DELTA_ROWS - DELTA_FIRST) / DELTA_BEST_OF
};

/* Makes the n values of x a vector of this length. */
static inline void
delta_set_length(float *x, size_t n, double length)
{
    const double times = length / sqrt(test_dot(x, x, n, NULL));

    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] * times);
}

/* Unit rows: along the axis of all queries as much as they are meant to score, else random. */
static inline void
delta_fill_rows(uint64_t *state, const float *axis, float *rows)
{
    test_random_normals(state, rows, DELTA_ROWS * DELTA_DIM);
    for (size_t i = 0; i < DELTA_ROWS; i++) {
        float *const x = rows + i * DELTA_DIM;
        const double best = i % DELTA_BEST_OF == 0 ? 0.3 : 0;
        const double along = i < DELTA_FIRST ? 0.3 * 0.999 : best;
        for (size_t d = 0; d < DELTA_SEEN; d++)
            x[d] = (float)along * axis[d];
        delta_set_length(x + DELTA_SEEN, DELTA_DIM - DELTA_SEEN, sqrt(1 - along * along));
    }
}

/* Around the axis. */
static inline void
delta_fill_queries(uint64_t *state, const float *axis, size_t n, float *queries)
{
    for (size_t q = 0; q < n; q++) {
        float *const x = queries + q * DELTA_DIM;
        memset(x, 0, DELTA_DIM * sizeof *x);
        test_random_normals(state, x, DELTA_SEEN);
        delta_set_length(x, DELTA_SEEN, 0.5);
        for (size_t d = 0; d < DELTA_SEEN; d++)
            x[d] += axis[d];
    }
}

/* Failures among rotations * queries searches, all queries of a rotation at once. */
static inline size_t
delta_failures(double delta, size_t rotations, size_t queries, dotk_metric metric)
{
    dotk_index *const plain = create(NULL, DELTA_DIM, metric);
    float *const rows = allocate(DELTA_ROWS * DELTA_DIM, sizeof *rows);
    float *const query = allocate(queries * DELTA_DIM, sizeof *query);
    float axis[DELTA_SEEN];
    uint64_t state = 11;
    size_t failures = 0;

    test_random_normals(&state, axis, DELTA_SEEN);
    delta_set_length(axis, DELTA_SEEN, 1);
    delta_fill_rows(&state, axis, rows);
    assert_ok(dotk_index_add(plain, DELTA_ROWS, rows, DELTA_DIM, NULL));
    for (size_t r = 0; r < rotations; r++) {
        struct answer want = answer_create(queries, DELTA_K), got = answer_create(queries, DELTA_K);
        dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
        dotk_index *index;
        options.metric = metric;
        options.screen = DOTK_SCREEN_INT4;
        options.delta = delta;
        options.seed = r;
        assert_ok(dotk_index_create(NULL, DELTA_DIM, &options, &index));
        assert_ok(dotk_index_add(index, DELTA_ROWS, rows, DELTA_DIM, NULL));
        delta_fill_queries(&state, axis, queries, query);
        search(plain, query, DELTA_DIM, NULL, queries, &want);
        search(index, query, DELTA_DIM, NULL, queries, &got);
        for (size_t q = 0; q < queries; q++) {
            const size_t at = q * DELTA_K;
            failures += memcmp(want.ids + at, got.ids + at, DELTA_K * sizeof *want.ids) != 0 ||
                        memcmp(want.scores + at, got.scores + at, DELTA_K * sizeof *want.scores) !=
                            0;
        }
        answer_destroy(&want);
        answer_destroy(&got);
        dotk_index_destroy(index);
    }
    dotk_index_destroy(plain);
    free(rows);
    free(query);
    return failures;
}

/*
 * The upper limit of a proportion of which 'failures' of n were seen, at 99 %: the p for which that
 * many or fewer have a chance of 1 % (Clopper and Pearson, 1934).
 */
static inline double
delta_upper_limit(size_t failures, size_t n)
{
    double low = 0, high = 1;

    for (int i = 0; i < 60; i++) {
        const double p = (low + high) / 2;
        double term = (double)n * log1p(-p), chance = 0; /* of exactly j, as a logarithm */
        for (size_t j = 0; j <= failures; j++) {
            chance += exp(term);
            term += log((double)(n - j) / (double)(j + 1)) + log(p) - log1p(-p);
        }
        if (chance > 0.01)
            low = p;
        else
            high = p;
    }
    return high;
}

#endif /* DOTK_TEST_DELTA_H */
