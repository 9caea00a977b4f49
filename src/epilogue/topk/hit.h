/*
 * hit.h - one found key, the order of hits, and lists of them
 *
 * Scores are bigger is better. The order is total: by score, then by id ascending; so the best
 * k of a set are one set, however it was cut into pieces on the way.
 *
 * A *heap* here has its worst hit at index 0; the children of i, at 2 i + 1 and 2 i + 2, are
 * better than i.
 */
#ifndef DOTK_EPILOGUE_TOPK_HIT_H
#define DOTK_EPILOGUE_TOPK_HIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dk_hit {
    int64_t id;
    float score;
};

static inline bool
dk_hit_better(struct dk_hit a, struct dk_hit b)
{
    return a.score > b.score || (a.score == b.score && a.id < b.id);
}

/* Puts 'hit' where heap[hole] is and restores the heap below; n entries. */
static inline void
dk_heap_sink(struct dk_hit *heap, size_t n, size_t hole, struct dk_hit hit)
{
    for (size_t child; (child = 2 * hole + 1) < n; hole = child) {
        if (child + 1 < n && dk_hit_better(heap[child], heap[child + 1]))
            child++;
        if (!dk_hit_better(hit, heap[child]))
            break;
        heap[hole] = heap[child];
    }
    heap[hole] = hit;
}

/* Makes n hits in any order a heap. */
void dk_heap_build(struct dk_hit *hits, size_t n);

/* Moves the best k of n hits, 1 <= k <= n, to the front, the worst of them to hits[k - 1]. */
void dk_hits_select(struct dk_hit *hits, size_t n, size_t k);

/* Sorts n hits in any order (a heap, too) best first, in place. */
void dk_hits_sort(struct dk_hit *hits, size_t n);

#endif /* DOTK_EPILOGUE_TOPK_HIT_H */
