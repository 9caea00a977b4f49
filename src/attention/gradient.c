/* gradient.c - items of places, and the runs of tasks over them; see gradient.h */
#include "attention/gradient.h"

#include <string.h>

#include "attention/place.h"

enum {
    TASK_MS = 15,         /* so that cancelling is prompt */
    SUMS_BYTES = 8 << 20, /* of gradients of halves, in f32 */
};

/* ------------------------------------------------------------------------- */
/*  Work                                                                     */
/* ------------------------------------------------------------------------- */

/*
 * Places that are worked on in order, by one thread at a time: entry after entry (several only
 * where they share a bias), head after head (also), block of keys after block, rows after rows.
 */
struct item {
    size_t entry, entries, key_head, key_heads;
    size_t block, blocks, row_block, row_blocks;
};

struct work {
    const struct dk_gradient *gradient;
    size_t block_keys, block_rows; /* a matter of the widths alone, so that bits are */
    struct dk_place_room *rooms;
    struct dk_place_sums *sums; /* of halves: of the items of a stretch, or of slots */
    size_t *first_item;         /* of each entry, and the end */
    /* The sweep, and the part of it that is being run. */
    struct dk_place_wanted wanted;
    bool by_blocks;     /* an item has one block of keys, or of rows, not all of them */
    bool sums_last;     /* from run to run: they are those of items */
    size_t first, step; /* of items and of their places */
    size_t steps;       /* places of a task */
};

static size_t
blocks_of(size_t count, size_t block)
{
    return count == 0 ? 1 : (count + block - 1) / block;
}

/* Blocks of an entry; at least 1, as there may be gradients to be zeroed. */
static size_t
key_blocks(const struct work *work, const struct dk_attend_entry *entry)
{
    return blocks_of(entry->window.length, work->block_keys);
}

static size_t
row_blocks(const struct work *work, const struct dk_attend_entry *entry)
{
    return blocks_of(entry->queries * work->gradient->problem->group, work->block_rows);
}

/* ------------------------------------------------------------------------- */
/*  Items                                                                    */
/* ------------------------------------------------------------------------- */

/* Whether all batch entries have one bias: then they are one item. */
static bool
entries_together(const struct work *work)
{
    const dotk_attention_options *const options = &work->gradient->problem->options;

    return work->wanted.bias && options->sequences == 0 && options->bias_layout.batch == 0;
}

static bool
heads_together(const struct work *work)
{
    return work->wanted.bias && work->gradient->problem->options.bias_layout.head == 0;
}

/* Into how many items an entry and key head is cut. */
static size_t
parts_of(const struct work *work, size_t entry)
{
    const struct dk_attention *const problem = work->gradient->problem;
    const struct dk_attend_entry at = dk_attention_entry(problem, entry);

    if (!work->by_blocks)
        return 1;
    if (entries_together(work))
        return blocks_of(problem->keys, work->block_keys);
    return work->wanted.queries ? row_blocks(work, &at) : key_blocks(work, &at);
}

static size_t
items_of(const struct work *work, size_t entry)
{
    const size_t heads = heads_together(work) ? 1 : work->gradient->problem->key_heads;

    return entries_together(work) && entry > 0 ? 0 : heads * parts_of(work, entry);
}

static struct item
item_at(const struct work *work, size_t i)
{
    const struct dk_attention *const problem = work->gradient->problem;
    size_t entry = 0, end = problem->entries; /* the last entry that begins at or before item i */

    while (end - entry > 1) {
        const size_t middle = entry + (end - entry) / 2;
        if (work->first_item[middle] <= i)
            entry = middle;
        else
            end = middle;
    }
    if (entries_together(work))
        entry = 0;
    const struct dk_attend_entry at = dk_attention_entry(problem, entry);
    const size_t parts = parts_of(work, entry), part = (i - work->first_item[entry]) % parts;
    struct item item = {
        .entry = entry,
        .entries = entries_together(work) ? problem->entries : 1,
        .key_head = (i - work->first_item[entry]) / parts,
        .key_heads = heads_together(work) ? problem->key_heads : 1,
        .blocks = key_blocks(work, &at),
        .row_blocks = row_blocks(work, &at),
    };
    if (work->by_blocks && work->wanted.queries) {
        item.row_block = part;
        item.row_blocks = 1;
    } else if (work->by_blocks) {
        item.block = part;
        item.blocks = 1;
    }
    return item;
}

static size_t
steps_of(const struct item *item)
{
    return item->entries * item->key_heads * item->blocks * item->row_blocks;
}

