/*
 * attend_input.c - arrays, masks and options of dotk attend; see attend.h
 */
#include "attend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------- */
/*  Queries, keys and values                                                 */
/* ------------------------------------------------------------------------- */

static int
open_array(struct attend *attend, struct attend_array *array)
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
check_axis(const struct attend *attend, const struct attend_array *array, const char *axis,
           size_t have, const struct attend_array *model, size_t want)
{
    if (have == want)
        return CLI_OK;
    return cli_fail(attend->args, CLI_BAD_INPUT, "%s %s has %zu %s, %s %s has %zu",
                    cli_option_name(array->option), attend->args->value[array->option].text, have,
                    axis, cli_option_name(model->option), attend->args->value[model->option].text,
                    want);
}

static int
check_heads(const struct attend *attend)
{
    const struct attend_array *q = &attend->query, *k = &attend->key;

    if (k->heads == q->heads || (k->heads > 0 && q->heads % k->heads == 0))
        return CLI_OK;
    return cli_fail(attend->args, CLI_BAD_INPUT,
                    "--key %s has %zu heads, --query %s has %zu: as many, or a number that divides "
                    "them, go together",
                    attend->args->value[OPT_KEY].text, k->heads,
                    attend->args->value[OPT_QUERY].text, q->heads);
}

static int
check_shapes(const struct attend *attend)
{
    const struct attend_array *q = &attend->query, *k = &attend->key, *v = &attend->value;
    int code = check_axis(attend, k, "values in a row", k->width, q, q->width);

    if (code == CLI_OK)
        code = check_axis(attend, v, "rows", v->rows, k, k->rows);
    if (code == CLI_OK)
        code = check_heads(attend);
    if (code == CLI_OK)
        code = check_axis(attend, v, "heads", v->heads, k, k->heads);
    if (code == CLI_OK)
        code = check_axis(attend, k, "batch entries", k->batch, q, q->batch);
    return code == CLI_OK ? check_axis(attend, v, "batch entries", v->batch, q, q->batch) : code;
}

/* ------------------------------------------------------------------------- */
/*  Masks and biases                                                         */
/* ------------------------------------------------------------------------- */

/*
 * Opens a file that goes with the scores, (L, S), (H, L, S) or (B, H, L, S), where each axis but
 * the last may be 1, and says how it lies.
 */
static int
open_cells(const struct attend *attend, enum cli_option option, dotk_vectors **out,
           dotk_layout *layout)
{
    const struct cli_args *args = attend->args;
    const char *path = args->value[option].text;
    const size_t wanted[4] = {attend->query.batch, attend->query.heads, attend->query.rows,
                              attend->key.rows};
    size_t strides[4] = {0}, stride = 1;
    const int code = cli_open_vectors(args, path, out);

    if (code != CLI_OK)
        return code;
    const dotk_vectors *file = *out;
    bool fits = file->axes >= 2 && file->axes <= 4 && file->stride == file->dim;
    for (size_t i = 0; fits && i < file->axes; i++) { /* from the last axis on */
        const size_t size = file->shape[file->axes - 1 - i];
        fits = size == wanted[3 - i] || (size == 1 && i > 0);
        strides[3 - i] = size == 1 ? 0 : stride;
        stride *= size;
    }
    if (!fits)
        return cli_fail(args, CLI_BAD_INPUT,
                        "%s %s has the shape %s: it has to be (%zu, %zu), with %zu heads and %zu "
                        "batch entries before it if it has more axes, each of them 1 where all "
                        "share it, but the last",
                        cli_option_name(option), path, cli_shape(file), wanted[2], wanted[3],
                        wanted[1], wanted[0]);
    *layout = (dotk_layout){.batch = strides[0], .head = strides[1], .row = strides[2]};
    return CLI_OK;
}

