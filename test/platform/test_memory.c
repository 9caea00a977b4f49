/* test_memory.c - aligned blocks through the caller's hooks, and arenas */
#include "support.h"

#include "platform/memory.h"

static void
test_alignment(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (4 << 20) - 1, 4 << 20, 9 << 20};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *const block = dk_alloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % DK_LINE, 0);
        if (sizes[i] >= 4 << 20)
            assert_int_equal((uintptr_t)block % (2 << 20), 0);
        memset(block, 1, sizes[i]);
        dk_free(block);
    }
    dk_free(NULL);
}

static void
test_sizes_that_overflow(void **state)
{
    size_t out = 7;

    (void)state;
    assert_null(dk_alloc(SIZE_MAX));
    assert_null(dk_alloc(SIZE_MAX - 100));
    assert_null(dk_alloc_array(SIZE_MAX / 2, 3));
    assert_false(dk_mul(SIZE_MAX / 2, 3, &out));
    assert_false(dk_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
    assert_true(dk_mul(5, 6, &out) && out == 30);
    assert_true(dk_add(5, 6, &out) && out == 11);
    assert_int_equal(dk_round_up(65, 64), 128);
    assert_int_equal(dk_round_up(64, 64), 64);
    struct dk_arena arena = {0};
    assert_null(dk_arena_alloc(&arena, SIZE_MAX));
    assert_null(dk_arena_alloc(&arena, SIZE_MAX - DK_LINE - 1));
    assert_null(dk_arena_array(&arena, SIZE_MAX / 2, 3));
    dk_arena_release(&arena);
}

static void
test_hooks(void **state)
{
    struct test_alloc alloc;
    const dotk_allocator half[] = {{NULL, test_alloc_release, NULL},
                                   {test_alloc_allocate, NULL, NULL}};

    (void)state;
    assert_status(dotk_set_allocator(&half[0]), DOTK_BAD_ARGUMENT);
    assert_message("allocate");
    assert_status(dotk_set_allocator(&half[1]), DOTK_BAD_ARGUMENT);
    assert_message("release");
    test_alloc_install(&alloc);
    void *const block = dk_alloc(1000);
    assert_int_equal(alloc.requests, 1);
    assert_int_equal(alloc.blocks, 1);
    assert_true(alloc.largest >= 1000);
    dk_free(block);
    assert_int_equal(alloc.blocks, 0);
    alloc.fail_at = 2;
    assert_null(dk_alloc(1));
    test_alloc_remove();
}

/* The same requests again after a reset cost no allocation and never overlap. */
static void
test_arena(void **state)
{
    struct test_alloc alloc;
    struct dk_arena arena = {0};
    size_t requests = 0;

    (void)state;
    test_alloc_install(&alloc);
    for (int round = 0; round < 4; round++) {
        char *pieces[100];
        for (size_t i = 0; i < 100; i++) {
            pieces[i] = dk_arena_alloc(&arena, i * 37);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % DK_LINE, 0);
            memset(pieces[i], (int)i, i * 37);
        }
        for (size_t i = 0; i < 100; i++) {
            for (size_t j = 0; j < i * 37; j++)
                assert_int_equal(pieces[i][j], (char)i);
        }
        dk_arena_reset(&arena);
        if (round == 0)
            requests = alloc.requests;
        assert_int_equal(alloc.requests, requests);
        assert_int_equal(alloc.blocks, 1);
    }
    dk_arena_release(&arena);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
}

/* An arena that could not get its one big block goes on with what it gets later. */
static void
test_arena_without_memory(void **state)
{
    struct test_alloc alloc;
    struct dk_arena arena = {0};

    (void)state;
    test_alloc_install(&alloc);
    assert_non_null(dk_arena_alloc(&arena, 100));
    assert_non_null(dk_arena_alloc(&arena, 1000));
    alloc.fail_at = alloc.requests + 1;
    dk_arena_reset(&arena);
    assert_int_equal(alloc.blocks, 0);
    assert_non_null(dk_arena_alloc(&arena, 100));
    alloc.fail_at = alloc.requests + 1;
    assert_null(dk_arena_alloc(&arena, 1000));
    assert_non_null(dk_arena_alloc(&arena, 1000));
    dk_arena_release(&arena);
    assert_int_equal(alloc.blocks, 0);
    test_alloc_remove();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_sizes_that_overflow),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_without_memory),
    };
    return cmocka_run_group_tests_name("platform/memory", tests, NULL, NULL);
}
