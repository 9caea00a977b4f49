/* problem.c - checks of attention arguments: each failure names the argument and the remedy */
#include "attention/problem.h"

#include <math.h>

#include "codec/store.h"
#include "tile/layout.h"

enum { WIDTH_MAX = 65536 };

/* ------------------------------------------------------------------------- */
/*  Shape and arrays                                                         */
/* ------------------------------------------------------------------------- */

static dotk_status
describe_shape(const dotk_attention_shape *shape, struct dk_attention *out)
{
    out->batch = shape->batch;
    out->heads = shape->heads;
    out->queries = shape->queries;
    out->keys = shape->keys;
    out->dim = shape->width;
    out->width = shape->value_width != 0 ? shape->value_width : shape->width;
    out->key_heads = shape->key_heads != 0 ? shape->key_heads : shape->heads;
    if (out->dim == 0 || out->dim > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape->width is %zu: 1 .. %d", out->dim, WIDTH_MAX);
    if (out->width > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape->value_width is %zu: at most %d", out->width,
                       WIDTH_MAX);
    if (out->heads != 0 && out->heads % out->key_heads != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape->heads is %zu, shape->key_heads %zu: query heads share keys evenly, "
                       "so the former is a multiple of the latter",
                       out->heads, out->key_heads);
    out->group = out->key_heads != 0 ? out->heads / out->key_heads : 1;
    return DOTK_OK;
}

static dotk_status
describe_stores(struct dk_attention *out)
{
    const dotk_attention_options *const options = &out->options;

    if (options->store != DOTK_STORE_F32 && options->store != DOTK_STORE_F16 &&
        options->store != DOTK_STORE_BF16)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->store is %d: DOTK_STORE_F32, DOTK_STORE_F16 or DOTK_STORE_BF16",
                       (int)options->store);
    return DOTK_OK;
}

static dotk_status
describe_arrays(struct dk_attention *out)
{
    dotk_attention_options *const options = &out->options;
    const size_t B = out->batch, H = out->heads, G = out->key_heads;
    const size_t L = out->queries, S = out->keys, size = dk_attention_size(out);
    const struct {
        struct dk_array array;
        dotk_layout *layout;
    } arrays[] = {{{"query", B, H, L, out->dim, size}, &options->query},
                  {{"key", B, G, S, out->dim, dk_attention_key_size(out)}, &options->key},
                  {{"value", B, G, S, out->width, dk_attention_value_size(out)}, &options->value},
                  {{"output", B, H, L, out->width, size}, &options->output}};
    const struct {
        struct dk_array array;
        const dotk_layout *layout;
        bool given;
    } dense[] = {
        {{"mask", B, H, L, S, 1}, &options->mask_layout, options->mask != NULL},
        {{"bias", B, H, L, S, sizeof(float)}, &options->bias_layout, options->bias != NULL}};
    dotk_status status;
    size_t extent;

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        status = dk_layout_resolve(&arrays[i].array, arrays[i].layout);
        if (status != DOTK_OK)
            return status;
        if (!dk_layout_extent(&arrays[i].array, arrays[i].layout, &extent))
            return dk_layout_fail_extent(&arrays[i].array);
    }
    status = dk_layout_check_apart(&arrays[3].array, &options->output, "options->output");
    for (size_t i = 0; status == DOTK_OK && i < 2; i++) {
        const size_t row = dense[i].layout->row;
        if (dense[i].given && !dk_layout_extent(&dense[i].array, dense[i].layout, &extent))
            return dk_layout_fail_extent(&dense[i].array);
        if (dense[i].given && row != 0 && row < S && L > 1)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s_layout.row is %zu, below the %zu keys of a row: 0 would be "
                           "one row for all queries",
                           dense[i].array.name, row, S);
    }
    return status;
}

/* ------------------------------------------------------------------------- */
/*  Entries                                                                  */
/* ------------------------------------------------------------------------- */

