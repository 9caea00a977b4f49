/*
 * cli.h - what the files of the dotk command share
 *
 *     options.def, options.c ... the one table of verbs and options, and its parser
 *     generate.c ............... help, manual page, completions and doc/cli.md from that table
 *     report.c ................. messages and exit codes
 *     progress.c ............... context, progress bar, interruption
 *     input.c .................. opening a vector file, gzip included
 *     output.c ................. files that appear whole or not at all, JSON, colours
 *     heatmap.c ................ a matrix as coloured cells, in the terminal and as SVG
 *     knn.c, attend.c, ... ..... one verb each: int verb_NAME(args) returns the exit code
 *
 * To add a verb: its lines in options.def, its prototype at the end of this header, its file.
 *
 * stdout is data; messages and progress go to stderr. Like every face, the command includes
 * <dotk/...> and nothing else of dotk.
 */
#ifndef DOTK_CLI_H
#define DOTK_CLI_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* include this header first */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <dotk/dotk.h>

/* ------------------------------------------------------------------------- */
/*  Exit codes                                                               */
/* ------------------------------------------------------------------------- */

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILURE = 1,   /* an output that cannot be written, anything not named below    */
    CLI_USAGE = 2,     /* the command line makes no sense                               */
    CLI_BAD_INPUT = 4, /* an input file is missing, malformed or not what it has to be  */
    CLI_NO_MEMORY = 5,
    CLI_INTERRUPTED = 130
};

/* ------------------------------------------------------------------------- */
/*  The table, and a parsed command line                                     */
/* ------------------------------------------------------------------------- */

enum cli_kind {
    CLI_FLAG,        /* no argument                                                        */
    CLI_COUNT,       /* size: a whole number >= 1                                          */
    CLI_INTEGER,     /* integer: a whole number, possibly negative                         */
    CLI_SEED,        /* seed: a whole number from 0 to 2^64 - 1                            */
    CLI_REAL,        /* real: a finite number                                              */
    CLI_PROBABILITY, /* real: from 1e-100 to below 1                                   */
    CLI_COUNTS,      /* whole numbers >= 1 with commas between; see cli_counts()           */
    CLI_INTEGERS,    /* whole numbers with commas between; see cli_integers()              */
    CLI_REALS,       /* finite numbers with commas between; see cli_reals()                */
    CLI_CHOICE,      /* choice: which of the words in 'choices', counted from 0            */
    CLI_FILE,        /* text: a path                                                       */
    CLI_TEXT         /* text                                                               */
};

enum cli_verb {
    CLI_VERB_NONE, /* `dotk` without a verb */
#define CLI_VERB(symbol, name, run, operands, least, most, summary, description) CLI_VERB_##symbol,
#include "options.def"
#undef CLI_VERB
    CLI_VERB_COUNT
};

/* OPT_K, OPT_METRIC, ...: one for every CLI_OPTION line. */
enum cli_option {
#define CLI_OPTION(symbol, name, letter, kind, argument, preset, choices, verbs, help) OPT_##symbol,
#include "options.def"
#undef CLI_OPTION
    OPT_COUNT_
};

struct cli_args;

struct cli_verb_row {
    const char *name; /* NULL for CLI_VERB_NONE */
    int (*run)(const struct cli_args *args);
    const char *operands;
    int least, most;
    const char *summary, *description;
};

struct cli_option_row {
    const char *name; /* without the dashes; NULL: it has a letter only */
    char letter;      /* 0: it has a name only                          */
    enum cli_kind kind;
    const char *argument, *preset, *choices;
    unsigned verbs;   /* bit v set: verb v takes it                     */
    const char *help; /* NULL: hidden                                   */
};

struct cli_example_row {
    enum cli_verb verb;
    const char *arguments, *what;
};

extern const struct cli_verb_row cli_verbs[CLI_VERB_COUNT];
extern const struct cli_option_row cli_options[OPT_COUNT_];
extern const struct cli_example_row cli_examples[];
extern const size_t cli_example_count;

