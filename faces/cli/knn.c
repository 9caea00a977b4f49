/*
 * knn.c - dotk knn: exact neighbours of vectors, from file to file or to a table
 */
#include "cli.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* One run, from its files to its answer; knn_free() releases whatever there is of it. */
struct knn {
    const struct cli_args *args;
    const char *base_path, *query_path;
    dotk_vectors *base, *queries;
    int64_t *base_ids; /* --ids */
    dotk_filter filter;
    int64_t *filter_ids; /* --filter, ascending, each once */
    dotk_search_params params;
    dotk_search_stats stats;
    dotk_context *context;
    dotk_index *index;
    /* The answer: query i owns entries starts[i] .. starts[i] + counts[i] - 1. */
    size_t k;
    int64_t *ids;
    float *scores;
    size_t *counts;
    dotk_hits *hits; /* --range: the answer lies here */
};

static void
knn_free(struct knn *knn)
{
    dotk_hits_destroy(knn->hits);
    free(knn->counts);
    free(knn->scores);
    free(knn->ids);
    dotk_index_destroy(knn->index);
    dotk_context_destroy(knn->context);
    free(knn->filter_ids);
    free(knn->base_ids);
    dotk_vectors_close(knn->queries);
    dotk_vectors_close(knn->base);
}

/* ------------------------------------------------------------------------- */
/*  Input                                                                    */
/* ------------------------------------------------------------------------- */

static int
check_options(const struct cli_args *args)
{
    const bool range = args->value[OPT_RANGE].given;
    const enum cli_option int4_only[] = {OPT_DELTA, OPT_SEED};

    for (size_t i = 0; i < 2; i++)
        if (args->value[int4_only[i]].given && args->value[OPT_SCREEN].choice != DOTK_SCREEN_INT4)
            return cli_fail(args, CLI_USAGE, "%s is %s, which is for --screen int4: give both",
                            cli_option_name(int4_only[i]), args->value[int4_only[i]].text);
    const int refused = cli_check_screen(args, NULL, 0);
    if (refused)
        return refused;
    if (args->value[OPT_EXPLAIN].given && args->value[OPT_JSON].given)
        return cli_fail(args, CLI_USAGE,
                        "--explain and --json exclude each other: the plan is a "
                        "line of text");
    if (args->value[OPT_EXPLAIN].given && range)
        return cli_fail(args, CLI_USAGE,
                        "--explain and --range exclude each other: the plan is of "
                        "a search for the K best, give -k");
    if (range && args->value[OPT_K].given)
        return cli_fail(args, CLI_USAGE, "-k and --range exclude each other");
    if (range && (args->value[OPT_OUT_IDS].given || args->value[OPT_OUT_SCORES].given))
        return cli_fail(args, CLI_USAGE,
                        "--range finds a different number for each query, which --out-ids and "
                        "--out-scores cannot hold: use --json");
    return cli_check_outputs(args, (const enum cli_option[]){OPT_OUT_IDS, OPT_OUT_SCORES}, 2);
}

static int
compare_ids(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static int
read_filter(struct knn *knn)
{
    const char *path = knn->args->value[OPT_FILTER].text;
    size_t count, kept = 0;

    if (path == NULL)
        return CLI_OK;
    const int code = cli_read_ids(knn->args, path, &knn->filter_ids, &count);
    if (code != CLI_OK)
        return code;
    if (count > 0)
        qsort(knn->filter_ids, count, sizeof(*knn->filter_ids), compare_ids);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || knn->filter_ids[i] != knn->filter_ids[i - 1])
            knn->filter_ids[kept++] = knn->filter_ids[i];
    knn->filter.ids = knn->filter_ids;
    knn->filter.id_count = kept;
    knn->params.filter = &knn->filter;
    return CLI_OK;
}

static int
read_base_ids(struct knn *knn)
{
    const char *path = knn->args->value[OPT_IDS].text;
    size_t count;

    if (path == NULL)
        return CLI_OK;
    const int code = cli_read_ids(knn->args, path, &knn->base_ids, &count);
    if (code != CLI_OK || count == knn->base->rows)
        return code;
    return cli_fail(knn->args, CLI_BAD_INPUT,
                    "%s: it has %zu ids, %s has %zu vectors: give one id for each vector", path,
                    count, knn->base_path, knn->base->rows);
}

