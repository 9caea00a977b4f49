/*
 * dotk/multihead.h - multi-head attention with its projections, forward and backward
 *
 *     dotk_multihead_forward ....... output, and the weights on request
 *     dotk_multihead_backward ...... gradients of inputs and of all parameters
 *     dotk_multihead_saved_count ... how much the former has to keep for the latter
 *
 * The module that PyTorch calls nn.MultiheadAttention, with its parameters under the names and in
 * the shapes of a state dict. Legend of shapes: B batch, L queries, S keys, M width of the module,
 * H heads (M is a multiple of H), K and V widths of the arrays 'key' and 'value' (kdim, vdim).
 *
 *     q = query W_q^T + b_q     k = key W_k^T + b_k     v = value W_v^T + b_v
 *     bias_k and bias_v are one more key and value, add_zero_attn one of zeros, for all queries
 *     out = attention(q, k, v, each cut into H heads, scale 1 / sqrt(M / H)) W_o^T + b_o
 *
 * Masks have PyTorch's meaning, which is the opposite of dotk/attention.h: 1 excludes. The keys
 * that are added are never masked, by 'causal' neither. A query that everything is hidden from gets
 * b_o (its attention is zeros); PyTorch gives NaN there.
 *
 * Bits do not depend on threads, and those of a row not on the batch or on other queries (with
 * dropout its place matters). |error| as for dotk_attention_forward() and dotk_dense().
 *
 * Method: Vaswani et al. 2017, arXiv 1706.03762.
 */
#ifndef DOTK_MULTIHEAD_H
#define DOTK_MULTIHEAD_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dotk_multihead_shape {
    size_t batch, queries, keys;   /* B, L, S: any of them may be 0                          */
    size_t width;                  /* M                                                      */
    size_t heads;                  /* H                                                      */
    size_t key_width, value_width; /* K, V; 0: as M. Others need separate weights            */
} dotk_multihead_shape;

/* Rows follow each other; a weight (outputs, inputs) is multiplied from the right, transposed. */
typedef struct dotk_multihead_parameters {
    size_t struct_size;           /* set by DOTK_MULTIHEAD_PARAMETERS_INIT                   */
    const float *in_proj_weight;  /* (3 M, M): W_q, W_k, W_v; or NULL, and then              */
    const float *q_proj_weight;   /* (M, M)                                                  */
    const float *k_proj_weight;   /* (M, K)                                                  */
    const float *v_proj_weight;   /* (M, V)                                                  */
    const float *in_proj_bias;    /* (3 M): b_q, b_k, b_v; or NULL                           */
    const float *bias_k, *bias_v; /* (M), both or neither                                    */
    const float *out_proj_weight; /* (M, M); "out_proj.weight"                               */
    const float *out_proj_bias;   /* (M) or NULL; "out_proj.bias"                            */
} dotk_multihead_parameters;

#define DOTK_MULTIHEAD_PARAMETERS_INIT                                                             \
    {                                                                                              \
        sizeof(dotk_multihead_parameters), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL    \
    }

typedef struct dotk_multihead_options {
    size_t struct_size;       /* set by DOTK_MULTIHEAD_OPTIONS_INIT                            */
    int32_t batch_first;      /* 0: inputs and out are (L, B, M), (S, B, K), (S, B, V); 1: they */
                              /* are (B, L, M), (B, S, K), (B, S, V)                           */
    int32_t add_zero_attn;    /* 1: one more key and value of zeros                            */
    int32_t causal;           /* 1: query i sees keys 0 .. i and the added ones                */
    int32_t mask_per_head;    /* 1: the attn_ arrays are (B, H, L, S), else (L, S)             */
    int32_t weights_per_head; /* 1: weights are (B, H, L, S'), else averaged          */
    const uint8_t *key_padding_mask; /* NULL, or (B, S): 1 hides a key                       */
    const float *key_padding_bias;   /* NULL, or (B, S): added to scores                     */
    const uint8_t *attn_mask;        /* NULL, or: 1 hides a key from a query                 */
    const float *attn_bias;          /* NULL, or: added to scores                            */
    float dropout;                   /* 0 <= dropout < 1: of weights; for training           */
    uint64_t seed;                   /* of dropout                                           */
} dotk_multihead_options;

