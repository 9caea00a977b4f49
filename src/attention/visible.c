/* visible.c - all masks of an attention call as one, and its biases */
#include "attention/visible.h"

#include <float.h>
#include <string.h>

#include "kernel/bits.h"
#include "kernel/logarithm.h"

static const struct dk_visible *
of(const struct dk_mask *mask)
{
    return (const struct dk_visible *)(const void *)mask; /* its first member */
}

/* Where a row's bytes of the mask, or values of the bias, begin: those of its entry's first key. */
static size_t
dense_row(const struct dk_visible *visible, const dotk_layout *layout, size_t row)
{
    return dk_attention_row(visible->problem, layout, &visible->entry, visible->key_head, row) +
           visible->entry.key;
}

static struct dk_blocks
blocks_of(const struct dk_visible *visible, size_t row)
{
    const struct dk_attention *const problem = visible->problem;
    const dotk_attention_blocks *const given = problem->options.blocks;
    const size_t head = dk_attention_query_head(problem, visible->key_head, row);

    return (struct dk_blocks){
        .rows = given->rows,
        .cols = given->cols,
        .starts = given->starts + (given->per_head ? head * (problem->block_rows + 1) : 0),
        .columns = given->columns,
    };
}

static enum dk_cover
cover_of_blocks(const struct dk_visible *visible, size_t row, size_t rows, size_t col, size_t cols)
{
    const struct dk_attention *const problem = visible->problem;
    const size_t first = dk_attention_query(problem, row);
    const size_t queries = dk_attention_query(problem, row + rows - 1) - first + 1;
    const size_t lists = problem->options.blocks->per_head ? problem->group : 1;
    enum dk_cover cover = DK_COVER_SOME;

    for (size_t g = 0; g < lists; g++) { /* any row of each head: only the head matters */
        const struct dk_blocks blocks = blocks_of(visible, g);
        const enum dk_cover one = dk_blocks_cover(&blocks, first, queries, col, cols);
        if (g > 0 && one != cover)
            return DK_COVER_SOME;
        cover = one;
    }
    return cover;
}

/* Of the boolean mask: told only where one row of it serves all, as with padding. */
static enum dk_cover
cover_of_mask(const struct dk_visible *visible, size_t row, size_t col, size_t cols)
{
    const dotk_attention_options *const options = &visible->problem->options;
    const dotk_layout *const layout = &options->mask_layout;
    const uint8_t *const flags = options->mask + dense_row(visible, layout, row) + col;
    uint64_t all = ~UINT64_C(0), any = 0;

    if (layout->row != 0 || (layout->head != 0 && visible->problem->group > 1))
        return DK_COVER_SOME;
    for (size_t c = 0; c < cols; c += 64) {
        const size_t count = dk_min(64, cols - c);
        const uint64_t bits = dk_bits_of_bytes(flags + c, count);
        all &= bits | (count < 64 ? ~UINT64_C(0) << count : 0);
        any |= bits;
    }
    return any == 0 ? DK_COVER_NONE : ~all == 0 ? DK_COVER_ALL : DK_COVER_SOME;
}

static enum dk_cover
cover(const struct dk_mask *mask, size_t row, size_t rows, size_t col, size_t cols)
{
    const struct dk_visible *const visible = of(mask);
    const dotk_attention_options *const options = &visible->problem->options;
    const struct dk_span first = dk_window_span(&visible->entry.window,
                                                dk_attention_query(visible->problem, row));
    const struct dk_span last = dk_window_span(
        &visible->entry.window, dk_attention_query(visible->problem, row + rows - 1));

    if (last.end <= col || first.begin >= col + cols)
        return DK_COVER_NONE;
    const bool whole = last.begin <= col && first.end >= col + cols;
    if (options->blocks != NULL) {
        const enum dk_cover blocks = cover_of_blocks(visible, row, rows, col, cols);
        if (blocks != DK_COVER_ALL)
            return blocks;
    }
    if (!whole || options->bias != NULL)
        return DK_COVER_SOME;
    return options->mask == NULL ? DK_COVER_ALL : cover_of_mask(visible, row, col, cols);
}

/* Bits of a span among the 64 keys from 'col' on. */
static uint64_t
bits_of_span(struct dk_span span, size_t col)
{
    const size_t begin = span.begin > col ? span.begin - col : 0;

    if (span.end <= col || begin >= 64 || span.begin == span.end)
        return 0;
    const uint64_t below = span.end - col < 64 ? (UINT64_C(1) << (span.end - col)) - 1
                                               : ~UINT64_C(0);
    return below & ~UINT64_C(0) << begin;
}

