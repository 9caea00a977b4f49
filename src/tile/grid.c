/*
 * grid.c - rows against columns, three ways
 *
 * "panels"  columns that come packed. A chunk of rows passes under one panel after the other, row
 *           by row broadcast; meanwhile the next panel is prefetched, some lines with each tile:
 *
 *               for each task: a chunk of rows x a range of panels       (shared by threads)
 *                 for each panel                                         (L2, its chain L1)
 *                   for each group of 6 .. 12 rows: one tile             (registers, rows L1)
 *
 *           Rows come from L3 at 2 bytes a cycle, which the CPU's own prefetching hides. Chunks
 *           that stay in L2 were tried: they fetch panels more often and gain nothing.
 *
 * "pack"    row-major columns: the same, but a task packs a panel when it comes to it, into
 *           memory of its thread that stays in L2. The textbook (Goto and van de Geijn 2008) packs
 *           both sides; here rows are broadcast from where they lie.
 * "few"     row-major columns, up to 8 rows: packing would cost more than the scores. 16 columns
 *           at a time are transposed in registers and read once.
 *
 * A tile runs over the whole dimension, because the order of additions is defined; what a panel
 * of many thousand dimensions loses by not fitting L2, prefetching hides.
 */
#include "tile/grid.h"

#include <math.h>
#include <string.h>

/* Rows under a panel that make up for fetching it, or for packing it. */
enum { PANEL_ROWS = 96, PACK_ROWS = 384 };

static const double MEMORY_PACE = 16e9; /* bytes a second, roughly */

/* A task's panels take about this long: prompt to cancel, long beside waking a thread. */
static const double TASK_SECONDS = 5e-4;

enum path { PANELS, PACK, FEW };

static enum path
path_of(size_t row_count, bool packed)
{
    return packed ? PANELS : row_count <= DK_FEW_QUERIES ? FEW : PACK;
}

const char *
dk_grid_path(size_t row_count, bool packed)
{
    static const char *const names[] = {[PANELS] = "panels", [PACK] = "pack", [FEW] = "few"};
    return names[path_of(row_count, packed)];
}

const char *
dk_grid_kernel(const struct dk_kernels *kernels, size_t row_count, bool packed)
{
    return path_of(row_count, packed) == FEW ? kernels->few_f32_name : kernels->tile_f32_name;
}

const char *
dk_grid_reason(size_t row_count, bool packed)
{
    static const char *const reasons[] = {
        [PANELS] = "packed once and kept, so tiles stream the panels as they lie",
        [PACK] = "not packed and more than 8 rows: each panel of 64 is packed, then used",
        [FEW] = "not packed and at most 8 rows: packing would cost more than the sums",
    };
    return reasons[path_of(row_count, packed)];
}

/* One grid in progress; what all tasks share. */
struct job {
    const struct dk_grid *grid;
    const struct dk_kernels *kernels;
    enum path path;
    size_t panels, chunk_panels; /* of 64 columns: in all, and for a task */
    size_t chunk_rows;
    float *packed; /* "pack": a panel for each slot */
};

/* Memory to prefetch, in cache lines. */
struct ahead {
    const char *at;
    size_t lines;
};

/* 'count' rows from 'row' on, where they follow each other; else nothing. */
static struct ahead
rows_ahead(const float *row, size_t count, size_t stride, size_t dim)
{
    const size_t lines = stride == dim ? count * dim * sizeof(float) / DK_LINE : 0;
    return (struct ahead){(const char *)row, lines};
}

/*
 * Rows first .. end - 1 under one panel. Prefetches with each tile a part of 'next', or, under the
 * first panel of a task, the rows of the next tile: nobody has read them yet.
 */
