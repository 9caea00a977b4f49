/*
 * scan.c - a batch of queries against row-major keys, two ways
 *
 * "few"    up to 8 queries: bound by reading the keys. 16 keys at a time are transposed in
 *          registers, each key is read once, and the next 16 are prefetched meanwhile.
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
#include "tile/tile.h"

#include <string.h>

enum {
    BLOCK_BYTES = 160 << 10, /* of keys: with the next block and a panel within 1 MiB of L2 */
    BLOCK_ROWS_MAX = 1024,
    BLOCK_UNIT = 48,       /* a multiple of 64 would waste a part of every tile height    */
    BATCH_BYTES = 4 << 20, /* of packed queries                                           */
    BATCH_MAX = 1024,
    TASK_BYTES = 16 << 20, /* about half a millisecond of reading                         */
};

static const double TASK_FLOP = 2e8; /* about a millisecond of arithmetic */

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

const char *
dk_scan_kernel(const struct dk_kernels *kernels, size_t query_count)
{
    return is_few(query_count) ? kernels->few_f32_name : kernels->tile_f32_name;
}

/* One scan in progress; what all tasks share. */
struct job {
    const struct dk_scan *scan;
    const struct dk_kernels *kernels;
    size_t task_rows;
    const float *panels; /* batch: query panels, one after the other */
    size_t block_rows;   /* batch */
};

static const float *
key(const struct dk_scan *scan, size_t position)
{
    const size_t row = scan->gather != NULL ? scan->gather[position] : position;
    return scan->keys + row * scan->key_stride;
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
        const size_t wide = dk_min(64, end - at);
        const enum dk_cover cover = scan->mask->cover(scan->mask, 0, 1, at, wide);
        uint64_t bits = cover == DK_COVER_NONE  ? 0
                        : cover == DK_COVER_ALL ? ~UINT64_C(0)
                                                : scan->mask->bits(scan->mask, 0, at);
        if (wide < 64)
            bits &= (UINT64_C(1) << wide) - 1;
        for (; bits != 0 && n < max; bits &= bits - 1)
            position[n++] = at + (size_t)__builtin_ctzll(bits);
        at = bits != 0 ? at + (size_t)__builtin_ctzll(bits) : at + wide;
    }
    *next = at;
    return n;
}

/* Where keys lie one after the other, the next ones can be prefetched as plain memory. */
struct ahead {
    const char *at, *end;
};

static struct ahead
ahead_of(const struct dk_scan *scan, size_t start, size_t rows)
{
    struct ahead ahead = {NULL, NULL};

    if (scan->gather == NULL && scan->mask == NULL && start < scan->count) {
        const size_t stop = dk_min(scan->count, start + rows);
        ahead.at = (const char *)key(scan, start);
        ahead.end = (const char *)(key(scan, stop - 1) + scan->dim);
    }
    return ahead;
}

/* Takes up to 'lines' cache lines off *ahead. */
static size_t
take_lines(struct ahead *ahead, size_t lines, const char **from)
{
    const size_t left = (size_t)(ahead->end - ahead->at) / DK_LINE;

    *from = ahead->at;
    lines = dk_min(lines, left);
    if (lines > 0)
        ahead->at += lines * DK_LINE;
    return lines;
}

/* ------------------------------------------------------------------------- */
/*  few                                                                      */
/* ------------------------------------------------------------------------- */

static void
few_task(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    const struct dk_scan *const scan = job->scan;
    const size_t end = dk_min(scan->count, (task + 1) * job->task_rows);
    struct dk_scan_epilogue *const epilogue = scan->epilogue;
    const float *const threshold = epilogue->thresholds(epilogue, slot);
    _Alignas(DK_LINE) float score[DK_FEW_QUERIES][DK_FEW_ROWS];
    const float *query[DK_FEW_QUERIES], *row[DK_FEW_ROWS];
    size_t position[DK_FEW_ROWS], next;
    struct dk_few_f32 few = {
        .query = query,
        .queries = scan->query_count,
        .dim = scan->dim,
        .row = row,
        .threshold = threshold,
        .score = score,
    };

    for (size_t q = 0; q < scan->query_count; q++)
        query[q] = scan->queries + q * scan->query_stride;
    for (size_t start = task * job->task_rows; start < end; start = next) {
        const size_t rows = pick(scan, start, end, DK_FEW_ROWS, position, &next);
        if (rows == 0)
            break;
        for (size_t r = 0; r < DK_FEW_ROWS; r++)
            row[r] = key(scan, position[r < rows ? r : 0]);
        struct ahead ahead = ahead_of(scan, next, DK_FEW_ROWS);
        few.ahead_lines = take_lines(&ahead, SIZE_MAX, &few.ahead);

        uint32_t above = job->kernels->few_f32[scan->score](&few);
        for (above &= (1u << scan->query_count) - 1; above != 0; above &= above - 1) {
            const size_t q = (size_t)__builtin_ctz(above);
            for (size_t r = 0; r < rows; r++) {
                if (score[q][r] > threshold[q])
                    epilogue->take(epilogue, slot, q, position[r], score[q][r]);
            }
        }
    }
}

