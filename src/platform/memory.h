/* memory.h - allocation through the caller's hooks, and sizes that cannot overflow */
#ifndef DOTK_PLATFORM_MEMORY_H
#define DOTK_PLATFORM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/shared.h"

/* A cache line, and the alignment of every block that dk_alloc() returns. */
enum { DK_LINE = 64 };

/*
 * Returns 'size' bytes aligned to DK_LINE (large blocks to 2 MiB, asking the kernel for
 * huge pages), or NULL. Size 0 gives a block too. The caller reports the failure:
 * dk_fail_memory().
 */
void *dk_alloc(size_t size) DK_SHARED(alloc);

/* dk_alloc() of count * size bytes, NULL when that overflows. */
void *dk_alloc_array(size_t count, size_t size) DK_SHARED(alloc_array);

/* Releases a block of dk_alloc(); NULL is fine. */
void dk_free(void *block) DK_SHARED(free);

/* *out = a * b or a + b; false, with *out untouched, on overflow. */
static inline bool
dk_mul(size_t a, size_t b, size_t *out)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

static inline bool
dk_add(size_t a, size_t b, size_t *out)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

/* n rounded up to a multiple of 'unit' (n + unit must not overflow). */
static inline size_t
dk_round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static inline size_t
dk_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t
dk_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/*
 * An arena hands out pieces that live until the arena is reset; after a reset, the same
 * sequence of requests needs no allocation. Not thread-safe.
 */
struct dk_arena {
    struct dk_arena_block *blocks; /* newest first */
    size_t used;                   /* of the newest block */
    size_t total;                  /* bytes of all blocks */
};

/* Returns 'size' bytes aligned to DK_LINE, or NULL. */
void *dk_arena_alloc(struct dk_arena *arena, size_t size) DK_SHARED(arena_alloc);
void *dk_arena_array(struct dk_arena *arena, size_t count, size_t size) DK_SHARED(arena_array);

/* Takes all pieces back; several blocks become one, so that next time it all fits. */
void dk_arena_reset(struct dk_arena *arena) DK_SHARED(arena_reset);

/* Frees everything. */
void dk_arena_release(struct dk_arena *arena) DK_SHARED(arena_release);

#endif /* DOTK_PLATFORM_MEMORY_H */
