/*
 * generate.c - help, manual page, shell completions and doc/cli.md, all from the one table
 */
#include "cli.h"

#include <string.h>

static const struct {
    enum cli_exit code;
    const char *meaning;
} exits[] = {
    {CLI_OK, "success"},
    {CLI_FAILURE, "failure: an output cannot be written, say; of grep also that nothing was found"},
    {CLI_USAGE, "the command line is wrong"},
    {CLI_BAD_INPUT, "an input file is missing, malformed or not what it has to be"},
    {CLI_NO_MEMORY, "out of memory"},
    {CLI_INTERRUPTED, "interrupted"},
};
#define EXIT_COUNT (sizeof(exits) / sizeof(exits[0]))

static const struct {
    const char *name, *what;
} environment[] = {
    {"DOTK_THREADS", "threads to work on, where --threads is not given"},
    {"DOTK_ISA", "instruction set: portable, avx2, avx512, avx512vnni, avx512bf16, neon or neondot "
                 "(default: the "
                 "best)"},
    {"NO_COLOR", "not empty: no colours and no progress bar"},
};
#define ENVIRONMENT_COUNT (sizeof(environment) / sizeof(environment[0]))

/* What --json prints, the fields of one verb together. */
static const struct {
    enum cli_verb verb;
    const char *name, *meaning;
} fields[] = {
#define FIELD(verb, name, meaning)                                                                 \
    {                                                                                              \
        CLI_VERB_##verb, name, meaning                                                             \
    }
    FIELD(GREP, "schema", "dotk.search/1"),
    FIELD(GREP, "results[].query", "the question; there is one entry"),
    FIELD(GREP, "results[].hits[].rank", "1 for the best"),
    FIELD(GREP, "results[].hits[].id", "the passage's place among those that were compared"),
    FIELD(GREP, "results[].hits[].score", "the nearness in meaning: more is nearer, 1 at most"),
    FIELD(GREP, "results[].hits[].text", "the passage"),
    FIELD(GREP, "results[].hits[].source.path", "the file it is in"),
    FIELD(GREP, "results[].hits[].source.line", "its first line, counted from 1"),
    FIELD(GREP, "results[].hits[].source.end_line", "its last line"),
    FIELD(KNN, "schema", "dotk.search/1"),
    FIELD(KNN, "metric", "as --metric"),
    FIELD(KNN, "results[].query", "the row of QUERIES, counted from 0"),
    FIELD(KNN, "results[].hits[].rank", "1 for the best"),
    FIELD(KNN, "results[].hits[].id", "the row of BASE, counted from 0, or its id from --ids"),
    FIELD(KNN, "results[].hits[].score", "the dot product, cosine or squared distance"),
    FIELD(KNN, "stats.rows_scored",
          "pairs that the filter let through: scored, or excluded by a screen"),
    FIELD(KNN, "stats.rows_filtered", "pairs that --filter excluded"),
    FIELD(KNN, "stats.rows_rescored", "pairs that the screen let through, scored in f32"),
    FIELD(KNN, "stats.delta",
          "with --screen int4, if it excluded rows: as --delta; else 0, the answer is exact"),
    FIELD(KNN, "stats.candidates", "scores that were good enough at their time to be kept"),
    FIELD(KNN, "stats.seconds", "how long the search took, without reading the files"),
    FIELD(KNN, "stats.path", "the way it took, as --explain names it"),
    FIELD(KNN, "stats.kernel", "the kernel that ran, as --explain names it"),
    FIELD(VECTOR, "schema", "dotk.vector/1"),
    FIELD(VECTOR, "norm", "one vector: its length"),
    FIELD(VECTOR, "unit[]", "one vector: its values divided by its length"),
    FIELD(VECTOR, "softmax[]", "one vector: the softmax of its values"),
    FIELD(VECTOR, "dot", "two vectors: the dot product"),
    FIELD(VECTOR, "cosine", "two vectors: the cosine of the angle between them"),
    FIELD(VECTOR, "degrees", "two vectors: that angle"),
    FIELD(VECTOR, "l2", "two vectors: the squared distance"),
    FIELD(VECTOR, "norm_a", "two vectors: the length of A"),
    FIELD(VECTOR, "norm_b", "two vectors: the length of B"),
    FIELD(VECTOR, "projection[]", "two vectors: A projected on B"),
    FIELD(INSPECT, "schema", "dotk.inspect/1"),
    FIELD(INSPECT, "file", "FILE"),
    FIELD(INSPECT, "format", "npy, fvecs, bvecs, fbin, u8bin, i8bin, idx or raw"),
    FIELD(INSPECT, "type", "of the values in the file: f32, f64, f16, bf16, u8 or i8"),
    FIELD(INSPECT, "rows", "vectors"),
    FIELD(INSPECT, "dim", "values in a vector"),
    FIELD(INSPECT, "norm.min", "the least length"),
    FIELD(INSPECT, "norm.mean", "the mean length"),
    FIELD(INSPECT, "norm.max", "the greatest length"),
    FIELD(INSPECT, "norm.quantiles[]", "lengths: 1 %, 25 %, 50 %, 75 % and 99 % are no greater"),
    FIELD(INSPECT, "nan_rows", "vectors with a NaN"),
    FIELD(INSPECT, "infinite_rows", "vectors with an infinity and no NaN"),
    FIELD(INSPECT, "zero_rows", "vectors of zeros"),
    FIELD(INSPECT, "duplicate_rows", "vectors that equal an earlier one"),
    FIELD(INSPECT, "unit_rows", "vectors of unit length"),
    FIELD(INSPECT, "unit", "whether all are of unit length"),
    FIELD(INSPECT, "mixed", "whether some are and others are not"),
    FIELD(INSPECT, "metric", "the metric that fits: dot, cosine or l2"),
    FIELD(INSPECT, "why", "the reason, a sentence"),
    FIELD(BENCH, "schema", "dotk.bench/1"),
    FIELD(BENCH, "version", "of dotk"),
    FIELD(BENCH, "bench", "search, attention or dense"),
    FIELD(BENCH, "threads", "threads that worked"),
    FIELD(BENCH, "isa", "the instruction set used"),
    FIELD(BENCH, "rows", "search: vectors searched"),
    FIELD(BENCH, "dim", "search: values in a vector"),
    FIELD(BENCH, "k", "search: results for each query"),
    FIELD(BENCH, "metric", "search: as --metric"),
    FIELD(BENCH, "data", "search: clusters, uniform or the file of --data"),
    FIELD(BENCH, "machine.read_gb_per_s", "GB read from memory in a second, at best"),
    FIELD(BENCH, "machine.fma_gflop_per_s", "GFLOP in a second, at best, on these threads"),
    FIELD(BENCH, "machine.fma_gflop_per_s_one_thread", "the same on one thread"),
    FIELD(BENCH, "machine.clock_ghz", "the clock meanwhile"),
    FIELD(BENCH, "machine.flop_per_cycle", "of one thread"),
    FIELD(BENCH, "store", "search: as --store"),
    FIELD(BENCH, "screen", "search: as --screen"),
    FIELD(BENCH, "results[].queries", "search: the batch size"),
    FIELD(BENCH, "results[].rescored",
          "search of codes (--screen or --store int8): rows scored in f32, a query"),
    FIELD(BENCH, "results[].path", "search: the way it took"),
    FIELD(BENCH, "results[].kernel", "search: the kernel that ran"),
    FIELD(BENCH, "results[].batch", "attention: batch entries"),
    FIELD(BENCH, "results[].heads", "attention: heads"),
    FIELD(BENCH, "results[].length", "attention: queries, and keys"),
    FIELD(BENCH, "results[].dim", "attention: values in a vector"),
    FIELD(BENCH, "results[].causal", "attention: whether with --causal"),
    FIELD(BENCH, "results[].m", "dense: rows"),
    FIELD(BENCH, "results[].n", "dense: outputs"),
    FIELD(BENCH, "results[].inner", "dense: inputs"),
    FIELD(BENCH, "results[].activation", "dense: as --activation"),
    FIELD(BENCH, "results[].prepared", "dense: whether with --prepared"),
    FIELD(BENCH, "results[].ms", "the median time of a run, in milliseconds"),
    FIELD(BENCH, "results[].gb_per_s", "GB of input in a second"),
    FIELD(BENCH, "results[].gflop_per_s", "GFLOP in a second"),
    FIELD(BENCH, "results[].fraction_of_read", "of what the machine reads at best"),
    FIELD(BENCH, "results[].fraction_of_fma", "of what the machine multiplies and adds at best"),
    FIELD(BENCH, "results[].fraction_of_int8",
          "in its place in a search of codes: of three times that"),
#undef FIELD
};
#define FIELD_COUNT (sizeof(fields) / sizeof(fields[0]))

