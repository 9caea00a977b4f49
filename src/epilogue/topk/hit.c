/* hit.c - heaps and sorting in place: heapsort (Williams and Floyd 1964), needing no memory */
#include "epilogue/topk/hit.h"

void
dk_heap_build(struct dk_hit *hits, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        dk_heap_sink(hits, n, i, hits[i]);
}

void
dk_heap_sort(struct dk_hit *heap, size_t n, size_t left)
{
    while (n > left) {
        const struct dk_hit last = heap[--n];
        heap[n] = heap[0];
        dk_heap_sink(heap, n, 0, last);
    }
}

void
dk_hits_sort(struct dk_hit *hits, size_t n)
{
    dk_heap_build(hits, n);
    dk_heap_sort(hits, n, 1);
}
