/*
 * test_widen.c - f16, bf16 and codes of a byte, to f32 and back: every instruction set
 *
 * Each is held bit by bit against one half after the other (kernel/half.h, which test/codec holds
 * against arithmetic), for all 65,536 halves and for every point where rounding changes its mind.
 * Vectors end, and start, at pages that fault.
 */
#include "support.h"

#include "kernel/half.h"
#include "kernel/kernel.h"

#include "float_mode.h"

enum { HALVES = 65536, MOST = 70, PANEL_STEP = DK_I8_GROUP * DK_PANEL };

typedef float widen_one(uint16_t half);
typedef uint16_t narrow_one(float value);

static widen_one *const widen_one_of[DK_HALF_KINDS] = {dk_f16_to_f32, dk_bf16_to_f32};
static narrow_one *const narrow_one_of[DK_HALF_KINDS] = {dk_f32_to_f16, dk_f32_to_bf16};

/* Widens 'count' of these; what is not what half.h says ends the test. */
static void
check_widen(const uint16_t *from, size_t count, float *out)
{
    const struct dk_kernels *kernels;

    for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
        for (size_t kind = 0; kind < DK_HALF_KINDS; kind++) {
            memset(out, 0xa5, count * sizeof *out);
            /* The second page behind 'from': a prefetch of what is not there does no harm. */
            kernels->widen->widen_half[kind](from, count, out);
            for (size_t i = 0; i < count; i++) {
                const float expected = widen_one_of[kind](from[i]);
                if (dk_bits_of(out[i]) != dk_bits_of(expected))
                    fail_msg("%s, kind %zu: 0x%04x is %a, not %a", kernels->isa, kind, from[i],
                             (double)out[i], (double)expected);
            }
        }
    }
}

static void
check_narrow(const float *from, size_t count, uint16_t *out)
{
    const struct dk_kernels *kernels;

    for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
        for (size_t kind = 0; kind < DK_HALF_KINDS; kind++) {
            memset(out, 0xa5, count * sizeof *out);
            kernels->widen->narrow_half[kind](from, count, out);
            for (size_t i = 0; i < count; i++) {
                const uint16_t expected = narrow_one_of[kind](from[i]);
                if (out[i] != expected)
                    fail_msg("%s, kind %zu: %a is 0x%04x, not 0x%04x", kernels->isa, kind,
                             (double)from[i], out[i], expected);
            }
        }
    }
}

static void
every_half(void **state)
{
    uint16_t *const halves = malloc(HALVES * sizeof *halves);
    float *const out = malloc(HALVES * sizeof *out);

    (void)state;
    for (size_t i = 0; i < HALVES; i++)
        halves[i] = (uint16_t)i;
    check_widen(halves, HALVES, out);
    free(halves);
    free(out);
}

/* Halves, the points half-way between two of them, and the f32 beside each: NaN as well. */
static void
every_border(void **state)
{
    enum { BESIDE = 3, POINTS = 2 * BESIDE };
    float *const from = malloc(HALVES * POINTS * sizeof *from);
    uint16_t *const out = malloc(HALVES * POINTS * sizeof *out);

    (void)state;
    for (size_t kind = 0; kind < DK_HALF_KINDS; kind++) {
        size_t count = 0;
        for (uint32_t half = 0; half < HALVES; half++) {
            const uint32_t lower = dk_bits_of(widen_one_of[kind]((uint16_t)half));
            const uint32_t upper = dk_bits_of(widen_one_of[kind]((uint16_t)(half + 1)));
            const uint32_t middle = lower / 2 + upper / 2 + (lower & upper & 1);
            for (uint32_t i = 0; i < BESIDE; i++) {
                from[count++] = dk_float_of(lower + i - 1);
                from[count++] = dk_float_of(middle + i - 1);
            }
        }
        check_narrow(from, count, out);
    }
    free(from);
    free(out);
}

static void
random_values(void **state)
{
    enum { COUNT = 1 << 20 };
    float *const from = malloc(COUNT * sizeof *from);
    uint16_t *const out = malloc(COUNT * sizeof *out);
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        from[i] = dk_float_of((uint32_t)test_random(&seed));
    check_narrow(from, COUNT, out);
    free(from);
    free(out);
}

/* Every count there is a different end for, between pages that fault. */
static void
nothing_beyond(void **state)
{
    uint64_t seed = 4;

    (void)state;
    for (size_t count = 0; count <= MOST; count++) {
        for (int at_end = 0; at_end < 2; at_end++) {
            struct test_guarded wide_pages, half_pages;
            float *const wide = test_guarded_alloc(&wide_pages, count * sizeof *wide, at_end != 0);
            uint16_t *const half = test_guarded_alloc(&half_pages, count * sizeof *half,
                                                      at_end != 0);
            for (size_t i = 0; i < count; i++)
                half[i] = (uint16_t)test_random(&seed);
            check_widen(half, count, wide);
            check_narrow(wide, count, half);
            test_guarded_free(&wide_pages);
            test_guarded_free(&half_pages);
        }
    }
}

/* A caller that flushes denormals and rounds down gets the same halves. */
static void
any_float_mode(void **state)
{
    (void)state;
    const unsigned before = test_mode_get();
    test_mode_set(before | TEST_MODE_FLUSH | TEST_MODE_DOWN);
    every_half(state);
    every_border(state);
    test_mode_set(before);
}

/* A vector of a panel: its codes, lane by lane, its scale, and its last bytes. */
static void
every_code(void **state)
{
    static const float scales[] = {1, 0.1f, 3.14159274f, 0x1p-120f, 1e36f, 0};
    uint64_t seed = 5;

    (void)state;
    for (size_t dim = 1; dim <= 2 * MOST; dim++) {
        const size_t groups = (dim + DK_I8_GROUP - 1) / DK_I8_GROUP;
        /* From the vector's first byte to its last: the next lanes' bytes are not there. */
        const size_t bytes = (groups - 1) * PANEL_STEP + DK_I8_GROUP;
        struct test_guarded code_pages, out_pages;
        uint8_t *const codes = test_guarded_alloc(&code_pages, bytes, true);
        float *const out = test_guarded_floats(&out_pages, dim);
        const struct dk_kernels *kernels;
        for (size_t i = 0; i < bytes; i++)
            codes[i] = (uint8_t)test_random(&seed);
        const float scale = scales[dim % (sizeof scales / sizeof *scales)];
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            memset(out, 0xa5, dim * sizeof *out);
            kernels->widen->widen_i8(codes, dim, scale, out);
            for (size_t d = 0; d < dim; d++) {
                const int code = codes[d / DK_I8_GROUP * PANEL_STEP + d % DK_I8_GROUP] - 128;
                const float expected = (float)((double)code * (double)scale);
                if (dk_bits_of(out[d]) != dk_bits_of(expected))
                    fail_msg("%s, dim %zu: element %zu, %d x %a, is %a", kernels->isa, dim, d, code,
                             (double)scale, (double)out[d]);
            }
        }
        test_guarded_free(&code_pages);
        test_guarded_free(&out_pages);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half),     cmocka_unit_test(every_border),
        cmocka_unit_test(random_values),  cmocka_unit_test(nothing_beyond),
        cmocka_unit_test(any_float_mode), cmocka_unit_test(every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
