/* test_rotary.c - rotary position embedding against long double, in every option */
#include "support.h"

#include <dotk/attention.h>
#include <dotk/rotary.h>

#include "calls.h"
#include "contexts.h"

/* ------------------------------------------------------------------------- */
/*  Reference                                                                */
/* ------------------------------------------------------------------------- */

/* Of the header's bound. */
static const double any_angle = 0x1p-40, per_position = 0x1p-50;

struct problem {
    dotk_rotary_shape shape;
    dotk_rotary_options options;
    size_t numbers;
    float *x, *out;
};

static struct problem
make(uint64_t seed, size_t batch, size_t heads, size_t tokens, size_t width)
{
    struct problem p = {{batch, heads, tokens, width}, DOTK_ROTARY_OPTIONS_INIT, 0, NULL, NULL};

    p.numbers = batch * heads * tokens * width;
    p.x = malloc(p.numbers * sizeof *p.x + 1);
    p.out = malloc(p.numbers * sizeof *p.out + 1);
    test_require(p.x != NULL && p.out != NULL, "malloc");
    test_random_normals(&seed, p.x, p.numbers);
    return p;
}

static void
drop(struct problem *p)
{
    free(p->x);
    free(p->out);
}

/* What a number of a row should be, and how far off it may be (with one more rounding of 'unit').
 */
static double
reference(const struct problem *p, const float *row, size_t index, int64_t position, double unit,
          double *bound)
{
    const dotk_rotary_options *const o = &p->options;
    const size_t turned = o->rotary_width != 0 ? o->rotary_width : p->shape.width;
    const size_t pairs = turned / 2;

    if (index >= turned) {
        *bound = 0;
        return row[index];
    }
    const size_t i = o->interleaved ? index / 2 : index % pairs;
    const bool second = o->interleaved ? index % 2 == 1 : index >= pairs;
    const double x = row[o->interleaved ? 2 * i : i];
    const double y = row[o->interleaved ? 2 * i + 1 : i + pairs];
    long double cosine, sine, slack = any_angle;
    if (o->cosines != NULL) {
        cosine = o->cosines[(size_t)position * pairs + i];
        sine = o->sines[(size_t)position * pairs + i];
    } else {
        const long double theta = o->theta != 0 ? o->theta : 10000;
        const long double frequency = o->frequencies != NULL ? o->frequencies[i]
                                                             : powl(theta, -2.0L * i / turned);
        double most = 1;
        for (size_t j = 0; o->frequencies != NULL && j < pairs; j++)
            most = fmax(most, fabs((double)o->frequencies[j]));
        cosine = cosl((long double)position * frequency);
        sine = sinl((long double)position * frequency);
        slack += per_position * most * fabs((double)position);
    }
    if (o->inverse)
        sine = -sine;
    const double exact = (double)(second ? y * cosine + x * sine : x * cosine - y * sine);
    *bound = 0x1p-24 * fabs(exact) + (double)slack * (fabs(x) + fabs(y));
    *bound += unit * (fabs(exact) + *bound);
    return exact;
}

static int64_t
position_of(const struct problem *p, size_t b, size_t t)
{
    return p->options.positions != NULL ? p->options.positions[b * p->shape.tokens + t]
                                        : p->options.offset + (int64_t)t;
}

static size_t
place(const dotk_layout *layout, const dotk_rotary_shape *shape, size_t b, size_t h, size_t t)
{
    const size_t row = layout->row != 0 ? layout->row : shape->width;
    const size_t head = layout->head != 0 ? layout->head : shape->tokens * row;
    return b * (layout->batch != 0 ? layout->batch : shape->heads * head) + h * head + t * row;
}

static void
check(const struct problem *p, const float *x, const float *out, double unit)
{
    for (size_t b = 0; b < p->shape.batch; b++) {
        for (size_t h = 0; h < p->shape.heads; h++) {
            for (size_t t = 0; t < p->shape.tokens; t++) {
                const float *const in = x + place(&p->options.input, &p->shape, b, h, t);
                const float *const got = out + place(&p->options.output, &p->shape, b, h, t);
                for (size_t d = 0; d < p->shape.width; d++) {
                    double bound;
                    const double want = reference(p, in, d, position_of(p, b, t), unit, &bound);
                    if (!(fabs(got[d] - want) <= bound))
                        print_error("b %zu h %zu t %zu d %zu: %.9g, not %.9g +- %.2g\n", b, h, t, d,
                                    (double)got[d], want, bound);
                    assert_true(fabs(got[d] - want) <= bound);
                }
            }
        }
    }
}

