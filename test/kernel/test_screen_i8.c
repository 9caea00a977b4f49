/*
 * test_screen_i8.c - bounds from codes of a byte, and of four bits: every instruction set, against
 * whole numbers
 *
 * With scales of 1 a bound is the integer product alone, and shifting its start by the product of
 * one key makes that key's bound 0 and the sign of all others exact, however large they are. Codes
 * and queries end at pages that fault. What the bound is worth is tested in test/codec.
 */
#include "support.h"

#include <float.h>

#include "kernel/kernel.h"

enum { DIM_MOST = 1100, GROUP_BYTES = DK_PANEL * DK_I8_GROUP };

/* The two kinds of codes. */
static const struct form {
    const char *name;
    size_t group; /* dimensions */
    int most, least, step, offset;
} forms[] = {{"i8", DK_I8_GROUP, 127, -127, 1, 128}, {"i4", DK_I4_GROUP, 15, -15, 2, 15}};

enum { FORMS = sizeof forms / sizeof *forms };

/* A panel and its queries, as the kernel wants them. */
struct screen {
    const struct form *form;
    size_t dim, groups;
    struct test_guarded codes_guarded, query_guarded[DK_I8_QUERIES];
    uint8_t *codes;
    int8_t *query[DK_I8_QUERIES];
};

enum codes { RANDOM, EXTREME, MOST, LEAST, CODES };

/* One code of a key (of this form) or a query (of a byte). */
static int
code(const struct form *form, uint64_t *seed, enum codes kind)
{
    const int levels = (form->most - form->least) / form->step + 1;

    switch (kind) {
    case RANDOM: return form->least + form->step * (int)test_random_below(seed, (uint64_t)levels);
    case EXTREME: return test_random_below(seed, 2) == 0 ? form->least : form->most;
    case MOST: return form->most;
    default: return form->least;
    }
}

/* Where element d of key r lies: which byte, and by how many bits it is shifted. */
static size_t
place(const struct form *form, size_t d, size_t r, int *shift)
{
    const size_t j = d % form->group;

    *shift = j < DK_I8_GROUP ? 0 : 4;
    return d / form->group * GROUP_BYTES + r * DK_I8_GROUP + j % DK_I8_GROUP;
}

static void
set_code(const struct screen *screen, size_t d, size_t r, int value)
{
    const struct form *const form = screen->form;
    const int stored = (value + form->offset) / form->step;
    int shift;
    uint8_t *const byte = screen->codes + place(form, d, r, &shift);

    if (form->group == DK_I8_GROUP)
        *byte = (uint8_t)stored;
    else
        *byte = (uint8_t)((*byte & ~(15 << shift)) | stored << shift);
}

static int
get_code(const struct screen *screen, size_t d, size_t r)
{
    const struct form *const form = screen->form;
    int shift;
    const int byte = screen->codes[place(form, d, r, &shift)];

    if (form->group == DK_I8_GROUP)
        return byte - form->offset;
    return (byte >> shift & 15) * form->step - form->offset;
}

static void
make_screen(struct screen *screen, const struct form *form, size_t dim, enum codes keys,
            enum codes queries, uint64_t *seed)
{
    const size_t groups = (dim + form->group - 1) / form->group;

    screen->form = form;
    screen->dim = dim;
    screen->groups = groups;
    screen->codes = test_guarded_alloc(&screen->codes_guarded, groups * GROUP_BYTES, true);
    memset(screen->codes, 128, groups * GROUP_BYTES);
    for (size_t d = 0; d < dim; d++) {
        for (size_t r = 0; r < DK_PANEL; r++)
            set_code(screen, d, r, code(form, seed, keys));
    }
    for (size_t q = 0; q < DK_I8_QUERIES; q++) {
        screen->query[q] = test_guarded_alloc(&screen->query_guarded[q], groups * form->group,
                                              true);
        memset(screen->query[q], 0, groups * form->group);
        for (size_t d = 0; d < dim; d++)
            screen->query[q][d] = (int8_t)code(&forms[0], seed, queries);
    }
}

static void
free_screen(struct screen *screen)
{
    test_guarded_free(&screen->codes_guarded);
    for (size_t q = 0; q < DK_I8_QUERIES; q++)
        test_guarded_free(&screen->query_guarded[q]);
}

/* c . d of every key and one query. */
static void
products(const struct screen *screen, size_t q, int32_t *out)
{
    memset(out, 0, DK_PANEL * sizeof *out);
    for (size_t d = 0; d < screen->dim; d++) {
        for (size_t r = 0; r < DK_PANEL; r++)
            out[r] += get_code(screen, d, r) * screen->query[q][d];
    }
}

