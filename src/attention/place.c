/*
 * place.c - the five products of one place; see place.h and gradient.h
 *
 * Panel after panel of 64 keys:
 *
 *     for each tile of 6 rows that sees some of the panel: scores, dp, weights, gradients
 *     for each 6 keys: dV, then dK, summed over the rows of neighbouring tiles that see some
 *     for each such tile: dQ
 *
 * Differs from the textbook in what a key that does not count may do: nothing. Its weights and
 * gradients are 0, but 0 times a NaN or an infinity of its row would still be NaN in the three
 * sums. So rows that are not all finite are zeros there, and are added one by one for the pairs
 * that count.
 */
#include "attention/place.h"

#include <math.h>
#include <string.h>

#include "attention/source.h"
#include "kernel/logarithm.h"

enum { TILE = DK_GRADIENT_ROWS, TILES_MAX = DK_PLACE_ROWS / TILE };

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

bool
dk_place_alloc(struct dk_call *call, const struct dk_attention *problem, struct dk_place_room *room)
{
    const size_t keys = dk_place_keys(problem), rows = dk_place_rows(problem);
    const size_t dim = problem->dim, width = problem->width;
    const bool half = dk_place_is_half(problem);

    room->entry = SIZE_MAX;
    room->key_panels = dk_call_alloc(call, keys * dim, sizeof(float));
    room->value_panels = dk_call_alloc(call, keys * width, sizeof(float));
    room->keys = half ? dk_call_alloc(call, keys * dim, sizeof(float)) : NULL;
    room->values = half ? dk_call_alloc(call, DK_PANEL * width, sizeof(float)) : NULL;
    room->clean_keys = dk_call_alloc(call, keys * dim, sizeof(float));
    room->queries = dk_call_alloc(call, rows * dim, sizeof(float));
    room->clean_queries = dk_call_alloc(call, rows * dim, sizeof(float));
    room->d_out = dk_call_alloc(call, rows * width, sizeof(float));
    room->clean_d_out = dk_call_alloc(call, rows * width, sizeof(float));
    room->weight = dk_call_alloc(call, rows, sizeof *room->weight);
    room->gradient = dk_call_alloc(call, rows, sizeof *room->gradient);
    return room->key_panels != NULL && room->value_panels != NULL &&
           (!half || (room->keys != NULL && room->values != NULL)) && room->clean_keys != NULL &&
           room->queries != NULL && room->clean_queries != NULL && room->d_out != NULL &&
           room->clean_d_out != NULL && room->weight != NULL && room->gradient != NULL;
}

/* ------------------------------------------------------------------------- */
/*  Rows and keys of a place                                                 */
/* ------------------------------------------------------------------------- */

/* The address of element 'at' of an array of halves or f32. */
static char *
element(const struct dk_attention *problem, const void *array, size_t at)
{
    return (char *)(uintptr_t)array + at * dk_attention_size(problem);
}

static size_t
key_at(const struct dk_place *place, const dotk_layout *layout, size_t key)
{
    const struct dk_attend_entry *const entry = &place->visible.entry;

    return dk_attention_head(layout, entry->batch, place->key_head) +
           (entry->key + key) * layout->row;
}

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

/* Rows 'first' .. first + count - 1 of keys or values as f32; *stride receives their distance. */
static const float *
f32_rows(const struct dk_place *place, const void *array, const dotk_layout *layout, size_t width,
         size_t first, size_t count, float *wide, size_t *stride)
{
    const struct dk_attention *const problem = place->gradient->problem;

    *stride = layout->row;
    if (wide == NULL)
        return (const float *)(const void *)element(problem, array, key_at(place, layout, first));
    *stride = width;
    for (size_t j = 0; j < count; j++)
        dk_source_widen(place->gradient->kernels, problem->options.store,
                        element(problem, array, key_at(place, layout, first + j)), width,
                        wide + j * width);
    return wide;
}

/* Keys of the place as the sum of dQ reads them. */
struct key_rows {
    const float *row;
    size_t stride;
};

static struct key_rows
raw_keys(const struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const dotk_layout *const layout = &problem->options.key;

    if (room->keys != NULL)
        return (struct key_rows){room->keys, problem->dim};
    return (struct key_rows){(const float *)(const void *)element(
                                 problem, problem->k, key_at(place, layout, place->key)),
                             layout->row};
}

