/*
 * options.c - the tables made from options.def, and the parser that reads a command line by them
 *
 * getopt_long does the reading; this file gives it its arrays, checks every argument by the
 * option's kind, and differs from the usual loop in one thing: an argument that looks like a
 * negative number, such as -0.76,0.75, is an operand. getopt would take it for options -0 and -.,
 * so the loop looks before getopt does, and getopt is told (by "-" at the start of its letters) to
 * leave the order of arguments alone.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define IN(symbol) (1U << CLI_VERB_##symbol)

const struct cli_verb_row cli_verbs[CLI_VERB_COUNT] = {
    {NULL, NULL, "", 0, 0, "the dot product: search, attention, dense layers", ""},
#define CLI_VERB(symbol, name, run, operands, least, most, summary, description)                   \
    {name, run, operands, least, most, summary, description},
#include "options.def"
#undef CLI_VERB
};

const struct cli_option_row cli_options[OPT_COUNT_] = {
#define CLI_OPTION(symbol, name, letter, kind, argument, preset, choices, verbs, help)             \
    {name, letter, kind, argument, preset, choices, verbs, help},
#include "options.def"
#undef CLI_OPTION
};

const struct cli_example_row cli_examples[] = {
#define CLI_EXAMPLE(symbol, arguments, what) {CLI_VERB_##symbol, arguments, what},
#include "options.def"
#undef CLI_EXAMPLE
};
const size_t cli_example_count = sizeof(cli_examples) / sizeof(cli_examples[0]);

const char *
cli_option_name(enum cli_option option)
{
    static char names[OPT_COUNT_][32];
    const struct cli_option_row *row = &cli_options[option];

    if (row->name != NULL)
        snprintf(names[option], sizeof(names[option]), "--%s", row->name);
    else
        snprintf(names[option], sizeof(names[option]), "-%c", row->letter);
    return names[option];
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

/* A whole number >= 1 up to *end; false when there is none, or it does not fit. */
static bool
parse_count(const char *text, const char **end, size_t *out)
{
    char *stop;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    const unsigned long long value = strtoull(text, &stop, 10);
    *end = stop;
    *out = (size_t)value;
    return errno == 0 && value >= 1 && value <= SIZE_MAX / 2;
}

static bool
parse_seed(const char *text, uint64_t *out)
{
    char *stop;

    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *out = strtoull(text, &stop, 10);
    return errno == 0 && *stop == '\0';
}

static bool
parse_real(const char *text, double *out)
{
    char *stop;

    *out = strtod(text, &stop);
    return stop != text && *stop == '\0' && !isspace((unsigned char)*text) && isfinite(*out);
}

/* How many numbers with commas between there are, stored as far as there is room; 0: not that. */
static size_t
count_reals(const char *text, size_t capacity, double *out)
{
    for (size_t count = 0;; text++) {
        char *stop;
        const double value = strtod(text, &stop);
        if (stop == text || isspace((unsigned char)*text) || !isfinite(value))
            return 0;
        if (count++ < capacity)
            out[count - 1] = value;
        text = stop;
        if (*text != ',')
            return *text == '\0' ? count : 0;
    }
}

static size_t
count_integers(const char *text, size_t capacity, int64_t *out)
{
    for (size_t count = 0;; text++) {
        char *stop;
        errno = 0;
        const long long value = strtoll(text, &stop, 10);
        if (errno != 0 || stop == text || isspace((unsigned char)*text))
            return 0;
        if (count++ < capacity)
            out[count - 1] = value;
        text = stop;
        if (*text != ',')
            return *text == '\0' ? count : 0;
    }
}

/* Which of "a|b|c" the text is; false when it is none of them. */
static bool
parse_choice(const char *choices, const char *text, size_t *out)
{
    const size_t length = strlen(text);
    const char *word = choices;

    for (size_t i = 0;; i++) {
        const size_t word_length = strcspn(word, "|");
        if (word_length == length && memcmp(word, text, length) == 0) {
            *out = i;
            return true;
        }
        if (word[word_length] == '\0')
            return false;
        word += word_length + 1;
    }
}

