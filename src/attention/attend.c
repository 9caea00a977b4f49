/*
 * attend.c - units of work, and the loops over them
 *
 *     for each unit: up to 384 queries of a head                     (shared by threads)
 *       for each chunk of 1,024 keys                                 (sums begin anew)
 *         for each block of 256 keys, packed by this thread          (L2)
 *           for each tile of 6 queries: scores, weights, sums        (registers, L1)
 *         merge the chunk's answers into those of the chunks before
 *       divide by the sum of weights, store
 *
 * A thread packs the keys that it needs, and keeps those of its current head when they fit 1 MiB:
 * packing them again for each unit would cost about 2 % of the time. In return nothing is shared
 * between threads, no thread waits for another's packing, and memory does not grow with the
 * number of heads or keys. While a block is in work the next one is prefetched, a few lines with
 * each tile.
 *
 * With few queries (decoding) there are fewer units than threads, so chunks become tasks and
 * their answers are kept until they can be merged, always in the order of keys. A key is then
 * packed into a block that the cache still holds, and memory is read once.
 */
#include "attention/attend.h"

#include <math.h>
#include <string.h>

#include "epilogue/softmax_v/softmax_v.h"

enum {
    ROWS_MAX = 384,         /* a multiple of 6                                            */
    ROWS_MIN = 48,          /* fewer cost more in packing than evenly shared work gives   */
    UNIT_BYTES = 640 << 10, /* queries and sums of a unit, which share L2 with a block    */
    KEPT_BYTES = 1 << 20,   /* packed keys of a head that a thread keeps                  */
    ANSWER_BYTES = 4 << 20, /* answers kept for merging                                   */
    TASK_MS = 15,           /* so that cancelling is prompt                               */
    UNITS_PER_SLOT = 3,     /* for even shares                                            */
};

/* Keys of a block: a matter of the dimension alone, so that bits are. */
static size_t
block_keys(size_t dim)
{
    return dim <= 1024 ? DK_ATTEND_BLOCK : DK_PANEL;
}

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

static size_t
units_of(const struct dk_attention *problem, size_t rows)
{
    return problem->batch * problem->heads * ((problem->queries + rows - 1) / rows);
}