#define DOTK_MULTIHEAD_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(dotk_multihead_options), 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0                \
    }

/*
 * *out = the number of floats that 'saved' has to have room for: 2 B M (L + S') + B H L, where
 * S' is S and the added keys. Threads: pure. Errors: as dotk_multihead_forward(), of sizes.
 */
DOTK_API dotk_status dotk_multihead_saved_count(const dotk_multihead_shape *shape,
                                                const dotk_multihead_parameters *parameters,
                                                const dotk_multihead_options *options, size_t *out);

/*
 * out = the module's answer.
 *
 *     query, key, value   dense, as options->batch_first says; they may be one array
 *     out                 as query
 *     weights             NULL, or (B, L, S'), or (B, H, L, S'), S' = S and the added keys,
 *                         bias_k first; as they were multiplied with values, dropout included
 *     saved               NULL, or room for dotk_multihead_backward(); its size is that of
 *                         dotk_multihead_saved_count()
 *
 * Memory:  borrows everything. out, weights and saved must not overlap an input, a parameter or
 *          each other. Working memory is that of dotk_attention_forward() and of dotk_dense(), what
 *          'saved' would take where it is NULL, and a copy of masks (of a bias only with added
 *          keys, and with both kinds of bias their sum, B L S'); none is allocated once the context
 *          has served a call of that size.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, a width of 0 or no multiple of heads, weights both packed and
 *          separate or neither, only one of bias_k and bias_v, a mask and a bias of one kind,
 *          dropout out of range, overlap, sizes that overflow), DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_multihead_forward(dotk_context *context,
                                            const dotk_multihead_shape *shape,
                                            const dotk_multihead_parameters *parameters,
                                            const float *query, const float *key,
                                            const float *value,
                                            const dotk_multihead_options *options, float *out,
                                            float *weights, float *saved);

/* Where gradients go, in the shapes of what they belong to. NULL: not wanted. */
typedef struct dotk_multihead_gradients {
    size_t struct_size; /* set by DOTK_MULTIHEAD_GRADIENTS_INIT */
    float *query, *key, *value;
    float *in_proj_weight, *q_proj_weight, *k_proj_weight, *v_proj_weight, *in_proj_bias;
    float *bias_k, *bias_v;
    float *out_proj_weight, *out_proj_bias;
} dotk_multihead_gradients;

#define DOTK_MULTIHEAD_GRADIENTS_INIT                                                              \
    {                                                                                              \
        sizeof(dotk_multihead_gradients), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,    \
            NULL, NULL, NULL                                                                       \
    }

/*
 * gradients = those of a loss, from 'd_out', its gradient by out: they replace what is there, so a
 * sum over several calls is the caller's. Everything else is as it was for
 * dotk_multihead_forward(), which has filled 'saved'. Where query, key and value are one array its
 * gradient is the sum of three. Weights that were returned count as constants.
 *
 * Memory:  borrows everything. Gradients must not overlap an input, a parameter, 'saved', d_out or
 *          each other. Working memory is at most 5 B W (L + S') + 2 M W + 2 M floats, where W is
 *          the largest of M, K and V, 64 KiB a thread, copies of masks as in
 *          dotk_multihead_forward(), and that of dotk_attention_backward() and of dotk_dense();
 *          none is allocated once the context has served a call of that size.
 * Threads: pure.
 * Errors:  as dotk_multihead_forward(); also DOTK_BAD_ARGUMENT where a gradient is wanted of a
 *          parameter that is NULL.
 */
DOTK_API dotk_status dotk_multihead_backward(
    dotk_context *context, const dotk_multihead_shape *shape,
    const dotk_multihead_parameters *parameters, const float *query, const float *key,
    const float *value, const dotk_multihead_options *options, const float *saved,
    const float *d_out, const dotk_multihead_gradients *gradients);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_MULTIHEAD_H */
