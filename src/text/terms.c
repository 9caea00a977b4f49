/*
 * terms.c - bytes to terms
 *
 * Differs from the usual tokeniser in three things. Identifiers give their parts and the whole
 * (dk_pool_run, dkPoolRun: dk, pool, run, dkpoolrun). Scripts written without spaces give single
 * characters and pairs of neighbours, which find words there without a dictionary. And accents
 * are dropped (U+0300 - U+036F after decomposition), because people leave them out in queries;
 * the vowel signs of Indic scripts, which decide what a word is, stay.
 */
#include "text/terms.h"

#include <string.h>

#include <utf8proc.h>

/* ------------------------------------------------------------------------- */
/*  Runs                                                                     */
/* ------------------------------------------------------------------------- */

/* 1 for what runs are made of: ASCII letters, digits, the underscore, everything from 0x80 on. */
static const unsigned char
    in_run[256] = {['0'] = 1, 1, 1, 1, 1, 1, 1, 1,         1,         1,         ['A'] = 1, 1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         ['_'] = 1, ['a'] = 1, 1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, [128] = 1, 1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1,         1,         1,         1, 1, 1,
                   1,         1, 1, 1, 1, 1, 1, 1,         1};

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

/* FNV-1a spreads a last byte over the low bits only; this carries it to all of them. */
static uint64_t
finish_hash(uint64_t hash)
{
    hash = (hash ^ (hash >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    return hash != 0 ? hash : 1;
}

uint64_t
dk_hash(const char *bytes, size_t size)
{
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * HASH_PRIME;
    return finish_hash(hash);
}

bool
dk_run_next(const char *text, size_t size, size_t from, struct dk_run *out)
{
    const unsigned char *const bytes = (const unsigned char *)text;
    uint64_t hash = HASH_START;

    while (from < size && !in_run[bytes[from]])
        from++;
    if (from == size)
        return false;
    size_t end = from;
    const size_t limit = size - from > DK_RUN_BYTES ? from + DK_RUN_BYTES : size;
    for (; end < limit && in_run[bytes[end]]; end++)
        hash = (hash ^ bytes[end]) * HASH_PRIME;
    if (end - from == DK_RUN_BYTES && end < size && (bytes[end] & 0xc0) == 0x80) {
        /* Cut inside a character: move back to its first byte, if there is one near. */
        size_t start = end;
        while (start > end - 4 && (bytes[start] & 0xc0) == 0x80)
            start--;
        if ((bytes[start] & 0xc0) != 0x80) {
            *out = (struct dk_run){from, start, dk_hash(text + from, start - from)};
            return true;
        }
    }
    *out = (struct dk_run){from, end, finish_hash(hash)};
    return true;
}

/* ------------------------------------------------------------------------- */
/*  Characters                                                               */
/* ------------------------------------------------------------------------- */

enum kind {
    OTHER, /* ends everything                                      */
    JOINT, /* the underscore: ends a part, not the identifier      */
    LOWER, /* letters that are not upper case, digits              */
    UPPER,
    MARK,      /* belongs to the letter before it                      */
    SPACELESS, /* of a script written without spaces                   */
};

/* Han, Hiragana, Katakana, Thai, Lao, Tibetan, Myanmar, Khmer. */
static bool
is_spaceless(utf8proc_int32_t c)
{
    return (c >= 0x3040 && c <= 0x30ff && c != 0x30fb) || (c >= 0x3400 && c <= 0x4dbf) ||
           (c >= 0x4e00 && c <= 0x9fff) || (c >= 0xf900 && c <= 0xfaff) ||
           (c >= 0xff66 && c <= 0xff9f) || (c >= 0x20000 && c <= 0x3ffff) ||
           (c >= 0x31f0 && c <= 0x31ff) || (c >= 0x0e01 && c <= 0x0eff) ||
           (c >= 0x0f00 && c <= 0x0fff) || (c >= 0x1000 && c <= 0x109f) ||
           (c >= 0x1780 && c <= 0x17ff);
}

static enum kind
kind_of_wide(utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return UPPER;
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return is_spaceless(c) ? SPACELESS : LOWER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return is_spaceless(c) ? SPACELESS : MARK;
    default: return OTHER;
    }
}

/* The kind of the character at bytes, and how many bytes it has; a bad byte is one OTHER. */
static enum kind
kind_at(const char *bytes, size_t left, size_t *size)
{
    const unsigned char c = (unsigned char)bytes[0];
    utf8proc_int32_t wide;

    *size = 1;
    if (c < 0x80) {
        if (c == '_')
            return JOINT;
        if (c >= 'A' && c <= 'Z')
            return UPPER;
        return in_run[c] ? LOWER : OTHER;
    }
    const utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)bytes,
                                                  (utf8proc_ssize_t)left, &wide);
    if (got <= 0)
        return OTHER;
    *size = (size_t)got;
    return kind_of_wide(wide);
}

/* ------------------------------------------------------------------------- */
/*  Folding                                                                  */
/* ------------------------------------------------------------------------- */

/* Case-folds ASCII; returns the size, 0 when it does not fit. */
static size_t
fold_ascii(const char *word, size_t size, char *out)
{
    if (size > DK_TERM_BYTES)
        return 0;
    for (size_t i = 0; i < size; i++)
        out[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] + ('a' - 'A')) : word[i];
    return size;
}

