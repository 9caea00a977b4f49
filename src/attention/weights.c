/*
 * weights.c - the matrix of weights or scores itself, for someone who wants to look at it
 *
 * Two passes over the keys of a few rows: the first sums exponentials up to the log-sum-exp, the
 * second makes each score again and writes its weight. Only panels of 64 scores are held, so
 * that weights averaged over heads need no matrix for each head. Sums and exponentials are in
 * double precision; nothing here is fast or needs to be.
 */
#include <math.h>
#include <string.h>

#include "attention/source.h"
#include "attention/visible.h"
#include "kernel/logarithm.h"

enum {
    ROWS = 48,            /* of a tile, for which keys are packed once         */
    TASK_CELLS = 1 << 20, /* some 30 ms, so that cancelling is prompt          */
    TASK_BYTES = 1 << 20, /* of a tile's queries                               */
};

/* sum over scores of e^score = sum * e^most */
struct normal {
    double most, sum;
};

/* What one thread works in. */
struct room {
    struct dk_source_room source;
    float *queries; /* (rows, D) */
};

struct matrix {
    const struct dk_attention *problem;
    const struct dk_kernels *kernels;
    struct dk_source source;
    struct dk_dropout dropout;
    struct room *rooms;
    enum { WEIGHTS, AVERAGE, SCORES } what;
    dotk_attention_stage stage; /* of SCORES */
    float *out;                 /* (B, H, L, S); AVERAGE: (B, L, S)         */
    size_t rows;                /* of a tile: at most ROWS                  */
    size_t queries;             /* of a task                                */
    size_t groups;              /* of that many queries in the longest entry */
};

/* Rows first .. first + count - 1 of one entry and key head. */
struct tile {
    struct dk_visible visible;
    size_t first, count;
};

/* Row r of a tile among the rows of its key head. */
static size_t
row_of(const struct tile *tile, size_t r)
{
    return tile->first + r;
}

/* Where the cell of row r and the entry's first key is. */
static float *
cells_of(const struct matrix *work, const struct tile *tile, size_t r)
{
    const struct dk_attention *const problem = work->problem;
    const struct dk_attend_entry *const entry = &tile->visible.entry;
    const size_t query = entry->query + dk_attention_query(problem, row_of(tile, r));
    const size_t head = dk_attention_query_head(problem, tile->visible.key_head, row_of(tile, r));
    const size_t matrix = work->what == AVERAGE ? entry->batch
                                                : entry->batch * problem->heads + head;

    return work->out + (matrix * problem->queries + query) * problem->keys + entry->key;
}

/* ------------------------------------------------------------------------- */
/*  Scores                                                                   */
/* ------------------------------------------------------------------------- */

static void
widen_queries(const struct matrix *work, struct room *room, const struct tile *tile)
{
    const struct dk_attention *const problem = work->problem;
    const size_t size = dk_attention_size(problem);

    for (size_t r = 0; r < tile->count; r++) {
        const size_t at = dk_attention_row(problem, &problem->options.query, &tile->visible.entry,
                                           tile->visible.key_head, row_of(tile, r));
        dk_widen_store(work->kernels, problem->options.store, (const char *)problem->q + at * size,
                       problem->dim, room->queries + r * problem->dim);
    }
}

/* The products of a tile's rows with keys key .. key + count - 1, at most 64. */
static void
multiply(const struct matrix *work, struct room *room, const struct tile *tile, size_t key,
         size_t count, float (*products)[DK_PANEL])
{
    const size_t most = work->kernels->tile_rows[DK_PANEL / 16], dim = work->problem->dim;
    const float *const panel = dk_source_panel(&work->source, &room->source, &tile->visible.entry,
                                               tile->visible.key_head, key, count);
    const float *row[DK_TILE_ROWS];

    for (size_t first = 0; first < tile->count; first += most) {
        const size_t height = dk_min(most, tile->count - first);
        for (size_t r = 0; r < height; r++)
            row[r] = room->queries + (first + r) * dim;
        (void)work->kernels->tile_f32[DK_SCORE_DOT](&(struct dk_tile_f32){
            .row = row,
            .rows = height,
            .dim = dim,
            .cols = DK_PANEL,
            .panel = panel,
            .tile = products + first,
        });
    }
}

/* The scores of row r from their products, at a stage; masked: -INFINITY where a key does not
 * count. */
static void
score(const struct tile *tile, size_t r, size_t key, size_t count, dotk_attention_stage stage,
      const float *product, double *scores)
{
    const struct dk_attention *const problem = tile->visible.problem;
    const double cap = problem->options.softcap;

    for (size_t j = 0; j < count; j++)
        scores[j] = product[j] * problem->scale;
    if (stage == DOTK_STAGE_PRODUCT)
        return;
    for (size_t j = 0; j < count && cap > 0; j++)
        scores[j] = cap * tanh(scores[j] / cap);
    if (stage == DOTK_STAGE_CAPPED)
        return;
    const struct dk_mask *const mask = &tile->visible.mask;
    const uint64_t bits = mask->bits(mask, row_of(tile, r), key);
    float bias[DK_PANEL] = {0};
    if (dk_attention_has_bias(problem))
        dk_visible_bias(&tile->visible, row_of(tile, r), key, count, bias);
    for (size_t j = 0; j < count; j++)
        scores[j] = (bits >> j & 1) != 0 ? scores[j] + bias[j] * DK_LN_2 : -INFINITY;
}

