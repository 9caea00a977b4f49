/*
 * yardstick.h - kernels: what the machine can do at best, to hold the others against
 *
 * They do nothing useful and nothing else: one only reads, one only multiplies and adds, one
 * only counts clock cycles. A kernel that beats them shows that they are wrong.
 */
#ifndef DOTK_KERNEL_YARDSTICK_H
#define DOTK_KERNEL_YARDSTICK_H

#include <stddef.h>
#include <stdint.h>

enum { DK_READ_UNIT = 512 }; /* bytes that one turn of a read kernel's loop loads */

/* Loads 'size' bytes (64-byte aligned, a multiple of DK_READ_UNIT), each once, in order. */
typedef uint64_t dk_read_fn(const void *bytes, size_t size);

/*
 * 'steps' times a fused multiply-add in each of many independent accumulators: enough of them
 * to cover the instruction's latency, few enough to stay in registers.
 */
typedef float dk_fma_fn(size_t steps);

struct dk_fma {
    dk_fma_fn *run;
    size_t flop; /* of one step: an FMA is two */
};

/* 'count' (a multiple of 16) integer additions, each needing the one before: a cycle each. */
typedef uint64_t dk_adds_fn(uint64_t count);
dk_adds_fn dk_adds_portable; /* of every instruction set */

struct dk_yardstick_kernels {
    dk_read_fn *read;
    struct dk_fma fma_f32;
    struct dk_fma fma_bf16; /* products of bf16, summed in f32: fma_f32 where they are widened */
    dk_adds_fn *adds;
};

#endif /* DOTK_KERNEL_YARDSTICK_H */
