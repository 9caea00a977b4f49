/*
 * test_i8.c - trying to break the bound of codes of one byte (doc/math/screening.md)
 *
 * Vectors of every kind that might go wrong meet each other as keys and queries. The threshold is
 * set just below the score of a key, so that the bound may not be lower by a single rounding; and
 * some are made so that Cauchy-Schwarz is an equality and nothing but the slack is left.
 */
#include "support.h"

#include <float.h>

#include "codec/i8.h"

enum {
    DIM_MOST = 4096,
    NORMAL = 0,   /* normally distributed                                                    */
    OUTLIER,      /* one element dwarfs the others                                           */
    CONSTANT,     /* all elements equal                                                      */
    SIGNS,        /* all of one size                                                         */
    SPREAD,       /* sizes from 2^-40 to 2^40                                                */
    DENORMAL,     /* below the smallest normal number                                        */
    TINY,         /* about 1e-38                                                             */
    LARGE,        /* of the largest norm that an index accepts                               */
    ONES,         /* like CONSTANT, but the first element is 0                               */
    HALVES,       /* the first element sets the scale, the others lie between two codes:     */
                  /* a residual parallel to ONES                                             */
    HALVES_BELOW, /* the same, rounded up                                                    */
    ZERO,
    BASE,        /* the same vector each time                                               */
    BESIDE_BASE, /* that vector, one element one bit off                                    */
    FAMILIES,
    QUERIES = 2 * FAMILIES,
};

static const size_t dims[] = {1, 2, 3, 4, 5, 17, 64, 255, 256, 257, 600, 1100, DIM_MOST};

/* As dk_roundings(). */
static double
roundings(size_t dim)
{
    return DK_CHAIN + (double)dim / DK_CHAIN + 4;
}

static void
scale_by(float *x, size_t dim, float factor)
{
    for (size_t d = 0; d < dim; d++)
        x[d] *= factor;
}

static void
fill(float *x, size_t dim, size_t family, uint64_t *seed)
{
    const float size = ldexpf(1 + fabsf(test_random_float(seed)), (int)(test_random(seed) % 7) - 3);
    uint64_t base_seed = dim;

    test_random_normals(seed, x, dim);
    switch (family) {
    case NORMAL: break;
    case OUTLIER: x[test_random_below(seed, dim)] *= 1e6f; break;
    case CONSTANT:
        for (size_t d = 0; d < dim; d++)
            x[d] = size;
        break;
    case SIGNS:
        for (size_t d = 0; d < dim; d++)
            x[d] = x[d] < 0 ? -size : size;
        break;
    case SPREAD:
        for (size_t d = 0; d < dim; d++)
            x[d] = ldexpf(x[d], (int)test_random_below(seed, 80) - 40);
        break;
    case DENORMAL: scale_by(x, dim, 0x1p-140f); break;
    case TINY: scale_by(x, dim, 1e-38f); break;
    case LARGE:
        scale_by(x, dim, (float)(0x1p62 / sqrt(test_dot(x, x, dim, NULL))));
        scale_by(x, dim, 1.414f);
        break;
    case ONES:
    case HALVES:
    case HALVES_BELOW:
        for (size_t d = 1; d < dim; d++)
            x[d] = family == ONES ? size : size * (family == HALVES ? 0.49999f : 0.50001f);
        x[0] = family == ONES ? 0 : size * 127;
        break;
    case ZERO: memset(x, 0, dim * sizeof *x); break;
    default:
        test_random_normals(&base_seed, x, dim);
        if (family == BESIDE_BASE) {
            const size_t d = test_random_below(seed, dim);
            x[d] = nextafterf(x[d], test_random_below(seed, 2) == 0 ? -2 * x[d] : 2 * x[d]);
        }
    }
}

/* A panel of keys, and queries, of all families; queries are scaled now and then. */
struct sides {
    size_t dim;
    float *keys, *queries; /* (64, dim), (QUERIES, dim) */
    struct dk_codes_i8 store;
    int8_t *codes; /* of one query */
};

