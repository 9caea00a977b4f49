/*
 * test_attend_block.c - blocks of keys under any mask, merging of chunks, the last division
 *
 * Masks here have holes, which no public call can make yet; garbage lies in whatever they hide.
 */
#include "support.h"

#include "epilogue/softmax_v/softmax_v.h"

enum { ROWS = DK_ATTEND_ROWS, KEYS = DK_ATTEND_BLOCK, DIM = 20, WIDTH = 72, STRIDE = 80 };

/* A mask from an array of flags. */
struct flag_mask {
    struct dk_score_mask mask;
    bool flag[ROWS][KEYS];
};

static enum dk_cover
flag_look(const struct dk_score_mask *mask, size_t row, size_t rows, size_t key, size_t count,
          uint64_t (*keep)[ROWS])
{
    const struct flag_mask *const flags = (const struct flag_mask *)(const void *)mask;
    size_t seen = 0;

    for (size_t r = 0; r < rows; r++) {
        for (size_t p = 0; p * DK_PANEL < count; p++)
            keep[p][r] = 0;
        for (size_t c = 0; c < KEYS; c++) { /* what there is beyond 'count' must not matter */
            const bool flag = c < count ? flags->flag[row + r][key + c] : c % 64 < 63;
            seen += flag && c < count;
            if (c / DK_PANEL * DK_PANEL < count)
                keep[c / DK_PANEL][r] |= (uint64_t)flag << c % DK_PANEL;
        }
    }
    return seen == 0 ? DK_COVER_NONE : seen == rows * count ? DK_COVER_ALL : DK_COVER_SOME;
}

struct problem {
    struct flag_mask mask;
    float query[ROWS][DIM], key[KEYS][DIM], value[KEYS][WIDTH];
    _Alignas(64) float panels[KEYS * DIM];
};

/* Runs of masked keys, panels that nobody sees, rows that see nothing. */
static void
fill(struct problem *problem, uint64_t *seed)
{
    problem->mask.mask = (struct dk_score_mask){flag_look};
    test_random_normals(seed, problem->query[0], ROWS * DIM);
    test_random_normals(seed, problem->key[0], KEYS * DIM);
    test_random_normals(seed, problem->value[0], KEYS * WIDTH);
    for (size_t r = 0; r < ROWS; r++) {
        bool flag = true;
        const size_t length = 1 + test_random_below(seed, 100);
        for (size_t k = 0; k < KEYS; k++) {
            if (test_random_below(seed, length) == 0)
                flag = !flag;
            problem->mask.flag[r][k] = flag;
        }
        if (test_random_below(seed, 6) == 0)
            memset(problem->mask.flag[r], 0, KEYS);
    }
    for (size_t panel = 0; panel < KEYS / DK_PANEL; panel++) {
        const size_t choice = test_random_below(seed, 4);
        for (size_t r = 0; r < ROWS && choice < 2; r++)
            memset(&problem->mask.flag[r][panel * DK_PANEL], (int)choice, DK_PANEL);
    }
}

static void
pack(const struct dk_kernels *kernels, struct problem *problem)
{
    for (size_t k = 0; k < KEYS; k += DK_PANEL)
        kernels->pack_f32(problem->key[k], DIM, DK_PANEL, DIM, 1, problem->panels + k * DIM);
}

/* The answers of rows row .. row + rows - 1 over the first 'count' keys. */
static void
attend(const struct dk_kernels *kernels, const struct problem *problem, size_t row, size_t rows,
       size_t count, struct dk_attend_answer *answers, float (*output)[STRIDE])
{
    static _Alignas(64) struct dk_softmax_rows softmax;
    static _Alignas(64) float weight[ROWS][KEYS];
    const struct dk_attend_tile tile = {problem->query[row], row,   rows, &softmax,
                                        output[0],           STRIDE};
    struct dk_attend_block block = {
        .mask = &problem->mask.mask,
        .count = count,
        .panels = problem->panels,
        .dim = DIM,
        .value = problem->value[0],
        .value_stride = WIDTH,
        .width = WIDTH,
        .finite = {-1, -1, -1, -1},
    };

    dk_attend_begin(&softmax, 1, output[0], rows * STRIDE);
    dk_attend_block(kernels->softmax_v, &tile, &block, weight);
    dk_attend_take(kernels->softmax_v, &tile, answers);
}

static void
check_row(const struct problem *problem, size_t r, size_t count, struct dk_attend_answer answer,
          const float *output)
{
    double score[KEYS], most = -INFINITY, sum = 0;
    const float lse = dk_attend_lse(&answer, -INFINITY);
    float out[WIDTH];

    dk_attend_finish(dk_kernels_at(0), &answer, -INFINITY, 1, output, WIDTH, out);
    for (size_t k = 0; k < count; k++) {
        score[k] = problem->mask.flag[r][k]
                       ? test_dot(problem->query[r], problem->key[k], DIM, NULL) * log(2)
                       : -INFINITY;
        most = fmax(most, score[k]);
    }
    for (size_t k = 0; k < count; k++)
        sum += problem->mask.flag[r][k] ? exp(score[k] - most) : 0;
    if (sum == 0) {
        assert_true(lse == -INFINITY);
        for (size_t e = 0; e < WIDTH; e++)
            assert_true(out[e] == 0);
        return;
    }
    assert_true(fabs(lse - (most + log(sum))) < 1e-5);
    for (size_t e = 0; e < WIDTH; e++) {
        double want = 0;
        for (size_t k = 0; k < count; k++) {
            if (problem->mask.flag[r][k])
                want += exp(score[k] - most) / sum * problem->value[k][e];
        }
        assert_true(fabs(out[e] - want) <= 1e-5);
    }
}

