/* problem.h - one attention call, its arguments checked and its defaults filled in */
#ifndef DOTK_ATTENTION_PROBLEM_H
#define DOTK_ATTENTION_PROBLEM_H

#include <dotk/attention.h>

#include "mask/window.h"
#include "tile/tile.h"

struct dk_attention {
    size_t batch, heads, queries, keys; /* B, H, L, S */
    size_t dim, width;                  /* D, E       */
    size_t key_heads, group;            /* G, H / G   */
    size_t entries;                     /* batch entries or packed sequences: see below */
    size_t block_rows;                  /* of the longest entry, where blocks are given */
    double scale;
    dotk_attention_options options; /* strides of 0 are gone; windows are no longer than needed */
    const void *q, *k, *v;
    const struct dk_cached *cached; /* NULL; else keys and values lie in a cache: cached.h */
    void *out;
    float *lse;
};

/*
 * What attends by itself: a batch entry, or one of the packed sequences. 'query' and 'key' are its
 * first rows in the arrays of its batch entry.
 */
struct dk_attend_entry {
    size_t batch, query, queries, key;
    struct dk_window window; /* window.length: the keys that exist */
};

/* Checks everything but the arrays, which it leaves NULL. Errors: DOTK_BAD_ARGUMENT. */
dotk_status dk_attention_describe(const dotk_attention_shape *shape,
                                  const dotk_attention_options *options, struct dk_attention *out);

struct dk_attend_entry dk_attention_entry(const struct dk_attention *problem, size_t index);

/* How many entries, the first ones, there are to look at: all others are like the first. */
size_t dk_attention_distinct(const struct dk_attention *problem);

/* Whether no query can have a key: what plans and statistics call "empty". */
bool dk_attention_empty(const struct dk_attention *problem);

/* Bytes of a number of q and out, and of k and v (which may be int8). */
size_t dk_attention_size(const struct dk_attention *problem);
size_t dk_attention_key_size(const struct dk_attention *problem);
size_t dk_attention_value_size(const struct dk_attention *problem);

/* One array of a call, for dk_attention_check_arrays(). */
struct dk_attention_array {
    const char *name;
    const void *start;
    size_t heads, rows, width;
    dotk_layout layout;
    size_t size; /* of a number */
    bool written;
};

/*
 * Checks that arrays are there (unless they are empty) and that no written one overlaps another,
 * a mask or a bias. A NULL start with width 0 stands for an array that is not given.
 */
dotk_status dk_attention_check_arrays(const struct dk_attention *problem,
                                      const struct dk_attention_array *arrays, size_t count);

/* Where head h of batch entry b begins, in numbers. */
static inline size_t
dk_attention_head(const dotk_layout *layout, size_t b, size_t h)
{
    return b * layout->batch + h * layout->head;
}

/*
 * Query heads that share keys are rows of one tile: row r of a key head is query r / group of
 * query head key_head * group + r % group.
 */
static inline size_t
dk_attention_query(const struct dk_attention *problem, size_t row)
{
    return problem->group == 1 ? row : row / problem->group;
}

static inline size_t
dk_attention_query_head(const struct dk_attention *problem, size_t key_head, size_t row)
{
    return key_head * problem->group + (problem->group == 1 ? 0 : row % problem->group);
}

/* Where a row's query, output (by its layout) and log-sum-exp lie, in numbers. */
static inline size_t
dk_attention_row(const struct dk_attention *problem, const dotk_layout *layout,
                 const struct dk_attend_entry *entry, size_t key_head, size_t row)
{
    const size_t head = dk_attention_query_head(problem, key_head, row);
    return dk_attention_head(layout, entry->batch, head) +
           (entry->query + dk_attention_query(problem, row)) * layout->row;
}

static inline size_t
dk_attention_lse(const struct dk_attention *problem, const struct dk_attend_entry *entry,
                 size_t key_head, size_t row)
{
    const size_t head = dk_attention_query_head(problem, key_head, row);
    return (entry->batch * problem->heads + head) * problem->queries + entry->query +
           dk_attention_query(problem, row);
}

#endif /* DOTK_ATTENTION_PROBLEM_H */