static void *
allocate(size_t bytes)
{
    void *const block = aligned_alloc(64, (bytes + 63) / 64 * 64);
    test_require(block != NULL, "aligned_alloc");
    memset(block, 0xff, bytes);
    return block;
}

static void
make_sides(struct sides *sides, size_t dim, bool squared, uint64_t *seed)
{
    sides->dim = dim;
    sides->keys = allocate(DK_PANEL * dim * sizeof(float));
    sides->queries = allocate(QUERIES * dim * sizeof(float));
    sides->codes = allocate(dim + DK_I8_GROUP);
    sides->store = (struct dk_codes_i8){.dim = dim,
                                        .codes = allocate(dk_i8_panel_bytes(dim)),
                                        .keys = allocate(sizeof(struct dk_key_terms))};
    for (size_t r = 0; r < DK_PANEL; r++) {
        fill(sides->keys + r * dim, dim, r % FAMILIES, seed);
        dk_i8_encode_key(&sides->store, r, sides->keys + r * dim, squared);
    }
    for (size_t q = 0; q < QUERIES; q++)
        fill(sides->queries + q * dim, dim, q % FAMILIES, seed);
}

static void
free_sides(struct sides *sides)
{
    free(sides->keys);
    free(sides->queries);
    free(sides->codes);
    free(sides->store.codes);
    free(sides->store.keys);
}

static const struct dk_kernels *
strongest(void)
{
    size_t t = 0;

    while (dk_kernels_at(t + 1) != NULL)
        t++;
    return dk_kernels_at(t);
}

/* Each key's score is the threshold: that key, and all that score more, have to pass. */
static void
assert_query_passes(const struct sides *sides, enum dk_score score, size_t q)
{
    const size_t dim = sides->dim;
    const float *const query = sides->queries + q * dim;
    const int8_t *const codes[] = {sides->codes, sides->codes, sides->codes,
                                   sides->codes, sides->codes, sides->codes};
    const bool squared = score == DK_SCORE_L2;
    const struct dk_kernels *kernels;
    struct dk_query_terms encoded = {0}, term[DK_I8_QUERIES];
    float scores[DK_PANEL];

    dk_i8_encode_query(query, dim, squared, roundings(dim), sides->codes, &encoded);
    for (size_t r = 0; r < DK_PANEL; r++)
        scores[r] = strongest()->pair_f32[score](query, sides->keys + r * dim, dim);
    for (size_t first = 0; first < DK_PANEL; first += DK_I8_QUERIES) {
        float threshold[DK_I8_QUERIES], limit[DK_I8_QUERIES];
        for (size_t i = 0; i < DK_I8_QUERIES; i++) {
            threshold[i] = scores[(first + i) % DK_PANEL];
            term[i] = encoded;
            limit[i] = dk_i8_threshold(threshold[i], dim, squared, roundings(dim),
                                       test_dot(query, query, dim, NULL));
        }
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            uint64_t above[DK_I8_QUERIES];
            kernels->screen_i8(&(struct dk_screen_i8){
                .codes = sides->store.codes,
                .groups = dk_i8_panel_bytes(dim) / (DK_PANEL * DK_I8_GROUP),
                .key = sides->store.keys,
                .queries = DK_I8_QUERIES,
                .query = codes,
                .term = term,
                .threshold = limit,
                .above = above,
            });
            for (size_t i = 0; i < DK_I8_QUERIES; i++) {
                for (size_t r = 0; r < DK_PANEL; r++) {
                    if (!(scores[r] >= threshold[i]) || (above[i] >> r & 1) != 0)
                        continue;
                    print_error(
                        "%s, %s, dim %zu: family %zu scores %a with key family %zu, at least "
                        "%a, and is out\n",
                        kernels->isa, squared ? "l2" : "dot", dim, q % FAMILIES, (double)scores[r],
                        r % FAMILIES, (double)threshold[i]);
                    fail();
                }
            }
        }
    }
}