static void
work_step(const struct work *work, struct dk_place_room *room, const struct item *item,
          const struct dk_place_sums *sums, size_t step)
{
    const struct dk_attention *const problem = work->gradient->problem;
    const size_t row_block = item->row_block + step % item->row_blocks;
    const size_t block = item->block + step / item->row_blocks % item->blocks;
    const size_t head = step / item->row_blocks / item->blocks;
    const size_t entry_index = item->entry + head / item->key_heads;
    const struct dk_attend_entry entry = dk_attention_entry(problem, entry_index);
    const size_t key = block * work->block_keys, row = row_block * work->block_rows;
    const size_t rows = entry.queries * problem->group;
    struct dk_place place = {
        .gradient = work->gradient,
        .wanted = work->wanted,
        .visible = dk_visible(problem, &entry, item->key_head + head % item->key_heads),
        .entry = entry_index,
        .key_head = item->key_head + head % item->key_heads,
        .key = key,
        .keys = key < entry.window.length ? dk_min(work->block_keys, entry.window.length - key) : 0,
        .row = row,
        .rows = row < rows ? dk_min(work->block_rows, rows - row) : 0,
    };

    if (sums != NULL) {
        place.sums = *sums;
        if (!work->by_blocks && place.sums.queries != NULL)
            place.sums.queries += row * problem->dim;
    }
    dk_place_begin(&place);
    dk_place_work(&place, room);
    dk_place_end(&place);
}

static void
run_item(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    const struct item item = item_at(work, work->first + task);
    const size_t end = dk_min(work->step + work->steps, steps_of(&item));
    const struct dk_place_sums *const sums = work->sums == NULL
                                                 ? NULL
                                                 : &work->sums[work->sums_last ? task : slot];

    for (size_t step = work->step; step < end; step++)
        work_step(work, &work->rooms[slot], &item, sums, step);
}

/* ------------------------------------------------------------------------- */
/*  Sweeps                                                                   */
/* ------------------------------------------------------------------------- */

/* All places once, for some of the sums: in stretches of items, a stretch in runs of some steps. */
struct sweep {
    struct dk_place_wanted wanted;
    bool by_blocks;
    size_t items, stretch, steps, runs;
};

enum { SWEEPS_MAX = 3 };

static size_t
most_rows(const struct dk_attention *problem)
{
    size_t most = 0;

    for (size_t e = 0; e < problem->entries; e++)
        most = dk_max(most, dk_attention_entry(problem, e).queries);
    return most * problem->group;
}

/* Floats for the sums of an item, with halves. */
static size_t
sums_of(const struct dk_attention *problem, size_t rows)
{
    return rows * problem->dim + dk_place_keys(problem) * (problem->dim + problem->width);
}

/* Whether it is better to work out scores twice. */
static bool
go_by_blocks(const struct dk_gradient *gradient, size_t slots)
{
    const struct dk_attention *const problem = gradient->problem;
    const size_t units = problem->entries * problem->key_heads;
    const size_t at_once = dk_min(units, slots);
    const size_t bytes = sums_of(problem, most_rows(problem)) * sizeof(float);

    if (gradient->d_q == NULL || (gradient->d_k == NULL && gradient->d_v == NULL))
        return true; /* nothing is worked out twice */
    if (dk_place_is_half(problem) && bytes > SUMS_BYTES / at_once)
        return true;
    return 5 * ((units + slots - 1) / slots) * slots > 7 * units;
}

/* Whether there are neither places nor gradients to be zeroed. */
static bool
writes_nothing(const struct dk_attention *problem)
{
    return problem->entries == 0 || problem->key_heads == 0 ||
           (problem->queries == 0 && problem->keys == 0);
}

const char *
dk_gradient_path(const struct dk_gradient *gradient, size_t slots)
{
    const struct dk_attention *const problem = gradient->problem;

    if (dk_attention_empty(problem))
        return "empty";
    return go_by_blocks(gradient, slots) ? "blocks" : "heads";
}

/* The sweeps of a call; returns how many. */
static size_t
plan_sweeps(const struct dk_gradient *gradient, size_t slots, struct sweep sweeps[SWEEPS_MAX])
{
    const bool queries = gradient->d_q != NULL;
    const bool keys = gradient->d_k != NULL || gradient->d_v != NULL;
    size_t count = 0;

    if (queries && keys && !go_by_blocks(gradient, slots)) {
        sweeps[count++] = (struct sweep){.wanted = {.queries = true, .keys = true}};
    } else {
        if (keys)
            sweeps[count++] = (struct sweep){.wanted = {.keys = true}, .by_blocks = true};
        if (queries)
            sweeps[count++] = (struct sweep){.wanted = {.queries = true}, .by_blocks = true};
    }
    if (gradient->d_bias != NULL)
        sweeps[count++] = (struct sweep){.wanted = {.bias = true}, .by_blocks = true};
    return count;
}

static void
set_sweep(struct work *work, const struct sweep *sweep)
{
    const struct dk_attention *const problem = work->gradient->problem;
    size_t items = 0;

    work->wanted = sweep->wanted;
    work->by_blocks = sweep->by_blocks;
    work->steps = sweep->steps;
    work->sums_last = sweep->runs > 1;
    for (size_t e = 0; e < problem->entries; e++) {
        work->first_item[e] = items;
        items += items_of(work, e);
    }
    work->first_item[problem->entries] = items;
}

