/*
 * attend.c - dotk attend: softmax attention over arrays in files
 */
#include "example.h"
#include "heatmap.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_ROWS 40 /* of a heat-map in the terminal */
#define SHOWN_COLS 36
#define DRAWN_MAX  256 /* rows and columns of an SVG picture */

/* One of Q, K and V: a file read as (batch, heads, rows, width). */
struct array {
    enum cli_option option;
    dotk_vectors *file;
    size_t batch, heads, rows, width;
    dotk_layout layout;
};

struct attend {
    const struct cli_args *args;
    struct array query, key, value;
    size_t *key_lengths;
    dotk_context *context;
    dotk_attention_shape shape;
    dotk_attention_options options;
    float *out, *weights, *lse;
};

/* ------------------------------------------------------------------------- */
/*  Input                                                                    */
/* ------------------------------------------------------------------------- */

static int
open_array(struct attend *attend, struct array *array)
{
    const struct cli_args *args = attend->args;
    const char *path = args->value[array->option].text;
    const int code = cli_open_vectors(args, path, &array->file);

    if (code != CLI_OK)
        return code;
    const dotk_vectors *file = array->file;
    const size_t axes = file->axes, *shape = file->shape;
    if (axes < 2 || axes > 4 || shape[axes - 1] != file->dim)
        return cli_fail(args, CLI_BAD_INPUT,
                        "%s: it has %zu axes: the shape has to be (L, D), (H, L, D) or "
                        "(B, H, L, D)",
                        path, axes);
    array->batch = axes == 4 ? shape[0] : 1;
    array->heads = axes >= 3 ? shape[axes - 3] : 1;
    array->rows = shape[axes - 2];
    array->width = shape[axes - 1];
    array->layout = (dotk_layout){.row = file->stride,
                                  .head = array->rows * file->stride,
                                  .batch = array->heads * array->rows * file->stride};
    return CLI_OK;
}

/* K and V must go with Q: complains about the first axis that does not. */
static int
check_axis(const struct attend *attend, const struct array *array, const char *axis, size_t have,
           const struct array *model, size_t want)
{
    if (have == want)
        return CLI_OK;
    return cli_fail(attend->args, CLI_BAD_INPUT, "%s %s has %zu %s, %s %s has %zu",
                    cli_option_name(array->option), attend->args->value[array->option].text, have,
                    axis, cli_option_name(model->option), attend->args->value[model->option].text,
                    want);
}

static int
check_shapes(const struct attend *attend)
{
    const struct array *q = &attend->query, *k = &attend->key, *v = &attend->value;
    int code = check_axis(attend, k, "values in a row", k->width, q, q->width);

    if (code == CLI_OK)
        code = check_axis(attend, v, "rows", v->rows, k, k->rows);
    if (code == CLI_OK)
        code = check_axis(attend, k, "heads", k->heads, q, q->heads);
    if (code == CLI_OK)
        code = check_axis(attend, v, "heads", v->heads, q, q->heads);
    if (code == CLI_OK)
        code = check_axis(attend, k, "batch entries", k->batch, q, q->batch);
    return code == CLI_OK ? check_axis(attend, v, "batch entries", v->batch, q, q->batch) : code;
}

static int
read_key_lengths(struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const size_t batch = attend->query.batch, given = cli_counts(args, OPT_KEY_LENGTHS, 0, NULL);

    if (given == 0)
        return CLI_OK;
    if (given != batch)
        return cli_fail(args, CLI_USAGE, "--key-lengths has %zu numbers for %zu batch entries",
                        given, batch);
    attend->key_lengths = malloc(given * sizeof(*attend->key_lengths));
    if (attend->key_lengths == NULL)
        return cli_out_of_memory(args);
    cli_counts(args, OPT_KEY_LENGTHS, given, attend->key_lengths);
    for (size_t i = 0; i < given; i++)
        if (attend->key_lengths[i] > attend->key.rows)
            return cli_fail(args, CLI_USAGE,
                            "--key-lengths has %zu for batch entry %zu: %s has %zu keys",
                            attend->key_lengths[i], i, args->value[OPT_KEY].text, attend->key.rows);
    return CLI_OK;
}

