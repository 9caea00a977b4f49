/*
 * test_cli_knn.c - dotk knn: answers, formats, bad input, full disks, interruption
 */
#include "faces/spawn.h"

enum { ROWS = 300, QUERIES = 7, DIM = 37 };

static float base[ROWS * DIM], queries[QUERIES * DIM];

static int
setup(void **state)
{
    uint64_t seed = 11;

    if (folder_setup(state) != 0)
        return -1;
    test_random_floats(&seed, base, ROWS * DIM);
    test_random_floats(&seed, queries, QUERIES * DIM);
    save_matrix("base.npy", base, ROWS, DIM);
    save_matrix("queries.npy", queries, QUERIES, DIM);
    return 0;
}

/* The score in double precision. */
static double
reference(const char *metric, const float *q, const float *row)
{
    if (strcmp(metric, "l2") == 0)
        return test_l2(q, row, DIM);
    const double dot = test_dot(q, row, DIM, NULL);
    if (strcmp(metric, "dot") == 0)
        return dot;
    return dot / sqrt(test_dot(q, q, DIM, NULL) * test_dot(row, row, DIM, NULL));
}

/* How many rows score better than row 'id': its rank from 0, but for ties, of which there are none.
 */
static size_t
reference_rank(const char *metric, const float *q, size_t id)
{
    const bool less = strcmp(metric, "l2") == 0;
    const double mine = reference(metric, q, base + id * DIM);
    size_t better = 0;

    for (size_t row = 0; row < ROWS; row++) {
        const double other = reference(metric, q, base + row * DIM);
        better += less ? other < mine : other > mine;
    }
    return better;
}

/* Checks a search answer in JSON against the reference; returns how many hits it has. */
static size_t
check_answer(const json_t *json, const char *metric, size_t k)
{
    const json_t *const results = json_object_get(json, "results");
    size_t checked = 0;

    assert_string_equal(json_string_value(json_object_get(json, "schema")), "dotk.search/1");
    assert_int_equal(json_array_size(results), QUERIES);
    for (size_t i = 0; i < QUERIES; i++) {
        const json_t *const result = json_array_get(results, i);
        const json_t *const hits = json_object_get(result, "hits");
        assert_int_equal(json_integer_value(json_object_get(result, "query")), i);
        assert_int_equal(json_array_size(hits), k);
        for (size_t j = 0; j < k; j++, checked++) {
            const json_t *const hit = json_array_get(hits, j);
            const size_t id = (size_t)json_integer_value(json_object_get(hit, "id"));
            const double score = json_real_value(json_object_get(hit, "score"));
            assert_int_equal(json_integer_value(json_object_get(hit, "rank")), j + 1);
            assert_int_equal(reference_rank(metric, queries + i * DIM, id), j);
            assert_true(fabs(score - reference(metric, queries + i * DIM, base + id * DIM)) < 1e-5);
        }
    }
    return checked;
}

static void
test_json(void **state)
{
    (void)state;
    static const char *const metrics[] = {"dot", "cosine", "l2"};
    for (int i = 0; i < 3; i++) {
        dotk("knn base.npy queries.npy -k 5 --metric %s --json", metrics[i]);
        assert_clean();
        json_t *const json = ran_json();
        assert_string_equal(json_string_value(json_object_get(json, "metric")), metrics[i]);
        assert_int_equal(check_answer(json, metrics[i], 5), 5 * QUERIES);
        const json_t *const stats = json_object_get(json, "stats");
        assert_int_equal(json_integer_value(json_object_get(stats, "rows_scored")), ROWS * QUERIES);
        json_decref(json);
    }
}

static void
test_table(void **state)
{
    (void)state;
    dotk("knn base.npy queries.npy -k 2 -m l2");
    assert_clean();
    const char *line = ran.out;
    assert_contains(line, "query  rank           id  score\n");
    size_t lines = 0;
    for (line = strchr(line, '\n') + 1; *line != '\0'; line = strchr(line, '\n') + 1, lines++) {
        unsigned long query, rank, id;
        double score;
        assert_int_equal(sscanf(line, "%lu %lu %lu %lf", &query, &rank, &id, &score), 4);
        assert_int_equal(query, lines / 2);
        assert_int_equal(rank, lines % 2 + 1);
        assert_int_equal(reference_rank("l2", queries + query * DIM, id), rank - 1);
    }
    assert_int_equal(lines, 2 * QUERIES);
}