/* ------------------------------------------------------------------------- */
/*  Walking the table                                                        */
/* ------------------------------------------------------------------------- */

/* The next documented option of the verb from 'i' on; OPT_COUNT_ after the last. */
static int
next_option(enum cli_verb verb, int i)
{
    while (i < OPT_COUNT_ &&
           ((cli_options[i].verbs >> verb & 1) == 0 || cli_options[i].help == NULL))
        i++;
    return i;
}

#define FOR_EACH_OPTION(i, verb)                                                                   \
    for (int i = next_option(verb, 0); i < OPT_COUNT_; i = next_option(verb, i + 1))

#define FOR_EACH_VERB(v) for (enum cli_verb v = CLI_VERB_NONE + 1; v < CLI_VERB_COUNT; v++)

/* "-m, --metric METRIC" */
static void
spell_option(const struct cli_option_row *row, char *out, size_t capacity)
{
    char letter[4] = "";

    if (row->letter != 0)
        snprintf(letter, sizeof(letter), "-%c", row->letter);
    snprintf(out, capacity, "%s%s%s%s%s%s", letter,
             row->letter != 0 && row->name != NULL ? ", " : "", row->name != NULL ? "--" : "",
             row->name != NULL ? row->name : "", row->argument != NULL ? " " : "",
             row->argument != NULL ? row->argument : "");
}

