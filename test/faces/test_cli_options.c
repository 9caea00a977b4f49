/*
 * test_cli_options.c - the command line itself: help, manual page, completions, wrong lines
 *
 * The table is read here too, so that an option without its documentation fails.
 */
#include "faces/spawn.h"

enum {
#define CLI_VERB(symbol, name, run, operands, least, most, summary, description) VERB_##symbol,
    VERB_NONE,
#include "../faces/cli/options.def"
#undef CLI_VERB
    VERB_COUNT
};

static const char *const verb_names[] = {
    "",
#define CLI_VERB(symbol, name, run, operands, least, most, summary, description) name,
#include "../faces/cli/options.def"
#undef CLI_VERB
};

#define IN(symbol) (1U << VERB_##symbol)
static const struct {
    const char *name;
    char letter;
    unsigned verbs;
    const char *help;
} options[] = {
#define CLI_OPTION(symbol, name, letter, kind, argument, preset, choices, verbs, help)             \
    {name, letter, verbs, help},
#include "../faces/cli/options.def"
#undef CLI_OPTION
};
#define OPTION_COUNT (sizeof options / sizeof options[0])

/* "--metric" or "-k". */
static const char *
spelled(size_t option)
{
    static char text[64];

    if (options[option].name != NULL)
        snprintf(text, sizeof text, "--%s", options[option].name);
    else
        snprintf(text, sizeof text, "-%c", options[option].letter);
    return text;
}

static void
test_help_has_every_option(void **state)
{
    (void)state;
    size_t checked = 0;
    for (int v = 1; v < VERB_COUNT; v++) {
        assert_int_equal(dotk("%s --help", verb_names[v]), 0);
        assert_string_equal(ran.err, "");
        assert_contains(ran.out, "Examples:\n  dotk ");
        for (size_t i = 0; i < OPTION_COUNT; i++)
            if ((options[i].verbs >> v & 1) != 0 && options[i].help != NULL) {
                assert_contains(ran.out, spelled(i));
                checked++;
            }
        for (const char *line = ran.out; *line != '\0'; line += strcspn(line, "\n") + 1)
            if (strncmp(line, "  dotk ", 7) != 0) /* examples are not broken */
                assert_true(strcspn(line, "\n") <= 80);
    }
    assert_true(checked > 40);
    assert_int_equal(dotk("--help"), 0);
    for (int v = 1; v < VERB_COUNT; v++)
        assert_contains(ran.out, verb_names[v]);
}

static void
test_help_needs_no_operands(void **state)
{
    (void)state;
    assert_int_equal(dotk("knn -h"), 0);
    assert_contains(ran.out, "Usage: dotk knn [OPTION...] BASE QUERIES\n");
}

static void
test_no_letter_or_name_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPTION_COUNT; i++)
        for (size_t j = i + 1; j < OPTION_COUNT; j++) {
            if ((options[i].verbs & options[j].verbs) == 0)
                continue;
            assert_false(options[i].letter != 0 && options[i].letter == options[j].letter);
            assert_false(options[i].name != NULL && options[j].name != NULL &&
                         strcmp(options[i].name, options[j].name) == 0);
        }
}

static void
test_version(void **state)
{
    (void)state;
    dotk("--version");
    assert_clean();
    char expected[64];
    snprintf(expected, sizeof expected, "dotk %s\n", dotk_version());
    assert_string_equal(ran.out, expected);
}

