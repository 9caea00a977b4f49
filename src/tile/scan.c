/*
 * scan.c - a batch of queries against row-major keys, two ways
 *
 * "few"    up to 8 queries: bound by reading the keys. Each key is read once, as it lies, by a
 *          screen that adds in a fast order; keys that its error bound cannot exclude are scored
 *          again, 16 at a time and still in cache, in the order that defines a score's bits.
 *          f16 and bf16 are screened as they lie, too, and widened when they are scored again.
 *          Where every key passes (scores that rise), the screen is left out for a while.
 * "batch"  more: bound by arithmetic. The queries are packed into panels of 64 once; blocks of
 *          keys that fit L2 pass under every panel, row by row broadcast, never packed:
 *
 *              for each task: a range of keys                          (shared by threads)
 *                for each block of keys                                (L2)
 *                  for each panel of queries                           (L2, its chain L1)
 *                    for each group of 6 .. 12 keys: one tile          (registers)
 *
 *          While a block is in work the next one is prefetched, a few lines with each tile.
 *
 * In both, the kernel compares the scores with the thresholds in registers; only a tile with a
 * score that may matter is stored and looked at. A mask picks the keys *before* they are scored:
 * the kernels take rows by pointer, so the survivors are simply the rows of fuller tiles.
 */
#include "tile/scan.h"

#include "codec/norm.h"
#include "tile/waiting.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK_BYTES = 160 << 10, /* of keys: with the next block and a panel within 1 MiB of L2 */
    BLOCK_ROWS_MAX = 1024,
    BLOCK_UNIT = 48,       /* a multiple of 64 would waste a part of every tile height    */
    BATCH_BYTES = 4 << 20, /* of packed queries                                           */
    BATCH_MAX = 1024,
    AHEAD_BYTES = 12 << 10, /* few: how far ahead keys are prefetched                      */
    WIDENED_ROWS = 4,       /* few: codes widened at a time                                */
    TASK_BYTES = 16 << 20,  /* a millisecond or less of reading                            */
};

static const double TASK_SECONDS = 2e-3; /* of arithmetic, by the pace of the kernels */

size_t
dk_scan_batch(size_t dim)
{
    const size_t fit = BATCH_BYTES / (sizeof(float) * dim) / DK_PANEL * DK_PANEL;
    return dk_max(DK_PANEL, dk_min(fit, BATCH_MAX));
}

static bool
is_few(size_t query_count)
{
    return query_count <= DK_FEW_QUERIES;
}

const char *
dk_scan_path(size_t query_count)
{
    return is_few(query_count) ? "few" : "batch";
}

/* As what the screen for few queries reads keys: as they lie, or f32 when they are codes. */
static enum dk_row
screened_as(dotk_store store)
{
    switch (store) {
    case DOTK_STORE_F16: return DK_ROW_F16;
    case DOTK_STORE_BF16: return DK_ROW_BF16;
    case DOTK_STORE_F32:
    case DOTK_STORE_INT8: break;
    }
    return DK_ROW_F32;
}

const char *
dk_scan_kernel(const struct dk_kernels *kernels, size_t query_count, dotk_store store)
{
    return is_few(query_count) ? kernels->screen_name[screened_as(store)] : kernels->tile_f32_name;
}

/*
 * Lists the positions from 'start' on that the mask lets through, until 'max' are found or
 * 'end' is reached; returns how many, and in *next where to go on.
 */
static size_t
pick(const struct dk_scan *scan, size_t start, size_t end, size_t max, size_t *position,
     size_t *next)
{
    size_t n = 0, at = start;

    if (scan->mask == NULL) {
        for (; at < end && n < max; at++)
            position[n++] = at;
        *next = at;
        return n;
    }
    while (at < end && n < max) {
        uint64_t keys = dk_scan_keys(scan, at, end);
        for (; keys != 0 && n < max; keys &= keys - 1)
            position[n++] = at + (size_t)__builtin_ctzll(keys);
        at = keys != 0 ? at + (size_t)__builtin_ctzll(keys) : dk_min(end, at + 64);
    }
    *next = at;
    return n;
}

/* Rows that will be wanted soon, prefetched as runs of lines that lie one after the other. */
struct ahead {
    const struct dk_scan *scan;
    const size_t *position;
    size_t rows;
    const char *at; /* what is left of the run in work */
    size_t lines;
};

static const struct ahead NOTHING_AHEAD = {NULL, NULL, 0, NULL, 0};

