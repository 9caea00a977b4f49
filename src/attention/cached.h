/* cached.h - keys and values of a cache as kernels read them: another source (source.h) */
#ifndef DOTK_ATTENTION_CACHED_H
#define DOTK_ATTENTION_CACHED_H

#include "attention/cache.h"
#include "attention/source.h"

/* The sequences of a call: entry i attends to sequences[i]. */
struct dk_cached {
    const dotk_cache *cache;
    const dotk_sequence *const *sequences;
};

/* Room for a block, unless every block can be read where it lies. False: out of memory. */
bool
dk_cached_alloc(struct dk_call *call, const struct dk_source *source, struct dk_source_room *room);

/* As dk_source_load() and dk_source_prefetch(). */
void dk_cached_load(const struct dk_source *source, struct dk_source_room *room, size_t index,
                    size_t key_head, size_t key, size_t count, struct dk_attend_block *block);
void dk_cached_prefetch(const struct dk_source *source, size_t index, size_t key_head, size_t first,
                        size_t last, size_t t, size_t parts);

#endif /* DOTK_ATTENTION_CACHED_H */