static void
panel_tiles(const struct job *job, size_t first, size_t end, const float *panel, size_t col,
            bool rows_are_new, struct ahead next)
{
    const struct dk_grid *const grid = job->grid;
    const size_t cols = dk_min(DK_PANEL, grid->col_count - col);
    _Alignas(DK_LINE) float tile[DK_TILE_ROWS][DK_PANEL];
    const float *row[DK_TILE_ROWS];
    struct dk_tile_f32 args = {
        .row = row, .dim = grid->dim, .cols = dk_round_up(cols, 16), .panel = panel, .tile = tile};
    const size_t height = job->kernels->tile_rows[args.cols / 16];

    for (size_t r = first; r < end; r += args.rows) {
        /* Tiles of even height: a last one of one row would wait for its few chains. */
        const size_t tiles = (end - r - 1) / height + 1;
        args.rows = (end - r - 1) / tiles + 1;
        for (size_t i = 0; i < args.rows; i++)
            row[i] = grid->rows + (r + i) * grid->row_stride;

        struct ahead ahead = {next.at, next.lines / tiles};
        next.at += ahead.lines * DK_LINE;
        next.lines -= ahead.lines;
        if (rows_are_new && tiles > 1)
            ahead = rows_ahead(row[0] + args.rows * grid->row_stride,
                               dk_min(args.rows, end - r - args.rows), grid->row_stride, grid->dim);
        args.ahead = ahead.at;
        args.ahead_lines = ahead.lines;
        (void)job->kernels->tile_f32[grid->score](&args);
        grid->epilogue->take(grid->epilogue, job->kernels, r, args.rows, col, cols, tile);
    }
}

static void
panels_task(const struct job *job, size_t first, size_t end, size_t panel, size_t panel_end)
{
    const struct dk_grid *const grid = job->grid;
    const size_t floats = DK_PANEL * grid->dim;

    for (size_t p = panel; p < panel_end; p++) {
        const float *const packed = grid->panels + p * floats;
        const struct ahead next = {(const char *)(packed + floats),
                                   p + 1 < job->panels ? floats * sizeof(float) / DK_LINE : 0};
        panel_tiles(job, first, end, packed, p * DK_PANEL, p == panel, next);
    }
}

static void
pack_task(const struct job *job, size_t slot, size_t first, size_t end, size_t panel,
          size_t panel_end)
{
    const struct dk_grid *const grid = job->grid;
    float *const packed = job->packed + slot * DK_PANEL * grid->dim;

    for (size_t p = panel; p < panel_end; p++) {
        const size_t col = p * DK_PANEL;
        const size_t count = dk_min(DK_PANEL, grid->col_count - col);
        const float *const cols = grid->cols + col * grid->col_stride;
        struct ahead next = {NULL, 0};
        if (p + 1 < job->panels)
            next = rows_ahead(cols + DK_PANEL * grid->col_stride,
                              dk_min(DK_PANEL, grid->col_count - col - DK_PANEL), grid->col_stride,
                              grid->dim);
        job->kernels->pack_f32(cols, grid->col_stride, count, grid->dim, 1, packed);
        panel_tiles(job, first, end, packed, col, p == panel, next);
    }
}

static void
few_task(const struct job *job, size_t panel, size_t panel_end)
{
    const struct dk_grid *const grid = job->grid;
    _Alignas(DK_LINE) float tile[DK_FEW_QUERIES][DK_PANEL];
    _Alignas(DK_LINE) float score[DK_FEW_QUERIES][DK_FEW_ROWS];
    const float *query[DK_FEW_QUERIES], *row[DK_FEW_ROWS];
    struct dk_few_f32 few = {
        .query = query,
        .queries = grid->row_count,
        .dim = grid->dim,
        .row = row,
        .score = score,
    };

    for (size_t q = 0; q < grid->row_count; q++)
        query[q] = grid->rows + q * grid->row_stride;
    for (; panel < panel_end; panel++) {
        const size_t first = panel * DK_PANEL;
        const size_t cols = dk_min(DK_PANEL, grid->col_count - first);
        for (size_t c = 0; c < cols; c += DK_FEW_ROWS) {
            for (size_t i = 0; i < DK_FEW_ROWS; i++)
                row[i] = grid->cols + (first + (c + i < cols ? c + i : c)) * grid->col_stride;
            (void)job->kernels->few_f32[grid->score](&few);
            for (size_t q = 0; q < grid->row_count; q++)
                memcpy(&tile[q][c], score[q], sizeof score[q]);
        }
        grid->epilogue->take(grid->epilogue, job->kernels, 0, grid->row_count, first, cols, tile);
    }
}