/* The help, and behind it the choices and the default: "... [dot, cosine, l2; default dot]". */
static void
spell_help(const struct cli_option_row *row, char *out, size_t capacity)
{
    char choices[96];
    size_t used = 0;

    for (const char *c = row->choices; c != NULL && *c != '\0' && used + 3 < sizeof(choices); c++) {
        choices[used++] = *c == '|' ? ',' : *c;
        if (*c == '|')
            choices[used++] = ' ';
    }
    choices[used] = '\0';
    if (row->choices == NULL && row->preset == NULL)
        snprintf(out, capacity, "%s", row->help);
    else
        snprintf(out, capacity, "%s [%s%s%s%s]", row->help, choices,
                 used > 0 && row->preset != NULL ? "; " : "", row->preset != NULL ? "default " : "",
                 row->preset != NULL ? row->preset : "");
}

/* ------------------------------------------------------------------------- */
/*  Help                                                                     */
/* ------------------------------------------------------------------------- */

#define LINE_WIDTH  79
#define HELP_COLUMN 28

/* Breaks lines at spaces; the first begins at 'column', where something may stand before it. */
static void
print_wrapped(const char *text, int column, int indent, FILE *out)
{
    while (*text != '\0') {
        const int word = (int)strcspn(text, " ");
        if (column > indent && column + word > LINE_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        }
        fprintf(out, "%.*s", word, text);
        column += word;
        text += word;
        if (*text == ' ') {
            text++;
            if (column + 1 + (int)strcspn(text, " ") <= LINE_WIDTH) {
                fputc(' ', out);
                column++;
            } else {
                fprintf(out, "\n%*s", indent, "");
                column = indent;
            }
        }
    }
    fputc('\n', out);
}

