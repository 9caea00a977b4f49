/*
 * dotk/search.h - find the k best-scoring rows for each query
 *
 *     dotk_index_create ........ and _destroy
 *     dotk_index_add ........... _update, _remove, _count, _reconstruct
 *     dotk_index_search ........ the k best; dotk_index_range: all beyond a threshold
 *     dotk_index_plan .......... which path a search would take, and why
 *     dotk_topk_merge .......... one list from the lists of several shards
 *
 * Metrics: dot and cosine, higher is better; l2 is the *squared* distance, lower is
 * better. "Best first" means that, then id ascending. Under cosine the library
 * normalises rows and queries itself, keeps each row's norm and refuses zero vectors.
 * Rows and queries with a NaN, an infinity or a squared norm above 2^125 (a score could
 * overflow) are refused: the whole call fails, and the message names the row.
 *
 * A flat search is exact, and its bits are the same for any number of threads, batch
 * size and instruction set (see dotk/vector.h for the order of additions).
 *
 * Rows may be added and removed while searches run. A shared-read call sees the index as
 * it is when the call begins, each change whole or not at all, and goes on seeing that.
 * Changes wait for each other. Where rows have to move (arrays grow, gaps of removed rows
 * are closed) or are updated, a change waits for the searches that have begun, and those
 * that begin meanwhile wait for it; so from a progress function that a search calls, call
 * nothing on its index but dotk_index_count(), _dim() and _metric(). Every change keeps
 * searches from beginning for a moment: while the ids given to dotk_index_add() are hashed,
 * or removed ones marked. It first waits for those that are beginning, which takes as long as
 * looking up the ids of a filter, or, where ids are given, all of the index's in a bitmap.
 * A child that was forked while another thread changed an index may do nothing with it but
 * destroy it.
 */
#ifndef DOTK_SEARCH_H
#define DOTK_SEARCH_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dotk_metric {
    DOTK_METRIC_DOT = 0,
    DOTK_METRIC_COSINE = 1,
    DOTK_METRIC_L2 = 2
} dotk_metric;

/* Returns "dot", "cosine" or "l2"; NULL for any other value. Threads: pure. */
DOTK_API const char *dotk_metric_name(dotk_metric metric);

/* Kinds of index. Values never change meaning. */
typedef enum dotk_index_kind {
    DOTK_INDEX_FLAT = 0 /* every row is considered */
} dotk_index_kind;

/*
 * What a search reads before it scores in f32. With DOTK_SCREEN_INT8 answers are the same, bit for
 * bit. With DOTK_SCREEN_INT4 the same, but for a probability of at most delta (dotk_index_options)
 * for each query that a row of the answer is missing: the next best takes its place, and in a range
 * it is just absent. All scores are exact.
 */
typedef enum dotk_screen {
    DOTK_SCREEN_NONE = 0, /* nothing                                                  */
    DOTK_SCREEN_INT8 = 1, /* a byte an element, with a proven bound: only rows that   */
                          /* the bound cannot exclude are scored                      */
    DOTK_SCREEN_INT4 = 2  /* half a byte, under a random rotation, for up to four     */
                          /* queries at a time; DOTK_STORE_F32 and dim <= 4096 only   */
} dotk_screen;

/* Stands in place of an id where fewer than k rows could be returned. */
#define DOTK_NO_ID INT64_C(-1)

typedef struct dotk_index dotk_index;

typedef struct dotk_index_options {
    size_t struct_size;   /* set by DOTK_INDEX_OPTIONS_INIT                               */
    dotk_index_kind kind; /* 0: DOTK_INDEX_FLAT                                           */
    dotk_metric metric;   /* 0: DOTK_METRIC_DOT                                           */
    int32_t expect_unit;  /* 1: refuse rows and queries with | |x| - 1 | > 1e-3           */
    dotk_screen screen;   /* 0: DOTK_SCREEN_NONE                                          */
    dotk_store store;     /* 0: DOTK_STORE_F32; see below                                 */
    double delta;         /* DOTK_SCREEN_INT4: upper limit of the probability that a      */
                          /* query's answer lacks a row, 1e-100 to below 1; 0: 1e-9. It   */
                          /* is over the draw of the rotation, for rows and queries that  */
                          /* are chosen without knowing it                                */
    uint64_t seed;        /* DOTK_SCREEN_INT4: of the rotation; 0 is one like any other.  */
                          /* Take a random one where rows or queries come from strangers  */
} dotk_index_options;

#define DOTK_INDEX_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(dotk_index_options), DOTK_INDEX_FLAT, DOTK_METRIC_DOT, 0, DOTK_SCREEN_NONE,         \
            DOTK_STORE_F32, 0, 0                                                                   \
    }

