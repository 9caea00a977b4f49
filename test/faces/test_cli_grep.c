/* test_cli_grep.c - dotk grep: the walk over files, and what it finds in them */
#include "faces/spawn.h"

#include "../../faces/cli/walk.c"

/* ------------------------------------------------------------------------- */
/*  The walk                                                                 */
/* ------------------------------------------------------------------------- */

/* The paths of a walk, a line each; complaints as "!path". */
static char walked[1 << 16];

static int
note_file(void *user, const char *path, uint64_t size)
{
    (void)user;
    (void)size;
    strcat(strcat(walked, path), "\n");
    return 0;
}

static int
note_error(void *user, const char *path, int error)
{
    (void)user;
    (void)error;
    strcat(strcat(strcat(walked, "!"), path), "\n");
    return 0;
}

static const char *
walk_from(const char *root)
{
    const struct walk walk = {note_file, note_error, NULL};
    walked[0] = '\0';
    assert_int_equal(walk_visit(&walk, root), 0);
    return walked;
}

static void
files_in_order(void **state)
{
    (void)state;
    shell("mkdir -p tree/b/c tree/.hidden && echo x | tee tree/z tree/a tree/b/2 tree/b/1 "
          "tree/b/c/n tree/.hidden/no tree/.no >/dev/null && mkfifo tree/fifo");
    assert_string_equal(walk_from("tree"), "tree/a\ntree/b/1\ntree/b/2\ntree/b/c/n\ntree/z\n");
    assert_string_equal(walk_from("tree/"), "tree/a\ntree/b/1\ntree/b/2\ntree/b/c/n\ntree/z\n");
    assert_string_equal(walk_from("tree/.hidden"), "tree/.hidden/no\n"); /* named: not hidden */
    assert_string_equal(walk_from("tree/a"), "tree/a\n");
    assert_string_equal(walk_from("tree/none"), "!tree/none\n");
    assert_string_equal(walk_from("tree/fifo"), "!tree/fifo\n");
    test_require(chdir("tree/b") == 0, "chdir");
    assert_string_equal(walk_from("."), "1\n2\nc/n\n");
    assert_string_equal(walk_from("../b/c"), "../b/c/n\n");
    test_require(chdir("../..") == 0, "chdir");
}

static void
links_are_not_followed(void **state)
{
    (void)state;
    shell("mkdir -p links/d && echo x >links/d/f && ln -s .. links/d/up && ln -s d links/again && "
          "ln -s d/f links/file && ln -s loop links/loop && ln -s nowhere links/dead");
    assert_string_equal(walk_from("links"), "links/d/f\n");
    assert_string_equal(walk_from("links/again"), "links/again/f\n"); /* named: followed */
    assert_string_equal(walk_from("links/loop"), "!links/loop\n");
}

static void
unreadable_folders(void **state)
{
    (void)state;
    if (geteuid() == 0)
        skip(); /* root can read everything */
    shell("mkdir -p locked/in && echo x >locked/a && echo x >locked/in/b && chmod 0 locked/in");
    assert_string_equal(walk_from("locked"), "locked/a\n!locked/in\n");
    shell("chmod 700 locked/in");
}

struct case_ {
    const char *rules, *path;
    int expected; /* 1 excluded, 0 included, -1 not spoken of; + 10: the path is a folder */
};