static void
test_wrong_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } wrong[] = {
        {"", "needs a verb"},
        {"bogus", "'bogus' is not a verb"},
        {"--bogus", "--bogus is not an option"},
        {"knn", "it needs BASE QUERIES"},
        {"bench", "say what to bench: search|attention|dense; see 'dotk bench --help'"},
        {"knn a.npy", "it needs BASE QUERIES"},
        {"knn a b c", "'c' is one operand too many"},
        {"knn a b --bogus", "--bogus is not an option"},
        {"knn a b -Z", "-Z is not an option"},
        {"knn a b --causal", "--causal is not an option"},
        {"knn a b -k", "-k needs an argument"},
        {"knn a b --metric", "--metric needs an argument"},
        {"knn a b --json=yes", "--json=yes is not an option"},
        {"knn a b -k 0", "-k is '0': it has to be a whole number from 1"},
        {"knn a b -k -3", "-k is '-3'"},
        {"knn a b -k ten", "-k is 'ten'"},
        {"knn a b -k 1.5", "-k is '1.5'"},
        {"knn a b -k ' 1'", "-k is ' 1'"},
        {"knn a b -k 99999999999999999999", "-k is '99999999999999999999'"},
        {"knn a b -k ''", "-k is ''"},
        {"knn a b --metric manhattan", "one of dot|cosine|l2"},
        {"knn a b --metric cos", "one of dot|cosine|l2"},
        {"knn a b --range nan", "--range is 'nan': it has to be a finite number"},
        {"knn a b --range 1e999", "--range is '1e999'"},
        {"knn a b --range ''", "--range is ''"},
        {"knn a b --out-ids ''", "--out-ids is ''"},
        {"knn a b --threads 0", "--threads is '0'"},
        {"knn a b --threads 100000", "100000"},
        {"inspect a -T 5000", "--threads is 5000: it has to be 1 to 1024"},
        {"knn a b --out-ids o.npy --out-scores o.npy", "--out-ids and --out-scores are both o.npy"},
        {"knn a b --out-ids o.npy --out-scores ./o.npy", "--out-ids and --out-scores are both"},
        {"attend -Q a -K b -V c -o s --out-weights s", "--out and --out-weights are both s"},
        {"attend -Q a -K b -V c --out-weights s --out-lse s", "--out-weights and --out-lse are"},
        {"attend -Q a -K b -V c --out-lse s --svg s", "--out-lse and --svg are both s"},
        {"attend --example -Q a", "--query and --example exclude each other"},
        {"attend --example --causal", "--causal and --example exclude each other"},
        {"attend --example -o o.npy", "--out and --example exclude each other"},
        {"bench dense --length 5", "--length goes with 'bench attention'"},
        {"bench dense --dim 5", "--dim goes with 'bench search' and 'bench attention'"},
        {"bench attention --rows 5 --m 4 --data nope", "--rows goes with 'bench search'"},
        {"bench search --prepared", "--prepared goes with 'bench dense'"},
        {"knn a b -k 3 --range 1", "-k and --range exclude each other"},
        {"knn a b --range 1 --out-ids i.npy", "--json"},
        {"attend --key-lengths 1,,2 -Q a -K b -V c", "--key-lengths is '1,,2'"},
        {"attend --key-lengths 1,2, -Q a -K b -V c", "--key-lengths is '1,2,'"},
        {"attend --query-offset x", "--query-offset is 'x'"},
        {"attend", "--query, --key and --value"},
        {"dense --x a", "--x, --w and --out"},
        {"inspect a --raw f32", "--raw and --dim go together"},
        {"inspect a --dim 3", "--raw and --dim go together"},
        {"bench bogus", "bogus"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dotk("%s", wrong[i].line);
        assert_refused(2, wrong[i].message);
        assert_string_equal(ran.out, "");
    }
}

/* One name in two folders is two files, and a device takes in one after the other. */
static void
test_outputs_that_differ(void **state)
{
    (void)state;
    shell("mkdir -p one two");
    assert_int_equal(dotk("knn a b --out-ids one/o.npy --out-scores two/o.npy"), 4);
    assert_int_equal(dotk("knn a b --out-ids /dev/null --out-scores /dev/null"), 4);
    dotk("knn a b --out-ids one/o.npy --out-scores two/../one/o.npy");
    assert_refused(2, "--out-ids and --out-scores are both");
}

static void
test_option_forms(void **state)
{
    (void)state;
    /* The same value in four spellings; the file is missing, so 4 means that the line was read. */
    assert_int_equal(dotk("knn a b --metric=l2"), 4);
    assert_int_equal(dotk("knn --metric l2 a b"), 4);
    assert_int_equal(dotk("knn a -m l2 b"), 4);
    assert_int_equal(dotk("knn -ml2 -k5 -- a b"), 4);
    assert_int_equal(dotk("knn --met l2 a b"), 4);
}

static void
test_markdown_is_committed(void **state)
{
    (void)state;
    dotk("--generate markdown");
    assert_clean();
    char *const committed = read_whole(DOTK_SOURCE "/doc/cli.md", NULL);
    if (strcmp(committed, ran.out) != 0)
        print_error("doc/cli.md is not what 'dotk --generate markdown' prints\n");
    assert_string_equal(committed, ran.out);
    assert_contains(committed, "| `--version` |");
    free(committed);
}

