/*
 * test_cli_explain.c - dotk explain attention: its numbers are those of the definition
 */
#include "faces/spawn.h"

enum { TILE_QUERIES = 6, TILE_KEYS = 64 };

/* Tiles of which some query sees a key: keys i - left .. i + right. */
static size_t
tiles_seen(long length, long left, long right)
{
    size_t seen = 0;

    for (long i = 0; i < length; i += TILE_QUERIES) {
        const long last = (i + TILE_QUERIES < length ? i + TILE_QUERIES : length) - 1;
        for (long j = 0; j < length; j += TILE_KEYS)
            seen += j <= last + right && j + TILE_KEYS > i - left;
    }
    return seen;
}

static void
check_tiles(size_t length, size_t seen)
{
    const size_t all = (length + TILE_QUERIES - 1) / TILE_QUERIES *
                       ((length + TILE_KEYS - 1) / TILE_KEYS);
    char expected[128];

    assert_clean();
    snprintf(expected, sizeof expected,
             "   %zu of %zu tiles were made, %zu (%.1f %%) were skipped.", seen, all, all - seen,
             100.0 * (double)(all - seen) / (double)all);
    assert_contains(ran.out, expected);
}

/* The log-sum-exp of the last step is that which the library returned. */
static void
check_sums(void)
{
    double steps, whole;
    const char *const at = strstr(ran.out, "The chunks together give ");

    assert_non_null(at);
    assert_int_equal(sscanf(at,
                            "The chunks together give %lf; the log-sum-exp that "
                            "dotk_attention_forward() returns is %lf.",
                            &steps, &whole),
                     2);
    assert_true(fabs(steps - whole) < 2e-4 && fabs(whole) > 0.1);
}

static void
test_tiles(void **state)
{
    (void)state;
    dotk("explain attention --length 1500");
    check_tiles(1500, tiles_seen(1500, 1500, 0));
    check_sums();
    assert_contains(ran.out, "     1024 - 1279      4 of 4 ");
    assert_contains(ran.out, "     1280 - 1499      4 of 4 ");
    assert_lacks(ran.out, "skipped\n");
    assert_contains(ran.out, "The maximum moves by multiples of log 2 = 0.6931, and");
    dotk("explain attention --length 1500 --window 200,70 --follow 700 --threads 2");
    check_tiles(1500, tiles_seen(1500, 200, 70));
    check_sums();
    assert_contains(
        ran.out,
        "        0 - 255       0 of 4            -             -                   -  skipped");
    assert_contains(ran.out, "      256 - 511       1 of 4 "); /* 696 - 200 = 496 */
    assert_contains(ran.out, "      512 - 767       4 of 4 ");
    assert_contains(ran.out, "      768 - 1023      1 of 4 "); /* 701 + 70 = 771 */
    dotk("explain attention --length 1 --window -1,-1");
    check_tiles(1, 1);
    assert_contains(ran.out, "\n   #\n");
}

/* The map: a causal triangle of 64 by 64, and cells of more than that where the text is long. */
static void
test_map(void **state)
{
    (void)state;
    dotk("explain attention --length 192");
    assert_clean();
    assert_contains(ran.out, "stands for 64 queries (down) by 64 keys (across)");
    assert_contains(ran.out, "\n   #+.\n   ##+\n   ###\n");
    assert_contains(ran.out, "Where + stands right of the diagonal, a tile of queries\n");
    dotk("explain attention --length 192 --window 0,0");
    assert_clean();
    assert_lacks(ran.out, "diagonal");
    dotk("explain attention --length 2100");
    assert_clean();
    assert_contains(ran.out, "stands for 128 queries (down) by 128 keys (across)");
}

/* Four times the length may take four times the memory, but not sixteen times, as the matrix does.
 */
static void
test_memory(void **state)
{
    double dotk_1, matrix_1, dotk_4, matrix_4;

    (void)state;
    dotk("explain attention --length 100 --threads 1");
    assert_clean();
    const char *const at_1 = strstr(ran.out, "\n               1024  ");
    const char *const at_4 = strstr(ran.out, "\n               4096  ");
    assert_true(at_1 != NULL && at_4 != NULL);
    assert_int_equal(sscanf(at_1, " 1024 %lf %lf", &dotk_1, &matrix_1), 2);
    assert_int_equal(sscanf(at_4, " 4096 %lf %lf", &dotk_4, &matrix_4), 2);
    assert_true(matrix_1 == 4096 && matrix_4 == 65536);
    assert_true(dotk_1 > 10 && dotk_4 > dotk_1 && dotk_4 < 4.5 * dotk_1);
}

static void
test_refusals(void **state)
{
    (void)state;
    dotk("explain");
    assert_refused(2, "dotk explain: say what to explain: attention; see 'dotk explain --help'");
    dotk("explain search");
    assert_refused(2, "'search' is not explained: it has to be attention");
    dotk("explain attention --window 3");
    assert_refused(2, "--window is '3': give two numbers, as in 256,0");
    dotk("explain attention --length 10 --follow 10");
    assert_refused(2, "--follow is 10: there are 10 queries, counted from 0");
    dotk("explain attention --length 2000000");
    assert_refused(2, "--length is 2000000: up to 1048576 are shown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, folder_setup, folder_teardown);
}