static int
prepare(struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const struct array *q = &attend->query;
    int code = open_array(attend, &attend->query);

    if (code == CLI_OK)
        code = open_array(attend, &attend->key);
    if (code == CLI_OK)
        code = open_array(attend, &attend->value);
    if (code == CLI_OK)
        code = check_shapes(attend);
    if (code == CLI_OK)
        code = read_key_lengths(attend);
    if (code != CLI_OK)
        return code;

    attend->shape = (dotk_attention_shape){.batch = q->batch,
                                           .heads = q->heads,
                                           .queries = q->rows,
                                           .keys = attend->key.rows,
                                           .width = q->width,
                                           .value_width = attend->value.width};
    attend->options = (dotk_attention_options)DOTK_ATTENTION_OPTIONS_INIT;
    attend->options.has_scale = args->value[OPT_SCALE].given;
    attend->options.scale = (float)args->value[OPT_SCALE].real;
    attend->options.causal = args->value[OPT_CAUSAL].given;
    attend->options.query_offset = args->value[OPT_QUERY_OFFSET].integer;
    attend->options.key_lengths = attend->key_lengths;
    attend->options.query = attend->query.layout;
    attend->options.key = attend->key.layout;
    attend->options.value = attend->value.layout;
    return CLI_OK;
}

/* ------------------------------------------------------------------------- */
/*  Work                                                                     */
/* ------------------------------------------------------------------------- */

/* (B, H, L, width) floats; NULL after a message when there is no room for them. */
static float *
make_array(const struct attend *attend, size_t width)
{
    const size_t sizes[] = {attend->shape.batch, attend->shape.heads, attend->shape.queries, width};
    size_t count = 1;

    for (int i = 0; i < 4; i++) {
        if (sizes[i] > 0 && count > SIZE_MAX / sizeof(float) / sizes[i])
            return NULL;
        count *= sizes[i];
    }
    return malloc(count > 0 ? count * sizeof(float) : 1);
}

/* Writes an array of the query's axes, but 'width' wide (the log-sum-exp: without that axis). */
static int
save(const struct attend *attend, enum cli_option option, const float *data, size_t width)
{
    const dotk_vectors *file = attend->query.file;
    size_t shape[DOTK_MAX_AXES];

    memcpy(shape, file->shape, sizeof(shape));
    shape[file->axes - 1] = width;
    const size_t axes = option == OPT_OUT_LSE ? file->axes - 1 : file->axes;
    return cli_save(attend->args, option, DOTK_NPY_F32, data, axes, shape);
}

static int
forward(struct attend *attend)
{
    attend->out = make_array(attend, attend->value.width);
    attend->lse = make_array(attend, 1);
    if (attend->out == NULL || attend->lse == NULL)
        return cli_out_of_memory(attend->args);
    cli_stage("attending");
    const dotk_status status = dotk_attention_forward(
        attend->context, &attend->shape, attend->query.file->data, attend->key.file->data,
        attend->value.file->data, &attend->options, attend->out, attend->lse);
    cli_stage(NULL);
    return cli_report(attend->args, status, NULL);
}

static int
compute_weights(struct attend *attend)
{
    attend->weights = make_array(attend, attend->key.rows);
    if (attend->weights == NULL)
        return cli_out_of_memory(attend->args);
    cli_stage("weighing");
    const dotk_status status = dotk_attention_weights(
        attend->context, &attend->shape, attend->query.file->data, attend->key.file->data,
        &attend->options, 0, attend->weights);
    cli_stage(NULL);
    return cli_report(attend->args, status, NULL);
}

static int
explain(const struct attend *attend)
{
    char plan[512];
    const int code = cli_report(
        attend->args,
        dotk_attention_plan(attend->context, &attend->shape, &attend->options, plan, sizeof(plan)),
        NULL);
    if (code == CLI_OK)
        printf("%s\n", plan);
    return code;
}

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The weights of the first head of the first batch entry, in the terminal or as SVG. */
static int
show_weights(const struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const bool svg = args->value[OPT_SVG].given;
    const size_t queries = attend->shape.queries, keys = attend->shape.keys;
    char title[128];
    struct heatmap map = {.cells = attend->weights,
                          .rows = smaller(queries, svg ? DRAWN_MAX : SHOWN_ROWS),
                          .cols = smaller(keys, svg ? DRAWN_MAX : SHOWN_COLS),
                          .stride = keys,
                          .title = title};

    snprintf(title, sizeof(title),
             "weights of the first head: %zu of %zu queries (down), %zu of "
             "%zu keys (across)",
             map.rows, queries, map.cols, keys);
    if (svg)
        return heatmap_save_svg(args, &map);
    heatmap_print(&map, cli_color(args, stdout), stdout);
    return CLI_OK;
}

