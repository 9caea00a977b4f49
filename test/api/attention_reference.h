/*
 * attention_reference.h - an attention problem, and its answer in double precision
 *
 * Arrays of a problem are dense f32 whatever a call makes of them: a test that asks for halves,
 * int8 or strides passes arrays of its own to the library, and keeps here the numbers that they
 * hold. Masks, biases and everything else in the options are what the library gets.
 */
#ifndef DOTK_TEST_ATTENTION_REFERENCE_H
#define DOTK_TEST_ATTENTION_REFERENCE_H

#include "support.h"

#include <dotk/attention.h>

struct problem {
    dotk_attention_shape shape;
    dotk_attention_options options;
    float *q, *k, *v, *out, *lse;
};

static inline size_t
value_width(const struct problem *p)
{
    return p->shape.value_width != 0 ? p->shape.value_width : p->shape.width;
}

static inline size_t
heads_of(const struct problem *p)
{
    return p->shape.batch * p->shape.heads;
}

static inline size_t
key_heads(const struct problem *p)
{
    return p->shape.key_heads != 0 ? p->shape.key_heads : p->shape.heads;
}

static float *
floats(size_t count)
{
    float *const array = malloc((count + 1) * sizeof *array);
    test_require(array != NULL, "malloc");
    return array;
}

/* Normal values: with the default scale, scores have variance 1. */
static inline struct problem
make(uint64_t seed, size_t batch, size_t heads, size_t queries, size_t keys, size_t width,
     size_t value_wide)
{
    struct problem p = {
        .shape = {batch, heads, queries, keys, width, value_wide, 0},
        .options = DOTK_ATTENTION_OPTIONS_INIT,
    };
    const size_t n = batch * heads;
    p.q = floats(n * queries * width);
    p.k = floats(n * keys * width);
    p.v = floats(n * keys * value_width(&p));
    p.out = floats(n * queries * value_width(&p));
    p.lse = floats(n * queries);
    test_random_normals(&seed, p.q, n * queries * width);
    test_random_normals(&seed, p.k, n * keys * width);
    test_random_normals(&seed, p.v, n * keys * value_width(&p));
    return p;
}

static inline void
drop(struct problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->out);
    free(p->lse);
}

static inline dotk_status
forward(dotk_context *context, const struct problem *p)
{
    return dotk_attention_forward(context, &p->shape, p->q, p->k, p->v, &p->options, p->out,
                                  p->lse);
}

/* ------------------------------------------------------------------------- */
/*  Which keys count                                                         */
/* ------------------------------------------------------------------------- */

/* What a query attends within: its batch entry, or its packed sequence. */
struct place {
    size_t entry;             /* which                                              */
    size_t query, queries;    /* its first query and their number                   */
    size_t key, keys, length; /* its first key, their number, and how many exist    */
    int64_t offset;           /* of its query 0 among its keys                      */
};

static inline struct place
place_of(const struct problem *p, size_t b, size_t i)
{
    const dotk_attention_options *const o = &p->options;
    struct place place = {.entry = b, .queries = p->shape.queries, .keys = p->shape.keys};

    if (o->sequences > 0) {
        place.entry = 0;
        while (i >= o->query_starts[place.entry + 1])
            place.entry++;
        place.query = o->query_starts[place.entry];
        place.queries = o->query_starts[place.entry + 1] - place.query;
        place.key = o->key_starts[place.entry];
        place.keys = o->key_starts[place.entry + 1] - place.key;
    }
    place.length = o->key_lengths != NULL ? o->key_lengths[place.entry] : place.keys;
    place.offset = o->query_offsets != NULL ? o->query_offsets[place.entry] : o->query_offset;
    return place;
}

/* Rows of blocks: with packed sequences, those of the longest. */
static inline size_t
block_rows(const struct problem *p)
{
    const dotk_attention_options *const o = &p->options;
    size_t longest = o->sequences > 0 ? 0 : p->shape.queries;

    for (size_t n = 0; n < o->sequences; n++) {
        const size_t queries = o->query_starts[n + 1] - o->query_starts[n];
        longest = queries > longest ? queries : longest;
    }
    return (longest + o->blocks->rows - 1) / o->blocks->rows;
}

