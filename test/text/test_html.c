/* test_html.c - the text of HTML, line for line */
#include "support.h"

#include <dotk/text.h>

static char text[1 << 16];

/* Strips between guard pages, elsewhere and in place, which must agree. */
static const char *
strip(const char *html, size_t size)
{
    struct test_guarded in, out;
    char *const from = test_guarded_alloc(&in, size, true);
    char *const to = test_guarded_alloc(&out, size, true);
    size_t used, used_in_place;

    memcpy(from, html, size);
    assert_ok(dotk_html_strip(from, size, to, &used));
    assert_true(used <= size);
    memcpy(text, to, used);
    text[used] = '\0';
    assert_ok(dotk_html_strip(from, size, from, &used_in_place));
    assert_int_equal(used_in_place, used);
    assert_memory_equal(from, text, used);
    test_guarded_free(&in);
    test_guarded_free(&out);
    return text;
}

#define assert_text(html, expected) assert_string_equal(strip(html, strlen(html)), expected)

static void
tags(void **state)
{
    (void)state;
    assert_text("", "");
    assert_text("plain", "plain");
    assert_text("<p>one</p><p>two</p>", " one  two ");
    assert_text("<b>bo</b>ld <A href='x'>li</A>nk", "bold link");
    assert_text("a<br/>b", "a b");
    assert_text("<a title=\"a > b\">x</a>", "x");
    assert_text("<p class=don't>x", " x"); /* a quote counts only after = */
    assert_text("1 < 2 && 3 > 2", "1 < 2 && 3 > 2");
    assert_text("<", "<");
    assert_text("a</", "a</");
    assert_text("a<b", "a");
    assert_text("<!DOCTYPE html>x<?php y ?>z", "xz");
}

static void
left_out(void **state)
{
    (void)state;
    assert_text("a<script>if (a < b) { x = '<p>'; }</script>b", "a  b");
    assert_text("a<STYLE type=x>p { }</Style >b", "a  b");
    assert_text("a<!-- <p>no</p> -->b", "ab");
    assert_text("a<!-- open", "a");
    assert_text("a<script>open", "a ");
    assert_text("<scripted>kept</scripted>", " kept ");
}

static void
lines(void **state)
{
    (void)state;
    assert_text("a\n<p\nclass=x\n>\nb", "a\n \n\n\nb");
    assert_text("<script>\n1\n2\n</script>\nx", " \n\n\n \nx");
    assert_text("<!--\n\n-->x", "\n\nx");
    assert_text("<title>T</title>\n<h1>Head</h1>\n  <h2 id=a>Sub<b>b</b></h2>",
                " T \n# Head \n  # Subb ");
    assert_text("x <h1>not at the start</h1>", "x  not at the start ");
    assert_text("&#10;&#13;", "  "); /* no line that the source has not */
}

static void
entities(void **state)
{
    (void)state;
    assert_text("a &lt;b&gt; &amp; &quot;c&quot; &apos;", "a <b> & \"c\" '");
    assert_text("caf&eacute; &Auml; &euro; &hellip; &alpha;", "café Ä € … α");
    assert_text("&#65;&#x42;&#X43;&#8364;&#x1F642;", "ABC€🙂");
    assert_text("&nbsp;x&#160;y", " x y");
    assert_text("&unknown; &amp &; &#; &#x; &#xd800; &#x110000; &#99999999999; &",
                "&unknown; &amp &; &#; &#x; &#xd800; &#x110000; &#99999999999; &");
    assert_text("&#0;", "&#0;");
    assert_text("&EACUTE;", "&EACUTE;"); /* names have a case */
}

/* Whatever the bytes: no more than there were, and as many line feeds. */
static void
any_bytes(void **state)
{
    static const char *const pieces[] = {"<", ">",     "</script", "<script>", "<!--", "-->",
                                         "&", "&amp;", "\n",       "\"",       "='",   "<h1>",
                                         "x", "&#9;",  "<p ",      "/",        "\xff", "<style"};
    uint64_t seed = 9;
    (void)state;
    for (size_t round = 0; round < 3000; round++) {
        char html[400];
        size_t size = 0, feeds = 0, kept = 0;
        for (size_t i = test_random_below(&seed, 30); i-- > 0;) {
            const char *const piece =
                pieces[test_random_below(&seed, sizeof pieces / sizeof *pieces)];
            memcpy(html + size, piece, strlen(piece));
            size += strlen(piece);
        }
        for (size_t i = 0; i < size; i++)
            feeds += html[i] == '\n';
        for (const char *at = strip(html, size); *at != '\0'; at++)
            kept += *at == '\n';
        assert_int_equal(kept, feeds);
    }
}

static void
arguments(void **state)
{
    size_t size;
    (void)state;
    assert_status(dotk_html_strip(NULL, 1, text, &size), DOTK_BAD_ARGUMENT);
    assert_message("html is NULL");
    assert_status(dotk_html_strip("x", 1, NULL, &size), DOTK_BAD_ARGUMENT);
    assert_status(dotk_html_strip("x", 1, text, NULL), DOTK_BAD_ARGUMENT);
    assert_ok(dotk_html_strip(NULL, 0, NULL, &size));
    assert_int_equal(size, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags),     cmocka_unit_test(left_out),  cmocka_unit_test(lines),
        cmocka_unit_test(entities), cmocka_unit_test(any_bytes), cmocka_unit_test(arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