static int32_t
start_of(const struct screen *screen, size_t q)
{
    int32_t sum = 0;

    for (size_t d = 0; d < screen->dim; d++)
        sum += screen->query[q][d];
    return -screen->form->offset * sum;
}

/* Calls the kernel; what lies beyond the bits it owes must stay. */
static void
run(const struct dk_kernels *kernels, const struct screen *screen, const struct dk_key_terms *key,
    size_t queries, const struct dk_query_terms *term, const float *threshold, uint64_t *above)
{
    static const uint64_t untouched = UINT64_C(0x5a5a5a5a5a5a5a5a);
    uint64_t bits[DK_I8_QUERIES + 1];

    for (size_t q = 0; q <= DK_I8_QUERIES; q++)
        bits[q] = untouched;
    dk_screen_i8_fn *const call = screen->form == &forms[0] ? kernels->screen_i8
                                                            : kernels->screen_i4;
    call(&(struct dk_screen_i8){
        .codes = screen->codes,
        .groups = screen->groups,
        .key = key,
        .queries = queries,
        .query = (const int8_t *const *)screen->query,
        .term = term,
        .threshold = threshold,
        .above = bits,
        .ahead = (const char *)screen->codes + screen->groups * GROUP_BYTES, /* not readable */
        .ahead_lines = screen->dim % 7 * 20,
    });
    for (size_t q = queries; q <= DK_I8_QUERIES; q++)
        assert_int_equal(bits[q], untouched);
    memcpy(above, bits, queries * sizeof *above);
}

/* Query q's bounds are shifted so that key 'target(q)' has 0: compares all of them with it. */
static void
assert_products(const struct screen *screen, size_t queries, size_t target)
{
    struct dk_key_terms key = {0};
    struct dk_query_terms term[DK_I8_QUERIES];
    int32_t product[DK_I8_QUERIES][DK_PANEL];
    const struct dk_kernels *kernels;

    for (size_t r = 0; r < DK_PANEL; r++)
        key.scale[r] = 1;
    for (size_t q = 0; q < queries; q++) {
        products(screen, q, product[q]);
        term[q] = (struct dk_query_terms){
            .start = start_of(screen, q) - product[q][(target + q) % DK_PANEL], .scale = 1};
    }
    for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
        for (int least = 0; least < 2; least++) { /* above -1 is at least 0 */
            uint64_t above[DK_I8_QUERIES];
            float threshold[DK_I8_QUERIES];
            for (size_t q = 0; q < queries; q++)
                threshold[q] = least != 0 ? -1 : 0;
            run(kernels, screen, &key, queries, term, threshold, above);
            for (size_t q = 0; q < queries; q++) {
                const int32_t zero = product[q][(target + q) % DK_PANEL];
                for (size_t r = 0; r < DK_PANEL; r++) {
                    const bool want = least != 0 ? product[q][r] >= zero : product[q][r] > zero;
                    if ((above[q] >> r & 1) != want)
                        print_error("%s, %s, dim %zu, query %zu of %zu, key %zu\n",
                                    screen->form->name, kernels->isa, screen->dim, q, queries, r);
                    assert_int_equal(above[q] >> r & 1, want);
                }
            }
        }
    }
}

static void
products_are_exact(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (size_t dim = 1; dim <= DIM_MOST; dim++) {
        struct screen screen;
        for (size_t form = 0; form < FORMS; form++) {
            make_screen(&screen, &forms[form], dim, (enum codes)(dim % 2),
                        (enum codes)(dim / 2 % 2), &seed);
            assert_products(&screen, 1 + dim % DK_I8_QUERIES, dim);
            free_screen(&screen);
        }
    }
}

/* Where 32 bits are nearly full, and where 16 would not do. */
static void
products_of_extreme_codes_are_exact(void **state)
{
    static const size_t dims[] = {1, 4, 256, 1100, DK_I8_DIM_MAX};
    uint64_t seed = 2;

    (void)state;
    for (size_t at = 0; at < sizeof dims / sizeof *dims; at++) {
        for (size_t i = 0; i < (size_t)FORMS * CODES * CODES; i++) {
            const size_t kind = i / FORMS;
            struct screen screen;
            if (dims[at] == DK_I8_DIM_MAX && kind % 3 != 1)
                continue;
            make_screen(&screen, &forms[i % FORMS], dims[at], (enum codes)(kind / CODES),
                        (enum codes)(kind % CODES), &seed);
            assert_products(&screen, dims[at] == DK_I8_DIM_MAX ? 2 : DK_I8_QUERIES, kind);
            free_screen(&screen);
        }
    }
}

