/*
 * input.c - opening the files a verb works on: vectors, gzipped vectors, lists of ids
 *
 * The library maps and checks vector files; unpacking gzip is done here, because it takes zlib and
 * libdotk takes nothing. A gzip file says how long it is only at its end and modulo 2^32, so the
 * length is not believed: memory grows with what was really unpacked, and stops at half of
 * what the machine has.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#define CHUNK_BYTES ((size_t)1 << 18)

/* ------------------------------------------------------------------------- */
/*  gzip, and files that cannot be mapped                                    */
/* ------------------------------------------------------------------------- */

/* Bytes that a file turned out to hold, in memory. */
struct content {
    unsigned char *bytes;
    size_t size, capacity;
};

static size_t
content_limit(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (size_t)pages / 2 * (size_t)page : SIZE_MAX / 4;
}

/* Makes room for at least one more byte. */
static int
grow(const struct cli_args *args, const char *path, struct content *out)
{
    const size_t limit = content_limit();

    if (out->size < out->capacity)
        return CLI_OK;
    if (out->capacity >= limit)
        return cli_fail(args, CLI_BAD_INPUT,
                        "%s: it holds more than %zu MiB, half of this machine's memory: make a "
                        "plain file of it, which can be mapped",
                        path, limit >> 20);
    size_t capacity = out->capacity == 0 ? 4 * CHUNK_BYTES : out->capacity + out->capacity / 2;
    if (capacity > limit)
        capacity = limit;
    unsigned char *bytes = realloc(out->bytes, capacity);
    if (bytes == NULL)
        return cli_out_of_memory(args);
    out->bytes = bytes;
    out->capacity = capacity;
    return CLI_OK;
}

static unsigned
zlib_size(size_t size)
{
    return size < UINT_MAX ? (unsigned)size : UINT_MAX;
}

/*
 * Takes in one chunk of the file. *ended: a member of the file has ended and none has begun since
 * (gzip files may be joined; what follows the last may only be zeros).
 */
static int
unpack_chunk(const struct cli_args *args, const char *path, z_stream *stream, bool *ended,
             struct content *out)
{
    while (stream->avail_in > 0) {
        if (*ended) {
            if (*stream->next_in == 0) {
                stream->next_in++;
                stream->avail_in--;
                continue;
            }
            inflateReset(stream);
            *ended = false;
        }
        const int failed = grow(args, path, out);
        if (failed)
            return failed;
        const unsigned room = zlib_size(out->capacity - out->size);
        stream->next_out = out->bytes + out->size;
        stream->avail_out = room;
        const int state = inflate(stream, Z_NO_FLUSH);
        out->size += room - stream->avail_out;
        *ended = state == Z_STREAM_END;
        if (state == Z_MEM_ERROR)
            return cli_out_of_memory(args);
        if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
            return cli_fail(args, CLI_BAD_INPUT,
                            "%s: damaged gzip file, after %zu unpacked bytes: %s", path, out->size,
                            stream->msg != NULL ? stream->msg : "bad data");
    }
    return CLI_OK;
}

static int
unpack(const struct cli_args *args, const char *path, int file, z_stream *stream,
       struct content *out)
{
    static unsigned char chunk[CHUNK_BYTES];
    bool ended = false;
    ssize_t got;

    while ((got = read(file, chunk, sizeof(chunk))) > 0) {
        stream->next_in = chunk;
        stream->avail_in = (unsigned)got;
        const int failed = unpack_chunk(args, path, stream, &ended, out);
        if (failed)
            return failed;
    }
    if (got < 0)
        return cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, strerror(errno));
    if (!ended)
        return cli_fail(args, CLI_BAD_INPUT,
                        "%s: the gzip file is cut off, after %zu unpacked bytes", path, out->size);
    return CLI_OK;
}

/* The name without its .gz, which is what tells .fvecs from .bvecs. */
static const char *
unpacked_name(const char *path, char *buffer, size_t capacity)
{
    const size_t length = strlen(path);

    if (length < 3 || strcmp(path + length - 3, ".gz") != 0 || length - 3 >= capacity)
        return path;
    memcpy(buffer, path, length - 3);
    buffer[length - 3] = '\0';
    return buffer;
}

