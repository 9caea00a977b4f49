/* test_embedder.c - passages and queries as vectors */
#include "support.h"

#include "texts.h"

#include <dotk/vector.h>

static struct made made;

static int
setup(void **state)
{
    (void)state;
    make_texts(&made);
    return 0;
}

static dotk_embedder *
fitted(dotk_context *context, const dotk_embedder_options *options)
{
    dotk_embedder *embedder;

    assert_ok(dotk_embedder_create(context, options, &embedder));
    assert_int_equal(dotk_embedder_dim(embedder), 0);
    assert_ok(dotk_embedder_fit(embedder, MADE_TEXTS, made.texts));
    assert_true(dotk_embedder_dim(embedder) > 0);
    return embedder;
}

static float *
embed(const dotk_embedder *embedder, dotk_text_role role, size_t n, const dotk_text *texts,
      size_t *known)
{
    float *const out = malloc(n * dotk_embedder_dim(embedder) * sizeof *out);

    test_require(out != NULL, "malloc");
    memset(out, 0xff, n * dotk_embedder_dim(embedder) * sizeof *out);
    assert_ok(dotk_embedder_transform(embedder, role, n, texts, out, 0, known));
    return out;
}

static dotk_text
text_of(const char *words)
{
    return (dotk_text){.text = words, .size = strlen(words)};
}

/* The scores of all passages for a query. */
static void
score_all(const dotk_embedder *embedder, const char *query, float scores[MADE_TEXTS])
{
    const size_t dim = dotk_embedder_dim(embedder);
    const dotk_text asked = text_of(query);
    float *const passages = embed(embedder, DOTK_ROLE_PASSAGE, MADE_TEXTS, made.texts, NULL);
    float *const vector = embed(embedder, DOTK_ROLE_QUERY, 1, &asked, NULL);

    for (size_t i = 0; i < MADE_TEXTS; i++)
        scores[i] = dotk_dot(vector, passages + i * dim, dim);
    free(passages);
    free(vector);
}