static int
open_files(struct knn *knn)
{
    int code = cli_open_vectors(knn->args, knn->base_path, &knn->base);

    if (code == CLI_OK)
        code = cli_open_vectors(knn->args, knn->query_path, &knn->queries);
    if (code == CLI_OK && knn->base->dim != knn->queries->dim)
        code = cli_fail(knn->args, CLI_BAD_INPUT,
                        "the dimensions differ: %zu in %s, %zu in %s: give queries of %zu values",
                        knn->base->dim, knn->base_path, knn->queries->dim, knn->query_path,
                        knn->base->dim);
    if (code == CLI_OK)
        code = read_base_ids(knn);
    return code == CLI_OK ? read_filter(knn) : code;
}

/* Names the places of --ids that hold one id twice; does nothing where there are none. */
static int
check_base_ids(const struct knn *knn)
{
    const int64_t *ids = knn->base_ids;
    const size_t count = knn->base->rows, bytes = count * sizeof(*ids);
    size_t twice = 1, first = 0, second;
    int64_t *sorted;

    if (ids == NULL || count == 0)
        return CLI_OK;
    sorted = malloc(bytes);
    if (sorted == NULL)
        return cli_out_of_memory(knn->args);
    memcpy(sorted, ids, bytes);
    qsort(sorted, count, sizeof(*sorted), compare_ids);
    while (twice < count && sorted[twice] != sorted[twice - 1])
        twice++;
    const int64_t id = sorted[twice - 1];
    free(sorted);
    if (twice == count)
        return CLI_OK;
    while (ids[first] != id)
        first++;
    for (second = first + 1; ids[second] != id;)
        second++;
    return cli_fail(knn->args, CLI_BAD_INPUT,
                    "%s: number %zu is %lld, as number %zu is: give each id once",
                    knn->args->value[OPT_IDS].text, second + 1, (long long)id, first + 1);
}

static int
fill_index(struct knn *knn)
{
    const struct cli_args *args = knn->args;
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    char source[PATH_MAX + 8];

    snprintf(source, sizeof(source), "%s has", knn->base_path);
    int code = cli_check_screen(args, source, knn->base->dim);
    if (code != CLI_OK)
        return code;
    options.metric = (dotk_metric)args->value[OPT_METRIC].choice;
    options.screen = (dotk_screen)args->value[OPT_SCREEN].choice;
    options.store = (dotk_store)args->value[OPT_STORE].choice;
    if (options.screen == DOTK_SCREEN_INT4) {
        options.delta = args->value[OPT_DELTA].real;
        options.seed = args->value[OPT_SEED].seed;
    }
    options.expect_unit = args->value[OPT_EXPECT_UNIT].given;
    code = cli_report(args, dotk_index_create(knn->context, knn->base->dim, &options, &knn->index),
                      knn->base_path);
    if (code != CLI_OK)
        return code;
    const dotk_status status = dotk_index_add(knn->index, knn->base->rows, knn->base->data,
                                              knn->base->stride, knn->base_ids);
    if (status == DOTK_BAD_ARGUMENT)
        code = check_base_ids(knn);
    if (code == CLI_OK)
        code = cli_report(args, status, knn->base_path);
    dotk_vectors_close(knn->base); /* copied: a converted file need not lie in memory twice */
    knn->base = NULL;
    return code;
}

/* ------------------------------------------------------------------------- */
/*  Searching                                                                */
/* ------------------------------------------------------------------------- */

