/*
 * source.h - keys and values as kernels read them: packed panels, and rows of words
 *
 * A word is a float, or a pair of bf16 where all is bf16 and the instruction set multiplies that
 * (kernel/softmax_v.h); whatever else is not f32 is widened. A thread packs the keys that it needs
 * and keeps those of its current head when they fit 1 MiB: packing them again for each unit would
 * cost about 2 % of the time. In return nothing is shared between threads, no thread waits for
 * another's packing, and memory does not grow with the number of heads or keys. Values of f32 are
 * read where they lie.
 */
#ifndef DOTK_ATTENTION_SOURCE_H
#define DOTK_ATTENTION_SOURCE_H

#include "attention/problem.h"
#include "codec/store.h"
#include "epilogue/softmax_v/softmax_v.h"

struct dk_source {
    const struct dk_attention *problem;
    const struct dk_kernels *kernels;
    const struct dk_softmax_v_kernels *softmax_v;
    size_t words;     /* of a packed key or query */
    size_t block;     /* keys of a block */
    size_t kept_keys; /* as many as a head has, when panels are kept; else 0 */
};

/* What one thread packs and widens into. */
struct dk_source_room {
    float *panels;
    float *rows;   /* widened keys of a panel; NULL where none are           */
    float *values; /* values of a block as words; NULL where they lie so     */
    size_t head;   /* of which entry and head panels are kept, and ...       */
    bool *packed;  /* ... which of them; NULL where none are                 */
};

/* Keys of a block: a matter of the dimension alone, so that bits are. */
size_t dk_source_block(size_t dim);

/* The kernels for what the arrays are made of. */
const struct dk_softmax_v_kernels *
dk_source_kernels(const struct dk_attention *problem, const struct dk_kernels *kernels);

/*
 * Words for 'softmax_v', which may be the kernels of f32 whatever the arrays are. 'keys': the most
 * that an entry has; 'keep': a thread comes back to a head's keys.
 */
struct dk_source dk_source(const struct dk_attention *problem, const struct dk_kernels *kernels,
                           const struct dk_softmax_v_kernels *softmax_v, size_t keys, bool keep);

/* False: out of memory. */
bool
dk_source_alloc(struct dk_call *call, const struct dk_source *source, struct dk_source_room *room);

/* Packs up to 64 keys of an array into the first panel of the room, and returns it. */
const float *
dk_source_panel(const struct dk_source *source, const struct dk_source_room *room,
                const struct dk_attend_entry *entry, size_t key_head, size_t key, size_t count);

/*
 * Makes keys key .. key + count - 1 (within a block) of entry 'index' and 'key_head' ready: fills
 * in the block's key, count, panels, dim, value, value_stride, width and finite.
 */
void dk_source_load(const struct dk_source *source, struct dk_source_room *room,
                    const struct dk_attend_entry *entry, size_t index, size_t key_head, size_t key,
                    size_t count, unsigned wanted, struct dk_attend_block *block);

/*
 * Asks for part t of 'parts' of keys first .. last - 1 and their values: of those panels of 64 that
 * 'wanted' has a bit for, unless they lie in a cache.
 */
void dk_source_prefetch(const struct dk_source *source, const struct dk_source_room *room,
                        const struct dk_attend_entry *entry, size_t index, size_t key_head,
                        size_t first, size_t last, unsigned wanted, size_t t, size_t parts);

#endif /* DOTK_ATTENTION_SOURCE_H */