static size_t
best_of(const float scores[MADE_TEXTS])
{
    size_t best = 0;
    for (size_t i = 1; i < MADE_TEXTS; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

/* An identifier that one passage has finds it, as a whole, in parts and in another spelling. */
static void
finds_a_name(void **state)
{
    dotk_embedder *const embedder = fitted(NULL, NULL);
    float scores[MADE_TEXTS];
    (void)state;
    score_all(embedder, "number_40x", scores);
    assert_int_equal(best_of(scores), 40);
    score_all(embedder, "where is Number40x", scores);
    assert_int_equal(best_of(scores), 40);
    dotk_embedder_destroy(embedder);
}

/* BM25 worked out here, for the lexical part alone. */
static void
lexical_is_bm25(void **state)
{
    static const char *const texts[] = {"alpha beta beta", "alpha gamma", "delta"};
    dotk_text passages[3];
    dotk_embedder_options options = DOTK_EMBEDDER_OPTIONS_INIT;
    dotk_embedder *embedder;
    (void)state;
    for (size_t i = 0; i < 3; i++)
        passages[i] = text_of(texts[i]);
    options.has_latent_share = 1; /* 0 */
    assert_ok(dotk_embedder_create(NULL, &options, &embedder));
    assert_ok(dotk_embedder_fit(embedder, 3, passages));
    const size_t dim = dotk_embedder_dim(embedder);
    assert_int_equal(dim, 4); /* a dimension for each word; three passages have no latent space */
    const dotk_text query = text_of("alpha beta");
    float *const rows = embed(embedder, DOTK_ROLE_PASSAGE, 3, passages, NULL);
    float *const vector = embed(embedder, DOTK_ROLE_QUERY, 1, &query, NULL);
    const double mean = 2, idf_alpha = log(1 + 1.5 / 2.5), idf_beta = log(1 + 2.5 / 1.5);
    const double expected[3] = {
        (idf_alpha / (1 + 1.2 * (0.5 + 0.5 * 3 / mean)) +
         idf_beta * 2 / (2 + 1.2 * (0.5 + 0.5 * 3 / mean))) /
            (idf_alpha + idf_beta),
        idf_alpha / (1 + 1.2) / (idf_alpha + idf_beta),
        0,
    };
    for (size_t i = 0; i < 3; i++)
        assert_true(fabs((double)dotk_dot(vector, rows + i * dim, dim) - expected[i]) < 1e-6);
    free(rows);
    free(vector);
    dotk_embedder_destroy(embedder);
}

/* Without a word in common, the latent part tells texts about ships from others. */
static void
latent_part_generalises(void **state)
{
    dotk_embedder_options options = DOTK_EMBEDDER_OPTIONS_INIT;
    float scores[MADE_TEXTS];
    (void)state;
    options.latent_dim = 3;
    options.latent_share = 1;
    options.has_latent_share = 1;
    dotk_embedder *const embedder = fitted(NULL, &options);
    static const char *const queries[] = {"anchor", "yeast", "orchestra"};
    for (size_t subject = 0; subject < 3; subject++) {
        size_t right = 0, asked = 0;
        score_all(embedder, queries[subject], scores);
        for (size_t i = 0; i < MADE_TEXTS; i++) {
            assert_true(fabsf(scores[i]) <= 1.00001f); /* a cosine */
            if (strstr(made.text[i], queries[subject]) != NULL)
                continue; /* only texts that do not have the word */
            asked++;
            right += (scores[i] > 0.5f) == (i % 3 == subject);
        }
        assert_true(asked > 60);
        assert_true(right >= asked * 95 / 100);
    }
    dotk_embedder_destroy(embedder);
}

/* Fewer dimensions than words: shared ones disturb, and still find. */
static void
shared_dimensions(void **state)
{
    dotk_embedder_options options = DOTK_EMBEDDER_OPTIONS_INIT;
    float exact[MADE_TEXTS], shared[MADE_TEXTS];
    double error = 0;
    (void)state;
    options.has_latent_share = 1;
    dotk_embedder *const wide = fitted(NULL, &options);
    options.lexical_dim = 40;
    dotk_embedder *const narrow = fitted(NULL, &options);
    assert_true(dotk_embedder_dim(narrow) < dotk_embedder_dim(wide));
    score_all(wide, "number_40x", exact);
    score_all(narrow, "number_40x", shared);
    assert_int_equal(best_of(shared), 40);
    for (size_t i = 0; i < MADE_TEXTS; i++)
        error += fabs((double)exact[i] - shared[i]) / MADE_TEXTS;
    assert_true(error < 0.25);
    score_all(wide, "ship", exact); /* a frequent word has a dimension of its own: no error */
    score_all(narrow, "ship", shared);
    for (size_t i = 0; i < MADE_TEXTS; i++)
        assert_true(fabsf(exact[i] - shared[i]) < 1e-6f);
    dotk_embedder_destroy(wide);
    dotk_embedder_destroy(narrow);
}

static void
titles_count(void **state)
{
    static const char *const texts[] = {"first words here", "second words here", "third words"};
    dotk_text passages[3];
    dotk_embedder *embedder;
    size_t known[3];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        passages[i] = text_of(texts[i]);
    passages[1].title = "unusual";
    passages[1].title_size = 7;
    assert_ok(dotk_embedder_create(NULL, NULL, &embedder));
    assert_ok(dotk_embedder_fit(embedder, 3, passages));
    free(embed(embedder, DOTK_ROLE_PASSAGE, 3, passages, known));
    assert_int_equal(known[0], 2); /* "here" is a stop word */
    assert_int_equal(known[1], 3);
    dotk_embedder_destroy(embedder);
}

static void
unknown_texts_are_zero(void **state)
{
    dotk_embedder *const embedder = fitted(NULL, NULL);
    const dotk_text texts[] = {text_of("qqqq zzzz"), text_of(""), text_of("---"), text_of("ship")};
    (void)state;
    for (int role = 0; role < 2; role++) {
        size_t known[4];
        float *const rows = embed(embedder, (dotk_text_role)role, 4, texts, known);
        const size_t dim = dotk_embedder_dim(embedder);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(known[i], 0);
            for (size_t j = 0; j < dim; j++)
                assert_true(rows[i * dim + j] == 0);
        }
        assert_int_equal(known[3], 1);
        assert_true(dotk_dot(rows + 3 * dim, rows + 3 * dim, dim) > 0);
        free(rows);
    }
    dotk_embedder_destroy(embedder);
}

/* Threads, batches, strides and instruction sets (by the golden sum) change nothing. */
static void
same_bits(void **state)
{
    dotk_embedder *const first = fitted(NULL, NULL);
    const size_t dim = dotk_embedder_dim(first);
    float *const expected = embed(first, DOTK_ROLE_PASSAGE, MADE_TEXTS, made.texts, NULL);
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads *= 2) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        options.threads = threads;
        assert_ok(dotk_context_create(&options, &context));
        dotk_embedder *const other = fitted(context, NULL);
        assert_int_equal(dotk_embedder_dim(other), dim);
        float *const rows = embed(other, DOTK_ROLE_PASSAGE, MADE_TEXTS, made.texts, NULL);
        assert_memory_equal(rows, expected, MADE_TEXTS * dim * sizeof *rows);
        free(rows);
        const size_t stride = dim + 3;
        float *const apart = malloc(MADE_TEXTS * stride * sizeof *apart);
        for (size_t i = 0; i < MADE_TEXTS; i += 7) {
            const size_t n = i + 7 < MADE_TEXTS ? 7 : MADE_TEXTS - i;
            assert_ok(dotk_embedder_transform(other, DOTK_ROLE_PASSAGE, n, made.texts + i, apart,
                                              stride, NULL));
            for (size_t j = 0; j < n; j++)
                assert_memory_equal(apart + j * stride, expected + (i + j) * dim,
                                    dim * sizeof *apart);
        }
        free(apart);
        dotk_embedder_destroy(other);
        dotk_context_destroy(context);
    }
    free(expected);
    dotk_embedder_destroy(first);
}

