/*
 * dotk/attention.h - softmax(Q K^T * scale) V without the score matrix
 *
 *     dotk_attention_forward .... output and log-sum-exp
 *     dotk_attention_backward ... gradients, from the log-sum-exp
 *     dotk_attention_weights .... the weights themselves, of each head or averaged
 *     dotk_attention_scores ..... what softmax is taken of, and the steps to it
 *     dotk_attention_merge ...... one answer from the answers of several shards
 *     dotk_attention_plan ....... which path a call would take, and why
 *
 * Legend of shapes: B batch, H heads of queries, G heads of keys and values (H a multiple of G),
 * L queries, S keys, D width of a query and key, E width of a value and of an output row.
 *
 * The score of query i and key j, in this order; position(i) = i + query_offset, or + that of
 * query_offsets for its batch entry; with packed sequences i and j count from their sequence's
 * beginning:
 *
 *     s = scale * q_i . k_j
 *     s = softcap * tanh(s / softcap)                         with a softcap
 *     s = s + bias[i][j]                                      with an additive mask
 *     s = s - slopes[h] * |position(i) - j|                   with ALiBi slopes
 *
 * A key counts for a query unless something excludes it: the key lengths (key lengths, packed
 * sequences), causal (j > position(i)), a window (j < position(i) - window_left or
 * j > position(i) + window_right), a boolean mask (0), a block that is not listed, or a bias of
 * -INFINITY. Weights are the softmax of the scores of the keys that count, with e^sinks[h] in
 * the denominator where there are sinks; dropout zeroes some of them and multiplies the others by
 * 1 / (1 - dropout); the output is their sum of values.
 *
 * A key that does not count has no influence, NaN included, and slots beyond a key length are
 * never touched in memory. A query with nothing to attend to gives zeros (and, without sinks, a
 * log-sum-exp of -INFINITY). A NaN that counts gives NaN.
 *
 * Sums restart at chunks of 1,024 keys counted from key 0, and chunks are merged from left to
 * right; work is cut only there. So the bits of a row do not depend on threads, on the batch, or
 * on how many queries are asked at once: decoding one query gives the bits of a whole prefill.
 * Between instruction sets they may differ, within the bound below.
 *
 * Dropout is drawn for a batch entry b, head h, query i and key j, and is the same on every
 * machine: the weight is dropped when word j % 4 of Philox4x32-10 (Salmon et al. 2011), of which
 * the seed is the key and (j / 4, i, b H + h, j / 2^34) the counter, is below dropout * 2^32. In
 * packed sequences i counts from the first query of all, j from the sequence's first key.
 *
 * f32: |out - exact| <= 2e-6 * max |V| of the row, for scores of a size that softmax can tell
 * apart in f32 (|score| up to about 20). bf16, f16: sums are f32; the error is at most twice that
 * of the textbook's computation in that type.
 *
 * Method: online softmax (Milakov and Gimelshein 2018, arXiv 1805.02867), blocked as in
 * FlashAttention (Dao et al. 2022, arXiv 2205.14135), with the running maximum moved only
 * when a score exceeds it by 2^8. ALiBi: Press et al. 2021, arXiv 2108.12409; softcap: Gemma 2,
 * arXiv 2408.00118; sinks: Xiao et al. 2023, arXiv 2309.17453, as a logit without a value.
 */
#ifndef DOTK_ATTENTION_H
#define DOTK_ATTENTION_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What one call did. */
typedef struct dotk_attention_stats {
    uint64_t pairs;     /* query-key pairs that a mask or length did not exclude               */
    double seconds;     /* wall-clock time                                                     */
    const char *path;   /* static text: "rows", "chunks", "empty"; see dotk_attention_plan();  */
                        /* backward: "heads", or "blocks" where those are too few, "empty"     */
    const char *kernel; /* static text: the kernel that ran, "-" for none                      */
} dotk_attention_stats;

/*
 * What became of one block of keys for one query: 256 keys, 64 where D is above 1,024. Scores are
 * made in tiles of up to 6 queries (of the heads that share keys) by 64 keys, and a tile of which
 * no query sees a key is skipped.
 */
