/*
 * test_cli_attend_options.c - dotk attend: masks, biases and the rest from files and numbers
 *
 * Each command's answer is compared with a reference in double precision that is written here from
 * the definition in dotk/attention.h.
 */
#include "faces/spawn.h"

enum { B = 2, H = 4, G = 2, L = 6, S = 9, D = 8, BLOCK = 4, CELLS = B * H * L * S };

static float q[B * H * L * D], k[B * G * S * D], v[B * G * S * D];
static float mask[CELLS], bias[CELLS], blocks[2 * 3];

/* Zeros and ones as bytes, which is how masks come. */
static void
save_u8(const char *path, const float *data, size_t axes, const size_t *shape)
{
    dotk_vectors vectors = {
        .data = data, .rows = 1, .dim = shape[axes - 1], .stride = shape[axes - 1], .axes = axes};

    for (size_t i = 0; i < axes; i++) {
        vectors.shape[i] = shape[i];
        vectors.rows *= i + 1 < axes ? shape[i] : 1;
    }
    assert_ok(dotk_vectors_save(NULL, path, &vectors, DOTK_RAW_U8));
}

static int
setup(void **state)
{
    uint64_t seed = 11;

    if (folder_setup(state) != 0)
        return -1;
    test_random_floats(&seed, q, B * H * L * D);
    test_random_floats(&seed, k, B * G * S * D);
    test_random_floats(&seed, v, B * G * S * D);
    test_random_floats(&seed, bias, CELLS);
    for (size_t i = 0; i < CELLS; i++) {
        mask[i] = test_random(&seed) % 3 != 0;
        if (i % 7 == 0)
            bias[i] = -INFINITY;
    }
    for (size_t i = 0; i < 2 * 3; i++)
        blocks[i] = i != 1 && i != 3;
    save_f32("q.npy", q, 4, (const size_t[]){B, H, L, D});
    save_f32("k.npy", k, 4, (const size_t[]){B, G, S, D});
    save_f32("v.npy", v, 4, (const size_t[]){B, G, S, D});
    save_u8("mask4.npy", mask, 4, (const size_t[]){B, H, L, S});
    save_u8("mask3.npy", mask, 3, (const size_t[]){H, L, S});
    save_u8("mask2.npy", mask, 2, (const size_t[]){L, S});
    save_u8("padding.npy", mask, 4, (const size_t[]){B, 1, 1, S});
    save_f32("bias4.npy", bias, 4, (const size_t[]){B, H, L, S});
    save_f32("bias3.npy", bias, 3, (const size_t[]){H, 1, S});
    save_f32("blocks.npy", blocks, 2, (const size_t[]){2, 3});
    return 0;
}

/* What a command asks for; strides say how the mask and the bias are shared. */
struct rules {
    const float *mask, *bias;
    size_t mask_strides[3], bias_strides[3];
    bool causal, windowed, in_blocks;
    long left, right, offset;
    double softcap, slopes[H], sinks[H];
    bool has_sinks;
};

static bool
counts(const struct rules *rules, size_t b, size_t h, size_t i, size_t j)
{
    const size_t *const m = rules->mask_strides, *const a = rules->bias_strides;
    const long behind = (long)i + rules->offset - (long)j;

    return !(rules->causal && behind < 0) &&
           !(rules->windowed && ((rules->left >= 0 && behind > rules->left) ||
                                 (rules->right >= 0 && -behind > rules->right))) &&
           !(rules->in_blocks && blocks[i / BLOCK * 3 + j / BLOCK] == 0.0f) &&
           !(rules->mask != NULL && rules->mask[b * m[0] + h * m[1] + i * m[2] + j] == 0.0f) &&
           !(rules->bias != NULL && rules->bias[b * a[0] + h * a[1] + i * a[2] + j] == -INFINITY);
}

