/* window.h - masks under which each query sees one run of keys: lengths, causal, sliding windows */
#ifndef DOTK_MASK_WINDOW_H
#define DOTK_MASK_WINDOW_H

#include <stddef.h>
#include <stdint.h>

/*
 * Query i stands at position(i) = i + offset among the keys, and sees those keys j < length for
 * which position(i) - left <= j <= position(i) + right. Causal: right is 0.
 *
 * Promise of the caller: |offset|, left, right and i are at most 2^61, so that sums do not
 * overflow.
 */
struct dk_window {
    size_t length;
    int64_t offset;
    int64_t left, right; /* -1: without end */
};

/* Keys begin .. end - 1; begin <= end. */
struct dk_span {
    size_t begin, end;
};

/* What a query sees. Neither end of it ever falls from one query to the next. */
struct dk_span dk_window_span(const struct dk_window *window, size_t query);

#endif /* DOTK_MASK_WINDOW_H */