static void
turn(dotk_context *context, struct problem *p)
{
    assert_ok(dotk_rotary(context, &p->shape, p->x, &p->options, p->out));
}

/* ------------------------------------------------------------------------- */
/*  Values                                                                   */
/* ------------------------------------------------------------------------- */

/* The example of the RoFormer paper's formula, by hand. */
static void
test_by_hand(void **state)
{
    const dotk_rotary_shape shape = {1, 1, 2, 4};
    const float x[2][4] = {{1, 2, 3, 4}, {1, 2, 3, 4}};
    dotk_rotary_options options = DOTK_ROTARY_OPTIONS_INIT;
    float out[2][4];

    (void)state;
    assert_ok(dotk_rotary(NULL, &shape, x, NULL, out));
    assert_memory_equal(out[0], x[0], sizeof x[0]); /* position 0 */
    assert_float_equal(out[1][0], cos(1) - 3 * sin(1), 1e-6);
    assert_float_equal(out[1][2], 3 * cos(1) + sin(1), 1e-6);
    assert_float_equal(out[1][1], 2 * cos(0.01) - 4 * sin(0.01), 1e-6);
    options.interleaved = 1;
    assert_ok(dotk_rotary(NULL, &shape, x, &options, out));
    assert_float_equal(out[1][0], cos(1) - 2 * sin(1), 1e-6);
    assert_float_equal(out[1][1], 2 * cos(1) + sin(1), 1e-6);
    assert_float_equal(out[1][3], 4 * cos(0.01) + 3 * sin(0.01), 1e-6);
}

static void
test_widths(void **state)
{
    static const size_t widths[] = {1, 2, 3, 4, 6, 31, 32, 64, 80, 128, 130};
    uint64_t seed = 1;

    (void)state;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (int variant = 0; variant < 8; variant++) {
            struct problem p = make(seed++, 2, 3, 5, widths[w]);
            /* an odd width turns all but one */
            p.options.rotary_width = variant & 1 ? (widths[w] / 4) * 2 : widths[w] & ~(size_t)1;
            p.options.interleaved = variant >> 1 & 1;
            p.options.inverse = variant >> 2 & 1;
            p.options.offset = 7;
            if (p.options.rotary_width != 0) {
                turn(NULL, &p);
                check(&p, p.x, p.out, 0);
            }
            drop(&p);
        }
    }
}

static void
test_thetas_and_frequencies(void **state)
{
    static const double thetas[] = {1, 2, 500000, 1e6};
    static const float frequencies[] = {0, 1, -0.25f, 3e-5f, 100, 7, 0x1p20f, 0.5f};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct problem p = make(i, 1, 2, 33, 16);
        p.options.theta = thetas[i];
        turn(NULL, &p);
        check(&p, p.x, p.out, 0);
        drop(&p);
    }
    struct problem p = make(9, 1, 2, 33, 16);
    p.options.frequencies = frequencies;
    p.options.offset = -16;
    turn(NULL, &p);
    check(&p, p.x, p.out, 0);
    drop(&p);
}

/* f32 angles are wrong by 0.06 at 10^6; here the f32 of the answer is the limit until 2^26. */
static void
test_large_positions(void **state)
{
    static const int64_t positions[] = {1000000, 999983,      1 << 24,     (1 << 26) - 5, -1000000,
                                        1 << 30, 0x7fffffffl, 0x80000000l, -0x80000000l};
    enum { COUNT = sizeof positions / sizeof *positions };
    struct problem p = make(1, 1, 2, COUNT, 128);
    double worst = 0;

    (void)state;
    p.options.positions = positions;
    turn(NULL, &p);
    check(&p, p.x, p.out, 0);
    for (size_t d = 0; d < 128; d++) { /* at 10^6, in f32's last places */
        double bound;
        worst = fmax(worst, fabs(p.out[d] - reference(&p, p.x, d, 1000000, 0, &bound)));
    }
    assert_true(worst < 3e-7);
    drop(&p);
}