/* Packs keys and values of the place, unless they are there. */
static void
load_keys(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const struct dk_kernels *const kernels = place->gradient->kernels;
    const size_t dim = problem->dim, width = problem->width;
    size_t stride;

    if (room->entry == place->entry && room->key_head == place->key_head && room->key == place->key)
        return;
    room->entry = place->entry;
    room->key_head = place->key_head;
    room->key = place->key;
    const float *const keys = f32_rows(place, problem->k, &problem->options.key, dim, place->key,
                                       place->keys, room->keys, &stride);
    bool bad = false;
    for (size_t first = 0; first < place->keys; first += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, place->keys - first);
        uint64_t bits = 0;
        kernels->pack_f32(keys + first * stride, stride, count, dim, 1.0f,
                          room->key_panels + first * dim);
        for (size_t j = 0; j < count; j++)
            bits |= (uint64_t)!all_finite(keys + (first + j) * stride, dim) << j;
        room->bad_keys[first / DK_PANEL] = bits;
        bad = bad || bits != 0;
    }
    for (size_t j = 0; bad && j < place->keys; j++) {
        if ((room->bad_keys[j / DK_PANEL] >> j % DK_PANEL & 1) != 0)
            memset(room->clean_keys + j * dim, 0, dim * sizeof(float));
        else
            memcpy(room->clean_keys + j * dim, keys + j * stride, dim * sizeof(float));
    }
    for (size_t first = 0; first < place->keys; first += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, place->keys - first);
        const float *const values = f32_rows(place, problem->v, &problem->options.value, width,
                                             place->key + first, count, room->values, &stride);
        kernels->pack_f32(values, stride, count, width, 1.0f, room->value_panels + first * width);
    }
}

/* Queries (multiplied), gradients of outputs, log-sum-exps (base 2) and deltas of the rows. */
static void
load_rows(struct dk_place_room *room, const struct dk_place *place)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const dotk_attention_options *const options = &problem->options;
    const struct dk_attend_entry *const entry = &place->visible.entry;
    const float factor = (float)(problem->scale * DK_LOG2_E);
    const size_t dim = problem->dim, width = problem->width;

    room->any_bad = false;
    for (size_t r = 0; r < place->rows; r++) {
        const size_t row = place->row + r;
        const size_t at = dk_attention_lse(problem, entry, place->key_head, row);
        float *const query = room->queries + r * dim, *const d_out = room->d_out + r * width;
        dk_source_widen(
            gradient->kernels, options->store,
            element(problem, problem->q,
                    dk_attention_row(problem, &options->query, entry, place->key_head, row)),
            dim, query);
        dk_source_widen(
            gradient->kernels, options->store,
            element(problem, gradient->d_out,
                    dk_attention_row(problem, &options->output, entry, place->key_head, row)),
            width, d_out);
        for (size_t d = 0; d < dim; d++)
            query[d] *= factor;
        /* the row sees nothing, or scores so low that f32 cannot tell them apart: no weights */
        room->lse[r] = problem->lse[at] < -1e30f ? INFINITY : (float)(problem->lse[at] * DK_LOG2_E);
        room->delta[r] = gradient->delta[at];
        room->bad[r] = !all_finite(query, dim) || !all_finite(d_out, width);
        room->any_bad = room->any_bad || room->bad[r];
    }
    for (size_t r = 0; room->any_bad && r < place->rows; r++) {
        memcpy(room->clean_queries + r * dim, room->queries + r * dim, dim * sizeof(float));
        memcpy(room->clean_d_out + r * width, room->d_out + r * width, width * sizeof(float));
        if (room->bad[r]) {
            memset(room->clean_queries + r * dim, 0, dim * sizeof(float));
            memset(room->clean_d_out + r * width, 0, width * sizeof(float));
        }
    }
}

/* ------------------------------------------------------------------------- */
/*  The cells of a panel                                                     */
/* ------------------------------------------------------------------------- */

/*
 * Weights and gradients of tile t and the panel at 'key'; returns how many columns, the first ones,
 * some row of the tile sees. With 0, cells are left as they were.
 */