struct dk_attend_plan
dk_attend_plan(const struct dk_attention *problem, const struct dk_kernels *kernels, size_t slots)
{
    size_t keys = 0;

    for (size_t b = 0; b < problem->batch; b++)
        keys = dk_max(keys, dk_attention_mask(problem, b).length);
    if (keys == 0 || problem->queries == 0 || problem->heads == 0)
        return (struct dk_attend_plan){
            .path = "empty", .kernel = "-", .why = "no query has a key to attend to"};

    const double row_flop = 2.0 * (double)keys * (double)(problem->dim + problem->width);
    const double task_flop = kernels->softmax_v->flop_per_ms * TASK_MS;
    const size_t row_bytes = (problem->dim + 2 * padded(problem->width) + 32) * sizeof(float);
    size_t rows = dk_max(DK_ATTEND_ROWS, UNIT_BYTES / row_bytes / DK_ATTEND_ROWS * DK_ATTEND_ROWS);

    rows = dk_min(rows, ROWS_MAX);
    rows = dk_min(rows, dk_round_up(problem->queries, DK_ATTEND_ROWS));
    while (rows > DK_ATTEND_ROWS && (double)rows * row_flop > task_flop)
        rows = half_of(rows);
    while (rows > ROWS_MIN && units_of(problem, rows) < UNITS_PER_SLOT * slots)
        rows = half_of(rows);

    const size_t chunks = (keys + DK_ATTEND_CHUNK - 1) / DK_ATTEND_CHUNK;
    const bool idle = units_of(problem, rows) < slots;
    const bool lengthy = (double)rows * row_flop > task_flop;
    const bool split = chunks > 1 && (idle || lengthy);
    return (struct dk_attend_plan){
        .path = split ? "chunks" : "rows",
        .kernel = kernels->softmax_v->name,
        .why = !split ? (idle ? "the keys are too few to share" : "enough queries for every thread")
               : idle ? "fewer groups of queries than threads"
                      : "tasks over all keys would take too long to cancel",
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
    float *queries; /* (rows, dim) */
    struct dk_softmax_rows *softmax;
    float *panels;
    size_t head, packed; /* where panels are kept: of which head, and how many keys from 0 on */
    float (*weight)[DK_ATTEND_BLOCK];
    struct answers total, chunk;
};

struct work {
    const struct dk_attention *problem;
    const struct dk_kernels *kernels;
    const struct dk_attend_plan *plan;
    size_t stride;    /* of output sums */
    size_t kept_keys; /* as many as a head has, when panels are kept; else 0 */
    struct room *rooms;
    /* Of path "chunks": answers of units first_unit .. of chunks first_chunk .. */
    struct answers *kept, *totals;
    size_t first_unit, first_chunk, chunk_count;
};

struct unit {
    size_t head, b, h, row, rows;
    struct dk_prefix_mask mask;
    size_t end; /* of the keys that its last row sees */
};

/*
 * Head after head, so that a head's keys and values stay in cache for all its units; within a
 * head those with most keys, under a causal mask, first.
 */
static struct unit
unit_at(const struct work *work, size_t i)
{
    const struct dk_attention *const problem = work->problem;
    const size_t groups = work->plan->units / (problem->batch * problem->heads);
    const size_t head = i / groups, row = (groups - 1 - i % groups) * work->plan->rows;
    struct unit unit = {
        .head = head,
        .b = head / problem->heads,
        .h = head % problem->heads,
        .row = row,
        .rows = dk_min(work->plan->rows, problem->queries - row),
    };
    unit.mask = dk_attention_mask(problem, unit.b);
    unit.end = dk_prefix_mask_end(&unit.mask, row + unit.rows - 1);
    return unit;
}

/* Tile t of a unit: its place in the room, its output sums in 'output'. */
static struct dk_attend_tile
tile_at(const struct work *work, const struct room *room, const struct unit *unit, size_t t,
        float *output)
{
    const size_t first = t * DK_ATTEND_ROWS;
    return (struct dk_attend_tile){
        .query = room->queries + first * work->problem->dim,
        .row = unit->row + first,
        .rows = dk_min(DK_ATTEND_ROWS, unit->rows - first),
        .softmax = &room->softmax[t],
        .output = output + first * work->stride,
        .output_stride = work->stride,
    };
}

static size_t
tiles_of(const struct unit *unit)
{
    return (unit->rows + DK_ATTEND_ROWS - 1) / DK_ATTEND_ROWS;
}

/* The unit's queries, multiplied. */
static void
pack_queries(const struct work *work, const struct room *room, const struct unit *unit)
{
    const struct dk_attention *const problem = work->problem;
    const float factor = (float)(problem->scale * 1.44269504088896340736); /* log2(e) */
    const float *const q = problem->q + dk_attention_head(&problem->query, unit->b, unit->h);

    for (size_t r = 0; r < unit->rows; r++) {
        const float *const row = q + (unit->row + r) * problem->query.row;
        float *const packed = room->queries + r * problem->dim;
        for (size_t d = 0; d < problem->dim; d++)
            packed[d] = row[d] * factor;
    }
}

/* Asks for 'count' rows to be brought into L2; they need not exist. */
static void
prefetch_rows(const float *rows, size_t stride, size_t count, size_t width)
{
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < width; i += DK_LINE / sizeof *rows) {
            __builtin_prefetch(rows + r * stride + i, 0, 2);
            __asm__ volatile("" : : : "memory"); /* or gcc 12 keeps one of several */
        }
    }
}

