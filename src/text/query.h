/*
 * query.h - the terms of a query, and how much another term is worth in their place
 */
#ifndef DOTK_TEXT_QUERY_H
#define DOTK_TEXT_QUERY_H

#include "text/terms.h"

enum {
    DK_QUERY_TERMS = 64, /* further ones are ignored */
    DK_SYNONYMS = 24,
    DK_TRIGRAMS = DK_TERM_BYTES,
};

struct dk_query_term {
    uint64_t hash;
    char bytes[DK_TERM_BYTES];
    size_t size;
    float weight; /* 1 + ln(how often it stands in the query), half that for an everyday word */
    size_t trigrams;
    uint32_t trigram[DK_TRIGRAMS]; /* ascending */
    size_t synonyms;
    uint64_t synonym[DK_SYNONYMS]; /* hashes of stems */
};

struct dk_query {
    size_t count;
    struct dk_query_term term[DK_QUERY_TERMS];
};

/* The distinct terms of a text; when all are stop words, these. Count 0: there is no word. */
void dk_query_parse(const char *text, size_t size, struct dk_query *out);

/*
 * What a term counts in place of a query's: 1 when they are the same, a part of 1 for a
 * near-synonym or a word that looks like another form of it, else 0.
 */
float dk_query_affinity(const struct dk_query_term *wanted, uint64_t hash, const char *bytes,
                        size_t size);

#endif /* DOTK_TEXT_QUERY_H */