/*
 * What an index keeps of its rows is its store; queries stay f32. Scores are those of the kept
 * rows, widened to f32, so that a search is exact for what is kept, with the same bits on every
 * machine. Under cosine a row is scaled to unit length before it is rounded. Rounding is to the
 * nearest, of two to the even one; f16 refuses an element of 65520 or more (cosine: never). A
 * cosine may be above 1, by 0.03 % with f16 and 0.2 % with bf16: clamp it before acos(). An int8
 * index is searched by its codes first, with screen NONE and INT8 alike.
 */

/*
 * Makes an empty index for vectors of 'dim' f32 values, 1 <= dim <= 65536.
 *
 * Memory:  copies the options, borrows 'context' (NULL allowed) until destroyed. A
 *          flat index holds 4 * dim bytes a row (f16, bf16: 2 * dim; int8: dim + 16), plus 4
 *          (cosine) and, where the caller gives ids, about 24; with DOTK_SCREEN_INT8
 *          also dim + 16, unless the store is int8; with DOTK_SCREEN_INT4
 *          dim / 2 + 16 and, once, about 4 * dim * dim. Arrays that grow get half as much
 *          again, and are held twice meanwhile: rows added in one call take just their room.
 * Time:    with DOTK_SCREEN_INT4 a rotation is drawn: about 0.2 s at dim 768, growing with
 *          dim * dim * dim.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (dim; an unknown value; delta or seed without
 *          DOTK_SCREEN_INT4, or delta out of range; DOTK_SCREEN_INT4 with another store
 *          than f32 or dim > 4096), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_index_create(dotk_context *context, size_t dim,
                                       const dotk_index_options *options, dotk_index **out);

/* Frees the index. Threads: exclusive. */
DOTK_API void dotk_index_destroy(dotk_index *index);

/* ------------------------------------------------------------------------- */
/*  Rows                                                                     */
/* ------------------------------------------------------------------------- */

/*
 * Adds n rows. 'ids' NULL: the index assigns 0, 1, 2, ..., never using one again;
 * else n distinct ids >= 0, none present yet. Which of the two is fixed by the first
 * add that adds a row.
 *
 * Memory:  copies rows and ids. n = 0 is fine and does nothing.
 * Threads: shared-write; waits for searches only when the arrays have to grow, by half
 *          or more each time.
 * Errors:  DOTK_BAD_ARGUMENT (a bad row, one that f16 cannot hold, an id below 0 or twice
 *          in the call, ids given to an index that assigns its own or the reverse),
 *          DOTK_EXISTS (an id is present), DOTK_NO_MEMORY. Nothing is added then.
 */
DOTK_API dotk_status dotk_index_add(dotk_index *index, size_t n, const float *rows, size_t stride,
                                    const int64_t *ids);

/*
 * Replaces the rows of n distinct ids that are present.
 * Memory:  as dotk_index_add().
 * Threads: shared-write; waits for the searches that have begun.
 * Errors:  as dotk_index_add(), and DOTK_NOT_FOUND (an id is absent); nothing is changed
 *          then.
 */
DOTK_API dotk_status dotk_index_update(dotk_index *index, size_t n, const float *rows,
                                       size_t stride, const int64_t *ids);

/*
 * Removes the rows of n distinct ids. Their space is used again once they are more than a
 * sixteenth of all, if no search is under way then, or else once they are a quarter.
 *
 * Threads: shared-write; waits for searches only in the latter case.
 * Errors:  DOTK_NOT_FOUND (an id is absent), DOTK_BAD_ARGUMENT (an id twice),
 *          DOTK_NO_MEMORY; nothing is removed then.
 */
DOTK_API dotk_status dotk_index_remove(dotk_index *index, size_t n, const int64_t *ids);

/* The number of rows; the dimension; the metric. NULL: 0, 0, dot. Threads: shared-read. */
DOTK_API size_t dotk_index_count(const dotk_index *index);
DOTK_API size_t dotk_index_dim(const dotk_index *index);
DOTK_API dotk_metric dotk_index_metric(const dotk_index *index);

/*
 * out (dim values) = the row with this id, under cosine scaled back to its own norm
 * (so within 2 units in the last place of what was added; otherwise bit for bit); what is
 * left of it, where the index keeps less than f32.
 * Threads: shared-read. Errors: DOTK_NOT_FOUND.
 */
DOTK_API dotk_status dotk_index_reconstruct(const dotk_index *index, int64_t id, float *out);

/* ------------------------------------------------------------------------- */
/*  Searching                                                                */
/* ------------------------------------------------------------------------- */

/*
 * Which ids may be returned. At most one of the two forms is given; a filter with neither
 * excludes every row (no filter: leave dotk_search_params.filter NULL).
 *     bitmap      bit (id % 8), the least significant first, of byte (id / 8), for ids
 *                 below bitmap_bits; ids from there on are excluded
 *     ids         id_count ids in strictly ascending order; those absent from the index
 *                 are ignored
 */
