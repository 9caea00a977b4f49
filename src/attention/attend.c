/*
 * attend.c - units of work, and the loops over them
 *
 *     for each unit: up to 384 rows of an entry and key head         (shared by threads)
 *       for each chunk of 1,024 keys                                 (sums begin anew)
 *         for each block of 256 keys, packed by this thread          (L2)
 *           for each tile of 6 rows: scores, weights, sums           (registers, L1)
 *         merge the chunk's answers into those of the chunks before
 *       divide by the sum of weights, store
 *
 * A row is a query of one head; query heads that share keys lie side by side (problem.h). What no
 * row of a unit sees is not even packed (source.h). While a block is in work the next one is
 * prefetched, a few lines with each tile.
 *
 * With few queries (decoding) there are fewer units than threads, so chunks become tasks and
 * their answers are kept until they can be merged, always in the order of keys. A key is then
 * packed into a block that the cache still holds, and memory is read once.
 */
#include "attention/attend.h"

#include <math.h>
#include <string.h>

#include "attention/source.h"
#include "attention/visible.h"
#include "attention/watch.h"
#include "kernel/logarithm.h"

enum {
    ROWS_MAX = 384,         /* a multiple of 6                                            */
    ROWS_MIN = 48,          /* fewer cost more in packing than evenly shared work gives   */
    UNIT_BYTES = 640 << 10, /* queries and sums of a unit, which share L2 with a block    */
    ANSWER_BYTES = 4 << 20, /* answers kept for merging                                   */
    TASK_MS = 15,           /* so that cancelling is prompt                               */
    UNITS_PER_SLOT = 3,     /* for even shares                                            */
    BAND_MIN = 24,          /* rows of a block from which on tiles end at its borders     */
};

/* Output rows are padded to whole vectors. */
static size_t
padded(size_t width)
{
    return dk_round_up(width, DK_ATTEND_LANES);
}

/* ------------------------------------------------------------------------- */
/*  The plan                                                                 */
/* ------------------------------------------------------------------------- */

static size_t
half_of(size_t rows)
{
    return dk_round_up(rows / 2, DK_ATTEND_ROWS);
}

/* Units of an entry, all its key heads. */
static size_t
units_of_entry(const struct dk_attention *problem, size_t entry, size_t rows)
{
    const size_t all = dk_attention_entry(problem, entry).queries * problem->group;
    return problem->key_heads * ((all + rows - 1) / rows);
}

static size_t
units_of(const struct dk_attention *problem, size_t rows)
{
    size_t units = 0;

    for (size_t e = 0; e < problem->entries; e++)
        units += units_of_entry(problem, e, rows);
    return units;
}

/* The most keys that an entry has, that one of its queries may see, and the most queries. */
struct most {
    size_t keys, seen, queries;
};

static struct most
most_of(const struct dk_attention *problem)
{
    struct most most = {0};

    for (size_t e = 0; e < dk_attention_distinct(problem); e++) {
        const struct dk_attend_entry entry = dk_attention_entry(problem, e);
        most.keys = dk_max(most.keys, entry.window.length);
        most.queries = dk_max(most.queries, entry.queries);
    }
    most.seen = most.keys;
    if (problem->options.window_left >= 0 && problem->options.window_right >= 0)
        most.seen = dk_min(
            most.keys, (size_t)(problem->options.window_left + problem->options.window_right + 1));
    return most;
}

