/*
 * cache.h - what a key-value cache is made of: pages, and sequences that list them
 *
 * A page holds page_keys keys and values of all heads. Pages are allocated in slabs, which lie
 * head after head, so that a head's next page is often the next in memory. Of one head, 64-byte
 * aligned:
 *
 *     key panels      of 64 keys (kernel.h); f16 and int8 likewise, bf16 with pairs of
 *                     dimensions in each of 64 u32, the even one in the lower half
 *     values          strips of up to 64 columns, one after another: of each strip a row a key;
 *                     bf16 in pairs of keys: row 2 i and 2 i + 1 as one row of u32, the even
 *                     one in the lower half
 *     scales          int8: page_keys f32 of the keys, and as many of the values
 *
 * That is the same for every instruction set. What lies behind the last key is unspecified.
 *
 * A page counts the sequences that list it. It is written by a sequence that finds itself alone;
 * nobody else can then come to list it, because a fork reads the very sequence that is written.
 */
#ifndef DOTK_ATTENTION_CACHE_H
#define DOTK_ATTENTION_CACHE_H

#include <dotk/cache.h>
#include <pthread.h>

#include "codec/store.h"
#include "tile/tile.h"

struct dk_page {
    struct dk_page *next; /* of the free ones */
    size_t users;         /* atomic      */
    char *data;           /* of head 0   */
    size_t head_stride;   /* bytes       */
};

struct dk_slab;

struct dotk_cache {
    size_t heads, dim, width; /* G, D, E */
    dotk_store store;
    size_t page_keys, memory_limit;
    size_t panel_bytes;          /* of 64 keys of a head                                 */
    size_t strip, strips;        /* columns of a strip of values, and how many there are */
    size_t values_at, scales_at; /* bytes from a head's beginning                        */
    size_t head_bytes, page_bytes;

    pthread_mutex_t mutex; /* guards what follows */
    unsigned forks;        /* fork.h              */
    struct dk_slab *slabs;
    struct dk_page *free;
    size_t pages, in_use;
};

struct dotk_sequence {
    dotk_cache *cache;
    size_t count; /* tokens */
    struct dk_page **pages;
    size_t page_count, capacity;
};

static inline char *
dk_page_head(const struct dk_page *page, size_t head)
{
    return page->data + head * page->head_stride;
}

/* Scales of the keys of a head; those of the values follow. */
static inline float *
dk_page_scales(const dotk_cache *cache, char *head)
{
    return (float *)(void *)(head + cache->scales_at);
}

/*
 * pages[i] = a page that has one user, for i < n. All or none. Errors: DOTK_NO_MEMORY.
 */
dotk_status dk_cache_take(dotk_cache *cache, size_t n, struct dk_page **pages);

/* One user less of each. */
void dk_cache_release(dotk_cache *cache, size_t n, struct dk_page *const *pages);

/* One user more of each. */
void dk_cache_share(size_t n, struct dk_page *const *pages);

/* Whether the caller is the only user. */
bool dk_page_alone(const struct dk_page *page);

/* How tokens are turned by their positions (rotary/rotary.h). */
struct dk_turn {
    size_t pairs;
    bool interleaved;
    const double *turns;
    const int64_t *positions; /* NULL: 'first', 'first' + 1, ... */
    size_t first;
};

/* Tokens as they are given to dotk_sequence_add(). */
struct dk_tokens {
    const char *start;
    size_t head, row, width; /* strides and width, in elements */
    dotk_store store;
    bool turned;
};

/* Room for some rows, as f32 and as what the cache stores. */
struct dk_cache_room {
    float *rows;
    uint16_t *codes;
    double *cosines,
        *sines; /* (64, pairs) of the tokens of a panel, the first of which is 'token' */
    size_t token;
};

/* How many rows of that width a room has at least, up to 64. */
size_t dk_cache_room_rows(size_t width);

/* Row 'token' of a head, as f32, not turned: where it lies, or widened into 'room'. */
const float *dk_tokens_row(const struct dk_tokens *tokens, const struct dk_kernels *kernels,
                           size_t h, size_t token, float *room);

/* Fills in the room's cosines and sines, of tokens token .. token + n - 1. */
void
dk_cache_angles(const struct dk_turn *turn, size_t token, size_t n, struct dk_cache_room *room);

/*
 * Puts tokens token .. token + n - 1 of head h into places first .. first + n - 1 of a page's
 * head, as its keys or values.
 */
struct dk_put {
    const dotk_cache *cache;
    const struct dk_kernels *kernels;
    const struct dk_cache_room *room;
    const struct dk_tokens *tokens;
    const struct dk_turn *turn; /* of tokens that are turned */
    size_t h, token, n;
    char *head;
    size_t first;
};
void dk_cache_put_keys(const struct dk_put *put);
void dk_cache_put_values(const struct dk_put *put);

/* The key or value at a place of a page's head, as f32. */
void dk_cache_get_key(const dotk_cache *cache, char *head, size_t place, float *out);
void dk_cache_get_value(const dotk_cache *cache, char *head, size_t place, float *out);

/* Copies the first 'count' keys and values of a page. */
void dk_cache_copy(const dotk_cache *cache, const struct dk_page *from, size_t count,
                   const struct dk_page *to);

#endif /* DOTK_ATTENTION_CACHE_H */
