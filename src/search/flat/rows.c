/* rows.c - storing, moving and reading rows; see rows.h */
#include "search/flat/rows.h"

#include "codec/norm.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "search/ids.h"

#include <math.h>
#include <string.h>

static const float F16_OVERFLOW = 65520; /* from here on f16 rounds to infinity */

/* Codes beside the rows, or in their place. */
static bool
has_codes(const struct dk_rows *rows)
{
    return rows->screen != DOTK_SCREEN_NONE || rows->store == DOTK_STORE_INT8;
}

/* Bytes of a row in 'vectors'. */
static size_t
row_bytes(const struct dk_rows *rows)
{
    switch (rows->store) {
    case DOTK_STORE_F32: return rows->dim * sizeof(float);
    case DOTK_STORE_F16:
    case DOTK_STORE_BF16: return rows->dim * sizeof(uint16_t);
    case DOTK_STORE_INT8: break;
    }
    return 0;
}

static enum dk_half
half_of(const struct dk_rows *rows)
{
    return rows->store == DOTK_STORE_F16 ? DK_HALF_F16 : DK_HALF_BF16;
}

/* Row 'position' in 'vectors'. */
static void *
row_at(const struct dk_rows *rows, size_t position)
{
    return (char *)rows->vectors + position * row_bytes(rows);
}

/* How many of 'count' rows have codes: all, or those of whole panels. */
static size_t
encoded(const struct dk_rows *rows, size_t count)
{
    if (rows->store == DOTK_STORE_INT8)
        return count;
    return has_codes(rows) ? count / DK_PANEL * DK_PANEL : 0;
}

static size_t
panels_of(const struct dk_rows *rows, size_t count)
{
    return (encoded(rows, count) + DK_PANEL - 1) / DK_PANEL;
}

void
dk_rows_init(struct dk_rows *rows, const struct dk_kernels *kernels, size_t dim, dotk_metric metric,
             dotk_store store, dotk_screen screen, const struct dk_i4 *i4)
{
    *rows = (struct dk_rows){
        .widen = kernels->widen,
        .dim = dim,
        .metric = metric,
        .store = store,
        .screen = screen,
        .codes = {.dim = dim, .i4 = i4},
    };
}

/* As 'rows' was before it had memory. */
static struct dk_rows
emptied(const struct dk_rows *rows)
{
    struct dk_rows empty = *rows;

    empty.vectors = NULL;
    empty.norms = empty.unit = empty.widened = NULL;
    empty.codes.codes = NULL;
    empty.codes.keys = NULL;
    empty.capacity = 0;
    return empty;
}

void
dk_rows_release(struct dk_rows *rows)
{
    dk_free(rows->vectors);
    dk_free(rows->norms);
    dk_free(rows->unit);
    dk_free(rows->widened);
    dk_free(rows->codes.codes);
    dk_free(rows->codes.keys);
    *rows = emptied(rows);
}

/* Gives 'rows', which has no memory, some. */
static bool
allocate(struct dk_rows *rows, size_t capacity)
{
    const size_t dim = rows->dim, panels = panels_of(rows, capacity);
    bool ok = true;

    rows->capacity = capacity;
    if (rows->store != DOTK_STORE_INT8) {
        rows->vectors = dk_alloc_array(capacity, row_bytes(rows));
        ok = rows->vectors != NULL;
    }
    if (ok && rows->store != DOTK_STORE_F32) {
        rows->unit = dk_alloc_array(dim, sizeof *rows->unit);
        rows->widened = dk_alloc_array(dim, sizeof *rows->widened);
        ok = rows->unit != NULL && rows->widened != NULL;
    }
    if (ok && rows->metric == DOTK_METRIC_COSINE) {
        rows->norms = dk_alloc_array(capacity, sizeof *rows->norms);
        ok = rows->norms != NULL;
    }
    if (ok && has_codes(rows)) {
        rows->codes.codes = dk_alloc_array(panels, dk_codes_panel_bytes(&rows->codes));
        rows->codes.keys = dk_alloc_array(panels, sizeof *rows->codes.keys);
        ok = rows->codes.codes != NULL && rows->codes.keys != NULL;
    }
    return ok;
}

static void
copy(struct dk_rows *to, const struct dk_rows *from, size_t count)
{
    const size_t panels = panels_of(from, count);

    if (count == 0)
        return;
    if (from->vectors != NULL)
        memcpy(to->vectors, from->vectors, count * row_bytes(from));
    if (from->norms != NULL)
        memcpy(to->norms, from->norms, count * sizeof *to->norms);
    if (has_codes(from)) {
        memcpy(to->codes.codes, from->codes.codes, panels * dk_codes_panel_bytes(&from->codes));
        memcpy(to->codes.keys, from->codes.keys, panels * sizeof *to->codes.keys);
    }
}

dotk_status
dk_rows_reserve(struct dk_rows *rows, size_t count, size_t n)
{
    struct dk_rows larger = emptied(rows);
    size_t wanted, bytes;

    if (!dk_add(count, n, &wanted))
        return dk_fail_memory(SIZE_MAX, "rows");
    if (wanted <= rows->capacity)
        return DOTK_OK;
    const size_t capacity = dk_max(wanted, rows->capacity + rows->capacity / 2);
    if (!dk_mul(capacity, rows->dim * sizeof(float), &bytes))
        return dk_fail_memory(SIZE_MAX, "rows");
    if (!allocate(&larger, capacity)) {
        dk_rows_release(&larger);
        return dk_fail_memory(bytes, "rows");
    }
    copy(&larger, rows, count);
    dk_rows_release(rows);
    *rows = larger;
    return DOTK_OK;
}