/* Packs 'count' keys from 'key' on, unless they are kept; returns their panels. */
static const float *
pack_keys(const struct work *work, struct room *room, const struct unit *unit, size_t key,
          size_t count)
{
    const struct dk_attention *const problem = work->problem;
    const float *const k = problem->k + dk_attention_head(&problem->key, unit->b, unit->h);
    float *const panels = work->kept_keys > 0 ? room->panels + key * problem->dim : room->panels;
    size_t first = key;

    if (work->kept_keys > 0) {
        if (room->head != unit->head)
            room->packed = 0;
        room->head = unit->head;
        first = dk_max(first, room->packed);
        room->packed = dk_max(room->packed, dk_round_up(key + count, DK_PANEL));
    }
    /* whole panels, as another unit may see more keys */
    for (size_t j = first; j < key + count; j += DK_PANEL)
        work->kernels->pack_f32(k + j * problem->key.row, problem->key.row,
                                dk_min(DK_PANEL, unit->mask.length - j), problem->dim, 1.0f,
                                panels + (j - key) * problem->dim);
    return panels;
}

/* Asks for part t of 'parts' of the keys and values first .. last - 1. */
static void
prefetch_part(const struct work *work, const struct room *room, const struct unit *unit,
              size_t first, size_t last, size_t t, size_t parts)
{
    const struct dk_attention *const problem = work->problem;
    const size_t from = first + (last - first) * t / parts;
    const size_t count = first + (last - first) * (t + 1) / parts - from;
    const float *const v = problem->v + dk_attention_head(&problem->value, unit->b, unit->h);

    if (from < room->packed) {
        prefetch_rows(room->panels + from * problem->dim, problem->dim, count, problem->dim);
    } else {
        const float *const k = problem->k + dk_attention_head(&problem->key, unit->b, unit->h);
        prefetch_rows(k + from * problem->key.row, problem->key.row, count, problem->dim);
    }
    prefetch_rows(v + from * problem->value.row, problem->value.row, count, problem->width);
}

/* The answers of a unit over one chunk. */
static void
attend_chunk(const struct work *work, struct room *room, const struct unit *unit, size_t chunk,
             struct answers out)
{
    const struct dk_attention *const problem = work->problem;
    const float *const v = problem->v + dk_attention_head(&problem->value, unit->b, unit->h);
    const size_t end = dk_min((chunk + 1) * DK_ATTEND_CHUNK, unit->end);
    const size_t step = block_keys(problem->dim), tiles = tiles_of(unit);

