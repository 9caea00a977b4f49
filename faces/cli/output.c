/*
 * output.c - what a verb hands back: files that appear whole or not at all, JSON, colours
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------------- */
/*  Files                                                                    */
/* ------------------------------------------------------------------------- */

/* The folder that 'path' is in, into buffer; NULL when the path is too long. */
static const char *
folder_of(const char *path, char *buffer, size_t capacity)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL)
        return ".";
    const size_t length = slash == path ? 1 : (size_t)(slash - path);
    if (length >= capacity)
        return NULL;
    memcpy(buffer, path, length);
    buffer[length] = '\0';
    return buffer;
}

bool
cli_is_device(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

static int
check_output(const struct cli_args *args, enum cli_option option)
{
    const char *path = args->value[option].text;
    char buffer[PATH_MAX];
    struct stat info;

    if (path == NULL)
        return CLI_OK;
    if (strcmp(path, "-") == 0)
        return cli_fail(args, CLI_USAGE, "%s is '-': name a file (./- if that is its name)",
                        cli_option_name(option));
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return cli_fail(args, CLI_FAILURE, "%s %s: it is a folder", cli_option_name(option), path);
    if (cli_is_device(path)) /* written to where it is */
        return CLI_OK;
    const char *folder = folder_of(path, buffer, sizeof(buffer));
    if (folder == NULL || access(folder, W_OK) != 0)
        return cli_fail(args, CLI_FAILURE, "%s %s: %s", cli_option_name(option), path,
                        folder == NULL ? strerror(ENAMETOOLONG) : strerror(errno));
    return CLI_OK;
}

static const char *
name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* One name in one folder, however written; a device takes in one output after the other. */
static bool
same_file(const char *a, const char *b)
{
    char buffers[2][PATH_MAX];
    struct stat folders[2];

    if (a == NULL || b == NULL || cli_is_device(a) || strcmp(name_of(a), name_of(b)) != 0)
        return false;
    return stat(folder_of(a, buffers[0], PATH_MAX), &folders[0]) == 0 &&
           stat(folder_of(b, buffers[1], PATH_MAX), &folders[1]) == 0 &&
           folders[0].st_dev == folders[1].st_dev && folders[0].st_ino == folders[1].st_ino;
}

int
cli_check_outputs(const struct cli_args *args, const enum cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const int code = check_output(args, options[i]);
        if (code != CLI_OK)
            return code;
        for (size_t j = 0; j < i; j++)
            if (same_file(args->value[options[i]].text, args->value[options[j]].text))
                return cli_fail(args, CLI_USAGE, "%s and %s are both %s: give each its own file",
                                cli_option_name(options[j]), cli_option_name(options[i]),
                                args->value[options[i]].text);
    }
    return CLI_OK;
}

int
cli_save(const struct cli_args *args, enum cli_option option, dotk_npy_type type, const void *data,
         size_t axes, const size_t *shape)
{
    const char *path = args->value[option].text;

    if (path == NULL)
        return CLI_OK;
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    cli_protect(true);
    const dotk_status status = dotk_npy_save(path, type, data, axes, shape);
    cli_protect(false);
    return status == DOTK_NO_MEMORY || status == DOTK_OK
               ? cli_report(args, status, NULL)
               : cli_fail(args, CLI_FAILURE, "%s %s", cli_option_name(option),
                          dotk_last_message()); /* which begins with the path */
}

static bool
write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(file, text, size);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
    return true;
}

static bool
write_device(const char *path, const char *text, size_t size)
{
    const int file = open(path, O_WRONLY | O_CLOEXEC);

    if (file < 0)
        return false;
    const bool written = write_all(file, text, size);
    return close(file) == 0 && written;
}