typedef struct dotk_filter {
    const uint8_t *bitmap;
    size_t bitmap_bits;
    const int64_t *ids;
    size_t id_count;
} dotk_filter;

/* What one call did; numbers of pairs are summed over its queries. */
typedef struct dotk_search_stats {
    uint64_t rows_scored;   /* query-row pairs that the filter let through: scored, or    */
                            /* excluded by a screen                                       */
    uint64_t rows_filtered; /* pairs that the filter excluded (scored or not)             */
    uint64_t candidates;    /* scores that passed the threshold of their time: depends on */
                            /* the number of threads and, with a screen, on their timing  */
    uint64_t rows_rescored; /* pairs that a screen let through, scored in f32; 0 without. */
                            /* Depends on threads and timing, as candidates do            */
    double delta;           /* how probably, at most, an answer is not the exact one:     */
                            /* that of DOTK_SCREEN_INT4, if it excluded some row; else 0  */
    double seconds;         /* wall-clock time                                            */
    const char *path; /* static text: "few", "batch", "screened", "empty"; see dotk_index_plan() */
    const char *kernel; /* static text: the kernel that ran, "-" for none             */
} dotk_search_stats;

typedef struct dotk_search_params {
    size_t struct_size;        /* set by DOTK_SEARCH_PARAMS_INIT                           */
    const dotk_filter *filter; /* NULL: every row                                          */
    int32_t clip_at_zero;      /* 1: report max(score, 0); order, choice and the filling   */
                               /* where rows are lacking do not change                     */
    dotk_search_stats *stats;  /* NULL, or receives what the call did                      */
} dotk_search_params;

#define DOTK_SEARCH_PARAMS_INIT                                                                    \
    {                                                                                              \
        sizeof(dotk_search_params), NULL, 0, NULL                                                  \
    }

/*
 * Finds the k best rows for each of n queries.
 *
 *     queries     n rows of dim values
 *     k           1 .. anything; rows beyond the number found are filled with
 *                 DOTK_NO_ID and the worst score (-INFINITY; l2: INFINITY)
 *     params      NULL: no filter, no clipping
 *     out_ids     (n, k)
 *     out_scores  (n, k), or NULL
 *     out_counts  (n): how many were found, or NULL
 *
 * Memory:  borrows everything. Working memory is O(k) for each query in flight and
 *          thread, up to 4 * dim bytes a query, and a bit a row under a filter or after
 *          removals; none is allocated once the context has served a call of that size.
 * Threads: shared-read.
 * Errors:  DOTK_BAD_ARGUMENT (k = 0, n * k overflows, stride < dim, a bad query, a bad
 *          filter), DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_index_search(const dotk_index *index, size_t n, const float *queries,
                                       size_t stride, size_t k, const dotk_search_params *params,
                                       int64_t *out_ids, float *out_scores, size_t *out_counts);

/* The answer of a range search; query i owns entries starts[i] .. starts[i + 1] - 1. */
typedef struct dotk_hits {
    size_t query_count;
    size_t *starts; /* query_count + 1 */
    int64_t *ids;   /* best first within a query */
    float *scores;
} dotk_hits;

/*
 * Finds every row with score >= threshold (dot, cosine) or <= threshold (l2).
 *
 * Memory:  *out is the caller's: release it with dotk_hits_destroy().
 * Threads: shared-read. Errors: as dotk_index_search(); a NaN threshold.
 */
DOTK_API dotk_status dotk_index_range(const dotk_index *index, size_t n, const float *queries,
                                      size_t stride, float threshold,
                                      const dotk_search_params *params, dotk_hits **out);

DOTK_API void dotk_hits_destroy(dotk_hits *hits);

/*
 * Writes one line saying which path and kernel dotk_index_search(n, k, params) would
 * take on this index now, and why; always terminated, cut to 'capacity' bytes. The first
 * two words are the path and kernel that dotk_search_stats would report.
 * Threads: shared-read. Errors: DOTK_BAD_ARGUMENT, DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_index_plan(const dotk_index *index, size_t n, size_t k,
                                     const dotk_search_params *params, char *out, size_t capacity);

/*
 * Merges 'lists' best-first lists of k entries each (a shard's row of out_ids and
 * out_scores, DOTK_NO_ID entries included) into the k best of all. Exact: the result is
 * that of one search over the union, where each row has an id of its own across all shards
 * (give ids; shards that assign their own use the same ones) and scores were not clipped.
 * The same id in two lists is kept once, best first. With DOTK_SCREEN_INT4 the
 * probabilities of the shards add up.
 *
 *     ids, scores           (lists, k)
 *     out_ids, out_scores   k entries; must not overlap the inputs
 *
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT (k = 0, an id below DOTK_NO_ID, a NaN score),
 *          DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_topk_merge(dotk_metric metric, size_t lists, size_t k, const int64_t *ids,
                                     const float *scores, int64_t *out_ids, float *out_scores);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_SEARCH_H */
