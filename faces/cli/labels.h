/*
 * labels.h - names of tokens, and how wide a terminal shows them
 */
#ifndef DOTK_CLI_LABELS_H
#define DOTK_CLI_LABELS_H

#include "cli.h"

struct labels {
    const char **label; /* (count), NULL: none were given */
    size_t count;
    char *text; /* what the labels lie in */
};

/*
 * Reads the option's file, one label on each line; does nothing where it is not given. Spaces
 * around a label are dropped; what is not UTF-8, and control characters, become U+FFFD. Returns the
 * exit code; release with labels_free().
 */
int labels_read(const struct cli_args *args, enum cli_option option, struct labels *out);

void labels_free(struct labels *labels);

/* The bytes of the character that 'text' begins with, and its columns in a terminal: 0, 1 or 2. */
size_t label_character(const char *text, size_t *columns);

/* The columns of the whole label. */
size_t label_columns(const char *label);

#endif /* DOTK_CLI_LABELS_H */