/* (queries, k) ids and scores. */
static int
make_room(struct knn *knn)
{
    const size_t n = knn->queries->rows, each = sizeof(*knn->ids) + sizeof(*knn->scores);

    if (n == 0 || knn->k <= SIZE_MAX / sizeof(int64_t) / n) {
        const size_t entries = n * knn->k > 0 ? n * knn->k : 1;
        knn->ids = malloc(entries * sizeof(*knn->ids));
        knn->scores = malloc(entries * sizeof(*knn->scores));
        knn->counts = calloc(n + 1, sizeof(*knn->counts));
    }
    if (knn->ids != NULL && knn->scores != NULL && knn->counts != NULL)
        return CLI_OK;
    return cli_fail(knn->args, CLI_NO_MEMORY,
                    "out of memory: -k is %zu, which takes %.0f bytes for the results of %zu "
                    "quer%s: ask for fewer",
                    knn->k, (double)knn->k * (double)n * (double)each, n, n == 1 ? "y" : "ies");
}

static int
search(struct knn *knn)
{
    const struct cli_args *args = knn->args;
    const dotk_vectors *queries = knn->queries;
    dotk_status status;

    cli_stage("searching");
    if (args->value[OPT_RANGE].given)
        status = dotk_index_range(knn->index, queries->rows, queries->data, queries->stride,
                                  (float)args->value[OPT_RANGE].real, &knn->params, &knn->hits);
    else
        status = dotk_index_search(knn->index, queries->rows, queries->data, queries->stride,
                                   knn->k, &knn->params, knn->ids, knn->scores, knn->counts);
    cli_stage(NULL);
    return cli_report(args, status, knn->query_path);
}

static int
explain(const struct knn *knn)
{
    char plan[512];
    const int code = cli_report(
        knn->args,
        dotk_index_plan(knn->index, knn->queries->rows, knn->k, &knn->params, plan, sizeof(plan)),
        NULL);
    if (code == CLI_OK)
        printf("%s\n", plan);
    return code;
}

/* ------------------------------------------------------------------------- */
/*  Output                                                                   */
/* ------------------------------------------------------------------------- */

/* The hits of query i, best first. */
static size_t
hits_of(const struct knn *knn, size_t i, const int64_t **ids, const float **scores)
{
    const size_t start = knn->hits != NULL ? knn->hits->starts[i] : i * knn->k;

    *ids = (knn->hits != NULL ? knn->hits->ids : knn->ids) + start;
    *scores = (knn->hits != NULL ? knn->hits->scores : knn->scores) + start;
    return knn->hits != NULL ? knn->hits->starts[i + 1] - start : knn->counts[i];
}

static void
print_table(const struct knn *knn)
{
    printf("%7s %5s %12s  %s\n", "query", "rank", "id", "score");
    for (size_t i = 0; i < knn->queries->rows && !cli_interrupted(); i++) {
        const int64_t *ids;
        const float *scores;
        const size_t count = hits_of(knn, i, &ids, &scores);
        for (size_t j = 0; j < count; j++)
            printf("%7zu %5zu %12lld  %.9g\n", i, j + 1, (long long)ids[j], (double)scores[j]);
    }
}

static json_t *
result_json(const struct knn *knn, size_t query)
{
    const int64_t *ids;
    const float *scores;
    const size_t count = hits_of(knn, query, &ids, &scores);
    json_t *hits = json_array();

    for (size_t j = 0; j < count; j++)
        if (json_array_append_new(hits, cli_json_hit(j + 1, ids[j], scores[j])) != 0) {
            json_decref(hits);
            return NULL;
        }
    return json_pack("{s:I, s:o}", "query", (json_int_t)query, "hits", hits);
}

static json_t *
answer_json(const struct knn *knn)
{
    const dotk_search_stats *stats = &knn->stats;
    json_t *results = json_array();

    for (size_t i = 0; i < knn->queries->rows && !cli_interrupted(); i++)
        if (json_array_append_new(results, result_json(knn, i)) != 0) {
            json_decref(results);
            return NULL;
        }
    return json_pack("{s:s, s:s, s:o, s:{s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:s}}", "schema",
                     CLI_SCHEMA_SEARCH, "metric", dotk_metric_name(dotk_index_metric(knn->index)),
                     "results", results, "stats", "rows_scored", (json_int_t)stats->rows_scored,
                     "rows_filtered", (json_int_t)stats->rows_filtered, "candidates",
                     (json_int_t)stats->candidates, "rows_rescored",
                     (json_int_t)stats->rows_rescored, "delta", stats->delta, "seconds",
                     stats->seconds, "path", stats->path, "kernel", stats->kernel);
}

