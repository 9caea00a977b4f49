/*
 * test_cli_attend.c - dotk attend: arrays from files, the worked example, heat-maps
 */
#include "faces/spawn.h"

enum { B = 2, H = 3, L = 5, S = 7, D = 16, E = 9 };

static float q[B * H * L * D], k[B * H * S * D], v[B * H * S * E];

static int
setup(void **state)
{
    uint64_t seed = 5;

    if (folder_setup(state) != 0)
        return -1;
    unsetenv("NO_COLOR");
    unsetenv("COLORTERM");
    test_random_floats(&seed, q, B * H * L * D);
    test_random_floats(&seed, k, B * H * S * D);
    test_random_floats(&seed, v, B * H * S * E);
    save_f32("q4.npy", q, 4, (const size_t[]){B, H, L, D});
    save_f32("k4.npy", k, 4, (const size_t[]){B, H, S, D});
    save_f32("v4.npy", v, 4, (const size_t[]){B, H, S, E});
    save_f32("q3.npy", q, 3, (const size_t[]){H, L, D});
    save_f32("k3.npy", k, 3, (const size_t[]){H, S, D});
    save_f32("v3.npy", v, 3, (const size_t[]){H, S, E});
    save_f32("q2.npy", q, 2, (const size_t[]){L, D});
    save_f32("k2.npy", k, 2, (const size_t[]){S, D});
    save_f32("v2.npy", v, 2, (const size_t[]){S, E});
    return 0;
}

struct rules {
    double scale;
    bool causal;
    long offset;
    size_t lengths[B];
};

/* One row in double precision: weights (S), output (E), log-sum-exp. */
static void
reference(size_t head, size_t row, const struct rules *rules, double *weights, double *out,
          double *lse)
{
    const float *const query = q + (head * L + row) * D;
    double largest = -INFINITY, sum = 0;

    for (size_t j = 0; j < S; j++) {
        const bool seen = j < rules->lengths[head / H] &&
                          (!rules->causal || (long)j <= (long)row + rules->offset);
        weights[j] = seen ? rules->scale * test_dot(query, k + (head * S + j) * D, D, NULL)
                          : -INFINITY;
        largest = fmax(largest, weights[j]);
    }
    for (size_t j = 0; j < S; j++)
        sum += weights[j] = largest > -INFINITY ? exp(weights[j] - largest) : 0.0;
    *lse = largest > -INFINITY ? largest + log(sum) : -INFINITY;
    memset(out, 0, E * sizeof(double));
    for (size_t j = 0; j < S; j++) {
        weights[j] = sum > 0 ? weights[j] / sum : 0.0;
        for (size_t e = 0; e < E; e++)
            out[e] += weights[j] * (double)v[(head * S + j) * E + e];
    }
}

static dotk_vectors *
open_shape(const char *path, size_t axes, const size_t *shape)
{
    dotk_vectors *file;

    assert_ok(dotk_vectors_open(path, NULL, &file));
    assert_int_equal(file->axes, axes);
    for (size_t i = 0; i < axes; i++)
        assert_int_equal(file->shape[i], shape[i]);
    return file;
}

