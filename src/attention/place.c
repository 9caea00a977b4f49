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
 *
 * bf16 goes by pairs where the instruction set multiplies them (kernel/gradient.h): weights and
 * gradients of scores are rounded to bf16 then, sums are f32 throughout.
 */
#include "attention/place.h"

#include <string.h>

#include "attention/source.h"
#include "kernel/logarithm.h"

enum { TILE = DK_GRADIENT_ROWS, TILES_MAX = DK_PLACE_ROWS / TILE };

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
    const struct dk_gradient_kernels *const kernels = place->gradient->words;
    const struct dk_mask *const mask = &place->visible.mask;
    const size_t first = t * TILE, rows = dk_min(TILE, place->rows - first);
    const size_t row = place->row + first, panel = key - place->key;
    const uint64_t exist = count == DK_PANEL ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1;
    const enum dk_cover cover = mask->cover(mask, row, rows, key, count);
    _Alignas(64) float score[TILE][DK_PANEL], product[TILE][DK_PANEL], bias[TILE][DK_PANEL];
    const float *query[TILE], *d_out[TILE];
    uint64_t *const keep = room->keep + first, stay[TILE], any = 0;
    const size_t per = dk_place_per_word(place->gradient);
    const size_t dim = (problem->dim + per - 1) / per, width = (problem->width + per - 1) / per;
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
        query[r] = room->queries + (first + r) * dim;
        d_out[r] = room->d_out + (first + r) * width;
        if (biased)
            dk_visible_bias(&place->visible, row + r, key, count, bias[r]);
        if (drops)
            stay[r] = dk_visible_stay(&place->visible, place->gradient->kernels, dropout, row + r,
                                      key);
    }
    const size_t seen = 64 - (size_t)__builtin_clzll(any), cols = dk_round_up(seen, 16);
    (void)kernels->tile(&(struct dk_tile_f32){
        .row = query,
        .rows = rows,
        .dim = dim,
        .cols = cols,
        .panel = room->key_panels + panel * dim,
        .tile = score,
    });
    (void)kernels->tile(&(struct dk_tile_f32){
        .row = d_out,
        .rows = rows,
        .dim = width,
        .cols = cols,
        .panel = room->value_panels + panel * width,
        .tile = product,
    });
    kernels->cells(&(struct dk_gradient_cells){
        .rows = rows,
        .cols = cols,
        .score = (const float(*)[DK_PANEL])score,
        .product = (const float(*)[DK_PANEL])product,
        .scale = (float)(problem->scale * DK_LOG2_E),
        .lse = room->lse + first,
        .delta = room->delta + first,
        .keep = cover == DK_COVER_SOME ? keep : NULL,
        .stay = drops ? stay : NULL,
        .boost = dropout->factor,
        .bias = biased ? (const float(*)[DK_PANEL])bias : NULL,
        .softcap = (float)(problem->options.softcap * DK_LOG2_E),
        .uncapped = place->wanted.bias,
        .weight = room->weight + first / per,
        .gradient = room->gradient + first / per,
        .across = room->across + first,
        .exact = place->wanted.bias ? room->exact + first : NULL,
    });
    return seen;
}

/* ------------------------------------------------------------------------- */
/*  The sums of a panel                                                      */
/* ------------------------------------------------------------------------- */

/* gradient rows of the panel's keys += sums over the rows of the tiles that see some of them */
static void
sum_down(const struct dk_place *place, const size_t seen[TILES_MAX],
         const float (*cell)[DK_GRADIENT_STRIDE], const struct dk_place_words *words, size_t width,
         float factor, float *const output[DK_PANEL], size_t count)
{
    const size_t per = dk_place_per_word(place->gradient);
    const size_t tiles = (place->rows + TILE - 1) / TILE;

    for (size_t c = 0; c < count; c += TILE) {
        for (size_t t = 0; t < tiles; t++) {
            const size_t first = t;
            while (t < tiles && seen[t] > c)
                t++;
            if (t == first)
                continue;
            const size_t rows = dk_min(t * TILE, place->rows) - first * TILE;
            place->gradient->words->sum(&(struct dk_gradient_sum){
                .down = true,
                .weight = &cell[first * TILE / per][c],
                .rows = dk_min(TILE, count - c),
                .count = (rows + per - 1) / per,
                .value = words->row + first * TILE / per * words->stride,
                .value_stride = words->stride,
                .width = width,
                .factor = factor,
                .output = output + c,
            });
        }
    }
}