struct dk_attend_plan
dk_attend_plan(const struct dk_attention *problem, const struct dk_kernels *kernels, size_t slots)
{
    const struct most most = most_of(problem);

    if (dk_attention_empty(problem))
        return (struct dk_attend_plan){
            .path = "empty", .kernel = "-", .why = "no query has a key to attend to"};

    const struct dk_softmax_v_kernels *const softmax_v = dk_source_kernels(problem, kernels);
    const double row_flop = 2.0 * (double)most.seen * (double)(problem->dim + problem->width);
    const double task_flop = softmax_v->flop_per_ms * TASK_MS;
    const size_t row_bytes = (problem->dim + 2 * padded(problem->width) + 32) * sizeof(float);
    size_t rows = dk_max(DK_ATTEND_ROWS, UNIT_BYTES / row_bytes / DK_ATTEND_ROWS * DK_ATTEND_ROWS);

    rows = dk_min(rows, ROWS_MAX);
    rows = dk_min(rows, dk_round_up(most.queries * problem->group, DK_ATTEND_ROWS));
    while (rows > DK_ATTEND_ROWS && (double)rows * row_flop > task_flop)
        rows = half_of(rows);
    while (rows > ROWS_MIN && units_of(problem, rows) < UNITS_PER_SLOT * slots)
        rows = half_of(rows);

    const size_t chunks = (most.keys + DK_ATTEND_CHUNK - 1) / DK_ATTEND_CHUNK;
    const bool idle = units_of(problem, rows) < slots;
    const bool lengthy = (double)rows * row_flop > task_flop;
    const bool split = chunks > 1 && (idle || lengthy);
    return (struct dk_attend_plan){
        .path = split ? "chunks" : "rows",
        .kernel = softmax_v->name,
        .why = split        ? (idle ? "there are fewer groups of queries than threads"
                                    : "tasks over all keys would take too long to cancel")
               : idle       ? "the keys are too few to share"
               : slots == 1 ? "one thread has nobody to share keys with"
                            : "there are enough for every thread",
        .rows = rows,
        .units = units_of(problem, rows),
        .chunks = chunks,
        .split = split,
    };
}

/* ------------------------------------------------------------------------- */
/*  A unit                                                                   */
/* ------------------------------------------------------------------------- */

/* The answers of a unit's rows and, 'stride' floats apart, their output sums. */
struct answers {
    struct dk_attend_answer *row;
    float *output;
};

/* What one thread works in. */
struct room {
    float *queries; /* (rows, words) */
    struct dk_softmax_rows *softmax;
    struct dk_source_room source;
    float (*weight)[DK_ATTEND_BLOCK];
    float *wide; /* an output row before it is narrowed; NULL where outputs are f32 */
    struct answers total, chunk;
};

struct work {
    const struct dk_attention *problem;
    const struct dk_kernels *kernels;
    const struct dk_attend_plan *plan;
    struct dk_source source;
    size_t *first_unit; /* of each entry, and the end */
    size_t stride;      /* of output sums */
    struct dk_dropout dropout;
    struct room *rooms;
    /* Of path "chunks": answers of units first_kept .. of chunks first_chunk .. */
    struct answers *kept, *totals;
    size_t first_kept, first_chunk, chunk_count;
};

/* Rows row .. row + rows - 1 of a key head of an entry, with what is added to their scores. */
struct unit {
    struct dk_score_mask mask;
    struct dk_score_bias bias;
    struct dk_score_dropout dropout;
    const struct work *work;
    struct dk_visible visible;
    size_t entry, key_head, row, rows;
    struct dk_span span; /* of the keys that its rows see                                    */
    size_t lead, band;   /* no tile crosses row + lead, nor what is a multiple of band behind */
    size_t tiles;
};

static enum dk_cover
look_at_tile(const struct dk_score_mask *mask, size_t row, size_t rows, size_t key, size_t count,
             uint64_t (*keep)[DK_ATTEND_ROWS])
{
    const char *const start = (const char *)mask - offsetof(struct unit, mask);
    const struct unit *const unit = (const struct unit *)(const void *)start;
    return dk_visible_look(&unit->visible, unit->work->kernels, row, rows, key, count, keep);
}

static void
bias_of_row(const struct dk_score_bias *bias, size_t row, size_t key, size_t count,
            float out[DK_PANEL])
{
    const char *const unit = (const char *)bias - offsetof(struct unit, bias);
    dk_visible_bias(&((const struct unit *)(const void *)unit)->visible, row, key, count, out);
}

static uint64_t
stay_of_row(const struct dk_score_dropout *dropout, size_t row, size_t key)
{
    const char *const start = (const char *)dropout - offsetof(struct unit, dropout);
    const struct unit *const unit = (const struct unit *)(const void *)start;
    return dk_visible_stay(&unit->visible, unit->work->kernels, &unit->work->dropout, row, key);
}

static size_t
tiles_of(size_t rows)
{
    return (rows + DK_ATTEND_ROWS - 1) / DK_ATTEND_ROWS;
}

/*
 * Cuts a unit into tiles. Under blocks they end where a row of blocks does: a tile that crossed it
 * would be scored against the blocks of both.
 */