static void
ignore_rules(void **state)
{
    static const struct case_ cases[] = {
        {"*.o", "a.o", 1},
        {"*.o", "deep/down/a.o", 1},
        {"*.o", "a.oo", -1},
        {"a.o", "b/a.o", 1},
        {"/a.o", "a.o", 1},
        {"/a.o", "b/a.o", -1},
        {"b/a.o", "b/a.o", 1},
        {"b/a.o", "c/b/a.o", -1}, /* a slash inside binds it */
        {"build/", "build", -1},
        {"build/", "build", 11},
        {"build/", "x/build", 11},
        {"/build/", "x/build", 9},
        {"# comment", "# comment", -1},
        {"\\#name", "#name", 1},
        {"\\!name", "!name", 1},
        {"", "a", -1},
        {"  ", "a", -1},
        {"a  ", "a", 1},
        {"a\\ ", "a ", 1},
        {"a\r\nb\r\n", "b", 1},
        {"*.o\n!keep.o", "keep.o", 0},
        {"!keep.o\n*.o", "keep.o", 1}, /* the last one decides */
        {"*\n!*.c\n", "x.c", 0},
        {"*\n!*.c\n", "x.h", 1},
        {"?.c", "a.c", 1},
        {"?.c", "ab.c", -1},
        {"a?b", "a/b", -1},
        {"a*b/x", "a/b/x", -1}, /* a star does not cross a slash */
        {"[a-c].x", "b.x", 1},
        {"[a-c].x", "d.x", -1},
        {"[!a-c].x", "d.x", 1},
        {"[^a-c].x", "b.x", -1},
        {"[]].x", "].x", 1},
        {"[\\]].x", "].x", 1},
        {"[a", "[a", -1}, /* not closed */
        {"\\*", "*", 1},
        {"\\*", "a", -1},
        {"**/foo", "foo", 1},
        {"**/foo", "a/b/foo", 1},
        {"**/foo/bar", "a/foo/bar", 1},
        {"abc/**", "abc/x", 1},
        {"abc/**", "abc/x/y", 1},
        {"abc/**", "abc", 9},
        {"a/**/b", "a/b", 1},
        {"a/**/b", "a/x/b", 1},
        {"a/**/b", "a/x/y/b", 1},
        {"a/**/b", "a/xb", -1},
        {"a/**/b", "c/a/b", -1},
        {"a/**/b/*.c", "a/x/b/y/b/z.c", 1},
        {"**/a*b*c/d", "x/a1b2b3c/d", 1},
        {"doc/*.txt", "doc/a.txt", 1},
        {"doc/*.txt", "doc/sub/a.txt", -1},
        {"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct case_ *const c = &cases[i];
        const bool folder = c->expected > 5;
        const int expected = folder ? c->expected - 10 : c->expected;
        const int got = walk_ignores(c->rules, strlen(c->rules), c->path, folder);
        if (got != expected)
            print_error("\"%s\" on %s: %d, not %d\n", c->rules, c->path, got, expected);
        assert_int_equal(got, expected);
    }
}

/* Rules of deeper folders come after those above, which count from the top of the repository. */
static void
nested_ignore_files(void **state)
{
    (void)state;
    shell("mkdir -p repo/.git repo/src/gen repo/src/lib repo/out && cd repo && "
          "printf '*.log\\n/out\\n/src/gen/x*\\n' >.gitignore && printf '!keep.log\\n*.tmp\\n' "
          ">src/.gitignore && echo x | tee a.log b.txt out/c src/keep.log src/drop.log src/d.tmp "
          "src/gen/x1 src/gen/y1 src/lib/out src/lib/keep.log >/dev/null");
    assert_string_equal(walk_from("repo"), "repo/b.txt\nrepo/src/gen/y1\nrepo/src/keep.log\n"
                                           "repo/src/lib/keep.log\nrepo/src/lib/out\n");
    /* From further down the same files are left out. */
    assert_string_equal(walk_from("repo/src/gen"), "repo/src/gen/y1\n");
    assert_string_equal(walk_from("repo/src/lib"), "repo/src/lib/keep.log\nrepo/src/lib/out\n");
    assert_string_equal(walk_from("repo/a.log"), "repo/a.log\n"); /* named: read */
    /* Without a repository, the folders above have no say. */
    shell("mv repo/.git repo/.nogit");
    assert_string_equal(walk_from("repo/src/gen"), "repo/src/gen/x1\nrepo/src/gen/y1\n");
}

/* ------------------------------------------------------------------------- */
/*  The verb                                                                 */
/* ------------------------------------------------------------------------- */

static int
setup(void **state)
{
    const int failed = folder_setup(state);
    shell(
        "mkdir -p texts/sub && cd texts && "
        "printf '# Boats\\n\\nA harbour shelters ships.\\n\\n# Food\\n\\nThe oven bakes bread.\\n' "
        ">a.md && "
        "printf 'int\\nbake_bread(void)\\n{\\n    return heat_oven();\\n}\\n' >sub/b.c && "
        "printf '<html><head><style>p { color: ship }</style></head>\\n<body>\\n<h1>Music</h1>\\n"
        "<p>The violin &amp; its\\nstrings</p></body></html>\\n' >c.html && "
        "printf 'ship\\0ship' >binary && printf '\\37\\213\\10ship' >packed && : >empty");
    return failed;
}

static void
finds_and_prints(void **state)
{
    (void)state;
    assert_int_equal(dotk("grep 'baking bread' texts"), 0);
    assert_clean();
    assert_lacks(ran.out, "\033"); /* no terminal, no colour */
    assert_contains(ran.out, "texts/a.md:5  0.");
    assert_contains(ran.out, "     7  The oven bakes bread.\n");
    assert_contains(ran.out, "texts/sub/b.c:1  0.");
    assert_contains(ran.out, "     2  bake_bread(void)\n");
    assert_lacks(ran.out, "binary");
    assert_lacks(ran.out, "packed");
    dotk("grep ship texts");
    assert_clean();
    assert_contains(ran.out, "texts/a.md:1  0.");
    assert_lacks(ran.out, "c.html"); /* the style is no text */
    dotk("grep violins texts");
    assert_contains(ran.out, "texts/c.html:3  0.");
    assert_contains(ran.out, "     4   The violin & its\n");
}

static void
as_json(void **state)
{
    (void)state;
    dotk("grep --json -k 1 'string of a violin' texts/sub texts/c.html");
    assert_clean();
    json_t *const json = ran_json();
    assert_string_equal(json_string_value(json_object_get(json, "schema")), "dotk.search/1");
    const json_t *const results = json_object_get(json, "results");
    assert_int_equal(json_array_size(results), 1);
    const json_t *const result = json_array_get(results, 0);
    assert_string_equal(json_string_value(json_object_get(result, "query")), "string of a violin");
    const json_t *const hits = json_object_get(result, "hits");
    assert_int_equal(json_array_size(hits), 1);
    const json_t *const hit = json_array_get(hits, 0), *const source = json_object_get(hit,
                                                                                       "source");
    assert_int_equal(json_integer_value(json_object_get(hit, "rank")), 1);
    assert_true(json_is_integer(json_object_get(hit, "id")));
    assert_true(json_real_value(json_object_get(hit, "score")) > 0.3);
    assert_non_null(
        strstr(json_string_value(json_object_get(hit, "text")), "The violin & its\nstrings"));
    assert_string_equal(json_string_value(json_object_get(source, "path")), "texts/c.html");
    assert_int_equal(json_integer_value(json_object_get(source, "line")), 3);
    assert_int_equal(json_integer_value(json_object_get(source, "end_line")), 5);
    json_decref(json);
}

static void
nothing_found(void **state)
{
    (void)state;
    dotk("grep xylophone texts");
    assert_refused(1, "nothing found");
    assert_string_equal(ran.out, "");
    dotk("grep --json xylophone texts");
    assert_refused(1, "nothing found");
    json_t *const json = ran_json();
    const json_t *const result = json_array_get(json_object_get(json, "results"), 0);
    assert_int_equal(json_array_size(json_object_get(result, "hits")), 0);
    json_decref(json);
    dotk("grep xylophone texts/a.md");
    assert_refused(1, "is in the 1 file read");
    dotk("grep ship texts/binary texts/packed");
    assert_refused(1, "no text");
    dotk("grep ship texts/empty");
    assert_refused(1, "no text");
}

static void
bad_lines(void **state)
{
    (void)state;
    dotk("grep ship texts nowhere");
    assert_refused(4, "nowhere: No such file");
    dotk("grep '?!' texts");
    assert_refused(2, "has no word");
    dotk("grep ship");
    assert_refused(2, "QUERY PATH");
    dotk("grep -k 0 ship texts");
    assert_refused(2, "-k");
    dotk("grep ship /dev/null");
    assert_refused(4, "neither a file nor a folder");
    dotk("grep ship texts >/dev/full");
    assert_refused(1, "standard output");
}

/* A file is searched once, however often it is named; -k bounds the hits. */
static void
files_once(void **state)
{
    (void)state;
    dotk("grep --json bread texts/a.md texts texts/a.md");
    assert_clean();
    const char *const first = strstr(ran.out, "texts/a.md");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\"texts/a.md\",\"line\":5"));
    dotk("grep -k 1 bread texts");
    assert_clean();
    assert_null(strstr(ran.out, "\n\n")); /* one hit */
}

