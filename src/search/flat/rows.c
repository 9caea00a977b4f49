/* rows.c - storing, moving and reading rows; see rows.h */
#include "search/flat/rows.h"

#include "codec/norm.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "search/ids.h"

#include <math.h>
#include <string.h>

static bool
is_screened(const struct dk_rows *rows)
{
    return rows->screen == DOTK_SCREEN_INT8;
}

void
dk_rows_init(struct dk_rows *rows, size_t dim, dotk_metric metric, dotk_screen screen)
{
    *rows = (struct dk_rows){
        .dim = dim,
        .metric = metric,
        .screen = screen,
        .codes = {.dim = dim},
    };
}

void
dk_rows_release(struct dk_rows *rows)
{
    dk_free(rows->vectors);
    dk_free(rows->norms);
    dk_free(rows->codes.codes);
    dk_free(rows->codes.keys);
    dk_rows_init(rows, rows->dim, rows->metric, rows->screen);
}

/* Gives 'rows', which has no memory, some. */
static bool
allocate(struct dk_rows *rows, size_t capacity)
{
    const size_t dim = rows->dim, panels = capacity / DK_PANEL;

    rows->capacity = capacity;
    rows->vectors = dk_alloc_array(capacity, dim * sizeof *rows->vectors);
    bool ok = rows->vectors != NULL;
    if (rows->metric == DOTK_METRIC_COSINE) {
        rows->norms = dk_alloc_array(capacity, sizeof *rows->norms);
        ok = ok && rows->norms != NULL;
    }
    if (is_screened(rows)) {
        rows->codes.codes = dk_alloc_array(panels, dk_i8_panel_bytes(dim));
        rows->codes.keys = dk_alloc_array(panels, sizeof *rows->codes.keys);
        ok = ok && rows->codes.codes != NULL && rows->codes.keys != NULL;
    }
    return ok;
}

static void
copy(struct dk_rows *to, const struct dk_rows *from, size_t count)
{
    const size_t dim = from->dim, panels = count / DK_PANEL;

    if (count == 0)
        return;
    memcpy(to->vectors, from->vectors, count * dim * sizeof *to->vectors);
    if (from->norms != NULL)
        memcpy(to->norms, from->norms, count * sizeof *to->norms);
    if (is_screened(from)) {
        memcpy(to->codes.codes, from->codes.codes, panels * dk_i8_panel_bytes(dim));
        memcpy(to->codes.keys, from->codes.keys, panels * sizeof *to->codes.keys);
    }
}

dotk_status
dk_rows_reserve(struct dk_rows *rows, size_t count, size_t n)
{
    struct dk_rows larger;
    size_t wanted, bytes;

    if (!dk_add(count, n, &wanted))
        return dk_fail_memory(SIZE_MAX, "rows");
    if (wanted <= rows->capacity)
        return DOTK_OK;
    const size_t capacity = dk_max(wanted, rows->capacity + rows->capacity / 2);
    if (!dk_mul(capacity, rows->dim * sizeof(float), &bytes))
        return dk_fail_memory(SIZE_MAX, "rows");
    dk_rows_init(&larger, rows->dim, rows->metric, rows->screen);
    if (!allocate(&larger, capacity)) {
        dk_rows_release(&larger);
        return dk_fail_memory(bytes, "rows");
    }
    copy(&larger, rows, count);
    dk_rows_release(rows);
    *rows = larger;
    return DOTK_OK;
}

/* How many of 'count' rows have codes. */
static size_t
encoded(const struct dk_rows *rows, size_t count)
{
    return is_screened(rows) ? count / DK_PANEL * DK_PANEL : 0;
}

static void
encode(struct dk_rows *rows, size_t start, size_t end)
{
    for (size_t position = start; position < end; position++)
        dk_i8_encode_key(&rows->codes, position, rows->vectors + position * rows->dim,
                         rows->metric == DOTK_METRIC_L2);
}

double
dk_rows_set(struct dk_rows *rows, size_t count, size_t position, const float *x, double sum)
{
    float *const own = rows->vectors + position * rows->dim;

    if (rows->norms == NULL) {
        memcpy(own, x, rows->dim * sizeof *own);
    } else {
        dk_scale_to_unit(x, rows->dim, sum, own);
        rows->norms[position] = (float)sqrt(sum);
    }
    if (position < encoded(rows, count))
        encode(rows, position, position + 1);
    return rows->norms == NULL ? sum : 1;
}

void
dk_rows_encode(struct dk_rows *rows, size_t count, size_t n)
{
    encode(rows, encoded(rows, count), encoded(rows, count + n));
}

void
dk_rows_get(const struct dk_rows *rows, size_t position, float *out)
{
    const float *const own = rows->vectors + position * rows->dim;

    for (size_t d = 0; d < rows->dim; d++)
        out[d] = rows->norms != NULL ? own[d] * rows->norms[position] : own[d];
}

/* Codes move with their rows; rows that had none, and come to lie in a whole panel, get some. */
static void
close_gaps_of_codes(struct dk_rows *rows, size_t count, size_t n, const size_t *positions)
{
    const size_t had = encoded(rows, count), have = encoded(rows, count - n);
    size_t kept = positions[0];

    for (size_t i = 0; i < n && kept < have; i++) {
        const size_t from = positions[i] + 1, next = i + 1 < n ? positions[i + 1] : count;
        const size_t run = dk_min(next, had) - dk_min(from, had);
        dk_i8_move_keys(&rows->codes, kept, from, run);
        kept += run;
    }
    encode(rows, dk_min(kept, have), have);
}

void
dk_rows_close_gaps(struct dk_rows *rows, size_t count, size_t n, const size_t *positions)
{
    if (n == 0)
        return;
    dk_close_gaps(rows->vectors, rows->dim * sizeof *rows->vectors, count, n, positions);
    if (rows->norms != NULL)
        dk_close_gaps(rows->norms, sizeof *rows->norms, count, n, positions);
    if (is_screened(rows))
        close_gaps_of_codes(rows, count, n, positions);
}

void
dk_rows_scan(const struct dk_rows *rows, size_t count, struct dk_scan *scan)
{
    scan->score = rows->metric == DOTK_METRIC_L2 ? DK_SCORE_L2 : DK_SCORE_DOT;
    scan->dim = rows->dim;
    scan->keys = rows->vectors;
    scan->count = count;
    scan->key_stride = rows->dim;
    scan->codes = is_screened(rows) ? &rows->codes : NULL;
}
