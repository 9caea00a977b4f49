/*
 * rows.h - the rows of a flat index as they are stored
 *
 * Row-major, one after the other, so that a scan reads memory from front to back. Under cosine
 * they are unit vectors with the norms of what was added beside them. With a screen the rows of
 * every whole panel of 64 have codes as well (codec/i8.h); those behind have none yet. (A gap of a
 * line between rows that lie a multiple of 4 KiB apart, against conflicts in L1, was tried at
 * dimensions 1024, 2048 and 4096 and changed nothing.)
 *
 * Positions and how many rows there are is the business of the caller, who says it each time.
 */
#ifndef DOTK_SEARCH_FLAT_ROWS_H
#define DOTK_SEARCH_FLAT_ROWS_H

#include <dotk/search.h>
#include <stdbool.h>

#include "codec/i8.h"
#include "tile/tile.h"

struct dk_rows {
    size_t dim;
    dotk_metric metric;
    dotk_screen screen;
    size_t capacity;
    float *vectors;           /* (capacity, dim) */
    float *norms;             /* cosine: of the rows as they came; else NULL */
    struct dk_codes_i8 codes; /* with a screen */
};

/* No rows and no memory yet. */
void dk_rows_init(struct dk_rows *rows, size_t dim, dotk_metric metric, dotk_screen screen);

void dk_rows_release(struct dk_rows *rows);

/* Whether n more rows fit behind the 'count' there are without moving any. */
static inline bool
dk_rows_have_room(const struct dk_rows *rows, size_t count, size_t n)
{
    return n <= rows->capacity - count;
}

/*
 * Makes room for n rows behind the 'count' there are.
 * Errors: DOTK_NO_MEMORY; nothing has changed then.
 */
dotk_status dk_rows_reserve(struct dk_rows *rows, size_t count, size_t n);

/*
 * Stores x, whose sum of squares is 'sum', below the capacity: in place of one of the 'count' rows
 * there are, or behind them. Returns the sum of squares of what is stored, to within a relative
 * 1e-6.
 */
double dk_rows_set(struct dk_rows *rows, size_t count, size_t position, const float *x, double sum);

/* n rows have been set behind the 'count' there are: writes codes of the panels now whole. */
void dk_rows_encode(struct dk_rows *rows, size_t count, size_t n);

/* out (dim values) = the row as it came. */
void dk_rows_get(const struct dk_rows *rows, size_t position, float *out);

/* Closes the gaps that n ascending positions leave among 'count' rows; order is kept. */
void dk_rows_close_gaps(struct dk_rows *rows, size_t count, size_t n, const size_t *positions);

/* What a scan has to know of the first 'count' rows: keys, codes, how they are scored. */
void dk_rows_scan(const struct dk_rows *rows, size_t count, struct dk_scan *scan);

#endif /* DOTK_SEARCH_FLAT_ROWS_H */