/* Of 'count' keys from 'col' on, those whose bias is not -infinity. */
static uint64_t
bits_of_bias(const struct dk_visible *visible, size_t row, size_t col, size_t count)
{
    const dotk_attention_options *const options = &visible->problem->options;
    const float *const bias = options->bias + dense_row(visible, &options->bias_layout, row);

    return dk_bits_of_shown(bias + col, count);
}

static uint64_t
bits_of_blocks(const struct dk_visible *visible, size_t row, size_t col)
{
    const struct dk_blocks blocks = blocks_of(visible, row);
    return dk_blocks_bits(&blocks, dk_attention_query(visible->problem, row), col);
}

static uint64_t
bits(const struct dk_mask *mask, size_t row, size_t col)
{
    const struct dk_visible *const visible = of(mask);
    const dotk_attention_options *const options = &visible->problem->options;
    const size_t query = dk_attention_query(visible->problem, row);
    uint64_t seen = bits_of_span(dk_window_span(&visible->entry.window, query), col);

    if (seen == 0)
        return 0;
    const size_t count = dk_min(64, visible->entry.window.length - col);
    if (options->blocks != NULL)
        seen &= bits_of_blocks(visible, row, col);
    if (options->mask != NULL && seen != 0)
        seen &= dk_bits_of_bytes(
            options->mask + dense_row(visible, &options->mask_layout, row) + col, count);
    if (options->bias != NULL && seen != 0)
        seen &= bits_of_bias(visible, row, col, count);
    return seen;
}

/* What the boolean mask says of a tile; everything, where there is none. */
static void
look_at_mask(const struct dk_visible *visible, const struct dk_kernels *kernels, size_t row,
             size_t rows, size_t key, size_t count, uint64_t (*keep)[DK_ATTEND_ROWS])
{
    const dotk_attention_options *const options = &visible->problem->options;
    const dotk_layout *const layout = &options->mask_layout;
    const bool same = layout->row == 0 && (layout->head == 0 || visible->problem->group == 1);
    const uint8_t *flags[DK_ATTEND_ROWS];

    if (options->mask == NULL) {
        memset(keep, 0xff, (count + DK_PANEL - 1) / DK_PANEL * sizeof *keep);
        return;
    }
    for (size_t r = 0; r < rows && (r == 0 || !same); r++)
        flags[r] = options->mask + dense_row(visible, layout, row + r) + key;
    kernels->flags(flags, same ? 1 : rows, count, keep);
    for (size_t p = 0; p * DK_PANEL < count && same; p++) {
        for (size_t r = 1; r < rows; r++)
            keep[p][r] = keep[p][0];
    }
}

/* Leaves of a tile what the blocks list: most tiles have rows of one row of blocks alone. */
static void
look_at_blocks(const struct dk_visible *visible, size_t row, size_t rows, size_t key, size_t count,
               uint64_t (*keep)[DK_ATTEND_ROWS])
{
    const struct dk_attention *const problem = visible->problem;
    const dotk_attention_blocks *const blocks = problem->options.blocks;
    const bool same = (!blocks->per_head || problem->group == 1) &&
                      dk_attention_query(problem, row) / blocks->rows ==
                          dk_attention_query(problem, row + rows - 1) / blocks->rows;

    for (size_t p = 0; p * DK_PANEL < count; p++) {
        uint64_t listed = 0;
        for (size_t r = 0; r < rows; r++) {
            if (r == 0 || !same)
                listed = bits_of_blocks(visible, row + r, key + p * DK_PANEL);
            keep[p][r] &= listed;
        }
    }
}

enum dk_cover
dk_visible_look(const struct dk_visible *visible, const struct dk_kernels *kernels, size_t row,
                size_t rows, size_t key, size_t count, uint64_t (*keep)[DK_ATTEND_ROWS])
{
    const struct dk_attention *const problem = visible->problem;
    const dotk_attention_options *const options = &problem->options;
    const struct dk_span first = dk_window_span(&visible->entry.window,
                                                dk_attention_query(problem, row));
    const struct dk_span last = dk_window_span(&visible->entry.window,
                                               dk_attention_query(problem, row + rows - 1));
    const bool whole = last.begin <= key && first.end >= key + count;
    enum dk_cover listed = DK_COVER_ALL;

    if (last.end <= key || first.begin >= key + count)
        return DK_COVER_NONE;
    if (options->blocks != NULL)
        listed = cover_of_blocks(visible, row, rows, key, count);
    if (listed == DK_COVER_NONE)
        return listed;
    if (whole && listed == DK_COVER_ALL && options->mask == NULL && options->bias == NULL)
        return DK_COVER_ALL;
    look_at_mask(visible, kernels, row, rows, key, count, keep);
    if (listed == DK_COVER_SOME)
        look_at_blocks(visible, row, rows, key, count, keep);
    for (size_t r = 0; r < rows && (!whole || options->bias != NULL); r++) {
        const struct dk_span span = dk_window_span(&visible->entry.window,
                                                   dk_attention_query(problem, row + r));
        for (size_t p = 0; p * DK_PANEL < count; p++) {
            const size_t col = key + p * DK_PANEL;
            keep[p][r] &= bits_of_span(span, col);
            if (options->bias != NULL && keep[p][r] != 0)
                keep[p][r] &= bits_of_bias(visible, row + r, col,
                                           dk_min(DK_PANEL, count - p * DK_PANEL));
        }
    }
    return DK_COVER_SOME;
}

