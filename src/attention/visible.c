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

static uint64_t
bits(const struct dk_mask *mask, size_t row, size_t col)
{
    const struct dk_visible *const visible = of(mask);
    const dotk_attention_options *const options = &visible->problem->options;
    const struct dk_span span = dk_window_span(&visible->entry.window,
                                               dk_attention_query(visible->problem, row));

    if (span.end <= col || span.begin >= col + 64 || span.begin == span.end)
        return 0;
    const size_t count = dk_min(64, visible->entry.window.length - col);
    uint64_t seen = ~UINT64_C(0);
    if (span.end - col < 64)
        seen = (UINT64_C(1) << (span.end - col)) - 1;
    if (span.begin > col)
        seen &= ~UINT64_C(0) << (span.begin - col);
    if (options->blocks != NULL) {
        const struct dk_blocks blocks = blocks_of(visible, row);
        seen &= dk_blocks_bits(&blocks, dk_attention_query(visible->problem, row), col);
    }
    if (options->mask != NULL && seen != 0)
        seen &= dk_bits_of_bytes(
            options->mask + dense_row(visible, &options->mask_layout, row) + col, count);
    if (options->bias != NULL && seen != 0) {
        seen &= dk_bits_of_shown(
            options->bias + dense_row(visible, &options->bias_layout, row) + col, count);
    }
    return seen;
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
