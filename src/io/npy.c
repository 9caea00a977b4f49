/*
 * npy.c - NumPy's .npy, versions 1 to 3
 *
 *     "\x93NUMPY"  major  minor  length of the header (2 bytes; 4 from version 2 on)
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }   spaces, newline
 *     values
 *
 * Format: numpy.lib.format's documentation. The header is a Python literal; NumPy evaluates it,
 * this parser takes only what NumPy writes: the three keys in any order, once each, spaces
 * anywhere, a trailing comma. Nothing in it can be executed, and object arrays (pickles) are
 * refused.
 */
#include "io/read.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <string.h>

enum { MAGIC = 6, PREFIX = 10 /* bytes before a version 1 header */ };

/* The header's text, and how far it has been read. */
struct header {
    const struct dk_source *source;
    size_t at, end; /* offsets in the source */
};

/* A quoted string inside the header. */
struct string {
    const char *text;
    size_t length;
};

static dotk_status
expected(const struct header *header, const char *what)
{
    return dk_fail(DOTK_CORRUPT, "%s: byte %zu: the header should have %s here",
                   header->source->name, header->at, what);
}

/* The next character that is no space, not taken; '\0' at the end. */
static char
peek(struct header *header)
{
    while (header->at < header->end && header->source->bytes[header->at] == ' ')
        header->at++;
    return header->at < header->end ? (char)header->source->bytes[header->at] : '\0';
}

static bool
take(struct header *header, char wanted)
{
    if (peek(header) != wanted || header->at == header->end)
        return false;
    header->at++;
    return true;
}

static bool
take_word(struct header *header, const char *word)
{
    const size_t length = strlen(word);

    (void)peek(header);
    if (header->end - header->at < length ||
        memcmp(header->source->bytes + header->at, word, length) != 0)
        return false;
    header->at += length;
    return true;
}

/* 'text' or "text", of printable ASCII without escapes. */
static bool
take_string(struct header *header, struct string *out)
{
    const char quote = peek(header);

    if (quote != '\'' && quote != '"')
        return false;
    const uint8_t *const text = header->source->bytes + header->at + 1;
    const size_t most = header->end - header->at - 1;
    size_t length = 0;
    while (length < most && text[length] != quote) {
        if (text[length] < ' ' || text[length] > '~' || text[length] == '\\')
            return false;
        length++;
    }
    if (length == most)
        return false;
    *out = (struct string){(const char *)text, length};
    header->at += length + 2;
    return true;
}

static bool
is(struct string string, const char *text)
{
    return string.length == strlen(text) && memcmp(string.text, text, string.length) == 0;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A whole number as Python writes it: no sign, no leading zeros. */
static bool
take_number(struct header *header, size_t *out)
{
    size_t value = 0;

    if (!is_digit(peek(header)))
        return false;
    const size_t start = header->at;
    while (header->at < header->end && is_digit((char)header->source->bytes[header->at])) {
        const size_t digit = header->source->bytes[header->at] - (size_t)'0';
        if (!dk_mul(value, 10, &value) || !dk_add(value, digit, &value))
            return false;
        header->at++;
    }
    *out = value;
    return header->source->bytes[start] != '0' || header->at == start + 1;
}

/* 'shape': (), (3,), (3, 4) or (3, 4,) */
static dotk_status
parse_shape(struct header *header, struct dk_found *found)
{
    bool comma = true;

    found->axes = 0;
    if (!take(header, '('))
        return expected(header, "a tuple of sizes");
    while (!take(header, ')')) {
        size_t size;
        if (!comma || !take_number(header, &size))
            return expected(header, "a size");
        if (found->axes == DOTK_MAX_AXES)
            return dk_fail(DOTK_UNSUPPORTED, "%s: has more than %d axes: reshape it",
                           header->source->name, DOTK_MAX_AXES);
        found->shape[found->axes++] = size;
        comma = take(header, ',');
    }
    if (found->axes == 1 && !comma)
        return expected(header, "a comma, as in (3,)");
    return DOTK_OK;
}

static dotk_status
parse_element(struct header *header, struct dk_found *found)
{
    static const struct {
        const char *descr;
        enum dk_element element;
    } known[] = {{"<f4", DK_ELEMENT_F32}, {"<f8", DK_ELEMENT_F64}, {"<f2", DK_ELEMENT_F16},
                 {"|u1", DK_ELEMENT_U8},  {"|b1", DK_ELEMENT_U8}, /* false and true are 0 and 1 */
                 {"|i1", DK_ELEMENT_I8}};
    struct string descr;

    if (peek(header) == '[' || peek(header) == '(')
        return dk_fail(DOTK_UNSUPPORTED,
                       "%s: is a structured array: save one field as "
                       "numpy.ascontiguousarray(x['field'], dtype='<f4')",
                       header->source->name);
    if (!take_string(header, &descr))
        return expected(header, "an element type in quotes");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (is(descr, known[i].descr)) {
            found->element = known[i].element;
            return DOTK_OK;
        }
    }
    return dk_fail(DOTK_UNSUPPORTED,
                   "%s: element type '%.*s' is not read ('<f4', '<f8', '<f2', '|u1', '|i1' "
                   "and '|b1' are): save it as "
                   "numpy.ascontiguousarray(x, dtype='<f4')",
                   header->source->name, (int)dk_min(descr.length, 16), descr.text);
}

