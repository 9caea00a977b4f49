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
    kernels->widen->widen_half[tokens->store == DOTK_STORE_F16 ? DK_HALF_F16 : DK_HALF_BF16](
        (const uint16_t *)(const void *)row, tokens->width, room);
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

/* Rows of a store's numbers, in room->codes, 'width' apart; int8: and their scales. */
static void
narrow(const struct dk_put *put, size_t token, size_t n, float *scales)
{
    const size_t width = put->tokens->width;

    for (size_t i = 0; i < n; i++) {
        const float *const row = dk_tokens_row(put->tokens, put->kernels, put->h, token + i,
                                               put->room.rows);
        if (put->cache->store == DOTK_STORE_INT8)
            scales[i] = encode(row, width, (int8_t *)put->room.codes + i * width);
        else
            put->kernels->widen
                ->narrow_half[put->cache->store == DOTK_STORE_F16 ? DK_HALF_F16 : DK_HALF_BF16](
                    row, width, put->room.codes + i * width);
    }
}

/* n rows of f32 into a panel from 'lane' on; from lane 0 on the panel is new. */
static void
put_f32(const struct dk_put *put, size_t token, size_t n, size_t lane, float *panel)
{
    const size_t dim = put->tokens->width;
    const float *rows = put->room.rows;
    size_t stride = dim;

    if (put->tokens->store == DOTK_STORE_F32) {
        rows = dk_tokens_row(put->tokens, put->kernels, put->h, token, NULL);
        stride = put->tokens->row;
    } else {
        for (size_t i = 0; i < n; i++)
            (void)dk_tokens_row(put->tokens, put->kernels, put->h, token + i,
                                put->room.rows + i * dim);
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
        narrow(put, put->token + i, n, dk_page_scales(cache, put->head) + place);
        if (cache->store == DOTK_STORE_F16)
            put_f16(put->room.codes, n, dim, lane, panel);
        else if (cache->store == DOTK_STORE_BF16)
            put_bf16(put->room.codes, n, dim, lane, panel);
        else
            put_i8((const int8_t *)put->room.codes, n, dim, lane, panel);
    }
}

/* Row of values at a place, of f32, f16 or int8. */
static void *
value_row(const dotk_cache *cache, char *head, size_t place)
{
    return head + cache->values_at + place * cache->value_stride * dk_store_bytes(cache->store);
}

/* The value of bf16 at a place: every second number. What follows an even place is made zero. */
static uint16_t *
value_pairs(const dotk_cache *cache, char *head, size_t place)
{
    return (uint16_t *)(void *)(head + cache->values_at) + place / 2 * 2 * cache->value_stride +
           place % 2;
}

void
dk_cache_put_values(const struct dk_put *put)
{
    const dotk_cache *const cache = put->cache;
    const size_t width = cache->width;
    const uint16_t *const codes = put->room.codes;

    for (size_t i = 0; i < put->n; i++) {
        const size_t place = put->first + i;
        void *const row = value_row(cache, put->head, place);
        if (cache->store == DOTK_STORE_F32) {
            memcpy(row,
                   dk_tokens_row(put->tokens, put->kernels, put->h, put->token + i, put->room.rows),
                   width * sizeof(float));
            continue;
        }
        narrow(put, put->token + i, 1, dk_page_scales(cache, put->head) + cache->page_keys + place);
        if (cache->store == DOTK_STORE_BF16) {
            uint16_t *const pairs = value_pairs(cache, put->head, place);
            for (size_t e = 0; e < width; e++) {
                pairs[2 * e] = codes[e];
                if (place % 2 == 0)
                    pairs[2 * e + 1] = 0;
            }
        } else {
            memcpy(row, codes, width * dk_store_bytes(cache->store));
        }
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
    void *const row = value_row(cache, head, place);

    for (size_t e = 0; e < cache->width; e++) {
        switch (cache->store) {
        case DOTK_STORE_F16: out[e] = dk_f16_to_f32(((uint16_t *)row)[e]); break;
        case DOTK_STORE_BF16:
            out[e] = dk_bf16_to_f32(value_pairs(cache, head, place)[2 * e]);
            break;
        case DOTK_STORE_INT8:
            out[e] = ((int8_t *)row)[e] * dk_page_scales(cache, head)[cache->page_keys + place];
            break;
        default: out[e] = ((float *)row)[e];
        }
    }
}

void
dk_cache_copy(const dotk_cache *cache, const struct dk_page *from, size_t count,
              const struct dk_page *to)
{
    const size_t panels = (count + DK_PANEL - 1) / DK_PANEL;
    const size_t values = dk_round_up(count, 2) * cache->value_stride *
                          dk_store_bytes(cache->store);

    for (size_t h = 0; h < cache->heads; h++) {
        const char *const source = dk_page_head(cache, from, h);
        char *const copy = dk_page_head(cache, to, h);
        memcpy(copy, source, panels * cache->panel_bytes);
        memcpy(copy + cache->values_at, source + cache->values_at, values);
        memcpy(copy + cache->scales_at, source + cache->scales_at,
               cache->head_bytes - cache->scales_at);
    }
}