    for (size_t t = 0; t < tiles; t++) {
        const struct dk_attend_tile tile = tile_at(work, room, unit, t, out.output);
        dk_attend_begin(&tile);
    }
    for (size_t key = chunk * DK_ATTEND_CHUNK; key < end; key += step) {
        const size_t next = dk_min(key + step, unit->end);
        struct dk_attend_block block = {
            .mask = &unit->mask.mask,
            .key = key,
            .count = dk_min(step, end - key),
            .panels = pack_keys(work, room, unit, key, dk_min(step, end - key)),
            .dim = problem->dim,
            .value = v + key * problem->value.row,
            .value_stride = problem->value.row,
            .width = problem->width,
            .finite = {-1, -1, -1, -1},
        };
        for (size_t t = 0; t < tiles; t++) {
            const struct dk_attend_tile tile = tile_at(work, room, unit, t, out.output);
            dk_attend_block(work->kernels->softmax_v, &tile, &block, room->weight);
            prefetch_part(work, room, unit, next, dk_min(next + step, unit->end), t, tiles);
        }
    }
    for (size_t t = 0; t < tiles; t++) {
        const struct dk_attend_tile tile = tile_at(work, room, unit, t, out.output);
        dk_attend_take(&tile, out.row + t * DK_ATTEND_ROWS);
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

static void
finish_unit(const struct work *work, const struct unit *unit, struct answers total)
{
    const struct dk_attention *const problem = work->problem;
    float *const out = problem->out + dk_attention_head(&problem->output, unit->b, unit->h);
    float *const lse = problem->lse == NULL
                           ? NULL
                           : problem->lse + (unit->b * problem->heads + unit->h) * problem->queries;

    for (size_t r = 0; r < unit->rows; r++) {
        const size_t row = unit->row + r;
        dk_attend_finish(&total.row[r], total.output + r * work->stride, problem->width,
                         out + row * problem->output.row, lse == NULL ? NULL : lse + row);
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
    attend_chunk(work, room, &unit, 0, room->total);
    for (size_t chunk = 1; chunk * DK_ATTEND_CHUNK < unit.end; chunk++) {
        attend_chunk(work, room, &unit, chunk, room->chunk);
        merge_unit(work, &unit, room->total, room->chunk);
    }
    finish_unit(work, &unit, room->total);
}

/* Path "chunks": one chunk of a unit, its answers kept. */
static void
run_chunk(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    struct room *const room = &work->rooms[slot];
    const size_t i = task / work->chunk_count, chunk = task % work->chunk_count;
    const struct unit unit = unit_at(work, work->first_unit + i);

    pack_queries(work, room, &unit);
    attend_chunk(work, room, &unit, work->first_chunk + chunk, work->kept[task]);
}

/* Path "chunks": the kept answers of a unit, into its total. */
static void
run_merge(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    const struct unit unit = unit_at(work, work->first_unit + task);
    const struct answers total = work->totals[task];
    const struct answers *const kept = work->kept + task * work->chunk_count;

    (void)slot;
    if (work->first_chunk == 0) {
        for (size_t r = 0; r < unit.rows; r++)
            total.row[r] = (struct dk_attend_answer){.max = -INFINITY};
        memset(total.output, 0, unit.rows * work->stride * sizeof *total.output);
    }
    for (size_t chunk = 0; chunk < work->chunk_count; chunk++)
        merge_unit(work, &unit, total, kept[chunk]);
    if (work->first_chunk + work->chunk_count == work->plan->chunks)
        finish_unit(work, &unit, total);
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
    const size_t dim = work->problem->dim, rows = work->plan->rows;
    const size_t panels = dk_max(work->kept_keys, block_keys(dim));

    room->head = SIZE_MAX;
    room->packed = 0;
    room->queries = dk_call_alloc(call, rows * dim, sizeof *room->queries);
    room->softmax = dk_call_alloc(call, rows / DK_ATTEND_ROWS, sizeof *room->softmax);
    room->panels = dk_call_alloc(call, panels * dim, sizeof *room->panels);
    room->weight = dk_call_alloc(call, DK_ATTEND_ROWS, sizeof *room->weight);
    return room->queries != NULL && room->softmax != NULL && room->panels != NULL &&
           room->weight != NULL &&
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
    for (size_t unit = 0; unit < plan->units; unit += units) {
        const size_t unit_count = dk_min(units, plan->units - unit);
        for (size_t chunk = 0; chunk < plan->chunks; chunk += chunks) {
            work->first_unit = unit;
            work->first_chunk = chunk;
            work->chunk_count = dk_min(chunks, plan->chunks - chunk);
            dotk_status status = dk_call_run(call, unit_count * work->chunk_count, run_chunk, work);
            if (status == DOTK_OK)
                status = dk_call_run(call, unit_count, run_merge, work);
            if (status != DOTK_OK)
                return status;
        }
    }
    return DOTK_OK;
}

dotk_status
dk_attend_run(struct dk_call *call, const struct dk_attention *problem,
              const struct dk_attend_plan *plan)
{
    struct work work = {
        .problem = problem,
        .kernels = call->kernels,
        .plan = plan,
        .stride = padded(problem->width),
    };
    const size_t keys = dk_min(plan->chunks * DK_ATTEND_CHUNK, problem->keys);

    if (!plan->split && keys <= KEPT_BYTES / sizeof(float) / problem->dim)
        work.kept_keys = dk_round_up(keys, DK_PANEL);
    work.rooms = dk_call_alloc(call, call->slots, sizeof *work.rooms);
    if (work.rooms == NULL)
        return dk_fail_memory(call->slots * sizeof *work.rooms, "attention");
    for (size_t slot = 0; slot < call->slots; slot++) {
        if (!alloc_room(call, &work, &work.rooms[slot]))
            return dk_fail_memory(plan->rows * work.stride * sizeof(float), "attention");
    }
    return plan->split ? run_split(call, &work) : dk_call_run(call, plan->units, run_unit, &work);
}
