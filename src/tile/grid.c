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
 *           Rows come from L3 or L2 at 2 bytes a cycle, which the CPU's own prefetching hides.
 *
 * "pack"    row-major columns: the same, but a task packs a panel when it comes to it, into
 *           memory of its thread that never leaves L2, and takes long chunks of rows, so that
 *           packing costs little beside its use. The textbook (Goto and van de Geijn 2008) packs
 *           both sides; here rows are broadcast from where they lie.
 * "few"     row-major columns, up to 8 rows: packing would cost more than the scores. 16 columns
 *           at a time are transposed in registers and read once.
 *
 * A tile runs over the whole dimension, because the order of additions is defined; what a panel
 * of many thousand dimensions loses by not fitting L2, prefetching hides.
 */
#include "tile/grid.h"

#include <string.h>

enum {
    CHUNK_BYTES = 1 << 20,   /* of rows under packed panels: enough tiles to prefetch a panel in */
    CHUNK_ROWS_MIN = 48,     /* where rows are long                                              */
    PACK_ROWS = 1008,        /* under a panel packed for them: packing is then some hundredth    */
    BYTES_PER_MS = 16 << 20, /* what memory delivers, roughly                                    */
};

/* A task takes about this long: prompt to cancel, long beside waking a thread. */
static const double TASK_MS = 0.5;

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

/* Rows first .. end - 1 under one panel; 'ahead' is prefetched meanwhile. */
static void
panel_tiles(const struct job *job, size_t first, size_t end, const float *panel, size_t col,
            const char *ahead, size_t ahead_lines)
{
    const struct dk_grid *const grid = job->grid;
    const size_t cols = dk_min(DK_PANEL, grid->col_count - col);
    _Alignas(DK_LINE) float tile[DK_TILE_ROWS][DK_PANEL];
    const float *row[DK_TILE_ROWS];
    struct dk_tile_f32 args = {
        .row = row,
        .dim = grid->dim,
        .cols = dk_round_up(cols, 16),
        .panel = panel,
        .ahead = ahead,
        .tile = tile,
    };
    const size_t height = job->kernels->tile_rows[args.cols / 16];

    for (size_t r = first; r < end; r += args.rows) {
        /* Tiles of even height: a last one of one row would wait for its few chains. */
        const size_t tiles = (end - r - 1) / height + 1;
        args.rows = (end - r - 1) / tiles + 1;
        for (size_t i = 0; i < args.rows; i++)
            row[i] = grid->rows + (r + i) * grid->row_stride;
        args.ahead_lines = ahead_lines / tiles;
        (void)job->kernels->tile_f32[grid->score](&args);
        args.ahead += args.ahead_lines * DK_LINE;
        ahead_lines -= args.ahead_lines;
        grid->epilogue->take(grid->epilogue, job->kernels, r, args.rows, col, cols, tile);
    }
}

static void
panels_task(const struct job *job, size_t first, size_t end, size_t panel, size_t panel_end)
{
    const struct dk_grid *const grid = job->grid;
    const size_t panel_floats = DK_PANEL * grid->dim;

    for (; panel < panel_end; panel++) {
        const float *const packed = grid->panels + panel * panel_floats;
        const size_t lines = panel + 1 < job->panels ? panel_floats * sizeof(float) / DK_LINE : 0;
        panel_tiles(job, first, end, packed, panel * DK_PANEL,
                    (const char *)(packed + panel_floats), lines);
    }
}

static void
pack_task(const struct job *job, size_t slot, size_t first, size_t end, size_t panel,
          size_t panel_end)
{
    const struct dk_grid *const grid = job->grid;
    float *const packed = job->packed + slot * DK_PANEL * grid->dim;

    for (; panel < panel_end; panel++) {
        const size_t col = panel * DK_PANEL, next = col + DK_PANEL;
        const size_t count = dk_min(DK_PANEL, grid->col_count - col);
        size_t lines = 0;
        if (grid->col_stride == grid->dim && next < grid->col_count)
            lines = dk_min(DK_PANEL, grid->col_count - next) * grid->dim * sizeof(float) / DK_LINE;
        job->kernels->pack_f32(grid->cols + col * grid->col_stride, grid->col_stride, count,
                               grid->dim, 1, packed);
        panel_tiles(job, first, end, packed, col,
                    (const char *)(grid->cols + (lines > 0 ? next * grid->col_stride : 0)), lines);
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
    const double row_ms = 2.0 * DK_PANEL * (double)grid->dim / job->kernels->softmax_v->flop_per_ms;
    size_t rows = job->path == PACK ? PACK_ROWS : (size_t)(CHUNK_BYTES / row_bytes);

    if ((double)rows * row_ms > 4 * TASK_MS)
        rows = (size_t)(4 * TASK_MS / row_ms);
    rows = dk_max(CHUNK_ROWS_MIN, rows);
    const size_t chunks = (grid->row_count - 1) / rows + 1;
    job->chunk_rows = (grid->row_count - 1) / chunks + 1; /* no short last one */

    const double arithmetic_ms = (double)job->chunk_rows * row_ms;
    const double memory_ms = DK_PANEL * row_bytes / BYTES_PER_MS;
    const double panel_ms = arithmetic_ms > memory_ms ? arithmetic_ms : memory_ms;
    /* Enough tasks for every thread, unless they would not be worth waking one. */
    const size_t even = job->panels * chunks / (4 * slots);
    const size_t least = (size_t)(TASK_MS / 10 / panel_ms) + 1;
    const size_t most = (size_t)(TASK_MS / panel_ms) + 1;
    job->chunk_panels = dk_min(dk_max(least, dk_min(even, most)), job->panels);
    return ((grid->row_count - 1) / job->chunk_rows + 1) *
           ((job->panels - 1) / job->chunk_panels + 1);
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