/* An option's value: the member that its kind names, from the command line or the default. */
struct cli_value {
    bool given;       /* it stood on the command line */
    const char *text; /* as it was written; NULL: neither given nor a default */
    size_t size;
    int64_t integer;
    uint64_t seed;
    double real;
    size_t choice;
};

struct cli_args {
    enum cli_verb verb;
    struct cli_value value[OPT_COUNT_]; /* args->value[OPT_K].size */
    const char **operand;               /* NULL after the last      */
    size_t operand_count;
};

/*
 * Parses argv (argv[0] is the program) for the verb that argv[1] names.
 * Returns CLI_OK, or the exit code after having said on stderr what is wrong. A line that asks
 * for --help is not held to its operands. 'args' borrows argv; the parser reorders nothing.
 */
int cli_parse(int argc, char **argv, struct cli_args *args);

/* Releases what cli_parse() allocated. */
void cli_args_free(struct cli_args *args);

/*
 * The numbers of a CLI_COUNTS option into out[capacity]; returns how many there are, which may
 * be more than 'capacity' (the rest is then not stored), 0 when the option has no value.
 */
size_t
cli_counts(const struct cli_args *args, enum cli_option option, size_t capacity, size_t *out);

/* The same of CLI_INTEGERS and CLI_REALS. */
size_t
cli_integers(const struct cli_args *args, enum cli_option option, size_t capacity, int64_t *out);
size_t cli_reals(const struct cli_args *args, enum cli_option option, size_t capacity, double *out);

/* "-k" or "--metric", for messages. */
const char *cli_option_name(enum cli_option option);

/* ------------------------------------------------------------------------- */
/*  Messages                                                                 */
/* ------------------------------------------------------------------------- */

