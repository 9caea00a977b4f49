/*
 * cached.c - blocks of keys and values out of a cache's pages
 *
 * Panels and rows of words that the kernels multiply (f32, or pairs of bf16) are read where they
 * lie when a block lies on one page, which it always does when pages have a multiple of 256 keys.
 * Else they are copied, or widened, panel by panel into the thread's room.
 */
#include "attention/cached.h"

#include <string.h>

enum { SPREAD = 8 /* tiles among which prefetches are spread; fewer would be a burst */ };

/* What a block reads of one page. */
struct piece {
    char *head;
    size_t place; /* of its first key on the page */
};

static struct piece
piece_at(const struct dk_cached *cached, size_t index, size_t key_head, size_t key)
{
    const dotk_cache *const cache = cached->cache;
    const struct dk_page *const page = cached->sequences[index]->pages[key / cache->page_keys];

    return (struct piece){dk_page_head(page, key_head), key % cache->page_keys};
}

static const char *
panel_of(const dotk_cache *cache, const struct piece *piece)
{
    return piece->head + piece->place / DK_PANEL * cache->panel_bytes;
}

/* Strip s of its values. */
static const char *
values_of(const dotk_cache *cache, const struct piece *piece, size_t s)
{
    return piece->head + cache->values_at +
           (s * cache->page_keys + piece->place) * cache->strip * dk_store_bytes(cache->store);
}

/* Whether the pages hold words that the kernels multiply. */
static bool
holds_words(const struct dk_source *source)
{
    return source->problem->cached->cache->store == DOTK_STORE_F32 || source->softmax_v->pairs;
}

/* Rows of words that 'count' values take. */
static size_t
value_rows(const struct dk_source *source, size_t count)
{
    return source->softmax_v->pairs ? (count + 1) / 2 : count;
}

bool
dk_cached_alloc(struct dk_call *call, const struct dk_source *source, struct dk_source_room *room)
{
    const dotk_cache *const cache = source->problem->cached->cache;

    if (holds_words(source) && cache->page_keys % source->block == 0)
        return true;
    room->panels = dk_call_alloc(call, source->block * source->words, sizeof *room->panels);
    room->values = dk_call_alloc(call, source->block * cache->strips * cache->strip,
                                 sizeof *room->values);
    return room->panels != NULL && room->values != NULL;
}

/* A panel as words. */
static void
take_panel(const struct dk_source *source, const struct piece *piece, float *out)
{
    const dotk_cache *const cache = source->problem->cached->cache;
    const char *const panel = panel_of(cache, piece);

    if (holds_words(source)) {
        memcpy(out, panel, source->words * DK_PANEL * sizeof *out);
    } else if (cache->store == DOTK_STORE_BF16) {
        const uint32_t *const pairs = (const uint32_t *)(const void *)panel;
        uint32_t *const bits = (uint32_t *)(void *)out;
        for (size_t d = 0; d < cache->dim; d += 2) {
            const uint32_t *const pair = pairs + d / 2 * DK_PANEL;
            uint32_t *const even = bits + d * DK_PANEL, *const odd = even + DK_PANEL;
            for (size_t c = 0; c < DK_PANEL; c++)
                even[c] = pair[c] << 16;
            for (size_t c = 0; c < DK_PANEL && d + 1 < cache->dim; c++)
                odd[c] = pair[c] & 0xffff0000u;
        }
    } else if (cache->store == DOTK_STORE_INT8) {
        const float *const scale = dk_page_scales(cache, piece->head) + piece->place;
        const int8_t *codes = (const int8_t *)panel;
        for (size_t d = 0; d < cache->dim; d++, codes += DK_PANEL, out += DK_PANEL) {
            for (size_t c = 0; c < DK_PANEL; c++)
                out[c] = (float)codes[c] * scale[c];
        }
    } else {
        dk_widen_store(source->kernels, cache->store, panel, cache->dim * DK_PANEL, out);
    }
}

