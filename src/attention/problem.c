/* problem.c - checks of attention arguments: each failure names the argument and the remedy */
#include "attention/problem.h"

#include <math.h>
#include <string.h>

enum { WIDTH_MAX = 65536 };

/* The shape of one array: (batch, heads, rows, width). */
struct extent {
    const char *name;
    size_t heads, rows, width, size;
};

static bool
is_empty(const struct dk_attention *problem, size_t heads, size_t rows)
{
    return problem->batch == 0 || heads == 0 || rows == 0;
}

/* Fills in the strides that are 0. */
static dotk_status
resolve(const struct dk_attention *problem, const struct extent *array, dotk_layout *layout)
{
    if (layout->row == 0)
        layout->row = array->width;
    if ((layout->head == 0 && !dk_mul(array->rows, layout->row, &layout->head)) ||
        (layout->batch == 0 && !dk_mul(array->heads, layout->head, &layout->batch)))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->%s: %zu heads of %zu rows of %zu overflow",
                       array->name, array->heads, array->rows, layout->row);
    const struct {
        const char *name;
        size_t stride, count;
    } strides[] = {{"row", layout->row, array->rows},
                   {"head", layout->head, array->heads},
                   {"batch", layout->batch, problem->batch}};
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
        if (strides[i].stride < array->width && strides[i].count > 1 &&
            !is_empty(problem, array->heads, array->rows))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s.%s is %zu, below the width of %zu: strides count elements",
                           array->name, strides[i].name, strides[i].stride, array->width);
    }
    return DOTK_OK;
}

/* *out = the bytes from the first to the last of an array, 0 when it is empty. */
static bool
extent_of(const struct dk_attention *problem, const struct extent *array, const dotk_layout *layout,
          size_t *out)
{
    size_t batch, head, row;

    *out = 0;
    if (is_empty(problem, array->heads, array->rows))
        return true;
    return dk_mul(problem->batch - 1, layout->batch, &batch) &&
           dk_mul(array->heads - 1, layout->head, &head) &&
           dk_mul(array->rows - 1, layout->row, &row) && dk_add(batch, head, out) &&
           dk_add(*out, row, out) && dk_add(*out, array->width, out) &&
           dk_mul(*out, array->size, out) && *out <= PTRDIFF_MAX;
}

static dotk_status
fail_extent(const struct dk_attention *problem, const struct extent *array)
{
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "shape: the %s array, %zu x %zu x %zu x %zu with its strides, overflows",
                   array->name, problem->batch, array->heads, array->rows, array->width);
}

/*
 * Whether no two rows of an array share an element: each stride jumps over all smaller ones, or is
 * 0 because there is but one row for all of that axis.
 */
static bool
rows_apart(const struct dk_attention *problem, const struct extent *array,
           const dotk_layout *layout)
{
    size_t stride[] = {layout->row, layout->head, layout->batch};
    size_t count[] = {array->rows, array->heads, problem->batch};
    size_t extent = array->width;

    for (size_t i = 0; i < 3; i++) {
        size_t least = i;
        for (size_t j = i + 1; j < 3; j++) {
            if (stride[j] < stride[least])
                least = j;
        }
        const size_t s = stride[least], n = count[least];
        stride[least] = stride[i];
        count[least] = count[i];
        if (n <= 1 || s == 0)
            continue;
        if (s < extent)
            return false;
        extent += s * (n - 1);
    }
    return true;
}

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
    const struct {
        struct extent extent;
        dotk_layout *layout;
    } arrays[] = {
        {{"query", out->heads, out->queries, out->dim, dk_attention_size(out)}, &options->query},
        {{"key", out->key_heads, out->keys, out->dim, dk_attention_key_size(out)}, &options->key},
        {{"value", out->key_heads, out->keys, out->width, dk_attention_value_size(out)},
         &options->value},
        {{"output", out->heads, out->queries, out->width, dk_attention_size(out)},
         &options->output}};

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        size_t extent;
        const dotk_status status = resolve(out, &arrays[i].extent, arrays[i].layout);
        if (status != DOTK_OK)
            return status;
        if (!extent_of(out, &arrays[i].extent, arrays[i].layout, &extent))
            return fail_extent(out, &arrays[i].extent);
    }
    if (!is_empty(out, out->heads, out->queries) &&
        !rows_apart(out, &arrays[3].extent, &options->output))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->output has strides %zu, %zu, %zu: rows of %zu would overlap",
                       options->output.batch, options->output.head, options->output.row,
                       out->width);
    const struct extent dense[] = {{"mask", out->heads, out->queries, out->keys, 1},
                                   {"bias", out->heads, out->queries, out->keys, sizeof(float)}};
    const dotk_layout layouts[] = {options->mask_layout, options->bias_layout};
    const bool given[] = {options->mask != NULL, options->bias != NULL};
    for (size_t i = 0; i < 2; i++) {
        size_t extent;
        if (given[i] && !extent_of(out, &dense[i], &layouts[i], &extent))
            return fail_extent(out, &dense[i]);
        if (given[i] && layouts[i].row != 0 && layouts[i].row < out->keys && out->queries > 1)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s_layout.row is %zu, below the %zu keys of a row: 0 would be "
                           "one row for all queries",
                           dense[i].name, layouts[i].row, out->keys);
    }
    return DOTK_OK;
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