/* What a bound is, in double; *size is what its roundings are relative to. */
static double
bound(const struct dk_query_terms *term, const struct dk_key_terms *key, size_t r, int32_t product,
      double *size)
{
    const double coded = (double)product * term->scale * key->scale[r];
    const double residual = (double)term->residual * key->residual[r];
    const double norm = (double)term->norm * key->norm[r];

    *size = fabs(coded) + residual + norm + fabs((double)key->offset[r]);
    return coded + residual + norm + key->offset[r];
}

static void
bounds_have_every_term(void **state)
{
    enum { ROUNDS = 300 };
    uint64_t seed = 3;
    size_t decided = 0, set = 0, all = 0;

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        const size_t dim = 1 + test_random_below(&seed, 100), queries = 1 + round % DK_I8_QUERIES;
        const struct dk_kernels *kernels;
        struct screen screen;
        struct dk_key_terms key;
        struct dk_query_terms term[DK_I8_QUERIES];
        float threshold[DK_I8_QUERIES];
        make_screen(&screen, &forms[round / DK_I8_QUERIES % FORMS], dim, RANDOM, RANDOM, &seed);
        for (size_t r = 0; r < DK_PANEL; r++) {
            key.scale[r] = 1 + 0.5f * test_random_float(&seed);
            key.residual[r] = 2 + test_random_float(&seed);
            key.norm[r] = 2 + test_random_float(&seed);
            key.offset[r] = 3e4f * test_random_float(&seed);
        }
        for (size_t q = 0; q < queries; q++) {
            term[q] = (struct dk_query_terms){.start = start_of(&screen, q),
                                              .scale = 1 + 0.5f * test_random_float(&seed),
                                              .residual = 1e4f * (2 + test_random_float(&seed)),
                                              .norm = 1e4f * (2 + test_random_float(&seed))};
            threshold[q] = 8e4f + 1e5f * test_random_float(&seed);
        }
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            uint64_t above[DK_I8_QUERIES];
            run(kernels, &screen, &key, queries, term, threshold, above);
            for (size_t q = 0; q < queries; q++) {
                int32_t product[DK_PANEL];
                products(&screen, q, product);
                for (size_t r = 0; r < DK_PANEL; r++, all++) {
                    double size;
                    const double exact = bound(&term[q], &key, r, product[r], &size);
                    const double over = exact - threshold[q];
                    if (fabs(over) <= 9 * 0x1p-24 * size)
                        continue;
                    decided++;
                    set += above[q] >> r & 1;
                    assert_int_equal(above[q] >> r & 1, over > 0);
                }
            }
        }
        free_screen(&screen);
    }
    assert_true(decided > all - all / 100);
    assert_true(set > decided / 4 && set < decided - decided / 4);
}

/* A bound that is no number, or infinite, lets a key pass; minus infinity lets all pass. */
static void
assert_not_a_number_passes(const struct form *form)
{
    enum { NAN_AT = 5, INFINITE_AT = 37, LOST_AT = 63 };
    const uint64_t odd = UINT64_C(1) << NAN_AT | UINT64_C(1) << INFINITE_AT |
                         UINT64_C(1) << LOST_AT;
    const struct dk_kernels *kernels;
    uint64_t seed = 4;
    struct screen screen;
    struct dk_key_terms key = {0};
    struct dk_query_terms term[DK_I8_QUERIES];
    const float threshold[DK_I8_QUERIES] = {
        FLT_MAX,    -INFINITY, NAN, 0, /* as all bounds are, but for the odd ones */
        -0x1p-149f, 0,
    };

    make_screen(&screen, form, 9, MOST, MOST, &seed);
    key.norm[NAN_AT] = NAN;
    key.norm[INFINITE_AT] = INFINITY;
    key.norm[LOST_AT] = INFINITY;
    key.offset[LOST_AT] = -INFINITY;
    for (size_t q = 0; q < DK_I8_QUERIES; q++)
        term[q] = (struct dk_query_terms){.start = start_of(&screen, q), .scale = 1, .norm = 1};
    term[5].norm = NAN;
    for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
        uint64_t above[DK_I8_QUERIES];
        run(kernels, &screen, &key, DK_I8_QUERIES, term, threshold, above);
        assert_int_equal(above[0], odd);
        assert_int_equal(above[1], ~UINT64_C(0));
        assert_int_equal(above[2], ~UINT64_C(0));
        assert_int_equal(above[3], odd);
        assert_int_equal(above[4], ~UINT64_C(0));
        assert_int_equal(above[5], ~UINT64_C(0));
    }
    free_screen(&screen);
}

static void
what_is_not_a_number_passes(void **state)
{
    (void)state;
    for (size_t form = 0; form < FORMS; form++)
        assert_not_a_number_passes(&forms[form]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_exact),
        cmocka_unit_test(products_of_extreme_codes_are_exact),
        cmocka_unit_test(bounds_have_every_term),
        cmocka_unit_test(what_is_not_a_number_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
