/* test_blocks.c - lists of blocks against a matrix of flags */
#include "support.h"

#include "mask/blocks.h"

enum { ROWS = 50, COLS = 300 };

static bool flag[ROWS][COLS];

/* Lists of random blocks, and the same as flags. */
static struct dk_blocks
make_blocks(uint64_t *seed, size_t rows, size_t cols, size_t *starts, size_t *columns)
{
    size_t count = 0;

    memset(flag, 0, sizeof flag);
    for (size_t r = 0; r * rows < ROWS; r++) {
        starts[r] = count;
        for (size_t c = 0; c * cols < COLS; c++) {
            if (test_random_below(seed, 3) != 0)
                continue;
            columns[count++] = c;
            for (size_t i = r * rows; i < dk_min((r + 1) * rows, ROWS); i++) {
                for (size_t j = c * cols; j < dk_min((c + 1) * cols, COLS); j++)
                    flag[i][j] = true;
            }
        }
        starts[r + 1] = count;
    }
    return (struct dk_blocks){rows, cols, starts, columns};
}

static void
check_cells(const struct dk_blocks *blocks, size_t row, size_t rows, size_t col, size_t cols)
{
    size_t seen = 0;

    for (size_t i = row; i < row + rows; i++) {
        for (size_t j = col; j < col + cols; j++)
            seen += flag[i][j];
    }
    assert_int_equal(dk_blocks_cover(blocks, row, rows, col, cols), seen == 0 ? DK_COVER_NONE
                                                                    : seen == rows * cols
                                                                        ? DK_COVER_ALL
                                                                        : DK_COVER_SOME);
}

static void
test_random_blocks(void **state)
{
    static const size_t sizes[] = {1, 2, 7, 16, 63, 64, 65, 128, 1000};
    static size_t starts[ROWS + 1], columns[ROWS * COLS];
    uint64_t seed = 5;

    (void)state;
    for (size_t n = 0; n < 81; n++) {
        const struct dk_blocks blocks = make_blocks(&seed, sizes[n / 9], sizes[n % 9], starts,
                                                    columns);
        for (size_t row = 0; row < ROWS; row++) {
            for (size_t col = 0; col < COLS; col += 64) {
                const uint64_t bits = dk_blocks_bits(&blocks, row, col);
                for (size_t i = 0; i < 64 && col + i < COLS; i++)
                    assert_int_equal(bits >> i & 1, flag[row][col + i]);
            }
        }
        for (size_t i = 0; i < 300; i++) {
            const size_t row = test_random_below(&seed, ROWS), col = test_random_below(&seed, COLS);
            check_cells(&blocks, row, 1 + test_random_below(&seed, dk_min(ROWS - row, 8)), col,
                        1 + test_random_below(&seed, COLS - col));
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
