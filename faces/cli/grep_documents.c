/*
 * grep_documents.c - files to documents: slices that are read, and can be read again
 *
 * The text of a large tree is not kept. Every file is read once for the shortlist, in batches
 * that threads can share out, and the few files that candidates come from are read once more.
 */
#include "grep.h"

#include "walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH_DOCUMENTS = 1024 };
#define BATCH_BYTES (2 * GREP_SLICE)

dotk_text_format
grep_format(const char *path)
{
    static const struct {
        const char *ending;
        dotk_text_format format;
    } formats[] = {
        {".md", DOTK_TEXT_MARKDOWN},    {".markdown", DOTK_TEXT_MARKDOWN},
        {".mdown", DOTK_TEXT_MARKDOWN}, {".html", DOTK_TEXT_HTML},
        {".htm", DOTK_TEXT_HTML},       {".xhtml", DOTK_TEXT_HTML},
    };
    const size_t size = strlen(path);

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        const size_t length = strlen(formats[i].ending);
        if (size > length && strcasecmp(path + size - length, formats[i].ending) == 0)
            return formats[i].format;
    }
    return DOTK_TEXT_PLAIN;
}

/* ------------------------------------------------------------------------- */
/*  Collecting                                                               */
/* ------------------------------------------------------------------------- */

struct collector {
    const struct cli_args *args;
    struct grep_corpus *corpus;
    const char *root;
    int code;
};

/* Room for one more element; false when memory ran out. */
static bool
make_room(void *block, size_t element, size_t count, size_t *room)
{
    void *old;

    if (count < *room)
        return true;
    memcpy(&old, block, sizeof(old));
    const size_t wanted = *room > 0 ? 2 * *room : 64;
    void *const grown = realloc(old, wanted * element);
    if (grown == NULL)
        return false;
    memcpy(block, &grown, sizeof(grown));
    *room = wanted;
    return true;
}

static int
take_file(void *user, const char *path, uint64_t size)
{
    struct collector *const collector = user;
    struct grep_corpus *const corpus = collector->corpus;

    if (cli_interrupted()) {
        collector->code = CLI_INTERRUPTED;
        return 1;
    }
    if (size == 0)
        return 0;
    if (!make_room(&corpus->file, sizeof(*corpus->file), corpus->files, &corpus->file_room))
        return -1;
    char *const copy = strdup(path);
    if (copy == NULL)
        return -1;
    corpus->file[corpus->files++] = (struct grep_file){copy, size, grep_format(path)};
    corpus->bytes += size;
    return 0;
}

static int
take_error(void *user, const char *path, int error)
{
    struct collector *const collector = user;
    const char *const what = error == EINVAL ? "it is neither a file nor a folder"
                                             : strerror(error);

    if (strcmp(path, collector->root) == 0) {
        collector->code = cli_fail(collector->args, CLI_BAD_INPUT, "%s: %s", path, what);
        return 1;
    }
    cli_note(collector->args, "%s: %s", path, what);
    return 0;
}

static int
compare_paths(const void *a, const void *b)
{
    const struct grep_file *const x = *(const struct grep_file *const *)a;
    const struct grep_file *const y = *(const struct grep_file *const *)b;
    const int order = strcmp(x->path, y->path);

    return order != 0 ? order : (x > y) - (x < y);
}

/* Drops files whose path was collected before; the first one stays in its place. */
static bool
drop_repeated(struct grep_corpus *corpus)
{
    struct grep_file **const sorted = malloc((corpus->files + 1) * sizeof(*sorted));
    size_t kept = 0;

    if (sorted == NULL)
        return false;
    for (size_t i = 0; i < corpus->files; i++)
        sorted[i] = &corpus->file[i];
    qsort(sorted, corpus->files, sizeof(*sorted), compare_paths);
    for (size_t i = corpus->files; i-- > 1;) {
        if (strcmp(sorted[i]->path, sorted[i - 1]->path) != 0)
            continue;
        corpus->bytes -= sorted[i]->size;
        sorted[i]->size = 0;
    }
    free(sorted);
    for (size_t i = 0; i < corpus->files; i++) {
        if (corpus->file[i].size > 0)
            corpus->file[kept++] = corpus->file[i];
        else
            free(corpus->file[i].path);
    }
    corpus->files = kept;
    return true;
}

int
grep_collect(const struct cli_args *args, const char *const *paths, struct grep_corpus *corpus)
{
    struct collector collector = {.args = args, .corpus = corpus};
    const struct walk walk = {take_file, take_error, &collector};

    for (size_t i = 0; paths[i] != NULL; i++) {
        collector.root = paths[i];
        const int ended = walk_visit(&walk, paths[i]);
        if (ended == -1)
            return cli_out_of_memory(args);
        if (ended != 0)
            return collector.code;
    }
    return drop_repeated(corpus) ? CLI_OK : cli_out_of_memory(args);
}

/* ------------------------------------------------------------------------- */
/*  Reading                                                                  */
/* ------------------------------------------------------------------------- */