static size_t
row_lines(const struct dk_scan *scan, size_t rows)
{
    return rows * dk_scan_key_bytes(scan) / DK_LINE;
}

static void
next_run(struct ahead *ahead)
{
    const struct dk_scan *const scan = ahead->scan;
    const char *const first = dk_scan_key(scan, ahead->position[0]);
    const size_t bytes = dk_scan_key_bytes(scan);
    size_t rows = 1;

    while (rows < ahead->rows &&
           (const char *)dk_scan_key(scan, ahead->position[rows]) == first + rows * bytes)
        rows++;
    ahead->at = first;
    ahead->lines = row_lines(scan, rows);
    ahead->position += rows;
    ahead->rows -= rows;
}

static struct ahead
ahead_of(const struct dk_scan *scan, const size_t *position, size_t rows)
{
    struct ahead ahead = {.scan = scan, .position = position, .rows = rows};

    if (rows > 0 && scan->store != DOTK_STORE_INT8)
        next_run(&ahead);
    else
        ahead.rows = 0;
    return ahead;
}

/* Takes up to 'lines' cache lines off *ahead. */
static size_t
take_lines(struct ahead *ahead, size_t lines, const char **from)
{
    if (ahead->lines == 0 && ahead->rows > 0)
        next_run(ahead);
    *from = ahead->at;
    lines = dk_min(lines, ahead->lines);
    if (lines > 0)
        ahead->at += lines * DK_LINE;
    ahead->lines -= lines;
    return lines;
}

/* ------------------------------------------------------------------------- */
/*  Keys that are not f32                                                    */
/* ------------------------------------------------------------------------- */

const float *
dk_scan_load(const struct dk_scan_job *job, size_t position, float *room)
{
    const struct dk_widen_kernels *const widen = job->kernels->widen;
    const struct dk_scan *const scan = job->scan;
    const void *const key = dk_scan_key(scan, position);

    switch (scan->store) {
    case DOTK_STORE_F32: return key;
    case DOTK_STORE_F16: widen->widen_half[DK_HALF_F16](key, scan->dim, room); break;
    case DOTK_STORE_BF16: widen->widen_half[DK_HALF_BF16](key, scan->dim, room); break;
    case DOTK_STORE_INT8:
        widen->widen_i8(key, scan->dim, dk_i8_scale(scan->codes, dk_scan_row(scan, position)),
                        room);
        break;
    }
    return room;
}

void
dk_scan_load_few(const struct dk_scan_job *job, size_t slot, const size_t *position, size_t count,
                 const float **row)
{
    const bool wide = job->scan->store == DOTK_STORE_F32;

    for (size_t i = 0; i < count; i++)
        row[i] = dk_scan_load(job, position[i], wide ? NULL : dk_scan_room(job, slot, i));
}

