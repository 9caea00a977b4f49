/* watch.h - writes down one query's way through the keys: options->watch */
#ifndef DOTK_ATTENTION_WATCH_H
#define DOTK_ATTENTION_WATCH_H

#include "attention/problem.h"
#include "epilogue/softmax_v/softmax_v.h"

/*
 * Fills in 'count' and every step as if all were skipped; 'block' is the keys of one. Errors:
 * DOTK_BAD_ARGUMENT (there is no such query, no room).
 */
dotk_status dk_watch_begin(const struct dk_attention *problem, size_t block);

/* Whether rows first .. first + rows - 1 of an entry and key head hold the query; *row is its own.
 */
bool dk_watch_holds(const struct dk_attention *problem, size_t entry, size_t key_head, size_t first,
                    size_t rows, size_t *row);

/* The query's tile has taken in step 'step', a block of 'count' keys from 'key' on. */
void dk_watch_step(const struct dk_attention *problem, size_t step, const struct dk_mask *mask,
                   const struct dk_attend_tile *tile, size_t key, size_t count,
                   const struct dk_attend_answer *answer);

/* Blocks that were skipped leave maximum and sum as they were. */
void dk_watch_end(const struct dk_attention *problem);

#endif /* DOTK_ATTENTION_WATCH_H */