typedef struct dotk_attention_step {
    size_t key, keys; /* the block: keys key .. key + keys - 1                                 */
    uint32_t weighed; /* bit t: scores of the tile with keys key + 64 t .. were made; 0: none  */
    float maximum;    /* after it, of the chunk of 1,024 keys so far: the running maximum, a   */
                      /* multiple of log(2), at most 8 log(2) below the largest score, or      */
                      /* -INFINITY ...                                                         */
    float sum;        /* ... and the running sum of e^(score - maximum)                        */
} dotk_attention_step;

/* One query to follow through a call. */
typedef struct dotk_attention_watch {
    size_t entry, head, query;  /* of which batch entry (or sequence) and head, which query    */
    size_t capacity;            /* room in steps                                               */
    dotk_attention_step *steps; /* (capacity): receives a step for each block of keys          */
    size_t count;               /* receives how many blocks there are, room or not             */
} dotk_attention_watch;

typedef struct dotk_attention_shape {
    size_t batch, heads, queries, keys; /* B, H, L, S: any of them may be 0                   */
    size_t width;                       /* D, 1 .. 65536                                      */
    size_t value_width;                 /* E; 0: as D                                         */
    size_t key_heads;                   /* G; 0: as H. Query head h looks at key head h/(H/G) */
} dotk_attention_shape;

/*
 * Which blocks of the score matrix count, row after row of blocks (CSR). Block row i covers queries
 * i * rows .. and lists its block columns, ascending, in columns[starts[i] .. starts[i + 1] - 1];
 * block column c covers keys c * cols .. . The last row and column of blocks may be cut short. With
 * packed sequences the lists are those of the longest, and others use their beginnings.
 */
typedef struct dotk_attention_blocks {
    size_t rows, cols;     /* of a block, at least 1                                       */
    const size_t *starts;  /* (ceil(L / rows) + 1), or one such list after another a head  */
    const size_t *columns; /* (starts[last])                                               */
    int32_t per_head;      /* 1: starts is (H, ceil(L / rows) + 1), all into one 'columns' */
} dotk_attention_blocks;

typedef struct dotk_attention_options {
    size_t struct_size; /* set by DOTK_ATTENTION_OPTIONS_INIT                              */
    float scale;        /* with has_scale; default 1 / sqrt(D)                             */
    int32_t has_scale;
    dotk_layout query, key, value, output;
    dotk_attention_stats *stats; /* NULL, or receives what the call did                    */

    /* What the arrays are made of. */
    dotk_store store;          /* of q, k, v, out and gradients: f32, f16 or bf16          */
    const float *key_scales;   /* NULL, or (B, G, S) dense: k is of int8_t, and key j its  */
                               /* numbers times its scale. From x they are made by         */
                               /* scale = max |x| / 127, code = nearest(x / scale), or 0 */
    const float *value_scales; /* the same for v: either one may be int8 and the other of  */
                               /* 'store', and q and out always are                        */

    /* Which keys count. */
    int32_t causal;                      /* 1: query i sees keys j <= i + query_offset            */
    int32_t has_window;                  /* 1: the two numbers below count; 0: leave them 0       */
    int64_t window_left;                 /* keys before the query's position; -1: all             */
    int64_t window_right;                /* keys after it; -1: all                                */
    int64_t query_offset;                /* the place of query 0 among the keys, -L .. S. 0:      */
                                         /* top-left; S - L: bottom-right (a cache before L)      */
    const int64_t *query_offsets;        /* NULL, or (B): one for each batch entry, for which     */
                                         /* bottom-right is key_lengths[b] - L                    */
    const size_t *key_lengths;           /* NULL, or (B): keys from there on do not exist         */
    const uint8_t *mask;                 /* NULL, or rows of S bytes: 0 excludes the key          */
    dotk_layout mask_layout;             /* its strides; 0: the same for all of that axis. Of     */
                                         /* (L, S): row = S; (H, L, S): row = S, head = L * S.    */
                                         /* Left at 0, row 0 serves every query                   */
    const dotk_attention_blocks *blocks; /* NULL, or the only blocks that count                   */

    /*
     * Packed sequences: with sequences > 0, B is 1 and q, k, v, out, lse, mask and bias hold
     * them one after the other: sequence n has queries query_starts[n] .. query_starts[n + 1]
     * - 1 and the keys that key_starts says; query_offsets, key_lengths and blocks then count
     * from a sequence's beginning, and the first two have one entry a sequence. Bottom-right
     * then takes query_offsets: keys less queries of each sequence.
     */
    size_t sequences;
    const size_t *query_starts, *key_starts; /* (sequences + 1), from 0 to L and S         */

    /* What is done to the scores and weights. */
    float softcap;           /* 0: none                                                    */
    float dropout;           /* 0 <= dropout < 1                                           */
    uint64_t seed;           /* of dropout: the same seed drops the same weights           */
    const float *bias;       /* NULL, or rows of S values: an additive mask                */
    dotk_layout bias_layout; /* its strides, by the rule of mask_layout: (L, S): row = S;  */
                             /* (H, L, S): row = S, head = L * S; left at 0, row 0 serves  */
                             /* every query                                                */
    const float *slopes;     /* NULL, or (H): ALiBi                                        */
    const float *sinks;      /* NULL, or (H): logits that take weight and have no value    */

    dotk_attention_watch *watch; /* NULL, or a query to follow; only forward looks at it   */
} dotk_attention_options;