static void
no_score_is_above_its_bound(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (int score = 0; score < DK_SCORE_KINDS; score++) {
            struct sides sides;
            make_sides(&sides, dims[i], score == DK_SCORE_L2, &seed);
            for (size_t q = 0; q < QUERIES; q++)
                assert_query_passes(&sides, (enum dk_score)score, q);
            free_sides(&sides);
        }
    }
}

/* Pairs for which the exact bound is the exact score, in many sizes: roundings decide. */
static void
no_score_is_above_a_bound_that_is_exact(void **state)
{
    enum { ROUNDS = 60 };
    static const size_t tight_dims[] = {2, 3, 9, 40, 255, 300};
    uint64_t seed = 2;

    (void)state;
    for (size_t round = 0; round < ROUNDS; round++) {
        const size_t dim = tight_dims[round % (sizeof tight_dims / sizeof *tight_dims)];
        for (int score = 0; score < DK_SCORE_KINDS; score++) {
            struct sides sides;
            make_sides(&sides, dim, score == DK_SCORE_L2, &seed);
            for (size_t r = 0; r < DK_PANEL; r++) {
                fill(sides.keys + r * dim, dim, r % 2 == 0 ? ONES : HALVES + r / 2 % 2, &seed);
                dk_i8_encode_key(&sides.store, r, sides.keys + r * dim, score == DK_SCORE_L2);
            }
            for (size_t q = 0; q < 3; q++) {
                fill(sides.queries + q * dim, dim, ONES + q, &seed);
                assert_query_passes(&sides, (enum dk_score)score, q);
            }
            free_sides(&sides);
        }
    }
}

/* The bound is worth something: on vectors that codes fit, keys far below the best are out. */
static void
most_keys_of_normal_vectors_are_out(void **state)
{
    enum { DIM = 256, BEST = DK_PANEL / 2 };
    uint64_t seed = 3;

    (void)state;
    for (int score = 0; score < DK_SCORE_KINDS; score++) {
        const bool squared = score == DK_SCORE_L2;
        const struct dk_kernels *kernels;
        struct sides sides;
        struct dk_query_terms term = {0};
        float *const query = malloc(DIM * sizeof *query);
        test_require(query != NULL, "malloc");
        make_sides(&sides, DIM, squared, &seed);
        for (size_t r = 0; r < DK_PANEL; r++) {
            fill(sides.keys + r * DIM, DIM, NORMAL, &seed);
            dk_i8_encode_key(&sides.store, r, sides.keys + r * DIM, squared);
        }
        memcpy(query, sides.keys + BEST * DIM, DIM * sizeof *query);
        query[0] += 0.01f;
        const int8_t *const codes = sides.codes;
        const float best = strongest()->pair_f32[score](query, sides.keys + BEST * DIM, DIM);
        dk_i8_encode_query(query, DIM, squared, roundings(DIM), sides.codes, &term);
        const float limit = dk_i8_threshold(nextafterf(best, -INFINITY), DIM, squared,
                                            roundings(DIM), test_dot(query, query, DIM, NULL));
        for (size_t t = 0; (kernels = dk_kernels_at(t)) != NULL; t++) {
            uint64_t above = 0;
            kernels->screen_i8(&(struct dk_screen_i8){.codes = sides.store.codes,
                                                      .groups = DIM / DK_I8_GROUP,
                                                      .key = sides.store.keys,
                                                      .queries = 1,
                                                      .query = &codes,
                                                      .term = &term,
                                                      .threshold = &limit,
                                                      .above = &above});
            assert_int_equal(above, UINT64_C(1) << BEST);
        }
        free(query);
        free_sides(&sides);
    }
}

/* ------------------------------------------------------------------------- */
/*  Terms                                                                    */
/* ------------------------------------------------------------------------- */

/* Sums over a vector, its codes and its scale, with 11 bits more than the codec has. */
struct sums {
    long double norm2, residual2, coded2;
    int32_t codes;
};