static int
answer(const struct knn *knn)
{
    const struct cli_args *args = knn->args;
    const size_t shape[2] = {knn->queries->rows, knn->k};
    int code = cli_save(args, OPT_OUT_IDS, DOTK_NPY_I64, knn->ids, 2, shape);

    if (code == CLI_OK)
        code = cli_save(args, OPT_OUT_SCORES, DOTK_NPY_F32, knn->scores, 2, shape);
    if (code != CLI_OK)
        return code;
    if (args->value[OPT_JSON].given)
        return cli_json_print(args, answer_json(knn));
    if (!args->value[OPT_OUT_IDS].given && !args->value[OPT_OUT_SCORES].given)
        print_table(knn);
    return CLI_OK;
}

/* How many of the base's rows the filter lets through. */
static size_t
passing_rows(const struct knn *knn, size_t rows)
{
    const int64_t *wanted = knn->filter_ids;
    size_t passing = 0;

    if (knn->params.filter == NULL)
        return rows;
    if (knn->base_ids == NULL) {
        while (passing < knn->filter.id_count && wanted[passing] < (int64_t)rows)
            passing++;
        return passing;
    }
    for (size_t i = 0; i < rows && knn->filter.id_count > 0; i++)
        passing += bsearch(&knn->base_ids[i], wanted, knn->filter.id_count, sizeof(*wanted),
                           compare_ids) != NULL;
    return passing;
}

/* Fewer results than somebody expects are not an error, but the reason is said. */
static void
explain_few(const struct knn *knn, size_t rows)
{
    const struct cli_args *args = knn->args;
    const size_t passing = passing_rows(knn, rows);
    const char *filter = args->value[OPT_FILTER].text;
    const bool ids = args->value[OPT_OUT_IDS].given, scores = args->value[OPT_OUT_SCORES].given;
    const char *padding = ids      ? ": the other places of --out-ids hold -1"
                          : scores ? ": the other places of --out-scores hold an infinity"
                                   : "";

    if (knn->queries->rows == 0)
        cli_note(args, "%s has no vectors: there is nothing to search for", knn->query_path);
    else if (rows == 0)
        cli_note(args, "%s has no vectors: nothing is found", knn->base_path);
    else if (passing == 0)
        cli_note(args, "no vector of %s passes --filter %s", knn->base_path, filter);
    else if (knn->k <= passing || (!args->value[OPT_K].given && !ids && !scores))
        return;
    else if (passing < rows)
        cli_note(args, "-k is %zu, but only %zu vector%s of %s pass%s --filter %s%s", knn->k,
                 passing, passing == 1 ? "" : "s", knn->base_path, passing == 1 ? "es" : "", filter,
                 padding);
    else
        cli_note(args, "-k is %zu, but %s has only %zu vector%s%s", knn->k, knn->base_path, rows,
                 rows == 1 ? "" : "s", padding);
}

static int
run(struct knn *knn)
{
    const struct cli_args *args = knn->args;
    int code = check_options(args);

    if (code == CLI_OK)
        code = cli_context(args, &knn->context);
    if (code == CLI_OK)
        code = open_files(knn);
    if (code != CLI_OK)
        return code;
    const size_t rows = knn->base->rows;
    code = fill_index(knn);
    if (code != CLI_OK)
        return code;
    explain_few(knn, rows);
    if (args->value[OPT_EXPLAIN].given)
        return explain(knn);
    if (!args->value[OPT_RANGE].given)
        code = make_room(knn);
    if (code == CLI_OK)
        code = search(knn);
    return code == CLI_OK ? answer(knn) : code;
}

int
verb_knn(const struct cli_args *args)
{
    struct knn knn = {.args = args, .base_path = args->operand[0], .query_path = args->operand[1]};

    knn.params = (dotk_search_params)DOTK_SEARCH_PARAMS_INIT;
    knn.params.clip_at_zero = args->value[OPT_CLIP_AT_ZERO].given;
    knn.params.stats = &knn.stats;
    knn.k = args->value[OPT_K].size;
    const int code = run(&knn);
    knn_free(&knn);
    return code;
}
