/*
 * test_half.c - f16 and bf16: every half there is, and every border between two of them
 *
 * The reference is arithmetic in double precision, in which halves and the points half-way
 * between them are exact, and the decimals that another program printed.
 */
#include "support.h"

#include "codec/half.h"

#include "float_mode.h"

static uint32_t
bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float
float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A kind of half, from its definition. */
struct kind {
    const char *name;
    int fraction_bits, bias;
    float (*to_f32)(uint16_t half);
    uint16_t (*from_f32)(float value);
    void (*to_f32_array)(const void *from, size_t count, float *out);
    void (*from_f32_array)(const float *from, size_t count, void *out);
};

static const struct kind kinds[] = {
    {"f16", 10, 15, dk_f16_to_f32, dk_f32_to_f16, dk_f16_to_f32_array, dk_f32_to_f16_array},
    {"bf16", 7, 127, dk_bf16_to_f32, dk_f32_to_bf16, dk_bf16_to_f32_array, dk_f32_to_bf16_array},
};

enum { KINDS = sizeof kinds / sizeof kinds[0], HALVES = 65536 };

/* The bits of +infinity; larger ones, less the sign, are NaN. */
static uint32_t
infinity_of(const struct kind *kind)
{
    return 0x7fffu >> kind->fraction_bits << kind->fraction_bits;
}

/* The value of a half that is not negative; infinity has the one that would come next. */
static double
value_of(const struct kind *kind, uint32_t half)
{
    const int exponent = (int)(half >> kind->fraction_bits);
    const uint32_t fraction = half & ((1u << kind->fraction_bits) - 1);
    const uint32_t whole = exponent > 0 ? fraction | 1u << kind->fraction_bits : fraction;

    return ldexp(whole, (exponent > 0 ? exponent : 1) - kind->bias - kind->fraction_bits);
}

static void
test_every_half_to_f32(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const struct kind *const kind = &kinds[k];
        const uint32_t infinity = infinity_of(kind);
        for (uint32_t half = 0; half < HALVES; half++) {
            const uint32_t size = half & 0x7fff, sign = half >> 15 << 31;
            const float found = kind->to_f32((uint16_t)half);
            if (size > infinity) {
                /* The payload moves up; f16 becomes quiet, bf16 is left alone. */
                const uint32_t quiet = kind->bias == 15 ? 0x00400000 : 0;
                const uint32_t payload = (size - infinity) << (23 - kind->fraction_bits);
                assert_int_equal(bits_of(found), sign | 0x7f800000 | payload | quiet);
                continue;
            }
            const float expected = size == infinity ? INFINITY : (float)value_of(kind, size);
            if (bits_of(found) != (sign | bits_of(expected)))
                fail_msg("%s 0x%04x is %a, not %a", kind->name, half, (double)found,
                         (double)expected);
        }
    }
}

static void
test_every_half_and_back(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const uint32_t infinity = infinity_of(&kinds[k]);
        for (uint32_t half = 0; half < HALVES; half++) {
            const bool nan = (half & 0x7fff) > infinity;
            const uint32_t quiet = nan ? 1u << (kinds[k].fraction_bits - 1) : 0;
            assert_int_equal(kinds[k].from_f32(kinds[k].to_f32((uint16_t)half)), half | quiet);
        }
    }
}

static void
check_rounding(const struct kind *kind, double value, uint32_t expected)
{
    for (int sign = 0; sign < 2; sign++) {
        const float x = sign ? -(float)value : (float)value;
        const uint16_t found = kind->from_f32(x);
        if (found != (expected | (uint32_t)sign << 15))
            fail_msg("%a as %s is 0x%04x, not 0x%04x", (double)x, kind->name, found, expected);
    }
}

/*
 * Between each half and the next: the point half-way goes to the even one, the f32 below it to the
 * lower and the one above to the upper. Rounding never decreases, so that is all there is to know.
 */
static void
test_every_border(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const struct kind *const kind = &kinds[k];
        for (uint32_t half = 0; half < infinity_of(kind); half++) {
            const double lower = value_of(kind, half), upper = value_of(kind, half + 1);
            const double middle = (lower + upper) / 2;
            assert_true(middle == (double)(float)middle);
            check_rounding(kind, middle, half + (half & 1));
            check_rounding(kind, (double)nextafterf((float)middle, 0), half);
            check_rounding(kind, (double)nextafterf((float)middle, INFINITY), half + 1);
        }
        check_rounding(kind, (double)INFINITY, infinity_of(kind));
        check_rounding(kind, 3.4028234663852886e38, infinity_of(kind));
    }
    assert_int_equal(dk_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(dk_f32_to_f16(65520), 0x7c00);
}