static int
open_gzip(const struct cli_args *args, const char *path, int file,
          const dotk_vectors_options *options, dotk_vectors **out)
{
    z_stream stream = {0};
    struct content content = {0};
    char name[PATH_MAX];

    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) /* 16: gzip, with its checksum */
        return cli_out_of_memory(args);
    int code = unpack(args, path, file, &stream, &content);
    inflateEnd(&stream);
    if (code == CLI_OK) {
        const char *plain = unpacked_name(path, name, sizeof(name));
        code = cli_report(
            args, dotk_vectors_parse(content.bytes, content.size, plain, options, out), plain);
    }
    free(content.bytes);
    return code;
}

/* A pipe, such as /dev/stdin or a shell's <(...). */
static int
open_pipe(const struct cli_args *args, const char *path, int file,
          const dotk_vectors_options *options, dotk_vectors **out)
{
    struct content content = {0};
    ssize_t got = 1;
    int code = CLI_OK;

    while (got > 0 && code == CLI_OK) {
        code = grow(args, path, &content);
        if (code != CLI_OK)
            break;
        got = read(file, content.bytes + content.size, content.capacity - content.size);
        if (got > 0)
            content.size += (size_t)got;
        else if (got < 0)
            code = cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, strerror(errno));
    }
    if (code == CLI_OK)
        code = cli_report(args, dotk_vectors_parse(content.bytes, content.size, path, options, out),
                          path);
    free(content.bytes);
    return code;
}

/* ------------------------------------------------------------------------- */
/*  Vectors                                                                  */
/* ------------------------------------------------------------------------- */

static bool
ends_with(const char *name, const char *ending)
{
    const size_t length = strlen(name), ending_length = strlen(ending);

    return length >= ending_length && strcmp(name + length - ending_length, ending) == 0;
}

/* --raw is about headerless files, so that a .npy file of queries can go with a raw base. */
static bool
has_own_format(const char *path)
{
    static const char *const endings[] = {".npy",   ".fvecs", ".bvecs", ".fbin",
                                          ".u8bin", ".i8bin", "-ubyte"};
    char buffer[PATH_MAX];
    const char *name = unpacked_name(path, buffer, sizeof(buffer));

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (ends_with(name, endings[i]))
            return true;
    return false;
}

const char *
cli_shape(const dotk_vectors *file)
{
    static char text[DOTK_MAX_AXES * 24];
    size_t used = 0;

    for (size_t i = 0; i < file->axes; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%zu", i == 0 ? "(" : ", ",
                                 file->shape[i]);
    snprintf(text + used, sizeof(text) - used, "%s",
             file->axes == 0   ? "()"
             : file->axes == 1 ? ",)"
                               : ")");
    return text;
}

/* A matrix of no columns is no matrix to anybody here. */
static int
check_width(const struct cli_args *args, const char *path, dotk_vectors **file)
{
    if ((*file)->dim > 0)
        return CLI_OK;
    const int code = cli_fail(args, CLI_BAD_INPUT,
                              "%s: has the shape %s: a vector has at least one value", path,
                              cli_shape(*file));
    dotk_vectors_close(*file);
    *file = NULL;
    return code;
}

static bool
has_gzip_mark(int file)
{
    unsigned char mark[2];

    return pread(file, mark, sizeof(mark), 0) == sizeof(mark) && mark[0] == 0x1f && mark[1] == 0x8b;
}

/* A file that can be mapped. An .fbin file may begin like gzip; the library tells them apart. */
static int
open_plain(const struct cli_args *args, const char *path, int file,
           const dotk_vectors_options *options, dotk_vectors **out)
{
    const bool marked = has_gzip_mark(file);
    dotk_status status = DOTK_UNSUPPORTED;

    if (!marked || options->raw == DOTK_RAW_NONE)
        status = dotk_vectors_open(path, options, out);
    if (marked && status == DOTK_UNSUPPORTED)
        return open_gzip(args, path, file, options, out);
    return cli_report(args, status, path);
}

dotk_raw_type
cli_raw_type(const struct cli_args *args, enum cli_option option)
{
    static const dotk_raw_type types[] = {DOTK_RAW_F32, DOTK_RAW_F16, DOTK_RAW_BF16, DOTK_RAW_U8,
                                          DOTK_RAW_I8}; /* in the order of CLI_RAW_TYPES */

    return args->value[option].given ? types[args->value[option].choice] : DOTK_RAW_NONE;
}

static int
open_vectors(const struct cli_args *args, const char *path, bool stream, dotk_vectors **out)
{
    const struct cli_value *raw = &args->value[OPT_RAW];
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;

    *out = NULL;
    options.stream = stream;
    if (raw->given != args->value[OPT_DIM].given)
        return cli_fail(args, CLI_USAGE, "--raw and --dim go together");
    if (raw->given && !has_own_format(path)) {
        options.raw = cli_raw_type(args, OPT_RAW);
        options.dim = args->value[OPT_DIM].size;
    }

    const int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) {
        const int code = cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, strerror(errno));
        if (file >= 0)
            close(file);
        return code;
    }
    int code;
    if (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || S_ISCHR(info.st_mode))
        code = open_pipe(args, path, file, &options, out);
    else
        code = open_plain(args, path, file, &options, out);
    close(file);
    return code == CLI_OK ? check_width(args, path, out) : code;
}

