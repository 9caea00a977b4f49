/*
 * hit.c - heaps, selecting and sorting, in place
 *
 * Sorting is quicksort and selecting is the half of it that follows one side (Hoare 1961, 1962),
 * with the median of three as pivot, or of three such medians. Pieces that keep splitting badly
 * are heapsorted (Musser 1997), so no order of the input takes more than n log n. Heapsort alone,
 * as it was here before, jumps through memory: a million hits took three times as long.
 */
#include "epilogue/topk/hit.h"

#include "platform/memory.h"

enum {
    SHORT = 16,    /* hits that are inserted one by one */
    NINTHER = 128, /* hits from which on three medians of three make the pivot */
};

void
dk_heap_build(struct dk_hit *hits, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        dk_heap_sink(hits, n, i, hits[i]);
}

static void
heap_sort(struct dk_hit *hits, size_t n)
{
    dk_heap_build(hits, n);
    while (n > 1) {
        const struct dk_hit last = hits[--n];
        hits[n] = hits[0];
        dk_heap_sink(hits, n, 0, last);
    }
}

static void
insertion_sort(struct dk_hit *hits, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct dk_hit hit = hits[i];
        size_t hole = i;
        for (; hole > 0 && dk_hit_better(hit, hits[hole - 1]); hole--)
            hits[hole] = hits[hole - 1];
        hits[hole] = hit;
    }
}

static struct dk_hit *
median(struct dk_hit *a, struct dk_hit *b, struct dk_hit *c)
{
    if (dk_hit_better(*b, *a))
        return dk_hit_better(*c, *b) ? b : dk_hit_better(*c, *a) ? c : a;
    return dk_hit_better(*c, *a) ? a : dk_hit_better(*c, *b) ? c : b;
}

static struct dk_hit *
pivot_of(struct dk_hit *hits, size_t n)
{
    struct dk_hit *const middle = hits + n / 2, *const last = hits + n - 1;
    const size_t step = n / 8;

    if (n < NINTHER)
        return median(hits, middle, last);
    return median(median(hits, hits + step, hits + 2 * step),
                  median(middle - step, middle, middle + step),
                  median(last - 2 * step, last - step, last));
}

static void
swap(struct dk_hit *a, struct dk_hit *b)
{
    const struct dk_hit hit = *a;
    *a = *b;
    *b = hit;
}

/*
 * Moves the hits that are better than some pivot to the front, then the pivot; returns where it is.
 * Every hit is swapped, whether it is better or not, as that takes no branch (Lomuto's way): what
 * is better cannot be predicted, and a wrong guess costs more than a swap.
 */
static size_t
split(struct dk_hit *hits, size_t n)
{
    size_t end = 1;

    swap(hits, pivot_of(hits, n));
    const struct dk_hit pivot = hits[0];
    for (size_t i = 1; i < n; i++) {
        const int64_t id = hits[i].id;
        const float score = hits[i].score;
        /* By members: a load of a whole hit would wait for its members' stores, just before. */
        hits[i].id = hits[end].id;
        hits[i].score = hits[end].score;
        hits[end].id = id;
        hits[end].score = score;
        end += (score > pivot.score) | ((score == pivot.score) & (id < pivot.id));
    }
    swap(hits, hits + end - 1);
    return end - 1;
}

/* How many times a piece may be split into a small and a large part before it is heapsorted. */
static size_t
patience_for(size_t n)
{
    size_t patience = 4;

    for (; n > 1; n /= 2)
        patience++;
    return patience;
}

/* Whether a split was bad: one part has less than an eighth. */
static bool
is_bad(size_t n, size_t at)
{
    return dk_min(at, n - at) < n / 8;
}

void
dk_hits_select(struct dk_hit *hits, size_t n, size_t k)
{
    size_t patience = patience_for(n);

    while (n > SHORT) {
        if (patience == 0) {
            heap_sort(hits, n);
            return;
        }
        const size_t at = split(hits, n);
        patience -= is_bad(n, at);
        if (k == at + 1)
            return;
        if (k <= at) {
            n = at;
        } else {
            hits += at + 1;
            n -= at + 1;
            k -= at + 1;
        }
    }
    insertion_sort(hits, n);
}

static void
sort(struct dk_hit *hits, size_t n, size_t patience)
{
    while (n > SHORT) {
        if (patience == 0) {
            heap_sort(hits, n);
            return;
        }
        const size_t at = split(hits, n), after = n - at - 1;
        patience -= is_bad(n, at);
        if (at < after) { /* the shorter part by recursion: it is log n deep */
            sort(hits, at, patience);
            hits += at + 1;
            n = after;
        } else {
            sort(hits + at + 1, after, patience);
            n = at;
        }
    }
    insertion_sort(hits, n);
}

void
dk_hits_sort(struct dk_hit *hits, size_t n)
{
    sort(hits, n, patience_for(n));
}
