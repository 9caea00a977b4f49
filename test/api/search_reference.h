/*
 * search_reference.h - what a search must return, by the definition
 *
 * Scores are computed one by one in the defined order (dotk/vector.h), all of them sorted, and
 * the first k taken.
 */
#ifndef DOTK_TEST_SEARCH_REFERENCE_H
#define DOTK_TEST_SEARCH_REFERENCE_H

#include "support.h"

#include <dotk/search.h>
#include <dotk/vector.h>

/* The rows a search sees: under cosine, unit vectors. */
struct reference {
    dotk_metric metric;
    size_t count, dim;
    float *rows;  /* (count, dim) as given */
    float *units; /* (count, dim) as scored */
    int64_t *ids;
};

struct reference_hit {
    int64_t id;
    float score; /* as reported: l2 is a distance */
    double badness;
};

static inline struct reference
reference_create(dotk_metric metric, size_t capacity, size_t dim)
{
    struct reference ref = {.metric = metric, .dim = dim};

    ref.rows = malloc(capacity * dim * sizeof *ref.rows + 1);
    ref.units = malloc(capacity * dim * sizeof *ref.units + 1);
    ref.ids = malloc(capacity * sizeof *ref.ids + 1);
    test_require(ref.rows != NULL && ref.units != NULL && ref.ids != NULL, "malloc");
    return ref;
}

static inline void
reference_destroy(struct reference *ref)
{
    free(ref->rows);
    free(ref->units);
    free(ref->ids);
}

/* x as it is scored. */
static inline void
reference_prepare(dotk_metric metric, size_t dim, const float *x, float *out)
{
    if (metric == DOTK_METRIC_COSINE)
        assert_ok(dotk_normalize(x, dim, out, NULL));
    else
        memcpy(out, x, dim * sizeof *x);
}

static inline void
reference_set(struct reference *ref, size_t position, const float *row, int64_t id)
{
    memcpy(ref->rows + position * ref->dim, row, ref->dim * sizeof *row);
    reference_prepare(ref->metric, ref->dim, row, ref->units + position * ref->dim);
    ref->ids[position] = id;
}

static inline void
reference_add(struct reference *ref, size_t n, const float *rows, size_t stride, const int64_t *ids)
{
    for (size_t i = 0; i < n; i++, ref->count++)
        reference_set(ref, ref->count, rows + i * stride,
                      ids != NULL ? ids[i] : (int64_t)ref->count);
}

/* The score in the defined order: chains of 256 fused multiply-adds. */
static inline float
reference_score(dotk_metric metric, const float *a, const float *b, size_t dim)
{
    float total = 0;

    for (size_t start = 0; start < dim; start += 256) {
        float chain = 0;
        for (size_t d = start; d < dim && d < start + 256; d++) {
            const float t = a[d] - b[d];
            chain = metric == DOTK_METRIC_L2 ? fmaf(t, t, chain) : fmaf(a[d], b[d], chain);
        }
        total = start == 0 ? chain : total + chain;
    }
    return total;
}