size_t
dk_attention_size(const struct dk_attention *problem)
{
    return problem->options.store == DOTK_STORE_F32 ? sizeof(float) : sizeof(uint16_t);
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
check_apart(const struct dk_attention *problem, const char *name, const void *start, size_t size)
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
    const uintptr_t first = (uintptr_t)start;

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        const uintptr_t other = (uintptr_t)arrays[i].start;
        if (arrays[i].start != NULL && arrays[i].size != 0 && size != 0 &&
            first < other + arrays[i].size && other < first + size)
            return dk_fail(DOTK_BAD_ARGUMENT, "%s overlaps %s: give it memory of its own", name,
                           arrays[i].name);
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

    for (size_t i = 0; i < count; i++) {
        if (arrays[i].start == NULL && arrays[i].width != 0 &&
            !is_empty(problem, arrays[i].heads, arrays[i].rows))
            return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass its %zu x %zu x %zu x %zu values",
                           arrays[i].name, problem->batch, arrays[i].heads, arrays[i].rows,
                           arrays[i].width);
    }
    for (size_t i = 0; i < count; i++) {
        const struct dk_attention_array *const a = &arrays[i];
        const struct extent extent = {a->name, a->heads, a->rows, a->width, a->size};
        if (a->written && a->start != NULL && !is_empty(problem, a->heads, a->rows) &&
            !rows_apart(problem, &extent, &a->layout))
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "%s has strides %zu, %zu, %zu: rows of %zu would overlap", a->name,
                           a->layout.batch, a->layout.head, a->layout.row, a->width);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count + 2; j++) {
            const struct dk_attention_array *const a = &arrays[i];
            const struct dk_attention_array *const b = j < count ? &arrays[j] : &dense[j - count];
            const struct extent ea = {a->name, a->heads, a->rows, a->width, a->size};
            const struct extent eb = {b->name, b->heads, b->rows, b->width, b->size};
            size_t a_bytes, b_bytes;
            if (!a->written || i == j || a->start == NULL || b->start == NULL ||
                !extent_of(problem, &ea, &a->layout, &a_bytes) ||
                !extent_of(problem, &eb, &b->layout, &b_bytes))
                continue;
            const uintptr_t first = (uintptr_t)a->start, other = (uintptr_t)b->start;
            if (a_bytes != 0 && b_bytes != 0 && first < other + b_bytes && other < first + a_bytes)
                return dk_fail(DOTK_BAD_ARGUMENT, "%s overlaps %s: give it memory of its own",
                               a->name, b->name);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct dk_attention_array *const a = &arrays[i];
        const struct extent extent = {a->name, a->heads, a->rows, a->width, a->size};
        size_t size;
        if (!a->written || a->start == NULL || !extent_of(problem, &extent, &a->layout, &size))
            continue;
        const dotk_status status = check_apart(problem, a->name, a->start, size);
        if (status != DOTK_OK)
            return status;
    }
    return DOTK_OK;
}
