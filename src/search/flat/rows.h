/*
 * rows.h - the rows of a flat index as they are stored
 *
 * Row-major, one after the other, so that a scan reads memory from front to back. Under cosine
 * they are unit vectors with the norms of what was added beside them. With a screen the rows of
 * every whole panel of 64 have codes as well (codec/i8.h); those behind have none yet. An int8
 * store has nothing but codes, of every row. (A gap of a
 * line between rows that lie a multiple of 4 KiB apart, against conflicts in L1, was tried at
 * dimensions 1024, 2048 and 4096 and changed nothing.)
 *
 * Positions and how many rows there are is the business of the caller, who says it each time.
 */
#ifndef DOTK_SEARCH_FLAT_ROWS_H
#define DOTK_SEARCH_FLAT_ROWS_H

#include <dotk/search.h>
#include <stdbool.h>

#include "codec/i4.h"
#include "tile/tile.h"

struct dk_rows {
    const struct dk_widen_kernels *widen;
    size_t dim;
    dotk_metric metric;
    dotk_store store;
    dotk_screen screen;
    size_t capacity;
    void *vectors;            /* (capacity, dim) of the store's type; int8: NULL */
    float *norms;             /* cosine: of the rows as they came; else NULL */
    float *unit, *widened;    /* a row in work, where rows are not f32 */
    struct dk_codes_i8 codes; /* with a screen; int8: the rows */
};

/* No rows and no memory yet; i4 is for DOTK_SCREEN_INT4, and stays the caller's. */
void dk_rows_init(struct dk_rows *rows, const struct dk_kernels *kernels, size_t dim,
                  dotk_metric metric, dotk_store store, dotk_screen screen, const struct dk_i4 *i4);

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

/* Whether x, rows[i] of a call, can be stored. Errors: DOTK_BAD_ARGUMENT. */
dotk_status dk_rows_check(const struct dk_rows *rows, size_t i, const float *x);

/*
 * Stores x, whose sum of squares is 'sum', below the capacity; codes beside it are for the next two
 * functions. Returns the sum of squares of what is stored, to within a relative 1e-6.
 */
double dk_rows_set(struct dk_rows *rows, size_t position, const float *x, double sum);

/* n rows have been set behind the 'count' there are: writes codes of the panels now whole. */
void dk_rows_encode(struct dk_rows *rows, size_t count, size_t n);

/* n of the 'count' rows, at ascending positions, have been set anew: writes their codes. */
void dk_rows_encode_again(struct dk_rows *rows, size_t count, size_t n, const size_t *positions);

/* out (dim values) = the row as it came, or what is left of it. */
void dk_rows_get(const struct dk_rows *rows, size_t position, float *out);

/* Closes the gaps that n ascending positions leave among 'count' rows; order is kept. */
void dk_rows_close_gaps(struct dk_rows *rows, size_t count, size_t n, const size_t *positions);

/* What a scan has to know of the first 'count' rows: keys, codes, how they are scored. */
void dk_rows_scan(const struct dk_rows *rows, size_t count, struct dk_scan *scan);

#endif /* DOTK_SEARCH_FLAT_ROWS_H */
