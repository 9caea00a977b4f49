/*
 * search.c - exact search beside an sgemm that produces the scores and selects nothing
 *
 *     bench-search [--threads T] [--rows N] [--dim D] [--queries Q] [-k K] [--rounds R]
 *                  [--uniform] [--ascending]
 *
 * The sgemm goes over the keys in blocks of 4,096, so that its scores stay in the cache: what a
 * search built upon a matrix library does before it selects. That both find the same best score
 * is checked first.
 *
 * --ascending times one query over rows sorted by ascending score, where every row enters the k
 * best and leaves them again, beside the same rows in their own order.
 */
#include "bench.h"

enum { BLOCK = 4096 };

struct search {
    const dotk_index *index;
    size_t queries, dim, k;
    const float *query;
    int64_t *ids;
    float *scores;
};

static dotk_status
run_search(void *user)
{
    const struct search *const search = user;

    return dotk_index_search(search->index, search->queries, search->query, search->dim, search->k,
                             NULL, search->ids, search->scores, NULL);
}

struct product {
    const struct bench_rival *rival;
    size_t rows, queries, dim;
    const float *keys, *query;
    float *scores; /* (queries, BLOCK) */
    float *best;   /* (queries), or NULL: scores are produced and forgotten */
};

static dotk_status
run_sgemm(void *user)
{
    const struct product *const product = user;

    for (size_t from = 0; from < product->rows; from += BLOCK) {
        const size_t count = product->rows - from < BLOCK ? product->rows - from : BLOCK;
        bench_sgemm(product->rival, product->queries, count, product->dim, product->query,
                    product->keys + from * product->dim, product->scores);
        for (size_t i = 0; product->best != NULL && i < product->queries * count; i++) {
            float *const best = &product->best[i / count];
            *best = fmaxf(*best, product->scores[i]);
        }
    }
    return DOTK_OK;
}

static dotk_index *
index_of(dotk_context *context, size_t rows, size_t dim, const float *keys)
{
    dotk_index *index;

    bench_check(dotk_index_create(context, dim, NULL, &index));
    bench_check(dotk_index_add(index, rows, keys, dim, NULL));
    return index;
}

static void
compare_best(struct search *search, struct product *product)
{
    float *const best = bench_array(search->queries, sizeof *best);

    for (size_t q = 0; q < search->queries; q++)
        best[q] = -INFINITY;
    product->best = best;
    run_sgemm(product);
    product->best = NULL;
    bench_check(run_search(search));
    for (size_t q = 0; q < search->queries; q++) {
        const float ours = search->scores[q * search->k];
        if (!(fabsf(ours - best[q]) < 1e-5f))
            bench_die("query %zu: the best score is %.9g here and %.9g there", q, (double)ours,
                      (double)best[q]);
    }
    free(best);
}

static int
bench_batch(int argc, char **argv, dotk_context *context, struct search *search, size_t rows,
            float *keys)
{
    const struct bench_rival rival = bench_load_rival(context);
    const double flop = 2.0 * (double)search->queries * (double)rows * (double)search->dim;
    const double bytes = 4.0 * (double)(search->queries + rows) * (double)search->dim;
    struct product product = {.rival = &rival,
                              .rows = rows,
                              .queries = search->queries,
                              .dim = search->dim,
                              .keys = keys,
                              .query = search->query,
                              .scores = bench_array(search->queries * BLOCK, sizeof(float))};
    struct bench_case one = {.ours = {run_search, search, flop, bytes}, .other_name = "sgemm"};

    snprintf(one.what, sizeof one.what,
             "\"queries\": %zu, \"rows\": %zu, \"dim\": %zu, \"k\": %zu, \"data\": \"%s\"",
             search->queries, rows, search->dim, search->k,
             bench_flag(argc, argv, "--uniform") ? "uniform" : "clusters");
    if (rival.name[0] != '\0') {
        compare_best(search, &product);
        one.other = (dotk_timed){run_sgemm, &product, flop, bytes};
    }
    const int code = bench_run("search", context, &rival, rows * search->dim * sizeof *keys,
                               bench_size(argc, argv, "--rounds", 5), &one, 1);
    free(product.scores);
    return code;
}

struct scored {
    float score;
    size_t row;
};

static int
compare_scored(const void *a, const void *b)
{
    const struct scored *const x = a, *const y = b;
    return x->score != y->score ? (x->score > y->score) - (x->score < y->score)
                                : (x->row > y->row) - (x->row < y->row);
}

static int
bench_ascending(int argc, char **argv, dotk_context *context, struct search *search, size_t rows,
                const float *keys)
{
    static const struct bench_rival nobody = {.name = ""};
    const double flop = 2.0 * (double)rows * (double)search->dim;
    const double bytes = 4.0 * (double)(rows + 1) * (double)search->dim;
    struct scored *const order = bench_array(rows, sizeof *order);
    float *const sorted = bench_array(rows * search->dim, sizeof *sorted);

    for (size_t i = 0; i < rows; i++)
        order[i] = (struct scored){dotk_dot(search->query, keys + i * search->dim, search->dim), i};
    qsort(order, rows, sizeof *order, compare_scored);
    for (size_t i = 0; i < rows; i++)
        memcpy(sorted + i * search->dim, keys + order[i].row * search->dim,
               search->dim * sizeof *sorted);
    free(order);
    dotk_index *const ascending = index_of(context, rows, search->dim, sorted);
    free(sorted);

    struct search other = *search;
    other.index = ascending;
    struct bench_case one = {.ours = {run_search, search, flop, bytes},
                             .other = {run_search, &other, flop, bytes},
                             .other_name = "ascending"};
    snprintf(one.what, sizeof one.what,
             "\"queries\": 1, \"rows\": %zu, \"dim\": %zu, \"k\": %zu, \"order\": \"any\"", rows,
             search->dim, search->k);
    const int code = bench_run("search-ascending", context, &nobody,
                               rows * search->dim * sizeof *keys,
                               bench_size(argc, argv, "--rounds", 5), &one, 1);
    dotk_index_destroy(ascending);
    return code;
}

int
main(int argc, char **argv)
{
    dotk_context *const context = bench_context(bench_size(argc, argv, "--threads", 1));
    const size_t rows = bench_size(argc, argv, "--rows", 500000);
    const size_t dim = bench_size(argc, argv, "--dim", 768);
    const bool ascending = bench_flag(argc, argv, "--ascending");
    const size_t queries = ascending ? 1 : bench_size(argc, argv, "--queries", 64);
    const size_t k = bench_size(argc, argv, "-k", 10);
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    float *const keys = bench_array(rows * dim, sizeof *keys);
    float *const query = bench_array(queries * dim, sizeof *query);

    if (bench_flag(argc, argv, "--uniform"))
        options.kind = DOTK_GENERATE_UNIFORM;
    bench_check(dotk_generate(context, rows, dim, &options, keys));
    options.queries = 1;
    bench_check(dotk_generate(context, queries, dim, &options, query));
    dotk_index *const index = index_of(context, rows, dim, keys);
    struct search search = {.index = index,
                            .queries = queries,
                            .dim = dim,
                            .k = k,
                            .query = query,
                            .ids = bench_array(queries * k, sizeof(int64_t)),
                            .scores = bench_array(queries * k, sizeof(float))};
    const int code = ascending ? bench_ascending(argc, argv, context, &search, rows, keys)
                               : bench_batch(argc, argv, context, &search, rows, keys);
    dotk_index_destroy(index);
    dotk_context_destroy(context);
    free(search.ids);
    free(search.scores);
    free(keys);
    free(query);
    return code;
}