static void
same_for_any_threads(void **state)
{
    char *first;
    (void)state;
    dotk("grep --json 'how are equal scores ordered' '%s/doc' '%s/include' --threads 1",
         DOTK_SOURCE, DOTK_SOURCE);
    assert_clean();
    first = strdup(ran.out);
    dotk("grep --json 'how are equal scores ordered' '%s/doc' '%s/include' --threads 4",
         DOTK_SOURCE, DOTK_SOURCE);
    assert_string_equal(ran.out, first);
    free(first);
}

/* A file of several slices: line numbers go on, and its end is searched too. */
static void
large_files(void **state)
{
    (void)state;
    shell("awk 'BEGIN { for (i = 1; i < 200000; i++) print \"filler line number\", i; "
          "print \"\\na needle\" }' >large.txt");
    dotk("grep --json -k 1 needle large.txt");
    assert_clean();
    assert_contains(ran.out, "\"end_line\":200001");
    shell("head -c 9000000 /dev/zero | tr '\\0' 'x' >oneline.txt && echo ' needle' >>oneline.txt");
    dotk("grep --json -k 1 needle oneline.txt");
    assert_clean();
    assert_contains(ran.out, "\"line\":1,");
    shell("rm large.txt oneline.txt");
}

/* Colour on a terminal only, and not with --no-color; what could steer a terminal is defused. */
static void
on_a_terminal(void **state)
{
    static struct terminal terminal;
    char *const plain[] = {"dotk", "grep", "--no-color", "bread", "texts", NULL};
    char *const lit[] = {"dotk", "grep", "bread", "texts", NULL};
    (void)state;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    terminal_start(&terminal, true, lit);
    assert_int_equal(terminal_end(&terminal), 0);
    assert_contains(terminal.text, "\033[1;31mbread\033[0m");
    terminal_start(&terminal, true, plain);
    assert_int_equal(terminal_end(&terminal), 0);
    assert_lacks(terminal.text, "\033");
    assert_contains(terminal.text, "bread");
    setenv("NO_COLOR", "1", 1);
    terminal_start(&terminal, true, lit);
    assert_int_equal(terminal_end(&terminal), 0);
    assert_lacks(terminal.text, "\033");
    unsetenv("NO_COLOR");
    shell("printf 'evil \\033]0;title\\007 bread' >evil.txt");
    dotk("grep bread evil.txt");
    assert_lacks(ran.out, "\033");
    assert_lacks(ran.out, "\007");
}