static inline int
reference_compare(const void *a, const void *b)
{
    const struct reference_hit *const x = a, *const y = b;

    if (x->badness != y->badness)
        return x->badness < y->badness ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* All rows that 'passes' lets through (NULL: all), best first; returns how many. */
static inline size_t
reference_sorted(const struct reference *ref, const float *query,
                 bool (*passes)(const void *user, int64_t id), const void *user,
                 struct reference_hit *out)
{
    float *const unit = malloc(ref->dim * sizeof *unit);
    size_t n = 0;

    test_require(unit != NULL, "malloc");
    reference_prepare(ref->metric, ref->dim, query, unit);
    for (size_t p = 0; p < ref->count; p++) {
        if (passes != NULL && !passes(user, ref->ids[p]))
            continue;
        const float score = reference_score(ref->metric, unit, ref->units + p * ref->dim, ref->dim);
        const double badness = ref->metric == DOTK_METRIC_L2 ? score : -(double)score;
        out[n++] = (struct reference_hit){ref->ids[p], score, badness};
    }
    qsort(out, n, sizeof *out, reference_compare);
    free(unit);
    return n;
}

/* One query's answer must be the first k of 'sorted', bit for bit, and padding. */
static inline void
reference_assert(dotk_metric metric, const struct reference_hit *sorted, size_t found, size_t k,
                 const int64_t *ids, const float *scores, size_t count)
{
    const float worst = metric == DOTK_METRIC_L2 ? INFINITY : -INFINITY;

    assert_int_equal(count, found < k ? found : k);
    for (size_t i = 0; i < k; i++) {
        assert_int_equal(ids[i], i < found ? sorted[i].id : DOTK_NO_ID);
        const float score = i < found ? sorted[i].score : worst;
        if (memcmp(&scores[i], &score, sizeof score) != 0)
            print_error("rank %zu: score %.9g, expected %.9g\n", i, (double)scores[i],
                        (double)score);
        assert_memory_equal(&scores[i], &score, sizeof score);
    }
}

/* ------------------------------------------------------------------------- */
/*  Contexts, indexes, answers                                               */
/* ------------------------------------------------------------------------- */

static const dotk_metric metrics[] = {DOTK_METRIC_DOT, DOTK_METRIC_COSINE, DOTK_METRIC_L2};

enum { METRICS = 3, THREADS = 3, ISAS = 5 };

/*
 * The process's ISA ($DOTK_ISA) on 1, 2 and 4 threads, and no context: context_count of them.
 * Then each ISA that this machine has, on 2 threads: up to all_count.
 */
static dotk_context *contexts[THREADS + 1 + ISAS];
static size_t context_count, all_count;

static inline int
create_contexts(void **unused)
{
    static const char *const isas[ISAS] = {"portable", "avx2", "avx512", "avx512vnni",
                                           "avx512bf16"};
    static const uint32_t threads[THREADS] = {1, 2, 4};
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    (void)unused;
    context_count = 0;
    for (size_t t = 0; t < THREADS; t++) {
        options.threads = threads[t];
        assert_ok(dotk_context_create(&options, &contexts[context_count++]));
    }
    contexts[context_count++] = NULL;
    all_count = context_count;
    for (size_t i = 0; i < ISAS; i++) {
        options.isa = isas[i];
        options.threads = 2;
        if (dotk_context_create(&options, &contexts[all_count]) == DOTK_OK)
            all_count++;
    }
    assert_true(all_count > context_count); /* portable, at least */
    return 0;
}

static inline int
destroy_contexts(void **unused)
{
    (void)unused;
    for (size_t c = 0; c < all_count; c++)
        dotk_context_destroy(contexts[c]);
    return 0;
}

static inline dotk_index *
create(dotk_context *context, size_t dim, dotk_metric metric)
{
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;

    options.metric = metric;
    assert_ok(dotk_index_create(context, dim, &options, &index));
    return index;
}

static inline void *
allocate(size_t count, size_t size)
{
    void *const block = calloc(count + 1, size);
    test_require(block != NULL, "calloc");
    return block;
}

/* An answer: (n, k) ids and scores, n counts. */
struct answer {
    size_t n, k;
    int64_t *ids;
    float *scores;
    size_t *counts;
};

static inline struct answer
answer_create(size_t n, size_t k)
{
    return (struct answer){n, k, allocate(n * k, sizeof(int64_t)), allocate(n * k, sizeof(float)),
                           allocate(n, sizeof(size_t))};
}

static inline void
answer_destroy(struct answer *answer)
{
    free(answer->ids);
    free(answer->scores);
    free(answer->counts);
}

static inline void
assert_same_answer(const struct answer *a, const struct answer *b)
{
    assert_memory_equal(a->ids, b->ids, a->n * a->k * sizeof *a->ids);
    assert_memory_equal(a->scores, b->scores, a->n * a->k * sizeof *a->scores);
    assert_memory_equal(a->counts, b->counts, a->n * sizeof *a->counts);
}

/* Searches in pieces of 'piece' queries. */
static inline void
search(const dotk_index *index, const float *queries, size_t stride,
       const dotk_search_params *params, size_t piece, struct answer *answer)
{
    const size_t k = answer->k;

    for (size_t first = 0; first < answer->n; first += piece) {
        const size_t n = answer->n - first < piece ? answer->n - first : piece;
        assert_ok(dotk_index_search(index, n, queries + first * stride, stride, k, params,
                                    answer->ids + first * k, answer->scores + first * k,
                                    answer->counts + first));
    }
}

/* The answer to n queries must be the reference's. */
static inline void
assert_answer(const struct reference *ref, const float *queries, size_t stride,
              bool (*passes)(const void *user, int64_t id), const void *user,
              const struct answer *answer)
{
    struct reference_hit *const sorted = allocate(ref->count, sizeof *sorted);

    for (size_t q = 0; q < answer->n; q++) {
        const size_t found = reference_sorted(ref, queries + q * stride, passes, user, sorted);
        reference_assert(ref->metric, sorted, found, answer->k, answer->ids + q * answer->k,
                         answer->scores + q * answer->k, answer->counts[q]);
    }
    free(sorted);
}

#endif /* DOTK_TEST_SEARCH_REFERENCE_H */