static void
add_to_sums(struct sums *sums, float x, float scale, int code)
{
    const long double coded = (long double)scale * code, residual = x - coded;

    sums->norm2 += (long double)x * x;
    sums->residual2 += residual * residual;
    sums->coded2 += coded * coded;
    sums->codes += code;
}

/* At least 'least', and not by much more than 'most'. */
static void
assert_between(float term, long double least, long double most, const char *what, size_t dim,
               size_t family)
{
    if (!(term >= least && term <= most * (1 + 0x1p-17L) + 0x1p-147L))
        print_error("%s, dim %zu, family %zu: %a is not in %La .. %La\n", what, dim, family,
                    (double)term, least, most);
    assert_true(term >= least);
    assert_true(term <= most * (1 + 0x1p-17L) + 0x1p-147L);
}

static void
assert_key_terms(const struct sides *sides, size_t r, bool squared)
{
    const struct dk_key_terms *const key = sides->store.keys;
    const size_t dim = sides->dim, padded = dk_i8_panel_bytes(dim) / DK_PANEL;
    struct sums sums = {0};

    for (size_t d = 0; d < padded; d++) {
        const int code = sides->store.codes[d / DK_I8_GROUP * DK_I8_GROUP * DK_PANEL +
                                            r * DK_I8_GROUP + d % DK_I8_GROUP] -
                         128;
        const float x = d < dim ? sides->keys[r * dim + d] : 0;
        assert_true(abs(code) <= (d < dim ? 127 : 0));
        add_to_sums(&sums, x, key->scale[r], code);
        if (key->scale[r] > 0) /* the nearest code, as far as f32 can tell */
            assert_true(fabsf(x - key->scale[r] * (float)code) <= 0.5001f * key->scale[r]);
    }
    const long double residual = sqrtl(sums.residual2), norm = sqrtl(sums.norm2);
    assert_between(key->residual[r], residual, residual, "residual", dim, r % FAMILIES);
    assert_between(key->norm[r], norm, norm, "norm", dim, r % FAMILIES);
    if (squared) {
        const long double slack = 59 * 0x1p-24L;
        assert_true(key->offset[r] >= -sums.norm2 * (1 - slack));
        assert_true(key->offset[r] <= -sums.norm2 * (1 - 2 * slack) + 0x1p-147L);
    } else {
        assert_true(key->offset[r] == 0);
    }
}

static void
assert_query_terms(const struct sides *sides, size_t q, bool squared)
{
    const long double u = 0x1p-24L, slack = 64 * u, times = squared ? 2 : 1;
    const size_t dim = sides->dim;
    const float *const query = sides->queries + q * dim;
    struct dk_query_terms term;
    struct sums sums = {0};
    float most = 0;

    dk_i8_encode_query(query, dim, squared, roundings(dim), sides->codes, &term);
    for (size_t d = 0; d < dim; d++)
        most = fmaxf(most, fabsf(query[d]));
    const float scale = term.scale / (float)times;
    assert_true(scale == most / 127 || (scale == 0 && most < 0x1p-110f));
    for (size_t d = 0; d < dim; d++)
        add_to_sums(&sums, query[d], scale, sides->codes[d]);
    for (size_t d = dim; d % DK_I8_GROUP != 0; d++)
        assert_int_equal(sides->codes[d], 0);
    assert_int_equal(term.start, -128 * sums.codes);
    const long double coded = sqrtl(sums.coded2), residual = sqrtl(sums.residual2);
    const long double score = squared ? 0 : roundings(dim) * u * sqrtl(sums.norm2);
    const long double rest = times * (residual * (1 + slack) + slack * coded);
    assert_between(term.residual, times * coded * (1 + slack), times * coded * (1 + slack), "coded",
                   dim, q % FAMILIES);
    assert_between(term.norm, rest + score, rest + 1.01L * score, "query residual", dim,
                   q % FAMILIES);
}