/* A .npy file of int64 as dotk writes it: 128 bytes of header or a multiple of 64. */
static const int64_t *
npy_ids(const char *bytes, size_t size, size_t count)
{
    assert_true(size > count * sizeof(int64_t));
    assert_memory_equal(bytes, "\x93NUMPY", 6);
    return (const int64_t *)(const void *)(bytes + size - count * sizeof(int64_t));
}

static void
test_files(void **state)
{
    (void)state;
    size_t size;
    dotk_vectors *scores;

    dotk("knn base.npy queries.npy -k 4 -m cosine --out-ids i.npy --out-scores s.npy --threads 2");
    assert_clean();
    assert_string_equal(ran.out, ""); /* stdout is data, and the data went to files */
    char *const bytes = read_whole("i.npy", &size);
    assert_non_null(memmem(bytes, 128, "'<i8'", 5));
    assert_non_null(memmem(bytes, 128, "(7, 4)", 6));
    const int64_t *const ids = npy_ids(bytes, size, 4 * QUERIES);
    assert_ok(dotk_vectors_open("s.npy", NULL, &scores));
    assert_int_equal(scores->rows, QUERIES);
    assert_int_equal(scores->dim, 4);
    for (size_t i = 0; i < 4 * QUERIES; i++) {
        const float *const q = queries + i / 4 * DIM;
        assert_int_equal(reference_rank("cosine", q, (size_t)ids[i]), i % 4);
        const double expected = reference("cosine", q, base + ids[i] * DIM);
        assert_true(fabs((double)scores->data[i] - expected) < 1e-6);
    }
    dotk_vectors_close(scores);
    free(bytes);
    shell("rm i.npy s.npy");
}

/* The same vectors in every format that is read, gzipped and not, give the same answer. */
static void
test_formats(void **state)
{
    (void)state;
    double doubles[QUERIES * DIM];
    FILE *const fvecs = fopen("q.fvecs", "wb"), *const raw = fopen("q.f32", "wb");
    FILE *const f64 = fopen("q64.npy", "wb");
    const int32_t dim = DIM;
    char header[129];

    for (size_t i = 0; i < QUERIES; i++) {
        fwrite(&dim, sizeof dim, 1, fvecs);
        fwrite(queries + i * DIM, sizeof(float), DIM, fvecs);
    }
    fwrite(queries, sizeof(float), QUERIES * DIM, raw);
    for (size_t i = 0; i < QUERIES * DIM; i++)
        doubles[i] = (double)queries[i];
    const int length = snprintf(header, sizeof header,
                                "{'descr': '<f8', 'fortran_order': False, 'shape': (%d, %d), }",
                                QUERIES, DIM);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, f64);
    fprintf(f64, "%s%*s\n", header, 117 - length, "");
    fwrite(doubles, sizeof(double), QUERIES * DIM, f64);
    fclose(fvecs);
    fclose(raw);
    fclose(f64);
    shell("gzip -k q.fvecs q.f32 q64.npy queries.npy");
    /* Joined gzip members are one file, and zeros may pad it. */
    shell("head -c 100 q64.npy | gzip >two.npy.gz; tail -c +101 q64.npy | gzip >>two.npy.gz; "
          "head -c 512 /dev/zero >>two.npy.gz");

    dotk("knn base.npy queries.npy -k 3");
    assert_clean();
    char *const expected = strdup(ran.out);
    static const char *const files[] = {"q.fvecs",    "q.f32",    "q64.npy",        "q.fvecs.gz",
                                        "q64.npy.gz", "q.f32.gz", "queries.npy.gz", "two.npy.gz"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        dotk("knn -k 3 --raw f32 --dim %d base.npy %s", DIM, files[i]);
        assert_clean();
        assert_string_equal(ran.out, expected);
    }
    dotk("knn -k 3 base.npy /dev/stdin <queries.npy");
    assert_clean();
    assert_string_equal(ran.out, expected);
    /* A pipe cannot be mapped. */
    shell("cat queries.npy | '" DOTK_CLI "' knn base.npy /dev/stdin -k 3 >piped");
    char *const piped = read_whole("piped", NULL);
    assert_string_equal(piped, expected);
    free(piped);
    free(expected);
}

