/*
 * inspect.c - dotk inspect: what a file of vectors holds, and which metric fits it
 */
#include "cli.h"

static const char *const quantile_names[5] = {"1 %", "25 %", "50 %", "75 %", "99 %"};

static void
print_bad_rows(const char *what, size_t count, size_t rows)
{
    if (count > 0)
        printf("%-12s %zu of %zu\n", what, count, rows);
}

static void
print_text(const char *path, const dotk_vectors *vectors, const dotk_inspection *found)
{
    printf("%-12s %s (%s, %s)\n", "file", path, vectors->format, vectors->type);
    printf("%-12s %zu\n%-12s %zu\n", "rows", found->rows, "dimension", found->dim);
    printf("%-12s min %.6g, mean %.6g, max %.6g\n", "length", found->norm_min, found->norm_mean,
           found->norm_max);
    printf("%-12s", "quantiles");
    for (int i = 0; i < 5; i++)
        printf(" %s %.6g%s", quantile_names[i], found->norm_quantile[i], i < 4 ? "," : "\n");
    print_bad_rows("NaN", found->nan_rows, found->rows);
    print_bad_rows("infinite", found->infinite_rows, found->rows);
    print_bad_rows("zero", found->zero_rows, found->rows);
    print_bad_rows("duplicates", found->duplicate_rows, found->rows);
    printf("%-12s %s\n", "unit length",
           found->unit    ? "yes, every vector"
           : found->mixed ? "some"
                          : "no");
    printf("%-12s %s\n%-12s %s\n", "metric", found->metric, "why", found->why);
    if (found->mixed)
        printf("%-12s %zu of %zu vectors have unit length: normalised and unnormalised vectors are "
               "mixed, and dot products of the two do not compare\n",
               "warning", found->unit_rows, found->rows);
}

static json_t *
inspection_json(const char *path, const dotk_vectors *vectors, const dotk_inspection *found)
{
    const double *quantile = found->norm_quantile;

    return json_pack(
        "{s:s, s:o, s:s, s:s, s:I, s:I, s:{s:f, s:f, s:f, s:[f, f, f, f, f]}, s:I, s:I, s:I, s:I, "
        "s:I, s:b, s:b, s:s, s:s}",
        "schema", "dotk.inspect/1", "file", cli_json_text(path), "format", vectors->format, "type",
        vectors->type, "rows", (json_int_t)found->rows, "dim", (json_int_t)found->dim, "norm",
        "min", found->norm_min, "mean", found->norm_mean, "max", found->norm_max, "quantiles",
        quantile[0], quantile[1], quantile[2], quantile[3], quantile[4], "nan_rows",
        (json_int_t)found->nan_rows, "infinite_rows", (json_int_t)found->infinite_rows, "zero_rows",
        (json_int_t)found->zero_rows, "duplicate_rows", (json_int_t)found->duplicate_rows,
        "unit_rows", (json_int_t)found->unit_rows, "unit", found->unit, "mixed", found->mixed,
        "metric", found->metric, "why", found->why);
}

static int
describe(const struct cli_args *args, const dotk_vectors *vectors, const dotk_inspection *found)
{
    const char *path = args->operand[0];

    if (args->value[OPT_JSON].given) {
        const int code = cli_json_print(args, inspection_json(path, vectors, found));
        if (code != CLI_OK)
            return code;
    } else if (!args->value[OPT_QUIET].given) {
        print_text(path, vectors, found);
    }
    if (args->value[OPT_EXPECT_UNIT].given && found->rows == 0)
        return cli_fail(args, CLI_BAD_INPUT, "%s: has no vectors", path);
    if (args->value[OPT_EXPECT_UNIT].given && !found->unit)
        return cli_fail(args, CLI_BAD_INPUT, "%s: %zu of %zu vectors do not have unit length", path,
                        found->rows - found->unit_rows, found->rows);
    return CLI_OK;
}

int
verb_inspect(const struct cli_args *args)
{
    const char *path = args->operand[0];
    dotk_context *context = NULL;
    dotk_vectors *vectors = NULL;
    dotk_inspection found;
    int code = cli_context(args, &context);

    if (code == CLI_OK)
        code = cli_open_vectors(args, path, &vectors);
    if (code == CLI_OK) {
        cli_stage("reading");
        const dotk_status status = dotk_inspect(context, vectors->data, vectors->rows, vectors->dim,
                                                vectors->stride, &found);
        cli_stage(NULL);
        code = cli_report(args, status, path);
    }
    if (code == CLI_OK)
        code = describe(args, vectors, &found);
    dotk_vectors_close(vectors);
    dotk_context_destroy(context);
    return code;
}
