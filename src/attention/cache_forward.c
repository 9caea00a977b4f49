/*
 * cache_forward.c - dotk_cache_forward(): packed sequences whose keys come from pages
 *
 * What packed sequences need to be told (where each begins, and at which positions its queries
 * stand) is counted here; from then on it is the forward pass of arrays, with another source.
 */
#include "attention/attend.h"
#include "attention/cached.h"
#include "platform/clock.h"

/* Everything that has to be known before memory is borrowed. Errors: DOTK_BAD_ARGUMENT. */
static dotk_status
check_sequences(size_t count, const dotk_sequence *const *sequences, size_t heads)
{
    if (sequences == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "sequences is NULL: pass %zu of them", count);
    for (size_t i = 0; i < count; i++) {
        if (sequences[i] == NULL)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "sequences[%zu] is NULL: make one with dotk_sequence_create()", i);
        if (sequences[i]->cache != sequences[0]->cache)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "sequences[%zu] is of another cache than sequences[0]: call once for "
                           "each cache",
                           i);
    }
    if (heads % sequences[0]->cache->heads != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "heads is %zu: query heads share the cache's %zu key heads evenly, so it is "
                       "a multiple of that",
                       heads, sequences[0]->cache->heads);
    return DOTK_OK;
}

static dotk_status
check_options(const dotk_attention_options *options)
{
    const struct {
        const char *name;
        bool set;
    } fields[] = {
        {"key", options->key.batch != 0 || options->key.head != 0 || options->key.row != 0},
        {"value", options->value.batch != 0 || options->value.head != 0 || options->value.row != 0},
        {"key_scales", options->key_scales != NULL},
        {"value_scales", options->value_scales != NULL},
        {"sequences", options->sequences != 0},
        {"query_starts", options->query_starts != NULL},
        {"key_starts", options->key_starts != NULL},
        {"query_offset", options->query_offset != 0},
    };

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (fields[i].set)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->%s is set: the cache's sequences say that, leave it as it is "
                           "in DOTK_ATTENTION_OPTIONS_INIT%s",
                           fields[i].name, fields[i].set && i == 7 ? " or set query_offsets" : "");
    }
    return DOTK_OK;
}

/* Where sequences begin among all queries and keys, and where their queries stand. */
static dotk_status
count_starts(struct dk_call *call, size_t count, const dotk_sequence *const *sequences,
             const size_t *queries, dotk_attention_options *options, dotk_attention_shape *shape)
{
    size_t *const query_starts = dk_call_alloc(call, count + 1, sizeof *query_starts);
    size_t *const key_starts = dk_call_alloc(call, count + 1, sizeof *key_starts);
    int64_t *const offsets = dk_call_alloc(call, count, sizeof *offsets);

    if (query_starts == NULL || key_starts == NULL || offsets == NULL)
        return dk_fail_memory(count * 3 * sizeof *offsets, "attention");
    query_starts[0] = key_starts[0] = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t keys = dotk_sequence_count(sequences[i]);
        const size_t rows = queries == NULL ? 1 : queries[i];
        if (!dk_add(query_starts[i], rows, &query_starts[i + 1]) ||
            !dk_add(key_starts[i], keys, &key_starts[i + 1]) || rows > INT64_MAX / 4)
            return dk_fail(DOTK_BAD_ARGUMENT, "queries[%zu] is %zu: too many", i, rows);
        if (rows > keys && options->query_offsets == NULL)
            return dk_fail(
                DOTK_BAD_ARGUMENT,
                "queries[%zu] is %zu%s, sequences[%zu] has %zu tokens: add theirs first, "
                "or set options->query_offsets",
                i, rows, queries == NULL ? " (queries is NULL)" : "", i, keys);
        offsets[i] = (int64_t)keys - (int64_t)rows;
    }
    options->sequences = count;
    options->query_starts = query_starts;
    options->key_starts = key_starts;
    if (options->query_offsets == NULL)
        options->query_offsets = offsets;
    shape->queries = query_starts[count];
    shape->keys = key_starts[count];
    return DOTK_OK;
}

static dotk_status
check_arrays(struct dk_attention *problem, const void *q, void *out, float *lse)
{
    const size_t size = dk_attention_size(problem);
    const dotk_layout dense = {problem->heads * problem->queries, problem->queries, 1};
    const struct dk_attention_array arrays[] = {
        {"q", q, problem->heads, problem->queries, problem->dim, problem->options.query, size,
         false},
        {"out", out, problem->heads, problem->queries, problem->width, problem->options.output,
         size, true},
        {"lse", lse, problem->heads, problem->queries, lse != NULL, dense, sizeof *lse, true},
    };

    problem->q = q;
    problem->out = out;
    problem->lse = lse;
    return dk_attention_check_arrays(problem, arrays, sizeof arrays / sizeof *arrays);
}

dotk_status
dotk_cache_forward(dotk_context *context, size_t count, const dotk_sequence *const *sequences,
                   const size_t *queries, size_t heads, const void *q,
                   const dotk_attention_options *options, void *out, float *lse)
{
    static const dotk_attention_options defaults = DOTK_ATTENTION_OPTIONS_INIT;
    const double start = dk_seconds();
    struct dk_attention problem;
    struct dk_call call;

    DK_CHECK_OPTIONS(options);
    dotk_attention_options given = options != NULL ? *options : defaults;
    dotk_status status = check_options(&given);
    if (status == DOTK_OK && count > 0)
        status = check_sequences(count, sequences, heads);
    if (status != DOTK_OK)
        return status;
    if (count == 0) {
        if (given.stats != NULL)
            *given.stats = (dotk_attention_stats){.path = "empty", .kernel = "-"};
        return DOTK_OK;
    }
    const struct dk_cached cached = {sequences[0]->cache, sequences};
    dotk_attention_shape shape = {
        .batch = 1,
        .heads = heads,
        .width = cached.cache->dim,
        .value_width = cached.cache->width,
        .key_heads = cached.cache->heads,
    };
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    status = count_starts(&call, count, sequences, queries, &given, &shape);
    if (status == DOTK_OK)
        status = dk_attention_describe(&shape, &given, &problem);
    if (status == DOTK_OK)
        status = check_arrays(&problem, q, out, lse);
    if (status == DOTK_OK) {
        problem.cached = &cached;
        status = dk_attention_run(&call, &problem, start);
    }
    dk_call_end(&call);
    return status;
}