static size_t
make_cells(struct dk_place_room *room, const struct dk_place *place, size_t t, size_t key,
           size_t count)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const struct dk_kernels *const kernels = place->gradient->kernels;
    const struct dk_mask *const mask = &place->visible.mask;
    const size_t first = t * TILE, rows = dk_min(TILE, place->rows - first);
    const size_t row = place->row + first, panel = key - place->key;
    const uint64_t exist = count == DK_PANEL ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1;
    const enum dk_cover cover = mask->cover(mask, row, rows, key, count);
    _Alignas(64) float score[TILE][DK_PANEL], product[TILE][DK_PANEL], bias[TILE][DK_PANEL];
    const float *query[TILE], *d_out[TILE];
    uint64_t *const keep = room->keep + first, stay[TILE], any = 0;
    const struct dk_dropout *const dropout = &place->gradient->dropout;
    const bool biased = dk_attention_has_bias(problem), drops = problem->options.dropout > 0;

    for (size_t r = 0; r < rows; r++) {
        keep[r] = cover == DK_COVER_NONE ? 0 : exist;
        if (cover == DK_COVER_SOME)
            keep[r] &= mask->bits(mask, row + r, key);
        any |= keep[r];
    }
    if (any == 0)
        return 0;
    for (size_t r = 0; r < rows; r++) {
        query[r] = room->queries + (first + r) * problem->dim;
        d_out[r] = room->d_out + (first + r) * problem->width;
        if (biased)
            dk_visible_bias(&place->visible, row + r, key, count, bias[r]);
        if (drops)
            stay[r] = dk_visible_stay(&place->visible, kernels, dropout, row + r, key);
    }
    const size_t seen = 64 - (size_t)__builtin_clzll(any), cols = dk_round_up(seen, 16);
    (void)kernels->gradient->tile_f32(&(struct dk_tile_f32){
        .row = query,
        .rows = rows,
        .dim = problem->dim,
        .cols = cols,
        .panel = room->key_panels + panel * problem->dim,
        .tile = score,
    });
    (void)kernels->gradient->tile_f32(&(struct dk_tile_f32){
        .row = d_out,
        .rows = rows,
        .dim = problem->width,
        .cols = cols,
        .panel = room->value_panels + panel * problem->width,
        .tile = product,
    });
    kernels->gradient->cells_f32(&(struct dk_gradient_cells){
        .rows = rows,
        .cols = cols,
        .score = (const float(*)[DK_PANEL])score,
        .product = (const float(*)[DK_PANEL])product,
        .lse = room->lse + first,
        .delta = room->delta + first,
        .keep = cover == DK_COVER_SOME ? keep : NULL,
        .stay = drops ? stay : NULL,
        .boost = dropout->factor,
        .bias = biased ? (const float(*)[DK_PANEL])bias : NULL,
        .softcap = (float)(problem->options.softcap * DK_LOG2_E),
        .uncapped = place->wanted.bias,
        .weight = room->weight + first,
        .gradient = room->gradient + first,
    });
    return seen;
}

/* ------------------------------------------------------------------------- */
/*  The sums of a panel                                                      */
/* ------------------------------------------------------------------------- */

/* gradient rows of the panel's keys += sums over the rows of the tiles that see some of them */
static void
sum_down(const struct dk_place *place, const size_t seen[TILES_MAX],
         const float (*cell)[DK_GRADIENT_STRIDE], const float *row, size_t width, float factor,
         float *const output[DK_PANEL], size_t count)
{
    const size_t tiles = (place->rows + TILE - 1) / TILE;

    for (size_t c = 0; c < count; c += TILE) {
        for (size_t t = 0; t < tiles; t++) {
            const size_t first = t;
            while (t < tiles && seen[t] > c)
                t++;
            if (t == first)
                continue;
            place->gradient->kernels->gradient->sum_f32(&(struct dk_gradient_sum){
                .down = true,
                .weight = &cell[first * TILE][c],
                .rows = dk_min(TILE, count - c),
                .count = dk_min(t * TILE, place->rows) - first * TILE,
                .value = row + first * TILE * width,
                .value_stride = width,
                .width = width,
                .factor = factor,
                .output = output + c,
            });
        }
    }
}

/* output += factor * cell * row, for the pair of a row that is not finite */
static void
add_pair(float cell, const float *row, size_t width, float factor, float *output)
{
    for (size_t e = 0; e < width; e++)
        output[e] += factor * (cell * row[e]);
}

/* The gradient row of key 'key' of the entry, in f32. */
static float *
key_sum(const struct dk_place *place, const void *array, const dotk_layout *layout, float *sums,
        size_t width, size_t key)
{
    if (sums != NULL)
        return sums + (key - place->key) * width;
    return (float *)(void *)element(place->gradient->problem, array, key_at(place, layout, key));
}

static float *
query_sum(const struct dk_place *place, size_t row)
{
    const struct dk_attention *const problem = place->gradient->problem;

    if (place->sums.queries != NULL)
        return place->sums.queries + (row - place->row) * problem->dim;
    return (float *)(void *)element(problem, place->gradient->d_q,
                                    dk_attention_row(problem, &problem->options.query,
                                                     &place->visible.entry, place->key_head, row));
}