/* Zeros and ones of a file as bytes. */
static int
flags_of(const struct attend *attend, enum cli_option option, const dotk_vectors *file,
         uint8_t **out)
{
    const size_t count = file->rows * file->dim;

    *out = malloc(count > 0 ? count : 1);
    if (*out == NULL)
        return cli_out_of_memory(attend->args);
    for (size_t i = 0; i < count; i++) {
        if (file->data[i] != 0.0f && file->data[i] != 1.0f)
            return cli_fail(attend->args, CLI_BAD_INPUT,
                            "%s %s: row %zu, column %zu is %g: 1 (or true) says that a key counts, "
                            "0 that it does not",
                            cli_option_name(option), attend->args->value[option].text,
                            i / file->dim, i % file->dim, (double)file->data[i]);
        (*out)[i] = file->data[i] != 0.0f;
    }
    return CLI_OK;
}

static int
read_mask(struct attend *attend)
{
    dotk_vectors *file = NULL;
    int code = open_cells(attend, OPT_MASK, &file, &attend->options.mask_layout);

    if (code == CLI_OK && (file->type[0] == 'f' || file->type[0] == 'b')) /* bf16 */
        code = cli_fail(
            attend->args, CLI_BAD_INPUT,
            "--mask %s holds %s: numbers that are added to the scores go to --bias, and "
            "a mask is bool or u8",
            attend->args->value[OPT_MASK].text, file->type);
    if (code == CLI_OK)
        code = flags_of(attend, OPT_MASK, file, &attend->mask);
    attend->options.mask = attend->mask;
    dotk_vectors_close(file);
    return code;
}

static int
read_bias(struct attend *attend)
{
    const int code = open_cells(attend, OPT_ATTEND_BIAS, &attend->bias,
                                &attend->options.bias_layout);

    if (code != CLI_OK)
        return code;
    if (strcmp(attend->bias->type, "u8") == 0)
        return cli_fail(attend->args, CLI_BAD_INPUT,
                        "--bias %s holds bool or u8, as a mask does: pass it as --mask",
                        attend->args->value[OPT_ATTEND_BIAS].text);
    attend->options.bias = attend->bias->data;
    return CLI_OK;
}

/* Rows of flags as lists of those that are set. */
static int
list_blocks(struct attend *attend, const uint8_t *flags, size_t rows, size_t cols)
{
    size_t count = 0;

    for (size_t i = 0; i < rows * cols; i++)
        count += flags[i];
    attend->starts = malloc((rows + 1) * sizeof(*attend->starts));
    attend->columns = malloc((count + 1) * sizeof(*attend->columns));
    if (attend->starts == NULL || attend->columns == NULL)
        return cli_out_of_memory(attend->args);
    count = 0;
    for (size_t r = 0; r < rows; r++) {
        attend->starts[r] = count;
        for (size_t c = 0; c < cols; c++)
            if (flags[r * cols + c])
                attend->columns[count++] = c;
    }
    attend->starts[rows] = count;
    return CLI_OK;
}

static int
read_blocks(struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const char *path = args->value[OPT_BLOCKS].text;
    const size_t size = args->value[OPT_BLOCK_SIZE].size;
    const size_t rows = attend->query.rows / size + (attend->query.rows % size != 0);
    const size_t cols = attend->key.rows / size + (attend->key.rows % size != 0);
    dotk_vectors *file = NULL;
    uint8_t *flags = NULL;
    int code = cli_open_vectors(args, path, &file);

    if (code == CLI_OK && (file->axes != 2 || file->rows != rows || file->dim != cols))
        code = cli_fail(args, CLI_BAD_INPUT,
                        "--blocks %s has the shape %s: %zu queries and %zu keys in blocks of %zu "
                        "(--block-size) make (%zu, %zu)",
                        path, cli_shape(file), attend->query.rows, attend->key.rows, size, rows,
                        cols);
    if (code == CLI_OK)
        code = flags_of(attend, OPT_BLOCKS, file, &flags);
    if (code == CLI_OK)
        code = list_blocks(attend, flags, rows, cols);
    attend->blocks = (dotk_attention_blocks){
        .rows = size, .cols = size, .starts = attend->starts, .columns = attend->columns};
    attend->options.blocks = &attend->blocks;
    free(flags);
    dotk_vectors_close(file);
    return code;
}