static void
cut_tiles(const struct dk_attention *problem, struct unit *unit)
{
    const dotk_attention_blocks *const blocks = problem->options.blocks;
    const size_t height = blocks == NULL ? unit->rows : dk_min(blocks->rows, unit->rows);
    const size_t band = height * problem->group;

    unit->lead = 0;
    unit->band = unit->rows;
    if (band >= BAND_MIN && band < unit->rows) {
        unit->lead = dk_min(dk_round_up(unit->row, band) - unit->row, unit->rows);
        unit->band = band;
    }
    const size_t behind = unit->rows - unit->lead;
    unit->tiles = tiles_of(unit->lead) + behind / unit->band * tiles_of(unit->band) +
                  tiles_of(behind % unit->band);
}

/* How many tiles a unit has at most. */
static size_t
most_tiles(size_t rows)
{
    return tiles_of(rows) + rows / BAND_MIN + 2;
}

/*
 * Head after head, so that a head's keys and values stay in cache for all its units; within a
 * head those with most keys, under a causal mask, first.
 */
static struct unit
unit_at(const struct work *work, size_t i)
{
    const struct dk_attention *const problem = work->problem;
    size_t entry = 0, end = problem->entries; /* the last entry that begins at or before unit i */

    while (end - entry > 1) {
        const size_t middle = entry + (end - entry) / 2;
        if (work->first_unit[middle] <= i)
            entry = middle;
        else
            end = middle;
    }
    const struct dk_attend_entry at = dk_attention_entry(problem, entry);
    const size_t all = at.queries * problem->group;
    const size_t groups = (all + work->plan->rows - 1) / work->plan->rows;
    const size_t within = i - work->first_unit[entry];
    const size_t row = (groups - 1 - within % groups) * work->plan->rows;
    struct unit unit = {
        .mask = {.look = look_at_tile},
        .bias = {.row = bias_of_row},
        .dropout = {.stay = stay_of_row},
        .work = work,
        .visible = dk_visible(problem, &at, within / groups),
        .entry = entry,
        .key_head = within / groups,
        .row = row,
        .rows = dk_min(work->plan->rows, all - row),
    };
    unit.span = dk_visible_span(&unit.visible, row, row + unit.rows - 1);
    cut_tiles(problem, &unit);
    return unit;
}

/* Tile t of a unit: its place in the room, its output sums in 'output'. */
static struct dk_attend_tile
tile_at(const struct work *work, const struct room *room, const struct unit *unit, size_t t,
        float *output)
{
    const size_t lead = tiles_of(unit->lead), each = tiles_of(unit->band);
    const bool ahead = t < lead;
    const size_t band = ahead ? 0 : unit->lead + (t - lead) / each * unit->band;
    const size_t end = ahead ? unit->lead : dk_min(band + unit->band, unit->rows);
    const size_t first = band + (ahead ? t : (t - lead) % each) * DK_ATTEND_ROWS;
    return (struct dk_attend_tile){
        .query = room->queries + first * work->source.words,
        .row = unit->row + first,
        .rows = dk_min(DK_ATTEND_ROWS, end - first),
        .softmax = &room->softmax[t],
        .output = output + first * work->stride,
        .output_stride = work->stride,
    };
}

/* The unit's queries as words; floats are multiplied. */
static void
pack_queries(const struct work *work, const struct room *room, const struct unit *unit)
{
    const struct dk_attention *const problem = work->problem;
    const float factor = (float)(problem->scale * DK_LOG2_E);
    const size_t size = dk_attention_size(problem);

    for (size_t r = 0; r < unit->rows; r++) {
        float *const packed = room->queries + r * work->source.words;
        const void *const from = (const char *)problem->q +
                                 size * dk_attention_row(problem, &problem->options.query,
                                                         &unit->visible.entry, unit->key_head,
                                                         unit->row + r);
        const float *row = from;
        if (work->source.softmax_v->pairs) {
            packed[work->source.words - 1] = 0; /* the last pair may be half a pair */
            memcpy(packed, from, problem->dim * size);
            continue;
        }
        if (problem->options.store != DOTK_STORE_F32) {
            dk_widen_store(work->kernels, problem->options.store, from, problem->dim, packed);
            row = packed;
        }
        work->kernels->scale_f32(row, problem->dim, factor, packed);
    }
}