/* Whether the block of query i and key j of a place is listed. */
static inline bool
is_listed(const struct problem *p, size_t h, size_t i, size_t j)
{
    const dotk_attention_blocks *const blocks = p->options.blocks;
    const size_t *const starts = blocks->starts + (blocks->per_head ? h * (block_rows(p) + 1) : 0);

    for (size_t n = starts[i / blocks->rows]; n < starts[i / blocks->rows + 1]; n++) {
        if (blocks->columns[n] == j / blocks->cols)
            return true;
    }
    return false;
}

static inline double
bias_of(const struct problem *p, size_t b, size_t h, size_t i, size_t j)
{
    const dotk_layout *const at = &p->options.bias_layout;

    return p->options.bias[b * at->batch + h * at->head + i * at->row + j];
}

/* Whether key j counts for query i; both count from the start of the arrays. */
static inline bool
key_counts(const struct problem *p, const struct place *place, size_t b, size_t h, size_t i,
           size_t j)
{
    const dotk_attention_options *const o = &p->options;

    if (j < place->key || j - place->key >= place->length)
        return false;
    const int64_t key = (int64_t)(j - place->key);
    const int64_t position = (int64_t)(i - place->query) + place->offset;
    if (o->causal && key > position)
        return false;
    if (o->has_window && o->window_left != -1 && position - key > o->window_left)
        return false;
    if (o->has_window && o->window_right != -1 && key - position > o->window_right)
        return false;
    const dotk_layout *const at = &o->mask_layout;
    if (o->mask != NULL && o->mask[b * at->batch + h * at->head + i * at->row + j] == 0)
        return false;
    if (o->blocks != NULL && !is_listed(p, h, i - place->query, j - place->key))
        return false;
    return o->bias == NULL || bias_of(p, b, h, i, j) != -INFINITY;
}

/* ------------------------------------------------------------------------- */
/*  Scores, weights, output                                                  */
/* ------------------------------------------------------------------------- */

static inline double
scale_of(const struct problem *p)
{
    return p->options.has_scale ? p->options.scale : 1 / sqrt((double)p->shape.width);
}

static inline const float *
query_row(const struct problem *p, size_t b, size_t h, size_t i)
{
    return p->q + ((b * p->shape.heads + h) * p->shape.queries + i) * p->shape.width;
}

/* Row j of k, or of v by its width, for query head h. */
static inline const float *
key_row(const struct problem *p, const float *array, size_t width, size_t b, size_t h, size_t j)
{
    const size_t key_head = h / (p->shape.heads / key_heads(p));

    return array + ((b * key_heads(p) + key_head) * p->shape.keys + j) * width;
}

static inline double
softcapped(const struct problem *p, double score)
{
    const double cap = p->options.softcap;

    return cap != 0 ? cap * tanh(score / cap) : score;
}

/* What bias and slopes add to a score. */
static inline double
added(const struct problem *p, const struct place *place, size_t b, size_t h, size_t i, size_t j)
{
    const dotk_attention_options *const o = &p->options;
    const double distance = (double)(i - place->query) + (double)place->offset -
                            (double)(j - place->key);
    const double slope = o->slopes != NULL ? o->slopes[h] : 0;

    return (o->bias != NULL ? bias_of(p, b, h, i, j) : 0) - slope * fabs(distance);
}

/*
 * What dropout multiplies the weight of query i and key j by, as attention.h says; the generator is
 * written down here a second time, as Salmon et al. have it.
 */
static inline double
dropout_factor(const struct problem *p, const struct place *place, size_t head, size_t i, size_t j)
{
    const double rate = p->options.dropout;
    const uint64_t key = j - place->key;
    uint32_t counter[4] = {(uint32_t)(key / 4), (uint32_t)i, (uint32_t)head, (uint32_t)(key >> 34)};
    uint32_t seed[2] = {(uint32_t)p->options.seed, (uint32_t)(p->options.seed >> 32)};

    for (size_t round = 0; round < 10; round++) {
        const uint64_t first = counter[0] * UINT64_C(0xd2511f53);
        const uint64_t second = counter[2] * UINT64_C(0xcd9e8d57);
        const uint32_t next[4] = {(uint32_t)(second >> 32) ^ counter[1] ^ seed[0], (uint32_t)second,
                                  (uint32_t)(first >> 32) ^ counter[3] ^ seed[1], (uint32_t)first};
        memcpy(counter, next, sizeof next);
        seed[0] += 0x9e3779b9;
        seed[1] += 0xbb67ae85;
    }
    return counter[key % 4] < rate * 0x1p32 ? 0 : 1 / (1 - rate);
}