/* clang-format off */
#define DOTK_ATTENTION_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(dotk_attention_options), 0, 0, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, NULL,    \
        DOTK_STORE_F32, NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL, {0, 0, 0}, NULL,              \
        0, NULL, NULL, 0, 0, 0, NULL, {0, 0, 0}, NULL, NULL, NULL                                  \
    }
/* clang-format on */

/*
 * out = the weighted sums of values.
 *
 *     q    (B, H, L, D)     k    (B, G, S, D)     v    (B, G, S, E)     of options->store
 *     out  (B, H, L, E)     lse  (B, H, L) dense f32, natural logarithm, or NULL
 *
 * Memory:  borrows everything; out and lse must not overlap an input or each other. Working
 *          memory, for widths up to 256: at most 2 MiB a thread, and with few queries 5 MiB for
 *          all threads together, for merging (with 8 threads 16 MiB, 21 MiB with few queries);
 *          none is allocated once the context has served a call of that size.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, width 0, a stride below the width or only some strides, rows
 *          of out that overlap, a key length above S, a scale that is not finite, a value whose
 *          switch is 0, overlap, sizes that overflow), DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_attention_forward(dotk_context *context,
                                            const dotk_attention_shape *shape, const void *q,
                                            const void *k, const void *v,
                                            const dotk_attention_options *options, void *out,
                                            float *lse);

/*
 * The weights that dotk_attention_forward() sums values with, after dropout; 0 for keys that do not
 * count. The one call that stores the matrix, because the caller wants to look at it.
 *
 *     q, k      as dotk_attention_forward() has them
 *     average   1: the mean over all heads, of which no single one is stored
 *     weights   (B, H, L, S) dense f32; average: (B, L, S)
 *
 * Without dropout a row sums to 1, to less where a sink has a share, and to 0 where no key counts.
 * Weights are within 2e-6 of the exact ones for scores up to about 20. options->stats is left
 * alone.
 *
 * Memory:  as dotk_attention_forward(); a row's weights are made again from its log-sum-exp.
 * Threads: pure.
 * Errors:  as dotk_attention_forward().
 */
DOTK_API dotk_status dotk_attention_weights(dotk_context *context,
                                            const dotk_attention_shape *shape, const void *q,
                                            const void *k, const dotk_attention_options *options,
                                            int32_t average, float *weights);

/* How far the scores of dotk_attention_scores() have come on their way to softmax. */
typedef enum dotk_attention_stage {
    DOTK_STAGE_PRODUCT = 0, /* scale * q . k                                          */
    DOTK_STAGE_CAPPED = 1,  /* after the softcap                                      */
    DOTK_STAGE_MASKED = 2   /* with bias and slopes; -INFINITY for keys that do not count */
} dotk_attention_stage;

/*
 * scores (B, H, L, S), dense f32 = the scores at that stage. Keys that do not exist (beyond a key
 * length, or of another packed sequence) have -INFINITY at every stage.
 * Memory, Threads, Errors: as dotk_attention_weights().
 */
DOTK_API dotk_status dotk_attention_scores(dotk_context *context, const dotk_attention_shape *shape,
                                           const void *q, const void *k,
                                           const dotk_attention_options *options,
                                           dotk_attention_stage stage, float *scores);

/*
 * Where dotk_attention_backward() writes gradients: each has the layout, and the type, of the array
 * that it belongs to, and what was there is overwritten. NULL: not wanted.
 */
