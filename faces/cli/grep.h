/*
 * grep.h - the parts of dotk grep
 *
 *     grep_documents.c ... files to documents: slices that are read, and can be read again
 *     grep_print.c ....... hits as text and as JSON
 *     grep.c ............. the search itself
 */
#ifndef DOTK_CLI_GREP_H
#define DOTK_CLI_GREP_H

#include "cli.h"

#include <dotk/text.h>

/* ------------------------------------------------------------------------- */
/*  Documents                                                                */
/* ------------------------------------------------------------------------- */

/* Larger files are taken in slices, cut at line ends. */
#define GREP_SLICE ((size_t)4 << 20)

struct grep_file {
    char *path;
    uint64_t size;
    dotk_text_format format;
};

/* A file, or a slice of one: what a document id stands for. */
struct grep_slice {
    size_t file;
    uint64_t offset;
    size_t size, first_line;
};

struct grep_corpus {
    struct grep_file *file;
    size_t files, file_room;
    struct grep_slice *slice; /* by document id */
    size_t slices, slice_room;
    uint64_t bytes;  /* of all files         */
    size_t texts;    /* files that were read */
    size_t binaries; /* files that were not  */
};

/*
 * Collects the files of all paths, each file once. Unreadable ones below a folder are complained
 * of and left out. Returns CLI_OK or the exit code: CLI_BAD_INPUT for a path that is neither a file
 * nor a folder, or cannot be read.
 */
int grep_collect(const struct cli_args *args, const char *const *paths, struct grep_corpus *corpus);

/* Reads all files, batch by batch, into the shortlist. Returns CLI_OK or the exit code. */
int grep_read(const struct cli_args *args, struct grep_corpus *corpus, dotk_shortlist *shortlist);

/*
 * Reads a slice again, stripped if it is HTML: malloc'ed, with a zero behind it. NULL when memory
 * ran out; a file that has changed or gone meanwhile gives what there is, perhaps nothing.
 */
char *grep_read_slice(const struct grep_corpus *corpus, size_t document, size_t *size);

void grep_corpus_free(struct grep_corpus *corpus);

/* Markdown and HTML by the name's ending, else plain. */
dotk_text_format grep_format(const char *path);

/* ------------------------------------------------------------------------- */
/*  Hits                                                                     */
/* ------------------------------------------------------------------------- */

struct grep_hit {
    int64_t id; /* of the passage: its place among the candidates */
    float score;
    const char *path;
    const char *text; /* terminated */
    size_t size;
    size_t line, end_line;
};

/* Prints the hits, the query's words lit where stdout is in colour. */
int grep_print(const struct cli_args *args, const dotk_shortlist *shortlist,
               const struct grep_hit *hits, size_t count);

/* Prints one JSON object. Returns CLI_OK or the exit code. */
int grep_print_json(const struct cli_args *args, const struct grep_hit *hits, size_t count);

#endif /* DOTK_CLI_GREP_H */
