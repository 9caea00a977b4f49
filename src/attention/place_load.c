/* place_load.c - what a place reads: keys packed and rows laid out, as floats or as pairs of bf16
 */
#include "attention/place.h"

#include <math.h>
#include <string.h>

#include "attention/source.h"
#include "kernel/logarithm.h"

size_t
dk_place_keys(const struct dk_attention *problem)
{
    const size_t width = problem->dim + problem->width;
    return width <= 128 ? DK_PLACE_KEYS : width <= 256 ? DK_PLACE_KEYS / 2 : DK_PANEL;
}

size_t
dk_place_rows(const struct dk_attention *problem)
{
    const size_t width = problem->dim + problem->width;
    return width <= 256 ? DK_PLACE_ROWS : width <= 512 ? DK_PLACE_ROWS / 2 : DK_PLACE_ROWS / 4;
}

/* Room for (rows, width) cells or words; false: out of memory. */
static bool
alloc_words(struct dk_call *call, size_t rows, size_t width, float **out)
{
    *out = dk_call_alloc(call, rows * width, sizeof **out);
    return *out != NULL;
}

static bool
alloc_cells(struct dk_call *call, size_t rows, float (**out)[DK_GRADIENT_STRIDE])
{
    *out = dk_call_alloc(call, rows, sizeof **out);
    return *out != NULL;
}

bool
dk_place_alloc(struct dk_call *call, const struct dk_gradient *gradient, struct dk_place_room *room)
{
    const struct dk_attention *const problem = gradient->problem;
    const size_t keys = dk_place_keys(problem), rows = dk_place_rows(problem);
    const size_t dim = problem->dim, width = problem->width, per = dk_place_per_word(gradient);
    const size_t dim_words = (dim + per - 1) / per, width_words = (width + per - 1) / per;
    const bool pairs = gradient->words->pairs, widened = dk_place_is_half(problem) && !pairs;

    *room = (struct dk_place_room){.entry = SIZE_MAX};
    if (!alloc_words(call, keys, dim_words, &room->key_panels) ||
        !alloc_words(call, keys, width_words, &room->value_panels) ||
        !alloc_words(call, rows, dim_words, &room->queries) ||
        !alloc_words(call, rows, width_words, &room->d_out) ||
        !alloc_words(call, rows / per, dim, &room->other_queries) ||
        !alloc_words(call, rows / per, width, &room->other_d_out) ||
        !alloc_words(call, 1, dk_max(dim, width), &room->wide) ||
        !alloc_cells(call, rows / per, &room->weight) ||
        !alloc_cells(call, rows / per, &room->gradient))
        return false;
    if ((pairs || widened) && !alloc_words(call, keys / per, dim, &room->keys))
        return false;
    if (!pairs) {
        room->across = room->exact = room->gradient;
        return (!widened || alloc_words(call, DK_PANEL, width, &room->values)) &&
               alloc_words(call, keys, dim, &room->clean_keys);
    }
    return alloc_cells(call, rows, &room->across) &&
           (gradient->d_bias == NULL || alloc_cells(call, rows, &room->exact));
}

/* ------------------------------------------------------------------------- */
/*  Rows that are not finite                                                 */
/* ------------------------------------------------------------------------- */

static bool
all_finite(const float *values, size_t count)
{
    const uint32_t exponent = 0x7f800000; /* all ones: not finite */
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad == 0;
}

static bool
all_finite_bf16(const uint16_t *values, size_t count)
{
    const uint16_t exponent = 0x7f80;
    uint16_t bad = 0;

    for (size_t i = 0; i < count; i++)
        bad |= (values[i] & exponent) == exponent;
    return bad == 0;
}

/* Row r of words of two rows becomes zeros. */
static void
clear_row(float *words, size_t width, size_t r)
{
    const uint32_t other = r % 2 == 0 ? 0xffff0000 : 0xffff;

    words += r / 2 * width;
    for (size_t e = 0; e < width; e++) {
        uint32_t bits;
        memcpy(&bits, &words[e], sizeof bits);
        bits &= other;
        memcpy(&words[e], &bits, sizeof bits);
    }
}

static void
note_bad(struct dk_place_room *room, size_t r, bool bad)
{
    room->bad[r] = bad;
    room->any_bad = room->any_bad || bad;
}