static void
test_tables(void **state)
{
    enum { ROWS = 9, PAIRS = 3 };
    static const int64_t positions[] = {8, 0, 3, 3, 5, 1, 7, 8};
    float cosines[ROWS * PAIRS], sines[ROWS * PAIRS];
    uint64_t seed = 5;

    (void)state;
    test_random_floats(&seed, cosines, ROWS * PAIRS); /* any numbers: they are the caller's */
    test_random_floats(&seed, sines, ROWS * PAIRS);
    for (int variant = 0; variant < 8; variant++) {
        struct problem p = make(11, 2, 3, 4, 8);
        p.options.cosines = cosines;
        p.options.sines = sines;
        p.options.table_rows = ROWS;
        p.options.rotary_width = 2 * PAIRS;
        p.options.interleaved = variant & 1;
        p.options.inverse = variant >> 1 & 1;
        p.options.positions = variant & 4 ? positions : NULL;
        p.options.offset = variant & 4 ? 0 : 5;
        turn(NULL, &p);
        check(&p, p.x, p.out, 0);
        drop(&p);
    }
}

/* (B, T, H, D) in, padded (B, H, T, D) out, and in place. */
static void
test_layouts(void **state)
{
    enum { B = 2, H = 3, T = 7, D = 10, ROOM = B * H * T * (D + 3) };
    struct problem p = make(3, B, H, T, D);
    float padded[ROOM];

    (void)state;
    for (size_t i = 0; i < ROOM; i++)
        padded[i] = 77;
    p.options.rotary_width = 8;
    p.options.input = (dotk_layout){T * H * D, D, H * D};
    p.options.output = (dotk_layout){H * T * (D + 3), T * (D + 3), D + 3};
    assert_ok(dotk_rotary(NULL, &p.shape, p.x, &p.options, padded));
    check(&p, p.x, padded, 0);
    for (size_t i = 0; i < ROOM; i++)
        assert_true(i % (D + 3) < D || padded[i] == 77);

    p.options.output = p.options.input;
    memcpy(p.out, p.x, p.numbers * sizeof *p.x);
    assert_ok(dotk_rotary(NULL, &p.shape, p.out, &p.options, p.out));
    check(&p, p.x, p.out, 0);

    /* Turned and turned back. */
    p.options.inverse = 1;
    assert_ok(dotk_rotary(NULL, &p.shape, p.out, &p.options, p.out));
    for (size_t i = 0; i < p.numbers; i++)
        assert_float_equal(p.out[i], p.x[i], 1e-6);
    drop(&p);
}

/* Values that f16 and bf16 have; the answer is the f32's, rounded to the type. */
static void
test_halves(void **state)
{
    enum { N = 2 * 2 * 3 * 16 };

    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct problem p = make((uint64_t)bf16, 2, 2, 3, 16);
        uint16_t x[N], out[N];
        for (size_t i = 0; i < N; i++) { /* multiples of 2^-4 below 8 are in both types */
            p.x[i] = truncf(fminf(fmaxf(p.x[i], -3), 3) * 16) / 16;
            uint32_t bits;
            memcpy(&bits, &p.x[i], sizeof bits);
            if (bf16)
                x[i] = (uint16_t)(bits >> 16);
            else
                x[i] = p.x[i] == 0 ? (uint16_t)(bits >> 16)
                                   : (uint16_t)((bits >> 16 & 0x8000u) |
                                                ((bits & 0x7fffffffu) - (112u << 23)) >> 13);
        }
        p.options.store = bf16 ? DOTK_STORE_BF16 : DOTK_STORE_F16;
        p.options.rotary_width = 12;
        p.options.offset = 1000000;
        assert_ok(dotk_rotary(two, &p.shape, x, &p.options, out));
        for (size_t i = 0; i < N; i++) {
            if (bf16) {
                const uint32_t bits = (uint32_t)out[i] << 16;
                memcpy(&p.out[i], &bits, sizeof bits);
            } else {
                const int exponent = out[i] >> 10 & 31;
                const float size = exponent == 0
                                       ? ldexpf((float)(out[i] & 1023), -24)
                                       : ldexpf((float)(out[i] & 1023) + 1024, exponent - 25);
                p.out[i] = out[i] & 0x8000 ? -size : size;
            }
        }
        check(&p, p.x, p.out, bf16 ? 0x1p-8 : 0x1p-11 + 0x1p-24);
        for (size_t i = 0; i < N; i++)
            assert_true(i % 16 < 12 || out[i] == x[i]);
        drop(&p);
    }
}