typedef struct dotk_attention_gradients {
    size_t struct_size; /* set by DOTK_ATTENTION_GRADIENTS_INIT                             */
    void *q, *k, *v;    /* of options->store                                                */
    float *bias;        /* by options->bias_layout; summed over axes whose stride is 0      */
    float *sinks;       /* (H): summed over batch and queries                               */
} dotk_attention_gradients;

#define DOTK_ATTENTION_GRADIENTS_INIT                                                              \
    {                                                                                              \
        sizeof(dotk_attention_gradients), NULL, NULL, NULL, NULL, NULL                             \
    }

/*
 * gradients = those of a loss by q, k, v and the like, from 'd_out', that of the loss by out.
 *
 *     q, k, v, options   as dotk_attention_forward() had them: masks, dropout's rate and seed, all
 *     out, lse           what it wrote
 *     d_out              (B, H, L, E) as out lies and of its type
 *
 * A wrong out, lse or seed cannot be noticed, and gives wrong gradients. int8 keys and values have
 * none. What does not count has no influence, NaN in its q, k, v or d_out included, and a gradient
 * of 0: queries that see nothing (or whose log-sum-exp is below -1e30, where f32 cannot tell scores
 * apart), keys that nobody sees and those beyond a key length (which are not read, while their
 * gradients are written).
 *
 * Nothing of size L x S is stored: weights are worked out again from the log-sum-exp, at most 256
 * keys by 192 queries at a time. A gradient is one sum for each such block, added in order, in f32
 * whatever the type; so its bits do not depend on threads, on the batch or on other heads.
 *
 * Error, f32: |error| <= 4e-6 times the sum of the absolute values of what is added up for it (the
 * products in doc/numerics.md, "Gradients of attention"), for scores as in the bound above. bf16,
 * f16: at most twice that of the textbook's computation in that type.
 *
 * Memory:  borrows everything; gradients must not overlap an input or each other. Working memory:
 *          4 * B * H * L bytes, 2 MiB a thread for widths up to 256, and 8 MiB for halves; none is
 *          allocated once the context has served a call of that size.
 * Threads: pure.
 * Errors:  as dotk_attention_forward(); also DOTK_BAD_ARGUMENT where lse is NULL, or a gradient is
 *          wanted of a bias or sinks that are not there; DOTK_UNSUPPORTED for int8.
 *
 * Method: FlashAttention's backward pass (Dao et al. 2022, arXiv 2205.14135, appendix B.2).
 */
DOTK_API dotk_status dotk_attention_backward(dotk_context *context,
                                             const dotk_attention_shape *shape, const void *q,
                                             const void *k, const void *v,
                                             const dotk_attention_options *options, const void *out,
                                             const float *lse, const void *d_out,
                                             const dotk_attention_gradients *gradients);

/*
 * Merges two answers for the same queries over disjoint sets of keys, (out_a, lse_a)
 * and (out_b, lse_b), into the answer over the union; the result may be written over
 * either input. Relative error <= 8 * 2^-24 of the larger |out| beside that of the inputs.
 *
 *     rows, width        out_a, out_b, out are (rows, width) dense; lse_* are (rows); all f32
 *
 * Widen halves first (dotk_widen()). Sinks go to one shard's call only, or they take their weight
 * twice. What looks at a query's position (causal, windows, ALiBi slopes) needs one call over all
 * keys, since each call counts keys from its own first one and query_offset does not reach beyond
 * a shard. Dropout numbers keys so too: shards drop other weights than one call over the union
 * would, and want seeds of their own.
 *
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT.
 */
DOTK_API dotk_status dotk_attention_merge(size_t rows, size_t width, const float *out_a,
                                          const float *lse_a, const float *out_b,
                                          const float *lse_b, float *out, float *lse);

/*
 * Writes one line saying which path and kernel dotk_attention_forward() would take, and
 * why; terminated, cut to 'capacity' bytes. The first two words are the path and kernel that
 * dotk_attention_stats would report. Path "rows": a task is a group of queries with all the keys
 * they see; "chunks": a group of queries with one chunk of 1,024 keys, so that few queries occupy
 * all threads, and the answers are merged; "empty": nothing to attend to. The path changes no bit.
 * Threads: pure. Errors: as forward.
 */
DOTK_API dotk_status dotk_attention_plan(dotk_context *context, const dotk_attention_shape *shape,
                                         const dotk_attention_options *options, char *out,
                                         size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_ATTENTION_H */