static void
can_be_fitted_again(void **state)
{
    dotk_embedder *const embedder = fitted(NULL, NULL);
    const dotk_text other = text_of("something else entirely");
    size_t known;
    (void)state;
    assert_ok(dotk_embedder_fit(embedder, 1, &other));
    free(embed(embedder, DOTK_ROLE_PASSAGE, 1, &made.texts[0], &known));
    assert_int_equal(known, 0);
    assert_ok(dotk_embedder_fit(embedder, MADE_TEXTS, made.texts));
    free(embed(embedder, DOTK_ROLE_PASSAGE, 1, &made.texts[0], &known));
    assert_true(known > 5);
    const dotk_text blank = text_of(" -- ");
    assert_status(dotk_embedder_fit(embedder, 1, &blank), DOTK_BAD_ARGUMENT);
    assert_message("nothing to learn");
    assert_int_equal(dotk_embedder_dim(embedder), 0); /* it knows nothing now */
    dotk_embedder_destroy(embedder);
}

static void
arguments(void **state)
{
    dotk_embedder_options options = DOTK_EMBEDDER_OPTIONS_INIT;
    dotk_embedder *embedder;
    float out[4];
    (void)state;
    assert_status(dotk_embedder_create(NULL, NULL, NULL), DOTK_BAD_ARGUMENT);
    options.has_latent_share = 1;
    options.latent_share = 1.5f;
    assert_status(dotk_embedder_create(NULL, &options, &embedder), DOTK_BAD_ARGUMENT);
    assert_message("latent_share is 1.5");
    assert_null(embedder);
    options.latent_share = NAN;
    assert_status(dotk_embedder_create(NULL, &options, &embedder), DOTK_BAD_ARGUMENT);
    options = (dotk_embedder_options)DOTK_EMBEDDER_OPTIONS_INIT;
    options.lexical_dim = SIZE_MAX;
    options.latent_dim = 2;
    assert_status(dotk_embedder_create(NULL, &options, &embedder), DOTK_BAD_ARGUMENT);
    options.struct_size = 3;
    assert_status(dotk_embedder_create(NULL, &options, &embedder), DOTK_BAD_ARGUMENT);
    assert_ok(dotk_embedder_create(NULL, NULL, &embedder));
    assert_status(dotk_embedder_transform(embedder, DOTK_ROLE_QUERY, 1, made.texts, out, 0, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("dotk_embedder_fit");
    assert_status(dotk_embedder_fit(embedder, 0, made.texts), DOTK_BAD_ARGUMENT);
    assert_status(dotk_embedder_fit(embedder, 1, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_embedder_fit(NULL, 1, made.texts), DOTK_BAD_ARGUMENT);
    const dotk_text bad = {.text = NULL, .size = 5};
    assert_status(dotk_embedder_fit(embedder, 1, &bad), DOTK_BAD_ARGUMENT);
    assert_message("passages[0].text is NULL");
    assert_ok(dotk_embedder_fit(embedder, MADE_TEXTS, made.texts));
    assert_status(dotk_embedder_transform(embedder, (dotk_text_role)2, 1, made.texts, out, 0, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_status(dotk_embedder_transform(embedder, DOTK_ROLE_QUERY, 1, made.texts, out, 3, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_message("stride is 3");
    assert_status(dotk_embedder_transform(embedder, DOTK_ROLE_QUERY, 1, made.texts, NULL, 0, NULL),
                  DOTK_BAD_ARGUMENT);
    assert_ok(dotk_embedder_transform(embedder, DOTK_ROLE_QUERY, 0, NULL, NULL, 0, NULL));
    dotk_embedder_destroy(embedder);
    dotk_embedder_destroy(NULL);
}

static dotk_status
fit_and_transform(void *user)
{
    float *const out = user;
    dotk_embedder *embedder = NULL;
    dotk_context *context;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    options.threads = 1;
    dotk_status status = dotk_context_create(&options, &context);
    if (status == DOTK_OK)
        status = dotk_embedder_create(context, NULL, &embedder);
    if (status == DOTK_OK)
        status = dotk_embedder_fit(embedder, MADE_TEXTS, made.texts);
    if (status == DOTK_OK)
        status = dotk_embedder_transform(embedder, DOTK_ROLE_PASSAGE, 2, made.texts, out, 0, NULL);
    dotk_embedder_destroy(embedder);
    dotk_context_destroy(context);
    return status;
}

static void
memory(void **state)
{
    float *const out = malloc(2 * 65536 * sizeof *out);
    (void)state;
    assert_true(test_alloc_fail_each(fit_and_transform, out) > 100);
    free(out);
}

static int
cancel(void *user, uint64_t done, uint64_t total)
{
    size_t *const left = user;
    (void)done;
    (void)total;
    return *left == 0 || (*left)-- == 0;
}

static void
cancelling(void **state)
{
    (void)state;
    size_t cancelled = 0;
    for (size_t calls = 0; calls < 40; calls++) {
        size_t left = calls;
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        dotk_embedder *embedder;
        options.threads = 2;
        options.progress = cancel;
        options.progress_user = &left;
        assert_ok(dotk_context_create(&options, &context));
        assert_ok(dotk_embedder_create(context, NULL, &embedder));
        const dotk_status status = dotk_embedder_fit(embedder, MADE_TEXTS, made.texts);
        assert_true(status == DOTK_OK || status == DOTK_CANCELLED);
        assert_true((status == DOTK_OK) == (dotk_embedder_dim(embedder) > 0));
        cancelled += status == DOTK_CANCELLED;
        dotk_embedder_destroy(embedder);
        dotk_context_destroy(context);
    }
    assert_true(cancelled > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_name),
        cmocka_unit_test(lexical_is_bm25),
        cmocka_unit_test(latent_part_generalises),
        cmocka_unit_test(shared_dimensions),
        cmocka_unit_test(titles_count),
        cmocka_unit_test(unknown_texts_are_zero),
        cmocka_unit_test(same_bits),
        cmocka_unit_test(can_be_fitted_again),
        cmocka_unit_test(arguments),
        cmocka_unit_test(memory),
        cmocka_unit_test(cancelling),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