/* A score of a turned query and a turned key depends on the distance of their positions only. */
static void
test_relative(void **state)
{
    enum { D = 64 };
    const dotk_rotary_shape shape = {1, 1, 1, D};
    dotk_rotary_options options = DOTK_ROTARY_OPTIONS_INIT;
    uint64_t seed = 2;
    float q[D], k[D], at_q[D], at_k[D];
    double first = 0;

    (void)state;
    test_random_normals(&seed, q, D);
    test_random_normals(&seed, k, D);
    for (int64_t start = 0; start < 1000000; start += 99991) {
        options.offset = start + 17;
        assert_ok(dotk_rotary(NULL, &shape, q, &options, at_q));
        options.offset = start;
        assert_ok(dotk_rotary(NULL, &shape, k, &options, at_k));
        const double score = test_dot(at_q, at_k, D, NULL);
        if (start == 0)
            first = score;
        assert_float_equal(score, first, 2e-5);
    }
}

/* ------------------------------------------------------------------------- */
/*  Bits, memory, arguments                                                  */
/* ------------------------------------------------------------------------- */

/* FNV-1a of the bits of x. */
static uint64_t
checksum(const float *x, size_t count)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        for (int byte = 0; byte < 4; byte++)
            sum = (sum ^ (bits >> 8 * byte & 0xff)) * UINT64_C(0x100000001b3);
    }
    return sum;
}

/* Without libm's pow(), which has not the same bits everywhere, an answer does. */
static void
test_bits_of_any_machine(void **state)
{
    enum { D = 64 };
    struct problem p = make(4, 2, 3, 101, D);
    float frequencies[D / 2];
    uint64_t seed = 8;

    (void)state;
    test_random_floats(&seed, frequencies, D / 2);
    for (size_t i = 0; i < p.numbers; i++)
        p.x[i] = test_random_float(&seed);
    p.options.frequencies = frequencies;
    p.options.offset = 123456;
    turn(two, &p);
    assert_int_equal(checksum(p.out, p.numbers), UINT64_C(0x9c3b4e0874d17af2));
    drop(&p);
}

static void
test_bits(void **state)
{
    struct problem p = make(4, 3, 8, 401, 80);
    float *const alone = malloc(p.numbers * sizeof *alone);
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_context *portable;

    (void)state;
    test_require(alone != NULL, "malloc");
    p.options.offset = 5000;
    turn(NULL, &p);
    memcpy(alone, p.out, p.numbers * sizeof *alone);
    dotk_context *const contexts[] = {one, two, four};
    for (size_t i = 0; i < 3; i++) {
        memset(p.out, 0, p.numbers * sizeof *p.out);
        turn(contexts[i], &p);
        assert_memory_equal(alone, p.out, p.numbers * sizeof *alone);
    }
    options.isa = "portable";
    assert_ok(dotk_context_create(&options, &portable));
    turn(portable, &p);
    dotk_context_destroy(portable);
    assert_memory_equal(alone, p.out, p.numbers * sizeof *alone);

    /* One token of it, as decoding asks for it. */
    struct problem q = p;
    q.shape = (dotk_rotary_shape){1, 1, 1, 80};
    q.options.offset = 5400;
    q.x = p.x + 400 * 80;
    float out[80];
    assert_ok(dotk_rotary(NULL, &q.shape, q.x, &q.options, out));
    assert_memory_equal(out, alone + 400 * 80, sizeof out);
    free(alone);
    drop(&p);
}

static dotk_status
call_rotary(dotk_context *context, void *user)
{
    struct problem *const p = user;
    return dotk_rotary(context, &p->shape, p->x, &p->options, p->out);
}

static void
test_memory(void **state)
{
    struct problem p = make(4, 1, 2, 40, 16);

    (void)state;
    assert_true(test_call_fail_each(call_rotary, &p) > 0);
    test_call_warm(1, call_rotary, &p);
    drop(&p);
}

