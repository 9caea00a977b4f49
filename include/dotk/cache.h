/*
 * dotk/cache.h - keys and values of the tokens so far, kept as attention reads them
 *
 *     dotk_cache_create ......... pages for one layer, shared by all its sequences; _destroy,
 *                                 _get_usage
 *     dotk_sequence_create ...... an empty sequence; _destroy, _fork, _truncate, _count
 *     dotk_sequence_add ......... more tokens
 *     dotk_sequence_get ......... what is stored, as f32
 *     dotk_cache_forward ........ attention of some queries of each of several sequences
 *
 * A model that writes text token by token computes each token's keys and values once, appends
 * them to its sequence, and attends from the new token to all before. A cache does for one layer
 * what that takes:
 *
 *   - Keys are packed as they come, into panels of 64, so that attention reads them where they
 *     lie, and every key and value once for all query heads that share a key head.
 *   - Memory comes in pages of a fixed number of keys, so a sequence grows without being moved.
 *   - Forks share the pages of their common beginning. A page that several sequences have is never
 *     written: who appends to it first takes a copy of what it needs (copy on write).
 *   - What a sequence no longer needs serves others; the cache keeps it until it is destroyed.
 *
 * Legend of shapes: H heads of queries, G heads of keys and values, D width of a query and key, E
 * width of a value, n tokens, L queries of all sequences together.
 *
 * Threads: any number of threads may create, extend, fork, truncate and destroy *different*
 * sequences of one cache at once, whether or not they share pages, while others read them. One
 * sequence has one writer: _add, _truncate and _destroy are exclusive on their sequence, and
 * everything that only reads it (_fork, _get, _count, dotk_cache_forward) is shared-read.
 *
 * Pages: Kwon et al. 2023, "Efficient memory management for large language model serving with
 * PagedAttention", arXiv 2309.06180.
 */
#ifndef DOTK_CACHE_H
#define DOTK_CACHE_H

#include <dotk/attention.h>
#include <dotk/rotary.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------- */
/*  Caches                                                                   */
/* ------------------------------------------------------------------------- */

typedef struct dotk_cache dotk_cache;

typedef struct dotk_cache_options {
    size_t struct_size;  /* set by DOTK_CACHE_OPTIONS_INIT                                     */
    size_t value_width;  /* E, up to 65536; 0: as D                                            */
    dotk_store store;    /* what keys and values are kept as                                   */
    size_t page_keys;    /* keys of a page, a multiple of 64, up to 65536; 0: 256              */
    size_t memory_limit; /* bytes that pages may take in all; 0: as much as there is           */
} dotk_cache_options;

#define DOTK_CACHE_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(dotk_cache_options), 0, DOTK_STORE_F32, 0, 0                                        \
    }

/*
 * Makes an empty cache for keys of 'heads' (G, 1 .. 65536) heads of 'width' (D, 1 .. 65536) values.
 *
 * DOTK_STORE_INT8 keeps a token's key (and value) of each head as codes and a scale:
 *
 *     scale = max |x| / 127 (0 below 2^-120)     code = the whole number nearest to x / scale, of
 *                                                two the even one; it stands for code * scale
 *
 * so each number is off by at most half a scale, and f16 and bf16 round to the nearest.
 *
 * Memory:  copies the options; *out is the caller's: release it with dotk_cache_destroy(), after
 *          its sequences. Pages are allocated when they are needed.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (heads or width out of range, page_keys no multiple of 64, a limit
 *          below one page, sizes that overflow), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_cache_create(size_t heads, size_t width,
                                       const dotk_cache_options *options, dotk_cache **out);

/* Frees the cache and its pages; its sequences must be gone. Threads: exclusive. */
DOTK_API void dotk_cache_destroy(dotk_cache *cache);

typedef struct dotk_cache_usage {
    size_t page_keys, page_bytes; /* of one page, all heads                                 */
    size_t pages;                 /* allocated so far                                       */
    size_t pages_in_use;          /* by one sequence or several; the others are free        */
} dotk_cache_usage;

/* Tells how many pages there are. Threads: shared-read. Errors: DOTK_BAD_ARGUMENT. */
DOTK_API dotk_status dotk_cache_get_usage(const dotk_cache *cache, dotk_cache_usage *out);

/* ------------------------------------------------------------------------- */
/*  Sequences                                                                */
/* ------------------------------------------------------------------------- */

typedef struct dotk_sequence dotk_sequence;

/*
 * Makes an empty sequence.
 *
 * Memory:  *out is the caller's, release it with dotk_sequence_destroy(); it borrows the cache.
 * Threads: shared-write on the cache.
 * Errors:  DOTK_BAD_ARGUMENT, DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_sequence_create(dotk_cache *cache, dotk_sequence **out);

/* Gives the sequence's pages back to the cache. Threads: exclusive. */
DOTK_API void dotk_sequence_destroy(dotk_sequence *sequence);

