/*
 * ahead.h - for kernels: prefetching into L2 what their caller will want soon, bit by bit
 *
 * A burst of prefetches holds up the loads behind it, so lines are spread over a loop. The
 * exception is memory read at full speed, which the machine prefetches well by itself, except
 * that it begins anew with each 4 KiB: there half of each 4 KiB, two of them ahead, leaves it the
 * other half (bench/ladder/search.md).
 */
#ifndef DOTK_KERNEL_AHEAD_H
#define DOTK_KERNEL_AHEAD_H

#include <stddef.h>

#include "kernel/kernel.h"

enum { DK_AHEAD_LINE = 64, DK_AHEAD_PAGE = 4096 };

DK_INLINE void
dk_prefetch(const void *memory, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += DK_AHEAD_LINE) {
        __builtin_prefetch((const char *)memory + at, 0, 2);
        __asm__ volatile("" ::: "memory"); /* else gcc 12 drops all but the first */
    }
}

struct dk_ahead {
    const char *at, *end;
    size_t step; /* lines of each dk_ahead_some() */
};

/* 'lines' from 'at' on, in 'steps' steps. */
DK_INLINE struct dk_ahead
dk_ahead_of(const char *at, size_t lines, size_t steps)
{
    return (struct dk_ahead){
        .at = at,
        .end = lines > 0 ? at + lines * DK_AHEAD_LINE : at,
        .step = (lines + steps - 1) / steps,
    };
}

DK_INLINE void
dk_ahead_some(struct dk_ahead *ahead)
{
    for (size_t i = 0; i < ahead->step && ahead->at < ahead->end; i++, ahead->at += DK_AHEAD_LINE)
        dk_prefetch(ahead->at, DK_AHEAD_LINE);
}

DK_INLINE void
dk_ahead_half_page(struct dk_ahead *ahead)
{
    const size_t left = (size_t)(ahead->end - ahead->at);

    if (left < DK_AHEAD_PAGE / 2)
        return;
    dk_prefetch(ahead->at, DK_AHEAD_PAGE / 2);
    ahead->at += left < DK_AHEAD_PAGE ? left : DK_AHEAD_PAGE;
}

#endif /* DOTK_KERNEL_AHEAD_H */
