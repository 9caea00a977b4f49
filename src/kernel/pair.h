/*
 * pair.h - one score of two vectors, without a tile around it
 *
 * For callers that have one pair. The definition (kernel.h) is one long dependence inside a
 * chain, but chains are independent of each other: up to three of them run side by side, which
 * hides most of an FMA's latency from 512 dimensions up and changes no bit.
 *
 * An ISA's pair_<isa>.c defines PAIR_TARGET (its function attribute) and PAIR_FMA(a, b, c),
 * then includes pair_body.h.
 */
#ifndef DOTK_KERNEL_PAIR_H
#define DOTK_KERNEL_PAIR_H

#include <stddef.h>

/* The score of a and b, 'dim' floats each; dim 0 gives +0. */
typedef float dk_pair_f32_fn(const float *a, const float *b, size_t dim);

#endif /* DOTK_KERNEL_PAIR_H */
