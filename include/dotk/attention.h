/*
 * dotk/attention.h - softmax(Q K^T * scale) V without the score matrix
 *
 *     dotk_attention_forward ... output and log-sum-exp
 *     dotk_attention_weights ... the weights themselves, where someone wants to see them
 *     dotk_attention_merge ..... one answer from the answers of several shards
 *     dotk_attention_plan ...... which path a call would take, and why
 *
 * Legend of shapes: B batch, H heads, L queries, S keys, D width of a query and key,
 * E width of a value and of an output row.
 *
 * A key that a mask or a length excludes has no influence, NaN included, and slots
 * beyond a key length are never touched in memory. A query with nothing to attend to
 * gives zeros (and a log-sum-exp of -INFINITY). A NaN that is not masked gives NaN.
 *
 * Sums restart at chunks of 1,024 keys counted from key 0, and chunks are merged from
 * left to right; work is cut only there. So the bits of a row do not depend on threads,
 * on the batch, or on how many queries are asked at once: decoding one query gives the
 * bits of a whole prefill. Between instruction sets they may differ, within the bound below.
 *
 * |out - exact| <= 2e-6 * max |V| of the row, for scores of a size that softmax can tell
 * apart in f32 (|score| up to about 20).
 *
 * Method: online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867), blocked as in
 * FlashAttention (Dao et al. 2022, arXiv 2205.14135), with the running maximum moved only
 * when a score exceeds it by 2^8.
 */
#ifndef DOTK_ATTENTION_H
#define DOTK_ATTENTION_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Where a (B, H, rows, width) array lies: element strides; the width is contiguous. 0 stands
 * for "one after the other": row = width, head = rows * row, batch = heads * head. An array
 * that lies as (B, rows, H, width) has row = H * width, head = width, batch = rows * row.
 */
typedef struct dotk_layout {
    size_t batch, head, row;
} dotk_layout;

/* What one call did. */
typedef struct dotk_attention_stats {
    uint64_t pairs;     /* query-key pairs that a mask or length did not exclude               */
    double seconds;     /* wall-clock time                                                     */
    const char *path;   /* static text: "rows", "chunks", "empty"; see dotk_attention_plan()   */
    const char *kernel; /* static text: the kernel that ran, "-" for none                      */
} dotk_attention_stats;

typedef struct dotk_attention_shape {
    size_t batch, heads, queries, keys; /* B, H, L, S: any of them may be 0      */
    size_t width;                       /* D, 1 .. 65536                         */
    size_t value_width;                 /* E; 0: as D                            */
} dotk_attention_shape;

typedef struct dotk_attention_options {
    size_t struct_size; /* set by DOTK_ATTENTION_OPTIONS_INIT                       */
    float scale;        /* used when has_scale; default 1 / sqrt(D)                 */
    int32_t has_scale;
    int32_t causal;            /* 1: query i sees keys j <= i + causal_offset              */
    int64_t causal_offset;     /* 0: top-left; S - L: bottom-right (a cache before L)      */
    const size_t *key_lengths; /* NULL, or (B): keys from there on do not exist            */
    dotk_layout query, key, value, output;
    dotk_attention_stats *stats; /* NULL, or receives what the call did                        */
} dotk_attention_options;

/* clang-format off */
#define DOTK_ATTENTION_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(dotk_attention_options), 0, 0, 0, 0, NULL,                                          \
        {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, NULL                                           \
    }
/* clang-format on */

/*
 * out = softmax(Q K^T * scale, masked) V.
 *
 *     q    (B, H, L, D)     k    (B, H, S, D)     v    (B, H, S, E)
 *     out  (B, H, L, E)     lse  (B, H, L) dense, natural logarithm, or NULL
 *
 * Memory:  borrows everything; out and lse must not overlap an input or each other. Working
 *          memory is at most 2 MiB a thread for widths up to 256, so less than 16 MiB for 8
 *          threads, and for few queries 5 MiB more, for merging; none is allocated once the
 *          context has served a call of that size.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, width 0, a stride below the width, rows of out that
 *          overlap, a key length above S, a scale that is not finite, overlap, sizes that
 *          overflow), DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_attention_forward(dotk_context *context,
                                            const dotk_attention_shape *shape, const float *q,
                                            const float *k, const float *v,
                                            const dotk_attention_options *options, float *out,
                                            float *lse);

/*
 * weights (B, H, L, S), dense = softmax(Q K^T * scale, masked): the one call that stores
 * the matrix, because the caller wants to look at it. Masked entries are 0.
 * Memory, Threads, Errors: as dotk_attention_forward().
 */
DOTK_API dotk_status dotk_attention_weights(dotk_context *context,
                                            const dotk_attention_shape *shape, const float *q,
                                            const float *k, const dotk_attention_options *options,
                                            float *weights);

/*
 * Merges two answers for the same queries over disjoint sets of keys, (out_a, lse_a)
 * and (out_b, lse_b), into the answer over the union; the result may be written over
 * either input. Relative error <= 8 * 2^-24 of the larger |out| beside that of the inputs.
 *
 *     rows, width        out_a, out_b, out are (rows, width) dense; lse_* are (rows)
 *
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT.
 */
DOTK_API dotk_status dotk_attention_merge(size_t rows, size_t width, const float *out_a,
                                          const float *lse_a, const float *out_b,
                                          const float *lse_b, float *out, float *lse);

/*
 * Writes one line saying which path and kernel dotk_attention_forward() would take, and
 * why; terminated, cut to 'capacity' bytes. The first two words are the path and kernel that
 * dotk_attention_stats would report. Threads: pure. Errors: as forward.
 */
DOTK_API dotk_status dotk_attention_plan(dotk_context *context, const dotk_attention_shape *shape,
                                         const dotk_attention_options *options, char *out,
                                         size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_ATTENTION_H */