/* What an argument has to be, when it is not. */
static const char *
parse_value(const struct cli_option_row *row, const char *text, struct cli_value *value)
{
    const char *end = text;
    char *stop;

    value->text = text;
    switch (row->kind) {
    case CLI_FLAG:
    case CLI_TEXT: return NULL;
    case CLI_FILE: return *text != '\0' ? NULL : "a file name";
    case CLI_COUNT:
        return parse_count(text, &end, &value->size) && *end == '\0' ? NULL
                                                                     : "a whole number from 1";
    case CLI_INTEGER:
        errno = 0;
        value->integer = strtoll(text, &stop, 10);
        return errno == 0 && stop != text && *stop == '\0' && !isspace((unsigned char)*text)
                   ? NULL
                   : "a whole number";
    case CLI_SEED:
        return parse_seed(text, &value->seed)
                   ? NULL
                   : "a whole number from 0 to 18446744073709551615 (2^64 - 1)";
    case CLI_REAL: return parse_real(text, &value->real) ? NULL : "a finite number";
    case CLI_PROBABILITY:
        return parse_real(text, &value->real) && value->real >= 1e-100 && value->real < 1
                   ? NULL
                   : "a probability, from 1e-100 to below 1";
    case CLI_COUNTS:
        do {
            size_t count;
            if (!parse_count(end, &end, &count))
                return "whole numbers from 1 with commas between";
        } while (*end++ == ',');
        return end[-1] == '\0' ? NULL : "whole numbers from 1 with commas between";
    case CLI_INTEGERS:
        return count_integers(text, 0, NULL) > 0 ? NULL : "whole numbers with commas between";
    case CLI_REALS:
        return count_reals(text, 0, NULL) > 0 ? NULL : "finite numbers with commas between";
    case CLI_CHOICE: return parse_choice(row->choices, text, &value->choice) ? NULL : "one of";
    }
    return "known";
}

size_t
cli_counts(const struct cli_args *args, enum cli_option option, size_t capacity, size_t *out)
{
    const char *text = args->value[option].text;
    size_t count = 0;

    if (text == NULL)
        return 0;
    do {
        size_t value = 0;
        parse_count(text, &text, &value);
        if (count < capacity)
            out[count] = value;
        count++;
    } while (*text++ == ',');
    return count;
}

size_t
cli_integers(const struct cli_args *args, enum cli_option option, size_t capacity, int64_t *out)
{
    const char *text = args->value[option].text;

    return text != NULL ? count_integers(text, capacity, out) : 0;
}

size_t
cli_reals(const struct cli_args *args, enum cli_option option, size_t capacity, double *out)
{
    const char *text = args->value[option].text;

    return text != NULL ? count_reals(text, capacity, out) : 0;
}

static int
take_value(struct cli_args *args, enum cli_option option, const char *text)
{
    const struct cli_option_row *row = &cli_options[option];
    struct cli_value *value = &args->value[option];
    const char *wanted = parse_value(row, text, value);

    value->given = true;
    if (wanted == NULL)
        return CLI_OK;
    return cli_fail(args, CLI_USAGE, "%s is '%s': it has to be %s%s%s", cli_option_name(option),
                    text, wanted, row->kind == CLI_CHOICE ? " " : "",
                    row->kind == CLI_CHOICE ? row->choices : "");
}

/* ------------------------------------------------------------------------- */
/*  Command lines                                                            */
/* ------------------------------------------------------------------------- */

/* Name and letter tables for getopt; the value it returns for option i is LONG_BASE + i. */
struct getopt_tables {
    struct option names[OPT_COUNT_ + 1];
    char letters[2 * OPT_COUNT_ + 3];
};

#define LONG_BASE 1000

static void
fill_tables(enum cli_verb verb, struct getopt_tables *tables)
{
    size_t name = 0, letter = 0;

    tables->letters[letter++] = '-'; /* operands are returned where they stand, as option 1 */
    tables->letters[letter++] = ':'; /* no messages from getopt itself */
    for (int i = 0; i < OPT_COUNT_; i++) {
        const struct cli_option_row *row = &cli_options[i];
        if ((row->verbs >> verb & 1) == 0)
            continue;
        if (row->name != NULL)
            tables->names[name++] = (struct option){row->name, row->kind != CLI_FLAG, NULL,
                                                    LONG_BASE + i};
        if (row->letter != 0) {
            tables->letters[letter++] = row->letter;
            if (row->kind != CLI_FLAG)
                tables->letters[letter++] = ':';
        }
    }
    tables->names[name] = (struct option){NULL, 0, NULL, 0};
    tables->letters[letter] = '\0';
}