/* NFKC, case-folded, without accents; returns the size, 0 when it does not fit. */
static size_t
fold_wide(const char *word, size_t size, char *out)
{
    /* Reencoding writes UTF-8 over the code points, and a final zero. */
    utf8proc_int32_t points[DK_TERM_BYTES + 1];
    const utf8proc_option_t how = UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE |
                                  UTF8PROC_CASEFOLD;

    const utf8proc_ssize_t count = utf8proc_decompose(
        (const utf8proc_uint8_t *)word, (utf8proc_ssize_t)size, points, DK_TERM_BYTES, how);
    if (count <= 0 || count > DK_TERM_BYTES)
        return 0;
    utf8proc_ssize_t kept = 0;
    for (utf8proc_ssize_t i = 0; i < count; i++)
        if (points[i] < 0x300 || points[i] > 0x36f)
            points[kept++] = points[i];
    const utf8proc_ssize_t bytes = utf8proc_reencode(points, kept,
                                                     UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (bytes <= 0 || bytes > DK_TERM_BYTES)
        return 0;
    memcpy(out, points, (size_t)bytes);
    return (size_t)bytes;
}

static size_t
fold(const char *word, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)word[i] >= 0x80)
            return fold_wide(word, size, out);
    return fold_ascii(word, size, out);
}

/* ------------------------------------------------------------------------- */
/*  Terms                                                                    */
/* ------------------------------------------------------------------------- */

/* Reads one run. */
struct reader {
    const char *run;
    size_t size;
    bool stop_words;
    struct dk_terms *out;
    char whole[DK_TERM_BYTES]; /* the folded parts of the present identifier */
    size_t whole_size;
    size_t parts; /* of it; the whole is worth a term from two on */
    size_t whole_begin, whole_end;
};

static void
emit(struct reader *reader, const char *bytes, size_t size, size_t begin, size_t end, bool part)
{
    struct dk_terms *const out = reader->out;

    if (out->count == DK_RUN_TERMS || sizeof out->bytes - out->used < size)
        return;
    char *const copy = out->bytes + out->used;
    memcpy(copy, bytes, size);
    out->used += size;
    out->term[out->count++] = (struct dk_term){
        .hash = dk_hash(copy, size),
        .bytes = copy,
        .size = (uint16_t)size,
        .begin = (uint16_t)begin,
        .end = (uint16_t)end,
        .part = part,
    };
}

/* Ends the identifier, if one is open. */
static void
end_whole(struct reader *reader)
{
    if (reader->parts > 1 && reader->whole_size > 0)
        emit(reader, reader->whole, reader->whole_size, reader->whole_begin, reader->whole_end,
             false);
    reader->parts = reader->whole_size = 0;
}

/* A word, or one part of an identifier. */
static void
emit_part(struct reader *reader, size_t begin, size_t end)
{
    char word[DK_TERM_BYTES];
    const size_t size = fold(reader->run + begin, end - begin, word);

    if (reader->parts++ == 0)
        reader->whole_begin = begin;
    reader->whole_end = end;
    if (size == 0 || reader->whole_size + size > DK_TERM_BYTES ||
        (reader->parts > 1 && reader->whole_size == 0)) {
        reader->whole_size = 0; /* too long for a term: so is what follows */
    } else {
        memcpy(reader->whole + reader->whole_size, word, size);
        reader->whole_size += size;
    }
    if (size == 0 || (!reader->stop_words && dk_stop_word(word, size)))
        return;
    emit(reader, word, dk_stem(word, size), begin, end, true);
}

/* Single characters and pairs of neighbours, of at least one character. */
static size_t
read_spaceless(struct reader *reader, size_t begin)
{
    char character[DK_TERM_BYTES], pair[2 * DK_TERM_BYTES];
    size_t before = 0, before_begin = begin; /* the previous character: its bytes in 'pair' */
    size_t at = begin, size;

    while (at < reader->size && kind_at(reader->run + at, reader->size - at, &size) == SPACELESS) {
        const size_t folded = fold(reader->run + at, size, character);
        if (folded > 0) {
            emit(reader, character, folded, at, at + size, true);
            memcpy(pair + before, character, folded);
            if (before > 0 && before + folded <= DK_TERM_BYTES)
                emit(reader, pair, before + folded, before_begin, at + size, false);
            memcpy(pair, character, folded);
        }
        before = folded;
        before_begin = at;
        at += size;
    }
    return at;
}

/*
 * The end of the word or part that begins at 'begin', which is LOWER, UPPER or MARK: a part ends
 * before an upper-case letter that follows a lower-case one, or that a lower-case one follows.
 */
static size_t
part_end(const struct reader *reader, size_t begin)
{
    size_t at = begin, size, before_last = begin;
    enum kind last = OTHER;

    while (at < reader->size) {
        const enum kind kind = kind_at(reader->run + at, reader->size - at, &size);
        if (kind == OTHER || kind == JOINT || kind == SPACELESS)
            return at;
        if (kind == UPPER && last == LOWER)
            return at;
        if (kind == LOWER && last == UPPER && before_last > begin && reader->run[at] > '9')
            return before_last;
        if (kind != MARK) {
            last = kind;
            before_last = at;
        }
        at += size;
    }
    return at;
}

void
dk_run_terms(const char *run, size_t size, bool stop_words, struct dk_terms *out)
{
    struct reader reader = {.run = run, .size = size, .stop_words = stop_words, .out = out};
    size_t at = 0, step;

    out->count = out->used = 0;
    while (at < size) {
        const enum kind kind = kind_at(run + at, size - at, &step);
        if (kind == LOWER || kind == UPPER || kind == MARK) {
            const size_t end = part_end(&reader, at);
            emit_part(&reader, at, end);
            at = end;
            continue;
        }
        if (kind == SPACELESS) {
            end_whole(&reader);
            at = read_spaceless(&reader, at);
            continue;
        }
        if (kind == OTHER)
            end_whole(&reader);
        at += step;
    }
    end_whole(&reader);
}
