/*
 * bench_search.c - dotk bench search: batches of queries over vectors made up or of a file
 *
 * A search is held against reading once what it reads at least: the vectors as they are stored
 * (--store), or the codes before them (--screen); a search of codes (any --screen, or --store int8)
 * also against three times the FMA peak: what int8 instructions multiply and add in the time.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* One number of queries; the result's path and kernel come from the last run. */
struct search {
    const dotk_index *index;
    const float *queries; /* (count, dim) */
    size_t count, dim, k;
    int64_t *ids;
    float *scores;
    struct result *result;
};

static dotk_status
run_search(void *user)
{
    struct search *const search = user;
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_search_stats stats;

    params.stats = &stats;
    const dotk_status status = dotk_index_search(search->index, search->count, search->queries,
                                                 search->dim, search->k, &params, search->ids,
                                                 search->scores, NULL);
    if (status == DOTK_OK) {
        search->result->path = stats.path;
        search->result->kernel = stats.kernel;
        search->result->rescored = (double)stats.rows_rescored / (double)search->count;
    }
    return status;
}

static int
time_searches(struct bench *bench, const dotk_index *index, const float *queries, size_t most,
              const size_t *counts, size_t how_many)
{
    const struct cli_args *const args = bench->args;
    const size_t rows = dotk_index_count(index), dim = dotk_index_dim(index);
    const size_t k = args->value[OPT_K].size, entries = bench_product(most, k, 1);
    struct search search[BENCH_SIZES];
    int64_t *const ids = entries < SIZE_MAX / 16 ? malloc(entries * sizeof *ids) : NULL;
    float *const scores = bench_floats(entries);
    int code = ids == NULL || scores == NULL ? cli_out_of_memory(args) : CLI_OK;

    for (size_t i = 0; i < how_many && code == CLI_OK; i++) {
        struct result *const result = &bench->result[i];
        search[i] = (struct search){index, queries, counts[i], dim, k, ids, scores, result};
        result->timed.run = run_search;
        result->timed.user = &search[i];
        result->timed.flop = 2.0 * (double)counts[i] * (double)rows * (double)dim;
        result->timed.bytes = (bench->bytes_read * (double)rows + 4.0 * (double)counts[i]) *
                              (double)dim;
        result->json = json_pack("{s:I}", "queries", (json_int_t)counts[i]);
        snprintf(result->label, sizeof result->label, "%zu quer%s", counts[i],
                 counts[i] == 1 ? "y" : "ies");
        bench->count = i + 1;
        if (result->json == NULL)
            code = cli_out_of_memory(args);
    }
    if (code == CLI_OK)
        code = bench_time(bench);
    free(ids);
    free(scores);
    return code;
}

/* The bytes that a search reads of each value, at least: of its codes, or of what is stored. */
static double
value_bytes(const dotk_index_options *options)
{
    if (options->screen == DOTK_SCREEN_INT4)
        return 0.5;
    if (options->screen == DOTK_SCREEN_INT8 || options->store == DOTK_STORE_INT8)
        return 1;
    return options->store == DOTK_STORE_F32 ? 4 : 2;
}

/* Rows made up for the purpose, and queries like them. */
static int
made_rows(const struct bench *bench, dotk_index *index, size_t rows, size_t most, float *queries)
{
    const struct cli_args *const args = bench->args;
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;
    const size_t dim = dotk_index_dim(index);
    float *const values = bench_floats(bench_product(rows, dim, 1));

    if (values == NULL)
        return cli_out_of_memory(args);
    options.kind = (dotk_generate_kind)args->value[OPT_VECTORS].choice;
    dotk_status status = dotk_generate(bench->context, rows, dim, &options, values);
    if (status == DOTK_OK)
        status = dotk_index_add(index, rows, values, dim, NULL);
    free(values);
    options.queries = 1;
    if (status == DOTK_OK)
        status = dotk_generate(bench->context, most, dim, &options, queries);
    return cli_report(args, status, NULL);
}

