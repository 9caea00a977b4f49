/*
 * attend.c - dotk attend: softmax attention over arrays in files
 */
#include "attend.h"
#include "example.h"

#include <stdlib.h>
#include <string.h>

float *
attend_room(const dotk_attention_shape *shape, size_t width)
{
    const size_t sizes[] = {shape->batch, shape->heads, shape->queries, width};
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

/* 'out' receives f32, by way of --store's numbers. */
static int
forward(const struct attend *attend, float *out, float *lse)
{
    const dotk_store store = attend->options.store;
    float *const narrow = store == DOTK_STORE_F32
                              ? out
                              : attend_room(&attend->shape, attend->value.width);

    if (out == NULL || lse == NULL || narrow == NULL) {
        free(narrow == out ? NULL : narrow);
        return cli_out_of_memory(attend->args);
    }
    cli_stage("attending");
    dotk_status status = dotk_attention_forward(attend->context, &attend->shape, attend->q,
                                                attend->k, attend->v, &attend->options, narrow,
                                                lse);
    cli_stage(NULL);
    if (narrow != out) {
        const dotk_attention_shape *shape = &attend->shape;
        if (status == DOTK_OK)
            status = dotk_widen(narrow,
                                shape->batch * shape->heads * shape->queries * attend->value.width,
                                store, out);
        free(narrow);
    }
    return cli_report(attend->args, status, NULL);
}

/* --out and --out-lse */
static int
save_answer(const struct attend *attend)
{
    float *const out = attend_room(&attend->shape, attend->value.width);
    float *const lse = attend_room(&attend->shape, 1);
    int code = forward(attend, out, lse);

    if (code == CLI_OK)
        code = save(attend, OPT_OUT, out, attend->value.width);
    if (code == CLI_OK)
        code = save(attend, OPT_OUT_LSE, lse, 1);
    free(lse);
    free(out);
    return code;
}

/* --out-weights and --out-scores, the matrix */
static int
save_matrix(const struct attend *attend, enum cli_option option)
{
    const size_t stage = attend->args->value[OPT_STAGE].choice;
    float *const matrix = attend_room(&attend->shape, attend->key.rows);

    if (matrix == NULL)
        return cli_out_of_memory(attend->args);
    cli_stage("weighing");
    const dotk_status status = option == OPT_OUT_WEIGHTS
                                   ? dotk_attention_weights(attend->context, &attend->shape,
                                                            attend->q, attend->k, &attend->options,
                                                            0, matrix)
                                   : dotk_attention_scores(attend->context, &attend->shape,
                                                           attend->q, attend->k, &attend->options,
                                                           (dotk_attention_stage)stage, matrix);
    cli_stage(NULL);
    int code = cli_report(attend->args, status, NULL);
    if (code == CLI_OK)
        code = save(attend, option, matrix, attend->key.rows);
    free(matrix);
    return code;
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

/* Whether there will be a heat-map: where it is asked for, and where nothing else is. */
static bool
shows(const struct cli_args *args)
{
    const struct cli_value *value = args->value;

    return value[OPT_SVG].given || value[OPT_HEAT].given ||
           !(value[OPT_OUT].given || value[OPT_OUT_LSE].given || value[OPT_OUT_WEIGHTS].given ||
             value[OPT_ATTEND_OUT_SCORES].given);
}

static int
work(const struct attend *attend)
{
    static const enum cli_option matrices[] = {OPT_OUT_WEIGHTS, OPT_ATTEND_OUT_SCORES};
    const struct cli_value *value = attend->args->value;
    const bool answered = value[OPT_OUT].given || value[OPT_OUT_LSE].given;
    int code = answered ? save_answer(attend) : CLI_OK;

    for (int i = 0; i < 2 && code == CLI_OK; i++)
        if (value[matrices[i]].given)
            code = save_matrix(attend, matrices[i]);
    if (code == CLI_OK && shows(attend->args))
        code = attend_show(attend);
    return code;
}

/* The example brings its own vectors, and writes nothing but its picture. */
static int
check_example(const struct cli_args *args)
{
    static const enum cli_option own[] = {OPT_EXAMPLE,  OPT_SVG,   OPT_THREADS,
                                          OPT_NO_COLOR, OPT_QUIET, OPT_HELP};

    for (size_t i = 0; i < OPT_COUNT_; i++) {
        bool allowed = !args->value[i].given;
        for (size_t j = 0; j < sizeof(own) / sizeof(own[0]); j++)
            allowed = allowed || own[j] == i;
        if (!allowed)
            return cli_fail(args, CLI_USAGE, "%s and --example exclude each other",
                            cli_option_name((enum cli_option)i));
    }
    return CLI_OK;
}

/* Options that mean nothing without another. */
static int
check_companions(const struct cli_args *args)
{
    static const enum cli_option pictured[] = {OPT_HEAD, OPT_AVERAGE_HEADS, OPT_LABELS,
                                               OPT_QUERY_LABELS};
    const struct cli_value *value = args->value;

    if (value[OPT_QUERY_OFFSET].given && !value[OPT_CAUSAL].given && !value[OPT_WINDOW].given &&
        !value[OPT_SLOPES].given)
        return cli_fail(args, CLI_USAGE, "--query-offset goes with --causal, --window or --slopes");
    if (value[OPT_ATTEND_SEED].given && !value[OPT_DROPOUT].given)
        return cli_fail(args, CLI_USAGE, "--seed goes with --dropout");
    if (value[OPT_BLOCK_SIZE].given && !value[OPT_BLOCKS].given)
        return cli_fail(args, CLI_USAGE, "--block-size goes with --blocks");
    if (value[OPT_STAGE].given && !value[OPT_ATTEND_OUT_SCORES].given)
        return cli_fail(args, CLI_USAGE, "--stage goes with --out-scores");
    if (value[OPT_HEAD].given && value[OPT_AVERAGE_HEADS].given)
        return cli_fail(args, CLI_USAGE, "--head and --average-heads exclude each other");
    for (size_t i = 0; i < sizeof(pictured) / sizeof(pictured[0]); i++)
        if (value[pictured[i]].given && !shows(args))
            return cli_fail(args, CLI_USAGE, "beside other outputs %s goes with --heat or --svg",
                            cli_option_name(pictured[i]));
    return CLI_OK;
}

static int
check_options(const struct cli_args *args)
{
    static const enum cli_option outputs[] = {OPT_OUT, OPT_OUT_WEIGHTS, OPT_ATTEND_OUT_SCORES,
                                              OPT_OUT_LSE, OPT_SVG};

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
    return check_companions(args);
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
        code = attend_prepare(&attend);
    if (code == CLI_OK)
        code = args->value[OPT_EXPLAIN].given ? explain(&attend) : work(&attend);
    attend_release(&attend);
    dotk_context_destroy(attend.context);
    return code;
}
