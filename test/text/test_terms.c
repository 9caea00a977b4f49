/* test_terms.c - what words a text is made of */
#include "support.h"

#include "text/query.h"
#include "text/terms.h"

/* The terms of a text, with a space behind each, joined ones in brackets. */
static const char *
terms_of(const char *text, size_t size)
{
    static char out[1 << 16];
    struct dk_terms terms;
    struct dk_run run = {0};
    size_t used = 0;

    while (dk_run_next(text, size, run.end, &run)) {
        assert_true(run.begin < run.end && run.end <= size);
        assert_true(run.end - run.begin <= DK_RUN_BYTES);
        assert_true(run.hash == dk_hash(text + run.begin, run.end - run.begin));
        dk_run_terms(text + run.begin, run.end - run.begin, false, &terms);
        for (size_t i = 0; i < terms.count; i++) {
            const struct dk_term *const term = &terms.term[i];
            assert_true(term->size > 0 && term->size <= DK_TERM_BYTES);
            assert_true(term->begin < term->end && term->end <= run.end - run.begin);
            assert_true(term->hash == dk_hash(term->bytes, term->size));
            used += (size_t)snprintf(out + used, sizeof out - used,
                                     term->part ? "%.*s " : "(%.*s) ", term->size, term->bytes);
        }
    }
    out[used] = '\0';
    return out;
}

#define assert_terms(text, expected) assert_string_equal(terms_of(text, strlen(text)), expected)

static void
words(void **state)
{
    (void)state;
    assert_terms("", "");
    assert_terms(" -- ... --", "");
    assert_terms("Dot Product", "dot product ");
    assert_terms("the product of a and b", "product b ");
    assert_terms("x=3.25, y=avx512", "x 3 25 y avx512 ");
    assert_terms("it's Anna's", "anna ");
}

static void
inflections(void **state)
{
    static const char *const same[][3] = {
        {"map", "mapped", "mapping"},    {"score", "scores", "scoring"},
        {"query", "queries", "queried"}, {"copy", "copies", "copying"},
        {"pass", "passes", "passing"},   {"normalise", "normalised", "normalising"},
        {"exact", "exactly", "exact"},   {"cache", "caches", "cached"},
        {"fall", "falling", "falls"},    {"class", "classes", "class"},
    };
    static const char *const other[][2] = {{"sing", "s"},           {"string", "str"},
                                           {"status", "statu"},     {"need", "ne"},
                                           {"analysis", "analysi"}, {"red", "r"}};
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char first[64];
        strcpy(first, terms_of(same[i][0], strlen(same[i][0])));
        assert_terms(same[i][1], first);
        assert_terms(same[i][2], first);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char first[64];
        strcpy(first, terms_of(other[i][0], strlen(other[i][0])));
        assert_string_not_equal(terms_of(other[i][1], strlen(other[i][1])), first);
    }
}

static void
identifiers(void **state)
{
    (void)state;
    assert_terms("dk_pool_run", "dk pool run (dkpoolrun) ");
    assert_terms("dkPoolRun", "dk pool run (dkpoolrun) ");
    assert_terms("HTMLParser", "html parser (htmlparser) ");
    assert_terms("parseHTML", "pars html (parsehtml) ");
    assert_terms("MAX_THREADS", "max thread (maxthreads) ");
    assert_terms("__init__", "init ");
    assert_terms("is_ok", "ok (isok) ");
    assert_terms("Hello", "hello ");
    assert_terms("NASA", "nasa ");
    assert_terms("a.b_c", "b c (bc) ");
}

static void
unicode(void **state)
{
    (void)state;
    assert_terms("Fuß FUSS", "fuss fuss ");
    assert_terms("Caféhaus cafe\xcc\x81haus CAFÉHAUS", "cafehaus cafehaus cafehaus ");
    assert_terms("ÀÉÎ", "aei ");
    assert_terms("ﬁnd", "find ");     /* a ligature */
    assert_terms("Ｗｉｄｅ", "wid "); /* full width */
    assert_terms("Σίσυφος ΣΊΣΥΦΟΣ", "σισυφοσ σισυφοσ ");
    assert_terms("Привет, МИР!", "привет мир ");
    assert_terms("“quoted”—dash", "quot dash ");
    /* Vowel signs of Devanagari are part of the word; "ki" is not "ka". */
    assert_string_not_equal(terms_of("कि", 6), "क ");
    assert_terms("x²", "x2 ");
    assert_terms("🙂smile🙂", "smil ");
}

static void
spaceless(void **state)
{
    (void)state;
    assert_terms("東", "東 ");
    assert_terms("東京都", "東 京 (東京) 都 (京都) ");
    assert_terms("内積とは", "内 積 (内積) と (積と) は (とは) ");
    assert_terms("ﾃｽﾄ", "テ ス (テス) ト (スト) "); /* half width */
    assert_terms("AI技術x", "ai 技 術 (技術) x ");
    assert_terms("한국어 문장", "한국어 문장 ");
}

