/* test_passages.c - a text cut into passages */
#include "support.h"

#include <dotk/text.h>

static char buffer[1 << 16];

/* What every cut must keep to: order, lines, no byte of a word lost, nothing too long. */
static void
check(const char *text, size_t size, const dotk_passages *passages)
{
    size_t covered = 0, line = 1, at = 0;

    for (size_t i = 0; i < passages->count; i++) {
        const dotk_passage *const p = &passages->items[i];
        assert_true(p->begin < p->end && p->end <= size);
        assert_true(p->end - p->begin <= 1600);
        assert_true(i == 0 || p->begin > passages->items[i - 1].begin);
        assert_true(i == 0 || p->end > passages->items[i - 1].end);
        for (; at < p->begin; at++)
            line += text[at] == '\n';
        assert_int_equal(p->line, line);
        size_t end_line = line;
        for (size_t j = p->begin; j < p->end; j++)
            end_line += text[j] == '\n';
        assert_int_equal(p->end_line, end_line);
        assert_true(text[p->end - 1] != '\n');
        for (size_t j = covered; j < p->begin; j++) /* only blank between passages */
            assert_non_null(strchr(" \t\r\n\f", text[j]));
        covered = p->end;
        assert_true(p->heading_begin <= p->heading_end && p->heading_end <= p->begin);
    }
    for (size_t j = covered; j < size; j++)
        assert_non_null(strchr(" \t\r\n\f", text[j]));
}

static dotk_passages *
cut(const char *text, dotk_text_format format)
{
    struct test_guarded guarded;
    const size_t size = strlen(text);
    char *const copy = test_guarded_alloc(&guarded, size, true);
    dotk_passages *passages;

    memcpy(copy, text, size);
    assert_ok(dotk_passages_cut(copy, size, format, &passages));
    test_guarded_free(&guarded);
    return passages;
}

/* A paragraph of 'size' bytes of words on lines of at most 60. */
static size_t
put_paragraph(char *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = i % 60 == 59 ? '\n' : i % 6 == 5 ? ' ' : (char)('a' + i % 26);
    out[size - 1] = 'z';
    return size;
}

static void
short_texts(void **state)
{
    (void)state;
    dotk_passages *passages = cut("", DOTK_TEXT_PLAIN);
    assert_int_equal(passages->count, 0);
    dotk_passages_destroy(passages);
    passages = cut(" \n\t\n\r\n", DOTK_TEXT_PLAIN);
    assert_int_equal(passages->count, 0);
    dotk_passages_destroy(passages);
    const char *const text = "\n\nfirst line\r\nsecond\r\n\r\nthird";
    passages = cut(text, DOTK_TEXT_PLAIN);
    assert_int_equal(passages->count, 1);
    assert_int_equal(passages->items[0].begin, 2);
    assert_int_equal(passages->items[0].end, strlen(text));
    assert_int_equal(passages->items[0].line, 3);
    assert_int_equal(passages->items[0].end_line, 6);
    dotk_passages_destroy(passages);
}

static void
paragraphs_are_packed(void **state)
{
    size_t size = 0;
    (void)state;
    for (int i = 0; i < 10; i++) {
        size += put_paragraph(buffer + size, 300);
        memcpy(buffer + size, "\n\n", 3);
        size += 2;
    }
    dotk_passages *const passages = cut(buffer, DOTK_TEXT_PLAIN);
    assert_int_equal(passages->count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(passages->items[i].begin, 604 * i);
        assert_int_equal(passages->items[i].end, 604 * i + 602);
    }
    check(buffer, size, passages);
    dotk_passages_destroy(passages);
}

/* Pieces of a paragraph that is too long share one line. */
static void
long_paragraphs_overlap(void **state)
{
    (void)state;
    const size_t size = put_paragraph(buffer, 3000);
    buffer[size] = '\0';
    dotk_passages *const passages = cut(buffer, DOTK_TEXT_PLAIN);
    assert_in_range(passages->count, 4, 5);
    check(buffer, size, passages);
    for (size_t i = 1; i < passages->count; i++) {
        assert_int_equal(passages->items[i].line, passages->items[i - 1].end_line);
        assert_true(passages->items[i].begin < passages->items[i - 1].end);
        assert_true(passages->items[i - 1].end - passages->items[i].begin <= 160);
        assert_true(passages->items[i - 1].end - passages->items[i - 1].begin <= 800);
    }
    dotk_passages_destroy(passages);
}

/* A short line that would be a passage of its own goes with the long one after it, once. */
static void
short_lines_before_long_ones(void **state)
{
    (void)state;
    for (size_t length = 700; length <= 1300; length += 100) {
        size_t size = (size_t)sprintf(buffer, "a short line\n");
        put_paragraph(buffer + size, length);
        for (size_t i = size; i < size + length; i++)
            if (buffer[i] == '\n')
                buffer[i] = ' ';
        size += length;
        size += (size_t)sprintf(buffer + size, "\nand one more\n");
        size += put_paragraph(buffer + size, 900);
        buffer[size] = '\0';
        dotk_passages *const passages = cut(buffer, DOTK_TEXT_PLAIN);
        check(buffer, size, passages);
        dotk_passages_destroy(passages);
    }
}

