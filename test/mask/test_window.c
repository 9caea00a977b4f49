/* test_window.c - windows against the rule written out, cell by cell */
#include "support.h"

#include "mask/window.h"

enum { ROWS = 90, COLS = 200 };

static bool
sees(const struct dk_window *window, int64_t query, int64_t key)
{
    const int64_t position = query + window->offset;

    return key < (int64_t)window->length && (window->left < 0 || key >= position - window->left) &&
           (window->right < 0 || key <= position + window->right);
}

static void
check_window(struct dk_window window)
{
    struct dk_span before = {0, 0};

    for (size_t query = 0; query < ROWS; query++) {
        const struct dk_span span = dk_window_span(&window, query);
        assert_true(span.begin <= span.end && span.end <= window.length);
        assert_true(span.begin >= before.begin && span.end >= before.end);
        for (size_t key = 0; key < COLS; key++)
            assert_int_equal(key >= span.begin && key < span.end,
                             sees(&window, (int64_t)query, (int64_t)key));
        before = span;
    }
}

static void
test_spans(void **state)
{
    static const size_t lengths[] = {0, 1, 63, 64, 65, 100, COLS};
    static const int64_t offsets[] = {0, 1, -1, 5, -40, 64, 110, -1000, 1000};
    static const int64_t sides[] = {-1, 0, 1, 7, 64, 300};
    enum { SIDES = sizeof sides / sizeof *sides };

    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++) {
            for (size_t s = 0; s < (size_t)SIDES * SIDES; s++)
                check_window(
                    (struct dk_window){lengths[l], offsets[o], sides[s / SIDES], sides[s % SIDES]});
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_spans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