static void
check_outputs(size_t axes, size_t batch, size_t heads, const struct rules *rules)
{
    const size_t shapes[3][4] = {{batch, heads, L, E}, {batch, heads, L, S}, {batch, heads, L, 1}};
    const size_t skipped = 4 - axes;
    dotk_vectors *const out = open_shape("o.npy", axes, shapes[0] + skipped);
    dotk_vectors *const weights = open_shape("w.npy", axes, shapes[1] + skipped);
    dotk_vectors *const lse = open_shape("e.npy", axes - 1, shapes[2] + skipped);

    for (size_t head = 0; head < batch * heads; head++)
        for (size_t row = 0; row < L; row++) {
            double w[S], o[E], e, total = 0;
            const size_t at = head * L + row;
            reference(head, row, rules, w, o, &e);
            for (size_t j = 0; j < S; j++) {
                total += (double)weights->data[at * S + j];
                assert_true(fabs((double)weights->data[at * S + j] - w[j]) < 1e-6);
            }
            for (size_t i = 0; i < E; i++)
                assert_true(fabs((double)out->data[at * E + i] - o[i]) < 2e-6);
            assert_true(isinf(e) ? lse->data[at] == -INFINITY
                                 : fabs((double)lse->data[at] - e) < 1e-5);
            assert_true(isinf(e) ? total == 0.0 : fabs(total - 1.0) < 1e-6);
        }
    dotk_vectors_close(out);
    dotk_vectors_close(weights);
    dotk_vectors_close(lse);
    shell("rm o.npy w.npy e.npy");
}

#define OUTPUTS "--out o.npy --out-weights w.npy --out-lse e.npy"

static void
test_every_shape(void **state)
{
    (void)state;
    const struct rules plain = {.scale = 0.25, .lengths = {S, S}};
    dotk("attend --query q4.npy --key k4.npy --value v4.npy " OUTPUTS);
    assert_clean();
    assert_string_equal(ran.out, "");
    check_outputs(4, B, H, &plain);
    dotk("attend --query q3.npy --key k3.npy --value v3.npy " OUTPUTS);
    assert_clean();
    check_outputs(3, 1, H, &plain);
    dotk("attend -Q q2.npy -K k2.npy -V v2.npy " OUTPUTS);
    assert_clean();
    check_outputs(2, 1, 1, &plain);
}