/* Cell (r, c) of those for "down". */
static float
cell_at(const struct dk_place *place, const float (*cell)[DK_GRADIENT_STRIDE], size_t r, size_t c)
{
    uint32_t bits;
    float number;

    if (!place->gradient->words->pairs)
        return cell[r][c];
    memcpy(&bits, &cell[r / 2][c], sizeof bits);
    bits = r % 2 == 0 ? bits << 16 : bits & 0xffff0000;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Row r of 'queries' or 'd_out' of a room, as floats. */
static const float *
row_at(const struct dk_place_room *room, const struct dk_place *place, const float *rows, size_t r,
       size_t width)
{
    if (!place->gradient->words->pairs)
        return rows + r * width;
    dk_widen_store(place->gradient->kernels, DOTK_STORE_BF16, rows + r * ((width + 1) / 2), width,
                   room->wide);
    return room->wide;
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
    return (float *)(void *)dk_place_element(place->gradient->problem, array,
                                             dk_place_key(place, layout, key));
}

static float *
query_sum(const struct dk_place *place, size_t row)
{
    const struct dk_attention *const problem = place->gradient->problem;

    if (place->sums.queries != NULL)
        return place->sums.queries + (row - place->row) * problem->dim;
    return (float *)(void *)dk_place_element(problem, place->gradient->d_q,
                                             dk_attention_row(problem, &problem->options.query,
                                                              &place->visible.entry,
                                                              place->key_head, row));
}

static void
sum_keys(const struct dk_place_room *room, const struct dk_place *place,
         const size_t seen[TILES_MAX], size_t key, size_t count)
{
    const struct dk_gradient *const gradient = place->gradient;
    const struct dk_attention *const problem = gradient->problem;
    const size_t dim = problem->dim, width = problem->width;
    /* queries are multiplied by scale * log2(e), or by nothing */
    const double factor = gradient->words->pairs ? problem->scale : DK_LN_2;
    const struct {
        void *array;
        const dotk_layout *layout;
        float *sums;
        size_t width;
        const float *row;
        const struct dk_place_words *words;
        const float (*cell)[DK_GRADIENT_STRIDE];
        float factor;
    } of[2] = {{gradient->d_v, &problem->options.value, place->sums.values, width, room->d_out,
                &room->d_out_sums, (const float(*)[DK_GRADIENT_STRIDE])room->weight, 1},
               {gradient->d_k, &problem->options.key, place->sums.keys, dim, room->queries,
                &room->query_sums, (const float(*)[DK_GRADIENT_STRIDE])room->gradient,
                (float)factor}};

    for (size_t i = 0; i < 2; i++) {
        float *output[DK_PANEL];
        if (of[i].array == NULL)
            continue;
        for (size_t c = 0; c < count; c++)
            output[c] = key_sum(place, of[i].array, of[i].layout, of[i].sums, of[i].width, key + c);
        sum_down(place, seen, of[i].cell, of[i].words, of[i].width, of[i].factor, output, count);
        for (size_t r = 0; room->any_bad && r < place->rows; r++) {
            if (!room->bad[r] || seen[r / TILE] == 0)
                continue;
            const float *const row = row_at(room, place, of[i].row, r, of[i].width);
            for (size_t c = 0; c < count; c++) {
                if ((room->keep[r] >> c & 1) != 0)
                    add_pair(cell_at(place, of[i].cell, r, c), row, of[i].width, of[i].factor,
                             output[c]);
            }
        }
    }
}

/* dQ of tile t += the pairs of keys that are not finite, which are zeros in the sum. */
static void
add_bad_keys(const struct dk_place_room *room, const struct dk_place *place, size_t t, size_t key,
             size_t count, float *const output[TILE])
{
    const struct dk_attention *const problem = place->gradient->problem;
    const uint64_t bad = room->bad_keys[(key - place->key) / DK_PANEL];
    const size_t first = t * TILE, rows = dk_min(TILE, place->rows - first);

    for (size_t c = 0; c < count; c++) {
        if ((bad >> c & 1) == 0)
            continue;
        dk_widen_store(place->gradient->kernels, problem->options.store,
                       dk_place_element(problem, problem->k,
                                        dk_place_key(place, &problem->options.key, key + c)),
                       problem->dim, room->wide);
        for (size_t r = 0; r < rows; r++) {
            if ((room->keep[first + r] >> c & 1) != 0)
                add_pair(cell_at(place, (const float(*)[DK_GRADIENT_STRIDE])room->gradient,
                                 first + r, c),
                         room->wide, problem->dim, (float)problem->scale, output[r]);
        }
    }
}

static void
sum_queries(const struct dk_place_room *room, const struct dk_place *place,
            const size_t seen[TILES_MAX], size_t key, size_t count)
{
    const struct dk_attention *const problem = place->gradient->problem;
    const size_t per = dk_place_per_word(place->gradient), panel = key - place->key;

    for (size_t t = 0; t * TILE < place->rows; t++) {
        const size_t first = t * TILE, rows = dk_min(TILE, place->rows - first);
        float *output[TILE];
        if (seen[t] == 0)
            continue;
        for (size_t r = 0; r < rows; r++)
            output[r] = query_sum(place, place->row + first + r);
        place->gradient->words->sum(&(struct dk_gradient_sum){
            .weight = room->across[first],
            .rows = rows,
            .count = (seen[t] + per - 1) / per,
            .value = room->key_sums.row + panel / per * room->key_sums.stride,
            .value_stride = room->key_sums.stride,
            .width = problem->dim,
            .factor = (float)problem->scale,
            .output = output,
        });
        if (room->bad_keys[panel / DK_PANEL] != 0)
            add_bad_keys(room, place, t, key, count, output);
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
            sum[c] += (room->keep[r] >> c & 1) != 0 ? room->exact[r][c] : 0;
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
    dk_place_load_keys(room, place);
    dk_place_load_rows(room, place);
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
            memset(dk_place_element(problem, of[i].array, dk_place_key(place, of[i].layout, key)),
                   0, of[i].width * dk_attention_size(problem));
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
    const struct dk_kernels *const kernels = gradient->kernels;
    const bool last_rows = place->row + place->rows == entry->queries * problem->group;
    const bool last_keys = place->key + place->keys == entry->window.length;

    if (!dk_place_is_half(problem))
        return;
    for (size_t j = 0; place->wanted.keys && last_rows && j < place->keys; j++) {
        const size_t key = place->key + j;
        if (gradient->d_k != NULL)
            dk_narrow_store(
                kernels, options->store, place->sums.keys + j * problem->dim, problem->dim,
                dk_place_element(problem, gradient->d_k, dk_place_key(place, &options->key, key)));
        if (gradient->d_v != NULL)
            dk_narrow_store(kernels, options->store, place->sums.values + j * problem->width,
                            problem->width,
                            dk_place_element(problem, gradient->d_v,
                                             dk_place_key(place, &options->value, key)));
    }
    for (size_t r = 0; place->wanted.queries && last_keys && r < place->rows; r++) {
        const size_t at = dk_attention_row(problem, &options->query, entry, place->key_head,
                                           place->row + r);
        dk_narrow_store(kernels, options->store, place->sums.queries + r * problem->dim,
                        problem->dim, dk_place_element(problem, gradient->d_q, at));
    }
}