static void
interrupts(void **state)
{
    (void)state;
    shell("mkdir many && cd many && awk 'BEGIN { for (i = 0; i < 800000; i++) print \"some \" i "
          "\" words \" i * 7 }' >one && for i in 2 3 4 5 6 7 8 9; do cp one $i; done");
    int status = 0;
    /* On a busy machine the signal may come before the program is ready for it: try later. */
    for (useconds_t wait = 100000; wait < 10000000; wait *= 4) {
        const pid_t child = fork();
        test_require(child >= 0, "fork");
        if (child == 0) {
            const int null = open("/dev/null", O_WRONLY);
            dup2(null, STDOUT_FILENO);
            dup2(null, STDERR_FILENO);
            execl(DOTK_CLI, "dotk", "grep", "words", "many", (char *)NULL);
            _exit(99);
        }
        usleep(wait);
        kill(child, SIGINT);
        test_require(waitpid(child, &status, 0) == child, "waitpid");
        if (WIFEXITED(status))
            break;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    shell("rm -r many");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_in_order),
        cmocka_unit_test(links_are_not_followed),
        cmocka_unit_test(unreadable_folders),
        cmocka_unit_test(ignore_rules),
        cmocka_unit_test(nested_ignore_files),
        cmocka_unit_test(finds_and_prints),
        cmocka_unit_test(as_json),
        cmocka_unit_test(nothing_found),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(files_once),
        cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(large_files),
        cmocka_unit_test(on_a_terminal),
        cmocka_unit_test(interrupts),
    };
    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