static void
test_every_rule(void **state)
{
    (void)state;
    const struct {
        const char *options;
        struct rules rules;
    } cases[] = {
        {"--scale 2.5", {2.5, false, 0, {S, S}}},
        {"--scale 0", {0.0, false, 0, {S, S}}},
        {"--causal", {0.25, true, 0, {S, S}}},
        {"--causal --query-offset 2", {0.25, true, 2, {S, S}}},
        {"--causal --query-offset=-3", {0.25, true, -3, {S, S}}},
        {"--causal --query-offset -3", {0.25, true, -3, {S, S}}},
        {"--key-lengths 3,6", {0.25, false, 0, {3, 6}}},
        {"--key-lengths 1,7 --causal --threads 2", {0.25, true, 0, {1, 7}}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dotk("attend -Q q4.npy -K k4.npy -V v4.npy " OUTPUTS " %s", cases[i].options);
        assert_clean();
        check_outputs(4, B, H, &cases[i].rules);
    }
}

static void
test_refusals(void **state)
{
    (void)state;
    dotk("attend -Q q4.npy -K k4.npy -V v4.npy -o o.npy --key-lengths 3");
    assert_refused(2, "--key-lengths has 1 numbers for 2 batch entries");
    dotk("attend -Q q4.npy -K k4.npy -V v4.npy -o o.npy --key-lengths 3,8");
    assert_refused(2, "--key-lengths has 8 for batch entry 1: k4.npy has 7 keys");
    dotk("attend -Q q4.npy -K k4.npy -V v4.npy -o o.npy --query-offset 3");
    assert_refused(2, "--query-offset goes with --causal, --window or --slopes");
    dotk("attend -Q q2.npy -K v2.npy -V k2.npy -o o.npy");
    assert_refused(4, "--key v2.npy has 9 values in a row, --query q2.npy has 16");
    dotk("attend -Q q2.npy -K k2.npy -V q2.npy -o o.npy");
    assert_refused(4, "--value q2.npy has 5 rows, --key k2.npy has 7");
    dotk("attend -Q q3.npy -K k2.npy -V v3.npy -o o.npy");
    assert_refused(4, "--value v3.npy has 3 heads, --key k2.npy has 1");
    dotk("attend -Q q3.npy -K k3.npy -V v2.npy -o o.npy");
    assert_refused(4, "--value v2.npy has 1 heads");
    dotk("attend -Q q4.npy -K k3.npy -V v4.npy -o o.npy");
    assert_refused(4, "--key k3.npy has 1 batch entries, --query q4.npy has 2");
    save_f32("q1.npy", q, 1, (const size_t[]){D});
    dotk("attend -Q q1.npy -K k2.npy -V v2.npy -o o.npy");
    assert_refused(4, "q1.npy: it has 1 axes");
    save_f32("v0.npy", v, 2, (const size_t[]){S, 0});
    dotk("attend -Q q2.npy -K k2.npy -V v0.npy -o o.npy");
    assert_refused(4, "v0.npy: has the shape (7, 0): a vector has at least one value");
    dotk("attend -Q none.npy -K k2.npy -V v2.npy -o o.npy");
    assert_refused(4, "none.npy: No such file or directory");
    dotk("attend -Q q2.npy -K k2.npy -V v2.npy -o nowhere/o.npy");
    assert_refused(1, "--out nowhere/o.npy: No such file or directory");
    assert_false(exists("o.npy"));
}

static void
test_explain(void **state)
{
    (void)state;
    dotk("attend -Q q4.npy -K k4.npy -V v4.npy --explain");
    assert_clean();
    assert_true(strlen(ran.out) > 10);
    assert_string_equal(strchr(ran.out, '\n'), "\n");
}

/* ------------------------------------------------------------------------- */
/*  The worked example                                                       */
/* ------------------------------------------------------------------------- */

static void
test_example(void **state)
{
    (void)state;
    dotk("attend --example");
    assert_clean();
    static const char *const parts[] = {"-0.4066", "0.0053", "-0.386",    "0.380",  "39.8 %",
                                        "60.2 %",  "let's",  "[-0.2968,", "0.2928]"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_contains(ran.out, parts[i]);
    assert_lacks(ran.out, "\033"); /* not a terminal: no colours */
    /* The numbers that attention gives are the ones worked out by hand. */
    const char *const by_hand = strstr(ran.out, "= [-0.2968, 0.2928]");
    assert_non_null(by_hand);
    assert_non_null(strstr(by_hand + 1, " [-0.2968, 0.2928]"));
}

static void
test_svg(void **state)
{
    (void)state;
    dotk("attend --example --svg example.svg");
    assert_clean();
    char *svg = read_whole("example.svg", NULL);
    assert_true(strncmp(svg, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39) == 0);
    assert_contains(svg, ">39.8 %</text>");
    assert_contains(svg, ">60.2 %</text>");
    assert_contains(svg, ">let's</text>");
    assert_string_equal(svg + strlen(svg) - 7, "</svg>\n");
    free(svg);
    if (system("command -v xmllint >/dev/null") == 0)
        shell("xmllint --noout example.svg");

    dotk("attend -Q q4.npy -K k4.npy -V v4.npy --out o.npy --svg weights.svg");
    assert_clean();
    svg = read_whole("weights.svg", NULL);
    size_t cells = 0;
    for (const char *at = svg; (at = strstr(at, "<title>")) != NULL; at++)
        cells++;
    assert_int_equal(cells, L * S + 21); /* and 21 in the legend */
    free(svg);

    save_text("example.svg", "older");
    /* A device is written to, not replaced. The link would be what a wrong command replaces. */
    shell("ln -s /dev/full full");
    dotk("attend --example --svg full");
    assert_refused(1, "--svg full: No space left on device");
    shell("test -c full && rm full");
    shell("(ulimit -f 0; trap '' XFSZ; '" DOTK_CLI "' attend --example --svg example.svg "
          "2>/dev/null | cat >/dev/null)");
    svg = read_whole("example.svg", NULL);
    assert_string_equal(svg, "older");
    free(svg);
    shell("ln -s /dev/stdout to_stdout");
    dotk("attend --example --svg to_stdout | grep -c -e '^</svg>' -e '^Where the query looks'");
    assert_string_equal(ran.out, "2\n");
}

/* ------------------------------------------------------------------------- */
/*  Terminals                                                                */
/* ------------------------------------------------------------------------- */

/* What the command prints on a terminal with these settings. */
static struct terminal terminal;

static const char *
example_on_terminal(const char *term, const char *color_term, const char *no_color,
                    const char *option)
{
    char *argv[] = {"dotk", "attend", "--example", (char *)(uintptr_t)option, NULL};

    setenv("TERM", term, 1);
    setenv("COLORTERM", color_term, 1);
    setenv("NO_COLOR", no_color, 1);
    terminal_start(&terminal, true, argv);
    assert_int_equal(terminal_end(&terminal), 0);
    unsetenv("NO_COLOR");
    return terminal.text;
}

static void
test_colors(void **state)
{
    (void)state;
    const char *text = example_on_terminal("xterm-256color", "truecolor", "", NULL);
    assert_contains(text, "\033[48;2;");
    assert_contains(text, "39.8 %");
    text = example_on_terminal("xterm-256color", "", "", NULL);
    assert_contains(text, "\033[48;5;");
    assert_lacks(text, "\033[48;2;");
    static const struct {
        const char *term, *no_color, *option;
    } plain[] = {{"xterm-256color", "1", NULL},
                 {"xterm-256color", "", "--no-color"},
                 {"dumb", "", NULL},
                 {"xterm", "", NULL}};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        text = example_on_terminal(plain[i].term, i < 3 ? "truecolor" : "", plain[i].no_color,
                                   plain[i].option);
        assert_lacks(text, "\033[");
        assert_contains(text, "39.8 % =");
    }
}

static void
test_weights_are_shown(void **state)
{
    (void)state;
    dotk("attend -Q q4.npy -K k4.npy -V v4.npy --causal");
    assert_clean();
    assert_contains(ran.out, "weights of head 0: 5 of 5 queries (down), 7 of 7 keys");
    assert_contains(ran.out, "         0   100.0 % @   0.0 %  ");
    save_f32("long.npy", q, 2, (const size_t[]){B * H * L * D / 2, 2});
    dotk("attend -Q long.npy -K long.npy -V long.npy");
    assert_clean();
    assert_contains(ran.out, "40 of 240 queries (down), 36 of 240 keys (across)");
}

static void
test_nan_is_a_question_mark(void **state)
{
    (void)state;
    static float bad[40 * D];
    memcpy(bad, k, sizeof bad);
    bad[3] = NAN;
    save_f32("bad.npy", bad, 2, (const size_t[]){S, D});
    dotk("attend -Q q2.npy -K bad.npy -V v2.npy");
    assert_clean();
    assert_contains(ran.out, "\n         0       ?         ?    ");
    assert_lacks(ran.out, "nan");
    dotk("attend -Q q2.npy -K bad.npy -V v2.npy --svg nan.svg");
    assert_clean();
    char *svg = read_whole("nan.svg", NULL);
    assert_contains(svg, "<title>NaN</title>");
    assert_contains(svg, ">?</text>");
    free(svg);
    /* Too many columns for numbers. */
    save_f32("bad.npy", bad, 2, (const size_t[]){40, D});
    dotk("attend -Q q2.npy -K bad.npy -V bad.npy --svg nan.svg");
    svg = read_whole("nan.svg", NULL);
    assert_contains(svg, ">?</text>");
    free(svg);
    dotk("attend -Q q2.npy -K bad.npy -V bad.npy");
    assert_contains(ran.out, "         0  ????");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_shape),
        cmocka_unit_test(test_every_rule),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_svg),
        cmocka_unit_test(test_colors),
        cmocka_unit_test(test_weights_are_shown),
        cmocka_unit_test(test_nan_is_a_question_mark),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
