/*
 * id_mask.c - an id filter as a mask
 *
 * Filters come in two forms, over ids; a scan asks about positions, 64 at a time. Translating
 * once per call, into one bit a position, costs far less than the scan (500,000 positions are
 * 62 KiB) and leaves one simple answer for every form of filter and every kind of id.
 */
#include "mask/id_mask.h"

#include <string.h>

/* Bits from .. from + n - 1 of a word, n at most 64 - from. */
static uint64_t
range_bits(size_t from, size_t n)
{
    return (n == 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << from;
}

static enum dk_cover
cover(const struct dk_mask *base, size_t row, size_t rows, size_t col, size_t cols)
{
    const struct dk_id_mask *const mask = (const struct dk_id_mask *)base;
    bool none = true, all = true;

    (void)row, (void)rows;
    for (const size_t end = col + cols; col < end && (none || all);) {
        const size_t n = dk_min(64 - col % 64, end - col);
        const uint64_t wanted = range_bits(col % 64, n);
        const uint64_t found = mask->words[col / 64] & wanted;
        none = none && found == 0;
        all = all && found == wanted;
        col += n;
    }
    return none ? DK_COVER_NONE : all ? DK_COVER_ALL : DK_COVER_SOME;
}

static uint64_t
bits(const struct dk_mask *base, size_t row, size_t col)
{
    const struct dk_id_mask *const mask = (const struct dk_id_mask *)base;
    const size_t word = col / 64, shift = col % 64;

    (void)row;
    uint64_t found = mask->words[word] >> shift;
    if (shift != 0 && word + 1 < dk_id_mask_words(mask->count))
        found |= mask->words[word + 1] << (64 - shift);
    return found;
}

size_t
dk_id_mask_words(size_t count)
{
    return count / 64 + (count % 64 != 0);
}

void
dk_id_mask_init(struct dk_id_mask *mask, uint64_t *words, size_t count)
{
    *mask = (struct dk_id_mask){{cover, bits}, words, count};
    memset(words, 0, dk_id_mask_words(count) * sizeof *words);
}

void
dk_id_mask_set_bitmap(struct dk_id_mask *mask, const uint8_t *bitmap, size_t bitmap_bits)
{
    const size_t n = dk_min(bitmap_bits, mask->count);

    for (size_t word = 0; word < n / 64; word++) {
        uint64_t bits = 0;
        for (size_t i = 0; i < 8; i++)
            bits |= (uint64_t)bitmap[word * 8 + i] << i * 8;
        mask->words[word] |= bits;
    }
    for (size_t byte = n / 64 * 8; byte < n / 8; byte++)
        mask->words[byte / 8] |= (uint64_t)bitmap[byte] << byte % 8 * 8;
    if (n % 8 != 0) {
        const uint64_t last = bitmap[n / 8] & range_bits(0, n % 8);
        mask->words[n / 64] |= last << n / 8 % 8 * 8;
    }
}

void
dk_id_mask_set_all(struct dk_id_mask *mask)
{
    memset(mask->words, 0xff, mask->count / 64 * sizeof *mask->words);
    if (mask->count % 64 != 0)
        mask->words[mask->count / 64] = range_bits(0, mask->count % 64);
}

void
dk_id_mask_exclude(struct dk_id_mask *mask, const uint64_t *words)
{
    for (size_t i = 0; i < dk_id_mask_words(mask->count); i++)
        mask->words[i] &= ~words[i];
}

size_t
dk_id_mask_passing(const struct dk_id_mask *mask)
{
    size_t passing = 0;

    for (size_t i = 0; i < dk_id_mask_words(mask->count); i++)
        passing += (size_t)__builtin_popcountll(mask->words[i]);
    return passing;
}
