/* test_prefix.c - prefix masks against the rule written out, cell by cell */
#include "support.h"

#include "mask/prefix.h"

enum { ROWS = 90, COLS = 200 };

static bool
sees(size_t row, size_t col, size_t length, bool causal, int64_t offset)
{
    return col < length && (!causal || (int64_t)col <= (int64_t)row + offset);
}

static void
check_mask(size_t length, bool causal, int64_t offset)
{
    const struct dk_prefix_mask prefix = dk_prefix_mask(length, causal, offset);
    const struct dk_mask *const mask = &prefix.mask;

    for (size_t row = 0; row < ROWS; row++) {
        size_t end = 0;
        while (end < COLS && sees(row, end, length, causal, offset))
            end++;
        assert_int_equal(dk_min(dk_prefix_mask_end(&prefix, row), COLS), end);
        for (size_t col = 0; col < COLS; col += 13) {
            const uint64_t bits = mask->bits(mask, row, col);
            for (size_t i = 0; i < 64; i++)
                assert_int_equal(bits >> i & 1, sees(row, col + i, length, causal, offset));
        }
    }
    for (size_t row = 0; row < ROWS; row += 7) {
        for (size_t rows = 1; rows <= 6 && row + rows <= ROWS; rows++) {
            for (size_t col = 0; col < COLS; col += 9) {
                for (size_t cols = 1; cols <= 70; cols += 23) {
                    size_t seen = 0;
                    for (size_t r = row; r < row + rows; r++) {
                        for (size_t c = col; c < col + cols; c++)
                            seen += sees(r, c, length, causal, offset);
                    }
                    const enum dk_cover expected = seen == 0             ? DK_COVER_NONE
                                                   : seen == rows * cols ? DK_COVER_ALL
                                                                         : DK_COVER_SOME;
                    assert_int_equal(mask->cover(mask, row, rows, col, cols), expected);
                }
            }
        }
    }
}

static void
test_masks(void **state)
{
    static const size_t lengths[] = {0, 1, 63, 64, 65, 100, 1000};
    static const int64_t offsets[] = {0, 1, -1, 5, -40, 64, 110, -1000, 1000};

    (void)state;
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        check_mask(lengths[l], false, 7);
        for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++)
            check_mask(lengths[l], true, offsets[o]);
    }
}

static void
test_extreme_offsets(void **state)
{
    const struct dk_prefix_mask most = dk_prefix_mask(SIZE_MAX, true, INT64_MAX);
    const struct dk_prefix_mask least = dk_prefix_mask(SIZE_MAX, true, INT64_MIN);

    (void)state;
    assert_true(dk_prefix_mask_end(&most, 0) == (size_t)INT64_MAX + 1);
    assert_true(dk_prefix_mask_end(&most, SIZE_MAX - 1) == SIZE_MAX);
    assert_true(dk_prefix_mask_end(&least, 0) == 0);
    assert_true(dk_prefix_mask_end(&least, SIZE_MAX / 2) == 0);
    assert_true(dk_prefix_mask_end(&least, SIZE_MAX / 2 + 1) == 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_extreme_offsets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