/* ------------------------------------------------------------------------- */
/*  batch                                                                    */
/* ------------------------------------------------------------------------- */

static void
pack_task(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    const struct dk_scan *const scan = job->scan;
    const size_t first = task * DK_PANEL;

    (void)slot;
    job->kernels->pack_f32(scan->queries + first * scan->query_stride, scan->query_stride,
                           dk_min(DK_PANEL, scan->query_count - first), scan->dim, 1,
                           (float *)job->panels + first * scan->dim);
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
batch_block(const struct job *job, size_t slot, const size_t *position, size_t rows,
            struct ahead ahead)
{
    const struct dk_scan *const scan = job->scan;
    const float *const threshold = scan->epilogue->thresholds(scan->epilogue, slot);
    const size_t panels = (scan->query_count + DK_PANEL - 1) / DK_PANEL;
    const size_t tiles = panels * ((rows + 5) / 6);
    const size_t lines = (size_t)(ahead.end - ahead.at) / DK_LINE / tiles + 1;
    _Alignas(DK_LINE) float tile[DK_TILE_ROWS][DK_PANEL];
    const float *row[DK_TILE_ROWS];
    struct dk_tile_f32 args = {.row = row, .dim = scan->dim, .tile = tile};

    for (size_t first = 0; first < scan->query_count; first += DK_PANEL) {
        const size_t queries = dk_min(DK_PANEL, scan->query_count - first);
        args.cols = dk_round_up(queries, 16);
        args.panel = job->panels + first * scan->dim;
        args.threshold = threshold + first;
        const size_t height = job->kernels->tile_rows[args.cols / 16];
        for (size_t r = 0; r < rows; r += args.rows) {
            args.rows = dk_min(height, rows - r);
            for (size_t i = 0; i < args.rows; i++)
                row[i] = key(scan, position[r + i]);
            args.ahead_lines = take_lines(&ahead, lines, &args.ahead);
            const uint64_t above = job->kernels->tile_f32[scan->score](&args);
            if (above != 0)
                offer(scan, slot, above, first, args.rows, position + r, tile, threshold);
        }
    }
}

static void
batch_task(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    const struct dk_scan *const scan = job->scan;
    const size_t end = dk_min(scan->count, (task + 1) * job->task_rows);
    size_t position[BLOCK_ROWS_MAX], next;

    for (size_t start = task * job->task_rows; start < end; start = next) {
        const size_t rows = pick(scan, start, end, job->block_rows, position, &next);
        if (rows == 0)
            break;
        batch_block(job, slot, position, rows, ahead_of(scan, next, job->block_rows));
    }
}

/* ------------------------------------------------------------------------- */
/*  both                                                                     */
/* ------------------------------------------------------------------------- */

/* Rows a task takes: by time, but enough tasks for every thread, in whole units. */
static size_t
rows_per_task(const struct dk_call *call, const struct dk_scan *scan, size_t unit)
{
    const double flop = 2.0 * (double)scan->dim * (double)scan->query_count;
    const double bytes = sizeof(float) * (double)scan->dim;
    const double by_time = flop / TASK_FLOP > bytes / TASK_BYTES ? TASK_FLOP / flop
                                                                 : TASK_BYTES / bytes;
    const size_t even = scan->count / (4 * call->slots) + 1;
    return dk_round_up(dk_min((size_t)by_time + 1, even), unit);
}

dotk_status
dk_scan_run(struct dk_call *call, const struct dk_scan *scan)
{
    struct job job = {.scan = scan, .kernels = call->kernels};

    if (scan->count == 0 || scan->query_count == 0)
        return DOTK_OK;
    if (is_few(scan->query_count)) {
        job.task_rows = rows_per_task(call, scan, DK_FEW_ROWS);
        return dk_call_run(call, (scan->count - 1) / job.task_rows + 1, few_task, &job);
    }

    const size_t row_bytes = sizeof(float) * scan->dim;
    const size_t blocks_of = BLOCK_BYTES / row_bytes / BLOCK_UNIT * BLOCK_UNIT;
    job.block_rows = dk_max(BLOCK_UNIT,
                            dk_min(blocks_of, BLOCK_ROWS_MAX / BLOCK_UNIT * BLOCK_UNIT));
    job.task_rows = rows_per_task(call, scan, job.block_rows);

    const size_t panels = (scan->query_count + DK_PANEL - 1) / DK_PANEL;
    const size_t panel_bytes = DK_PANEL * row_bytes;
    job.panels = dk_call_alloc(call, panels, panel_bytes);
    if (job.panels == NULL)
        return dk_fail_memory(panels * panel_bytes, "packed queries");
    const dotk_status status = dk_call_run(call, panels, pack_task, &job);
    if (status != DOTK_OK)
        return status;
    return dk_call_run(call, (scan->count - 1) / job.task_rows + 1, batch_task, &job);
}