/* ------------------------------------------------------------------------- */
/*  Rows                                                                     */
/* ------------------------------------------------------------------------- */

/* Adds scores to a row's sum. */
static void
add_scores(struct normal *normal, const double *scores, size_t count)
{
    double most = normal->most;

    for (size_t j = 0; j < count; j++)
        most = scores[j] > most || scores[j] != scores[j] ? scores[j] : most;
    if (most == -INFINITY)
        return;
    normal->sum = normal->most == -INFINITY ? 0 : normal->sum * exp(normal->most - most);
    normal->most = most;
    for (size_t j = 0; j < count; j++)
        normal->sum += exp(scores[j] - most);
}

/* Writes the cells of row r and keys key .. key + count - 1. */
static void
store(const struct matrix *work, const struct tile *tile, size_t r, size_t key, size_t count,
      const struct normal *normal, const double *scores)
{
    float *const cells = cells_of(work, tile, r) + key;
    const double heads = work->what == AVERAGE ? (double)work->problem->heads : 1;
    uint64_t stay = ~UINT64_C(0);

    if (work->problem->options.dropout > 0)
        stay = dk_visible_stay(&tile->visible, work->kernels, &work->dropout, row_of(tile, r), key);
    for (size_t j = 0; j < count; j++) {
        if (work->what == SCORES)
            cells[j] = (float)scores[j];
        else if (scores[j] != -INFINITY && (stay >> j & 1) != 0)
            cells[j] += (float)(exp(scores[j] - normal->most) / normal->sum * work->dropout.factor /
                                heads);
    }
}

/* One pass over the keys: adds scores to the sums, or writes cells. */
static void
pass(const struct matrix *work, struct room *room, const struct tile *tile, bool write,
     struct normal *normal)
{
    const bool masked = work->what != SCORES || work->stage == DOTK_STAGE_MASKED;
    const struct dk_mask *const mask = &tile->visible.mask;
    const size_t length = tile->visible.entry.window.length;
    const struct dk_span span = masked ? dk_visible_span(&tile->visible, tile->first,
                                                         row_of(tile, tile->count - 1))
                                       : (struct dk_span){0, length};
    _Alignas(64) float products[ROWS][DK_PANEL];
    double scores[DK_PANEL];

    for (size_t key = span.begin / DK_PANEL * DK_PANEL; key < span.end; key += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, length - key);
        if (masked && mask->cover(mask, tile->first, tile->count, key, count) == DK_COVER_NONE)
            continue;
        multiply(work, room, tile, key, count, products);
        for (size_t r = 0; r < tile->count; r++) {
            score(tile, r, key, count, work->what == SCORES ? work->stage : DOTK_STAGE_MASKED,
                  products[r], scores);
            if (write)
                store(work, tile, r, key, count, &normal[r], scores);
            else
                add_scores(&normal[r], scores, count);
        }
    }
}

static void
run_tile(const struct matrix *work, struct room *room, const struct tile *tile)
{
    const struct dk_attention *const problem = work->problem;
    const float *const sinks = problem->options.sinks;
    struct normal normal[ROWS];

    widen_queries(work, room, tile);
    for (size_t r = 0; r < tile->count; r++) {
        const size_t head = dk_attention_query_head(problem, tile->visible.key_head,
                                                    row_of(tile, r));
        normal[r] = sinks == NULL ? (struct normal){-INFINITY, 0} : (struct normal){sinks[head], 1};
    }
    if (work->what != SCORES)
        pass(work, room, tile, false, normal);
    pass(work, room, tile, true, normal);
}

/* ------------------------------------------------------------------------- */
/*  Tasks                                                                    */
/* ------------------------------------------------------------------------- */

/* Some queries of one entry, all of them of one key head; AVERAGE: of one head after the other. */
static void
run_task(void *arg, size_t task, size_t slot)
{
    const struct matrix *const work = arg;
    const struct dk_attention *const problem = work->problem;
    const size_t heads = work->what == AVERAGE ? 1 : problem->key_heads;
    const size_t index = task / (heads * work->groups), head = task / work->groups % heads;
    const size_t first = task % work->groups * work->queries;
    const struct dk_attend_entry entry = dk_attention_entry(problem, index);

    if (first >= entry.queries)
        return;
    const size_t last = dk_min(first + work->queries, entry.queries);
    const float nothing = work->what == SCORES ? -INFINITY : 0;
    const size_t end = work->what == AVERAGE ? problem->key_heads : head + 1;
    for (size_t g = head; g < end; g++) {
        struct tile tile = {.visible = dk_visible(problem, &entry, g)};
        const size_t rows = last * problem->group;
        for (tile.first = first * problem->group; tile.first < rows; tile.first += work->rows) {
            tile.count = dk_min(work->rows, rows - tile.first);
            for (size_t r = 0; r < tile.count; r++) {
                float *const row = cells_of(work, &tile, r) - entry.key;
                const bool begun = work->what == AVERAGE &&
                                   (g > 0 || row_of(&tile, r) % problem->group > 0);
                for (size_t j = 0; j < problem->keys && !begun; j++)
                    row[j] = nothing;
            }
            run_tile(work, &work->rooms[slot], &tile);
        }
    }
}