static void
test_u8_and_idx(void **state)
{
    (void)state;
    /* 3 images of 2 x 2 as IDX; the same bytes headerless. */
    static const char idx[] = "\0\0\x08\x03\0\0\0\x03\0\0\0\x02\0\0\0\x02"
                              "\x01\x02\x03\x04\x05\x06\x07\x08\xff\xfe\xfd\xfc";
    FILE *const file = fopen("images-idx3-ubyte", "wb");

    fwrite(idx, 1, sizeof idx - 1, file);
    fclose(file);
    shell("tail -c 12 images-idx3-ubyte >images.u8; gzip -k images-idx3-ubyte");
    dotk("knn images-idx3-ubyte images-idx3-ubyte.gz -k 1 -m l2");
    assert_clean();
    assert_contains(ran.out, "      2     1            2  0\n");
    char *const expected = strdup(ran.out);
    dotk("knn images.u8 images-idx3-ubyte -k 1 -m l2 --raw u8 --dim 4");
    assert_clean();
    assert_string_equal(ran.out, expected);
    free(expected);
}

static void
test_ids_and_filter(void **state)
{
    (void)state;
    FILE *const ids = fopen("ids.txt", "w"), *const few = fopen("few.txt", "w");

    for (int i = 0; i < ROWS; i++)
        fprintf(ids, "%d\n", 1000 + 3 * i);
    fclose(ids);
    fputs("1009\n1003\n1009\n77\n", few); /* any order, twice, absent */
    fclose(few);
    dotk("knn base.npy queries.npy -k 1 --ids ids.txt --json");
    assert_clean();
    json_t *json = ran_json();
    const json_t *hit = json_array_get(
        json_object_get(json_array_get(json_object_get(json, "results"), 0), "hits"), 0);
    const size_t id = (size_t)json_integer_value(json_object_get(hit, "id"));
    assert_int_equal(id % 3, 1);
    assert_int_equal(reference_rank("dot", queries, (id - 1000) / 3), 0);
    json_decref(json);

    dotk("knn base.npy queries.npy -k 5 --ids ids.txt --filter few.txt --json");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: -k is 5, but only 2 vectors of base.npy pass "
                                 "--filter few.txt\n");
    json = ran_json();
    const json_t *const hits = json_object_get(json_array_get(json_object_get(json, "results"), 0),
                                               "hits");
    assert_int_equal(json_array_size(hits), 2); /* what is not there is no hit */
    for (size_t i = 0; i < 2; i++) {
        const json_int_t got = json_integer_value(json_object_get(json_array_get(hits, i), "id"));
        assert_true(got == 1003 || got == 1009);
    }
    json_decref(json);

    dotk("knn base.npy queries.npy -k 2 --ids ids.txt --filter few.txt");
    assert_clean();
    save_text("far.txt", "300\n1009\n"); /* the ids end with 299 */
    dotk("knn base.npy queries.npy --filter far.txt");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: no vector of base.npy passes --filter far.txt\n");
    save_text("empty.txt", "");
    dotk("knn base.npy queries.npy --ids ids.txt --filter empty.txt --range 0");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: no vector of base.npy passes --filter empty.txt\n");
    save_text("one.txt", "299\n300\n");
    dotk("knn base.npy queries.npy -k 2 --filter one.txt --out-ids i.npy");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: -k is 2, but only 1 vector of base.npy passes --filter "
                                 "one.txt: the other places of --out-ids hold -1\n");
    shell("rm i.npy");
    shell("sed 30s/.*/1003/ ids.txt >twice.txt");
    dotk("knn base.npy queries.npy --ids twice.txt");
    assert_refused(4, "twice.txt: number 30 is 1003, as number 2 is: give each id once");

    save_text("short.txt", "1\n2\n");
    dotk("knn base.npy queries.npy --ids short.txt");
    assert_refused(
        4, "short.txt: it has 2 ids, base.npy has 300 vectors: give one id for each vector");
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"1\nx\n",
         "line 2 is 'x': give one whole number on each line, from 0 to 9223372036854775807"},
        {"1\n-2\n", "line 2 is '-2': give"},
        {"1\n2 3", "line 2 is '2 3': give"},
        {"1\n99999999999999999999\n", "line 2 is '99999999999999999999': give"},
        {"\n\n1\n\n  \r\n\x1b[0m\r\n", "line 6 is '?[0m': give"},
        {"12345678901234567890123456789012345678901234567890\n",
         "line 1 is '123456789012345678901234567...': give"},
        {"1                                                                  2\n",
         "line 1 is '1  "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        save_text("bad.txt", bad[i].text);
        dotk("knn base.npy queries.npy --filter bad.txt");
        assert_refused(4, "bad.txt: line ");
        assert_contains(ran.err, bad[i].message);
    }
    save_text("gaps.txt", "\n 1 \r\n\n2"); /* blank lines count for nothing */
    dotk("knn base.npy queries.npy --filter gaps.txt -k 2");
    assert_clean();
    shell("sed G ids.txt >gaps.txt"); /* one after each id */
    dotk("knn base.npy queries.npy --ids gaps.txt -k 2");
    assert_clean();
    dotk("knn base.npy queries.npy --filter nothing.txt");
    assert_refused(4, "nothing.txt: No such file or directory");
}