static void
print_options(enum cli_verb verb, FILE *out)
{
    char left[64], help[400];

    fputs("\nOptions:\n", out);
    FOR_EACH_OPTION(i, verb)
    {
        spell_option(&cli_options[i], left, sizeof(left));
        spell_help(&cli_options[i], help, sizeof(help));
        const int width = fprintf(out, "  %s%s", cli_options[i].letter == 0 ? "    " : "", left);
        if (width >= HELP_COLUMN)
            fprintf(out, "\n%*s", HELP_COLUMN, "");
        else
            fprintf(out, "%*s", HELP_COLUMN - width, "");
        print_wrapped(help, HELP_COLUMN, HELP_COLUMN, out);
    }
}

static void
print_overview(FILE *out)
{
    fprintf(out, "Usage: dotk VERB [OPTION...] [OPERAND...]\n\ndotk - %s\n\nVerbs:\n",
            cli_verbs[CLI_VERB_NONE].summary);
    FOR_EACH_VERB(v)
    fprintf(out, "  %-10s %s\n", cli_verbs[v].name, cli_verbs[v].summary);
    print_options(CLI_VERB_NONE, out);
    fputs("\n'dotk VERB --help' explains a verb, with examples.\n\n", out);
    fputs("Data goes to standard output, messages and progress to standard error.\n\n"
          "Exit codes:\n",
          out);
    for (size_t i = 0; i < EXIT_COUNT; i++)
        fprintf(out, "  %-4d %s\n", exits[i].code, exits[i].meaning);
    fputs("\nEnvironment:\n", out);
    for (size_t i = 0; i < ENVIRONMENT_COUNT; i++)
        fprintf(out, "  %-13s %s\n", environment[i].name, environment[i].what);
}

void
cli_print_help(enum cli_verb verb, FILE *out)
{
    const struct cli_verb_row *row = &cli_verbs[verb];

    if (verb == CLI_VERB_NONE) {
        print_overview(out);
        return;
    }
    fprintf(out, "Usage: dotk %s [OPTION...]%s%s\n\n", row->name, *row->operands ? " " : "",
            row->operands);
    print_wrapped(row->description, 0, 0, out);
    print_options(verb, out);
    fputs("\nExamples:\n", out);
    for (size_t i = 0; i < cli_example_count; i++)
        if (cli_examples[i].verb == verb)
            fprintf(out, "  dotk %s %s\n      %s\n", row->name, cli_examples[i].arguments,
                    cli_examples[i].what);
}

/* ------------------------------------------------------------------------- */
/*  Manual page                                                              */
/* ------------------------------------------------------------------------- */

/* Text as roff takes it: backslashes, dashes and a line's first character mean something there. */
static void
roff(const char *text, FILE *out)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text != '\0'; text++)
        switch (*text) {
        case '\\': fputs("\\e", out); break;
        case '-': fputs("\\-", out); break;
        case '\'': fputs("\\(aq", out); break;
        default: fputc(*text, out);
        }
}

static void
roff_line(const char *text, FILE *out)
{
    roff(text, out);
    fputc('\n', out);
}

static void
man_options(enum cli_verb verb, FILE *out)
{
    char left[64], help[400];

    FOR_EACH_OPTION(i, verb)
    {
        spell_option(&cli_options[i], left, sizeof(left));
        spell_help(&cli_options[i], help, sizeof(help));
        fputs(".TP\n.B ", out);
        roff_line(left, out);
        roff_line(help, out);
    }
}

static void
man_verb(enum cli_verb verb, FILE *out)
{
    const struct cli_verb_row *row = &cli_verbs[verb];

    fprintf(out, ".SS dotk %s\n.B dotk %s\n[OPTION...] ", row->name, row->name);
    roff_line(row->operands, out);
    fputs(".PP\n", out);
    roff_line(row->description, out);
    man_options(verb, out);
    for (size_t i = 0; i < cli_example_count; i++) {
        if (cli_examples[i].verb != verb)
            continue;
        fputs(".PP\nExample: ", out);
        roff(cli_examples[i].what, out);
        fprintf(out, "\n.PP\n.RS 4\n.nf\ndotk %s ", row->name);
        roff_line(cli_examples[i].arguments, out);
        fputs(".fi\n.RE\n", out);
    }
}