static void
terms_are_rounded_up(void **state)
{
    uint64_t seed = 4;

    (void)state;
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (int score = 0; score < DK_SCORE_KINDS; score++) {
            const bool squared = score == DK_SCORE_L2;
            struct sides sides;
            make_sides(&sides, dims[i], squared, &seed);
            for (size_t r = 0; r < DK_PANEL; r++)
                assert_key_terms(&sides, r, squared);
            for (size_t q = 0; q < QUERIES; q++)
                assert_query_terms(&sides, q, squared);
            free_sides(&sides);
        }
    }
}

/* Of a stored key the terms are about its widened codes, which leave next to no residual. */
static void
terms_of_stored_keys_are_of_the_widened(void **state)
{
    uint64_t seed = 6;

    (void)state;
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        for (int score = 0; score < DK_SCORE_KINDS; score++) {
            const bool squared = score == DK_SCORE_L2;
            struct sides sides;
            make_sides(&sides, dims[i], squared, &seed);
            for (size_t r = 0; r < DK_PANEL; r++) {
                float *const key = sides.keys + r * dims[i];
                const struct dk_key_terms *const terms = &sides.store.keys[0];
                dk_i8_store_key(&sides.store, r, key, squared);
                dk_kernels_at(0)->widen->widen_i8(dk_i8_key(&sides.store, r), dims[i],
                                                  dk_i8_scale(&sides.store, r), key);
                assert_key_terms(&sides, r, squared);
                assert_true(terms->residual[r] <= 0x1.1p-24f * terms->norm[r] + 0x1p-148f);
            }
            free_sides(&sides);
        }
    }
}

/* A key encoded anew leaves its neighbours alone. */
/* Down to steps of 2^-120, where codes end: elements that are rounded up would make a key longer.
 */
static void
stored_keys_are_no_longer_than_rows(void **state)
{
    enum { DIM = 1100 };
    size_t zeros = 0;

    (void)state;
    for (int i = 90; i <= 130; i++) {
        const float step = ldexpf((float)i / 100, -120);
        struct sides sides;
        float row[DIM], key[DIM];
        uint64_t seed = (uint64_t)i;
        make_sides(&sides, DIM, false, &seed);
        for (size_t d = 0; d < DIM; d++)
            row[d] = d == 0 ? step * 127 : step * 0.50001f;
        dk_i8_store_key(&sides.store, 0, row, false);
        const float scale = dk_i8_scale(&sides.store, 0);
        dk_kernels_at(0)->widen->widen_i8(dk_i8_key(&sides.store, 0), DIM, scale, key);
        assert_true(scale == 0 || scale >= 0x1p-120f);
        assert_true(test_dot(key, key, DIM, NULL) <=
                    test_dot(row, row, DIM, NULL) * (1 + 4 * 0x1p-24));
        for (size_t d = 0; d < DIM; d++)
            assert_true(
                scale > 0 ||
                sides.store.codes[d / DK_I8_GROUP * DK_I8_GROUP * DK_PANEL + d % DK_I8_GROUP] ==
                    128);
        zeros += scale == 0;
        free_sides(&sides);
    }
    assert_in_range(zeros, 11, 30);
}

static void
keys_of_a_panel_are_separate(void **state)
{
    enum { DIM = 37 };
    uint64_t seed = 5;
    struct sides sides, before;

    (void)state;
    make_sides(&sides, DIM, true, &seed);
    seed = 5;
    make_sides(&before, DIM, true, &seed);
    for (size_t r = 0; r < DK_PANEL; r++)
        dk_i8_encode_key(&sides.store, r, sides.keys + 11 * DIM, true);
    for (size_t r = DK_PANEL; r-- > 0;)
        dk_i8_encode_key(&sides.store, r, sides.keys + r * DIM, true);
    assert_memory_equal(sides.store.codes, before.store.codes, dk_i8_panel_bytes(DIM));
    assert_memory_equal(sides.store.keys, before.store.keys, sizeof *before.store.keys);
    free_sides(&sides);
    free_sides(&before);
}