/* One line of 10,000 bytes is cut between words; without spaces, between characters. */
static void
long_lines(void **state)
{
    (void)state;
    for (int spaces = 0; spaces < 2; spaces++) {
        const char *const unit = spaces ? "word " : "語";
        size_t size = 0;
        while (size < 10000)
            size += (size_t)sprintf(buffer + size, "%s", unit);
        dotk_passages *const passages = cut(buffer, DOTK_TEXT_PLAIN);
        assert_in_range(passages->count, 8, 14);
        check(buffer, size, passages);
        for (size_t i = 0; i < passages->count; i++) {
            assert_int_equal(passages->items[i].line, 1);
            assert_memory_equal(buffer + passages->items[i].begin, unit, strlen(unit));
        }
        dotk_passages_destroy(passages);
    }
}

static void
markdown(void **state)
{
    static const char text[] = "intro\n"
                               "# One\n"
                               "\n"
                               "about one\n"
                               "## Two ##\n"
                               "about two\n"
                               "\n"
                               "```sh\n"
                               "# not a heading\n"
                               "\n"
                               "echo\n"
                               "```\n"
                               "#hash\n";
    (void)state;
    dotk_passages *passages = cut(text, DOTK_TEXT_MARKDOWN);
    check(text, strlen(text), passages);
    assert_int_equal(passages->count, 3);
    assert_int_equal(passages->items[1].line, 2);
    assert_int_equal(passages->items[1].end_line, 4);
    assert_int_equal(passages->items[2].line, 5);
    assert_int_equal(passages->items[2].end_line, 13);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(passages->items[i].heading_end, 0); /* they contain theirs */
    dotk_passages_destroy(passages);
    passages = cut(text, DOTK_TEXT_PLAIN);
    assert_int_equal(passages->count, 1);
    dotk_passages_destroy(passages);
}

/* Later passages of a section name its heading; a heading is no passage of its own. */
static void
headings_are_carried(void **state)
{
    size_t size = (size_t)sprintf(buffer, "# The heading\n\n");
    (void)state;
    for (int i = 0; i < 4; i++) {
        size += put_paragraph(buffer + size, i == 0 ? 1190 : 700);
        size += (size_t)sprintf(buffer + size, "\n\n");
    }
    dotk_passages *const passages = cut(buffer, DOTK_TEXT_MARKDOWN);
    assert_int_equal(passages->count, 4);
    for (size_t i = 0; i < 4; i++) {
        const dotk_passage *const p = &passages->items[i];
        assert_int_equal(p->heading_begin, 2);
        assert_int_equal(p->heading_end, 13);
        assert_memory_equal(buffer + p->heading_begin, "The heading", 11);
        assert_true(p->begin >= 15);
    }
    dotk_passages_destroy(passages);
}

static void
any_text(void **state)
{
    static const char *const pieces[] = {
        "\n",    "\n\n",  "# Head\n",
        "```\n", "word ", "\r\n",
        "\t",    "語",    "a long stretch of words without any line end in it "};
    uint64_t seed = 3;
    (void)state;
    for (size_t round = 0; round < 400; round++) {
        size_t size = 0;
        const size_t likely = test_random_below(&seed, sizeof pieces / sizeof *pieces);
        for (size_t i = test_random_below(&seed, 900); i-- > 0;) {
            const size_t which = test_random_below(&seed, 2)
                                     ? likely
                                     : test_random_below(&seed, sizeof pieces / sizeof *pieces);
            size += (size_t)sprintf(buffer + size, "%s", pieces[which]);
        }
        buffer[size] = '\0';
        for (int format = 0; format < 2; format++) {
            dotk_passages *const passages = cut(buffer,
                                                format ? DOTK_TEXT_MARKDOWN : DOTK_TEXT_PLAIN);
            size_t fenced = 0;
            for (const char *at = buffer; (at = strstr(at, "```")) != NULL; at += 3)
                fenced++;
            if (format == 0 || fenced == 0)
                check(buffer, size, passages);
            dotk_passages_destroy(passages);
        }
    }
}

static dotk_status
cut_buffer(void *user)
{
    dotk_passages *passages;
    const dotk_status status = dotk_passages_cut(user, strlen(user), DOTK_TEXT_PLAIN, &passages);
    assert_true(status == DOTK_OK || passages == NULL);
    dotk_passages_destroy(passages);
    return status;
}

static void
memory(void **state)
{
    (void)state;
    buffer[put_paragraph(buffer, 40000)] = '\0';
    assert_true(test_alloc_fail_each(cut_buffer, buffer) >= 3);
}

static void
arguments(void **state)
{
    dotk_passages *passages;
    (void)state;
    assert_status(dotk_passages_cut(NULL, 1, DOTK_TEXT_PLAIN, &passages), DOTK_BAD_ARGUMENT);
    assert_status(dotk_passages_cut("x", 1, (dotk_text_format)7, &passages), DOTK_BAD_ARGUMENT);
    assert_message("format is 7");
    assert_null(passages);
    assert_status(dotk_passages_cut("x", 1, DOTK_TEXT_PLAIN, NULL), DOTK_BAD_ARGUMENT);
    dotk_passages_destroy(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_texts),
        cmocka_unit_test(paragraphs_are_packed),
        cmocka_unit_test(long_paragraphs_overlap),
        cmocka_unit_test(short_lines_before_long_ones),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(markdown),
        cmocka_unit_test(headings_are_carried),
        cmocka_unit_test(any_text),
        cmocka_unit_test(memory),
        cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