dotk_status
dk_rows_check(const struct dk_rows *rows, size_t i, const float *x)
{
    if (rows->store != DOTK_STORE_F16 || rows->metric == DOTK_METRIC_COSINE)
        return DOTK_OK;
    for (size_t d = 0; d < rows->dim; d++) {
        if (fabsf(x[d]) >= F16_OVERFLOW)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "rows[%zu] has %.9g at dimension %zu, and f16 ends at 65504: scale it "
                           "down, or store bf16 or f32",
                           i, (double)x[d], d);
    }
    return DOTK_OK;
}

/* Row 'position' as f32, wherever it lies. */
static const float *
widened(const struct dk_rows *rows, size_t position, float *room)
{
    const void *const own = row_at(rows, position);

    switch (rows->store) {
    case DOTK_STORE_F32: return own;
    case DOTK_STORE_F16:
    case DOTK_STORE_BF16: rows->widen->widen_half[half_of(rows)](own, rows->dim, room); break;
    case DOTK_STORE_INT8:
        rows->widen->widen_i8(dk_i8_key(&rows->codes, position), rows->dim,
                              dk_i8_scale(&rows->codes, position), room);
        break;
    }
    return room;
}

/* Codes beside the rows at these positions, at most 64; rows that are codes have none beside. */
static void
encode_at(struct dk_rows *rows, const size_t *position, size_t n)
{
    const bool squared = rows->metric == DOTK_METRIC_L2;

    if (rows->store == DOTK_STORE_INT8)
        return;
    if (rows->screen == DOTK_SCREEN_INT4)
        dk_i4_encode_keys(&rows->codes, position, n, rows->vectors, squared);
    for (size_t i = 0; i < n && rows->screen == DOTK_SCREEN_INT8; i++)
        dk_i8_encode_key(&rows->codes, position[i], widened(rows, position[i], rows->widened),
                         squared);
}

/* Codes beside rows start .. end - 1. */
static void
encode(struct dk_rows *rows, size_t start, size_t end)
{
    for (size_t position[DK_PANEL], n; start < end; start += n) {
        n = dk_min(DK_PANEL, end - start);
        for (size_t i = 0; i < n; i++)
            position[i] = start + i;
        encode_at(rows, position, n);
    }
}

/* Stores x, as it is scored; returns the sum of squares of what is stored. */
static double
store(struct dk_rows *rows, size_t position, const float *x, double sum)
{
    switch (rows->store) {
    case DOTK_STORE_F32: memcpy(row_at(rows, position), x, row_bytes(rows)); return sum;
    case DOTK_STORE_INT8:
        dk_i8_store_key(&rows->codes, position, x, rows->metric == DOTK_METRIC_L2);
        return sum; /* no more than x has, roundings aside */
    case DOTK_STORE_F16:
    case DOTK_STORE_BF16: break;
    }
    rows->widen->narrow_half[half_of(rows)](x, rows->dim, row_at(rows, position));
    return dk_sum_of_squares(widened(rows, position, rows->widened), rows->dim);
}

double
dk_rows_set(struct dk_rows *rows, size_t position, const float *x, double sum)
{
    double stored;

    if (rows->norms == NULL) {
        stored = store(rows, position, x, sum);
    } else {
        const bool in_place = rows->store == DOTK_STORE_F32;
        float *const unit = in_place ? row_at(rows, position) : rows->unit;
        dk_scale_to_unit(x, rows->dim, sum, unit);
        stored = in_place ? 1 : store(rows, position, unit, 1);
        rows->norms[position] = (float)sqrt(sum);
    }
    return stored;
}

void
dk_rows_encode(struct dk_rows *rows, size_t count, size_t n)
{
    encode(rows, encoded(rows, count), encoded(rows, count + n));
}

void
dk_rows_encode_again(struct dk_rows *rows, size_t count, size_t n, const size_t *positions)
{
    const size_t end = encoded(rows, count);
    size_t have = n;

    while (have > 0 && positions[have - 1] >= end)
        have--;
    for (size_t i = 0; i < have; i += DK_PANEL)
        encode_at(rows, positions + i, dk_min(DK_PANEL, have - i));
}

void
dk_rows_get(const struct dk_rows *rows, size_t position, float *out)
{
    const float *const own = widened(rows, position, out);

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
    if (rows->vectors != NULL)
        dk_close_gaps(rows->vectors, row_bytes(rows), count, n, positions);
    if (rows->norms != NULL)
        dk_close_gaps(rows->norms, sizeof *rows->norms, count, n, positions);
    if (has_codes(rows))
        close_gaps_of_codes(rows, count, n, positions);
}

void
dk_rows_scan(const struct dk_rows *rows, size_t count, struct dk_scan *scan)
{
    scan->score = rows->metric == DOTK_METRIC_L2 ? DK_SCORE_L2 : DK_SCORE_DOT;
    scan->dim = rows->dim;
    scan->store = rows->store;
    scan->keys = rows->vectors;
    scan->count = count;
    scan->key_stride = rows->dim;
    scan->codes = has_codes(rows) ? &rows->codes : NULL;
}
