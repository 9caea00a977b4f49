/* test_shortlist.c - the passages of a collection that are worth embedding */
#include "support.h"

#include "texts.h"

#include "text/shortlist.h"

static struct made made;
static dotk_document documents[MADE_TEXTS];

static int
setup(void **state)
{
    (void)state;
    make_texts(&made);
    for (size_t i = 0; i < MADE_TEXTS; i++)
        documents[i] = (dotk_document){
            .text = made.text[i], .size = made.texts[i].size, .id = (int64_t)(1000 + i)};
    return 0;
}

static dotk_shortlist *
listed(dotk_context *context, const char *query, size_t size)
{
    dotk_shortlist_options options = DOTK_SHORTLIST_OPTIONS_INIT;
    dotk_shortlist *shortlist;

    options.size = size;
    assert_ok(dotk_shortlist_create(context, query, strlen(query), &options, &shortlist));
    return shortlist;
}

/* All that have the word are on the list, best first by BM25; it is filled up with others. */
static void
keeps_the_best(void **state)
{
    dotk_shortlist *const shortlist = listed(NULL, "number_40x orchestra", 60);
    const dotk_candidate *candidate;
    size_t count, known;
    (void)state;
    assert_ok(dotk_shortlist_add(shortlist, MADE_TEXTS, documents));
    assert_int_equal(dotk_shortlist_count(shortlist), MADE_TEXTS);
    assert_ok(dotk_shortlist_get(shortlist, &candidate, &count, &known));
    assert_int_equal(count, 60);
    assert_int_equal(known, 4); /* number, 40x, number40x, orchestra */
    size_t with = 0, best = 0, others = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(i == 0 || candidate[i].document > candidate[i - 1].document);
        const size_t text = (size_t)candidate[i].document - 1000;
        const bool has = strstr(made.text[text], "orchestra") || strstr(made.text[text], "number");
        assert_true((candidate[i].score > 0) == has);
        with += has;
        others += !has;
        if (candidate[i].score > candidate[best].score)
            best = i;
    }
    assert_int_equal(candidate[best].document, 1040);
    assert_true(others > 0);
    size_t all = 0;
    for (size_t i = 0; i < MADE_TEXTS; i++)
        all += strstr(made.text[i], "orchestra") || strstr(made.text[i], "number");
    assert_int_equal(with, all);
    dotk_shortlist_destroy(shortlist);
}

/* Of more passages with the word than fit, those with the highest scores stay. */
static void
drops_the_worst(void **state)
{
    dotk_shortlist *const all = listed(NULL, "orchestra tempo", 1000);
    dotk_shortlist *const few = listed(NULL, "orchestra tempo", 7);
    const dotk_candidate *every, *kept;
    size_t count, kept_count;
    float worst = INFINITY;
    (void)state;
    assert_ok(dotk_shortlist_add(all, MADE_TEXTS, documents));
    assert_ok(dotk_shortlist_add(few, MADE_TEXTS, documents));
    assert_ok(dotk_shortlist_get(all, &every, &count, NULL));
    assert_ok(dotk_shortlist_get(few, &kept, &kept_count, NULL));
    assert_int_equal(count, MADE_TEXTS);
    assert_int_equal(kept_count, 7);
    for (size_t i = 0; i < 7; i++)
        worst = fminf(worst, kept[i].score);
    size_t better = 0;
    for (size_t i = 0; i < count; i++)
        better += every[i].score > worst;
    assert_true(better < 7);
    dotk_shortlist_destroy(all);
    dotk_shortlist_destroy(few);
}

/* Far more passages than are kept: what is dropped on the way changes nothing. */
static void
prunes(void **state)
{
    dotk_shortlist *const all = listed(NULL, "orchestra tempo", 100000);
    dotk_shortlist *const few = listed(NULL, "orchestra tempo", 3);
    const dotk_candidate *every, *kept;
    size_t count, kept_count;
    (void)state;
    for (int round = 0; round < 12; round++) {
        assert_ok(dotk_shortlist_add(all, MADE_TEXTS, documents));
        assert_ok(dotk_shortlist_add(few, MADE_TEXTS, documents));
    }
    assert_ok(dotk_shortlist_get(all, &every, &count, NULL));
    assert_ok(dotk_shortlist_get(few, &kept, &kept_count, NULL));
    assert_int_equal(kept_count, 3);
    /* The best passage came twelve times; the first three of them are kept. */
    size_t best = 0, found = 0;
    for (size_t i = 0; i < count; i++)
        if (every[i].score > every[best].score)
            best = i;
    for (size_t i = 0; i < 3; i++)
        found += kept[i].document == every[best].document;
    assert_int_equal(found, 3);
    dotk_shortlist_destroy(all);
    dotk_shortlist_destroy(few);
}