/* Packed sequences: starts from 0 to 'total' that never fall. */
static dotk_status
check_starts(const char *name, const size_t *starts, size_t sequences, const char *what,
             size_t total)
{
    if (starts == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->%s is NULL with %zu sequences: pass %zu starts",
                       name, sequences, sequences + 1);
    if (starts[0] != 0 || starts[sequences] != total)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->%s goes from %zu to %zu: it goes from 0 to the %zu %s", name,
                       starts[0], starts[sequences], total, what);
    for (size_t i = 0; i < sequences; i++) {
        if (starts[i + 1] < starts[i])
            return dk_fail(DOTK_BAD_ARGUMENT, "options->%s[%zu] is %zu, below the %zu before it",
                           name, i + 1, starts[i + 1], starts[i]);
    }
    return DOTK_OK;
}

/* How many parts of 'size', the last of them shorter, make up 'total'. */
static size_t
cut(size_t total, size_t size)
{
    return total == 0 ? 0 : (total - 1) / size + 1;
}

static dotk_status
describe_entries(struct dk_attention *out)
{
    const dotk_attention_options *const options = &out->options;
    dotk_status status = DOTK_OK;
    size_t longest = 0;

    out->entries = out->batch;
    if (options->sequences != 0) {
        if (out->batch != 1)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "shape->batch is %zu with options->sequences %zu: packed sequences lie "
                           "in one batch entry",
                           out->batch, options->sequences);
        out->entries = options->sequences;
        status = check_starts("query_starts", options->query_starts, options->sequences, "queries",
                              out->queries);
        if (status == DOTK_OK)
            status = check_starts("key_starts", options->key_starts, options->sequences, "keys",
                                  out->keys);
    }
    if (options->query_offsets == NULL && (options->query_offset < -(int64_t)out->queries ||
                                           options->query_offset > (int64_t)out->keys))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->query_offset is %lld: from -%zu (queries) to %zu (keys)",
                       (long long)options->query_offset, out->queries, out->keys);
    for (size_t e = 0; status == DOTK_OK && e < dk_attention_distinct(out); e++) {
        const bool packed = options->sequences != 0;
        const size_t keys = packed ? options->key_starts[e + 1] - options->key_starts[e]
                                   : out->keys;
        const struct dk_attend_entry entry = dk_attention_entry(out, e);
        longest = dk_max(longest, entry.queries);
        if (options->key_lengths != NULL && options->key_lengths[e] > keys)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->key_lengths[%zu] is %zu, above the %zu keys there are", e,
                           options->key_lengths[e], keys);
        if (options->query_offsets != NULL &&
            (entry.window.offset < -(int64_t)entry.queries || entry.window.offset > (int64_t)keys))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->query_offsets[%zu] is %lld: from -%zu (queries) to %zu (keys)",
                           e, (long long)entry.window.offset, entry.queries, keys);
    }
    if (options->blocks != NULL && options->blocks->rows != 0)
        out->block_rows = cut(longest, options->blocks->rows);
    return status;
}

/* The lists of 'rows' rows of blocks, from starts[first] on; 'most' columns cover the keys. */
static dotk_status
check_block_list(const dotk_attention_blocks *blocks, size_t first, size_t rows, size_t most)
{
    const size_t *const starts = blocks->starts + first;

    for (size_t i = 0; i < rows; i++) { /* all of them, before a column is looked at */
        if (starts[i + 1] < starts[i])
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->blocks->starts[%zu] is %zu, below the %zu before it",
                           first + i + 1, starts[i + 1], starts[i]);
    }
    if (starts[rows] > starts[0] && blocks->columns == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->blocks->columns is NULL: pass the lists");
    for (size_t i = 0; i < rows; i++) {
        for (size_t c = starts[i]; c < starts[i + 1]; c++) {
            if (blocks->columns[c] >= most ||
                (c > starts[i] && blocks->columns[c] <= blocks->columns[c - 1]))
                return dk_fail(DOTK_BAD_ARGUMENT,
                               "options->blocks->columns[%zu] is %zu: ascending within a row of "
                               "blocks, below the %zu that cover the keys",
                               c, blocks->columns[c], most);
        }
    }
    return DOTK_OK;
}

