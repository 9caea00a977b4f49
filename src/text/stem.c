/*
 * stem.c - English inflections taken off; words that say nothing
 *
 * Much lighter than Porter's stemmer (1980): plural, past, -ing and -ly only. Porter's further
 * steps make university and universe one; what they gain in finding "normalization" for "normal"
 * the trigrams of query.c find too, with a weight that says how sure they are. Measured on two
 * collections of abstracts the lighter one lost nothing (bench/grep_quality.py).
 */
#include "text/terms.h"

#include <string.h>

#define ENDS(word, size, suffix)                                                                   \
    ((size) > sizeof(suffix) - 1 &&                                                                \
     memcmp((word) + (size) - (sizeof(suffix) - 1), suffix, sizeof(suffix) - 1) == 0)

static bool
is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

static bool
has_vowel(const char *word, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (is_vowel(word[i]))
            return true;
    return false;
}

/* words, classes, queries, but not gas, class, status, analysis */
static size_t
strip_plural(char *word, size_t size)
{
    if (ENDS(word, size, "sses"))
        return size - 2;
    if (ENDS(word, size, "ies")) {
        if (size <= 4)
            return size - 1;
        word[size - 3] = 'y';
        return size - 2;
    }
    if (ENDS(word, size, "s") && !ENDS(word, size, "ss") && !ENDS(word, size, "us") &&
        !ENDS(word, size, "is"))
        return size - 1;
    return size;
}

/* mapp -> map; but fall, miss and buzz keep their last two letters */
static size_t
undouble(const char *word, size_t size)
{
    const char last = word[size - 1];
    return size > 2 && last == word[size - 2] && last != 'l' && last != 's' && last != 'z'
               ? size - 1
               : size;
}

/* copied, mapped, mapping, but not need, red, string */
static size_t
strip_verb(char *word, size_t size)
{
    if (ENDS(word, size, "eed"))
        return size;
    if (ENDS(word, size, "ied") && size > 4) {
        word[size - 3] = 'y';
        return size - 2;
    }
    if (ENDS(word, size, "ed") && size > 4 && has_vowel(word, size - 2))
        return undouble(word, size - 2);
    if (ENDS(word, size, "ing") && size > 5 && has_vowel(word, size - 3))
        return undouble(word, size - 3);
    return size;
}

size_t
dk_stem(char *word, size_t size)
{
    if (size < 4)
        return size;
    for (size_t i = 0; i < size; i++)
        if (word[i] < 'a' || word[i] > 'z')
            return size;
    size = strip_verb(word, strip_plural(word, size));
    if (ENDS(word, size, "ly") && size > 5)
        size -= 2;
    /* What -ed and -ing leave of "scored" and "scoring" must meet "score", "carried" "carry". */
    if (size > 3 && word[size - 1] == 'e')
        size--;
    if (size > 3 && word[size - 1] == 'y' && !is_vowel(word[size - 2]))
        word[size - 1] = 'i';
    return size;
}

static const char *const stop_words[] = {
#define WORD(text) text,
#include "text/stop_words.def"
#undef WORD
};

bool
dk_stop_word(const char *word, size_t size)
{
    size_t low = 0, high = sizeof stop_words / sizeof *stop_words;

    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strncmp(stop_words[middle], word, size);
        if (order == 0 && stop_words[middle][size] == '\0')
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
