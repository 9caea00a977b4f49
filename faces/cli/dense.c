/*
 * dense.c - dotk dense: one layer of a network, from file to file
 */
#include "cli.h"

#include <stdlib.h>

struct dense {
    const struct cli_args *args;
    dotk_vectors *x, *w, *bias;
    dotk_context *context;
    float *y;
};

static int
open_files(struct dense *dense)
{
    const struct cli_args *args = dense->args;
    const char *bias_path = args->value[OPT_BIAS].text;
    int code = cli_open_vectors(args, args->value[OPT_X].text, &dense->x);

    if (code == CLI_OK)
        code = cli_open_vectors(args, args->value[OPT_W].text, &dense->w);
    if (code == CLI_OK && bias_path != NULL)
        code = cli_open_vectors(args, bias_path, &dense->bias);
    if (code != CLI_OK)
        return code;
    if (dense->x->dim != dense->w->dim)
        return cli_fail(args, CLI_BAD_INPUT,
                        "X has %zu values in a row, W has %zu: W is (outputs, inputs)",
                        dense->x->dim, dense->w->dim);
    if (dense->w->rows == 0)
        return cli_fail(args, CLI_BAD_INPUT, "%s has the shape %s: a layer has at least one output",
                        args->value[OPT_W].text, cli_shape(dense->w));
    if (bias_path != NULL && (dense->bias->rows != 1 || dense->bias->dim != dense->w->rows))
        return cli_fail(args, CLI_BAD_INPUT, "%s has the shape %s, W has %zu outputs", bias_path,
                        cli_shape(dense->bias), dense->w->rows);
    return CLI_OK;
}

static int
explain(const struct dense *dense)
{
    char plan[512];
    const int code = cli_report(dense->args,
                                dotk_dense_plan(dense->context, dense->x->rows, dense->w->rows,
                                                dense->w->dim, 0, plan, sizeof(plan)),
                                NULL);
    if (code == CLI_OK)
        printf("%s\n", plan);
    return code;
}

static int
forward(struct dense *dense)
{
    const dotk_vectors *x = dense->x, *w = dense->w;
    dotk_dense_options options = DOTK_DENSE_OPTIONS_INIT;
    const size_t shape[2] = {x->rows, w->rows};

    options.activation = (dotk_activation)dense->args->value[OPT_ACTIVATION].choice;
    options.x_stride = x->stride;
    options.w_stride = w->stride;
    if (w->rows > 0 && x->rows > SIZE_MAX / sizeof(float) / w->rows)
        return cli_out_of_memory(dense->args);
    dense->y = malloc(x->rows * w->rows * sizeof(float) + 1);
    if (dense->y == NULL)
        return cli_out_of_memory(dense->args);
    cli_stage("multiplying");
    const dotk_status status = dotk_dense(dense->context, x->rows, w->rows, w->dim, x->data,
                                          w->data, dense->bias != NULL ? dense->bias->data : NULL,
                                          &options, dense->y);
    cli_stage(NULL);
    const int code = cli_report(dense->args, status, NULL);
    return code == CLI_OK ? cli_save(dense->args, OPT_OUT, DOTK_NPY_F32, dense->y, 2, shape) : code;
}

int
verb_dense(const struct cli_args *args)
{
    struct dense dense = {.args = args};
    const bool plan_only = args->value[OPT_EXPLAIN].given;

    if (!args->value[OPT_X].given || !args->value[OPT_W].given ||
        (!args->value[OPT_OUT].given && !plan_only))
        return cli_fail(args, CLI_USAGE, "it needs --x, --w and --out; see 'dotk dense --help'");
    int code = cli_check_outputs(args, (const enum cli_option[]){OPT_OUT}, 1);
    if (code == CLI_OK)
        code = cli_context(args, &dense.context);
    if (code == CLI_OK)
        code = open_files(&dense);
    if (code == CLI_OK)
        code = plan_only ? explain(&dense) : forward(&dense);
    free(dense.y);
    dotk_context_destroy(dense.context);
    dotk_vectors_close(dense.bias);
    dotk_vectors_close(dense.w);
    dotk_vectors_close(dense.x);
    return code;
}