static void
test_empty(void **state)
{
    const size_t sizes[][3] = {{0, 1, 1}, {1, 0, 1}, {1, 1, 0}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const dotk_rotary_shape shape = {sizes[i][0], sizes[i][1], sizes[i][2], 4};
        assert_ok(dotk_rotary(NULL, &shape, NULL, NULL, NULL));
    }
}

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(dotk_rotary(NULL, &(p).shape, (p).x, &(p).options, (p).out),                 \
                      DOTK_BAD_ARGUMENT);                                                          \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    struct problem good = make(1, 2, 2, 3, 6), p;
    const int64_t positions[] = {0, 1, 2, 3, 4, INT64_C(0x80000001)};
    const float frequencies[] = {1, NAN, 1}, table[9] = {0};

    (void)state;
    turn(NULL, &good);
    assert_status(dotk_rotary(NULL, NULL, good.x, NULL, good.out), DOTK_BAD_ARGUMENT);
    assert_message("shape is NULL");
    p = good, p.x = NULL;
    refused(p, "x is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.shape.width = 65537;
    refused(p, "shape->width is 65537");
    p = good, p.shape.width = 5;
    refused(p, "options->rotary_width is 5");
    p = good, p.options.rotary_width = 3;
    refused(p, "options->rotary_width is 3");
    p = good, p.options.rotary_width = 8;
    refused(p, "options->rotary_width is 8");
    p = good, p.options.theta = 0.5;
    refused(p, "options->theta is 0.5");
    p = good, p.options.theta = NAN;
    refused(p, "options->theta is nan");
    p = good, p.options.frequencies = frequencies;
    refused(p, "options->frequencies[1] is nan");
    p = good, p.options.frequencies = table, p.options.theta = 100;
    refused(p, "options->theta is 100 beside options->frequencies");
    p = good, p.options.positions = positions, p.options.offset = 1;
    refused(p, "options->offset is 1 beside options->positions");
    p = good, p.options.store = DOTK_STORE_INT8;
    refused(p, "options->store is 3");
    p = good, p.options.positions = positions;
    refused(p, "options->positions of token 5 is 2147483649");
    p = good, p.options.offset = -(INT64_C(1) << 31) - 1;
    refused(p, "options->offset of token 0 is -2147483649");
    p = good, p.options.offset = (INT64_C(1) << 31) - 1;
    refused(p, "options->offset of token 2 is 2147483649");
    p = good, p.options.cosines = table;
    refused(p, "options->sines is NULL");
    p = good, p.options.sines = table;
    refused(p, "options->cosines is NULL");
    p = good, p.options.cosines = p.options.sines = table, p.options.table_rows = 2;
    refused(p, "options->offset of token 2 is 2: the tables have 2 rows");
    p = good, p.options.cosines = p.options.sines = table, p.options.table_rows = 3;
    p.options.offset = -1;
    refused(p, "options->offset of token 0 is -1: the tables have 3 rows");
    p.options.offset = 0;
    p.options.theta = 100;
    refused(p, "options->theta is set beside options->cosines");
    p = good, p.options.cosines = p.options.sines = table, p.options.table_rows = SIZE_MAX / 4;
    refused(p, "options->table_rows is");
    p = good, p.options.input.row = 5;
    refused(p, "options->input.row is 5");
    p = good, p.options.output.head = 3;
    refused(p, "options->output.head is 3");
    p = good, p.options.input.row = 7;
    refused(p, "options->input.head is 0 in strides of 0, 0, 7");
    p = good, p.options.output = (dotk_layout){0, 18, 6};
    refused(p, "options->output.batch is 0 in strides of 0, 18, 6");
    p = good, p.options.output = (dotk_layout){36, 17, 6};
    refused(p, "rows of 6 would overlap");
    p = good, p.shape.tokens = SIZE_MAX / 4;
    refused(p, "overflow");
    p = good, p.options.input = (dotk_layout){SIZE_MAX / 2, 18, 6};
    refused(p, "overflow");
    p = good, p.out = p.x + 1;
    refused(p, "out overlaps x");
    p = good, p.out = p.x, p.options.output = (dotk_layout){42, 21, 7};
    refused(p, "out overlaps x");
    p = good, p.options.positions = (const int64_t *)(const void *)p.out;
    memset(p.out, 0, 6 * sizeof(int64_t));
    refused(p, "out overlaps options->positions");
    p = good, p.options.struct_size = 8;
    refused(p, "struct_size is 8");
    drop(&good);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_thetas_and_frequencies),
        cmocka_unit_test(test_large_positions),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_relative),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_bits_of_any_machine),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
