/*
 * labels.c - names of tokens; see labels.h
 */
#include "labels.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------- */
/*  Width                                                                    */
/* ------------------------------------------------------------------------- */

/* The character that valid UTF-8 begins with. */
static uint32_t
decode(const char *text, size_t length)
{
    const unsigned char *const byte = (const unsigned char *)text;
    uint32_t code = length == 1 ? byte[0] : byte[0] & (0x7fu >> length);

    for (size_t i = 1; i < length; i++)
        code = code << 6 | (byte[i] & 0x3f);
    return code;
}

size_t
label_character(const char *text, size_t *columns)
{
    /* Combining marks, and the scripts and symbols that terminals show two columns wide. */
    static const struct {
        uint32_t first, last;
        size_t columns;
    } ranges[] = {{0x0300, 0x036f, 0},   {0x200b, 0x200f, 0},   {0xfe00, 0xfe0f, 0},
                  {0x1100, 0x115f, 2},   {0x2e80, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},
                  {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},
                  {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2}, {0xffe0, 0xffe6, 2}};
    const size_t length = cli_utf8_length(text) > 0 ? cli_utf8_length(text) : 1;
    const uint32_t code = decode(text, length);

    *columns = 1;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (code >= ranges[i].first && code <= ranges[i].last)
            *columns = ranges[i].columns;
    return length;
}

size_t
label_columns(const char *label)
{
    size_t all = 0, columns;

    while (*label != '\0') {
        label += label_character(label, &columns);
        all += columns;
    }
    return all;
}

/* ------------------------------------------------------------------------- */
/*  Files                                                                    */
/* ------------------------------------------------------------------------- */

/* The whole file, terminated; NULL with errno. Releases nothing of the caller's. */
static char *
read_file(const char *path)
{
    FILE *const in = fopen(path, "re");
    char *text = NULL, part[4096];
    size_t size = 0, got = 0;
    int error = 0;

    if (in == NULL)
        return NULL;
    FILE *const out = open_memstream(&text, &size);
    while (out != NULL && (got = fread(part, 1, sizeof(part), in)) > 0)
        fwrite(part, 1, got, out);
    if (ferror(in) || out == NULL)
        error = errno;
    fclose(in);
    if (out != NULL && fclose(out) != 0)
        error = ENOMEM;
    if (error != 0) {
        free(text);
        errno = error;
        return NULL;
    }
    return text;
}

static bool
is_control(const char *text)
{
    const unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    return first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0);
}

/* 'text' in UTF-8 that no terminal minds, into 'out', which has room for 3 bytes a byte. */
static void
clean(const char *text, char *out)
{
    while (*text != '\0') {
        const size_t length = cli_utf8_length(text);
        if (length == 0 || is_control(text)) {
            out = stpcpy(out, "\xef\xbf\xbd");
        } else {
            memcpy(out, text, length);
            out += length;
        }
        text += length > 0 ? length : 1;
    }
    *out = '\0';
}

/* The lines of 'text', trimmed, as labels in room of their own. */
static bool
split(char *text, struct labels *out)
{
    size_t lines = 1, used = 0;

    for (const char *at = text; *at != '\0'; at++)
        lines += *at == '\n';
    out->label = calloc(lines, sizeof(*out->label));
    out->text = malloc(3 * strlen(text) + lines);
    if (out->label == NULL || out->text == NULL)
        return false;
    for (char *line = text; *line != '\0';) {
        char *const end = line + strcspn(line, "\n"), *last = end;
        char *const next = end + (*end == '\n');
        while (line < last && isspace((unsigned char)*line))
            line++;
        while (last > line && isspace((unsigned char)last[-1]))
            last--;
        *last = '\0';
        clean(line, out->text + used);
        out->label[out->count++] = out->text + used;
        used += strlen(out->text + used) + 1;
        line = next;
    }
    return true;
}

int
labels_read(const struct cli_args *args, enum cli_option option, struct labels *out)
{
    const char *const path = args->value[option].text;

    if (!args->value[option].given)
        return CLI_OK;
    char *const text = read_file(path);
    if (text == NULL)
        return errno == ENOMEM ? cli_out_of_memory(args)
                               : cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, strerror(errno));
    const bool done = split(text, out);
    free(text);
    return done ? CLI_OK : cli_out_of_memory(args);
}

void
labels_free(struct labels *labels)
{
    free(labels->label);
    free(labels->text);
}