static void
moved_keys_are_what_they_were(void **state)
{
    enum { DIM = 37, PANELS = 4, KEYS = PANELS * DK_PANEL, ROUNDS = 300 };
    const size_t bytes = PANELS * dk_i8_panel_bytes(DIM);
    struct dk_codes_i8 moved = {
        .dim = DIM, .codes = allocate(bytes), .keys = allocate(PANELS * sizeof *moved.keys)};
    struct dk_codes_i8 wanted = {
        .dim = DIM, .codes = allocate(bytes), .keys = allocate(PANELS * sizeof *wanted.keys)};
    static float keys[KEYS * DIM];
    size_t key[KEYS];
    uint64_t seed = 6;

    (void)state;
    test_random_normals(&seed, keys, KEYS * DIM);
    for (size_t i = 0; i < KEYS; i++) {
        key[i] = i;
        dk_i8_encode_key(&moved, i, keys + i * DIM, true);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        const size_t to = test_random_below(&seed, KEYS - 1);
        const size_t from = to + 1 + test_random_below(&seed, KEYS - to - 1);
        const size_t n = test_random_below(&seed, KEYS - from + 1);
        dk_i8_move_keys(&moved, to, from, n);
        memmove(key + to, key + from, n * sizeof *key);
        for (size_t i = KEYS - 20; i < KEYS; i++) { /* or all would soon be one */
            key[i] = test_random_below(&seed, KEYS);
            dk_i8_encode_key(&moved, i, keys + key[i] * DIM, true);
        }
        for (size_t i = 0; i < KEYS; i++)
            dk_i8_encode_key(&wanted, i, keys + key[i] * DIM, true);
        assert_memory_equal(moved.codes, wanted.codes, bytes);
        assert_memory_equal(moved.keys, wanted.keys, PANELS * sizeof *moved.keys);
    }
    free(moved.codes);
    free(moved.keys);
    free(wanted.codes);
    free(wanted.keys);
}

static void
thresholds_are_rounded_down(void **state)
{
    static const float some[] = {-FLT_MAX, -1e30f,    -3.5f, -1, -1e-30f, -0x1p-149f,
                                 0,        0x1p-149f, 0.1f,  1,  1e30f,   FLT_MAX};
    const double u = 0x1p-24;

    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        for (size_t d = 0; d < sizeof dims / sizeof *dims; d++) {
            const size_t dim = dims[d];
            const double t = some[i], most = roundings(dim) * u * fabs(t);
            const float dot = dk_i8_threshold(some[i], dim, false, roundings(dim), 1);
            assert_true(dot < some[i]);
            assert_true(t > FLT_MAX / 2 || t < -FLT_MAX / 2 ||
                        dot >= t - 3 * u * fabs(t) - (double)(dim + 20) * 0x1p-145);
            for (double norm = 0; norm < 1e37; norm = norm == 0 ? 1e-40 : norm * 1e7) {
                const float l2 = dk_i8_threshold(some[i], dim, true, roundings(dim), norm);
                assert_true(l2 < t + norm - most);
            }
        }
    }
    for (int squared = 0; squared < 2; squared++)
        assert_true(dk_i8_threshold(-INFINITY, 9, squared != 0, 260, 1) == -INFINITY);
    assert_true(dk_i8_threshold(INFINITY, 9, false, 260, 1) == FLT_MAX);
    assert_true(isnan(dk_i8_threshold(INFINITY, 9, true, 260, 1)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_score_is_above_its_bound),
        cmocka_unit_test(no_score_is_above_a_bound_that_is_exact),
        cmocka_unit_test(most_keys_of_normal_vectors_are_out),
        cmocka_unit_test(terms_are_rounded_up),
        cmocka_unit_test(terms_of_stored_keys_are_of_the_widened),
        cmocka_unit_test(stored_keys_are_no_longer_than_rows),
        cmocka_unit_test(keys_of_a_panel_are_separate),
        cmocka_unit_test(moved_keys_are_what_they_were),
        cmocka_unit_test(thresholds_are_rounded_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
