/*
 * index.h - what every kind of index has in common, and what each must offer
 *
 * index.c checks arguments, once for all kinds, and calls the kind through its table. A kind is
 * one folder and one line in kinds.def.
 */
#ifndef DOTK_SEARCH_INDEX_H
#define DOTK_SEARCH_INDEX_H

#include <dotk/search.h>

#include "platform/gate.h"
#include "search/ids.h"

/* The first member of every kind's object. */
struct dotk_index {
    const struct dk_index_ops *ops;
    dotk_context *context; /* NULL allowed */
    size_t dim;
    dotk_metric metric;
    bool expect_unit;
    dotk_screen screen;
    dotk_store store;
    double delta;         /* with DOTK_SCREEN_INT4, else 0 */
    uint64_t seed;        /* likewise */
    struct dk_gate *gate; /* who may look at and change what follows, and the kind's object */
    struct dk_ids ids;
    size_t rows; /* present; stored atomically while the gate is stopped, read at any time */
};

/* A search or range search whose arguments, queries and filter have been checked. */
struct dk_request {
    size_t n, stride, k; /* a range search has no k */
    const float *queries;
    const dotk_filter *filter; /* NULL: none */
    bool clip_at_zero;
    dotk_search_stats *stats; /* never NULL; starts as zeros; seconds are not the kind's work */
    int64_t *out_ids;
    float *out_scores;  /* NULL allowed */
    size_t *out_counts; /* NULL allowed */
};

/*
 * Arguments have been checked, except that add and update check their rows (dk_check_vector());
 * strides are at least dim, n is at least 1 and float mode is ours. Each function leaves the index
 * as it was when it fails, and reports as the public function of that name.
 *
 * add, update and remove are called by one writer at a time, between dk_gate_begin() and _end();
 * they stop or clear the gate for what they change and call dk_index_publish(). search, range and
 * plan enter, settle and leave by themselves; reconstruct is called inside.
 */
struct dk_index_ops {
    const char *name;
    size_t bytes;                                  /* of the object                   */
    dotk_status (*init)(struct dotk_index *index); /* beyond struct dotk_index: zeros */
    void (*release)(struct dotk_index *index);     /* what the object owns, less ids */
    dotk_status (*add)(struct dotk_index *index, size_t n, const float *rows, size_t stride,
                       const int64_t *ids);
    dotk_status (*update)(struct dotk_index *index, size_t n, const float *rows, size_t stride,
                          const int64_t *ids);
    dotk_status (*remove)(struct dotk_index *index, size_t n, const int64_t *ids);
    void (*reconstruct)(const struct dotk_index *index, size_t position, float *out);
    dotk_status (*search)(const struct dotk_index *index, const struct dk_request *request);
    dotk_status (*range)(const struct dotk_index *index, const struct dk_request *request,
                         float threshold, dotk_hits **out);
    /* The request has n (0 allowed), k and filter. */
    dotk_status (*plan)(const struct dotk_index *index, const struct dk_request *request, char *out,
                        size_t capacity);
};

/* Opens the gate after a change: readers see the index as it is now. */
void dk_index_publish(struct dotk_index *index);

#define DK_INDEX_KIND(NAME, name) extern const struct dk_index_ops dk_index_##name;
#include "search/kinds.def"
#undef DK_INDEX_KIND

/*
 * Whether x, called what[i] in messages, may be a row or a query of this index; *sum, unless
 * NULL, gets its sum of squares. Errors: DOTK_BAD_ARGUMENT.
 */
dotk_status dk_check_vector(const struct dotk_index *index, const char *what, size_t i,
                            const float *x, double *sum);

#endif /* DOTK_SEARCH_INDEX_H */
