/*
 * layout.h - arrays of heads: strides filled in and checked, extents, rows that share memory
 *
 * Every public call with a dotk_layout checks it here, so that all of them have the same rules and
 * messages.
 */
#ifndef DOTK_TILE_LAYOUT_H
#define DOTK_TILE_LAYOUT_H

#include <dotk/base.h>

#include <stdbool.h>
#include <stddef.h>

/* An array of (batch, heads, rows, width) numbers of 'size' bytes. */
struct dk_array {
    const char *name; /* "key": what messages call options->key */
    size_t batch, heads, rows, width, size;
};

/* Whether it has no numbers, but for its width. */
bool dk_array_empty(const struct dk_array *array);

/*
 * Fills in the strides, where none is set, and checks them where they are: each axis of more than
 * one row, head or entry has one, and none is below the width. Errors: DOTK_BAD_ARGUMENT.
 */
dotk_status dk_layout_resolve(const struct dk_array *array, dotk_layout *layout);

/* *out = the bytes from the first to the last, 0 when it is empty. False: that overflows. */
bool dk_layout_extent(const struct dk_array *array, const dotk_layout *layout, size_t *out);

/* Errors: DOTK_BAD_ARGUMENT, always: dk_layout_extent() overflows. */
dotk_status dk_layout_fail_extent(const struct dk_array *array);

/*
 * Checks that no two rows share an element: each stride jumps over all smaller ones, or is 0
 * because there is but one row for all of that axis. 'name' is what the message says, as the array
 * may be no option's. Errors: DOTK_BAD_ARGUMENT.
 */
dotk_status
dk_layout_check_apart(const struct dk_array *array, const dotk_layout *layout, const char *name);

/* Whether two pieces of memory share a byte; NULL and those of 0 bytes do not. */
bool dk_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes);

#endif /* DOTK_TILE_LAYOUT_H */