/* Puts the text into a new file beside 'path' and renames it; false with errno set. */
static bool
replace_file(const char *path, char *temporary, const char *text, size_t size)
{
    const mode_t mask = umask(0);
    umask(mask);
    const int file = mkstemp(temporary);
    if (file < 0)
        return false;
    const bool written = write_all(file, text, size) && fchmod(file, 0666 & ~mask) == 0 &&
                         fsync(file) == 0;
    const int error = errno;
    const bool closed = close(file) == 0;
    if (written && closed && rename(temporary, path) == 0)
        return true;
    const int why = written ? errno : error;
    unlink(temporary);
    errno = why;
    return false;
}

int
cli_save_text(const struct cli_args *args, enum cli_option option, const char *text, size_t size)
{
    const char *path = args->value[option].text;
    char temporary[PATH_MAX];

    if (path == NULL)
        return CLI_OK;
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return cli_fail(args, CLI_FAILURE, "%s: the path is too long", cli_option_name(option));
    cli_protect(true);
    const bool done = cli_is_device(path) ? write_device(path, text, size)
                                          : replace_file(path, temporary, text, size);
    const int error = errno;
    cli_protect(false);
    return done ? CLI_OK
                : cli_fail(args, CLI_FAILURE, "%s %s: %s", cli_option_name(option), path,
                           strerror(error));
}

/* ------------------------------------------------------------------------- */
/*  JSON                                                                     */
/* ------------------------------------------------------------------------- */

size_t
cli_utf8_length(const char *bytes)
{
    const unsigned char *const text = (const unsigned char *)bytes;
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

    for (size_t extra = 0; extra < 4; extra++) {
        if ((text[0] & forms[extra].mask) != forms[extra].lead)
            continue;
        uint32_t code = text[0] & (unsigned char)~forms[extra].mask;
        for (size_t i = 1; i <= extra; i++) {
            if ((text[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (text[i] & 0x3f);
        }
        const bool surrogate = code >= 0xd800 && code <= 0xdfff;
        return code >= forms[extra].least && code <= 0x10ffff && !surrogate ? extra + 1 : 0;
    }
    return 0;
}

json_t *
cli_json_text(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    const unsigned char *from = (const unsigned char *)text;
    char *clean = malloc(3 * strlen(text) + 1);
    size_t size = 0;

    if (clean == NULL)
        return NULL;
    while (*from != '\0') {
        const size_t length = cli_utf8_length((const char *)from);
        memcpy(clean + size, length > 0 ? (const char *)from : replacement,
               length > 0 ? length : 3);
        size += length > 0 ? length : 3;
        from += length > 0 ? length : 1;
    }
    json_t *json = json_stringn(clean, size);
    free(clean);
    return json;
}

json_t *
cli_json_hit(size_t rank, int64_t id, float score)
{
    return json_pack("{s:I, s:I, s:f}", "rank", (json_int_t)rank, "id", (json_int_t)id, "score",
                     (double)score);
}

int
cli_json_print(const struct cli_args *args, json_t *object)
{
    if (object == NULL)
        return cli_out_of_memory(args);
    /* 9 digits determine an f32. */
    const int failed = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    /* A stream that cannot be written is noticed, and named, when main() closes it. */
    if (failed && !ferror(stdout))
        return cli_out_of_memory(args);
    putchar('\n');
    return CLI_OK;
}

/* ------------------------------------------------------------------------- */
/*  Colours                                                                  */
/* ------------------------------------------------------------------------- */

enum cli_color
cli_color(const struct cli_args *args, FILE *stream)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    const char *color_term = getenv("COLORTERM");

    if (args->value[OPT_NO_COLOR].given || !isatty(fileno(stream)))
        return CLI_COLOR_NONE;
    if ((no_color != NULL && *no_color != '\0') || term == NULL || strcmp(term, "dumb") == 0)
        return CLI_COLOR_NONE;
    if (color_term != NULL &&
        (strcmp(color_term, "truecolor") == 0 || strcmp(color_term, "24bit") == 0))
        return CLI_COLOR_TRUE;
    return strstr(term, "256color") != NULL ? CLI_COLOR_256 : CLI_COLOR_BASIC;
}