/* Room for each slot to widen DK_FEW_ROWS keys and a block of 'rows' into. */
static dotk_status
make_room(struct dk_scan_job *job, struct dk_call *call, size_t rows)
{
    const size_t wide = dk_round_up(job->scan->dim, DK_LINE / sizeof(float)) * sizeof(float);

    job->room_rows = DK_FEW_ROWS + rows;
    if (job->scan->store == DOTK_STORE_F32)
        return DOTK_OK;
    job->room = dk_call_alloc(call, call->slots * job->room_rows, wide);
    if (job->room == NULL)
        return dk_fail_memory(call->slots * job->room_rows * wide, "widened rows");
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  few                                                                      */
/* ------------------------------------------------------------------------- */

/* One task's state: the keys that passed the screen wait here until there are 16. */
struct few {
    const struct dk_scan_job *job;
    size_t slot;
    bool screening;
    _Alignas(DK_LINE) float screen_threshold[DK_FEW_QUERIES];
    struct dk_waiting waiting;
};

/*
 * The largest screen score that a key with a defined score of at most 'threshold' can have. Both
 * sums are within (roundings) u sum |q k| of the exact score: chains of 256 and their sum, and
 * what kernel.h states for the screen. sum |q k| <= |q| |k| for dot (Cauchy-Schwarz); for l2 it
 * is the distance itself. 1.01 covers second-order terms and the 1e-3 of key_norm_max.
 */
static float
lower_threshold(const struct dk_scan *scan, double query_norm, float threshold)
{
    const double dim = (double)scan->dim;
    const double roundings = dk_roundings(scan->dim) + DK_SCREEN_ROUNDINGS(dim) + 1;
    const double size = scan->score == DK_SCORE_DOT ? query_norm * scan->key_norm_max
                                                    : fabs((double)threshold);
    const double slack = 1.01 * 0x1p-24 * roundings * size + dim * 0x1p-147;

    return threshold == -INFINITY ? threshold : nextafterf((float)(threshold - slack), -INFINITY);
}

static void
lower_thresholds(struct few *few)
{
    const struct dk_scan_job *const job = few->job;
    struct dk_scan_epilogue *const epilogue = job->scan->epilogue;
    const float *const threshold = epilogue->thresholds(epilogue, few->slot);

    for (size_t q = 0; q < job->scan->query_count; q++)
        few->screen_threshold[q] = lower_threshold(job->scan, job->query_norm[q], threshold[q]);
}

/* As dk_waiting_score(), after which the screen's thresholds are higher. */
static size_t
score_waiting(struct few *few, struct ahead ahead)
{
    const size_t taken = dk_waiting_score(&few->waiting, few->job, few->slot, 0,
                                          few->job->scan->query_count, ahead.at, ahead.lines);

    if (taken > 0)
        lower_thresholds(few);
    return taken;
}

/* Of up to 16 keys, those that pass the screen, as bits; 'later' keys will be wanted soon. */
static uint32_t
screen(const struct few *few, const void *const *row, const void *const *later, size_t count)
{
    const struct dk_scan_job *const job = few->job;

    return job->kernels->screen[screened_as(job->scan->store)][job->scan->score](
        &(struct dk_screen){
            .query = job->interleaved,
            .queries = job->scan->query_count,
            .dim = job->scan->dim,
            .row = row,
            .later = later,
            .count = count,
            .threshold = few->screen_threshold,
        });
}

/* The same of codes, widened a few at a time, so that L1 holds them. */
static uint32_t
screen_codes(const struct few *few, const size_t *position, size_t count)
{
    uint32_t above = 0;

    for (size_t start = 0; start < count; start += WIDENED_ROWS) {
        const size_t rows = dk_min(WIDENED_ROWS, count - start);
        const void *row[WIDENED_ROWS];
        for (size_t i = 0; i < rows; i++)
            row[i] = dk_scan_load(few->job, position[start + i],
                                  dk_scan_room(few->job, few->slot, DK_FEW_ROWS + i));
        above |= screen(few, row, row, rows) << start;
    }
    return above;
}

/* Screens up to 16 keys. When all of them pass it is in the way, and score_rows goes on. */
static void
screen_rows(struct few *few, const size_t *position, const void *const *row,
            const void *const *later, size_t count)
{
    uint32_t above = few->job->scan->store == DOTK_STORE_INT8 ? screen_codes(few, position, count)
                                                              : screen(few, row, later, count);

    few->screening = above != (1u << DK_FEW_ROWS) - 1;
    for (; above != 0; above &= above - 1) {
        few->waiting.position[few->waiting.count] = position[__builtin_ctz(above)];
        if (++few->waiting.count == DK_FEW_ROWS)
            score_waiting(few, NOTHING_AHEAD);
    }
    if (!few->screening)
        score_waiting(few, NOTHING_AHEAD); /* score_rows wants the list empty */
}

/* Scores the first 16 of 'count' keys as they come, until less than half of them matter. */
static void
score_rows(struct few *few, const size_t *position, size_t count)
{
    const size_t later = dk_min(DK_FEW_ROWS, count - DK_FEW_ROWS);

    memcpy(few->waiting.position, position, sizeof few->waiting.position);
    few->waiting.count = DK_FEW_ROWS;
    few->screening = score_waiting(few, ahead_of(few->job->scan, position + DK_FEW_ROWS, later)) <
                     DK_FEW_ROWS / 2;
}

static void
few_rows(const struct dk_scan_job *job, size_t slot, size_t first, size_t end)
{
    const struct dk_scan *const scan = job->scan;
    const size_t lead = dk_min(DK_FEW_ROWS, AHEAD_BYTES / dk_scan_key_bytes(scan) + 1);
    struct few few = {.job = job, .slot = slot, .screening = true};
    size_t position[BLOCK_ROWS_MAX], next;
    const void *row[BLOCK_ROWS_MAX + DK_FEW_ROWS];

    for (size_t q = 0; q < DK_FEW_QUERIES; q++)
        few.screen_threshold[q] = INFINITY;
    lower_thresholds(&few);
    for (size_t start = first; start < end; start = next) {
        const size_t rows = pick(scan, start, end, BLOCK_ROWS_MAX, position, &next);
        if (rows == 0)
            break;
        for (size_t r = 0; r < rows + lead; r++)
            row[r] = dk_scan_key(scan, position[dk_min(r, rows - 1)]);
        for (size_t r = 0; r < rows; r += DK_FEW_ROWS) {
            const size_t count = dk_min(DK_FEW_ROWS, rows - r);
            if (few.screening || count < DK_FEW_ROWS)
                screen_rows(&few, position + r, row + r, row + r + lead, count);
            else
                score_rows(&few, position + r, rows - r);
        }
    }
    score_waiting(&few, NOTHING_AHEAD);
}

/* Queries as dk_screen wants them; 'out' holds query_count * (dim rounded up to 16). */
static void
interleave_queries(const struct dk_scan *scan, float *out)
{
    for (size_t d = 0; d < scan->dim; d += DK_SCREEN_LANES) {
        for (size_t q = 0; q < scan->query_count; q++) {
            const float *const query = scan->queries + q * scan->query_stride;
            for (size_t i = 0; i < DK_SCREEN_LANES; i++)
                *out++ = d + i < scan->dim ? query[d + i] : 0;
        }
    }
}

/* ------------------------------------------------------------------------- */
/*  batch                                                                    */
/* ------------------------------------------------------------------------- */

/* A query is packed in the time of a few tiles, so this is not shared among threads. */
static void
pack_queries(const struct dk_scan *scan, const struct dk_kernels *kernels, float *panels)
{
    for (size_t first = 0; first < scan->query_count; first += DK_PANEL) {
        kernels->pack_f32(scan->queries + first * scan->query_stride, scan->query_stride,
                          dk_min(DK_PANEL, scan->query_count - first), scan->dim, 1,
                          panels + first * scan->dim);
    }
}

/* Offers the scores of a stored tile; bit c of 'above' stands for query first + c. */
static void
offer(const struct dk_scan *scan, size_t slot, uint64_t above, size_t first, size_t rows,
      const size_t *position, float (*tile)[DK_PANEL], const float *threshold)
{
    struct dk_scan_epilogue *const epilogue = scan->epilogue;

    for (; above != 0; above &= above - 1) {
        const size_t c = (size_t)__builtin_ctzll(above);
        for (size_t r = 0; r < rows; r++) {
            if (tile[r][c] > threshold[first + c])
                epilogue->take(epilogue, slot, first + c, position[r], tile[r][c]);
        }
    }
}

/* One block of keys under every panel. */
static void
batch_block(const struct dk_scan_job *job, size_t slot, const size_t *position, size_t rows,
            struct ahead ahead)
{
    const struct dk_scan *const scan = job->scan;
    const float *const threshold = scan->epilogue->thresholds(scan->epilogue, slot);
    const size_t panels = (scan->query_count + DK_PANEL - 1) / DK_PANEL;
    const size_t tiles = panels * ((rows + 5) / 6);
    const size_t lines = (ahead.lines + row_lines(scan, ahead.rows)) / tiles + 1;
    _Alignas(DK_LINE) float tile[DK_TILE_ROWS][DK_PANEL];
    const float *row[DK_TILE_ROWS];
    struct dk_tile_f32 args = {.row = row, .dim = scan->dim, .tile = tile};

    for (size_t r = 0; scan->store != DOTK_STORE_F32 && r < rows; r++)
        dk_scan_load(job, position[r], dk_scan_room(job, slot, DK_FEW_ROWS + r));
    for (size_t first = 0; first < scan->query_count; first += DK_PANEL) {
        const size_t queries = dk_min(DK_PANEL, scan->query_count - first);
        args.cols = dk_round_up(queries, 16);
        args.panel = job->panels + first * scan->dim;
        args.threshold = threshold + first;
        const size_t height = job->kernels->tile_rows[args.cols / 16];
        for (size_t r = 0; r < rows; r += args.rows) {
            args.rows = dk_min(height, rows - r);
            for (size_t i = 0; i < args.rows; i++)
                row[i] = scan->store == DOTK_STORE_F32
                             ? dk_scan_key(scan, position[r + i])
                             : dk_scan_room(job, slot, DK_FEW_ROWS + r + i);
            args.ahead_lines = take_lines(&ahead, lines, &args.ahead);
            const uint64_t above = job->kernels->tile_f32[scan->score](&args);
            if (above != 0)
                offer(scan, slot, above, first, args.rows, position + r, tile, threshold);
        }
    }
}

static void
batch_rows(const struct dk_scan_job *job, size_t slot, size_t first, size_t end)
{
    const struct dk_scan *const scan = job->scan;
    const size_t beyond = dk_min(scan->count,
                                 end + (end - first)); /* most likely the next task's */
    size_t position[2][BLOCK_ROWS_MAX], next;

    size_t rows = pick(scan, first, end, job->block_rows, position[0], &next);
    for (size_t block = 0; rows > 0; block ^= 1) {
        size_t *const later = position[block ^ 1];
        const size_t last = next < end ? end : beyond;
        const size_t start = next;
        const size_t later_rows = pick(scan, start, last, job->block_rows, later, &next);
        batch_block(job, slot, position[block], rows, ahead_of(scan, later, later_rows));
        rows = start < end ? later_rows : 0;
    }
}

/* ------------------------------------------------------------------------- */
/*  both                                                                     */
/* ------------------------------------------------------------------------- */

/* Keys whose scores take a task's time. */
static double
keys_per_task(const struct dk_call *call, const struct dk_scan *scan)
{
    const double flop = 2.0 * (double)scan->dim * (double)scan->query_count;
    const double bytes = (double)dk_scan_key_bytes(scan);
    return fmin(TASK_SECONDS * call->kernels->pace / flop, TASK_BYTES / bytes);
}

static void
plain_task(void *arg, size_t task, size_t slot)
{
    const struct dk_scan_job *const job = arg;

    job->rows(job, slot, job->task_start[task], job->task_start[task + 1]);
}

static dotk_status
few_init(struct dk_scan_job *job, struct dk_call *call)
{
    const struct dk_scan *const scan = job->scan;
    const size_t wide = dk_round_up(scan->dim, DK_SCREEN_LANES);
    float *const interleaved = dk_call_alloc(call, scan->query_count * wide, sizeof(float));

    if (interleaved == NULL)
        return dk_fail_memory(scan->query_count * wide * sizeof(float), "interleaved queries");
    interleave_queries(scan, interleaved);
    job->interleaved = interleaved;
    for (size_t q = 0; q < scan->query_count; q++)
        job->query_norm[q] = sqrt(
            dk_sum_of_squares(scan->queries + q * scan->query_stride, scan->dim));
    job->rows = few_rows;
    return make_room(job, call, WIDENED_ROWS);
}

static dotk_status
batch_init(struct dk_scan_job *job, struct dk_call *call)
{
    const struct dk_scan *const scan = job->scan;
    const size_t row_bytes = sizeof(float) * scan->dim;
    const size_t blocks_of = BLOCK_BYTES / row_bytes / BLOCK_UNIT * BLOCK_UNIT;
    const size_t panels = (scan->query_count + DK_PANEL - 1) / DK_PANEL;
    const size_t panel_bytes = DK_PANEL * row_bytes;
    float *const packed = dk_call_alloc(call, panels, panel_bytes);

    if (packed == NULL)
        return dk_fail_memory(panels * panel_bytes, "packed queries");
    pack_queries(scan, call->kernels, packed);
    job->panels = packed;
    job->block_rows = dk_max(BLOCK_UNIT,
                             dk_min(blocks_of, BLOCK_ROWS_MAX / BLOCK_UNIT * BLOCK_UNIT));
    job->rows = batch_rows;
    return make_room(job, call, job->block_rows);
}

dotk_status
dk_scan_run(struct dk_call *call, const struct dk_scan *scan)
{
    struct dk_scan_job job = {.scan = scan, .kernels = call->kernels};

    if (scan->count == 0 || scan->query_count == 0)
        return DOTK_OK;
    const bool few = is_few(scan->query_count);
    dotk_status status = few ? few_init(&job, call) : batch_init(&job, call);
    if (status == DOTK_OK && scan->codes != NULL && scan->gather == NULL)
        return dk_scan_i8_run(call, &job);
    if (status == DOTK_OK)
        status = dk_scan_cut(call, &job, keys_per_task(call, scan),
                             few ? DK_FEW_ROWS : job.block_rows, 64);
    return status == DOTK_OK ? dk_call_run(call, job.tasks, plain_task, &job) : status;
}