/* Prints "dotk VERB: message" on stderr and returns 'code'. */
int cli_fail(const struct cli_args *args, enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prints "dotk VERB: message" on stderr unless --quiet. */
void cli_note(const struct cli_args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Turns a dotk_status into an exit code, printing dotk_last_message() on stderr when it is a
 * failure; nothing is printed for DOTK_CANCELLED.
 *
 *     path    the input file that the call was about: its content is to blame for a bad
 *             argument, and the message starts with it; NULL where the command line is
 */
int cli_report(const struct cli_args *args, dotk_status status, const char *path);

/*
 * Refuses what --screen int4 does not take: another --store, too many dimensions.
 *
 *     source  "FILE has" or the like, which goes before 'dim' in the message
 *     dim     0: not known yet
 */
int cli_check_screen(const struct cli_args *args, const char *source, size_t dim);

/* Says that memory ran out; returns CLI_NO_MEMORY. */
int cli_out_of_memory(const struct cli_args *args);

/* ------------------------------------------------------------------------- */
/*  Context, progress, interruption                                          */
/* ------------------------------------------------------------------------- */

/*
 * Makes a context with --threads (where the verb has it), with a progress bar (on a terminal's
 * stderr, unless --quiet) and with cancelling by Ctrl-C. Returns CLI_OK or the exit code.
 */
int cli_context(const struct cli_args *args, dotk_context **out);

/*
 * Names the part of the work that runs now ("searching"): the bar shows it, and an interrupt
 * cancels it: the library call returns DOTK_CANCELLED, and a loop of one's own asks
 * cli_interrupted(). NULL: no such part; the bar goes away, and an interrupt ends the process
 * at once with CLI_INTERRUPTED, which leaves nothing behind because outputs are protected.
 */
void cli_stage(const char *what);

/* Moves the bar, where a loop of one's own does the work. */
void cli_progress(uint64_t done, uint64_t total);

/* True after SIGINT or SIGTERM. */
bool cli_interrupted(void);

/* Installs the handlers; main() does it once. */
void cli_catch_signals(void);

/* From now on an interrupt waits (an output is being put in place), until called with false. */
void cli_protect(bool on);

/* ------------------------------------------------------------------------- */
/*  Input                                                                    */
/* ------------------------------------------------------------------------- */

/*
 * Opens a vector file, unpacking gzip, with --raw and --dim where the verb has them; there may be
 * no vectors in it, but none is without values. Returns CLI_OK or the exit code. Release *out with
 * dotk_vectors_close().
 */
int cli_open_vectors(const struct cli_args *args, const char *path, dotk_vectors **out);

/* The same with options.stream: values of a file that can be mapped stay there. */
int cli_open_stream(const struct cli_args *args, const char *path, dotk_vectors **out);

/* Which type an option with the choices of --raw names; DOTK_RAW_NONE when it is not given. */
dotk_raw_type cli_raw_type(const struct cli_args *args, enum cli_option option);

/* "(3, 4)" or "(3,)", the shape of a file, for messages: static text, until the next call. */
const char *cli_shape(const dotk_vectors *file);

/*
 * Reads whole numbers >= 0, one on each line; blank lines count for nothing. Returns CLI_OK or the
 * exit code; *ids is malloc'ed.
 */
int cli_read_ids(const struct cli_args *args, const char *path, int64_t **ids, size_t *count);

/* ------------------------------------------------------------------------- */
/*  Output                                                                   */
/* ------------------------------------------------------------------------- */

/* Whether 'path' is a pipe, /dev/stdout and the like: nothing may be renamed over it. */
bool cli_is_device(const char *path);

/*
 * Complains, before the work is done, about an output that could not be written after it, and
 * about two of these options that name one file.
 */
int cli_check_outputs(const struct cli_args *args, const enum cli_option *options, size_t count);

/* Writes the array to the option's file; does nothing where the option is not given. */
int cli_save(const struct cli_args *args, enum cli_option option, dotk_npy_type type,
             const void *data, size_t axes, const size_t *shape);

/* Writes bytes to the option's file, which appears whole or not at all. */
int
cli_save_text(const struct cli_args *args, enum cli_option option, const char *text, size_t size);

/* The length of the UTF-8 sequence that 'text' starts with; 0 when it starts with none. */
size_t cli_utf8_length(const char *text);

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL: no memory. */
json_t *cli_json_text(const char *text);

/* The "schema" of every search's answer: {"schema", "results": [{"query", "hits": [...]}]}. */
#define CLI_SCHEMA_SEARCH "dotk.search/1"

/*
 * Prints an object and a newline on stdout, floats with the 9 digits that determine an f32, and
 * releases it. NULL stands for an object for which there was no memory.
 */
int cli_json_print(const struct cli_args *args, json_t *object);

/* {"rank", "id", "score"}, as every search answers; the caller may add to it. NULL: no memory. */
json_t *cli_json_hit(size_t rank, int64_t id, float score);

enum cli_color { CLI_COLOR_NONE, CLI_COLOR_BASIC, CLI_COLOR_256, CLI_COLOR_TRUE };

/*
 * How colourful 'stream' may be: none unless it is a terminal, and none with --no-color,
 * NO_COLOR or TERM=dumb.
 */
enum cli_color cli_color(const struct cli_args *args, FILE *stream);

/* ------------------------------------------------------------------------- */
/*  Texts from the table                                                     */
/* ------------------------------------------------------------------------- */

/* Help for a verb, or the overview for CLI_VERB_NONE. */
void cli_print_help(enum cli_verb verb, FILE *out);

/* What --generate prints: 'which' counts its choices. */
void cli_generate(size_t which, FILE *out);

/* ------------------------------------------------------------------------- */
/*  Verbs                                                                    */
/* ------------------------------------------------------------------------- */

int verb_grep(const struct cli_args *args);
int verb_knn(const struct cli_args *args);
int verb_attend(const struct cli_args *args);
int verb_dense(const struct cli_args *args);
int verb_vector(const struct cli_args *args);
int verb_inspect(const struct cli_args *args);
int verb_convert(const struct cli_args *args);
int verb_explain(const struct cli_args *args);
int verb_bench(const struct cli_args *args);

#endif /* DOTK_CLI_H */