static void
run_task(void *arg, size_t task, size_t slot)
{
    const struct job *const job = arg;
    const size_t ranges = (job->panels - 1) / job->chunk_panels + 1;
    const size_t first = task / ranges * job->chunk_rows;
    const size_t end = dk_min(job->grid->row_count, first + job->chunk_rows);
    const size_t panel = task % ranges * job->chunk_panels;
    const size_t panel_end = dk_min(job->panels, panel + job->chunk_panels);

    switch (job->path) {
    case PANELS: panels_task(job, first, end, panel, panel_end); break;
    case PACK: pack_task(job, slot, first, end, panel, panel_end); break;
    case FEW: few_task(job, panel, panel_end); break;
    }
}

/* Cuts the grid into tasks: chunks of rows, then of panels. Returns how many there are. */
static size_t
cut(struct job *job, size_t slots)
{
    const struct dk_grid *const grid = job->grid;
    const double row_bytes = sizeof(float) * (double)grid->dim;
    const double row_seconds = 2.0 * DK_PANEL * (double)grid->dim / job->kernels->pace;
    const double rows = fmax(8 * TASK_SECONDS / row_seconds, DK_TILE_ROWS);
    const size_t least_rows = job->path == PACK ? PACK_ROWS : PANEL_ROWS;
    size_t chunks = (size_t)((double)(grid->row_count - 1) / rows) + 1;

    /* Enough tasks for every thread, unless chunks would become so short that panels cost time. */
    if (job->panels * chunks < 4 * slots)
        chunks = dk_max(chunks, dk_min(4 * slots / job->panels, grid->row_count / least_rows));
    job->chunk_rows = (grid->row_count - 1) / chunks + 1; /* no short last one */
    chunks = (grid->row_count - 1) / job->chunk_rows + 1;

    const double arithmetic = (double)job->chunk_rows * row_seconds;
    const double memory = DK_PANEL * row_bytes / MEMORY_PACE;
    const double panel_seconds = fmax(arithmetic, memory);
    /* Enough tasks again, unless they would not be worth waking a thread. */
    const size_t even = job->panels * chunks / (4 * slots);
    const size_t least = (size_t)(TASK_SECONDS / 10 / panel_seconds) + 1;
    const size_t most = (size_t)(TASK_SECONDS / panel_seconds) + 1;
    job->chunk_panels = dk_min(dk_max(least, dk_min(even, most)), job->panels);
    return chunks * ((job->panels - 1) / job->chunk_panels + 1);
}

dotk_status
dk_grid_run(struct dk_call *call, const struct dk_grid *grid)
{
    struct job job = {
        .grid = grid,
        .kernels = call->kernels,
        .path = path_of(grid->row_count, grid->panels != NULL),
    };

    if (grid->row_count == 0 || grid->col_count == 0)
        return DOTK_OK;
    job.panels = (grid->col_count - 1) / DK_PANEL + 1;
    if (job.path == PACK) {
        size_t panel_bytes;
        if (!dk_mul(DK_PANEL * sizeof(float), grid->dim, &panel_bytes))
            panel_bytes = SIZE_MAX;
        job.packed = dk_call_alloc(call, call->slots, panel_bytes);
        if (job.packed == NULL)
            return dk_fail_memory(panel_bytes, "a packed panel for each thread");
    }
    return dk_call_run(call, cut(&job, call->slots), run_task, &job);
}