/* ------------------------------------------------------------------------- */
/*  Numbers                                                                  */
/* ------------------------------------------------------------------------- */

static int
read_key_lengths(struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const size_t batch = attend->query.batch, given = cli_counts(args, OPT_KEY_LENGTHS, 0, NULL);

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
    attend->options.key_lengths = attend->key_lengths;
    return CLI_OK;
}

/* One number for each head; the first of them only, where one is given: 'raised' makes it powers.
 */
static int
read_heads(const struct attend *attend, enum cli_option option, bool raised, float **out)
{
    const struct cli_args *args = attend->args;
    const size_t heads = attend->query.heads, given = cli_reals(args, option, 0, NULL);

    if (given != heads && given != 1)
        return cli_fail(args, CLI_USAGE,
                        "%s has %zu numbers for %zu heads: give one for each, or one",
                        cli_option_name(option), given, heads);
    double *const number = malloc(given * sizeof(*number));
    *out = malloc((heads + 1) * sizeof(**out));
    if (number == NULL || *out == NULL) {
        free(number);
        return cli_out_of_memory(args);
    }
    cli_reals(args, option, given, number);
    for (size_t h = 0; h < heads; h++)
        (*out)[h] = (float)(given == heads ? number[h]
                            : raised       ? pow(number[0], (double)h + 1)
                                           : number[0]);
    free(number);
    for (size_t h = 0; h < heads; h++)
        if (!isfinite((*out)[h]))
            return cli_fail(args, CLI_USAGE, "%s is '%s': the number of head %zu exceeds f32",
                            cli_option_name(option), args->value[option].text, h);
    return CLI_OK;
}

/* The options that are one number each, within what dotk/attention.h takes. */
static int
read_numbers(struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const struct cli_value *value = args->value;
    const size_t queries = attend->query.rows, keys = attend->key.rows;
    dotk_attention_options *const options = &attend->options;

    options->has_scale = value[OPT_SCALE].given;
    options->scale = (float)value[OPT_SCALE].real;
    options->softcap = (float)value[OPT_SOFTCAP].real;
    options->dropout = (float)value[OPT_DROPOUT].real;
    options->seed = value[OPT_ATTEND_SEED].seed;
    options->query_offset = value[OPT_QUERY_OFFSET].integer;
    if (!isfinite(options->scale))
        return cli_fail(args, CLI_USAGE, "--scale is %s, which exceeds f32", value[OPT_SCALE].text);
    if (value[OPT_SOFTCAP].real != 0 && !(options->softcap >= 1e-30f && options->softcap <= 1e30f))
        return cli_fail(args, CLI_USAGE,
                        "--softcap is %s: give a cap of 1e-30 to 1e30, or 0 for none",
                        value[OPT_SOFTCAP].text);
    if (!(value[OPT_DROPOUT].real >= 0 && options->dropout < 1)) /* rounded to f32 */
        return cli_fail(args, CLI_USAGE, "--dropout is %s: it has to be 0 or more, and below 1",
                        value[OPT_DROPOUT].text);
    if (options->query_offset < -(int64_t)queries || options->query_offset > (int64_t)keys)
        return cli_fail(args, CLI_USAGE,
                        "--query-offset is %s: it goes from -%zu (%s has as many queries) to %zu "
                        "(%s has as many keys)",
                        value[OPT_QUERY_OFFSET].text, queries, value[OPT_QUERY].text, keys,
                        value[OPT_KEY].text);
    return CLI_OK;
}

static int
read_window(struct attend *attend)
{
    const struct cli_args *args = attend->args;
    int64_t ends[2];

    if (cli_integers(args, OPT_WINDOW, 2, ends) != 2 || ends[0] < -1 || ends[1] < -1)
        return cli_fail(args, CLI_USAGE,
                        "--window is '%s': give two numbers, as in 256,0: how many keys before the "
                        "query's place count and how many after it, -1 for all",
                        args->value[OPT_WINDOW].text);
    attend->options.has_window = 1;
    attend->options.window_left = ends[0];
    attend->options.window_right = ends[1];
    return CLI_OK;
}

