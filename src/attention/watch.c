/*
 * watch.c - writes down one query's way through the keys
 *
 * Each block of keys has a step of its own, so tasks that work on different chunks of one query
 * write to different steps, in whatever order.
 */
#include "attention/watch.h"

#include <math.h>

#include "kernel/logarithm.h"

dotk_status
dk_watch_begin(const struct dk_attention *problem, size_t block)
{
    dotk_attention_watch *const watch = problem->options.watch;

    if (watch->entry >= problem->entries)
        return dk_fail(DOTK_BAD_ARGUMENT, "watch->entry is %zu: there are %zu batch entries",
                       watch->entry, problem->entries);
    if (watch->head >= problem->heads)
        return dk_fail(DOTK_BAD_ARGUMENT, "watch->head is %zu: there are %zu heads", watch->head,
                       problem->heads);
    const struct dk_attend_entry entry = dk_attention_entry(problem, watch->entry);
    if (watch->query >= entry.queries)
        return dk_fail(DOTK_BAD_ARGUMENT, "watch->query is %zu: there are %zu queries",
                       watch->query, entry.queries);
    if (watch->steps == NULL && watch->capacity > 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "watch->steps is NULL: pass room for %zu steps, or a capacity of 0",
                       watch->capacity);
    watch->count = (entry.window.length + block - 1) / block;
    for (size_t i = 0; i < dk_min(watch->count, watch->capacity); i++)
        watch->steps[i] = (dotk_attention_step){
            .key = i * block,
            .keys = dk_min(block, entry.window.length - i * block),
            .maximum = -INFINITY,
        };
    return DOTK_OK;
}

bool
dk_watch_holds(const struct dk_attention *problem, size_t entry, size_t key_head, size_t first,
               size_t rows, size_t *row)
{
    const dotk_attention_watch *const watch = problem->options.watch;

    *row = watch->query * problem->group + watch->head % problem->group;
    return entry == watch->entry && key_head == watch->head / problem->group && *row >= first &&
           *row - first < rows;
}

/* Whether some row of the tile sees one of 'count' <= 64 keys: only then are they scored. */
static bool
is_weighed(const struct dk_mask *mask, const struct dk_attend_tile *tile, size_t key, size_t count)
{
    const enum dk_cover cover = mask->cover(mask, tile->row, tile->rows, key, count);
    const uint64_t exist = count == DK_PANEL ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1;
    uint64_t any = 0;

    for (size_t r = 0; r < tile->rows && cover == DK_COVER_SOME; r++)
        any |= mask->bits(mask, tile->row + r, key) & exist;
    return cover == DK_COVER_ALL || any != 0;
}

void
dk_watch_step(const struct dk_attention *problem, size_t step, const struct dk_mask *mask,
              const struct dk_attend_tile *tile, size_t key, size_t count,
              const struct dk_attend_answer *answer)
{
    const dotk_attention_watch *const watch = problem->options.watch;

    if (step >= watch->capacity)
        return;
    for (size_t p = 0; p * DK_PANEL < count; p++) {
        if (is_weighed(mask, tile, key + p * DK_PANEL, dk_min(DK_PANEL, count - p * DK_PANEL)))
            watch->steps[step].weighed |= 1u << p;
    }
    watch->steps[step].maximum = (float)(answer->max * DK_LN_2);
    watch->steps[step].sum = answer->sum;
}

void
dk_watch_end(const struct dk_attention *problem)
{
    const dotk_attention_watch *const watch = problem->options.watch;

    for (size_t i = 1; i < dk_min(watch->count, watch->capacity); i++) {
        dotk_attention_step *const step = &watch->steps[i];
        if (step->weighed == 0 && step->key % DK_ATTEND_CHUNK != 0) {
            step->maximum = step[-1].maximum;
            step->sum = step[-1].sum;
        }
    }
}