/* Of the block at 'key', the panels that some row of the unit sees, as bits. */
static unsigned
wanted_panels(const struct unit *unit, size_t key, size_t step)
{
    const struct dk_mask *const mask = &unit->visible.mask;
    const size_t end = dk_min(key + step, unit->span.end);
    unsigned wanted = 0;

    for (size_t p = 0; key < end; p++, key += DK_PANEL) {
        if (mask->cover(mask, unit->row, unit->rows, key, dk_min(DK_PANEL, end - key)) !=
            DK_COVER_NONE)
            wanted |= 1u << p;
    }
    return wanted;
}

/* After a block: where the query that is followed has got to, if the unit has it. */
static void
watch_block(const struct work *work, const struct room *room, const struct unit *unit,
            const struct dk_attend_block *block, float *output)
{
    struct dk_attend_answer answers[DK_ATTEND_ROWS];
    struct dk_attend_tile tile;
    size_t row, t = 0;

    if (!dk_watch_holds(work->problem, unit->entry, unit->key_head, unit->row, unit->rows, &row))
        return;
    do {
        tile = tile_at(work, room, unit, t++, output);
    } while (row >= tile.row + tile.rows);
    dk_attend_take(work->source.softmax_v, &tile, answers);
    dk_watch_step(work->problem, block->key / work->source.block, &unit->visible.mask, &tile,
                  block->key, block->count, &answers[row - tile.row]);
}

/* The answers of a unit over one chunk. */
static void
attend_chunk(const struct work *work, struct room *room, const struct unit *unit, size_t chunk,
             struct answers out)
{
    const struct dk_attention *const problem = work->problem;
    const size_t end = dk_min((chunk + 1) * DK_ATTEND_CHUNK, unit->span.end);
    const size_t step = work->source.block, tiles = unit->tiles;
    const size_t begin = dk_max(chunk * DK_ATTEND_CHUNK, unit->span.begin / step * step);
    unsigned wanted = wanted_panels(unit, begin, step), next_wanted;

    dk_attend_begin(room->softmax, tiles, out.output, unit->rows * work->stride);
    for (size_t key = begin; key < end; key += step, wanted = next_wanted) {
        const size_t next = key + step;
        struct dk_attend_block block = {
            .mask = &unit->mask,
            .bias = dk_attention_has_bias(problem) ? &unit->bias : NULL,
            .scale = (float)(problem->scale * DK_LOG2_E),
            .softcap = (float)(problem->options.softcap * DK_LOG2_E),
            .dropout = problem->options.dropout > 0 ? &unit->dropout : NULL,
        };
        next_wanted = wanted_panels(unit, next, step);
        if (wanted == 0)
            continue;
        dk_source_load(&work->source, &room->source, &unit->visible.entry, unit->entry,
                       unit->key_head, key, dk_min(step, end - key), wanted, &block);
        for (size_t t = 0; t < tiles; t++) {
            const struct dk_attend_tile tile = tile_at(work, room, unit, t, out.output);
            const size_t row = tile.row + tile.rows;
            dk_visible_prefetch(&unit->visible, row,
                                dk_min(row + DK_ATTEND_ROWS, unit->row + unit->rows), key,
                                block.count);
            dk_attend_block(work->source.softmax_v, &tile, &block, room->weight);
            dk_source_prefetch(&work->source, &room->source, &unit->visible.entry, unit->entry,
                               unit->key_head, next, dk_min(next + step, unit->span.end),
                               next_wanted, t, tiles);
        }
        if (work->plan->watch)
            watch_block(work, room, unit, &block, out.output);
    }
    for (size_t t = 0; t < tiles; t++) {
        const struct dk_attend_tile tile = tile_at(work, room, unit, t, out.output);
        dk_attend_take(work->source.softmax_v, &tile, out.row + (tile.row - unit->row));
    }
}

static void
merge_unit(const struct work *work, const struct unit *unit, struct answers total,
           struct answers next)
{
    for (size_t r = 0; r < unit->rows; r++)
        dk_attend_merge(&total.row[r], total.output + r * work->stride, &next.row[r],
                        next.output + r * work->stride, work->problem->width);
}