/* The score of a pair that counts. */
static double
score_of(const struct rules *rules, size_t b, size_t h, size_t i, size_t j)
{
    const float *const query = q + ((b * H + h) * L + i) * D;
    const float *const key = k + ((b * G + h / (H / G)) * S + j) * D;
    const size_t *const a = rules->bias_strides;
    double score = test_dot(query, key, D, NULL) / sqrt(D);

    if (rules->softcap > 0)
        score = rules->softcap * tanh(score / rules->softcap);
    if (rules->bias != NULL)
        score += (double)rules->bias[b * a[0] + h * a[1] + i * a[2] + j];
    return score - rules->slopes[h] * fabs((double)i + (double)rules->offset - (double)j);
}

static void
reference(const struct rules *rules, size_t b, size_t h, size_t i, double *weights, double *out)
{
    double sum = rules->has_sinks ? exp(rules->sinks[h]) : 0;

    memset(out, 0, D * sizeof *out);
    for (size_t j = 0; j < S; j++) {
        weights[j] = counts(rules, b, h, i, j) ? exp(score_of(rules, b, h, i, j)) : 0;
        sum += weights[j];
    }
    for (size_t j = 0; j < S; j++) {
        weights[j] = sum > 0 ? weights[j] / sum : 0;
        for (size_t d = 0; d < D; d++)
            out[d] += weights[j] * (double)v[((b * G + h / (H / G)) * S + j) * D + d];
    }
}

/* How far o.npy and w.npy are from the reference at most; the files go away. */
static double
apart(const struct rules *rules)
{
    dotk_vectors *out, *weights;
    double most = 0;

    assert_ok(dotk_vectors_open("o.npy", NULL, &out));
    assert_ok(dotk_vectors_open("w.npy", NULL, &weights));
    for (size_t row = 0; row < B * H * L; row++) {
        double w[S], o[D];
        reference(rules, row / L / H, row / L % H, row % L, w, o);
        for (size_t j = 0; j < S; j++)
            most = fmax(most, fabs(w[j] - (double)weights->data[row * S + j]));
        for (size_t d = 0; d < D; d++)
            most = fmax(most, fabs(o[d] - (double)out->data[row * D + d]));
    }
    dotk_vectors_close(out);
    dotk_vectors_close(weights);
    shell("rm o.npy w.npy");
    return most;
}

static void
test_every_option(void **state)
{
    const double paper[] = {0.5, 0.25, 0.125, 0.0625};
    static const struct {
        const char *options;
        struct rules rules;
    } cases[] = {
        {"", {0}},
        {"--mask mask4.npy", {.mask = mask, .mask_strides = {H * L * S, L * S, S}}},
        {"--mask mask3.npy", {.mask = mask, .mask_strides = {0, L * S, S}}},
        {"--mask mask2.npy", {.mask = mask, .mask_strides = {0, 0, S}}},
        {"--mask padding.npy", {.mask = mask, .mask_strides = {S, 0, 0}}},
        {"--bias bias4.npy", {.bias = bias, .bias_strides = {H * L * S, L * S, S}}},
        {"--bias bias3.npy", {.bias = bias, .bias_strides = {0, S, 0}}},
        {"--window 2,1", {.windowed = true, .left = 2, .right = 1}},
        {"--window -1,0", {.windowed = true, .left = -1, .right = 0}},
        {"--window 2,-1 --query-offset 3", {.windowed = true, .left = 2, .right = -1, .offset = 3}},
        {"--causal --query-offset 3", {.causal = true, .offset = 3}},
        {"--blocks blocks.npy --block-size 4", {.in_blocks = true}},
        {"--softcap 0.5", {.softcap = 0.5}},
        {"--slopes 0.5", {.slopes = {0.5, 0.25, 0.125, 0.0625}}},
        {"--slopes 0.5,0.1,0,2 --query-offset 3", {.slopes = {0.5, 0.1, 0, 2}, .offset = 3}},
        {"--sinks 0.5", {.has_sinks = true, .sinks = {0.5, 0.5, 0.5, 0.5}}},
        {"--sinks 1,-2,0.25,3", {.has_sinks = true, .sinks = {1, -2, 0.25, 3}}},
        {"--mask mask2.npy --bias bias3.npy --causal --softcap 2 --sinks 0",
         {.mask = mask,
          .mask_strides = {0, 0, S},
          .bias = bias,
          .bias_strides = {0, S, 0},
          .causal = true,
          .softcap = 2,
          .has_sinks = true}},
    };

    (void)state;
    assert_memory_equal(cases[13].rules.slopes, paper, sizeof paper);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy --out-weights w.npy %s", cases[i].options);
        assert_clean();
        const double most = apart(&cases[i].rules);
        if (most > 2e-6)
            fail_msg("%s: %g apart", cases[i].options, most);
        /* The rules of another case would be noticed. */
        dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy --out-weights w.npy %s", cases[i].options);
        assert_true(apart(&cases[i == 0 ? 1 : 0].rules) > 1e-3);
    }
}