static void
generate_man(FILE *out)
{
    fprintf(out, ".TH DOTK 1 \"\" \"dotk %s\" \"User Commands\"\n.SH NAME\ndotk \\- ",
            dotk_version());
    roff_line(cli_verbs[CLI_VERB_NONE].summary, out);
    fputs(".SH SYNOPSIS\n.B dotk\nVERB [OPTION...] [OPERAND...]\n.SH DESCRIPTION\n"
          "Data goes to standard output, messages and progress to standard error.\n.SH OPTIONS\n",
          out);
    man_options(CLI_VERB_NONE, out);
    fputs(".SH VERBS\n", out);
    FOR_EACH_VERB(v)
    man_verb(v, out);
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < EXIT_COUNT; i++)
        fprintf(out, ".TP\n.B %d\n%s\n", exits[i].code, exits[i].meaning);
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < ENVIRONMENT_COUNT; i++) {
        fprintf(out, ".TP\n.B %s\n", environment[i].name);
        roff_line(environment[i].what, out);
    }
}

/* ------------------------------------------------------------------------- */
/*  Completions                                                              */
/* ------------------------------------------------------------------------- */

static void
print_words(const char *choices, FILE *out)
{
    for (; *choices != '\0'; choices++)
        fputc(*choices == '|' ? ' ' : *choices, out);
}

/* A verb's operands are words to choose from (bench) or else files. */
static bool
operands_are_words(enum cli_verb verb)
{
    return strchr(cli_verbs[verb].operands, '|') != NULL;
}

static void
print_option_words(enum cli_verb verb, FILE *out)
{
    FOR_EACH_OPTION(i, verb)
    {
        if (cli_options[i].letter != 0)
            fprintf(out, " -%c", cli_options[i].letter);
        if (cli_options[i].name != NULL)
            fprintf(out, " --%s", cli_options[i].name);
    }
}

/* "knn:-m | knn:--metric": how a case of bash names what stands before the cursor. */
static void
bash_pattern(enum cli_verb verb, const struct cli_option_row *row, FILE *out)
{
    const char *name = cli_verbs[verb].name;

    if (row->letter != 0)
        fprintf(out, "%s:-%c", name, row->letter);
    if (row->letter != 0 && row->name != NULL)
        fputs(" | ", out);
    if (row->name != NULL)
        fprintf(out, "%s:--%s", name, row->name);
}

/* What comes after an option: its words, or else files, which bash offers where there are none. */
static void
bash_arguments(enum cli_verb verb, FILE *out)
{
    bool first = true;

    FOR_EACH_OPTION(i, verb)
    {
        const struct cli_option_row *row = &cli_options[i];
        if (row->choices == NULL)
            continue;
        fputs("    ", out);
        bash_pattern(verb, row, out);
        fputs(") words='", out);
        print_words(row->choices, out);
        fputs("' ;;\n", out);
    }
    FOR_EACH_OPTION(i, verb)
    {
        const struct cli_option_row *row = &cli_options[i];
        if (row->kind == CLI_FLAG || row->choices != NULL)
            continue;
        fputs(first ? "    " : " | \\\n        ", out);
        bash_pattern(verb, row, out);
        first = false;
    }
    if (!first)
        fputs(") return ;;\n", out);
}

static void
generate_bash(FILE *out)
{
    fputs("# bash completion for dotk; made by 'dotk --generate bash'\n"
          "_dotk()\n{\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local verb=${COMP_WORDS[1]} words=\n"
          "    COMPREPLY=()\n"
          "    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
          "    if [[ $cur == = ]]; then cur=; fi\n"
          "    if ((COMP_CWORD == 1)); then verb=; fi\n"
          "    case $verb:$prev in\n",
          out);
    FOR_EACH_VERB(v)
    bash_arguments(v, out);
    fputs("    :*) words='", out);
    FOR_EACH_VERB(v)
    fprintf(out, "%s ", cli_verbs[v].name);
    print_option_words(CLI_VERB_NONE, out);
    fputs("' ;;\n", out);
    FOR_EACH_VERB(v)
    {
        if (operands_are_words(v)) {
            fprintf(out, "    %s:*) words='", cli_verbs[v].name);
            print_words(cli_verbs[v].operands, out);
        } else {
            fprintf(out, "    %s:*)\n        if [[ $cur != -* ]]; then return; fi\n        words='",
                    cli_verbs[v].name);
        }
        print_option_words(v, out);
        fputs("' ;;\n", out);
    }
    fputs("    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "}\n"
          "complete -o default -F _dotk dotk\n",
          out);
}

