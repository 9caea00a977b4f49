/*
 * cache_store.c - one head's keys and values, into the form of a page and back
 *
 * A token's key is one lane of a panel, so adding it writes to as many cache lines as it has
 * numbers; 64 tokens at once write the same lines once. Rows are rounded first, then scattered.
 */
#include "attention/cache.h"

#include <math.h>
#include <string.h>

#include "kernel/half.h"
#include "rotary/rotary.h"

enum { ROOM = 1 << 15 /* numbers of a room, unless one row has more */ };

static const float INT8_CODES = 127;
static const float INT8_SMALLEST = 0x1p-120f; /* scales below become 0, and the codes with them */
static const float ROUNDER = 0x1.8p23f;       /* adding it rounds to whole numbers, ties to even */

size_t
dk_cache_room_rows(size_t width)
{
    return dk_max(1, dk_min(DK_PANEL, ROOM / width));
}

const float *
dk_tokens_row(const struct dk_tokens *tokens, const struct dk_kernels *kernels, size_t h,
              size_t token, float *room)
{
    const char *const row = tokens->start + (h * tokens->head + token * tokens->row) *
                                                dk_store_bytes(tokens->store);

    if (tokens->store == DOTK_STORE_F32)
        return (const float *)(const void *)row;
    dk_widen_store(kernels, tokens->store, row, tokens->width, room);
    return room;
}

void
dk_cache_angles(const struct dk_turn *turn, size_t token, size_t n, struct dk_cache_room *room)
{
    room->token = token;
    for (size_t i = 0; i < n; i++) {
        const int64_t position = turn->positions != NULL ? turn->positions[token + i]
                                                         : (int64_t)(turn->first + token + i);
        dk_rotary_angles(turn->turns, turn->pairs, position, room->cosines + i * turn->pairs,
                         room->sines + i * turn->pairs);
    }
}

/* A row as it is stored but for rounding: in 'room', when it is not what the caller has. */
static const float *
row_of(const struct dk_put *put, size_t token, float *room)
{
    const float *const row = dk_tokens_row(put->tokens, put->kernels, put->h, token, room);

    if (!put->tokens->turned)
        return row;
    const size_t angles = (token - put->room->token) * put->turn->pairs;
    if (row != room)
        memcpy(room, row, put->tokens->width * sizeof *room);
    dk_rotary_row(room, put->turn->pairs, put->turn->interleaved, put->room->cosines + angles,
                  put->room->sines + angles);
    return room;
}

/* ------------------------------------------------------------------------- */
/*  int8                                                                     */
/* ------------------------------------------------------------------------- */

/* Codes of a row; returns its scale. */
static float
encode(const float *x, size_t width, int8_t *codes)
{
    float most = 0;

    for (size_t d = 0; d < width; d++)
        most = fabsf(x[d]) > most ? fabsf(x[d]) : most;
    const float scale = most / INT8_CODES;
    if (scale < INT8_SMALLEST) {
        memset(codes, 0, width);
        return 0;
    }
    for (size_t d = 0; d < width; d++)
        codes[d] = (int8_t)(x[d] / scale + ROUNDER - ROUNDER);
    return scale;
}

/* ------------------------------------------------------------------------- */
/*  Putting                                                                  */
/* ------------------------------------------------------------------------- */

/* Scale number i of a head: of its keys, then of its values. NULL: only int8 has any. */
static float *
scale_at(const dotk_cache *cache, char *head, size_t i)
{
    return cache->store == DOTK_STORE_INT8 ? dk_page_scales(cache, head) + i : NULL;
}

/* Rows of a store's numbers, in room->codes, 'width' apart; int8: and their scales. */
static void
narrow(const struct dk_put *put, size_t token, size_t n, float *scales)
{
    const size_t width = put->tokens->width;

    for (size_t i = 0; i < n; i++) {
        const float *const row = row_of(put, token + i, put->room->rows);
        if (put->cache->store == DOTK_STORE_INT8)
            scales[i] = encode(row, width, (int8_t *)put->room->codes + i * width);
        else
            dk_narrow_store(put->kernels, put->cache->store, row, width,
                            put->room->codes + i * width);
    }
}

