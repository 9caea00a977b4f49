/*
 * dotk/dense.h - a dense layer: activation(X W^T + b)
 *
 *     dotk_dense_prepare ....... packs weights once; dotk_dense_destroy
 *     dotk_dense_forward ....... with prepared weights
 *     dotk_dense ............... with plain weights
 *     dotk_dense_plan .......... which path a call would take, and why
 *
 * Sums are in the order stated in dotk/vector.h, so X W^T has the same bits for any
 * threads, batch and instruction set, prepared or not. The bias is added last, rounded to
 * f32: z = fl(sum + bias). Activations are functions of that z, with these errors against
 * exact arithmetic (an ulp is the spacing of f32 numbers at the exact result):
 *
 *     none, relu                          0
 *     gelu, silu, sigmoid, tanh           5 ulp
 *     gelu_tanh                           2^-23 |z|
 *
 * NaN gives NaN under every activation. At infinity each has its limit: gelu, gelu_tanh,
 * silu and relu 0 and infinity, sigmoid 0 and 1, tanh -1 and 1.
 */
#ifndef DOTK_DENSE_H
#define DOTK_DENSE_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dotk_activation {
    DOTK_ACTIVATION_NONE = 0,
    DOTK_ACTIVATION_RELU = 1,
    DOTK_ACTIVATION_GELU = 2,      /* x * Phi(x), by erf                                   */
    DOTK_ACTIVATION_GELU_TANH = 3, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))         */
    DOTK_ACTIVATION_SILU = 4,      /* x / (1 + exp(-x))                                    */
    DOTK_ACTIVATION_SIGMOID = 5,
    DOTK_ACTIVATION_TANH = 6
} dotk_activation;

/* Returns "none", "relu", "gelu", ...; NULL for any other value. Threads: pure. */
DOTK_API const char *dotk_activation_name(dotk_activation activation);

/* What one call did. Both are static text, as in the first two words of dotk_dense_plan(). */
typedef struct dotk_dense_stats {
    const char *path;   /* "panels", "pack" or "few"; "empty" when there were no rows      */
    const char *kernel; /* the kernel that computed the sums, "-" for none                 */
} dotk_dense_stats;

typedef struct dotk_dense_options {
    size_t struct_size;         /* set by DOTK_DENSE_OPTIONS_INIT                          */
    dotk_activation activation; /* 0: none                                                 */
    size_t x_stride;            /* 0: inputs                                               */
    size_t y_stride;            /* 0: outputs                                              */
    size_t w_stride;            /* 0: inputs; plain weights only                           */
    dotk_dense_stats *stats;    /* NULL, or receives what the call did                     */
} dotk_dense_options;

#define DOTK_DENSE_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(dotk_dense_options), DOTK_ACTIVATION_NONE, 0, 0, 0, NULL                            \
    }

/* Weights packed for the tile engine; immutable. */
typedef struct dotk_dense_weights dotk_dense_weights;

/*
 * Packs w (outputs, inputs), rows w_stride apart (0: inputs), and bias (outputs) or NULL.
 *
 * Memory:  copies w and bias: 4 * inputs * (outputs rounded up to 64) bytes. *out is the
 *          caller's: release it with dotk_dense_destroy().
 * Threads: pure; the result serves any number of calls at once (shared-read).
 * Errors:  DOTK_BAD_ARGUMENT (a NULL, a size of 0, a stride below inputs, overflow),
 *          DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_dense_prepare(size_t outputs, size_t inputs, const float *w,
                                        size_t w_stride, const float *bias,
                                        dotk_dense_weights **out);

DOTK_API void dotk_dense_destroy(dotk_dense_weights *weights);

/*
 * y (rows, outputs) = activation(x (rows, inputs) W^T + bias).
 *
 * Memory:  borrows everything. No element of y may be one of x; x and y may be columns
 *          side by side in one matrix (equal strides). No allocation once the context has
 *          served a call of that size. rows = 0 is fine and does nothing.
 * Threads: pure; shared-read for 'weights'.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, a stride below the width, an unknown activation,
 *          overlap, overflow), DOTK_NO_MEMORY, DOTK_CANCELLED. NaN and infinity in x, w and
 *          bias are values like any other.
 */
DOTK_API dotk_status dotk_dense_forward(dotk_context *context, const dotk_dense_weights *weights,
                                        size_t rows, const float *x,
                                        const dotk_dense_options *options, float *y);

/*
 * Like dotk_dense_prepare() and dotk_dense_forward() in one call, bit for bit; bias may be
 * NULL. Up to 8 rows w is read once as it lies; for more each thread packs 64 of its rows at
 * a time, 256 * inputs bytes.
 * Memory, Threads, Errors: as there; y may not overlap w or bias either.
 */
DOTK_API dotk_status dotk_dense(dotk_context *context, size_t rows, size_t outputs, size_t inputs,
                                const float *x, const float *w, const float *bias,
                                const dotk_dense_options *options, float *y);

/*
 * Writes one line saying which path and kernel a call with these sizes would take (prepared
 * 1: dotk_dense_forward(), 0: dotk_dense()), and why; terminated, cut to 'capacity' bytes. The
 * first two words are the path and kernel that dotk_dense_stats would report.
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT.
 */
DOTK_API dotk_status dotk_dense_plan(dotk_context *context, size_t rows, size_t outputs,
                                     size_t inputs, int32_t prepared, char *out, size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_DENSE_H */