/* Fills in how a sweep is cut. */
static void
cut_sweep(struct work *work, size_t slots, struct sweep *sweep)
{
    const struct dk_attention *const problem = work->gradient->problem;
    const double flop = 2.0 * (double)(work->block_keys * work->block_rows) *
                        (3 * (double)problem->dim + 2 * (double)problem->width);
    const double steps = work->gradient->words->flop_per_ms * TASK_MS / flop;
    size_t most = 0;

    set_sweep(work, sweep);
    sweep->items = work->first_item[problem->entries];
    for (size_t i = 0; i < sweep->items; i++) {
        const struct item item = item_at(work, i);
        most = dk_max(most, steps_of(&item));
    }
    sweep->steps = steps > 1 ? (size_t)steps : 1;
    sweep->runs = (most + sweep->steps - 1) / sweep->steps;
    sweep->stretch = sweep->items;
    if (dk_place_is_half(problem) && sweep->runs > 1 && !sweep->wanted.bias) {
        const size_t rows = sweep->by_blocks ? work->block_rows : most_rows(problem);
        const size_t fit = SUMS_BYTES / sizeof(float) / sums_of(problem, rows);
        sweep->stretch = dk_min(sweep->items, dk_max(fit / slots * slots, slots));
    }
}

static dotk_status
run_sweep(struct dk_call *call, struct work *work, const struct sweep *sweep)
{
    set_sweep(work, sweep);
    for (size_t slot = 0; slot < call->slots; slot++)
        work->rooms[slot].entry = SIZE_MAX;
    for (work->first = 0; work->first < sweep->items; work->first += sweep->stretch) {
        for (size_t run = 0; run < sweep->runs; run++, call->part++) {
            work->step = run * sweep->steps;
            const dotk_status status = dk_call_run(
                call, dk_min(sweep->stretch, sweep->items - work->first), run_item, work);
            if (status != DOTK_OK)
                return status;
        }
    }
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

/* Sums of halves, enough for every sweep: of the items of a stretch, or of slots. */
static dotk_status
alloc_sums(struct dk_call *call, struct work *work, const struct sweep *sweeps, size_t sweep_count)
{
    const struct dk_attention *const problem = work->gradient->problem;
    size_t count = 0, rows = work->block_rows;

    if (!dk_place_is_half(problem))
        return DOTK_OK;
    for (size_t i = 0; i < sweep_count; i++) {
        if (sweeps[i].wanted.bias)
            continue;
        count = dk_max(count, sweeps[i].runs > 1 ? sweeps[i].stretch : call->slots);
        if (!sweeps[i].by_blocks)
            rows = most_rows(problem);
    }
    work->sums = dk_call_alloc(call, count, sizeof *work->sums);
    for (size_t i = 0; work->sums != NULL && i < count; i++) {
        struct dk_place_sums *const sums = &work->sums[i];
        sums->queries = dk_call_alloc(call, rows * problem->dim, sizeof(float));
        sums->keys = dk_call_alloc(call, work->block_keys * problem->dim, sizeof(float));
        sums->values = dk_call_alloc(call, work->block_keys * problem->width, sizeof(float));
        if (sums->queries == NULL || sums->keys == NULL || sums->values == NULL)
            work->sums = NULL;
    }
    return work->sums != NULL
               ? DOTK_OK
               : dk_fail_memory(sums_of(problem, rows) * sizeof(float), "gradients of attention");
}

dotk_status
dk_gradient_run(struct dk_call *call, const struct dk_gradient *gradient)
{
    const struct dk_attention *const problem = gradient->problem;
    struct sweep sweeps[SWEEPS_MAX];
    struct work work = {
        .gradient = gradient,
        .block_keys = dk_place_keys(problem),
        .block_rows = dk_place_rows(problem),
    };

    if (writes_nothing(problem))
        return dk_gradient_deltas(call, gradient);
    const size_t count = plan_sweeps(gradient, call->slots, sweeps);
    work.first_item = dk_call_alloc(call, problem->entries + 1, sizeof *work.first_item);
    work.rooms = dk_call_alloc(call, call->slots, sizeof *work.rooms);
    if (work.first_item == NULL || work.rooms == NULL)
        return dk_fail_memory((problem->entries + 1) * sizeof *work.first_item,
                              "gradients of attention");
    for (size_t slot = 0; slot < call->slots; slot++) {
        if (!dk_place_alloc(call, gradient, &work.rooms[slot]))
            return dk_fail_memory(work.block_keys * problem->dim * sizeof(float),
                                  "gradients of attention");
    }
    call->part = 0;
    call->parts = 1;
    for (size_t i = 0; i < count; i++) {
        cut_sweep(&work, call->slots, &sweeps[i]);
        call->parts += sweeps[i].runs * blocks_of(sweeps[i].items, sweeps[i].stretch);
    }
    dotk_status status = alloc_sums(call, &work, sweeps, count);
    if (status == DOTK_OK)
        status = dk_gradient_deltas(call, gradient);
    call->part = 1;
    for (size_t i = 0; status == DOTK_OK && i < count; i++)
        status = run_sweep(call, &work, &sweeps[i]);
    return status;
}