/*
 * out (E), weights (S) before dropout and the log-sum-exp of one query of one of B * H heads.
 * *largest, unless NULL, gets the largest |score| of a key that has more than 1e-7 of the weight.
 */
static inline double
reference_row(const struct problem *p, size_t head, size_t i, double *out, double *weight,
              double *largest)
{
    const size_t D = p->shape.width, E = value_width(p), S = p->shape.keys;
    const size_t b = head / p->shape.heads, h = head % p->shape.heads;
    const struct place place = place_of(p, b, i);
    double most = p->options.sinks != NULL ? p->options.sinks[h] : -INFINITY;

    for (size_t j = 0; j < S; j++) {
        weight[j] = -INFINITY;
        if (!key_counts(p, &place, b, h, i, j))
            continue;
        const double product = test_dot(query_row(p, b, h, i), key_row(p, p->k, D, b, h, j), D, 0);
        weight[j] = softcapped(p, product * scale_of(p)) + added(p, &place, b, h, i, j);
        most = fmax(most, weight[j]);
    }
    double sum = p->options.sinks != NULL ? exp(p->options.sinks[h] - most) : 0;
    for (size_t j = 0; j < S; j++)
        sum += weight[j] != -INFINITY ? exp(weight[j] - most) : 0;
    const double lse = sum > 0 ? most + log(sum) : -INFINITY;
    memset(out, 0, E * sizeof *out);
    for (size_t j = 0; j < S; j++) {
        const double score = weight[j];
        weight[j] = score != -INFINITY ? exp(score - lse) : 0;
        if (largest != NULL && weight[j] > 1e-7)
            *largest = fmax(*largest, fabs(score));
        const double dropped = p->options.dropout > 0 ? dropout_factor(p, &place, head, i, j) : 1;
        for (size_t e = 0; score != -INFINITY && e < E; e++)
            out[e] += weight[j] * dropped * key_row(p, p->v, E, b, h, j)[e];
    }
    return lse;
}

static inline double
reference(const struct problem *p, size_t head, size_t i, double *out, double *weight)
{
    return reference_row(p, head, i, out, weight, NULL);
}

/* The largest |value| among the keys that count for a query. */
static inline double
largest_value(const struct problem *p, size_t head, size_t i)
{
    const size_t E = value_width(p), b = head / p->shape.heads, h = head % p->shape.heads;
    const struct place place = place_of(p, b, i);
    double largest = 0;

    for (size_t j = 0; j < p->shape.keys; j++) {
        const float *const value = key_row(p, p->v, E, b, h, j);
        for (size_t e = 0; e < E && key_counts(p, &place, b, h, i, j); e++)
            largest = fmax(largest, fabs((double)value[e]));
    }
    return largest;
}

/* Compares p->out and p->lse with the reference; every 'step'th query. */
static inline void
check(const struct problem *p, size_t step)
{
    const size_t E = value_width(p), L = p->shape.queries, S = p->shape.keys;
    double *const out = malloc((E + 1) * sizeof *out);
    double *const weight = malloc((S + 1) * sizeof *weight);

    for (size_t row = 0; row < heads_of(p) * L; row += step) {
        const size_t head = row / L, i = row % L;
        const double lse = reference(p, head, i, out, weight);
        const double largest = largest_value(p, head, i) / (1 - (double)p->options.dropout);
        for (size_t e = 0; e < E; e++) {
            const double got = p->out[row * E + e];
            if (!(fabs(got - out[e]) <= 2e-6 * largest))
                fail_msg("B%zu H%zu L%zu S%zu D%zu E%zu: head %zu query %zu column %zu is %.9g, "
                         "want %.9g, %.2g of the largest value off",
                         p->shape.batch, p->shape.heads, L, S, p->shape.width, E, head, i, e, got,
                         out[e], fabs(got - out[e]) / largest);
        }
        if (lse == -INFINITY)
            assert_true(p->lse[row] == -INFINITY);
        else if (!(fabs(p->lse[row] - lse) <= 4e-6 * fmax(1, fabs(lse))))
            fail_msg("L%zu S%zu: log-sum-exp of query %zu is %.9g, want %.9g", L, S, i,
                     (double)p->lse[row], lse);
    }
    free(out);
    free(weight);
}

static inline void
assert_same(const float *a, const float *b, size_t count)
{
    if (memcmp(a, b, count * sizeof *a) == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("value %zu is %a in one and %a in the other", i, (double)a[i], (double)b[i]);
    }
}

#endif /* DOTK_TEST_ATTENTION_REFERENCE_H */
