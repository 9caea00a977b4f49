/*
 * query.c - the terms of a query, and how much another term is worth in their place
 *
 * A stem matches only itself; what a light stemmer leaves apart is brought together here, on the
 * side of the query, where there are few terms: words that share most of their trigrams (Dice's
 * coefficient over ^multiply$ and ^multiplication$), and words from the same line of synonyms.def.
 * Giving passages trigrams as features of their own was tried first: ten times the features, and
 * common trigrams drowned rare words.
 */
#include "text/query.h"

#include <math.h>
#include <string.h>

/*
 * A word that looks like another form of the wanted one counts LIKENESS * Dice from LEAST_DICE
 * on. Below 0.5 the matches are mostly accidents (station, nation); the weights are flat around
 * these values (bench/grep_quality.py moves by less than 0.005 from 0.2 to 0.6).
 */
#define LEAST_DICE 0.5f
#define LIKENESS   0.5f
#define SYNONYMY   0.5f

#define WEAKNESS   0.5f /* what a word of weak_words.def counts in a query */

enum { LEAST_SIZE = 4 }; /* shorter words look like too many others */

/* The trigrams of ^bytes$, ascending and distinct; returns how many. */
static size_t
trigrams(const char *bytes, size_t size, uint32_t out[DK_TRIGRAMS])
{
    uint32_t last = '^';
    size_t count = 0;

    for (size_t i = 0; i <= size; i++) {
        const unsigned char c = i < size ? (unsigned char)bytes[i] : '$';
        last = (last << 8 | c) & 0xffffff;
        if (i == 0)
            continue;
        size_t at = count;
        while (at > 0 && out[at - 1] > last)
            at--;
        if (at > 0 && out[at - 1] == last)
            continue;
        memmove(out + at + 1, out + at, (count - at) * sizeof *out);
        out[at] = last;
        count++;
    }
    return count;
}

static float
dice(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count)
{
    size_t shared = 0;

    for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
        shared += a[i] == b[j];
        const bool step_a = a[i] <= b[j], step_b = b[j] <= a[i];
        i += step_a;
        j += step_b;
    }
    return 2.0f * (float)shared / (float)(a_count + b_count);
}

float
dk_query_affinity(const struct dk_query_term *wanted, uint64_t hash, const char *bytes, size_t size)
{
    uint32_t other[DK_TRIGRAMS];

    if (hash == wanted->hash)
        return 1;
    for (size_t i = 0; i < wanted->synonyms; i++)
        if (hash == wanted->synonym[i])
            return SYNONYMY;
    /* Forms of one word begin alike; most pairs end here. */
    if (size < LEAST_SIZE || wanted->size < LEAST_SIZE ||
        memcmp(bytes, wanted->bytes, LEAST_SIZE - 1) != 0)
        return 0;
    const float likeness = dice(wanted->trigram, wanted->trigrams, other,
                                trigrams(bytes, size, other));
    return likeness >= LEAST_DICE ? LIKENESS * likeness : 0;
}

/* Lines of words with spaces between. */
static const char *const synonym_lines[] = {
#define SYNONYMS(words) words,
#include "text/synonyms.def"
#undef SYNONYMS
};

static const char *const weak_words[] = {
#define WORD(text) text,
#include "text/weak_words.def"
#undef WORD
};

/* The stem of the word at *line; moves *line behind it. 0: there is no more. */
static size_t
next_stem(const char **line, char stem[DK_TERM_BYTES])
{
    while (**line == ' ')
        ++*line;
    const size_t size = strcspn(*line, " ");
    if (size == 0 || size > DK_TERM_BYTES)
        return 0;
    memcpy(stem, *line, size);
    *line += size;
    return dk_stem(stem, size);
}

static bool
line_has(const char *line, const struct dk_query_term *term)
{
    char stem[DK_TERM_BYTES];
    size_t size;

    while ((size = next_stem(&line, stem)) > 0)
        if (size == term->size && memcmp(stem, term->bytes, size) == 0)
            return true;
    return false;
}

static float
strength_of(const struct dk_query_term *term)
{
    for (size_t i = 0; i < sizeof weak_words / sizeof *weak_words; i++)
        if (line_has(weak_words[i], term))
            return WEAKNESS;
    return 1;
}

/* A few hundred words are stemmed for each term of a query: some ten microseconds. */
static void
find_synonyms(struct dk_query_term *term)
{
    char stem[DK_TERM_BYTES];

    for (size_t i = 0; i < sizeof synonym_lines / sizeof *synonym_lines; i++) {
        const char *line = synonym_lines[i];
        size_t size;
        if (!line_has(line, term))
            continue;
        while ((size = next_stem(&line, stem)) > 0 && term->synonyms < DK_SYNONYMS) {
            const uint64_t hash = dk_hash(stem, size);
            if (hash != term->hash)
                term->synonym[term->synonyms++] = hash;
        }
    }
}

static void
add_term(struct dk_query *query, const struct dk_term *term, size_t *repeats)
{
    for (size_t i = 0; i < query->count; i++) {
        if (query->term[i].hash == term->hash) {
            repeats[i]++;
            return;
        }
    }
    if (query->count == DK_QUERY_TERMS)
        return;
    struct dk_query_term *const added = &query->term[query->count];
    *added = (struct dk_query_term){.hash = term->hash, .size = term->size};
    memcpy(added->bytes, term->bytes, term->size);
    added->trigrams = trigrams(term->bytes, term->size, added->trigram);
    find_synonyms(added);
    added->weight = strength_of(added);
    repeats[query->count++] = 1;
}

static void
parse(const char *text, size_t size, bool stop_words, struct dk_query *out)
{
    struct dk_terms terms;
    struct dk_run run = {0};
    size_t repeats[DK_QUERY_TERMS];

    out->count = 0;
    while (dk_run_next(text, size, run.end, &run)) {
        dk_run_terms(text + run.begin, run.end - run.begin, stop_words, &terms);
        for (size_t i = 0; i < terms.count; i++)
            add_term(out, &terms.term[i], repeats);
    }
    for (size_t i = 0; i < out->count; i++)
        out->term[i].weight *= 1 + logf((float)repeats[i]);
}

void
dk_query_parse(const char *text, size_t size, struct dk_query *out)
{
    parse(text, size, false, out);
    if (out->count == 0)
        parse(text, size, true, out);
}