static void
sum_keys(const struct dk_place_room *room, const struct dk_place *place,
         const size_t seen[TILES_MAX], size_t key, size_t count)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const size_t dim = problem->dim, width = problem->width;
    const float ln_2 = (float)DK_LN_2; /* queries are multiplied by scale * log2(e) */
    const struct {
        void *array;
        const dotk_layout *layout;
        float *sums;
        size_t width;
        const float *row, *clean;
        const float (*cell)[DK_GRADIENT_STRIDE];
        float factor;
    } of[2] = {{gradient->d_v, &problem->options.value, place->sums.values, width, room->d_out,
                room->clean_d_out, (const float(*)[DK_GRADIENT_STRIDE])room->weight, 1},
               {gradient->d_k, &problem->options.key, place->sums.keys, dim, room->queries,
                room->clean_queries, (const float(*)[DK_GRADIENT_STRIDE])room->gradient, ln_2}};

    for (size_t i = 0; i < 2; i++) {
        float *output[DK_PANEL];
        if (of[i].array == NULL)
            continue;
        for (size_t c = 0; c < count; c++)
            output[c] = key_sum(place, of[i].array, of[i].layout, of[i].sums, of[i].width, key + c);
        sum_down(place, seen, of[i].cell, room->any_bad ? of[i].clean : of[i].row, of[i].width,
                 of[i].factor, output, count);
        for (size_t r = 0; room->any_bad && r < place->rows; r++) {
            for (size_t c = 0; room->bad[r] && c < count; c++) {
                if ((room->keep[r] >> c & 1) != 0)
                    add_pair(of[i].cell[r][c], of[i].row + r * of[i].width, of[i].width,
                             of[i].factor, output[c]);
            }
        }
    }
}

static void
sum_queries(const struct dk_place_room *room, const struct dk_place *place,
            const size_t seen[TILES_MAX], size_t key, size_t count)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const struct key_rows raw = raw_keys(room, place);
    const size_t dim = problem->dim, panel = key - place->key;
    const uint64_t bad = room->bad_keys[panel / DK_PANEL];
    const float scale = (float)problem->scale;

    for (size_t t = 0; t * TILE < place->rows; t++) {
        const size_t first = t * TILE, rows = dk_min(TILE, place->rows - first);
        float *output[TILE];
        if (seen[t] == 0)
            continue;
        for (size_t r = 0; r < rows; r++)
            output[r] = query_sum(place, place->row + first + r);
        place->gradient->kernels->gradient->sum_f32(&(struct dk_gradient_sum){
            .weight = room->gradient[first],
            .rows = rows,
            .count = seen[t],
            .value = bad != 0 ? room->clean_keys + panel * dim : raw.row + panel * raw.stride,
            .value_stride = bad != 0 ? dim : raw.stride,
            .width = dim,
            .factor = scale,
            .output = output,
        });
        for (size_t c = 0; bad != 0 && c < count; c++) {
            for (size_t r = 0; (bad >> c & 1) != 0 && r < rows; r++) {
                if ((room->keep[first + r] >> c & 1) != 0)
                    add_pair(room->gradient[first + r][c], raw.row + (panel + c) * raw.stride, dim,
                             scale, output[r]);
            }
        }
    }
}

/* The gradients of the scores, summed over rows that share a bias, and added to it. */
static void
sum_bias(const struct dk_place_room *room, const struct dk_place *place,
         const size_t seen[TILES_MAX], size_t key)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const dotk_layout *const layout = &problem->options.bias_layout;
    const struct dk_attend_entry *const entry = &place->visible.entry;
    float sum[DK_PANEL] = {0};

    for (size_t r = 0; r < place->rows; r++) {
        const size_t columns = seen[r / TILE];
        const size_t at = dk_attention_row(problem, layout, entry, place->key_head, place->row + r);
        float *const bias = place->gradient->d_bias + at + entry->key + key;
        const bool last = r + 1 == place->rows || layout->row != 0 || layout->head != 0;
        for (size_t c = 0; c < columns; c++)
            sum[c] += (room->keep[r] >> c & 1) != 0 ? room->gradient[r][c] : 0;
        for (size_t c = 0; last && c < DK_PANEL; c++) {
            if (sum[c] != 0)
                bias[c] += sum[c];
            sum[c] = 0;
        }
    }
}

/* ------------------------------------------------------------------------- */
/*  A place                                                                  */
/* ------------------------------------------------------------------------- */

