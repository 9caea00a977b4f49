/* test_flags.c - bits of a boolean mask's bytes: every instruction set, to the last byte of a page
 */
#include "support.h"

#include "kernel/kernel.h"

enum { ROWS = DK_ATTEND_ROWS, KEYS = DK_ATTEND_BLOCK, PANELS = KEYS / DK_PANEL };

static void
test_every_byte_counts(void **state)
{
    const struct dk_kernels *kernels;
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        for (size_t count = 1; count <= KEYS; count++) {
            struct test_guarded guarded[ROWS];
            const uint8_t *flags[ROWS];
            uint64_t keep[PANELS][ROWS];
            const size_t rows = 1 + count % ROWS;
            for (size_t r = 0; r < rows; r++) {
                uint8_t *const bytes = test_guarded_alloc(&guarded[r], count, (r + count) % 2 == 0);
                for (size_t c = 0; c < count; c++)
                    bytes[c] = test_random_below(&seed, 2) == 0
                                   ? 0
                                   : (uint8_t)(1 << test_random_below(&seed, 8));
                flags[r] = bytes;
            }
            memset(keep, 0x5a, sizeof keep);
            kernels->flags(flags, rows, count, keep);
            for (size_t c = 0; c < (count + 63) / 64 * 64; c++) {
                for (size_t r = 0; r < rows; r++)
                    assert_int_equal(keep[c / DK_PANEL][r] >> c % DK_PANEL & 1,
                                     c < count && flags[r][c] != 0);
            }
            for (size_t r = 0; r < rows; r++)
                test_guarded_free(&guarded[r]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