int
cli_open_vectors(const struct cli_args *args, const char *path, dotk_vectors **out)
{
    return open_vectors(args, path, false, out);
}

int
cli_open_stream(const struct cli_args *args, const char *path, dotk_vectors **out)
{
    return open_vectors(args, path, true, out);
}

/* ------------------------------------------------------------------------- */
/*  Lists of ids                                                             */
/* ------------------------------------------------------------------------- */

struct id_list {
    int64_t *ids;
    size_t count, capacity;
};

static bool
append_id(struct id_list *list, int64_t id)
{
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 1024 : 2 * list->capacity;
        int64_t *ids = realloc(list->ids, capacity * sizeof(*ids));
        if (ids == NULL)
            return false;
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return true;
}

/* The line as a message may show it: without its end, and short. */
static const char *
shown(char *line)
{
    size_t length = strcspn(line, "\r\n");

    if (length > 30)
        length = (size_t)(stpcpy(line + 27, "...") - line);
    line[length] = '\0';
    for (size_t i = 0; i < length; i++)
        if (!isprint((unsigned char)line[i]))
            line[i] = '?';
    return line;
}

static int
read_ids(const struct cli_args *args, const char *path, FILE *file, struct id_list *list)
{
    static const char spaces[] = " \t\r\n";
    char line[64], *end;

    for (size_t number = 1; fgets(line, sizeof(line), file) != NULL; number++) {
        const bool whole = strchr(line, '\n') != NULL || feof(file);
        if (whole && line[strspn(line, spaces)] == '\0')
            continue;
        errno = 0;
        const long long id = strtoll(line, &end, 10);
        if (!whole || end == line || errno != 0 || id < 0 || end[strspn(end, spaces)] != '\0')
            return cli_fail(args, CLI_BAD_INPUT,
                            "%s: line %zu is '%s': give one whole number on each line, from 0 to "
                            "%lld",
                            path, number, shown(line), (long long)INT64_MAX);
        if (!append_id(list, id))
            return cli_out_of_memory(args);
    }
    if (ferror(file))
        return cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, strerror(errno));
    return CLI_OK;
}

int
cli_read_ids(const struct cli_args *args, const char *path, int64_t **ids, size_t *count)
{
    struct id_list list = {0};
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, strerror(errno));
    const int code = read_ids(args, path, file, &list);
    fclose(file);
    if (code != CLI_OK)
        free(list.ids);
    *ids = code == CLI_OK ? list.ids : NULL;
    *count = code == CLI_OK ? list.count : 0;
    return code;
}