/* ------------------------------------------------------------------------- */
/*  The fields of JSON                                                       */
/* ------------------------------------------------------------------------- */

/* The rows of a verb's table under "JSON" in the page, up to the next heading; the caller frees. */
static char *
json_section(const char *page, const char *verb)
{
    char heading[64];

    snprintf(heading, sizeof heading, "\n### dotk %s\n", verb);
    const char *const start = strstr(page, heading);
    assert_non_null(start);
    const char *const rows = strstr(start, "| --- | --- |\n");
    const char *const end = strstr(rows, "\n\n");
    char *const section = end != NULL ? strndup(rows, (size_t)(end - rows)) : strdup(rows);
    test_require(section != NULL, "strdup");
    return section;
}

/* Wants each value's path among the rows, and marks it there: "| `" becomes "|+`". */
static void
mark_fields(const json_t *json, const char *path, char *rows)
{
    const char *key;
    json_t *entry;
    size_t i;
    char inner[256];

    if (json_is_object(json)) {
        json_object_foreach((json_t *)(uintptr_t)json, key, entry)
        {
            snprintf(inner, sizeof inner, "%s%s%s", path, *path != '\0' ? "." : "", key);
            mark_fields(entry, inner, rows);
        }
    } else if (json_is_array(json)) {
        snprintf(inner, sizeof inner, "%s[]", path);
        json_array_foreach(json, i, entry) mark_fields(entry, inner, rows);
    } else {
        snprintf(inner, sizeof inner, "`%s` |", path);
        char *const found = strstr(rows, inner);
        if (found == NULL)
            print_error("doc/cli.md lacks the field %s\n", inner);
        assert_non_null(found);
        found[-1] = '+';
    }
}

static void
test_json_fields_are_documented(void **state)
{
    (void)state;
    static const struct {
        const char *verb, *lines[4];
    } cases[] = {
        {"grep", {"grep -j 'fruit and vegetables' fruit.txt"}},
        {"knn", {"knn j.npy j.npy -k 1 --json"}},
        {"vector", {"vector 3,4 --json", "vector 3,4 1,2 --json"}},
        {"inspect", {"inspect j.npy --json"}},
        {"bench",
         {"bench search --rows 50 --dim 8 --queries 1 --json --rounds 1 --fma-seconds 0.005",
          "bench search --rows 50 --dim 8 --queries 1 --json --rounds 1 --fma-seconds 0.005 "
          "--screen int8",
          "bench attention --heads 1 --length 20 --dim 8 --json --rounds 1 --fma-seconds 0.005",
          "bench dense --m 4 --n 4 --inner 4 --json --rounds 1 --fma-seconds 0.005"}}};
    char *const page = read_whole(DOTK_SOURCE "/doc/cli.md", NULL);

    save_matrix("j.npy", (const float[]){1, 2, 3, 4}, 2, 2);
    save_text("fruit.txt", "Apples and pears are fruit.\n\nLeeks are vegetables, fruit is not.\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *const rows = json_section(page, cases[i].verb);
        for (size_t j = 0; j < 4 && cases[i].lines[j] != NULL; j++) {
            dotk("%s", cases[i].lines[j]);
            /* A busy machine makes bench fail, after its object. */
            assert_true(ran.code == 0 || strcmp(cases[i].verb, "bench") == 0);
            json_t *const json = ran_json();
            mark_fields(json, "", rows);
            json_decref(json);
        }
        if (strstr(rows, "| `") != NULL)
            print_error("dotk %s --json has no %.40s\n", cases[i].verb, strstr(rows, "| `"));
        assert_null(strstr(rows, "| `"));
        free(rows);
    }
    for (int v = 1; v < VERB_COUNT; v++) /* no verb is left out */
        for (size_t i = 0; i < OPTION_COUNT; i++)
            if (strcmp(spelled(i), "--json") == 0 && (options[i].verbs >> v & 1) != 0)
                free(json_section(page, verb_names[v]));
    free(page);
}

