/* source.c - packs keys, widens what kernels do not multiply, prefetches what comes next */
#include "attention/source.h"

#include "attention/cached.h"

#include <string.h>

enum {
    KEPT_BYTES = 1 << 20, /* packed keys of a head that a thread keeps */
};

const struct dk_softmax_v_kernels *
dk_source_kernels(const struct dk_attention *problem, const struct dk_kernels *kernels)
{
    const dotk_attention_options *const options = &problem->options;
    const bool bf16 = options->store == DOTK_STORE_BF16 && options->key_scales == NULL &&
                      options->value_scales == NULL &&
                      (problem->cached == NULL || problem->cached->cache->store == options->store);
    return bf16 ? kernels->softmax_v_bf16 : kernels->softmax_v;
}

size_t
dk_source_block(size_t dim)
{
    return dim <= 1024 ? DK_ATTEND_BLOCK : DK_PANEL;
}

struct dk_source
dk_source(const struct dk_attention *problem, const struct dk_kernels *kernels,
          const struct dk_softmax_v_kernels *softmax_v, size_t keys, bool keep)
{
    struct dk_source source = {
        .problem = problem,
        .kernels = kernels,
        .softmax_v = softmax_v,
        .words = softmax_v->pairs ? problem->dim / 2 + problem->dim % 2 : problem->dim,
        .block = dk_source_block(problem->dim),
    };

    if (keep && problem->cached == NULL && keys <= KEPT_BYTES / sizeof(float) / source.words)
        source.kept_keys = dk_round_up(keys, DK_PANEL);
    return source;
}

/* Whether an array is f32, and so needs no room to widen it in. */
static bool
keys_are_f32(const struct dk_attention *problem)
{
    return problem->options.store == DOTK_STORE_F32 && problem->options.key_scales == NULL;
}

static bool
values_are_f32(const struct dk_attention *problem)
{
    return problem->options.store == DOTK_STORE_F32 && problem->options.value_scales == NULL;
}

bool
dk_source_alloc(struct dk_call *call, const struct dk_source *source, struct dk_source_room *room)
{
    const struct dk_attention *const problem = source->problem;
    const size_t panels = dk_max(source->kept_keys, source->block);
    const bool widen = !keys_are_f32(problem) && !source->softmax_v->pairs;

    *room = (struct dk_source_room){.head = SIZE_MAX};
    if (problem->cached != NULL)
        return dk_cached_alloc(call, source, room);
    room->panels = dk_call_alloc(call, panels * source->words, sizeof *room->panels);
    if (source->kept_keys > 0) {
        room->packed = dk_call_alloc(call, source->kept_keys / DK_PANEL, sizeof *room->packed);
        if (room->packed == NULL)
            return false;
    }
    if (widen)
        room->rows = dk_call_alloc(call, DK_PANEL * problem->dim, sizeof *room->rows);
    if (!values_are_f32(problem) && problem->width > 0)
        room->values = dk_call_alloc(call, source->block * problem->width, sizeof *room->values);
    return room->panels != NULL && (room->rows != NULL || !widen) &&
           (room->values != NULL || values_are_f32(problem) || problem->width == 0);
}

/* One array of keys or values: where its rows lie, and what they are. */
struct rows {
    const char *first; /* of the entry and head */
    size_t stride, width, size;
    const float *scales; /* of the rows, with int8 */
};

static struct rows
rows_of(const struct dk_attention *problem, const struct dk_attend_entry *entry, size_t key_head,
        const void *array, const dotk_layout *layout, size_t width, size_t size,
        const float *scales)
{
    const size_t first = dk_attention_head(layout, entry->batch, key_head) +
                         entry->key * layout->row;

    if (scales != NULL)
        scales += (entry->batch * problem->key_heads + key_head) * problem->keys + entry->key;
    return (struct rows){(const char *)array + first * size, layout->row, width, size, scales};
}

static struct rows
keys_of(const struct dk_attention *problem, const struct dk_attend_entry *entry, size_t key_head)
{
    return rows_of(problem, entry, key_head, problem->k, &problem->options.key, problem->dim,
                   dk_attention_key_size(problem), problem->options.key_scales);
}

static struct rows
values_of(const struct dk_attention *problem, const struct dk_attend_entry *entry, size_t key_head)
{
    return rows_of(problem, entry, key_head, problem->v, &problem->options.value, problem->width,
                   dk_attention_value_size(problem), problem->options.value_scales);
}

static const char *
row_at(const struct rows *rows, size_t i)
{
    return rows->first + i * rows->stride * rows->size;
}

/* Rows first .. first + count - 1, as f32, dense. */
static void
widen_rows(const struct dk_source *source, const struct rows *rows, size_t first, size_t count,
           float *out)
{
    for (size_t i = first; i < first + count; i++, out += rows->width) {
        if (rows->scales == NULL) {
            dk_widen_store(source->kernels, source->problem->options.store, row_at(rows, i),
                           rows->width, out);
            continue;
        }
        const int8_t *const codes = (const int8_t *)row_at(rows, i);
        for (size_t d = 0; d < rows->width; d++)
            out[d] = (float)codes[d] * rows->scales[i];
    }
}

