/*
 * gradient.h - the sweeps of attention's gradients: blocks of keys x blocks of rows
 *
 * A *place* is one block of up to 256 keys and one block of up to 192 rows (grouped query heads,
 * see problem.h) of an entry and key head. Its five products are in kernel/gradient.h. What a place
 * adds to the gradients of a query, key or value is one sum from 0, and places come in the order of
 * keys and rows. So the bits of a gradient are a matter of its own entry and heads, whichever
 * threads work and however the work is cut:
 *
 *     "heads"    a thread takes an entry and key head, all its places: five products
 *     "blocks"   blocks of keys are tasks for the gradients of keys and values, then blocks of rows
 *                for those of queries, and scores and dp are worked out twice: seven products.
 *                Where there are fewer entries and key heads than threads, or where halves would
 *                need too much room for sums in f32
 *
 * A task is so many places, in order, as take about 15 ms. Tasks of one *run* are independent; the
 * next run goes on where they ended.
 */
#ifndef DOTK_ATTENTION_GRADIENT_H
#define DOTK_ATTENTION_GRADIENT_H

#include "attention/visible.h"

struct dk_gradient {
    const struct dk_attention *problem;
    const struct dk_kernels *kernels;
    const struct dk_gradient_kernels *words; /* those for what the arrays are made of           */
    const void *d_out; /* as problem->out lies                                       */
    struct dk_dropout dropout;
    float *delta;          /* (B, H, L) dense: rows of d_out times rows of out           */
    void *d_q, *d_k, *d_v; /* NULL: not wanted                                           */
    float *d_bias;         /* by options.bias_layout, zeros where it begins; NULL: not wanted */
    float *d_sinks;        /* (H); NULL: not wanted                                      */
};

/* Writes delta and d_sinks. Errors: DOTK_NO_MEMORY, DOTK_CANCELLED. */
dotk_status dk_gradient_deltas(struct dk_call *call, const struct dk_gradient *gradient);

/* "heads", "blocks", or "empty" where no query can have a key. */
const char *dk_gradient_path(const struct dk_gradient *gradient, size_t slots);

/* Writes delta and all gradients. Errors: DOTK_NO_MEMORY, DOTK_CANCELLED. */
dotk_status dk_gradient_run(struct dk_call *call, const struct dk_gradient *gradient);

#endif /* DOTK_ATTENTION_GRADIENT_H */