static dotk_status
check_blocks(const struct dk_attention *problem)
{
    const dotk_attention_blocks *const blocks = problem->options.blocks;

    if (blocks == NULL)
        return DOTK_OK;
    if (blocks->rows == 0 || blocks->cols == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->blocks are %zu x %zu: at least 1 x 1",
                       blocks->rows, blocks->cols);
    if (blocks->starts == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->blocks->starts is NULL: pass the lists");
    const size_t rows = problem->block_rows, lists = blocks->per_head ? problem->heads : 1;
    const size_t most = cut(problem->keys, blocks->cols);
    for (size_t list = 0; list < lists; list++) {
        const dotk_status status = check_block_list(blocks, list * (rows + 1), rows, most);
        if (status != DOTK_OK)
            return status;
    }
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Numbers                                                                  */
/* ------------------------------------------------------------------------- */

static dotk_status
check_finite(const char *name, const float *values, size_t count)
{
    for (size_t i = 0; values != NULL && i < count; i++) {
        if (!isfinite(values[i]))
            return dk_fail(DOTK_BAD_ARGUMENT, "options->%s[%zu] is %g: it must be finite", name, i,
                           (double)values[i]);
    }
    return DOTK_OK;
}

/* A value that its switch says to ignore was meant to count. */
static dotk_status
check_switches(const dotk_attention_options *options)
{
    if (!options->has_scale && options->scale != 0)
        return dk_fail(
            DOTK_BAD_ARGUMENT,
            "options->scale is %g and options->has_scale 0: set has_scale to 1, or leave "
            "scale at 0",
            (double)options->scale);
    if (!options->has_window && (options->window_left != 0 || options->window_right != 0))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->window_left is %lld, window_right %lld and options->has_window 0: "
                       "set has_window to 1, or leave both at 0",
                       (long long)options->window_left, (long long)options->window_right);
    if (options->sequences == 0 && (options->query_starts != NULL || options->key_starts != NULL))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->%s is given and options->sequences 0: set sequences to how many "
                       "there are, or leave it NULL",
                       options->query_starts != NULL ? "query_starts" : "key_starts");
    return DOTK_OK;
}

static dotk_status
check_numbers(const struct dk_attention *problem)
{
    const dotk_attention_options *const options = &problem->options;

    if (!isfinite(problem->scale))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->scale is %g: it must be finite",
                       problem->scale);
    if (options->softcap != 0 && !(options->softcap >= 1e-30f && options->softcap <= 1e30f))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->softcap is %g: a cap of 1e-30 to 1e30, or 0 for none",
                       (double)options->softcap);
    if (!(options->dropout >= 0 && options->dropout < 1))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->dropout is %g: 0 or more, and below 1",
                       (double)options->dropout);
    if (options->has_window && (options->window_left < -1 || options->window_right < -1))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->window_left is %lld, window_right %lld: keys to see on that side, "
                       "-1 for all",
                       (long long)options->window_left, (long long)options->window_right);
    const dotk_status status = check_finite("slopes", options->slopes, problem->heads);
    return status == DOTK_OK ? check_finite("sinks", options->sinks, problem->heads) : status;
}

/* No window is wider than all queries and keys together, so that positions can be added to it. */
static void
limit_windows(struct dk_attention *problem)
{
    dotk_attention_options *const options = &problem->options;
    const int64_t most = (int64_t)(problem->queries + problem->keys);

    if (!options->has_window)
        options->window_left = options->window_right = -1;
    if (options->window_left > most)
        options->window_left = -1;
    if (options->window_right > most)
        options->window_right = -1;
    if (options->causal && options->window_right != 0)
        options->window_right = 0;
}

