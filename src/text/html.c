/*
 * html.c - the text of an HTML document, line for line
 *
 * One pass of a small state machine, not a parser: a search needs the words and their lines, not
 * the tree. It never reads backwards and never fails; what HTML leaves open at the end of the
 * file (a tag, a comment, a script) swallows the rest, as in browsers. The output may lie over
 * the input, because no construct grows: an entity is at least as long as its character.
 */
#include <dotk/text.h>

#include "platform/status.h"

#include <stdbool.h>
#include <string.h>

struct stripper {
    const char *in, *end;
    char *out; /* where the next byte goes */
    bool line_is_blank;
};

static void
put(struct stripper *s, char c)
{
    *s->out++ = c;
    if (c == '\n')
        s->line_is_blank = true;
    else if (c != ' ' && c != '\t' && c != '\r')
        s->line_is_blank = false;
}

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* Whether 'text' stands at 'at', whatever its case. */
static bool
starts(const char *at, const char *end, const char *text)
{
    for (; *text != '\0'; at++, text++)
        if (at == end || (is_letter(*at) ? (*at | 0x20) : *at) != *text)
            return false;
    return true;
}

/* ------------------------------------------------------------------------- */
/*  Entities                                                                 */
/* ------------------------------------------------------------------------- */

struct entity {
    const char *name;
    uint32_t code;
};

static const struct entity entities[] = {
#define ENTITY(name, code) {name, code},
#include "text/entities.def"
#undef ENTITY
};

static void
put_utf8(struct stripper *s, uint32_t code)
{
    if (code < 0x80) {
        put(s, (char)code);
    } else if (code < 0x800) {
        put(s, (char)(0xc0 | code >> 6));
        put(s, (char)(0x80 | (code & 0x3f)));
    } else if (code < 0x10000) {
        put(s, (char)(0xe0 | code >> 12));
        put(s, (char)(0x80 | (code >> 6 & 0x3f)));
        put(s, (char)(0x80 | (code & 0x3f)));
    } else {
        put(s, (char)(0xf0 | code >> 18));
        put(s, (char)(0x80 | (code >> 12 & 0x3f)));
        put(s, (char)(0x80 | (code >> 6 & 0x3f)));
        put(s, (char)(0x80 | (code & 0x3f)));
    }
}

/* "#65" or "#x41" of 'size' bytes; 0 when it is no character. Line feeds are not made: they count.
 */