/* The sink of row r of a unit, -infinity for none. */
static float
sink_of(const struct dk_attention *problem, const struct unit *unit, size_t r)
{
    const float *const sinks = problem->options.sinks;
    return sinks != NULL ? sinks[dk_attention_query_head(problem, unit->key_head, unit->row + r)]
                         : -INFINITY;
}

static void
finish_unit(const struct work *work, const struct room *room, const struct unit *unit,
            struct answers total)
{
    const struct dk_attention *const problem = work->problem;
    const dotk_attention_options *const options = &problem->options;
    const struct dk_attend_entry *const entry = &unit->visible.entry;
    const size_t size = dk_attention_size(problem);

    for (size_t r = 0; r < unit->rows && problem->lse != NULL; r++)
        problem->lse[dk_attention_lse(problem, entry, unit->key_head, unit->row + r)] =
            dk_attend_lse(&total.row[r], sink_of(problem, unit, r));
    for (size_t r = 0; r < unit->rows; r++) {
        const size_t row = unit->row + r;
        char *const out = (char *)problem->out + size * dk_attention_row(problem, &options->output,
                                                                         entry, unit->key_head,
                                                                         row);
        float *const wide = room->wide != NULL ? room->wide : (float *)(void *)out;
        dk_attend_finish(work->kernels, &total.row[r], sink_of(problem, unit, r),
                         work->dropout.factor, total.output + r * work->stride, problem->width,
                         wide);
        if (room->wide != NULL)
            dk_narrow_store(work->kernels, options->store, wide, problem->width, out);
    }
}

/* ------------------------------------------------------------------------- */
/*  Tasks                                                                    */
/* ------------------------------------------------------------------------- */

/* Path "rows": a unit, all its chunks. */
static void
run_unit(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    struct room *const room = &work->rooms[slot];
    const struct unit unit = unit_at(work, task);

    pack_queries(work, room, &unit);
    size_t chunk = unit.span.begin / DK_ATTEND_CHUNK;
    attend_chunk(work, room, &unit, chunk, room->total);
    while (++chunk * DK_ATTEND_CHUNK < unit.span.end) {
        attend_chunk(work, room, &unit, chunk, room->chunk);
        merge_unit(work, &unit, room->total, room->chunk);
    }
    finish_unit(work, room, &unit, room->total);
}

/* Path "chunks": one chunk of a unit, its answers kept. */
static void
run_chunk(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    struct room *const room = &work->rooms[slot];
    const size_t i = task / work->chunk_count, chunk = task % work->chunk_count;
    const struct unit unit = unit_at(work, work->first_kept + i);

    pack_queries(work, room, &unit);
    attend_chunk(work, room, &unit, work->first_chunk + chunk, work->kept[task]);
}

/* Path "chunks": the kept answers of a unit, into its total. */
static void
run_merge(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    const struct unit unit = unit_at(work, work->first_kept + task);
    const struct answers total = work->totals[task];
    const struct answers *const kept = work->kept + task * work->chunk_count;

    if (work->first_chunk == 0) {
        for (size_t r = 0; r < unit.rows; r++)
            total.row[r] = (struct dk_attend_answer){.max = -INFINITY};
        memset(total.output, 0, unit.rows * work->stride * sizeof *total.output);
    }
    for (size_t chunk = 0; chunk < work->chunk_count; chunk++)
        merge_unit(work, &unit, total, kept[chunk]);
    if (work->first_chunk + work->chunk_count == work->plan->chunks)
        finish_unit(work, &work->rooms[slot], &unit, total);
}

static bool
alloc_answers(struct dk_call *call, const struct work *work, struct answers *out)
{
    size_t floats;

    out->row = dk_call_alloc(call, work->plan->rows, sizeof *out->row);
    out->output = dk_mul(work->plan->rows, work->stride, &floats)
                      ? dk_call_alloc(call, floats, sizeof *out->output)
                      : NULL;
    return out->row != NULL && out->output != NULL;
}

