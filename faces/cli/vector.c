/*
 * vector.c - dotk vector: one or two vectors written on the command line
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct vector {
    float *values;
    size_t dim;
};

/* Reads "0.9,0.3,0.1". */
static int
parse_vector(const struct cli_args *args, const char *text, struct vector *out)
{
    size_t dim = 1;

    for (const char *c = text; *c != '\0'; c++)
        dim += *c == ',';
    out->dim = dim;
    out->values = malloc(dim * sizeof(*out->values));
    if (out->values == NULL)
        return cli_out_of_memory(args);
    const char *rest = text;
    for (size_t i = 0; i < dim; i++) {
        char *end;
        out->values[i] = strtof(rest, &end);
        if (end == rest || *end != (i + 1 < dim ? ',' : '\0') || !isfinite(out->values[i]))
            return cli_fail(args, CLI_USAGE,
                            "'%s' is not a vector: write numbers with commas between, such as "
                            "0.9,0.3,0.1",
                            text);
        rest = end + 1;
    }
    return CLI_OK;
}

/* Where the numbers go: into 'json', or, where that is NULL, onto the screen. */
struct answer {
    json_t *json;
    bool failed; /* memory ran out on the way */
};

static void
put_json(struct answer *answer, const char *name, json_t *value)
{
    if (json_object_set_new(answer->json, name, value) != 0)
        answer->failed = true;
}

static void
give_number(struct answer *answer, const char *name, double value)
{
    if (answer->json != NULL)
        put_json(answer, name, json_real(value));
    else
        printf("%-12s %.7g\n", name, value);
}

static void
give_vector(struct answer *answer, const char *name, const float *values, size_t dim)
{
    if (answer->json != NULL) {
        json_t *list = json_array();
        for (size_t i = 0; i < dim; i++)
            if (json_array_append_new(list, json_real((double)values[i])) != 0)
                answer->failed = true;
        put_json(answer, name, list);
        return;
    }
    printf("%-12s ", name);
    for (size_t i = 0; i < dim; i++)
        printf("%s%.7g", i > 0 ? "," : "", (double)values[i]);
    putchar('\n');
}

/* scratch (2, dim) */
static int
describe_one(const struct cli_args *args, struct answer *answer, const struct vector *a,
             float *scratch)
{
    const float temperature = (float)args->value[OPT_TEMPERATURE].real;
    float *unit = scratch, *shares = scratch + a->dim;
    float norm;
    int code = cli_report(args, dotk_normalize(a->values, a->dim, unit, &norm), NULL);

    if (code == CLI_OK)
        code = cli_report(args, dotk_softmax(a->values, a->dim, temperature, shares), NULL);
    if (code != CLI_OK)
        return code;
    give_number(answer, "norm", (double)norm);
    give_vector(answer, "unit", unit, a->dim);
    give_vector(answer, "softmax", shares, a->dim);
    return CLI_OK;
}

static int
describe_two(const struct cli_args *args, struct answer *answer, const struct vector *a,
             const struct vector *b, float *projection)
{
    const double degrees = 180.0 / 3.14159265358979323846;
    float cosine, angle;
    int code = cli_report(args, dotk_cosine(a->values, b->values, a->dim, &cosine), NULL);

    if (code == CLI_OK)
        code = cli_report(args, dotk_angle(a->values, b->values, a->dim, &angle), NULL);
    if (code == CLI_OK)
        code = cli_report(args, dotk_project(a->values, b->values, a->dim, projection), NULL);
    if (code != CLI_OK)
        return code;
    give_number(answer, "dot", (double)dotk_dot(a->values, b->values, a->dim));
    give_number(answer, "cosine", (double)cosine);
    give_number(answer, "degrees", (double)angle * degrees);
    give_number(answer, "l2", (double)dotk_l2(a->values, b->values, a->dim));
    give_number(answer, "norm_a", (double)dotk_norm(a->values, a->dim));
    give_number(answer, "norm_b", (double)dotk_norm(b->values, b->dim));
    give_vector(answer, "projection", projection, a->dim);
    return CLI_OK;
}

static int
describe(const struct cli_args *args, struct answer *answer, const struct vector *a,
         const struct vector *b)
{
    float *scratch = malloc(2 * a->dim * sizeof(*scratch));
    int code;

    if (scratch == NULL)
        return cli_out_of_memory(args);
    if (b->values == NULL)
        code = describe_one(args, answer, a, scratch);
    else if (a->dim != b->dim)
        code = cli_fail(args, CLI_USAGE, "the dimensions differ: A has %zu values, B has %zu",
                        a->dim, b->dim);
    else
        code = describe_two(args, answer, a, b, scratch);
    free(scratch);
    return code == CLI_OK && answer->failed ? cli_out_of_memory(args) : code;
}

int
verb_vector(const struct cli_args *args)
{
    const bool as_json = args->value[OPT_JSON].given;
    struct vector a = {0}, b = {0};
    struct answer answer = {NULL, false};
    int code = CLI_OK;

    if (args->operand_count > 1 && args->value[OPT_TEMPERATURE].given)
        code = cli_fail(args, CLI_USAGE,
                        "--temperature goes with one vector: of two no softmax is taken");
    if (code == CLI_OK)
        code = parse_vector(args, args->operand[0], &a);
    if (code == CLI_OK && args->operand_count > 1)
        code = parse_vector(args, args->operand[1], &b);
    if (code == CLI_OK && as_json) {
        answer.json = json_pack("{s:s}", "schema", "dotk.vector/1");
        if (answer.json == NULL)
            code = cli_out_of_memory(args);
    }
    if (code == CLI_OK)
        code = describe(args, &answer, &a, &b);
    if (code == CLI_OK && as_json)
        code = cli_json_print(args, answer.json);
    else
        json_decref(answer.json);
    free(a.values);
    free(b.values);
    return code;
}