static void
pack_panel(const struct dk_source *source, const struct dk_source_room *room,
           const struct rows *keys, size_t first, size_t count, float *panel)
{
    const float *rows = (const float *)(const void *)row_at(keys, first);
    size_t stride = keys->stride;

    if (source->softmax_v->pairs) {
        source->kernels->pairs->panel((const uint16_t *)(const void *)rows, stride, count,
                                      keys->width, panel);
        return;
    }
    if (room->rows != NULL) {
        widen_rows(source, keys, first, count, room->rows);
        rows = room->rows;
        stride = keys->width;
    }
    source->kernels->pack_f32(rows, stride, count, keys->width, 1.0f, panel);
}

const float *
dk_source_panel(const struct dk_source *source, const struct dk_source_room *room,
                const struct dk_attend_entry *entry, size_t key_head, size_t key, size_t count)
{
    const struct rows keys = keys_of(source->problem, entry, key_head);

    pack_panel(source, room, &keys, key, count, room->panels);
    return room->panels;
}

void
dk_source_load(const struct dk_source *source, struct dk_source_room *room,
               const struct dk_attend_entry *entry, size_t index, size_t key_head, size_t key,
               size_t count, unsigned wanted, struct dk_attend_block *block)
{
    const struct dk_attention *const problem = source->problem;

    if (problem->cached != NULL) {
        dk_cached_load(source, room, index, key_head, key, count, block);
        return;
    }
    const struct rows keys = keys_of(problem, entry, key_head);
    const struct rows values = values_of(problem, entry, key_head);
    const size_t head = index * problem->key_heads + key_head;
    float *const panels = room->panels + (room->packed != NULL ? key * source->words : 0);

    if (room->packed != NULL && room->head != head) {
        memset(room->packed, 0, source->kept_keys / DK_PANEL * sizeof *room->packed);
        room->head = head;
    }
    for (size_t j = key, p = 0; j < key + count; j += DK_PANEL, p++) {
        if ((wanted >> p & 1) == 0 || (room->packed != NULL && room->packed[j / DK_PANEL]))
            continue;
        /* whole panels, as another unit may see more keys */
        pack_panel(source, room, &keys, j, dk_min(DK_PANEL, entry->window.length - j),
                   panels + (j - key) * source->words);
        if (room->packed != NULL)
            room->packed[j / DK_PANEL] = true;
    }
    block->key = key;
    block->count = count;
    block->panels = panels;
    block->dim = source->words;
    block->width = problem->width;
    memset(block->finite, -1, sizeof block->finite);
    if (room->values != NULL) {
        if (source->softmax_v->pairs)
            source->kernels->pairs->values((const uint16_t *)(const void *)row_at(&values, key),
                                           values.stride, count, values.width, room->values);
        else
            widen_rows(source, &values, key, count, room->values);
        block->value = room->values;
        block->value_stride = problem->width;
    } else {
        block->value = (const float *)(const void *)row_at(&values, key);
        block->value_stride = values.stride;
    }
}

/* Asks for 'count' rows of 'bytes' to be brought into L2; they need not exist. */
static void
prefetch_rows(const char *rows, size_t stride_bytes, size_t count, size_t bytes)
{
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < bytes; i += DK_LINE) {
            __builtin_prefetch(rows + r * stride_bytes + i, 0, 2);
            __asm__ volatile("" : : : "memory"); /* or gcc 12 keeps one of several */
        }
    }
}

/* Keys from .. from + count - 1 of one panel. */
static void
prefetch_part(const struct dk_source *source, const struct dk_source_room *room,
              const struct dk_attend_entry *entry, size_t key_head, size_t from, size_t count)
{
    const struct rows values = values_of(source->problem, entry, key_head);

    if (room->packed != NULL && room->packed[from / DK_PANEL]) {
        const size_t bytes = source->words * sizeof(float);
        prefetch_rows((const char *)(room->panels + from * source->words), bytes, count, bytes);
    } else {
        const struct rows keys = keys_of(source->problem, entry, key_head);
        prefetch_rows(row_at(&keys, from), keys.stride * keys.size, count, keys.width * keys.size);
    }
    prefetch_rows(row_at(&values, from), values.stride * values.size, count,
                  values.width * values.size);
}

void
dk_source_prefetch(const struct dk_source *source, const struct dk_source_room *room,
                   const struct dk_attend_entry *entry, size_t index, size_t key_head, size_t first,
                   size_t last, unsigned wanted, size_t t, size_t parts)
{
    const struct dk_attention *const problem = source->problem;

    if (problem->cached != NULL) {
        dk_cached_prefetch(source, index, key_head, first, last, t, parts);
        return;
    }
    if (source->softmax_v->pairs && parts == 1)
        return; /* packing has asked for it, a little at a time */
    for (size_t key = first; key < last; key += DK_PANEL, wanted >>= 1) {
        const size_t keys = dk_min(DK_PANEL, last - key), from = key + keys * t / parts;
        if ((wanted & 1) != 0)
            prefetch_part(source, room, entry, key_head, from, key + keys * (t + 1) / parts - from);
    }
}