static void
test_range_and_clip(void **state)
{
    (void)state;
    const double threshold = 2.5;
    dotk("knn base.npy queries.npy --range %.17g --json", threshold);
    assert_clean();
    json_t *const json = ran_json();
    size_t total = 0;
    for (size_t i = 0; i < QUERIES; i++) {
        const json_t *const hits = json_object_get(
            json_array_get(json_object_get(json, "results"), i), "hits");
        size_t expected = 0;
        for (size_t row = 0; row < ROWS; row++)
            expected += reference("dot", queries + i * DIM, base + row * DIM) >= threshold;
        assert_int_equal(json_array_size(hits), expected);
        total += expected;
    }
    assert_true(total > QUERIES); /* not vacuous */
    json_decref(json);

    dotk("knn base.npy queries.npy -k 300 | grep -c ' -'");
    assert_true(atoi(ran.out) > 100);
    dotk("knn base.npy queries.npy -k 300 --clip-at-zero | grep -c ' -'");
    assert_int_equal(atoi(ran.out), 0);
}

static void
test_k_beyond_the_rows(void **state)
{
    (void)state;
    size_t size;

    save_matrix("three.npy", base, 3, DIM);
    dotk("knn three.npy queries.npy -k 5 --out-ids i.npy");
    assert_int_equal(ran.code, 0);
    assert_contains(ran.err, "dotk knn: -k is 5, but three.npy has only 3 vectors: the other "
                             "places of --out-ids hold -1\n");
    char *const bytes = read_whole("i.npy", &size);
    const int64_t *const ids = npy_ids(bytes, size, 5 * QUERIES);
    for (size_t i = 0; i < 5 * QUERIES; i++)
        assert_true(i % 5 < 3 ? ids[i] >= 0 && ids[i] < 3 : ids[i] == -1);
    free(bytes);
    shell("rm i.npy");
    dotk("knn three.npy queries.npy -k 5 --quiet");
    assert_clean();
    dotk("knn three.npy queries.npy -k 2000000000000000000");
    assert_int_equal(ran.code, 5);
    assert_contains(ran.err, "out of memory: -k is 2000000000000000000, which takes "
                             "168000000000000000000 bytes for the results of 7 queries: ask for "
                             "fewer\n");
    dotk("knn three.npy queries.npy -k 100000000000000");
    assert_int_equal(ran.code, 5);
    assert_contains(ran.err, "-k is 100000000000000, which takes 8400000000000000 bytes");
    /* Who did not ask for 10 is told where a file shows it. */
    dotk("knn three.npy queries.npy");
    assert_clean();
    dotk("knn three.npy queries.npy --out-ids i.npy");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: -k is 10, but three.npy has only 3 vectors: the other "
                                 "places of --out-ids hold -1\n");
    dotk("knn three.npy queries.npy --out-scores s.npy -m l2");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: -k is 10, but three.npy has only 3 vectors: the other "
                                 "places of --out-scores hold an infinity\n");
    shell("rm i.npy s.npy");
}