static void
test_manual_page(void **state)
{
    (void)state;
    dotk("--generate man >dotk.1");
    assert_clean();
    char *const page = read_whole("dotk.1", NULL);
    for (int v = 1; v < VERB_COUNT; v++)
        assert_contains(page, verb_names[v]);
    assert_contains(page, "\\-\\-version");
    free(page);
    if (system("command -v groff >/dev/null") != 0)
        return;
    shell("groff -ww -man -Tutf8 dotk.1 >page 2>warnings && test ! -s warnings");
    shell("groff -man -Tascii -P-c dotk.1 | col -b | grep -q -e '--metric METRIC'");
}

/* Completes a line in bash, whose last word may be empty; the answers are sorted words. */
static void
complete_in_bash(const char *words, const char *expected)
{
    char command[1024];

    snprintf(
        command, sizeof command,
        "bash --norc -c '. ./dotk.bash; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        "_dotk; echo ${COMPREPLY[@]}' >answer 2>&1",
        words);
    shell(command);
    char *const answer = read_whole("answer", NULL);
    answer[strcspn(answer, "\n")] = '\0';
    assert_string_equal(answer, expected);
    free(answer);
}

static void
test_bash_completion(void **state)
{
    (void)state;
    shell("'" DOTK_CLI "' --generate bash >dotk.bash && bash -n dotk.bash");
    complete_in_bash("dotk kn", "knn");
    complete_in_bash("dotk --v", "--version");
    complete_in_bash("dotk knn --out", "--out-ids --out-scores");
    complete_in_bash("dotk knn --metric \"\"", "dot cosine l2");
    complete_in_bash("dotk knn -m c", "cosine");
    complete_in_bash("dotk knn --metric = l", "l2");
    complete_in_bash("dotk knn --metric =", "dot cosine l2");
    complete_in_bash("dotk knn --out-ids x", ""); /* readline then offers files */
    complete_in_bash("dotk knn base", "");
    complete_in_bash("dotk bench s", "search");
    complete_in_bash("dotk dense --activation gelu", "gelu gelu_tanh");
    complete_in_bash("dotk attend --query", "--query --query-offset --query-labels");
    /* Every option of every verb. */
    for (int v = 1; v < VERB_COUNT; v++)
        for (size_t i = 0; i < OPTION_COUNT; i++) {
            if ((options[i].verbs >> v & 1) == 0 || options[i].help == NULL)
                continue;
            char command[512];
            snprintf(command, sizeof command,
                     "bash --norc -c '. ./dotk.bash; COMP_WORDS=(dotk %s -); COMP_CWORD=2; _dotk; "
                     "printf \"%%s\\n\" \"${COMPREPLY[@]}\"' | grep -qx -e %s",
                     verb_names[v], spelled(i));
            shell(command);
        }
}

static void
test_zsh_and_fish_completion(void **state)
{
    (void)state;
    dotk("--generate zsh >_dotk");
    assert_clean();
    dotk("--generate fish >dotk.fish");
    assert_clean();
    char *const zsh = read_whole("_dotk", NULL), *const fish = read_whole("dotk.fish", NULL);
    assert_contains(zsh, "#compdef dotk");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (options[i].help == NULL)
            continue;
        char for_fish[64];
        if (options[i].name != NULL)
            snprintf(for_fish, sizeof for_fish, " -l %s ", options[i].name);
        else
            snprintf(for_fish, sizeof for_fish, " -s %c ", options[i].letter);
        assert_contains(zsh, spelled(i));
        assert_contains(fish, for_fish);
    }
    free(zsh);
    free(fish);
    if (system("command -v zsh >/dev/null") == 0)
        shell("zsh -n _dotk");
    if (system("command -v fish >/dev/null") == 0) {
        shell("fish --no-execute dotk.fish");
        shell("HOME=$PWD fish -c 'source dotk.fish; complete -C \"dotk knn --metric \"' "
              "2>/dev/null | "
              "grep -q cosine");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_has_every_option),
        cmocka_unit_test(test_help_needs_no_operands),
        cmocka_unit_test(test_no_letter_or_name_twice),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_outputs_that_differ),
        cmocka_unit_test(test_option_forms),
        cmocka_unit_test(test_markdown_is_committed),
        cmocka_unit_test(test_json_fields_are_documented),
        cmocka_unit_test(test_manual_page),
        cmocka_unit_test(test_bash_completion),
        cmocka_unit_test(test_zsh_and_fish_completion),
    };

    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