static bool
alloc_room(struct dk_call *call, const struct work *work, struct room *room)
{
    const struct dk_attention *const problem = work->problem;
    const size_t rows = work->plan->rows;

    room->queries = dk_call_alloc(call, rows * work->source.words, sizeof *room->queries);
    room->softmax = dk_call_alloc(call, most_tiles(rows), sizeof *room->softmax);
    room->weight = dk_call_alloc(call, DK_ATTEND_ROWS, sizeof *room->weight);
    room->wide = NULL;
    if (problem->options.store != DOTK_STORE_F32) {
        room->wide = dk_call_alloc(call, dk_max(problem->width, 1), sizeof *room->wide);
        if (room->wide == NULL)
            return false;
    }
    return room->queries != NULL && room->softmax != NULL && room->weight != NULL &&
           dk_source_alloc(call, &work->source, &room->source) &&
           (work->plan->split ||
            (alloc_answers(call, work, &room->total) && alloc_answers(call, work, &room->chunk)));
}

/* Stretches of units and chunks whose answers fit ANSWER_BYTES, one after the other. */
static dotk_status
run_split(struct dk_call *call, struct work *work)
{
    const struct dk_attend_plan *const plan = work->plan;
    const size_t bytes = plan->rows *
                         (work->stride * sizeof(float) + sizeof(struct dk_attend_answer));
    const size_t chunks = dk_min(plan->chunks, dk_max(1, ANSWER_BYTES / bytes));
    const size_t units = dk_min(plan->units, dk_max(1, ANSWER_BYTES / bytes / chunks));

    work->kept = dk_call_alloc(call, units * chunks, sizeof *work->kept);
    work->totals = dk_call_alloc(call, units, sizeof *work->totals);
    if (work->kept == NULL || work->totals == NULL)
        return dk_fail_memory(units * chunks * sizeof *work->kept, "attention");
    for (size_t i = 0; i < units * chunks; i++) {
        if (!alloc_answers(call, work, &work->kept[i]) ||
            (i < units && !alloc_answers(call, work, &work->totals[i])))
            return dk_fail_memory(bytes, "attention");
    }
    call->parts = 2 * ((plan->units + units - 1) / units) * ((plan->chunks + chunks - 1) / chunks);
    for (size_t unit = 0; unit < plan->units; unit += units) {
        const size_t unit_count = dk_min(units, plan->units - unit);
        for (size_t chunk = 0; chunk < plan->chunks; chunk += chunks) {
            work->first_kept = unit;
            work->first_chunk = chunk;
            work->chunk_count = dk_min(chunks, plan->chunks - chunk);
            dotk_status status = dk_call_run(call, unit_count * work->chunk_count, run_chunk, work);
            call->part++;
            if (status == DOTK_OK)
                status = dk_call_run(call, unit_count, run_merge, work);
            call->part++;
            if (status != DOTK_OK)
                return status;
        }
    }
    return DOTK_OK;
}

/* Where the units of each entry begin. */
static bool
count_units(struct dk_call *call, struct work *work)
{
    const struct dk_attention *const problem = work->problem;

    work->first_unit = dk_call_alloc(call, problem->entries + 1, sizeof *work->first_unit);
    if (work->first_unit == NULL)
        return false;
    work->first_unit[0] = 0;
    for (size_t e = 0; e < problem->entries; e++)
        work->first_unit[e + 1] = work->first_unit[e] +
                                  units_of_entry(problem, e, work->plan->rows);
    return true;
}

dotk_status
dk_attend_run(struct dk_call *call, const struct dk_attention *problem,
              const struct dk_attend_plan *plan)
{
    struct work work = {
        .problem = problem,
        .kernels = call->kernels,
        .plan = plan,
        .source = dk_source(problem, call->kernels, dk_source_kernels(problem, call->kernels),
                            most_of(problem).keys, !plan->split),
        .stride = padded(problem->width),
        .dropout = dk_dropout(problem->options.seed, problem->options.dropout),
    };

    work.rooms = dk_call_alloc(call, call->slots, sizeof *work.rooms);
    if (work.rooms == NULL || !count_units(call, &work))
        return dk_fail_memory(call->slots * sizeof *work.rooms, "attention");
    for (size_t slot = 0; slot < call->slots; slot++) {
        if (!alloc_room(call, &work, &work.rooms[slot]))
            return dk_fail_memory(plan->rows * work.stride * sizeof(float), "attention");
    }
    return plan->split ? run_split(call, &work) : dk_call_run(call, plan->units, run_unit, &work);
}