/* Where there is nothing to find, or nothing to look for, somebody wants to know. */
static void
test_no_vectors(void **state)
{
    (void)state;
    save_matrix("none.npy", base, 0, DIM);
    dotk("knn none.npy queries.npy");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err, "dotk knn: none.npy has no vectors: nothing is found\n");
    dotk("knn none.npy queries.npy --range 1 --quiet");
    assert_clean();
    dotk("knn base.npy none.npy --json");
    assert_int_equal(ran.code, 0);
    assert_string_equal(ran.err,
                        "dotk knn: none.npy has no vectors: there is nothing to search for\n");
}

static void
test_bad_files(void **state)
{
    (void)state;
    float bad[3 * DIM] = {0};

    save_matrix("narrow.npy", base, 4, 5);
    dotk("knn base.npy narrow.npy");
    assert_refused(4, "the dimensions differ: 37 in base.npy, 5 in narrow.npy: give queries "
                      "of 37 values");
    dotk("knn missing.npy queries.npy");
    assert_refused(4, "missing.npy: No such file or directory");
    dotk("knn base.npy missing.npy");
    assert_refused(4, "missing.npy: No such file or directory");
    dotk("knn . queries.npy");
    assert_refused(4, "directory");
    memcpy(bad, base, sizeof bad);
    bad[DIM + 5] = NAN;
    save_matrix("nan.npy", bad, 3, DIM);
    dotk("knn nan.npy queries.npy");
    assert_refused(4, "nan.npy: ");
    assert_contains(ran.err, "1");
    dotk("knn base.npy nan.npy");
    assert_refused(4, "nan.npy: ");
    memset(bad + DIM, 0, DIM * sizeof(float));
    save_matrix("zero.npy", bad, 3, DIM);
    dotk("knn zero.npy queries.npy --metric cosine");
    assert_refused(4, "zero.npy: ");
    dotk("knn zero.npy queries.npy --metric dot");
    assert_clean();
    dotk("knn base.npy queries.npy --expect-unit");
    assert_refused(4, "base.npy: ");
    save_text("empty.npy", "");
    dotk("knn empty.npy queries.npy");
    assert_refused(4, "empty.npy: is empty");
    shell("head -c 1000 base.npy >cut.npy");
    dotk("knn cut.npy queries.npy");
    assert_refused(4, "cut.npy: ");
    dotk("knn base.npy queries.npy --raw f32 --dim 7");
    assert_clean(); /* .npy keeps its own format */
    shell("head -c 30 base.npy >odd.f32");
    save_text("what.f32", "bytes");
    dotk("knn what.f32 queries.npy");
    assert_refused(4, "what.f32: is neither .npy");
    assert_contains(ran.err, "--raw, --dim");
    dotk("knn odd.f32 queries.npy --raw f32 --dim 37");
    assert_refused(4, "odd.f32: ");
}

static void
test_bad_gzip(void **state)
{
    (void)state;
    shell("gzip -c base.npy >good.npy.gz");
    dotk("knn good.npy.gz queries.npy -k 1");
    assert_clean();
    shell("head -c 20000 good.npy.gz >cut.npy.gz");
    dotk("knn cut.npy.gz queries.npy -k 1");
    assert_refused(4, "cut.npy.gz: the gzip file is cut off");
    /* All of the data, but half of the checksum. */
    shell("head -c -6 good.npy.gz >cut.npy.gz");
    dotk("knn cut.npy.gz queries.npy -k 1");
    assert_refused(4, "cut.npy.gz: the gzip file is cut off");
    shell("{ head -c -8 good.npy.gz; printf 'ABCD'; tail -c 4 good.npy.gz; } >sum.npy.gz");
    dotk("knn sum.npy.gz queries.npy -k 1");
    assert_refused(4, "sum.npy.gz: damaged gzip file");
    shell("{ head -c 5000 good.npy.gz; printf 'ABCDEFGHIJ'; tail -c +5011 good.npy.gz; } "
          ">mid.npy.gz");
    dotk("knn mid.npy.gz queries.npy -k 1");
    assert_refused(4, "mid.npy.gz: ");
    shell("{ cat good.npy.gz; printf 'rubbish'; } >tail.npy.gz");
    dotk("knn tail.npy.gz queries.npy -k 1");
    assert_refused(4, "tail.npy.gz: damaged gzip file");
    shell("head -c 10 good.npy.gz >head.npy.gz");
    dotk("knn head.npy.gz queries.npy -k 1");
    assert_refused(4, "head.npy.gz: the gzip file is cut off, after 0 unpacked bytes");
}