/* A file's rows; the queries are rows of it, spread evenly. */
static int
file_rows(const struct bench *bench, dotk_index *index, const dotk_vectors *file, size_t most,
          float *queries)
{
    const dotk_status status = dotk_index_add(index, file->rows, file->data, file->stride, NULL);

    for (size_t i = 0; i < most && status == DOTK_OK; i++) {
        const size_t row = (size_t)((double)i / (double)most * (double)file->rows);
        memcpy(queries + i * file->dim, file->data + row * file->stride,
               file->dim * sizeof *queries);
    }
    return cli_report(bench->args, status, bench->args->value[OPT_DATA].text);
}

static int
describe_search(struct bench *bench, size_t rows, size_t dim)
{
    const struct cli_args *const args = bench->args;
    const struct cli_value *const data = &args->value[OPT_DATA];
    const struct cli_value *const vectors = &args->value[OPT_VECTORS];
    json_t *const what = json_pack(
        "{s:I, s:I, s:I, s:s, s:s, s:s, s:s}", "rows", (json_int_t)rows, "dim", (json_int_t)dim,
        "k", (json_int_t)args->value[OPT_K].size, "metric",
        dotk_metric_name((dotk_metric)args->value[OPT_METRIC].choice), "store",
        args->value[OPT_STORE].text, "screen", args->value[OPT_SCREEN].text, "data",
        data->given                                ? data->text
        : vectors->choice == DOTK_GENERATE_UNIFORM ? "uniform"
                                                   : "clusters");
    const int failed = json_object_update(bench->answer, what);

    json_decref(what);
    return failed ? cli_out_of_memory(args) : CLI_OK;
}

int
bench_search(struct bench *bench)
{
    const struct cli_args *const args = bench->args;
    size_t counts[BENCH_SIZES], most = 0, rows = args->value[OPT_ROWS].size;
    size_t dim = bench_width(args, 768);
    const size_t how_many = cli_counts(args, OPT_QUERIES, BENCH_SIZES, counts);
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_vectors *file = NULL;
    dotk_index *index = NULL;
    int code;

    if (how_many > BENCH_SIZES)
        return cli_fail(args, CLI_USAGE, "--queries lists %zu numbers: at most %d", how_many,
                        BENCH_SIZES);
    for (size_t i = 0; i < how_many; i++)
        most = counts[i] > most ? counts[i] : most;
    if (args->value[OPT_DATA].given) {
        if (args->value[OPT_ROWS].given || args->value[OPT_BENCH_DIM].given)
            return cli_fail(args, CLI_USAGE, "--data says how many rows and dimensions there are");
        code = cli_open_vectors(args, args->value[OPT_DATA].text, &file);
        if (code != CLI_OK)
            return code;
        rows = file->rows;
        dim = file->dim;
        if (rows == 0) {
            dotk_vectors_close(file);
            return cli_fail(args, CLI_BAD_INPUT, "%s: has no vectors", args->value[OPT_DATA].text);
        }
    }
    options.metric = (dotk_metric)args->value[OPT_METRIC].choice;
    options.screen = (dotk_screen)args->value[OPT_SCREEN].choice;
    options.store = (dotk_store)args->value[OPT_STORE].choice;
    bench->codes = options.screen != DOTK_SCREEN_NONE || options.store == DOTK_STORE_INT8;
    bench->bytes_read = value_bytes(&options);
    code = cli_check_screen(args, file != NULL ? "--data has" : "--dim is", dim);
    if (code == CLI_OK)
        code = cli_report(args, dotk_index_create(bench->context, dim, &options, &index), NULL);
    float *const queries = bench_floats(bench_product(most, dim, 1));
    if (code == CLI_OK && queries == NULL)
        code = cli_out_of_memory(args);
    if (code == CLI_OK)
        code = file != NULL ? file_rows(bench, index, file, most, queries)
                            : made_rows(bench, index, rows, most, queries);
    dotk_vectors_close(file);
    bench->data_bytes = (size_t)((double)bench_product(rows, dim, 1) * bench->bytes_read);
    if (code == CLI_OK)
        code = describe_search(bench, rows, dim);
    if (code == CLI_OK)
        code = time_searches(bench, index, queries, most, counts, how_many);
    free(queries);
    dotk_index_destroy(index);
    return code;
}
