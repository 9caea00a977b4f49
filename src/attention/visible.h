/*
 * visible.h - which keys count for the rows of one entry and key head, and what is added to scores
 *
 * Everything that excludes a key is here one mask: lengths, causal, windows, boolean masks, blocks,
 * and a bias of -infinity. Rows are those of problem.h: query heads that share keys side by side.
 */
#ifndef DOTK_ATTENTION_VISIBLE_H
#define DOTK_ATTENTION_VISIBLE_H

#include "attention/problem.h"
#include "mask/blocks.h"

struct dk_visible {
    struct dk_mask mask; /* pass &visible.mask; keys count from the entry's first */
    const struct dk_attention *problem;
    struct dk_attend_entry entry;
    size_t key_head;
};

struct dk_visible dk_visible(const struct dk_attention *problem,
                             const struct dk_attend_entry *entry, size_t key_head);

/*
 * The same of a tile: rows row .. row + rows - 1, up to 6 of them, and keys key .. key + count - 1,
 * up to 256 that exist. Only where it is some of them, keep[p][r] has a bit for each key key + 64 p
 * .. of row + r.
 */
enum dk_cover
dk_visible_look(const struct dk_visible *visible, const struct dk_kernels *kernels, size_t row,
                size_t rows, size_t key, size_t count, uint64_t (*keep)[DK_ATTEND_ROWS]);

/* The run of keys outside of which rows first .. last see nothing. */
struct dk_span dk_visible_span(const struct dk_visible *visible, size_t first, size_t last);

/* Whether scores are changed between product and softmax other than by the cap. */
bool dk_attention_has_bias(const struct dk_attention *problem);

/*
 * bias[c] = what is added to the score of 'row' and key + c, for c < count <= 64, in units of
 * base-2 logarithms: bias and slopes times log2(e). Zeros from there to 63. Where the bias is
 * -infinity, which the mask excludes, it may be anything.
 */
void dk_visible_bias(const struct dk_visible *visible, size_t row, size_t key, size_t count,
                     float bias[64]);

/*
 * Bit c: dropout leaves the weight of 'row' and key + c, key being a multiple of 64. Draws are for
 * the query's place in the array, its batch entry and head, and the key's place in the entry.
 */
static inline uint64_t
dk_visible_stay(const struct dk_visible *visible, const struct dk_kernels *kernels,
                const struct dk_dropout *dropout, size_t row, size_t key)
{
    const struct dk_attention *const problem = visible->problem;
    const size_t head = dk_attention_query_head(problem, visible->key_head, row);

    return kernels->dropout(dropout, visible->entry.batch * problem->heads + head,
                            visible->entry.query + dk_attention_query(problem, row), key);
}

/*
 * Asks for what the boolean mask holds of rows row .. end - 1 and 'count' keys. (A bias takes so
 * many more bytes that the processor sees by itself what comes next.)
 */
void dk_visible_prefetch(const struct dk_visible *visible, size_t row, size_t end, size_t key,
                         size_t count);

/* The pairs that count. Looks at every 64 cells where a mask, a bias or blocks are given. */
uint64_t dk_visible_pairs(const struct dk_attention *problem);

#endif /* DOTK_ATTENTION_VISIBLE_H */