/* n rows of f32 into a panel from 'lane' on; from lane 0 on the panel is new. */
static void
put_f32(const struct dk_put *put, size_t token, size_t n, size_t lane, float *panel)
{
    const size_t dim = put->tokens->width;
    const float *rows = put->room->rows;
    size_t stride = dim;

    if (put->tokens->store == DOTK_STORE_F32 && !put->tokens->turned) {
        rows = dk_tokens_row(put->tokens, put->kernels, put->h, token, NULL);
        stride = put->tokens->row;
    } else {
        for (size_t i = 0; i < n; i++)
            (void)row_of(put, token + i, put->room->rows + i * dim);
    }
    if (lane == 0) {
        put->kernels->pack_f32(rows, stride, n, dim, 1.0f, panel);
        return;
    }
    for (size_t d = 0; d < dim; d++) {
        for (size_t i = 0; i < n; i++)
            panel[d * DK_PANEL + lane + i] = rows[i * stride + d];
    }
}

static void
put_f16(const uint16_t *rows, size_t n, size_t dim, size_t lane, uint16_t *panel)
{
    for (size_t d = 0; d < dim; d++) {
        for (size_t i = 0; i < n; i++)
            panel[d * DK_PANEL + lane + i] = rows[i * dim + d];
    }
}

static void
put_bf16(const uint16_t *rows, size_t n, size_t dim, size_t lane, uint16_t *panel)
{
    for (size_t d = 0; d < dim; d += 2) {
        uint16_t *const pairs = panel + d * DK_PANEL + 2 * lane;
        for (size_t i = 0; i < n; i++) {
            pairs[2 * i] = rows[i * dim + d];
            pairs[2 * i + 1] = d + 1 < dim ? rows[i * dim + d + 1] : 0;
        }
    }
}

static void
put_i8(const int8_t *rows, size_t n, size_t dim, size_t lane, int8_t *panel)
{
    for (size_t d = 0; d < dim; d++) {
        for (size_t i = 0; i < n; i++)
            panel[d * DK_PANEL + lane + i] = rows[i * dim + d];
    }
}

void
dk_cache_put_keys(const struct dk_put *put)
{
    const dotk_cache *const cache = put->cache;
    const size_t dim = cache->dim, room = dk_cache_room_rows(dim);

    for (size_t i = 0, n; i < put->n; i += n) {
        const size_t place = put->first + i, lane = place % DK_PANEL;
        void *const panel = put->head + place / DK_PANEL * cache->panel_bytes;
        n = dk_min(room, put->n - i);
        if (cache->store == DOTK_STORE_F32) {
            put_f32(put, put->token + i, n, lane, panel);
            continue;
        }
        narrow(put, put->token + i, n, scale_at(cache, put->head, place));
        if (cache->store == DOTK_STORE_F16)
            put_f16(put->room->codes, n, dim, lane, panel);
        else if (cache->store == DOTK_STORE_BF16)
            put_bf16(put->room->codes, n, dim, lane, panel);
        else
            put_i8((const int8_t *)put->room->codes, n, dim, lane, panel);
    }
}

/* Where column 0 of strip s of the value at a place lies: of f32, f16 or int8. */
static void *
value_at(const dotk_cache *cache, char *head, size_t place, size_t s)
{
    return head + cache->values_at +
           (s * cache->page_keys + place) * cache->strip * dk_store_bytes(cache->store);
}

/* The same of bf16: every second number, that of the other key of the pair beside each. */
static uint16_t *
pair_at(const dotk_cache *cache, char *head, size_t place, size_t s)
{
    return (uint16_t *)value_at(cache, head, place - place % 2, s) + place % 2;
}

/* Columns of strip s that exist. */
static size_t
columns_of(const dotk_cache *cache, size_t s)
{
    return dk_min(cache->strip, cache->width - s * cache->strip);
}