dotk_status
dk_attention_describe(const dotk_attention_shape *shape, const dotk_attention_options *options,
                      struct dk_attention *out)
{
    static const dotk_attention_options defaults = DOTK_ATTENTION_OPTIONS_INIT;
    dotk_status status;

    if (shape == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape is NULL: say how large the arrays are");
    DK_CHECK_OPTIONS(options);
    *out = (struct dk_attention){.options = options != NULL ? *options : defaults};
    status = describe_shape(shape, out);
    if (status != DOTK_OK)
        return status;
    status = check_switches(&out->options);
    if (status != DOTK_OK)
        return status;
    out->scale = out->options.has_scale ? (double)out->options.scale : 1 / sqrt((double)out->dim);
    status = check_numbers(out);
    if (status == DOTK_OK)
        status = describe_stores(out);
    if (status == DOTK_OK)
        status = describe_arrays(out);
    if (status != DOTK_OK)
        return status;
    limit_windows(out);
    status = describe_entries(out);
    return status == DOTK_OK ? check_blocks(out) : status;
}

size_t
dk_attention_distinct(const struct dk_attention *problem)
{
    const dotk_attention_options *const options = &problem->options;

    if (options->sequences == 0 && options->key_lengths == NULL && options->query_offsets == NULL)
        return dk_min(problem->entries, 1);
    return problem->entries;
}

struct dk_attend_entry
dk_attention_entry(const struct dk_attention *problem, size_t index)
{
    const dotk_attention_options *const options = &problem->options;
    struct dk_attend_entry entry = {
        .batch = index,
        .queries = problem->queries,
        .window = {.length = problem->keys,
                   .offset = options->query_offset,
                   .left = options->window_left,
                   .right = options->window_right},
    };

    if (options->sequences != 0) {
        entry.batch = 0;
        entry.query = options->query_starts[index];
        entry.queries = options->query_starts[index + 1] - entry.query;
        entry.key = options->key_starts[index];
        entry.window.length = options->key_starts[index + 1] - entry.key;
    }
    if (options->key_lengths != NULL)
        entry.window.length = options->key_lengths[index];
    if (options->query_offsets != NULL)
        entry.window.offset = options->query_offsets[index];
    return entry;
}

bool
dk_attention_empty(const struct dk_attention *problem)
{
    for (size_t e = 0; problem->heads > 0 && e < dk_attention_distinct(problem); e++) {
        const struct dk_attend_entry entry = dk_attention_entry(problem, e);
        if (entry.queries > 0 && entry.window.length > 0)
            return false;
    }
    return true;
}

size_t
dk_attention_size(const struct dk_attention *problem)
{
    return dk_store_bytes(problem->options.store);
}

size_t
dk_attention_key_size(const struct dk_attention *problem)
{
    return problem->options.key_scales != NULL ? 1 : dk_attention_size(problem);
}

size_t
dk_attention_value_size(const struct dk_attention *problem)
{
    return problem->options.value_scales != NULL ? 1 : dk_attention_size(problem);
}

/* The bytes of an option's array that is not laid out as rows. */
struct bytes {
    const char *name;
    const void *start;
    size_t size;
};

/* The entries that lists of blocks have. */
static size_t
listed_columns(const struct dk_attention *problem)
{
    const dotk_attention_blocks *const blocks = problem->options.blocks;
    const size_t lists = blocks->per_head ? problem->heads : 1;
    size_t most = 0;

    for (size_t i = 1; i <= lists && problem->block_rows > 0; i++)
        most = dk_max(most, blocks->starts[i * (problem->block_rows + 1) - 1]);
    return most;
}

/* Arrays are there, so none of these products overflows. */
static dotk_status
check_options_apart(const struct dk_attention *problem, const char *name, const void *start,
                    size_t size)
{
    const dotk_attention_options *const options = &problem->options;
    const dotk_attention_blocks *const blocks = options->blocks;
    const size_t scales = problem->batch * problem->key_heads * problem->keys * sizeof(float);
    const size_t numbers = problem->heads * sizeof(float);
    const size_t entries = problem->entries * sizeof(size_t), starts = entries + sizeof(size_t);
    const struct bytes arrays[] = {
        {"options->key_scales", options->key_scales, scales},
        {"options->value_scales", options->value_scales, scales},
        {"options->slopes", options->slopes, numbers},
        {"options->sinks", options->sinks, numbers},
        {"options->key_lengths", options->key_lengths, entries},
        {"options->query_offsets", options->query_offsets, entries},
        {"options->query_starts", options->query_starts, options->sequences != 0 ? starts : 0},
        {"options->key_starts", options->key_starts, options->sequences != 0 ? starts : 0},
        {"options->blocks->starts", blocks != NULL ? blocks->starts : NULL,
         blocks != NULL
             ? (blocks->per_head ? problem->heads : 1) * (problem->block_rows + 1) * sizeof(size_t)
             : 0},
        {"options->blocks->columns", blocks != NULL ? blocks->columns : NULL,
         blocks != NULL ? listed_columns(problem) * sizeof(size_t) : 0},
    };

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (dk_overlap(start, size, arrays[i].start, arrays[i].size))
            return dk_fail(DOTK_BAD_ARGUMENT, "%s overlaps %s: give it memory of its own", name,
                           arrays[i].name);
    }
    return DOTK_OK;
}