static dotk_status
run(struct dk_call *call, struct matrix *work)
{
    const struct dk_attention *const problem = work->problem;
    const size_t heads = work->what == AVERAGE ? problem->heads : problem->group;
    size_t longest = 0;

    for (size_t e = 0; e < problem->entries; e++)
        longest = dk_max(longest, dk_attention_entry(problem, e).queries);
    work->kernels = call->kernels;
    work->dropout = dk_dropout(problem->options.seed, problem->options.dropout);
    work->source = dk_source(problem, call->kernels, call->kernels->softmax_v, problem->keys,
                             false);
    work->rows = dk_max(1, dk_min(ROWS, TASK_BYTES / sizeof(float) / problem->dim));
    work->queries = dk_max(1, dk_min(ROWS, TASK_CELLS / heads / problem->keys));
    work->groups = (longest + work->queries - 1) / work->queries;
    work->rooms = dk_call_alloc(call, call->slots, sizeof *work->rooms);
    if (work->rooms == NULL)
        return dk_fail_memory(call->slots * sizeof *work->rooms, "attention weights");
    for (size_t slot = 0; slot < call->slots; slot++) {
        struct room *const room = &work->rooms[slot];
        room->queries = dk_call_alloc(call, work->rows * problem->dim, sizeof *room->queries);
        if (room->queries == NULL || !dk_source_alloc(call, &work->source, &room->source))
            return dk_fail_memory(work->rows * problem->dim * sizeof(float), "attention weights");
    }
    const size_t key_heads = work->what == AVERAGE ? 1 : problem->key_heads;
    return dk_call_run(call, problem->entries * key_heads * work->groups, run_task, work);
}

/* Checks the arguments and makes the matrix; 'name' is that of the caller's array. */
static dotk_status
make_matrix(dotk_context *context, const dotk_attention_shape *shape, const void *q, const void *k,
            const dotk_attention_options *options, const char *name, struct matrix *work)
{
    struct dk_attention problem;
    struct dk_call call;
    size_t cells, total;

    dotk_status status = dk_attention_describe(shape, options, &problem);
    if (status != DOTK_OK)
        return status;
    const size_t heads = work->what == AVERAGE ? 1 : problem.heads;
    if (!dk_mul(problem.queries, problem.keys, &cells) || !dk_mul(cells, heads, &total) ||
        !dk_mul(total, problem.batch, &total) || total > PTRDIFF_MAX / sizeof(float))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape: %s of %zu x %zu x %zu x %zu overflow: ask for fewer queries", name,
                       problem.batch, heads, problem.queries, problem.keys);
    const dotk_layout dense = {heads * cells, cells, problem.keys};
    const struct dk_attention_array arrays[] = {
        {"q", q, problem.heads, problem.queries, problem.dim, problem.options.query,
         dk_attention_size(&problem), false},
        {"k", k, problem.key_heads, problem.keys, problem.dim, problem.options.key,
         dk_attention_key_size(&problem), false},
        {name, work->out, heads, problem.queries, problem.keys, dense, sizeof(float), true},
    };
    problem.q = q;
    problem.k = k;
    problem.width = 0; /* there are no values */
    status = dk_attention_check_arrays(&problem, arrays, sizeof arrays / sizeof *arrays);
    if (status != DOTK_OK || total == 0 || problem.heads == 0)
        return status;
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    work->problem = &problem;
    status = run(&call, work);
    dk_call_end(&call);
    return status;
}

dotk_status
dotk_attention_weights(dotk_context *context, const dotk_attention_shape *shape, const void *q,
                       const void *k, const dotk_attention_options *options, int32_t average,
                       float *weights)
{
    struct matrix work = {.what = average != 0 ? AVERAGE : WEIGHTS, .out = weights};

    return make_matrix(context, shape, q, k, options, "weights", &work);
}

dotk_status
dotk_attention_scores(dotk_context *context, const dotk_attention_shape *shape, const void *q,
                      const void *k, const dotk_attention_options *options,
                      dotk_attention_stage stage, float *scores)
{
    struct matrix work = {.what = SCORES, .stage = stage, .out = scores};

    if (stage != DOTK_STAGE_PRODUCT && stage != DOTK_STAGE_CAPPED && stage != DOTK_STAGE_MASKED)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "stage is %d: DOTK_STAGE_PRODUCT, DOTK_STAGE_CAPPED or DOTK_STAGE_MASKED",
                       (int)stage);
    return make_matrix(context, shape, q, k, options, "scores", &work);
}
