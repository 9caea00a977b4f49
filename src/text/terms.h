/*
 * terms.h - what texts are compared by
 *
 *     dk_run_next ........ bytes to runs: stretches without a space or ASCII punctuation
 *     dk_run_terms ....... a run to terms: words, parts of identifiers, characters
 *     dk_stem ............ the inflection taken off an English word
 *     dk_stop_word ....... words that say nothing about a text
 *
 * Two steps, because a run is found at a gigabyte a second and mostly has been seen before:
 * whoever reads much text keeps what became of a run under its hash.
 */
#ifndef DOTK_TEXT_TERMS_H
#define DOTK_TEXT_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DK_RUN_BYTES = 192, /* longer runs are cut, between characters             */
    DK_TERM_BYTES = 64, /* longer terms are no words, and left out             */
    DK_RUN_TERMS = 2 * DK_RUN_BYTES,
};

struct dk_run {
    size_t begin, end;
    uint64_t hash; /* of its bytes */
};

/* Finds the first run from byte 'from' on; false when there is none. */
bool dk_run_next(const char *text, size_t size, size_t from, struct dk_run *out);

struct dk_term {
    uint64_t hash; /* of its bytes: terms are taken for equal when their hashes are */
    const char *bytes;
    uint16_t size;
    uint16_t begin, end; /* where it stands in the run */
    bool part;           /* counts towards the length of a text; false: an identifier's whole,   */
                         /* or two characters, whose parts have been counted                     */
};

struct dk_terms {
    size_t count;
    struct dk_term term[DK_RUN_TERMS];
    size_t used;
    char bytes[DK_RUN_TERMS * 8];
};

/* The terms of a run of at most DK_RUN_BYTES bytes; stop words are left out unless 'stop_words'. */
void dk_run_terms(const char *run, size_t size, bool stop_words, struct dk_terms *out);

/*
 * Takes the inflection off a lower-case word in place and returns its new size. What is left
 * need not be a word. Words with a byte outside a - z are left alone.
 */
size_t dk_stem(char *word, size_t size);

/* Whether a lower-case word is one of stop_words.def. */
bool dk_stop_word(const char *word, size_t size);

/* A hash of bytes, the same on every machine; never 0. */
uint64_t dk_hash(const char *bytes, size_t size);

#endif /* DOTK_TEXT_TERMS_H */