static uint32_t
numeric_entity(const char *name, size_t size)
{
    const bool hex = size > 1 && (name[1] | 0x20) == 'x';
    uint32_t code = 0;

    for (size_t i = hex ? 2 : 1; i < size; i++) {
        const char c = name[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return 0;
        code = code * (hex ? 16 : 10) + digit;
        if (code > 0x10ffff)
            return 0;
    }
    if (code == '\n' || code == '\r')
        return ' ';
    return code >= 0xd800 && code <= 0xdfff ? 0 : code;
}

static uint32_t
named_entity(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
        if (strlen(entities[i].name) == size && memcmp(entities[i].name, name, size) == 0)
            return entities[i].code;
    return 0;
}

/* At an ampersand. Unknown entities stay as they are. */
static void
read_entity(struct stripper *s)
{
    enum { LONGEST = 10 };
    const char *const name = s->in + 1;
    size_t size = 0;

    while (size < LONGEST && name + size < s->end && name[size] != ';' &&
           (is_letter(name[size]) || (name[size] >= '0' && name[size] <= '9') ||
            (size == 0 && name[0] == '#')))
        size++;
    uint32_t code = 0;
    if (size > 0 && name + size < s->end && name[size] == ';')
        code = name[0] == '#' ? numeric_entity(name, size) : named_entity(name, size);
    if (code == 0) {
        put(s, *s->in++);
        return;
    }
    put_utf8(s, code == 0xa0 ? ' ' : code);
    s->in = name + size + 1;
}

/* ------------------------------------------------------------------------- */
/*  Markup                                                                   */
/* ------------------------------------------------------------------------- */

/* Moves to the first 'mark' (in lower case), or to the end; line feeds on the way are kept. */
static void
skip_to(struct stripper *s, const char *mark)
{
    while (s->in < s->end && !starts(s->in, s->end, mark)) {
        if (*s->in == '\n')
            put(s, '\n');
        s->in++;
    }
}

/* Moves behind the '>' of a tag; a '>' in a quoted value does not count. */
static void
skip_tag(struct stripper *s)
{
    char quote = 0;
    bool after_equals = false;

    for (; s->in < s->end; s->in++) {
        const char c = *s->in;
        if (c == '\n')
            put(s, '\n');
        if (quote != 0) {
            if (c == quote)
                quote = 0;
            continue;
        }
        if (c == '>') {
            s->in++;
            return;
        }
        if ((c == '"' || c == '\'') && after_equals)
            quote = c;
        if (!is_space(c))
            after_equals = c == '=';
    }
}

/* Tags that stand within a word without parting it. */
static bool
is_inline(const char *name, size_t size)
{
    static const char names[] = " a abbr b big code em font i kbd mark s small span strong sub sup "
                                "tt u var wbr ";
    char padded[16];

    if (size > sizeof padded - 3)
        return false;
    padded[0] = ' ';
    for (size_t i = 0; i < size; i++)
        padded[i + 1] = (char)(name[i] | 0x20);
    padded[size + 1] = ' ';
    padded[size + 2] = '\0';
    return strstr(names, padded) != NULL;
}

/* At '<' and a letter, or '</' and a letter. */
static void
read_tag(struct stripper *s)
{
    const bool closing = s->in[1] == '/';
    const char *const name = s->in + (closing ? 2 : 1);
    size_t size = 0;

    while (name + size < s->end &&
           (is_letter(name[size]) || (name[size] >= '0' && name[size] <= '9')))
        size++;
    /* The shortest tag, <p>, has three bytes: room for what is put here. */
    if (!closing && size == 2 && (name[0] | 0x20) == 'h' && name[1] >= '1' && name[1] <= '6' &&
        s->line_is_blank) {
        put(s, '#');
        put(s, ' ');
        s->line_is_blank = true; /* the heading's text is still to come */
    } else if (!is_inline(name, size)) {
        put(s, ' ');
    }
    const bool script = !closing && size == 6 && starts(name, s->end, "script");
    const bool style = !closing && size == 5 && starts(name, s->end, "style");
    skip_tag(s);
    if (script)
        skip_to(s, "</script");
    else if (style)
        skip_to(s, "</style");
}

/* At '<'. */
static void
read_markup(struct stripper *s)
{
    const char *const in = s->in;
    const char next = s->end - in > 1 ? in[1] : ' ';

    if (starts(in, s->end, "<!--")) {
        s->in += 4;
        skip_to(s, "-->");
        s->in = s->end - s->in > 3 ? s->in + 3 : s->end;
    } else if (is_letter(next) || (next == '/' && s->end - in > 2 && is_letter(in[2]))) {
        read_tag(s);
    } else if (next == '!' || next == '?') {
        skip_tag(s);
    } else {
        put(s, *s->in++);
    }
}

dotk_status
dotk_html_strip(const char *html, size_t size, char *out, size_t *out_size)
{
    if ((html == NULL || out == NULL) && size > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass %zu bytes",
                       html == NULL ? "html" : "out", size);
    if (out_size == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out_size is NULL: pass where to store the size");
    *out_size = 0;
    if (size == 0)
        return DOTK_OK;
    struct stripper s = {.in = html, .end = html + size, .out = out, .line_is_blank = true};
    while (s.in < s.end) {
        if (*s.in == '<')
            read_markup(&s);
        else if (*s.in == '&')
            read_entity(&s);
        else
            put(&s, *s.in++);
    }
    *out_size = (size_t)(s.out - out);
    return DOTK_OK;
}