static int
work(struct attend *attend)
{
    const struct cli_value *value = attend->args->value;
    const bool saves = value[OPT_OUT].given || value[OPT_OUT_WEIGHTS].given ||
                       value[OPT_OUT_LSE].given;
    const bool shows = value[OPT_SVG].given || !saves;
    int code = CLI_OK;

    if (value[OPT_OUT].given || value[OPT_OUT_LSE].given)
        code = forward(attend);
    if (!value[OPT_OUT_WEIGHTS].given) { /* one head is enough to look at */
        attend->shape.batch = smaller(attend->shape.batch, 1);
        attend->shape.heads = smaller(attend->shape.heads, 1);
    }
    if (code == CLI_OK && (value[OPT_OUT_WEIGHTS].given || shows))
        code = compute_weights(attend);
    if (code == CLI_OK)
        code = save(attend, OPT_OUT, attend->out, attend->value.width);
    if (code == CLI_OK)
        code = save(attend, OPT_OUT_WEIGHTS, attend->weights, attend->key.rows);
    if (code == CLI_OK)
        code = save(attend, OPT_OUT_LSE, attend->lse, 1);
    return code == CLI_OK && shows ? show_weights(attend) : code;
}

/* The example brings its own vectors, and writes nothing but its picture. */
static int
check_example(const struct cli_args *args)
{
    static const enum cli_option others[] = {
        OPT_QUERY, OPT_KEY, OPT_VALUE,       OPT_CAUSAL,  OPT_QUERY_OFFSET, OPT_KEY_LENGTHS,
        OPT_SCALE, OPT_OUT, OPT_OUT_WEIGHTS, OPT_OUT_LSE, OPT_EXPLAIN};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (args->value[others[i]].given)
            return cli_fail(args, CLI_USAGE, "%s and --example exclude each other",
                            cli_option_name(others[i]));
    return CLI_OK;
}

static int
check_options(const struct cli_args *args)
{
    static const enum cli_option outputs[] = {OPT_OUT, OPT_OUT_WEIGHTS, OPT_OUT_LSE, OPT_SVG};

    const int code = cli_check_outputs(args, outputs, sizeof(outputs) / sizeof(outputs[0]));
    if (code != CLI_OK)
        return code;
    if (args->value[OPT_EXAMPLE].given)
        return check_example(args);
    if (!args->value[OPT_QUERY].given || !args->value[OPT_KEY].given ||
        !args->value[OPT_VALUE].given)
        return cli_fail(args, CLI_USAGE,
                        "it needs --query, --key and --value, or --example; see 'dotk attend "
                        "--help'");
    if (args->value[OPT_QUERY_OFFSET].given && !args->value[OPT_CAUSAL].given)
        return cli_fail(args, CLI_USAGE, "--query-offset goes with --causal");
    return CLI_OK;
}

int
verb_attend(const struct cli_args *args)
{
    struct attend attend = {.args = args,
                            .query = {.option = OPT_QUERY},
                            .key = {.option = OPT_KEY},
                            .value = {.option = OPT_VALUE}};
    int code = check_options(args);

    if (code != CLI_OK)
        return code;
    if (args->value[OPT_EXAMPLE].given)
        return show_example(args);
    code = cli_context(args, &attend.context);
    if (code == CLI_OK)
        code = prepare(&attend);
    if (code == CLI_OK)
        code = args->value[OPT_EXPLAIN].given ? explain(&attend) : work(&attend);
    free(attend.lse);
    free(attend.weights);
    free(attend.out);
    free(attend.key_lengths);
    dotk_context_destroy(attend.context);
    dotk_vectors_close(attend.value.file);
    dotk_vectors_close(attend.key.file);
    dotk_vectors_close(attend.query.file);
    return code;
}