/* Text inside '...' of zsh's _arguments, where brackets and colons mean something too. */
static void
zsh_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\'", out);
        if (strchr("[]:", *text) != NULL)
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void
zsh_option(const struct cli_option_row *row, FILE *out)
{
    fputs("            ", out);
    if (row->letter != 0 && row->name != NULL)
        fprintf(out, "'(-%c --%s)'{-%c,--%s}'[", row->letter, row->name, row->letter, row->name);
    else if (row->name != NULL)
        fprintf(out, "'--%s[", row->name);
    else
        fprintf(out, "'-%c[", row->letter);
    zsh_text(row->help, out);
    fputc(']', out);
    if (row->argument != NULL) {
        fputc(':', out);
        zsh_text(row->argument, out);
        fputc(':', out);
    }
    if (row->choices != NULL) {
        fputc('(', out);
        print_words(row->choices, out);
        fputc(')', out);
    } else if (row->kind == CLI_FILE) {
        fputs("_files", out);
    }
    fputs("' \\\n", out);
}

static void
generate_zsh(FILE *out)
{
    fputs("#compdef dotk\n"
          "# zsh completion for dotk; made by 'dotk --generate zsh'\n"
          "_dotk()\n{\n"
          "    if (( CURRENT == 2 )); then\n"
          "        local -a verbs\n"
          "        verbs=(\n",
          out);
    FOR_EACH_VERB(v)
    {
        fprintf(out, "            '%s:", cli_verbs[v].name);
        zsh_text(cli_verbs[v].summary, out);
        fputs("'\n", out);
    }
    fputs("        )\n"
          "        _describe verb verbs -- '(--help --version)'\n"
          "        return\n"
          "    fi\n"
          "    local verb=$words[2]\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $verb in\n",
          out);
    FOR_EACH_VERB(v)
    {
        fprintf(out, "    %s)\n        _arguments -s \\\n", cli_verbs[v].name);
        FOR_EACH_OPTION(i, v)
        zsh_option(&cli_options[i], out);
        if (operands_are_words(v)) {
            fputs("            '1:what:(", out);
            print_words(cli_verbs[v].operands, out);
            fputs(")'\n        ;;\n", out);
        } else {
            fputs("            '*:operand:_files'\n        ;;\n", out);
        }
    }
    fputs("    esac\n}\n_dotk \"$@\"\n", out);
}

static void
fish_text(const char *text, FILE *out)
{
    fputc('\'', out);
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('\'', out);
}

static void
fish_option(enum cli_verb verb, const struct cli_option_row *row, FILE *out)
{
    if (verb == CLI_VERB_NONE)
        fputs("complete -c dotk -n __fish_use_subcommand", out);
    else
        fprintf(out, "complete -c dotk -n '__fish_seen_subcommand_from %s'", cli_verbs[verb].name);
    if (row->letter != 0)
        fprintf(out, " -s %c", row->letter);
    if (row->name != NULL)
        fprintf(out, " -l %s", row->name);
    if (row->kind == CLI_FILE)
        fputs(" -r -F", out);
    else if (row->kind != CLI_FLAG)
        fputs(" -x", out);
    if (row->choices != NULL) {
        fputs(" -a '", out);
        print_words(row->choices, out);
        fputc('\'', out);
    }
    fputs(" -d ", out);
    fish_text(row->help, out);
    fputc('\n', out);
}