static void
test_outputs_that_cannot_be_written(void **state)
{
    (void)state;
    const size_t before = count_files();

    dotk("knn base.npy queries.npy >/dev/full");
    assert_refused(1, "standard output: No space left on device");
    dotk("knn base.npy queries.npy --json >/dev/full");
    assert_refused(1, "standard output: No space left on device");
    dotk("--help >/dev/full");
    assert_refused(1, "standard output: No space left on device");
    dotk("knn base.npy queries.npy --out-ids nowhere/i.npy");
    assert_refused(1, "--out-ids nowhere/i.npy: No such file or directory");
    dotk("knn base.npy queries.npy --out-ids .");
    assert_refused(1, "--out-ids .: it is a folder");
    /* A device is written to, not replaced. The link would be what a wrong command replaces. */
    struct stat info;
    shell("ln -s /dev/full full");
    dotk("knn base.npy queries.npy --out-ids full");
    assert_refused(1, "dotk knn: --out-ids full: cannot write: No space left on device");
    assert_int_equal(stat("full", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    shell("rm full");
    /* A file that may not grow: the older one stands, and nothing is left beside it. */
    save_text("i.npy", "older");
    shell("(ulimit -f 0; trap '' XFSZ; '" DOTK_CLI "' knn base.npy queries.npy --out-ids i.npy "
          "2>/dev/null; test $? = 1)");
    char *const text = read_whole("i.npy", NULL);
    assert_string_equal(text, "older");
    free(text);
    shell("rm i.npy");
    assert_int_equal(count_files(), before);
}

static void
test_reader_that_leaves(void **state)
{
    (void)state;
    /* As every filter: ended by SIGPIPE, without a word. */
    dotk("knn base.npy queries.npy -k 300 2>pipe.err | head -n 1");
    assert_int_equal(ran.code, 0);
    shell("test ! -s pipe.err");
    /* Also where the parent ignores the signal. */
    shell("trap '' PIPE; '" DOTK_CLI "' knn base.npy queries.npy -k 300 2>pipe.err | head -n 1 "
          ">/dev/null; test ! -s pipe.err");
}

/* Not enough memory, in every place that asks for much: 5, and a message. */
static void
test_no_memory(void **state)
{
    (void)state;
    if (TEST_SANITIZED)
        skip(); /* a sanitizer's own memory is beyond the limit */
    static const char *const lines[] = {
        "knn many.u8 queries.npy --raw u8 --dim 37",    /* converted to f32 */
        "knn many.u8.gz queries.npy --raw u8 --dim 37", /* unpacked */
        "knn some.f32 queries.npy --raw f32 --dim 37",  /* mapped, then copied into the index */
        "knn base.npy queries.npy -k 100000000",        /* results */
        "inspect many.u8 --raw u8 --dim 37",
    };
    shell("truncate -s 370000000 many.u8; gzip -1 -k many.u8; truncate -s 259000000 some.f32");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "(ulimit -v 400000; '" DOTK_CLI "' %s --threads 1 --quiet 2>memory.err; "
                 "test $? = 5 && grep -q memory memory.err) || { cat memory.err; false; }",
                 lines[i]);
        shell(command);
    }
    shell("rm many.u8 many.u8.gz some.f32 memory.err");
}

/* ------------------------------------------------------------------------- */
/*  Interruption                                                             */
/* ------------------------------------------------------------------------- */

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/*
 * Far more work than the test has time for: sparse files of zeros. Returns the seconds from the
 * signal to the end.
 */