/* The first 'count' values of a strip, as words. */
static void
take_strip(const struct dk_source *source, const struct piece *piece, size_t s, size_t count,
           float *out)
{
    const dotk_cache *const cache = source->problem->cached->cache;
    const char *const values = values_of(cache, piece, s);
    const size_t strip = cache->strip;

    if (holds_words(source)) {
        memcpy(out, values, value_rows(source, count) * strip * sizeof *out);
    } else if (cache->store == DOTK_STORE_BF16) {
        const uint32_t *pairs = (const uint32_t *)(const void *)values;
        uint32_t *bits = (uint32_t *)(void *)out;
        for (size_t i = 0; i < count; i += 2, pairs += strip, bits += 2 * strip) {
            for (size_t e = 0; e < strip; e++)
                bits[e] = pairs[e] << 16;
            for (size_t e = 0; e < strip && i + 1 < count; e++)
                bits[strip + e] = pairs[e] & 0xffff0000u;
        }
    } else if (cache->store == DOTK_STORE_INT8) {
        const float *const scale = dk_page_scales(cache, piece->head) + cache->page_keys +
                                   piece->place;
        const int8_t *codes = (const int8_t *)values;
        for (size_t i = 0; i < count; i++, codes += strip, out += strip) {
            for (size_t e = 0; e < strip; e++)
                out[e] = (float)codes[e] * scale[i];
        }
    } else {
        dk_widen_store(source->kernels, cache->store, values, count * strip, out);
    }
}

void
dk_cached_load(const struct dk_source *source, struct dk_source_room *room, size_t index,
               size_t key_head, size_t key, size_t count, struct dk_attend_block *block)
{
    const struct dk_cached *const cached = source->problem->cached;
    const dotk_cache *const cache = cached->cache;
    const struct piece first = piece_at(cached, index, key_head, key);

    block->key = key;
    block->count = count;
    block->dim = source->words;
    block->width = cache->width;
    block->strip = block->value_stride = cache->strip;
    memset(block->finite, -1, sizeof block->finite);
    if (holds_words(source) && first.place + count <= cache->page_keys) {
        block->panels = (const float *)(const void *)panel_of(cache, &first);
        block->value = (const float *)(const void *)values_of(cache, &first, 0);
        block->strip_stride = value_rows(source, cache->page_keys) * cache->strip;
        return;
    }
    block->panels = room->panels;
    block->value = room->values;
    block->strip_stride = value_rows(source, source->block) * cache->strip;
    for (size_t i = 0; i < count; i += DK_PANEL) {
        const struct piece piece = piece_at(cached, index, key_head, key + i);
        take_panel(source, &piece, room->panels + i * source->words);
        for (size_t s = 0; s < cache->strips; s++)
            take_strip(source, &piece, s, dk_min(DK_PANEL, count - i),
                       room->values + s * block->strip_stride +
                           value_rows(source, i) * cache->strip);
    }
}

/* Asks for part t of 'parts' of some bytes to be brought into L2. */
static void
prefetch(const char *from, size_t bytes, size_t t, size_t parts)
{
    for (size_t i = dk_round_up(bytes * t / parts, DK_LINE); i < bytes * (t + 1) / parts;
         i += DK_LINE) {
        __builtin_prefetch(from + i, 0, 2);
        __asm__ volatile("" : : : "memory"); /* or gcc 12 keeps one of several */
    }
}

void
dk_cached_prefetch(const struct dk_source *source, size_t index, size_t key_head, size_t first,
                   size_t last, size_t t, size_t parts)
{
    const struct dk_cached *const cached = source->problem->cached;
    const dotk_cache *const cache = cached->cache;
    const size_t row_bytes = cache->strip * dk_store_bytes(cache->store);

    if (parts < SPREAD) /* read about once, in order: the machine finds that by itself */
        return;
    for (size_t key = first; key < last; key += DK_PANEL) {
        const struct piece piece = piece_at(cached, index, key_head, key);
        prefetch(panel_of(cache, &piece), cache->panel_bytes, t, parts);
        for (size_t s = 0; s < cache->strips; s++)
            prefetch(values_of(cache, &piece, s), DK_PANEL * row_bytes, t, parts);
    }
}
