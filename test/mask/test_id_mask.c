/* test_id_mask.c - id masks against a plain array of flags, between guard pages */
#include "support.h"

#include "mask/id_mask.h"

enum { MOST = 300 };

/* Checks every rectangle and every run of 64 bits against flags. */
static void
check_mask(const struct dk_id_mask *mask, const bool *flags, size_t count)
{
    size_t total = 0;

    for (size_t p = 0; p < count; p++)
        total += flags[p];
    assert_int_equal(dk_id_mask_passing(mask), total);
    for (size_t col = 0; col < count; col++) {
        const uint64_t bits = mask->mask.bits(&mask->mask, 3, col);
        for (size_t i = 0; i < 64 && col + i < count; i++)
            assert_int_equal(bits >> i & 1, flags[col + i]);
        size_t set = 0;
        for (size_t cols = 1; col + cols <= count; cols++) {
            set += flags[col + cols - 1];
            const enum dk_cover expected = set == 0      ? DK_COVER_NONE
                                           : set == cols ? DK_COVER_ALL
                                                         : DK_COVER_SOME;
            assert_int_equal(mask->mask.cover(&mask->mask, 0, 2, col, cols), expected);
        }
    }
}

/* Flags in runs, so that whole words are empty or full now and then. */
static void
random_flags(uint64_t *state, bool *flags, size_t count)
{
    bool flag = test_random_below(state, 2) != 0;

    for (size_t p = 0; p < count; p++) {
        if (test_random_below(state, 40) == 0)
            flag = !flag;
        flags[p] = test_random_below(state, 50) == 0 ? !flag : flag;
    }
}

static void
positions_become_bits(void **unused)
{
    uint64_t state = 1;

    (void)unused;
    for (size_t count = 0; count <= MOST; count += 1 + count / 8) {
        struct test_guarded guarded;
        const size_t words = dk_id_mask_words(count);
        uint64_t *const memory = test_guarded_alloc(&guarded, words * sizeof *memory, true);
        bool flags[MOST] = {false};
        struct dk_id_mask mask;

        random_flags(&state, flags, count);
        dk_id_mask_init(&mask, memory, count);
        for (size_t p = 0; p < count; p++) {
            if (flags[p])
                dk_id_mask_set(&mask, p);
        }
        check_mask(&mask, flags, count);
        test_guarded_free(&guarded);
    }
}

static void
bitmaps_are_read_exactly(void **unused)
{
    uint64_t state = 2;

    (void)unused;
    for (size_t count = 1; count <= MOST; count += 1 + count / 6) {
        for (size_t bits = 0; bits <= MOST; bits += 1 + bits / 6) {
            struct test_guarded words_guard, bitmap_guard;
            uint64_t *const memory = test_guarded_alloc(
                &words_guard, dk_id_mask_words(count) * sizeof *memory, true);
            uint8_t *const bitmap = test_guarded_alloc(&bitmap_guard, (bits + 7) / 8, true);
            bool flags[MOST] = {false};
            struct dk_id_mask mask;

            for (size_t i = 0; i < (bits + 7) / 8; i++)
                bitmap[i] = (uint8_t)(test_random(&state) | test_random(&state));
            for (size_t p = 0; p < count && p < bits; p++)
                flags[p] = (bitmap[p / 8] >> p % 8 & 1) != 0;
            dk_id_mask_init(&mask, memory, count);
            dk_id_mask_set_bitmap(&mask, bitmap, bits);
            check_mask(&mask, flags, count);
            test_guarded_free(&words_guard);
            test_guarded_free(&bitmap_guard);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_become_bits),
        cmocka_unit_test(bitmaps_are_read_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