static double
interrupt_search(int signal_number)
{
    char *const argv[] = {"dotk",      "knn",   "many.f32",     "many.f32", "--raw",
                          "f32",       "--dim", "256",          "-k",       "5",
                          "--out-ids", "i.npy", "--out-scores", "s.npy",    NULL};
    static struct terminal whole;
    struct terminal *const terminal = &whole;

    terminal_start(terminal, false, argv);
    if (!terminal_read(terminal, "searching [")) /* the bar: it has begun */
        print_error("ended early: %s\n", terminal->text);
    assert_non_null(strstr(terminal->text, "searching ["));
    const double sent = now();
    kill(terminal->child, signal_number);
    const int code = terminal_end(terminal);
    const double seconds = now() - sent;
    assert_int_equal(code, 130);
    /* The bar is wiped away, and no message follows. */
    assert_string_equal(terminal->text + terminal->size - 4, "\r\033[K");
    assert_false(exists("i.npy"));
    assert_false(exists("s.npy"));
    return seconds;
}

static void
test_interrupt(void **state)
{
    (void)state;
    const char *const isa = getenv("DOTK_ISA");
    const bool portable = isa != NULL && strcmp(isa, "portable") == 0;
    /* Portable code needs most of a second for a task, and cancels between tasks. */
    const double limit = portable || TEST_SANITIZED ? 3.0 : 0.1;
    double fastest = 1e9;

    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    shell("truncate -s 64M many.f32"); /* 65,536 rows, and as many queries */
    const size_t before = count_files();
    for (int attempt = 0; attempt < 4 && fastest > limit; attempt++) { /* others may be busy */
        const double seconds = interrupt_search(SIGINT);
        fastest = seconds < fastest ? seconds : fastest;
    }
    if (fastest > limit)
        print_error("%.3f s from the signal to the end\n", fastest);
    assert_true(fastest <= limit);
    interrupt_search(SIGTERM);
    assert_int_equal(count_files(), before);
    shell("rm many.f32");
}

static void
test_no_bar_without_a_terminal(void **state)
{
    (void)state;
    /* Long enough for a bar; what is left of stderr in a file is nothing. */
    shell("truncate -s 64M many.f32");
    dotk("knn many.f32 many.f32 --raw f32 --dim 256 & child=$!; sleep 0.8; kill -TERM $child; "
         "wait $child");
    assert_int_equal(ran.code, 130);
    assert_string_equal(ran.err, "");
    assert_string_equal(ran.out, "");
    shell("rm many.f32");
}

static void
test_mnist(void **state)
{
    (void)state;
    char path[TEST_PATH];

    if (test_data_path(path, "mnist/t10k-images-idx3-ubyte.gz") == NULL)
        skip();
    /* Ten of ten thousand images against all: each finds itself, at distance 0. */
    char command[2 * TEST_PATH];
    snprintf(command, sizeof command, "gzip -dc '%s' | tail -c +17 | head -c 7840 >ten.u8", path);
    shell(command);
    dotk("knn '%s' ten.u8 --raw u8 --dim 784 -k 1 -m l2 --json", path);
    assert_clean();
    json_t *const json = ran_json();
    for (size_t i = 0; i < 10; i++) {
        const json_t *const hit = json_array_get(
            json_object_get(json_array_get(json_object_get(json, "results"), i), "hits"), 0);
        assert_int_equal(json_integer_value(json_object_get(hit, "id")), i);
        assert_true(json_real_value(json_object_get(hit, "score")) == 0.0);
    }
    json_decref(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_u8_and_idx),
        cmocka_unit_test(test_ids_and_filter),
        cmocka_unit_test(test_range_and_clip),
        cmocka_unit_test(test_k_beyond_the_rows),
        cmocka_unit_test(test_no_vectors),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_gzip),
        cmocka_unit_test(test_outputs_that_cannot_be_written),
        cmocka_unit_test(test_reader_that_leaves),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_no_bar_without_a_terminal),
        cmocka_unit_test(test_mnist),
    };

    return cmocka_run_group_tests(tests, setup, folder_teardown);
}