/* Every f32 is a NaN or not, as it was; payloads that f16 cannot hold do not become infinity. */
static void
test_nan(void **state)
{
    (void)state;
    for (uint32_t payload = 1; payload < 0x800000; payload += payload < 0x4000 ? 1 : 4093) {
        for (uint32_t sign = 0; sign < 2; sign++) {
            const float nan = float_of(sign << 31 | 0x7f800000 | payload);
            const uint32_t f16 = dk_f32_to_f16(nan), bf16 = dk_f32_to_bf16(nan);
            assert_int_equal(f16, sign << 15 | 0x7e00 | payload >> 13);
            assert_int_equal(bf16, sign << 15 | 0x7fc0 | payload >> 16);
        }
    }
}

/* What comes between two halves of any kind goes to the nearer. */
static void
test_random_values(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const struct kind *const kind = &kinds[k];
        for (int i = 0; i < 1000000; i++) {
            const uint32_t size = (uint32_t)test_random(&seed) & 0x7fffffff;
            if (size > 0x7f800000)
                continue;
            const double x = (double)float_of(size);
            const uint32_t found = kind->from_f32((float)x);
            assert_true(found <= infinity_of(kind));
            const double error = fabs(x - value_of(kind, found));
            assert_true(found == infinity_of(kind) ||
                        (error <= fabs(x - value_of(kind, found + 1)) &&
                         (found == 0 || error <= fabs(x - value_of(kind, found - 1)))));
        }
    }
}

/* Arrays: the same, on any boundary, and not a byte more. */
static void
test_arrays(void **state)
{
    enum { MOST = 37 };
    uint64_t seed = 7;

    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        const struct kind *const kind = &kinds[k];
        for (size_t count = 0; count <= MOST; count++) {
            struct test_guarded from_pages, out_pages;
            uint8_t *const from = test_guarded_alloc(&from_pages, 2 * count + 1, true);
            float *const out = test_guarded_alloc(&out_pages, 4 * count, true);
            float values[MOST];
            uint8_t halves[2 * MOST + 2];
            for (size_t shift = 0; shift < 2; shift++) {
                uint8_t *const bytes = from + 1 - shift;
                for (size_t i = 0; i < 2 * count; i++)
                    bytes[i] = (uint8_t)test_random(&seed);
                kind->to_f32_array(bytes, count, out);
                for (size_t i = 0; i < count; i++) {
                    const uint16_t half = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
                    values[i] = kind->to_f32(half);
                    assert_memory_equal(&out[i], &values[i], sizeof(float));
                }
                memset(halves, 0xab, sizeof halves);
                kind->from_f32_array(out, count, halves + 1);
                assert_int_equal(halves[0], 0xab);
                assert_int_equal(halves[2 * count + 1], 0xab);
                for (size_t i = 0; i < count; i++) {
                    const uint16_t half = kind->from_f32(values[i]);
                    assert_int_equal(halves[2 * i + 1], half & 0xff);
                    assert_int_equal(halves[2 * i + 2], half >> 8);
                }
            }
            test_guarded_free(&from_pages);
            test_guarded_free(&out_pages);
        }
    }
}

/* A caller that flushes denormals and rounds down gets the same halves. */
static void
test_float_mode(void **state)
{
    (void)state;
    const float small = 0x1.8p-24f, denormal = float_of(0x00018000), above = 1 + 0x1.8p-10f;
    const unsigned before = test_mode_get();
    test_mode_set(before | TEST_MODE_FLUSH | TEST_MODE_DOWN);
    const uint16_t f16 = dk_f32_to_f16(small), bf16 = dk_f32_to_bf16(denormal);
    const uint16_t up = dk_f32_to_f16(above);
    const float f32 = dk_f16_to_f32(1), bf32 = dk_bf16_to_f32(1);
    test_mode_set(before);
    assert_int_equal(f16, 2);
    assert_int_equal(bf16, 2);
    assert_int_equal(up, 0x3c02);
    assert_true(f32 == 0x1p-24f);
    assert_int_equal(bits_of(bf32), 0x00010000);
}

/* All 65,536 as another program printed them. */
static void
test_published_decimals(void **state)
{
    char path[TEST_PATH], line[128], text[64];
    size_t count = 0;

    (void)state;
    if (test_data_path(path, "f16/float16_conversion.txt") == NULL)
        skip();
    FILE *const file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned half;
        assert_int_equal(sscanf(line, "%x, %63s", &half, text), 2);
        const float found = dk_f16_to_f32((uint16_t)half);
        if (strcmp(text, "nan") == 0) {
            assert_true(isnan(found));
        } else {
            const float expected = strcmp(text, "infinity") == 0       ? INFINITY
                                   : strcmp(text, "neg_infinity") == 0 ? -INFINITY
                                                                       : strtof(text, NULL);
            assert_int_equal(bits_of(found), bits_of(expected));
            assert_int_equal(dk_f32_to_f16(expected), half);
        }
        count++;
    }
    fclose(file);
    assert_int_equal(count, HALVES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half_to_f32), cmocka_unit_test(test_every_half_and_back),
        cmocka_unit_test(test_every_border),      cmocka_unit_test(test_nan),
        cmocka_unit_test(test_random_values),     cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_float_mode),        cmocka_unit_test(test_published_decimals),
    };
    return cmocka_run_group_tests_name("codec/half", tests, NULL, NULL);
}