/* The product alone, and the scores with mask and softcap. */
static void
test_scores(void **state)
{
    const struct rules product = {0};
    const struct rules masked = {
        .mask = mask, .mask_strides = {0, 0, S}, .softcap = 0.5, .slopes = {1, 1, 1, 1}};

    (void)state;
    for (int stage = 0; stage < 3; stage++) {
        static const char *const names[] = {"--stage product", "--stage capped", ""};
        dotk_vectors *scores;
        dotk("attend -Q q.npy -K k.npy -V v.npy --mask mask2.npy --softcap 0.5 --slopes 1 "
             "--out-scores s.npy %s",
             names[stage]);
        assert_clean();
        assert_string_equal(ran.out, "");
        assert_ok(dotk_vectors_open("s.npy", NULL, &scores));
        for (size_t cell = 0; cell < CELLS; cell++) {
            const size_t b = cell / S / L / H, h = cell / S / L % H, i = cell / S % L, j = cell % S;
            double expected = score_of(&product, b, h, i, j);
            if (stage == 1)
                expected = 0.5 * tanh(expected / 0.5);
            if (stage == 2)
                expected = counts(&masked, b, h, i, j) ? score_of(&masked, b, h, i, j) : -INFINITY;
            assert_true((double)scores->data[cell] == expected ||
                        fabs((double)scores->data[cell] - expected) < 1e-5);
        }
        dotk_vectors_close(scores);
    }
}

/* Rounded arrays: the answer is that of the rounded numbers, rounded itself. */
static void
test_store(void **state)
{
    static const dotk_store stores[] = {DOTK_STORE_F16, DOTK_STORE_BF16};
    static const double units[] = {0x1p-11, 0x1p-8};
    const struct rules plain = {0};
    double most[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        uint16_t narrow[B * H * L * D];
        dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy --out-weights w.npy --store %s",
             dotk_store_name(stores[i]));
        assert_clean();
        dotk_vectors *out;
        assert_ok(dotk_vectors_open("o.npy", NULL, &out));
        float back[B * H * L * D];
        assert_ok(dotk_narrow(out->data, B * H * L * D, stores[i], narrow));
        assert_ok(dotk_widen(narrow, B * H * L * D, stores[i], back));
        assert_memory_equal(back, out->data, sizeof back);
        dotk_vectors_close(out);
        most[i] = apart(&plain);
        assert_true(most[i] < 8 * units[i]);
    }
    assert_true(most[0] > 1e-5 && most[1] > 3 * most[0]);
    dotk("attend -Q q.npy -K k.npy -V v.npy --store bf16 --head 3");
    assert_clean();
}