static void
put_value(const dotk_cache *cache, const void *row, char *head, size_t place)
{
    const size_t bytes = dk_store_bytes(cache->store);

    for (size_t s = 0; s < cache->strips; s++) {
        const size_t columns = columns_of(cache, s);
        const char *const from = (const char *)row + s * cache->strip * bytes;
        if (cache->store != DOTK_STORE_BF16) {
            memcpy(value_at(cache, head, place, s), from, columns * bytes);
            continue;
        }
        const uint16_t *const halves = (const uint16_t *)(const void *)from;
        uint16_t *const pairs = pair_at(cache, head, place, s);
        for (size_t e = 0; e < columns; e++) {
            pairs[2 * e] = halves[e];
            if (place % 2 == 0)
                pairs[2 * e + 1] = 0; /* there is no other key yet */
        }
    }
}

void
dk_cache_put_values(const struct dk_put *put)
{
    const dotk_cache *const cache = put->cache;

    for (size_t i = 0; i < put->n; i++) {
        const size_t place = put->first + i;
        const void *row = put->room->codes;
        if (cache->store == DOTK_STORE_F32)
            row = row_of(put, put->token + i, put->room->rows);
        else
            narrow(put, put->token + i, 1, scale_at(cache, put->head, cache->page_keys + place));
        put_value(cache, row, put->head, place);
    }
}

/* ------------------------------------------------------------------------- */
/*  Getting, copying                                                         */
/* ------------------------------------------------------------------------- */

void
dk_cache_get_key(const dotk_cache *cache, char *head, size_t place, float *out)
{
    void *const panel = head + place / DK_PANEL * cache->panel_bytes;
    const size_t lane = place % DK_PANEL;

    for (size_t d = 0; d < cache->dim; d++) {
        const size_t at = d * DK_PANEL + lane;
        switch (cache->store) {
        case DOTK_STORE_F16: out[d] = dk_f16_to_f32(((uint16_t *)panel)[at]); break;
        case DOTK_STORE_BF16:
            out[d] = dk_bf16_to_f32(((uint16_t *)panel)[d / 2 * 2 * DK_PANEL + 2 * lane + d % 2]);
            break;
        case DOTK_STORE_INT8:
            out[d] = ((int8_t *)panel)[at] * dk_page_scales(cache, head)[place];
            break;
        default: out[d] = ((float *)panel)[at];
        }
    }
}

void
dk_cache_get_value(const dotk_cache *cache, char *head, size_t place, float *out)
{
    for (size_t s = 0; s < cache->strips; s++, out += cache->strip) {
        const void *const row = value_at(cache, head, place, s);
        const float scale = cache->store == DOTK_STORE_INT8
                                ? dk_page_scales(cache, head)[cache->page_keys + place]
                                : 1;
        for (size_t e = 0; e < columns_of(cache, s); e++) {
            switch (cache->store) {
            case DOTK_STORE_F16: out[e] = dk_f16_to_f32(((const uint16_t *)row)[e]); break;
            case DOTK_STORE_BF16:
                out[e] = dk_bf16_to_f32(pair_at(cache, head, place, s)[2 * e]);
                break;
            case DOTK_STORE_INT8: out[e] = ((const int8_t *)row)[e] * scale; break;
            default: out[e] = ((const float *)row)[e];
            }
        }
    }
}

void
dk_cache_copy(const dotk_cache *cache, const struct dk_page *from, size_t count,
              const struct dk_page *to)
{
    const size_t panels = (count + DK_PANEL - 1) / DK_PANEL;
    const size_t values = dk_round_up(count, 2) * cache->strip * dk_store_bytes(cache->store);

    for (size_t h = 0; h < cache->heads; h++) {
        char *const source = dk_page_head(from, h), *const copy = dk_page_head(to, h);
        memcpy(copy, source, panels * cache->panel_bytes);
        for (size_t s = 0; s < cache->strips; s++)
            memcpy(value_at(cache, copy, 0, s), value_at(cache, source, 0, s), values);
        memcpy(copy + cache->scales_at, source + cache->scales_at,
               cache->head_bytes - cache->scales_at);
    }
}