/* Arrays as --store has them: halves lie as the f32 of the file do. */
static int
narrow_arrays(struct attend *attend)
{
    const struct attend_array *arrays[] = {&attend->query, &attend->key, &attend->value};
    const void **const out[] = {&attend->q, &attend->k, &attend->v};
    const dotk_store store = attend->options.store;

    for (int i = 0; i < 3; i++) {
        const dotk_vectors *file = arrays[i]->file;
        const size_t count = file->rows * file->stride;
        *out[i] = file->data;
        if (store == DOTK_STORE_F32)
            continue;
        attend->narrow[i] = calloc(count + 1, 2);
        if (attend->narrow[i] == NULL)
            return cli_out_of_memory(attend->args);
        const int code = cli_report(attend->args,
                                    dotk_narrow(file->data, count, store, attend->narrow[i]), NULL);
        if (code != CLI_OK)
            return code;
        *out[i] = attend->narrow[i];
    }
    return CLI_OK;
}

static int
read_options(struct attend *attend)
{
    const struct cli_value *value = attend->args->value;
    dotk_attention_options *const options = &attend->options;
    int code = read_numbers(attend);

    options->causal = value[OPT_CAUSAL].given;
    options->store =
        (dotk_store)value[OPT_ATTEND_STORE].choice; /* f32, f16 and bf16 are the first */
    options->query = attend->query.layout;
    options->key = attend->key.layout;
    options->value = attend->value.layout;
    if (code == CLI_OK && value[OPT_KEY_LENGTHS].given)
        code = read_key_lengths(attend);
    if (code == CLI_OK && value[OPT_WINDOW].given)
        code = read_window(attend);
    if (code == CLI_OK && value[OPT_SLOPES].given)
        code = read_heads(attend, OPT_SLOPES, true, &attend->slopes);
    if (code == CLI_OK && value[OPT_SINKS].given)
        code = read_heads(attend, OPT_SINKS, false, &attend->sinks);
    options->slopes = attend->slopes;
    options->sinks = attend->sinks;
    if (code == CLI_OK && value[OPT_MASK].given)
        code = read_mask(attend);
    if (code == CLI_OK && value[OPT_ATTEND_BIAS].given)
        code = read_bias(attend);
    return code == CLI_OK && value[OPT_BLOCKS].given ? read_blocks(attend) : code;
}

int
attend_prepare(struct attend *attend)
{
    int code = open_array(attend, &attend->query);

    if (code == CLI_OK)
        code = open_array(attend, &attend->key);
    if (code == CLI_OK)
        code = open_array(attend, &attend->value);
    if (code == CLI_OK)
        code = check_shapes(attend);
    if (code != CLI_OK)
        return code;
    attend->shape = (dotk_attention_shape){.batch = attend->query.batch,
                                           .heads = attend->query.heads,
                                           .queries = attend->query.rows,
                                           .keys = attend->key.rows,
                                           .width = attend->query.width,
                                           .value_width = attend->value.width,
                                           .key_heads = attend->key.heads};
    attend->options = (dotk_attention_options)DOTK_ATTENTION_OPTIONS_INIT;
    code = read_options(attend);
    return code == CLI_OK ? narrow_arrays(attend) : code;
}

void
attend_release(struct attend *attend)
{
    for (int i = 0; i < 3; i++)
        free(attend->narrow[i]);
    free(attend->sinks);
    free(attend->slopes);
    free(attend->columns);
    free(attend->starts);
    free(attend->mask);
    free(attend->key_lengths);
    dotk_vectors_close(attend->bias);
    dotk_vectors_close(attend->value.file);
    dotk_vectors_close(attend->key.file);
    dotk_vectors_close(attend->query.file);
}
