/*
 * mnist.c - exact search on real data, by three metrics, checked in two ways
 *
 *     mnist [FOLDER [QUERIES]]
 *
 * FOLDER has the images of MNIST, gzip'ed ($DOTK_DATA/mnist); needs the program gzip. 60,000 rows
 * of 784 pixels, 10,000 queries (or fewer), k = 10. Every instruction set must give the bits of
 * the portable kernels; and of every tenth query, each score must be within its stated bound of
 * the exact one, and each rank hold a row whose exact score is within twice that bound of the
 * exact answer's. Pixels are whole numbers below 256: dot and l2 are computed in integers, without
 * error.
 *
 * Prints a line for each search; ends with 1 if anything differs, 77 if there is no data. The
 * portable kernels, whose fused multiply-add is made of ten instructions, take most of the time.
 */
#define _POSIX_C_SOURCE 200809L

#include <dotk/io.h>
#include <dotk/search.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 10, DIM = 784, EVERY = 10, SKIPPED = 77 };

struct answer {
    int64_t *ids;
    float *scores;
};

static void
check(dotk_status status)
{
    if (status != DOTK_OK) {
        fprintf(stderr, "mnist: %s: %s\n", dotk_status_text(status), dotk_last_message());
        exit(1);
    }
}

static void *
allocate(size_t count, size_t size)
{
    void *const block = calloc(count, size);
    if (block == NULL) {
        fprintf(stderr, "mnist: out of memory\n");
        exit(1);
    }
    return block;
}

/* The images of one packed IDX file. */
static dotk_vectors *
read_images(const char *folder, const char *name)
{
    const size_t capacity = (size_t)64 << 20;
    char command[4096];
    unsigned char *const bytes = allocate(capacity, 1);
    dotk_vectors *vectors;

    const int length = snprintf(command, sizeof command, "gzip -dc '%s/%s'", folder, name);
    FILE *const pipe = length < (int)sizeof command ? popen(command, "r") : NULL;
    if (pipe == NULL) {
        perror(command);
        exit(1);
    }
    const size_t size = fread(bytes, 1, capacity, pipe);
    if (pclose(pipe) != 0 || size == capacity) {
        fprintf(stderr, "mnist: %s failed\n", command);
        exit(1);
    }
    check(dotk_vectors_parse(bytes, size, name, NULL, &vectors));
    free(bytes);
    if (vectors->dim != DIM) {
        fprintf(stderr, "mnist: %s has images of %zu pixels, not %d\n", name, vectors->dim, DIM);
        exit(1);
    }
    return vectors;
}

/* False when this machine does not have the ISA. */
static bool
search(const char *isa, dotk_metric metric, const dotk_vectors *base, const dotk_vectors *queries,
       struct answer *answer)
{
    dotk_context_options context_options = DOTK_CONTEXT_OPTIONS_INIT;
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_search_params params = DOTK_SEARCH_PARAMS_INIT;
    dotk_search_stats stats;
    dotk_context *context;
    dotk_index *index;

    context_options.isa = isa;
    options.metric = metric;
    params.stats = &stats;
    if (dotk_context_create(&context_options, &context) != DOTK_OK)
        return false;
    answer->ids = allocate(queries->rows * K, sizeof *answer->ids);
    answer->scores = allocate(queries->rows * K, sizeof *answer->scores);
    check(dotk_index_create(context, DIM, &options, &index));
    check(dotk_index_add(index, base->rows, base->data, base->stride, NULL));
    check(dotk_index_search(index, queries->rows, queries->data, queries->stride, K, &params,
                            answer->ids, answer->scores, NULL));
    printf("%-6s %-18s %7.2f s, %6.1f GFLOP/s", dotk_metric_name(metric), stats.kernel,
           stats.seconds, 2e-9 * (double)base->rows * (double)queries->rows * DIM / stats.seconds);
    dotk_index_destroy(index);
    dotk_context_destroy(context);
    return true;
}

static void
answer_release(struct answer *answer)
{
    free(answer->ids);
    free(answer->scores);
}

static bool
same(const struct answer *a, const struct answer *b, size_t entries)
{
    return memcmp(a->ids, b->ids, entries * sizeof *a->ids) == 0 &&
           memcmp(a->scores, b->scores, entries * sizeof *a->scores) == 0;
}

static int16_t *
pixels(const dotk_vectors *vectors)
{
    int16_t *const out = allocate(vectors->rows * DIM, sizeof *out);

    for (size_t i = 0; i < vectors->rows; i++) {
        for (size_t d = 0; d < DIM; d++)
            out[i * DIM + d] = (int16_t)vectors->data[i * vectors->stride + d];
    }
    return out;
}

static int32_t
dot(const int16_t *a, const int16_t *b)
{
    int32_t sum = 0; /* at most 784 * 255^2, about 5.1e7 */

    for (size_t d = 0; d < DIM; d++)
        sum += a[d] * b[d];
    return sum;
}