static void
test_masks_with_holes(void **state)
{
    static struct problem problem;
    const struct dk_kernels *kernels;
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; (kernels = dk_kernels_at(i)) != NULL; i++) {
        for (size_t round = 0; round < 300; round++) {
            _Alignas(64) float clean[ROWS][STRIDE], output[ROWS][STRIDE], alone[1][STRIDE];
            struct dk_attend_answer answers[ROWS], dirty[ROWS], one;
            const size_t count = round % 3 == 0 ? KEYS : 1 + test_random_below(&seed, KEYS);
            fill(&problem, &seed);
            pack(kernels, &problem);
            attend(kernels, &problem, 0, ROWS, count, answers, clean);
            for (size_t r = 0; r < ROWS; r++) {
                check_row(&problem, r, count, answers[r], clean[r]);
                attend(kernels, &problem, r, 1, count, &one, alone);
                assert_memory_equal(&one, &answers[r], sizeof one);
                /* 0 * v may have been added or not, which makes +0 of a -0 and nothing else */
                for (size_t e = 0; e < WIDTH; e++)
                    assert_true(alone[0][e] == clean[r][e]);
            }
            /* garbage in keys and values that at least one row does not see: those rows stay */
            bool touched[ROWS] = {false};
            for (size_t n = 0; n < 5; n++) {
                const size_t k = test_random_below(&seed, KEYS);
                for (size_t r = 0; r < ROWS; r++)
                    touched[r] |= problem.mask.flag[r][k] && k < count;
                problem.key[k][3] = n % 2 == 0 ? NAN : INFINITY;
                problem.value[k][5] = n % 2 == 0 ? -INFINITY : NAN;
            }
            pack(kernels, &problem);
            attend(kernels, &problem, 0, ROWS, count, dirty, output);
            for (size_t r = 0; r < ROWS; r++) {
                if (touched[r])
                    continue;
                assert_memory_equal(&dirty[r], &answers[r], sizeof *dirty);
                for (size_t e = 0; e < WIDTH; e++)
                    assert_true(output[r][e] == clean[r][e]);
            }
        }
    }
}

/* Log-sum-exps of sums of every size, and of sums that are no numbers. */
static void
test_log_sum_exp(void **state)
{
    (void)state;
    for (float sum = 0x1p-149f; sum <= 0x1p127f; sum *= 1.0009765625f) {
        const struct dk_attend_answer answer = {0, sum, sum};
        const double want = log((double)sum);
        assert_true(fabs(dk_attend_lse(&answer, -INFINITY) - want) <= 0x1p-24 * fabs(want) + 1e-11);
        if (sum < 0x1p-130f)
            sum *= 2;
    }
    assert_true(dk_attend_lse(&(struct dk_attend_answer){0, 1, 1}, -INFINITY) == 0);
    assert_true(dk_attend_lse(&(struct dk_attend_answer){3, INFINITY, 1}, -INFINITY) == INFINITY);
    assert_true(isnan(dk_attend_lse(&(struct dk_attend_answer){NAN, NAN, NAN}, -INFINITY)));
    assert_true(dk_attend_lse(&(struct dk_attend_answer){-INFINITY, 0, 0}, 2) == 2);
}

static void
test_merge(void **state)
{
    static const float maxima[] = {-INFINITY, -1000, -3, 0, 5, 140, 1e30f, NAN};
    enum { MAXIMA = sizeof maxima / sizeof *maxima };

    (void)state;
    for (size_t i = 0; i < MAXIMA; i++) {
        for (size_t j = 0; j < MAXIMA; j++) {
            const bool none_a = maxima[i] == -INFINITY, none_b = maxima[j] == -INFINITY;
            const float nan_a = isnan(maxima[i]) ? NAN : 1, nan_b = isnan(maxima[j]) ? NAN : 1;
            struct dk_attend_answer a = {maxima[i], none_a ? 0 : 3 * nan_a, none_a ? 0 : 4 * nan_a};
            const struct dk_attend_answer b = {maxima[j], none_b ? 0 : 5 * nan_b,
                                               none_b ? 0 : 6 * nan_b};
            float a_output[2] = {none_a ? 0 : 7, none_a ? 0 : -1};
            const float b_output[2] = {none_b ? 0 : 2, none_b ? 0 : 4};
            dk_attend_merge(&a, a_output, &b, b_output, 2);
            if (isnan(maxima[i]) || isnan(maxima[j])) {
                assert_true(isnan(a.max) && isnan(a.sum) && isnan(a.divisor));
            } else if (none_a && none_b) {
                assert_true(a.max == -INFINITY && a.sum == 0 && a_output[0] == 0);
            } else {
                const double max = fmax(maxima[i], maxima[j]);
                const double fa = none_a ? 0 : exp2(maxima[i] - max);
                const double fb = none_b ? 0 : exp2(maxima[j] - max);
                assert_true(a.max == (float)max);
                assert_true(fabs(a.sum - (3 * fa + 5 * fb)) <= 1e-6);
                assert_true(fabs(a.divisor - (4 * fa + 6 * fb)) <= 1e-6);
                assert_true(fabs(a_output[0] - (7 * fa + 2 * fb)) <= 1e-6);
                assert_true(fabs(a_output[1] - (-1 * fa + 4 * fb)) <= 1e-6);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_with_holes),
        cmocka_unit_test(test_log_sum_exp),
        cmocka_unit_test(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