static void
test_refusals(void **state)
{
    static const struct {
        const char *options;
        int code;
        const char *message;
    } cases[] = {
        {"--window 3", 2, "--window is '3': give two numbers, as in 256,0"},
        {"--window 3,-2", 2, "--window is '3,-2'"},
        {"--window 3,x", 2, "whole numbers with commas between"},
        {"--slopes 1,2", 2, "--slopes has 2 numbers for 4 heads: give one for each, or one"},
        {"--sinks 1,inf,1,1", 2, "finite numbers with commas between"},
        {"--mask two.npy", 4, "row 0, column 0 is 2: 1 (or true) says that a key counts"},
        {"--mask bias4.npy", 4,
         "--mask bias4.npy holds f32: numbers that are added to the scores "
         "go to --bias, and a mask is bool or u8"},
        {"--bias mask2.npy", 4,
         "--bias mask2.npy holds bool or u8, as a mask does: pass it as "
         "--mask"},
        {"--mask q.npy", 4, "--mask q.npy has the shape (2, 4, 6, 8): it has to be (6, 9)"},
        {"--bias blocks.npy", 4, "--bias blocks.npy has the shape (2, 3)"},
        {"--blocks mask2.npy", 4, "in blocks of 64 (--block-size) make (1, 1)"},
        {"--block-size 4", 2, "--block-size goes with --blocks"},
        {"--stage capped", 2, "--stage goes with --out-scores"},
        {"--store int8", 2, "--store is 'int8'"},
        {"--seed 4", 2, "--seed goes with --dropout"},
        {"--dropout 1", 2, "--dropout is 1: it has to be 0 or more, and below 1"},
        {"--dropout 0.999999999", 2, "--dropout is 0.999999999: it has to be 0 or more"},
        {"--dropout -0.1", 2, "--dropout is -0.1: it has to be 0 or more"},
        {"--scale 1e39", 2, "--scale is 1e39, which exceeds f32"},
        {"--slopes 1e20", 2, "--slopes is '1e20': the number of head 1 exceeds f32"},
        {"--sinks 1,1,1,-1e39", 2, "--sinks is '1,1,1,-1e39': the number of head 3 exceeds f32"},
        {"-c --query-offset 10", 2,
         "--query-offset is 10: it goes from -6 (q.npy has as many "
         "queries) to 9 (k.npy has as many keys)"},
        {"-c --query-offset -7", 2, "--query-offset is -7: it goes from -6"},
        {"--head 1", 2, "beside other outputs --head goes with --heat or --svg"},
        {"--average-heads", 2, "beside other outputs --average-heads goes with --heat or --svg"},
        {"--labels words.txt", 2, "beside other outputs --labels goes with --heat or --svg"},
        {"--query-labels words.txt", 2, "outputs --query-labels goes with --heat or --svg"},
        {"--out-lse -", 2, "--out-lse is '-': name a file (./- if that is its name)"},
        {"--svg -", 2, "--svg is '-': name a file"},
        {"--head 1 --average-heads", 2, "--head and --average-heads exclude each other"},
        {"--softcap=-1", 2, "--softcap is -1: give a cap of 1e-30 to 1e30, or 0 for none"},
        {"--softcap 1e-50", 2, "--softcap is 1e-50: give a cap"}, /* 0 in f32 */
    };
    const float twos[] = {2, 2, 2, 2, 2, 2, 2, 2, 2};
    static const float three_heads[B * 3 * S * D];

    (void)state;
    save_u8("two.npy", twos, 2, (const size_t[]){1, S});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy %s", cases[i].options);
        assert_refused(cases[i].code, cases[i].message);
    }
    assert_false(exists("o.npy"));
    save_f32("k3.npy", three_heads, 4, (const size_t[]){B, 3, S, D});
    dotk("attend -Q q.npy -K k3.npy -V k3.npy -o o.npy");
    assert_refused(4, "--key k3.npy has 3 heads, --query q.npy has 4: as many, or a number that");
    for (size_t i = 0; i < 4; i++) {
        static const char *const matrices[] = {"--out-weights", "--out-scores", "--out-lse",
                                               "--out"};
        dotk("attend -Q q.npy -K k.npy -V v.npy %s o.npy --head 1", matrices[i]);
        assert_refused(2, "beside other outputs --head goes with --heat or --svg");
    }
    dotk("attend --example --window 1,1");
    assert_refused(2, "--window and --example exclude each other");
}

/* ------------------------------------------------------------------------- */
/*  Pictures                                                                 */
/* ------------------------------------------------------------------------- */

/* The weight in column 'col' of row 'row' as a map with up to 8 columns prints it. */
static double
printed(size_t row, size_t col)
{
    const char *at = ran.out;

    for (size_t i = 0; i < row + 2; i++)
        at = strchr(at, '\n') + 1;
    return strtod(at + 12 + 10 * col, NULL) / 100;
}

