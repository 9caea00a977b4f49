/*
 * test_dropout.c - which weights dropout keeps
 *
 * Philox against the known answers that Random123, its authors' library, comes with
 * (tests/kat_vectors); then every instruction set against the definition bit by bit, and the
 * draws themselves: how many are kept, and that no part of the counter is without effect.
 */
#include "support.h"

#include "kernel/kernel.h"

static void
test_known_answers(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t word[4];
        memcpy(word, known[i].counter, sizeof word);
        dk_philox((uint64_t)known[i].key[1] << 32 | known[i].key[0], word);
        assert_memory_equal(word, known[i].answer, sizeof word);
    }
}

/* The definition, one key at a time. */
static bool
is_kept(const struct dk_dropout *dropout, size_t head, size_t query, size_t key)
{
    uint32_t word[4] = {(uint32_t)(key / 4), (uint32_t)query, (uint32_t)head,
                        (uint32_t)((uint64_t)key / 4 >> 32)};

    dk_philox(dropout->seed, word);
    return word[key % 4] >= dropout->threshold;
}

static void
test_every_set_draws_the_same(void **state)
{
    static const float rates[] = {0, 0.1f, 0.5f, 0.9f, 0x1.fffffep-1f};
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        uint64_t seed = 1;
        for (size_t round = 0; round < 200; round++) {
            const struct dk_dropout dropout = dk_dropout(test_random(&seed), rates[round % 5]);
            const size_t head = test_random(&seed) >> (round % 3 == 0 ? 30 : 60);
            const size_t query = test_random(&seed) >> (round % 3 == 0 ? 31 : 45);
            const size_t key = (test_random(&seed) >> (round % 4 == 0 ? 8 : 40)) / 64 * 64;
            const uint64_t kept = kernels->dropout(&dropout, head, query, key);
            for (size_t c = 0; c < 64; c++)
                assert_int_equal(kept >> c & 1, is_kept(&dropout, head, query, key + c));
            if (round % 5 == 0)
                assert_true(kept == ~UINT64_C(0));
        }
    }
}

static void
test_rates(void **state)
{
    static const float rates[] = {0.001f, 0.1f, 0.25f, 0.5f, 0.9f};
    const struct dk_kernels *const kernels = dk_kernels_select(NULL);
    const size_t rows = 1000, panels = 16;

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        const struct dk_dropout dropout = dk_dropout(99 + i, rates[i]);
        double kept = 0;
        for (size_t row = 0; row < rows; row++) {
            for (size_t p = 0; p < panels; p++)
                kept += __builtin_popcountll(kernels->dropout(&dropout, i, row, p * 64));
        }
        const double draws = (double)(rows * panels) * 64, want = draws * (1 - (double)rates[i]);
        assert_true(fabs(kept - want) < 5 * sqrt(want * (double)rates[i]));
        assert_true(fabs(dropout.factor * (1 - (double)rates[i]) - 1) < 0x1p-24);
    }
}

/* Neighbours in any direction have draws of their own. */
static void
test_counter(void **state)
{
    const struct dk_kernels *kernels;

    (void)state;
    for (size_t k = 0; (kernels = dk_kernels_at(k)) != NULL; k++) {
        const struct dk_dropout dropout = dk_dropout(7, 0.5f), other = dk_dropout(8, 0.5f);
        const struct dk_dropout high = dk_dropout(7 | UINT64_C(1) << 32, 0.5f);
        const uint64_t kept = kernels->dropout(&dropout, 3, 5, 128);
        assert_true(kept != kernels->dropout(&dropout, 4, 5, 128));
        assert_true(kept != kernels->dropout(&dropout, 3, 6, 128));
        assert_true(kept != kernels->dropout(&dropout, 3, 5, 192));
        assert_true(kept != kernels->dropout(&dropout, 3, 5, 128 + (UINT64_C(4) << 32)));
        assert_true(kept != kernels->dropout(&other, 3, 5, 128));
        assert_true(kept != kernels->dropout(&high, 3, 5, 128));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_every_set_draws_the_same),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
