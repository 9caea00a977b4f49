/*
 * dotk/linear_attention.h - attention with a running state in place of all keys
 *
 *     dotk_linear_attention ..... a stretch of tokens: outputs, and the state after them
 *
 * Legend of shapes: B batch, H heads of queries, G heads of keys and values (H a multiple of G),
 * T tokens, D width of a query and key, E width of a value and of an output row. S is a state here,
 * where dotk/attention.h has a number of keys.
 *
 * Each key head has a state, a matrix S (D, E) that begins as zeros, or as what an earlier call
 * left. Tokens pass one after the other; token t sees itself and what came before. With k, v of
 * the key head, g = decay (a number for each key dimension, or one for all) and b = beta:
 *
 *     linear         S = S + k v^T
 *     gated          S = diag(e^g) S + k v^T
 *     delta          S = S + b k (v - S^T k)^T
 *     gated delta    S = diag(e^g) S, then as delta
 *
 *     out = scale * S^T q                             for each of the query heads h with h / (H/G)
 *
 * These are the update rules of ONNX's LinearAttention (opset 27): GLA, RetNet and Mamba-2 are
 * gated, DeltaNet is delta, Gated DeltaNet and KDA are gated delta. g is a logarithm, so usually
 * negative; for delta rules keys usually have length 1 and 0 <= b <= 1. None of this is checked.
 *
 * Linear attention in its first form (Katharopoulos et al. 2020) is the rule linear with the
 * feature map elu + 1, put to queries and keys, and 'normalize': the state has one column more, the
 * sum of keys z, and out = S^T q / (z^T q); 0 where that divisor is 0.
 *
 * There is a forward pass only: gradients of linear attention are not there.
 *
 * Time and memory of a token do not depend on how many came before it. The state is f32, and work
 * is done token by token: how a sequence is cut into calls does not change a bit, nor do threads,
 * the place in the batch, or the instruction set. Sums over d are chains of fused multiply-adds in
 * order: |sum - exact| <= (D + 1) 2^-24 sum |terms|.
 *
 * Methods: Katharopoulos et al. 2020 (arXiv 2006.16236); Schlag, Irie and Schmidhuber 2021 (the
 * delta rule, arXiv 2102.11174); Yang et al. 2023 (GLA, arXiv 2312.06635) and 2024 (Gated DeltaNet,
 * arXiv 2412.06464).
 */
#ifndef DOTK_LINEAR_ATTENTION_H
#define DOTK_LINEAR_ATTENTION_H

#include <dotk/attention.h>
#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dotk_linear_rule {
    DOTK_LINEAR = 0,
    DOTK_LINEAR_GATED = 1,
    DOTK_LINEAR_DELTA = 2,
    DOTK_LINEAR_GATED_DELTA = 3
} dotk_linear_rule;

/* What is done to each number of queries and keys before anything else. */
typedef enum dotk_feature_map {
    DOTK_FEATURE_NONE = 0,
    DOTK_FEATURE_ELU_PLUS_1 = 1 /* x + 1 above 0, else e^x */
} dotk_feature_map;

typedef struct dotk_linear_attention_shape {
    size_t batch, heads, tokens; /* B, H, T: any of them may be 0                            */
    size_t width;                /* D, 1 .. 65536                                            */
    size_t value_width;          /* E; 0: as D                                               */
    size_t key_heads;            /* G; 0: as H. Query head h looks at key head h / (H / G)   */
} dotk_linear_attention_shape;

typedef struct dotk_linear_attention_options {
    size_t struct_size; /* set by DOTK_LINEAR_ATTENTION_OPTIONS_INIT                         */
    dotk_linear_rule rule;
    dotk_feature_map feature_map;
    int32_t normalize; /* 1: divides by z^T q, and the state has E + 1 columns; not with delta */
    float scale; /* used when has_scale; default 1 / sqrt(D). It multiplies S and z alike, so */
                 /* with normalize it plays no part */
    int32_t has_scale;
    dotk_store store; /* of q, k, v, decay, beta and out: f32, f16 or bf16                   */
    dotk_layout query, key, value, output;
    const void *decay;        /* for gated rules: g, (B, G, T, D), or (B, G, T) with         */
    int32_t decay_per_head;   /* 1: one number for all key dimensions of a head              */
    dotk_layout decay_layout; /* its strides; 0: one after the other                         */
    const void *beta;         /* for delta rules: b, (B, G, T), or (B, T) with               */
    int32_t beta_per_token;   /* 1: one number for all heads; beta_layout.head is not read   */
    dotk_layout beta_layout;
    const size_t *lengths; /* NULL, or (B): tokens from there on do not exist; their outputs  */
                           /* are zeros, and the state is that of the last one that does     */
} dotk_linear_attention_options;

/* clang-format off */
#define DOTK_LINEAR_ATTENTION_OPTIONS_INIT                                                         \
    {                                                                                              \
        sizeof(dotk_linear_attention_options), DOTK_LINEAR, DOTK_FEATURE_NONE, 0, 0, 0,            \
        DOTK_STORE_F32, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, NULL, 0, {0, 0, 0}, NULL, 0,   \
        {0, 0, 0}, NULL                                                                            \
    }
/* clang-format on */

/*
 * Passes T tokens through the states.
 *
 *     q    (B, H, T, D)     k    (B, G, T, D)     v    (B, G, T, E)     of options->store
 *     past     (B, G, D, E) dense f32, or NULL: zeros; with normalize (B, G, D, E + 1), z last
 *     present  the same, receives the states after the last token; NULL: not wanted; may be past
 *     out  (B, H, T, E)
 *
 * ONNX's arrays, (B, T, heads * width), have layouts with row = heads * width, head = width and
 * batch = T * row (for a number per head: row = heads, head = 1).
 *
 * Memory:  borrows everything. out and present must not overlap an input (but present may be past)
 *          or each other. Working memory is some 4 MiB of states, or one state a thread where
 *          that is more, and 16 tokens a thread; none is allocated once the context has served a
 *          call of that size.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, width 0, strides below the width, rows of out that overlap, a
 *          rule without its decay or beta, or with what it does not use, a length above T, a
 *          scale that is not finite or without has_scale, overlap, sizes that overflow),
 * DOTK_NO_MEMORY, DOTK_CANCELLED (present is then unspecified, like out).
 */
DOTK_API dotk_status dotk_linear_attention(dotk_context *context,
                                           const dotk_linear_attention_shape *shape, const void *q,
                                           const void *k, const void *v,
                                           const dotk_linear_attention_options *options,
                                           const float *past, float *present, void *out);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_LINEAR_ATTENTION_H */
