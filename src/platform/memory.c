/*
 * memory.c - one allocator for everything, with hooks
 *
 * Hooks only promise malloc's alignment, so a block starts with a hidden pointer to what the
 * hook returned. Large blocks are aligned to 2 MiB and marked for huge pages: a scan over
 * gigabytes otherwise spends its time in page walks.
 */
#define _GNU_SOURCE
#include "platform/memory.h"
#include "platform/status.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, HUGE_FROM = 4 << 20 };

static void *
malloc_hook(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static void
free_hook(void *user, void *pointer)
{
    (void)user;
    free(pointer);
}

static dotk_allocator hooks = {malloc_hook, free_hook, NULL};

dotk_status
dotk_set_allocator(const dotk_allocator *allocator)
{
    if (allocator == NULL) {
        hooks = (dotk_allocator){malloc_hook, free_hook, NULL};
        return DOTK_OK;
    }
    if (allocator->allocate == NULL || allocator->release == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "allocator->%s is NULL: give both hooks",
                       allocator->allocate == NULL ? "allocate" : "release");
    hooks = *allocator;
    return DOTK_OK;
}

void *
dk_alloc(size_t size)
{
    const size_t align = size >= HUGE_FROM ? HUGE_PAGE : DK_LINE;
    size_t bytes;

    if (!dk_add(size, align + sizeof(void *), &bytes))
        return NULL;
    char *const raw = hooks.allocate(hooks.user, bytes);
    if (raw == NULL)
        return NULL;
    const uintptr_t start = ((uintptr_t)raw + sizeof(void *) + align - 1) & ~(uintptr_t)(align - 1);
    char *const block = raw + (start - (uintptr_t)raw);
    memcpy(block - sizeof(void *), &raw, sizeof raw);
    if (size >= HUGE_FROM)
        (void)madvise(block, size & ~(size_t)(HUGE_PAGE - 1), MADV_HUGEPAGE);
    return block;
}

void *
dk_alloc_array(size_t count, size_t size)
{
    size_t bytes;
    return dk_mul(count, size, &bytes) ? dk_alloc(bytes) : NULL;
}

void
dk_free(void *block)
{
    void *raw;

    if (block == NULL)
        return;
    memcpy(&raw, (char *)block - sizeof(void *), sizeof raw);
    hooks.release(hooks.user, raw);
}

struct dk_arena_block {
    struct dk_arena_block *older;
    size_t size; /* bytes after this header's line */
};

static bool
arena_grow(struct dk_arena *arena, size_t size)
{
    size_t bytes;
    if (!dk_add(size, DK_LINE, &bytes))
        return false;
    struct dk_arena_block *const block = dk_alloc(bytes);
    if (block == NULL)
        return false;
    block->older = arena->blocks;
    block->size = size;
    arena->blocks = block;
    arena->used = 0;
    arena->total += size;
    return true;
}

void *
dk_arena_alloc(struct dk_arena *arena, size_t size)
{
    if (size > SIZE_MAX - DK_LINE)
        return NULL;
    size = dk_round_up(size, DK_LINE);
    if (arena->blocks == NULL || arena->blocks->size - arena->used < size) {
        if (!arena_grow(arena, size))
            return NULL;
    }
    char *const piece = (char *)arena->blocks + DK_LINE + arena->used;
    arena->used += size;
    return piece;
}

void *
dk_arena_array(struct dk_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return dk_mul(count, size, &bytes) ? dk_arena_alloc(arena, bytes) : NULL;
}

void
dk_arena_release(struct dk_arena *arena)
{
    while (arena->blocks != NULL) {
        struct dk_arena_block *const older = arena->blocks->older;
        dk_free(arena->blocks);
        arena->blocks = older;
    }
    arena->used = arena->total = 0;
}

void
dk_arena_reset(struct dk_arena *arena)
{
    arena->used = 0;
    if (arena->blocks != NULL && arena->blocks->older != NULL) {
        const size_t total = arena->total;
        dk_arena_release(arena);
        (void)arena_grow(arena, total); /* if not now, then when it is needed */
    }
}
