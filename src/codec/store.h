/*
 * store.h - rows of numbers by what they are stored as, to f32 and back
 *
 * Bits are those of kernel/half.h, on every instruction set.
 */
#ifndef DOTK_CODEC_STORE_H
#define DOTK_CODEC_STORE_H

#include <dotk/base.h>

#include "kernel/kernel.h"

/* Bytes of one number, or code, of a store. */
static inline size_t
dk_store_bytes(dotk_store store)
{
    return store == DOTK_STORE_F32 ? sizeof(float) : store == DOTK_STORE_INT8 ? 1 : 2;
}

/* 'count' numbers of 'store' as f32, and f32 as those. Not int8; arrays do not overlap. */
void dk_widen_store(const struct dk_kernels *kernels, dotk_store store, const void *from,
                    size_t count, float *out);
void dk_narrow_store(const struct dk_kernels *kernels, dotk_store store, const float *from,
                     size_t count, void *out);

#endif /* DOTK_CODEC_STORE_H */