static void
test_heads_are_picked(void **state)
{
    double mean[5] = {0};

    (void)state;
    save_f32("k5.npy", k, 3, (const size_t[]){1, 5, D});
    save_f32("q5.npy", q, 3, (const size_t[]){H, 5, D});
    for (size_t h = 0; h < H; h++) {
        dotk("attend -Q q5.npy -K k5.npy -V k5.npy --head %zu", h);
        assert_clean();
        double weights[5], sum = 0;
        for (size_t j = 0; j < 5; j++)
            sum += weights[j] = exp(test_dot(q + h * 5 * D, k + j * D, D, NULL) / sqrt(D));
        for (size_t j = 0; j < 5; j++) {
            assert_true(fabs(printed(0, j) - weights[j] / sum) < 6e-4);
            mean[j] += weights[j] / sum / H;
        }
    }
    dotk("attend -Q q5.npy -K k5.npy -V k5.npy --average-heads");
    assert_clean();
    assert_contains(ran.out, "weights of all heads, averaged: 5 of 5 queries");
    for (size_t j = 0; j < 5; j++)
        assert_true(fabs(printed(0, j) - mean[j]) < 6e-4);
    dotk("attend -Q q.npy -K k.npy -V v.npy --head 4");
    assert_refused(2, "--head is 4: --query q.npy has 4 heads, counted from 0");
}

/* The ends of what options take. */
static void
test_limits(void **state)
{
    static const char *const options[] = {"", "--dropout 0", "--softcap 0", "--dropout 0 --seed 9"};
    const struct rules plain = {0};

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy --out-weights w.npy %s", options[i]);
        assert_clean();
        assert_true(apart(&plain) < 2e-6);
    }
    dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy -c --query-offset 9");
    assert_clean();
    dotk("attend -Q q.npy -K k.npy -V v.npy -o o.npy -c --query-offset -6 --head 1 --heat");
    assert_clean();
    /* More queries before the first key than the picture shows: query 29 is the first to see one.
     */
    save_f32("q60.npy", q, 2, (const size_t[]){60, 4});
    save_f32("k60.npy", k, 2, (const size_t[]){60, 4});
    dotk("attend -Q q60.npy -K k60.npy -V k60.npy --window 0,21 --query-offset -50");
    assert_clean();
    assert_contains(ran.out, "weights of head 0: 40 of 60 queries (down), 36 of 60 keys");
    const char *const row = strstr(ran.out, "\n        29  ");
    assert_non_null(row);
    assert_contains(row, "\n        29  @");
    const char *const before = strstr(ran.out, "\n        28  ");
    assert_non_null(before);
    assert_true(strcspn(before + 1, "@") > strcspn(before + 1, "\n"));
}

static void
test_labels(void **state)
{
    (void)state;
    save_text("words.txt", "the\nquick\n<b>\n疲れ\nb\xff\x01x\nsix\nseven\n"
                           "eight\nnine, a long one that goes on and on\n");
    dotk("attend -Q q.npy -K k.npy -V v.npy --labels words.txt --svg map.svg --heat "
         "--causal --query-offset 3");
    assert_clean();
    /* Nine columns: names downwards, cut at ten characters, and ending at the cells. */
    assert_contains(ran.out, "\n                            n \n");
    assert_contains(ran.out, "\n            e k > れx x n t o \n");
    /* Query 0 stands at key 3. */
    assert_contains(ran.out, "\n      疲れ  ");
    char *const svg = read_whole("map.svg", NULL);
    assert_contains(svg, ">&lt;b&gt;</text>");
    assert_contains(svg, "<title>six → quick: 0");
    assert_contains(svg, ">nine, a long one that go…</text>");
    assert_contains(svg, ">b\xef\xbf\xbd\xef\xbf\xbdx</text>");
    assert_contains(svg, "rotate(-90 ");
    free(svg);
    if (system("command -v xmllint >/dev/null") == 0)
        shell("xmllint --noout map.svg");
    dotk("attend -Q q.npy -K k.npy -V v.npy --query-labels words.txt");
    assert_refused(4, "--query-labels words.txt has 9 lines, --query q.npy has 6 rows");
    dotk("attend -Q q.npy -K k.npy -V v.npy --labels nowhere.txt");
    assert_refused(4, "nowhere.txt: No such file or directory");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_heads_are_picked),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_labels),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
