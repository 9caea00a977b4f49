/*
 * delta.h - how often an answer with codes of four bits is not the exact one
 *
 * For each delta, many rotations and many queries for each; a query fails when its ids or scores
 * are not those of a plain index. Rows are few and their scores close together, so that a bound
 * that fails is a row that is missed. Seeds are fixed: a run is like any other.
 */
#ifndef DOTK_TEST_DELTA_H
#define DOTK_TEST_DELTA_H

#include "api/search_reference.h"

enum { DELTA_ROWS = 512, DELTA_DIM = 64, DELTA_K = 5 };

/* Failures among rotations * queries searches, all queries of a rotation at once. */
static inline size_t
delta_failures(double delta, size_t rotations, size_t queries, dotk_metric metric)
{
    dotk_index *const plain = create(NULL, DELTA_DIM, metric);
    float *const rows = allocate(DELTA_ROWS * DELTA_DIM, sizeof *rows);
    float *const query = allocate(queries * DELTA_DIM, sizeof *query);
    uint64_t state = 11;
    size_t failures = 0;

    test_random_normals(&state, rows, DELTA_ROWS * DELTA_DIM);
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
        test_random_normals(&state, query, queries * DELTA_DIM);
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