/* Frequencies are exact where hashes do not collide: here they cannot all. */
static void
counts_frequencies(void **state)
{
    dotk_shortlist *const shortlist = listed(NULL, "anything", 10);
    (void)state;
    assert_ok(dotk_shortlist_add(shortlist, MADE_TEXTS, documents));
    for (size_t w = 0; w < 12; w++) {
        const char *const word = made_subjects[0][w]; /* their stems are the words themselves */
        uint32_t expected = 0;
        for (size_t i = 0; i < MADE_TEXTS; i++) {
            for (const char *at = made.text[i]; (at = strstr(at, word)) != NULL; at++) {
                if (at > made.text[i] && at[-1] >= 'a' && at[-1] <= 'z')
                    continue;
                expected++;
                break;
            }
        }
        char stem[16];
        strcpy(stem, word);
        const uint64_t hash = dk_hash(stem, dk_stem(stem, strlen(stem)));
        assert_true(expected > 0);
        assert_int_equal(dk_shortlist_frequency(shortlist, hash), expected);
    }
    assert_int_equal(dk_shortlist_frequency(shortlist, dk_hash("absent", 6)), 0);
    assert_in_range(100 * dk_shortlist_mean_length(shortlist), 2450, 2600); /* 25 words, and some */
    dotk_shortlist_destroy(shortlist);
}

static void
same_for_any_threads(void **state)
{
    dotk_shortlist *const first = listed(NULL, "harbour of the captain", 30);
    const dotk_candidate *expected, *candidate;
    size_t expected_count, count;
    (void)state;
    assert_ok(dotk_shortlist_add(first, MADE_TEXTS, documents));
    assert_ok(dotk_shortlist_get(first, &expected, &expected_count, NULL));
    for (uint32_t threads = 1; threads <= 4; threads++) {
        dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
        dotk_context *context;
        options.threads = threads;
        assert_ok(dotk_context_create(&options, &context));
        dotk_shortlist *const other = listed(context, "harbour of the captain", 30);
        for (size_t i = 0; i < MADE_TEXTS; i += 40) /* and for any batches */
            assert_ok(dotk_shortlist_add(other, 40, documents + i));
        assert_ok(dotk_shortlist_get(other, &candidate, &count, NULL));
        assert_int_equal(count, expected_count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(candidate[i].document, expected[i].document);
            assert_memory_equal(&candidate[i].score, &expected[i].score, sizeof(float));
            assert_memory_equal(&candidate[i].passage, &expected[i].passage, sizeof(dotk_passage));
        }
        for (size_t w = 0; w < 12; w++) {
            const uint64_t hash = dk_hash(made_subjects[1][w], strlen(made_subjects[1][w]));
            assert_int_equal(dk_shortlist_frequency(other, hash),
                             dk_shortlist_frequency(first, hash));
        }
        dotk_shortlist_destroy(other);
        dotk_context_destroy(context);
    }
    dotk_shortlist_destroy(first);
}

/* Lines, offsets and headings of passages in the three formats; slices that start further down. */
static void
formats(void **state)
{
    static const char markdown[] = "# Top\n\nneedle here\n";
    static const char html[] = "<html><script>needle</script>\n<h1>Top</h1>\n<p>a needle</p>\n";
    const dotk_document mixed[] = {
        {.text = "one\n\nneedle\n", .size = 12, .id = 1, .first_line = 100},
        {.text = markdown, .size = sizeof markdown - 1, .format = DOTK_TEXT_MARKDOWN, .id = 2},
        {.text = html, .size = sizeof html - 1, .format = DOTK_TEXT_HTML, .id = 3},
        {.text = NULL, .size = 0, .id = 4},
        {.text = "?!\n\n--", .size = 6, .id = 5}, /* not a single term: skipped without a word */
    };
    dotk_shortlist *const shortlist = listed(NULL, "needles", 0);
    const dotk_candidate *candidate;
    size_t count, known;
    (void)state;
    assert_ok(dotk_shortlist_add(shortlist, 5, mixed));
    assert_ok(dotk_shortlist_get(shortlist, &candidate, &count, &known));
    assert_int_equal(known, 1);
    assert_int_equal(count, 3);
    assert_int_equal(dotk_shortlist_count(shortlist), 3);
    assert_int_equal(candidate[0].passage.line, 100);
    assert_int_equal(candidate[0].passage.end_line, 102);
    assert_int_equal(candidate[1].passage.line, 1);
    assert_int_equal(candidate[1].passage.end_line, 3);
    assert_int_equal(candidate[2].passage.end_line, 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(candidate[i].score > 0);
    dotk_shortlist_destroy(shortlist);
}

/* Runs with more terms than the cache holds are read all the same. */
static void
many_terms_in_a_run(void **state)
{
    static const char text[] = "a_very_long_identifier_with_a_needle_in_it 東京都の needle_東京\n"
                               "a_very_long_identifier_with_a_needle_in_it";
    const dotk_document document = {.text = text, .size = sizeof text - 1};
    dotk_shortlist *const shortlist = listed(NULL, "needle 東京", 0);
    (void)state;
    assert_ok(dotk_shortlist_add(shortlist, 1, &document));
    assert_int_equal(dk_shortlist_frequency(shortlist, dk_hash("needl", 5)), 1);
    assert_int_equal(dk_shortlist_frequency(shortlist, dk_hash("東京", 6)), 1);
    assert_int_equal(dk_shortlist_frequency(shortlist, dk_hash("都", 3)), 1);
    dotk_shortlist_destroy(shortlist);
}

static void
spans(void **state)
{
    static const char text[] = "Scores are sorted; dk_sort_scores() sorts. The scoring, of it";
    dotk_shortlist *const shortlist = listed(NULL, "how are scores sorted?", 0);
    static const char *const expected[] = {"Scores", "sorted", "sort",
                                           "scores", "sorts",  "scoring"};
    dotk_span out[16];
    size_t count;
    (void)state;
    assert_ok(dotk_shortlist_spans(shortlist, text, sizeof text - 1, out, 16, &count));
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(out[i].end - out[i].begin, strlen(expected[i]));
        assert_memory_equal(text + out[i].begin, expected[i], strlen(expected[i]));
    }
    out[2] = (dotk_span){7, 7};
    assert_ok(dotk_shortlist_spans(shortlist, text, sizeof text - 1, out, 2, &count));
    assert_int_equal(count, 6);
    assert_int_equal(out[2].begin, 7); /* untouched */
    assert_ok(dotk_shortlist_spans(shortlist, "none", 4, NULL, 0, &count));
    assert_int_equal(count, 0);
    dotk_shortlist_destroy(shortlist);
    /* The whole of an identifier lights all of it, its parts lie inside. */
    dotk_shortlist *const whole = listed(NULL, "dk_pool_run", 0);
    assert_ok(dotk_shortlist_spans(whole, "with dkPoolRun(x)", 17, out, 16, &count));
    assert_int_equal(count, 1);
    assert_int_equal(out[0].begin, 5);
    assert_int_equal(out[0].end, 14);
    dotk_shortlist_destroy(whole);
}