static void
generate_fish(FILE *out)
{
    fputs("# fish completion for dotk; made by 'dotk --generate fish'\n", out);
    FOR_EACH_OPTION(i, CLI_VERB_NONE)
    fish_option(CLI_VERB_NONE, &cli_options[i], out);
    FOR_EACH_VERB(v)
    {
        fprintf(out, "complete -c dotk -n __fish_use_subcommand -f -a %s -d ", cli_verbs[v].name);
        fish_text(cli_verbs[v].summary, out);
        fputc('\n', out);
        if (operands_are_words(v)) {
            fprintf(out, "complete -c dotk -n '__fish_seen_subcommand_from %s' -f -a '",
                    cli_verbs[v].name);
            print_words(cli_verbs[v].operands, out);
            fputs("'\n", out);
        }
        FOR_EACH_OPTION(i, v)
        fish_option(v, &cli_options[i], out);
    }
}

/* ------------------------------------------------------------------------- */
/*  doc/cli.md                                                               */
/* ------------------------------------------------------------------------- */

/* Text in a cell of a table, where a bar would end the cell. */
static void
markdown_text(const char *text, FILE *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' || *text == '*' || *text == '<')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void
markdown_options(enum cli_verb verb, FILE *out)
{
    char left[64], help[400];

    fputs("\n| option | meaning |\n| --- | --- |\n", out);
    FOR_EACH_OPTION(i, verb)
    {
        spell_option(&cli_options[i], left, sizeof(left));
        spell_help(&cli_options[i], help, sizeof(help));
        fprintf(out, "| `%s` | ", left);
        markdown_text(help, out);
        fputs(" |\n", out);
    }
}

static void
markdown_verb(enum cli_verb verb, FILE *out)
{
    const struct cli_verb_row *row = &cli_verbs[verb];

    fprintf(out, "\n## dotk %s\n\n", row->name);
    fprintf(out, "    dotk %s [OPTION...]%s%s\n\n", row->name, *row->operands ? " " : "",
            row->operands);
    markdown_text(row->description, out);
    fputc('\n', out);
    markdown_options(verb, out);
    fputs("\nExamples:\n", out);
    for (size_t i = 0; i < cli_example_count; i++)
        if (cli_examples[i].verb == verb)
            fprintf(out, "\n    # %s\n    dotk %s %s\n", cli_examples[i].what, row->name,
                    cli_examples[i].arguments);
}

static void
markdown_json(FILE *out)
{
    enum cli_verb verb = CLI_VERB_NONE;

    fputs("\n## JSON\n\n"
          "`--json` prints one object on one line. `a.b` is a member of the object `a`, `a[]` an "
          "entry of\nthe list `a`. Numbers that are f32 inside have the 9 digits that determine "
          "them.\n",
          out);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].verb != verb)
            fprintf(out, "\n### dotk %s\n\n| field | meaning |\n| --- | --- |\n",
                    cli_verbs[fields[i].verb].name);
        verb = fields[i].verb;
        fprintf(out, "| `%s` | ", fields[i].name);
        markdown_text(fields[i].meaning, out);
        fputs(" |\n", out);
    }
}

static void
generate_markdown(FILE *out)
{
    fputs("# The dotk command\n\n"
          "This page is made from the command's own table of options by\n"
          "`dotk --generate markdown`; a test holds the two together.\n\n"
          "Data goes to standard output, messages and progress to standard error.\n\n"
          "| exit code | meaning |\n| --- | --- |\n",
          out);
    for (size_t i = 0; i < EXIT_COUNT; i++)
        fprintf(out, "| %d | %s |\n", exits[i].code, exits[i].meaning);
    fputs("\n| environment | meaning |\n| --- | --- |\n", out);
    for (size_t i = 0; i < ENVIRONMENT_COUNT; i++)
        fprintf(out, "| `%s` | %s |\n", environment[i].name, environment[i].what);
    fputs("\n## dotk\n\n    dotk VERB [OPTION...] [OPERAND...]\n    dotk OPTION\n", out);
    markdown_options(CLI_VERB_NONE, out);
    FOR_EACH_VERB(v)
    markdown_verb(v, out);
    markdown_json(out);
}

void
cli_generate(size_t which, FILE *out)
{
    /* In the order of the choices of --generate. */
    static void (*const makers[])(FILE *) = {generate_man, generate_bash, generate_zsh,
                                             generate_fish, generate_markdown};

    makers[which](out);
}