/* Whether some row of the place may see some of its keys. */
static bool
is_seen(const struct dk_place *place)
{
    if (place->rows == 0 || place->keys == 0)
        return false;
    const struct dk_span span = dk_visible_span(&place->visible, place->row,
                                                place->row + place->rows - 1);
    const struct dk_mask *const mask = &place->visible.mask;
    return span.begin < place->key + place->keys && span.end > place->key &&
           mask->cover(mask, place->row, place->rows, place->key, place->keys) != DK_COVER_NONE;
}

void
dk_place_work(const struct dk_place *place, struct dk_place_room *room)
{
    const size_t tiles = (place->rows + TILE - 1) / TILE;

    if (!is_seen(place))
        return;
    load_keys(room, place);
    load_rows(room, place);
    for (size_t first = 0; first < place->keys; first += DK_PANEL) {
        const size_t key = place->key + first, count = dk_min(DK_PANEL, place->keys - first);
        size_t seen[TILES_MAX];
        for (size_t t = 0; t < tiles; t++)
            seen[t] = make_cells(room, place, t, key, count);
        if (place->wanted.keys)
            sum_keys(room, place, seen, key, count);
        if (place->wanted.queries)
            sum_queries(room, place, seen, key, count);
        if (place->wanted.bias)
            sum_bias(room, place, seen, key);
    }
}

/* Keys that an entry has room for, those beyond its length included. */
static size_t
keys_of_entry(const struct dk_attention *problem, size_t entry)
{
    const dotk_attention_options *const options = &problem->options;

    return options->sequences != 0 ? options->key_starts[entry + 1] - options->key_starts[entry]
                                   : problem->keys;
}

/* Sums begin as zeros: those of keys with their first rows, those of queries with their first keys.
 */
void
dk_place_begin(const struct dk_place *place)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const dotk_attention_options *const options = &problem->options;
    const size_t end = place->key + place->keys;
    const bool last = end == place->visible.entry.window.length;
    const struct {
        void *array;
        const dotk_layout *layout;
        float *sums;
        size_t width;
    } of[2] = {{gradient->d_k, &options->key, place->sums.keys, problem->dim},
               {gradient->d_v, &options->value, place->sums.values, problem->width}};

    for (size_t i = 0; i < 2 && place->wanted.keys && place->row == 0; i++) {
        const size_t all = keys_of_entry(problem, place->entry);
        for (size_t key = place->key; of[i].array != NULL && key < end; key++)
            memset(key_sum(place, of[i].array, of[i].layout, of[i].sums, of[i].width, key), 0,
                   of[i].width * sizeof(float));
        for (size_t key = end; of[i].array != NULL && last && key < all; key++)
            memset(element(problem, of[i].array, key_at(place, of[i].layout, key)), 0,
                   of[i].width * dk_attention_size(problem));
    }
    for (size_t r = 0; place->wanted.queries && place->key == 0 && r < place->rows; r++)
        memset(query_sum(place, place->row + r), 0, problem->dim * sizeof(float));
}

/* Halves: narrows what is complete. */
void
dk_place_end(const struct dk_place *place)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const dotk_attention_options *const options = &problem->options;
    const struct dk_attend_entry *const entry = &place->visible.entry;
    dk_narrow_half_fn *const narrow =
        gradient->kernels->widen
            ->narrow_half[options->store == DOTK_STORE_F16 ? DK_HALF_F16 : DK_HALF_BF16];
    const bool last_rows = place->row + place->rows == entry->queries * problem->group;
    const bool last_keys = place->key + place->keys == entry->window.length;

    if (!dk_place_is_half(problem))
        return;
    for (size_t j = 0; place->wanted.keys && last_rows && j < place->keys; j++) {
        const size_t key = place->key + j;
        if (gradient->d_k != NULL)
            narrow(place->sums.keys + j * problem->dim, problem->dim,
                   (uint16_t *)(void *)element(problem, gradient->d_k,
                                               key_at(place, &options->key, key)));
        if (gradient->d_v != NULL)
            narrow(place->sums.values + j * problem->width, problem->width,
                   (uint16_t *)(void *)element(problem, gradient->d_v,
                                               key_at(place, &options->value, key)));
    }
    for (size_t r = 0; place->wanted.queries && last_keys && r < place->rows; r++) {
        const size_t at = dk_attention_row(problem, &options->query, entry, place->key_head,
                                           place->row + r);
        narrow(place->sums.queries + r * problem->dim, problem->dim,
               (uint16_t *)(void *)element(problem, gradient->d_q, at));
    }
}
