/* prefix.h - masks under which each query sees the first so many keys: causal, key lengths */
#ifndef DOTK_MASK_PREFIX_H
#define DOTK_MASK_PREFIX_H

#include <stdbool.h>

#include "tile/tile.h"

/* Query i sees keys j < length and, when causal, j <= i + offset. */
struct dk_prefix_mask {
    struct dk_mask mask; /* pass &prefix.mask */
    size_t length;
    bool causal;
    int64_t offset;
};

struct dk_prefix_mask dk_prefix_mask(size_t length, bool causal, int64_t offset);

/* How many keys, the first ones, a query sees. It never falls from one query to the next. */
size_t dk_prefix_mask_end(const struct dk_prefix_mask *prefix, size_t row);

#endif /* DOTK_MASK_PREFIX_H */