static void
invalid(void **state)
{
    (void)state;
    assert_terms("ab\xff"
                 "cd",
                 "ab cd ");
    assert_terms("\xc3(", "");
    assert_terms("\xe2\x82", "");
    assert_terms("\xf0\x9f\x98", "");
    assert_terms("\xc0\xaf"
                 "x",
                 "x "); /* overlong */
    assert_terms("\xed\xa0\x80"
                 "x",
                 "x "); /* a surrogate */
    assert_terms("\x80\x80\x80word\x80", "word ");
}

/* Any bytes, at the end of readable memory. */
static void
any_bytes(void **state)
{
    uint64_t seed = 5;
    (void)state;
    for (size_t round = 0; round < 2000; round++) {
        struct test_guarded guarded;
        const size_t size = test_random_below(&seed, 600);
        unsigned char *const bytes = test_guarded_alloc(&guarded, size, true);
        const unsigned char low = test_random_below(&seed, 2) ? 0x80 : 0;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)(low | test_random(&seed));
        terms_of((const char *)bytes, size);
        test_guarded_free(&guarded);
    }
}

static void
long_runs(void **state)
{
    char text[4 * DK_RUN_BYTES + 1];
    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_terms(text, ""); /* longer than any word */
    memset(text, 'a', DK_TERM_BYTES);
    text[DK_TERM_BYTES] = '\0';
    char expected[DK_TERM_BYTES + 2] = {0};
    memset(expected, 'a', DK_TERM_BYTES);
    expected[DK_TERM_BYTES] = ' ';
    assert_terms(text, expected);
    /* A long run of three-byte characters is cut between them, so none is lost. */
    size_t used = 0;
    for (size_t i = 0; i < 200; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s", "語");
    const char *const out = terms_of(text, used);
    size_t singles = 0;
    for (const char *at = out; (at = strstr(at, "語 ")) != NULL; at += 4)
        singles++;
    assert_int_equal(singles, 200);
    assert_null(strstr(out, "\xef\xbf\xbd"));
}

static void
word_lists(void **state)
{
    static const char *const list[] = {
#define WORD(text) text,
#include "text/stop_words.def"
#undef WORD
    };
    static const char *const weak[] = {
#define WORD(text) text,
#include "text/weak_words.def"
#undef WORD
    };
    (void)state;
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++) {
        assert_true(i == 0 || strcmp(weak[i - 1], weak[i]) < 0);
        assert_false(dk_stop_word(weak[i], strlen(weak[i])));
    }
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (i > 0)
            assert_true(strcmp(list[i - 1], list[i]) < 0);
        assert_true(dk_stop_word(list[i], strlen(list[i])));
    }
    assert_false(dk_stop_word("dot", 3));
    assert_false(dk_stop_word("th", 2));
    assert_false(dk_stop_word("thei", 4));
    assert_false(dk_stop_word("", 0));
}

static float
affinity(const char *query, const char *word)
{
    struct dk_query parsed;
    struct dk_terms terms;

    dk_query_parse(query, strlen(query), &parsed);
    assert_int_equal(parsed.count, 1);
    dk_run_terms(word, strlen(word), true, &terms);
    assert_int_equal(terms.count, 1);
    return dk_query_affinity(&parsed.term[0], terms.term[0].hash, terms.term[0].bytes,
                             terms.term[0].size);
}

static void
affinities(void **state)
{
    (void)state;
    assert_true(affinity("search", "searching") == 1);
    assert_in_range(1000 * affinity("multiply", "multiplication"), 200, 600);
    assert_in_range(1000 * affinity("normalise", "normalisation"), 200, 600);
    assert_in_range(1000 * affinity("delete", "erase"), 200, 600);
    assert_in_range(1000 * affinity("folders", "directories"), 200, 600);
    assert_true(affinity("nation", "station") == 0);
    assert_true(affinity("dot", "dots") == 1);
    assert_true(affinity("dot", "dog") == 0);
    assert_true(affinity("matrix", "memory") == 0);
}

static void
queries(void **state)
{
    struct dk_query query;
    char text[4096];
    size_t used = 0;
    (void)state;
    dk_query_parse("scores score other", 18, &query);
    assert_int_equal(query.count, 1); /* "other" is a stop word */
    assert_true(query.term[0].weight > 1.69f && query.term[0].weight < 1.70f); /* 1 + ln 2 */
    dk_query_parse("good vectors", 12, &query);
    assert_int_equal(query.count, 2);
    assert_true(query.term[0].weight == 0.5f); /* an everyday word */
    assert_true(query.term[1].weight == 1);
    dk_query_parse("to be or not", 12, &query);
    assert_int_equal(query.count, 1);
    dk_query_parse("to be", 5, &query); /* nothing but stop words: then these */
    assert_int_equal(query.count, 2);
    dk_query_parse("?!", 2, &query);
    assert_int_equal(query.count, 0);
    for (int i = 0; i < 200; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "word%d ", i);
    dk_query_parse(text, used, &query);
    assert_int_equal(query.count, DK_QUERY_TERMS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),      cmocka_unit_test(inflections), cmocka_unit_test(identifiers),
        cmocka_unit_test(unicode),    cmocka_unit_test(spaceless),   cmocka_unit_test(invalid),
        cmocka_unit_test(any_bytes),  cmocka_unit_test(long_runs),   cmocka_unit_test(word_lists),
        cmocka_unit_test(affinities), cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