/* ------------------------------------------------------------------------- */
/*  Keys                                                                     */
/* ------------------------------------------------------------------------- */

/* Rows 'first' .. first + count - 1 of keys or values as f32. */
static struct dk_place_words
f32_rows(const struct dk_place *place, const void *array, const dotk_layout *layout, size_t width,
         size_t first, size_t count, float *wide)
{
    const struct dk_attention *const problem = place->gradient->problem;

    if (wide == NULL)
        return (struct dk_place_words){(const float *)(const void *)dk_place_element(
                                           problem, array, dk_place_key(place, layout, first)),
                                       layout->row};
    for (size_t j = 0; j < count; j++)
        dk_widen_store(place->gradient->kernels, problem->options.store,
                       dk_place_element(problem, array, dk_place_key(place, layout, first + j)),
                       width, wide + j * width);
    return (struct dk_place_words){wide, width};
}

static void
load_keys_f32(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const struct dk_kernels *const kernels = place->gradient->kernels;
    const size_t dim = problem->dim, width = problem->width;
    const struct dk_place_words keys = f32_rows(place, problem->k, &problem->options.key, dim,
                                                place->key, place->keys, room->keys);
    bool bad = false;

    for (size_t first = 0; first < place->keys; first += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, place->keys - first);
        const struct dk_place_words values = f32_rows(place, problem->v, &problem->options.value,
                                                      width, place->key + first, count,
                                                      room->values);
        uint64_t bits = 0;
        kernels->pack_f32(values.row, values.stride, count, width, 1.0f,
                          room->value_panels + first * width);
        kernels->pack_f32(keys.row + first * keys.stride, keys.stride, count, dim, 1.0f,
                          room->key_panels + first * dim);
        for (size_t j = 0; j < count; j++)
            bits |= (uint64_t)!all_finite(keys.row + (first + j) * keys.stride, dim) << j;
        room->bad_keys[first / DK_PANEL] = bits;
        bad = bad || bits != 0;
    }
    room->key_sums = keys;
    if (!bad)
        return;
    for (size_t j = 0; j < place->keys; j++) {
        if ((room->bad_keys[j / DK_PANEL] >> j % DK_PANEL & 1) != 0)
            memset(room->clean_keys + j * dim, 0, dim * sizeof(float));
        else
            memcpy(room->clean_keys + j * dim, keys.row + j * keys.stride, dim * sizeof(float));
    }
    room->key_sums = (struct dk_place_words){room->clean_keys, dim};
}

static void
load_keys_pairs(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const struct dk_pairs_kernels *const pack = place->gradient->kernels->pairs;
    const dotk_layout *const key = &problem->options.key, *const value = &problem->options.value;
    const size_t dim = problem->dim, width = problem->width;
    const uint16_t *const keys = (const uint16_t *)problem->k +
                                 dk_place_key(place, key, place->key);
    const uint16_t *const values = (const uint16_t *)problem->v +
                                   dk_place_key(place, value, place->key);

    pack->values(keys, key->row, place->keys, dim, room->keys);
    for (size_t first = 0; first < place->keys; first += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, place->keys - first);
        uint64_t bits = 0;
        pack->panel(keys + first * key->row, key->row, count, dim,
                    room->key_panels + first * ((dim + 1) / 2));
        pack->panel(values + first * value->row, value->row, count, width,
                    room->value_panels + first * ((width + 1) / 2));
        for (size_t j = 0; j < count; j++) {
            if (all_finite_bf16(keys + (first + j) * key->row, dim))
                continue;
            bits |= UINT64_C(1) << j;
            clear_row(room->keys, dim, first + j);
        }
        room->bad_keys[first / DK_PANEL] = bits;
    }
    room->key_sums = (struct dk_place_words){room->keys, dim};
}

void
dk_place_load_keys(struct dk_place_room *room, const struct dk_place *place)
{
    if (room->entry == place->entry && room->key_head == place->key_head && room->key == place->key)
        return;
    room->entry = place->entry;
    room->key_head = place->key_head;
    room->key = place->key;
    if (place->gradient->words->pairs)
        load_keys_pairs(room, place);
    else
        load_keys_f32(room, place);
}

/* ------------------------------------------------------------------------- */
/*  Rows                                                                     */
/* ------------------------------------------------------------------------- */