/*
 * Makes a sequence that begins with the first 'count' tokens of another, sharing their pages.
 *
 * Memory:  as dotk_sequence_create().
 * Threads: shared-read on the sequence.
 * Errors:  DOTK_BAD_ARGUMENT (count above the tokens there are), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_sequence_fork(const dotk_sequence *sequence, size_t count,
                                        dotk_sequence **out);

/* Keeps the first 'count' tokens. Threads: exclusive. Errors: DOTK_BAD_ARGUMENT (as fork). */
DOTK_API dotk_status dotk_sequence_truncate(dotk_sequence *sequence, size_t count);

/* The number of tokens, 0 for NULL. Threads: shared-read. */
DOTK_API size_t dotk_sequence_count(const dotk_sequence *sequence);

typedef struct dotk_sequence_add_options {
    size_t struct_size;     /* set by DOTK_SEQUENCE_ADD_OPTIONS_INIT                           */
    dotk_store store;       /* of k and v: f32, f16 or bf16                                    */
    dotk_layout key, value; /* where token i of head g lies: at g * head + i * row; 0: as in   */
                            /* dotk_attention_options. batch is not used                       */

    /* Rotary embedding of keys, by the names and rules of dotk_rotary(), which turns queries. */
    int32_t rotary;           /* 1: keys are turned before they are stored; without it the     */
                              /* rest is refused                                               */
    int32_t interleaved;      /* 0: halves, 1: interleaved                                     */
    size_t rotary_width;      /* 0: D                                                          */
    double theta;             /* 0: 10000                                                      */
    const float *frequencies; /* NULL, or (rotary_width / 2)                                   */
    const int64_t *positions; /* NULL, or (n); NULL: token i of the sequence stands at i       */
} dotk_sequence_add_options;

/* clang-format off */
#define DOTK_SEQUENCE_ADD_OPTIONS_INIT                                                             \
    {                                                                                              \
        sizeof(dotk_sequence_add_options), DOTK_STORE_F32, {0, 0, 0}, {0, 0, 0}, 0, 0, 0, 0, NULL, \
        NULL                                                                                       \
    }
/* clang-format on */

/*
 * Appends n tokens; with an error, none of them. Keys that are turned are rounded only once, to
 * what the cache stores.
 *
 *     k    (G, n, D)       v    (G, n, E)       of options->store, or (n, G, D) by strides
 *
 * Memory:  copies k and v.
 * Threads: exclusive on the sequence, shared-write on the cache.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, a stride below the width, int8 for k and v; what
 *          dotk_rotary() refuses, and its options without rotary; for an int8 cache a value that
 *          is not finite or beyond 1e38), DOTK_NO_MEMORY (the system's, or the cache's limit),
 *          DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_sequence_add(dotk_context *context, dotk_sequence *sequence, size_t n,
                                       const void *k, const void *v,
                                       const dotk_sequence_add_options *options);

/*
 * What the cache holds of tokens first .. first + n - 1, widened to f32.
 *
 *     k    (G, n, D) dense, or NULL        v    (G, n, E) dense, or NULL
 *
 * Threads: shared-read. Errors: DOTK_BAD_ARGUMENT (tokens that are not there).
 */
DOTK_API dotk_status dotk_sequence_get(const dotk_sequence *sequence, size_t first, size_t n,
                                       float *k, float *v);

/* ------------------------------------------------------------------------- */
/*  Attention                                                                */
/* ------------------------------------------------------------------------- */

/*
 * dotk_attention_forward() of 'count' packed sequences whose keys and values lie in a cache, with
 * the bits that it gives for the same keys and values as arrays (int8: codes and their scales),
 * whatever the size of a page, the number of threads and the other sequences. Any option may be
 * used; keys of all sequences are numbered on, as if key_starts counted them. Positions are those
 * of the last tokens: unless options->query_offsets says otherwise, a sequence of N tokens and Q
 * queries has N - Q there, so that causal lets the last query see every token; more queries than
 * tokens are refused. Where keys were turned (rotary), query i of Q is turned by dotk_rotary()
 * before the call, at position dotk_sequence_count() - Q + i: its token has been added by then.
 *
 *     sequences   (count) of one cache; one may come several times
 *     queries     (count): how many of the L queries are of each sequence; NULL: one each
 *     heads       H, a multiple of G
 *     q           (H, L, D), or (L, H, D) by strides; sequence after sequence
 *     out         (H, L, E), lse (H, L) dense f32 or NULL
 *     options     store is that of q and out; key, value, key_scales, value_scales, sequences,
 *                 query_starts, key_starts and query_offset must be as they are in _INIT
 *
 * Memory:  borrows everything; out and lse must not overlap an input or each other. Working memory
 *          as for dotk_attention_forward().
 * Threads: shared-read on the sequences.
 * Errors:  as dotk_attention_forward(); DOTK_BAD_ARGUMENT also for sequences of different caches.
 */
DOTK_API dotk_status dotk_cache_forward(dotk_context *context, size_t count,
                                        const dotk_sequence *const *sequences,
                                        const size_t *queries, size_t heads, const void *q,
                                        const dotk_attention_options *options, void *out,
                                        float *lse);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_CACHE_H */
