/* problem.h - one attention call, its arguments checked and its defaults filled in */
#ifndef DOTK_ATTENTION_PROBLEM_H
#define DOTK_ATTENTION_PROBLEM_H

#include <dotk/attention.h>

#include "mask/prefix.h"

struct dk_attention {
    size_t batch, heads, queries, keys; /* B, H, L, S */
    size_t dim, width;                  /* D, E       */
    double scale;
    bool causal;
    int64_t query_offset;
    const size_t *key_lengths;
    dotk_layout query, key, value, output; /* no zeros stand for a default any more */
    const float *q, *k, *v;
    float *out, *lse;
};

/* Checks everything but the arrays, which it leaves NULL. Errors: DOTK_BAD_ARGUMENT. */
dotk_status dk_attention_describe(const dotk_attention_shape *shape,
                                  const dotk_attention_options *options, struct dk_attention *out);

/* Which keys the queries of batch entry b see. */
struct dk_prefix_mask dk_attention_mask(const struct dk_attention *problem, size_t b);

/* One array of a call, for dk_attention_check_arrays(). */
struct dk_attention_array {
    const char *name;
    const void *start;
    size_t rows, width;
    dotk_layout layout;
    bool written;
};

/*
 * Checks that arrays are there (unless they are empty) and that no written one overlaps another.
 * A NULL start with width 0 stands for an array that is not given.
 */
dotk_status dk_attention_check_arrays(const struct dk_attention *problem,
                                      const struct dk_attention_array *arrays, size_t count);

/* Where head h of batch entry b begins. */
static inline size_t
dk_attention_head(const dotk_layout *layout, size_t b, size_t h)
{
    return b * layout->batch + h * layout->head;
}

#endif /* DOTK_ATTENTION_PROBLEM_H */