static struct dk_array
array_of(const struct dk_attention *problem, const struct dk_attention_array *array)
{
    return (struct dk_array){array->name, problem->batch, array->heads,
                             array->rows, array->width,   array->size};
}

/* The bytes of an array, 0 for one that is not there. */
static size_t
bytes_of(const struct dk_attention *problem, const struct dk_attention_array *array)
{
    const struct dk_array extent = array_of(problem, array);
    size_t bytes;

    return array->start != NULL && dk_layout_extent(&extent, &array->layout, &bytes) ? bytes : 0;
}

static dotk_status
check_overlaps(const struct dk_attention *problem, const struct dk_attention_array *written,
               const struct dk_attention_array *others, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (&others[i] != written && dk_overlap(written->start, bytes_of(problem, written),
                                                others[i].start, bytes_of(problem, &others[i])))
            return dk_fail(DOTK_BAD_ARGUMENT, "%s overlaps %s: give it memory of its own",
                           written->name, others[i].name);
    }
    return DOTK_OK;
}

dotk_status
dk_attention_check_arrays(const struct dk_attention *problem,
                          const struct dk_attention_array *arrays, size_t count)
{
    const dotk_attention_options *const options = &problem->options;
    const struct dk_attention_array dense[] = {
        {"options->mask", options->mask, problem->heads, problem->queries, problem->keys,
         options->mask_layout, 1, false},
        {"options->bias", options->bias, problem->heads, problem->queries, problem->keys,
         options->bias_layout, sizeof(float), false},
    };
    dotk_status status = DOTK_OK;

    for (size_t i = 0; i < count; i++) {
        const struct dk_array array = array_of(problem, &arrays[i]);
        if (arrays[i].start == NULL && array.width != 0 && !dk_array_empty(&array))
            return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass its %zu x %zu x %zu x %zu values",
                           array.name, array.batch, array.heads, array.rows, array.width);
    }
    for (size_t i = 0; status == DOTK_OK && i < count; i++) {
        const struct dk_array array = array_of(problem, &arrays[i]);
        if (arrays[i].written && arrays[i].start != NULL)
            status = dk_layout_check_apart(&array, &arrays[i].layout, array.name);
    }
    for (size_t i = 0; status == DOTK_OK && i < count; i++) {
        if (!arrays[i].written)
            continue;
        status = check_overlaps(problem, &arrays[i], arrays, count);
        if (status == DOTK_OK)
            status = check_overlaps(problem, &arrays[i], dense, sizeof dense / sizeof *dense);
        if (status == DOTK_OK)
            status = check_options_apart(problem, arrays[i].name, arrays[i].start,
                                         bytes_of(problem, &arrays[i]));
    }
    return status;
}