/* Reads up to 'size' bytes at 'offset'; returns how many came. */
static size_t
read_at(int file, char *buffer, size_t size, uint64_t offset)
{
    size_t done = 0;

    while (done < size) {
        const ssize_t got = pread(file, buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

/*
 * Text has no zero bytes, and control characters only of the kind that lay out a page or colour
 * it; the start of a file tells about the others. UTF-16 is binary by this.
 */
static bool
is_binary(const char *bytes, size_t size)
{
    enum { START = 1024 };

    if (memchr(bytes, '\0', size) != NULL)
        return true;
    for (size_t i = 0; i < size && i < START; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c < 0x20 && (c < '\b' || c > '\r') && c != 0x1b)
            return true;
    }
    return false;
}

/* How much of a full buffer makes whole lines; all of it when there is no line end. */
static size_t
whole_lines(const char *bytes, size_t size)
{
    const char *const feed = memrchr(bytes, '\n', size);

    return feed != NULL ? (size_t)(feed - bytes) + 1 : size;
}

static size_t
count_lines(const char *bytes, size_t size)
{
    const char *const end = bytes + size;
    size_t lines = 0;

    while ((bytes = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
        bytes++;
        lines++;
    }
    return lines;
}

/* Documents that wait to be handed over together. */
struct batch {
    const struct cli_args *args;
    struct grep_corpus *corpus;
    dotk_shortlist *shortlist;
    char *buffer; /* BATCH_BYTES */
    size_t used;
    dotk_document document[BATCH_DOCUMENTS];
    size_t count;
    uint64_t done; /* bytes of files finished with */
};

static int
hand_over(struct batch *batch)
{
    const dotk_status status = dotk_shortlist_add(batch->shortlist, batch->count, batch->document);

    batch->count = batch->used = 0;
    cli_progress(batch->done, batch->corpus->bytes);
    return cli_interrupted() ? CLI_INTERRUPTED : cli_report(batch->args, status, NULL);
}

/* The slice whose bytes are the next ones in the buffer. */
static int
take_slice(struct batch *batch, struct grep_slice slice)
{
    struct grep_corpus *const corpus = batch->corpus;

    if (!make_room(&corpus->slice, sizeof(*corpus->slice), corpus->slices, &corpus->slice_room))
        return cli_out_of_memory(batch->args);
    batch->document[batch->count++] = (dotk_document){
        .text = batch->buffer + batch->used,
        .size = slice.size,
        .format = corpus->file[slice.file].format,
        .id = (int64_t)corpus->slices,
        .first_line = slice.first_line,
    };
    corpus->slice[corpus->slices++] = slice;
    batch->used += slice.size;
    return CLI_OK;
}

/* Takes an open file slice by slice; the part from a binary slice on is left out. */
static int
take_slices(struct batch *batch, size_t index, int file)
{
    struct grep_slice slice = {.file = index, .first_line = 1};
    int code = CLI_OK;

    for (bool more = true; more && code == CLI_OK; slice.offset += slice.size) {
        if (batch->count == BATCH_DOCUMENTS || BATCH_BYTES - batch->used < GREP_SLICE)
            code = hand_over(batch);
        if (code != CLI_OK)
            break;
        char *const bytes = batch->buffer + batch->used;
        const size_t got = read_at(file, bytes, GREP_SLICE, slice.offset);
        more = got == GREP_SLICE;
        slice.size = more ? whole_lines(bytes, got) : got;
        if (got == 0)
            break;
        if (is_binary(bytes, slice.size)) {
            batch->corpus->binaries += slice.offset == 0;
            break;
        }
        batch->corpus->texts += slice.offset == 0;
        code = take_slice(batch, slice);
        slice.first_line += more ? count_lines(bytes, slice.size) : 0;
    }
    return code;
}

static int
take_files(struct batch *batch)
{
    struct grep_corpus *const corpus = batch->corpus;
    int code = CLI_OK;

    for (size_t i = 0; code == CLI_OK && i < corpus->files; i++) {
        const int file = open(corpus->file[i].path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            cli_note(batch->args, "%s: %s", corpus->file[i].path, strerror(errno));
            continue;
        }
        code = take_slices(batch, i, file);
        close(file);
        batch->done += corpus->file[i].size;
    }
    return code == CLI_OK ? hand_over(batch) : code;
}

int
grep_read(const struct cli_args *args, struct grep_corpus *corpus, dotk_shortlist *shortlist)
{
    struct batch *const batch = calloc(1, sizeof(*batch));
    int code = CLI_NO_MEMORY;

    if (batch != NULL) {
        *batch = (struct batch){.args = args, .corpus = corpus, .shortlist = shortlist};
        batch->buffer = malloc(BATCH_BYTES);
    }
    if (batch == NULL || batch->buffer == NULL)
        cli_out_of_memory(args);
    else
        code = take_files(batch);
    if (batch != NULL)
        free(batch->buffer);
    free(batch);
    return code;
}

char *
grep_read_slice(const struct grep_corpus *corpus, size_t document, size_t *size)
{
    const struct grep_slice *const slice = &corpus->slice[document];
    const struct grep_file *const of = &corpus->file[slice->file];
    char *const text = malloc(slice->size + 1);

    if (text == NULL)
        return NULL;
    *size = 0;
    const int file = open(of->path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        *size = read_at(file, text, slice->size, slice->offset);
        close(file);
    }
    if (of->format == DOTK_TEXT_HTML)
        dotk_html_strip(text, *size, text, size);
    text[*size] = '\0';
    return text;
}

void
grep_corpus_free(struct grep_corpus *corpus)
{
    for (size_t i = 0; i < corpus->files; i++)
        free(corpus->file[i].path);
    free(corpus->file);
    free(corpus->slice);
}