/* The exact score, bigger is better, of two images with the squared lengths qq and rr. */
static double
exact_score(dotk_metric metric, double qr, double qq, double rr)
{
    switch (metric) {
    case DOTK_METRIC_COSINE: return qr / sqrt(qq * rr);
    case DOTK_METRIC_L2: return -(qq - 2 * qr + rr);
    default: return qr;
    }
}

/* All terms are at least 0, so sum |a b| is the score itself; cosine: 2 more roundings each. */
static double
bound(dotk_metric metric, double score)
{
    const double roundings = metric == DOTK_METRIC_DOT ? DIM + 1 : DIM + 4;
    return roundings * 0x1p-24 * fabs(score);
}

/* Inserts a score among the K best, best first. */
static void
keep_best(double best[K], double score)
{
    size_t i = K - 1;

    if (score <= best[i])
        return;
    for (; i > 0 && best[i - 1] < score; i--)
        best[i] = best[i - 1];
    best[i] = score;
}

/* How many of every tenth query's ranks are wrong; *worst: the largest error / bound. */
static size_t
compare_with_exact(dotk_metric metric, const int16_t *base, const double *squares, size_t rows,
                   const int16_t *queries, size_t query_count, const struct answer *answer,
                   double *worst)
{
    double *const score = allocate(rows, sizeof *score);
    size_t wrong = 0;

    *worst = 0;
    for (size_t q = 0; q < query_count; q += EVERY) {
        const int16_t *const query = queries + q * DIM;
        const double qq = dot(query, query);
        double best[K];

        for (size_t i = 0; i < K; i++)
            best[i] = -INFINITY;
        for (size_t r = 0; r < rows; r++) {
            score[r] = exact_score(metric, dot(query, base + r * DIM), qq, squares[r]);
            keep_best(best, score[r]);
        }
        for (size_t i = 0; i < K; i++) {
            const double reported = (metric == DOTK_METRIC_L2 ? -1.0 : 1.0) *
                                    answer->scores[q * K + i];
            const double exact = score[answer->ids[q * K + i]];
            const double limit = bound(metric, exact);
            if (limit > 0 && fabs(reported - exact) / limit > *worst)
                *worst = fabs(reported - exact) / limit;
            wrong += !(fabs(reported - exact) <= limit) || !(fabs(exact - best[i]) <= 2 * limit);
        }
    }
    free(score);
    return wrong;
}

/* One metric: portable, then whatever else there is; true if all is as it must be. */
static bool
run(dotk_metric metric, const dotk_vectors *base, const dotk_vectors *queries,
    const int16_t *base_pixels, const double *squares, const int16_t *query_pixels)
{
    static const char *const isas[] = {"avx2", "avx512", "avx512vnni", "avx512bf16", "neon"};
    const size_t entries = queries->rows * K;
    struct answer portable, other;
    double worst;

    search("portable", metric, base, queries, &portable);
    const size_t wrong = compare_with_exact(metric, base_pixels, squares, base->rows, query_pixels,
                                            queries->rows, &portable, &worst);
    printf(": %zu of %zu ranks wrong, largest error %.4f of the bound\n", wrong,
           (queries->rows + EVERY - 1) / EVERY * K, worst);
    bool ok = wrong == 0;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        fflush(stdout);
        if (!search(isas[i], metric, base, queries, &other))
            continue;
        const bool equal = same(&other, &portable, entries);
        printf(": bits %s\n", equal ? "equal to portable" : "DIFFER from portable");
        ok = ok && equal;
        answer_release(&other);
    }
    answer_release(&portable);
    return ok;
}

int
main(int argc, char **argv)
{
    const char *const data = getenv("DOTK_DATA");
    char folder[2048];

    if (argc < 2 && (data == NULL || *data == '\0')) {
        printf("skipped: no data; set DOTK_DATA to the folder of data sets\n");
        return SKIPPED;
    }
    snprintf(folder, sizeof folder, argc < 2 ? "%s/mnist" : "%s", argc < 2 ? data : argv[1]);
    dotk_vectors *const base = read_images(folder, "train-images-idx3-ubyte.gz");
    dotk_vectors *const queries = read_images(folder, "t10k-images-idx3-ubyte.gz");
    int16_t *const base_pixels = pixels(base), *const query_pixels = pixels(queries);
    double *const squares = allocate(base->rows, sizeof *squares);
    bool ok = true;

    if (argc > 2 && strtoul(argv[2], NULL, 10) < queries->rows)
        queries->rows = strtoul(argv[2], NULL, 10);
    for (size_t r = 0; r < base->rows; r++)
        squares[r] = dot(base_pixels + r * DIM, base_pixels + r * DIM);
    printf("mnist: %zu rows of %d, %zu queries, k %d\n", base->rows, DIM, queries->rows, K);
    for (int m = DOTK_METRIC_DOT; m <= DOTK_METRIC_L2; m++)
        ok = run((dotk_metric)m, base, queries, base_pixels, squares, query_pixels) && ok;
    free(base_pixels);
    free(query_pixels);
    free(squares);
    dotk_vectors_close(base);
    dotk_vectors_close(queries);
    printf("%s\n", ok ? "passed" : "FAILED");
    return ok ? 0 : 1;
}
