/* waiting.h - keys that a screen could not exclude wait here until there are 16 */
#ifndef DOTK_TILE_WAITING_H
#define DOTK_TILE_WAITING_H

#include "tile/scan.h"

/* Begins as {0}. */
struct dk_waiting {
    size_t count;
    size_t position[DK_FEW_ROWS];
};

/*
 * Scores the waiting keys in the order that defines a score's bits, for queries first ..
 * first + queries - 1 (at most 8), offers what is above the thresholds, and empties the list.
 * Returns for how many keys some score was. 'ahead' is as for the
 * kernel (kernel.h).
 */
size_t dk_waiting_score(struct dk_waiting *waiting, const struct dk_scan_job *job, size_t slot,
                        size_t first, size_t queries, const char *ahead, size_t ahead_lines);

#endif /* DOTK_TILE_WAITING_H */