static int
option_of(enum cli_verb verb, int code)
{
    if (code >= LONG_BASE)
        return code - LONG_BASE;
    for (int i = 0; i < OPT_COUNT_; i++)
        if ((cli_options[i].verbs >> verb & 1) != 0 && cli_options[i].letter == code)
            return i;
    return -1;
}

static bool
is_negative_number(const char *text)
{
    return text[0] == '-' &&
           (isdigit((unsigned char)text[1]) || (text[1] == '.' && isdigit((unsigned char)text[2])));
}

static int
parse_options(int argc, char **argv, struct cli_args *args)
{
    struct getopt_tables tables;

    fill_tables(args->verb, &tables);
    optind = 1;
    opterr = 0;
    while (optind < argc) {
        if (is_negative_number(argv[optind])) {
            args->operand[args->operand_count++] = argv[optind++];
            continue;
        }
        const char *element = argv[optind];
        const int code = getopt_long(argc, argv, tables.letters, tables.names, NULL);
        if (code == -1)
            break;
        if (code == 1) {
            args->operand[args->operand_count++] = optarg;
            continue;
        }
        const int option = option_of(args->verb, code);
        if (code == ':')
            return cli_fail(args, CLI_USAGE, "%s needs an argument; see --help", element);
        if (code == '?' || option < 0)
            return cli_fail(args, CLI_USAGE, "%s is not an option here; see --help", element);
        const int failed = take_value(args, (enum cli_option)option, optarg != NULL ? optarg : "");
        if (failed)
            return failed;
    }
    while (optind < argc)
        args->operand[args->operand_count++] = argv[optind++];
    return CLI_OK;
}

static int
check_operands(const struct cli_args *args)
{
    const struct cli_verb_row *row = &cli_verbs[args->verb];

    if (args->operand_count < (size_t)row->least && islower((unsigned char)row->operands[0]))
        return cli_fail(args, CLI_USAGE, "say what to %s: %s; see 'dotk %s --help'", row->name,
                        row->operands, row->name); /* words, to be written as they stand */
    if (args->operand_count < (size_t)row->least)
        return cli_fail(args, CLI_USAGE, "it needs %s; see 'dotk %s --help'", row->operands,
                        row->name);
    if (row->most >= 0 && args->operand_count > (size_t)row->most)
        return cli_fail(args, CLI_USAGE, "'%s' is one operand too many; see 'dotk %s --help'",
                        args->operand[row->most], row->name);
    return CLI_OK;
}

static enum cli_verb
find_verb(const char *name)
{
    for (int i = CLI_VERB_NONE + 1; i < CLI_VERB_COUNT; i++)
        if (cli_verbs[i].run != NULL && strcmp(cli_verbs[i].name, name) == 0)
            return (enum cli_verb)i;
    return CLI_VERB_NONE;
}

int
cli_parse(int argc, char **argv, struct cli_args *args)
{
    *args = (struct cli_args){0};
    args->operand = calloc((size_t)argc + 1, sizeof(*args->operand));
    if (args->operand == NULL)
        return cli_out_of_memory(args);
    for (int i = 0; i < OPT_COUNT_; i++)
        if (cli_options[i].preset != NULL)
            parse_value(&cli_options[i], cli_options[i].preset, &args->value[i]);

    if (argc < 2 || argv[1][0] == '-')
        return parse_options(argc, argv, args);
    args->verb = find_verb(argv[1]);
    if (args->verb == CLI_VERB_NONE)
        return cli_fail(args, CLI_USAGE, "'%s' is not a verb; see 'dotk --help'", argv[1]);
    const int failed = parse_options(argc - 1, argv + 1, args);
    if (failed || args->value[OPT_HELP].given)
        return failed;
    return check_operands(args);
}

void
cli_args_free(struct cli_args *args)
{
    free(args->operand);
    args->operand = NULL;
}