struct dk_visible
dk_visible(const struct dk_attention *problem, const struct dk_attend_entry *entry, size_t key_head)
{
    return (struct dk_visible){
        .mask = {.cover = cover, .bits = bits},
        .problem = problem,
        .entry = *entry,
        .key_head = key_head,
    };
}

struct dk_span
dk_visible_span(const struct dk_visible *visible, size_t first, size_t last)
{
    const struct dk_window *const window = &visible->entry.window;
    const struct dk_attention *const problem = visible->problem;

    return (struct dk_span){
        .begin = dk_window_span(window, dk_attention_query(problem, first)).begin,
        .end = dk_window_span(window, dk_attention_query(problem, last)).end,
    };
}

bool
dk_attention_has_bias(const struct dk_attention *problem)
{
    return problem->options.bias != NULL || problem->options.slopes != NULL;
}

void
dk_visible_bias(const struct dk_visible *visible, size_t row, size_t key, size_t count,
                float bias[64])
{
    const dotk_attention_options *const options = &visible->problem->options;

    if (options->bias != NULL) {
        const float *const from = options->bias + dense_row(visible, &options->bias_layout, row);
        for (size_t c = 0; c < count; c++) { /* the lowest number is finite, and stays it */
            const float exponent = from[key + c] * (float)DK_LOG2_E;
            bias[c] = exponent < -FLT_MAX ? -FLT_MAX : exponent;
        }
        memset(bias + count, 0, (64 - count) * sizeof *bias);
    } else {
        memset(bias, 0, 64 * sizeof *bias);
    }
    if (options->slopes != NULL) {
        const size_t head = dk_attention_query_head(visible->problem, visible->key_head, row);
        const float slope = (float)(options->slopes[head] * DK_LOG2_E);
        const int64_t position = (int64_t)dk_attention_query(visible->problem, row) +
                                 visible->entry.window.offset;
        for (size_t c = 0; c < count; c++) {
            const int64_t away = position - (int64_t)(key + c);
            bias[c] -= slope * (float)(away < 0 ? -away : away);
        }
    }
}

void
dk_visible_prefetch(const struct dk_visible *visible, size_t row, size_t end, size_t key,
                    size_t count)
{
    const dotk_attention_options *const options = &visible->problem->options;

    for (size_t r = row; options->mask != NULL && r < end; r++) {
        const uint8_t *const flags = options->mask + dense_row(visible, &options->mask_layout, r) +
                                     key;
        for (size_t i = 0; i < count; i += DK_LINE) {
            __builtin_prefetch(flags + i);
            __asm__ volatile("" : : : "memory"); /* or gcc 12 keeps one of several */
        }
    }
}

uint64_t
dk_visible_pairs(const struct dk_attention *problem)
{
    const dotk_attention_options *const options = &problem->options;
    const bool look = options->mask != NULL || options->bias != NULL || options->blocks != NULL;
    uint64_t pairs = 0;

    if (problem->heads == 0 || problem->queries == 0)
        return 0;
    for (size_t e = 0; e < problem->entries; e++) {
        const struct dk_attend_entry entry = dk_attention_entry(problem, e);
        for (size_t g = 0; look && g < problem->key_heads; g++) {
            const struct dk_visible visible = dk_visible(problem, &entry, g);
            for (size_t row = 0; row < entry.queries * problem->group; row++) {
                const struct dk_span span = dk_visible_span(&visible, row, row);
                for (size_t key = span.begin / 64 * 64; key < span.end; key += 64)
                    pairs += (uint64_t)__builtin_popcountll(bits(&visible.mask, row, key));
            }
        }
        for (size_t query = 0; !look && query < entry.queries; query++) {
            const struct dk_span span = dk_window_span(&entry.window, query);
            pairs += (span.end - span.begin) * problem->heads;
        }
    }
    return pairs;
}