/* The dictionary, from '{' to the newline. */
static dotk_status
parse_dictionary(struct header *header, struct dk_found *found, bool *fortran)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    unsigned seen = 0;
    bool comma = true;

    if (!take(header, '{'))
        return expected(header, "a dictionary");
    while (!take(header, '}')) {
        struct string key;
        dotk_status status = DOTK_OK;
        if (!comma || !take_string(header, &key))
            return expected(header, "a key in quotes");
        const unsigned which = is(key, "descr")           ? DESCR
                               : is(key, "fortran_order") ? ORDER
                               : is(key, "shape")         ? SHAPE
                                                          : ALL;
        if ((seen & which) != 0 || which == ALL)
            return expected(header, "'descr', 'fortran_order' and 'shape' once each");
        if (!take(header, ':'))
            return expected(header, "a colon");
        seen |= which;
        if (which == DESCR)
            status = parse_element(header, found);
        else if (which == SHAPE)
            status = parse_shape(header, found);
        else if (take_word(header, "True"))
            *fortran = true;
        else if (!take_word(header, "False"))
            return expected(header, "True or False");
        if (status != DOTK_OK)
            return status;
        comma = take(header, ',');
    }
    if (seen != ALL)
        return expected(header, "'descr', 'fortran_order' and 'shape' before it");
    (void)take(header, '\n');
    return header->at == header->end ? DOTK_OK : expected(header, "its end");
}

dotk_status
dk_read_npy(const struct dk_source *source, struct dk_found *found)
{
    const uint8_t *const bytes = source->bytes;
    bool fortran = false;

    if (source->size < PREFIX || memcmp(bytes, "\x93NUMPY", MAGIC) != 0)
        return dk_fail(DOTK_CORRUPT, "%s: does not start as a .npy file does", source->name);
    const unsigned version = bytes[MAGIC];
    if (version < 1 || version > 3 || bytes[MAGIC + 1] != 0)
        return dk_fail(DOTK_UNSUPPORTED, "%s: is .npy version %u.%u: versions 1.0 to 3.0 are read",
                       source->name, version, bytes[MAGIC + 1]);
    const size_t start = version == 1 ? PREFIX : PREFIX + 2;
    if (source->size < start)
        return dk_fail(DOTK_CORRUPT, "%s: ends inside the header", source->name);
    const size_t length = version == 1 ? bytes[8] | (size_t)bytes[9] << 8
                                       : (size_t)dk_read_u32(bytes + 8);
    if (length > source->size - start)
        return dk_fail(DOTK_CORRUPT, "%s: the header should have %zu bytes, %zu are left",
                       source->name, length, source->size - start);

    struct header header = {source, start, start + length};
    const dotk_status status = parse_dictionary(&header, found, &fortran);
    if (status != DOTK_OK)
        return status;
    if (fortran && found->axes > 1)
        return dk_fail(DOTK_UNSUPPORTED,
                       "%s: is in Fortran order: save it as numpy.ascontiguousarray(x)",
                       source->name);
    found->format = "npy";
    found->offset = header.end;
    return dk_found_dense(source, found, found->axes == 0 ? 0 : found->axes - 1);
}