static void
arguments(void **state)
{
    dotk_shortlist *shortlist;
    const dotk_candidate *candidate;
    size_t count;
    (void)state;
    assert_status(dotk_shortlist_create(NULL, NULL, 0, NULL, &shortlist), DOTK_BAD_ARGUMENT);
    assert_status(dotk_shortlist_create(NULL, "x", 1, NULL, NULL), DOTK_BAD_ARGUMENT);
    assert_status(dotk_shortlist_create(NULL, "?!", 2, NULL, &shortlist), DOTK_BAD_ARGUMENT);
    assert_message("query \"?!\" has no word");
    assert_null(shortlist);
    assert_ok(dotk_shortlist_create(NULL, "word", 4, NULL, &shortlist));
    assert_status(dotk_shortlist_add(NULL, 1, documents), DOTK_BAD_ARGUMENT);
    assert_status(dotk_shortlist_add(shortlist, 1, NULL), DOTK_BAD_ARGUMENT);
    const dotk_document bad[] = {{.text = NULL, .size = 1},
                                 {.text = "x", .size = (size_t)1 << 32},
                                 {.text = "x", .size = 1, .format = (dotk_text_format)9}};
    for (size_t i = 0; i < 3; i++) {
        assert_status(dotk_shortlist_add(shortlist, 1, &bad[i]), DOTK_BAD_ARGUMENT);
        assert_message("documents[0].");
    }
    assert_ok(dotk_shortlist_add(shortlist, 0, NULL));
    assert_status(dotk_shortlist_get(shortlist, NULL, &count, NULL), DOTK_BAD_ARGUMENT);
    assert_ok(dotk_shortlist_get(shortlist, &candidate, &count, NULL)); /* nothing was added */
    assert_int_equal(count, 0);
    assert_status(dotk_shortlist_spans(shortlist, NULL, 1, NULL, 0, &count), DOTK_BAD_ARGUMENT);
    dotk_shortlist_destroy(shortlist);
    dotk_shortlist_destroy(NULL);
}

static dotk_status
list_all(void *user)
{
    dotk_shortlist *shortlist = NULL;
    dotk_context *context;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    const dotk_candidate *candidate;
    size_t count;
    (void)user;
    options.threads = 1;
    dotk_status status = dotk_context_create(&options, &context);
    dotk_shortlist_options small = DOTK_SHORTLIST_OPTIONS_INIT;
    small.size = 1; /* so that it has to prune */
    if (status == DOTK_OK)
        status = dotk_shortlist_create(context, "ship crew", 9, &small, &shortlist);
    for (int round = 0; status == DOTK_OK && round < 3; round++) {
        documents[round].format = DOTK_TEXT_HTML;
        status = dotk_shortlist_add(shortlist, MADE_TEXTS, documents);
        documents[round].format = DOTK_TEXT_PLAIN;
    }
    if (status == DOTK_OK)
        status = dotk_shortlist_get(shortlist, &candidate, &count, NULL);
    dotk_shortlist_destroy(shortlist);
    dotk_context_destroy(context);
    return status;
}

static void
memory(void **state)
{
    (void)state;
    assert_true(test_alloc_fail_each(list_all, NULL) > 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_best),
        cmocka_unit_test(drops_the_worst),
        cmocka_unit_test(prunes),
        cmocka_unit_test(counts_frequencies),
        cmocka_unit_test(same_for_any_threads),
        cmocka_unit_test(formats),
        cmocka_unit_test(many_terms_in_a_run),
        cmocka_unit_test(spans),
        cmocka_unit_test(arguments),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