/* Query and gradient of the output of a row, as they lie. */
struct row {
    const char *query, *d_out;
};

static struct row
row_of(const struct dk_place *place, size_t row)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const struct dk_attend_entry *const entry = &place->visible.entry;

    return (struct row){dk_place_element(problem, problem->q,
                                         dk_attention_row(problem, &problem->options.query, entry,
                                                          place->key_head, row)),
                        dk_place_element(problem, gradient->d_out,
                                         dk_attention_row(problem, &problem->options.output, entry,
                                                          place->key_head, row))};
}

static void
load_rows_f32(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const dotk_store store = problem->options.store;
    const float factor = (float)(problem->scale * DK_LOG2_E);
    const size_t dim = problem->dim, width = problem->width;

    for (size_t r = 0; r < place->rows; r++) {
        const struct row row = row_of(place, place->row + r);
        float *const query = room->queries + r * dim, *const d_out = room->d_out + r * width;
        dk_widen_store(gradient->kernels, store, row.query, dim, query);
        dk_widen_store(gradient->kernels, store, row.d_out, width, d_out);
        for (size_t d = 0; d < dim; d++)
            query[d] *= factor;
        note_bad(room, r, !all_finite(query, dim) || !all_finite(d_out, width));
    }
    room->query_sums = (struct dk_place_words){room->queries, dim};
    room->d_out_sums = (struct dk_place_words){room->d_out, width};
    if (!room->any_bad)
        return;
    memcpy(room->other_queries, room->queries, place->rows * dim * sizeof(float));
    memcpy(room->other_d_out, room->d_out, place->rows * width * sizeof(float));
    for (size_t r = 0; r < place->rows; r++) {
        if (!room->bad[r])
            continue;
        memset(room->other_queries + r * dim, 0, dim * sizeof(float));
        memset(room->other_d_out + r * width, 0, width * sizeof(float));
    }
    room->query_sums.row = room->other_queries;
    room->d_out_sums.row = room->other_d_out;
}

/* 'width' numbers, and a zero where they are odd. */
static void
copy_pairs(const char *from, size_t width, uint16_t *to)
{
    memcpy(to, from, width * sizeof *to);
    if (width % 2 != 0)
        to[width] = 0;
}

static void
load_rows_pairs(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const struct dk_pairs_kernels *const pack = place->gradient->kernels->pairs;
    const size_t dim = problem->dim, width = problem->width;
    const size_t dims = dim + dim % 2, widths = width + width % 2;
    uint16_t *const queries = (uint16_t *)(void *)room->queries;
    uint16_t *const d_out = (uint16_t *)(void *)room->d_out;

    for (size_t r = 0; r < place->rows; r++) {
        const struct row row = row_of(place, place->row + r);
        copy_pairs(row.query, dim, queries + r * dims);
        copy_pairs(row.d_out, width, d_out + r * widths);
        note_bad(room, r,
                 !all_finite_bf16(queries + r * dims, dims) ||
                     !all_finite_bf16(d_out + r * widths, widths));
    }
    pack->values(queries, dims, place->rows, dim, room->other_queries);
    pack->values(d_out, widths, place->rows, width, room->other_d_out);
    for (size_t r = 0; room->any_bad && r < place->rows; r++) {
        if (!room->bad[r])
            continue;
        clear_row(room->other_queries, dim, r);
        clear_row(room->other_d_out, width, r);
    }
    room->query_sums = (struct dk_place_words){room->other_queries, dim};
    room->d_out_sums = (struct dk_place_words){room->other_d_out, width};
}

void
dk_place_load_rows(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_attention *const problem = place->gradient->problem;

    room->any_bad = false;
    if (place->gradient->words->pairs)
        load_rows_pairs(room, place);
    else
        load_rows_f32(room, place);
    for (size_t r = 0; r < place->rows; r++) {
        const size_t at = dk_attention_lse(problem, &place->visible.entry, place->key_head,
                                           place->row + r);
        /* the row sees nothing, or scores so low that f32 cannot tell them apart: no weights */
        room->lse[r] = problem->lse[at] < -1e30f ? INFINITY : (float)(problem->lse[at] * DK_LOG2_E);
        room->delta[r] = place->gradient->delta[at];
    }
}
