/*
 * attention_check.h - what a case of the grid must hold
 *
 *     values     within 2e-6 of the largest |value| in f32; in halves no further from the double
 *                reference than twice the textbook's computation in that type
 *     bits       the same on other threads; for one entry, and some of its queries, alone
 *     garbage    NaN in what nobody sees changes no bit
 *     stats      the pairs that count
 *     matrices   scores at every stage, weights of each head, and averaged
 */
#ifndef DOTK_TEST_ATTENTION_CHECK_H
#define DOTK_TEST_ATTENTION_CHECK_H

#include "attention_case.h"
#include "contexts.h"

/* ------------------------------------------------------------------------- */
/*  Calls                                                                    */
/* ------------------------------------------------------------------------- */

static size_t grid_failures;

/* Prints the case and what is wrong with it. */
static inline void __attribute__((format(printf, 2, 3)))
report(const struct attention_case *c, const char *format, ...)
{
    char text[1024];
    va_list list;

    grid_failures++;
    describe_case(c, text, sizeof text);
    print_error("%s\n    ", text);
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    print_error("%s\n", text);
}

static inline dotk_context *
context_of(size_t threads)
{
    return threads == 0 ? NULL : threads == 1 ? one : threads == 2 ? two : four;
}

/* Reads the output of (B, H, queries, E) that the library wrote into dense numbers. */
static inline void
take_output(const struct attention_case *c, const dotk_attention_shape *shape, void *array,
            float *dense)
{
    const dotk_layout *const at = &c->p.options.output;
    const size_t E = value_width(&c->p), size = size_of(c->store);

    for (size_t row = 0; row < shape->batch * shape->heads * shape->queries; row++) {
        const size_t b = row / shape->queries / shape->heads;
        const size_t h = row / shape->queries % shape->heads;
        const size_t start = b * at->batch + h * at->head + row % shape->queries * at->row;
        for (size_t e = 0; e < E; e++)
            dense[row * E + e] = get_number(array, c->store, start + e);
        memset((char *)array + start * size, UNTOUCHED, E * size);
    }
}

/* Calls the library; returns whether it could. p->out and p->lse have the answer. */
static inline bool
run_case(struct attention_case *c, dotk_context *context)
{
    const size_t rows = heads_of(&c->p) * c->p.shape.queries;

    memset(c->out, UNTOUCHED, c->out_bytes);
    memset(c->p.lse, 0xff, rows * sizeof *c->p.lse);
    const dotk_status status = dotk_attention_forward(context, &c->p.shape, c->q, c->k, c->v,
                                                      &c->p.options, c->out, c->p.lse);
    if (status != DOTK_OK) {
        report(c, "%s: %s", dotk_status_text(status), dotk_last_message());
        return false;
    }
    take_output(c, &c->p.shape, c->out, c->p.out);
    for (size_t i = 0; i < c->out_bytes; i++) {
        if (((unsigned char *)c->out)[i] != UNTOUCHED) {
            report(c, "byte %zu of the output, between rows, was written", i);
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------------- */
/*  Values                                                                   */
/* ------------------------------------------------------------------------- */

static inline double
dropout_in(const struct problem *p, const struct place *place, size_t head, size_t i, size_t j)
{
    return p->options.dropout > 0 ? dropout_factor(p, place, head, i, j) : 1;
}

/*
 * The textbook's computation of a query in the type of the case: sums in f32, everything else
 * rounded to the type.
 */
static inline void
naive_row(const struct attention_case *c, size_t head, size_t i, double *out, double *weight)
{
    const struct problem *const p = &c->p;
    const size_t D = p->shape.width, E = value_width(p), S = p->shape.keys;
    const size_t b = head / p->shape.heads, h = head % p->shape.heads;
    const struct place place = place_of(p, b, i);
    const double cap = p->options.softcap;
    double most = p->options.sinks != NULL ? p->options.sinks[h] : -INFINITY;

    for (size_t j = 0; j < S; j++) {
        weight[j] = -INFINITY;
        if (!key_counts(p, &place, b, h, i, j))
            continue;
        const float *const q = query_row(p, b, h, i), *const k = key_row(p, p->k, D, b, h, j);
        float product = 0;
        for (size_t d = 0; d < D; d++)
            product += q[d] * k[d];
        double score = rounded(c->store, product * scale_of(p));
        if (cap != 0)
            score = rounded(c->store,
                            cap * rounded(c->store, tanh(rounded(c->store, score / cap))));
        weight[j] = rounded(c->store, score + rounded(c->store, added(p, &place, b, h, i, j)));
        most = fmax(most, weight[j]);
    }
    double sum = p->options.sinks != NULL ? exp(p->options.sinks[h] - most) : 0;
    for (size_t j = 0; j < S; j++)
        sum += weight[j] != -INFINITY ? exp(weight[j] - most) : 0;
    for (size_t j = 0; j < S; j++)
        weight[j] = weight[j] != -INFINITY ? rounded(c->store, exp(weight[j] - most) / sum) : 0;
    for (size_t j = place.key; j < place.key + place.length; j++)
        weight[j] = rounded(c->store, weight[j] * dropout_in(p, &place, head, i, j));
    for (size_t e = 0; e < E; e++) {
        float total = 0;
        for (size_t j = 0; j < S; j++)
            total += weight[j] != 0 ? (float)weight[j] * key_row(p, p->v, E, b, h, j)[e] : 0;
        out[e] = rounded(c->store, total);
    }
}

/* The worst errors of a case, and what a naive computation has. */
struct errors {
    double out, naive_out, largest_out;
};

/*
 * Adds one query. Returns whether it is within the bound of f32; of halves, whether its log-sum-exp
 * is. That has the same bound whatever the arrays are made of: products of halves are exact in f32,
 * all sums are f32, and weights are summed before any of them is rounded.
 */
static inline bool
compare_row(const struct attention_case *c, size_t row, double *want, double *naive, double *weight,
            struct errors *errors)
{
    const struct problem *const p = &c->p;
    const size_t E = value_width(p), S = p->shape.keys, L = p->shape.queries, head = row / L;
    const float *const got = p->out + row * E;
    double largest_score = 20, largest = 0;
    const double lse = reference_row(p, head, row % L, want, weight, &largest_score);

    for (size_t j = 0; j < S; j++) {
        const float *const value = key_row(p, p->v, E, head / p->shape.heads, head % p->shape.heads,
                                           j);
        for (size_t e = 0; weight[j] != 0 && e < E; e++)
            largest = fmax(largest, fabs((double)value[e]));
    }
    const bool none = lse == -INFINITY;
    const double lse_error = none ? (p->lse[row] == -INFINITY ? 0 : INFINITY)
                                  : fabs(p->lse[row] - lse);
    if (!(lse_error <= 4e-6 * fmax(1, fabs(lse)))) {
        report(c, "head %zu query %zu has log-sum-exp %.9g, want %.9g", head, row % L,
               (double)p->lse[row], lse);
        return false;
    }
    if (c->store != DOTK_STORE_F32) {
        naive_row(c, head, row % L, naive, weight);
        for (size_t e = 0; e < E; e++) {
            const double error = fabs(got[e] - want[e]);
            errors->out = fmax(errors->out, isnan(error) ? INFINITY : error);
            errors->naive_out = fmax(errors->naive_out, fabs(naive[e] - want[e]));
            errors->largest_out = fmax(errors->largest_out, fabs(want[e]));
        }
        return true;
    }
    for (size_t e = 0; e < E; e++) {
        const double bound = 2e-6 * largest * largest_score / 20 / (1 - p->options.dropout);
        errors->out = fmax(errors->out, fabs(got[e] - want[e]) / bound);
        if (!(fabs(got[e] - want[e]) <= bound)) {
            report(c, "head %zu query %zu column %zu is %.9g, want %.9g: %.2g of the bound", head,
                   row % L, e, (double)got[e], want[e], fabs(got[e] - want[e]) / bound);
            return false;
        }
    }
    return true;
}

/* Compares queries, up to about 'budget' multiply-adds, with the reference. */
static inline void
compare_case(const struct attention_case *c, double budget)
{
    const struct problem *const p = &c->p;
    const size_t E = value_width(p), S = p->shape.keys, rows = heads_of(p) * p->shape.queries;
    const double row_cost = (double)S * (double)(p->shape.width + 2 * E + 60);
    const size_t affordable = 3 + (size_t)(budget / row_cost);
    double *const want = malloc((2 * E + S) * sizeof *want);
    uint64_t seed = c->seed;
    struct errors errors = {0};
    size_t compared = 0;

    test_require(want != NULL, "malloc");
    for (size_t n = 0; n < rows && n < affordable; n++, compared++) {
        const size_t row = rows <= affordable ? n
                           : n == 0           ? 0
                           : n == 1           ? rows - 1
                                              : test_random_below(&seed, rows);
        if (!compare_row(c, row, want, want + E, want + 2 * E, &errors))
            break;
    }
    free(want);
    /* The error of a few numbers is luck: it may be nothing but the rounding of what is stored. */
    const double last_place = c->store == DOTK_STORE_F16 ? 0x1p-11 : 0x1p-8;
    const double luck = compared * E < 200 ? last_place * errors.largest_out : 0;
    if (errors.out > 2 * errors.naive_out + luck && c->store != DOTK_STORE_F32)
        report(c, "%zu queries are up to %.3g off, the textbook's computation %.3g", compared,
               errors.out, errors.naive_out);
}

/* ------------------------------------------------------------------------- */
/*  Bits                                                                     */
/* ------------------------------------------------------------------------- */

/* Whether rows of 'width' floats are the same bits; reports the first that are not. */
static inline bool
is_same(const struct attention_case *c, const char *what, size_t row, const float *a,
        const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            report(c, "%s: value %zu after row %zu is %a and was %a", what, i, row, (double)a[i],
                   (double)b[i]);
            return false;
        }
    }
    return true;
}

/* Runs the case again, and compares with what was. */
static inline void
run_again(struct attention_case *c, const char *what, dotk_context *context)
{
    const size_t rows = heads_of(&c->p) * c->p.shape.queries, E = value_width(&c->p);
    float *const out = c->p.out, *const lse = c->p.lse;

    c->p.out = floats(rows * E);
    c->p.lse = floats(rows);
    if (run_case(c, context) && is_same(c, what, 0, c->p.out, out, rows * E))
        (void)is_same(c, what, 0, c->p.lse, lse, rows);
    free(c->p.out);
    free(c->p.lse);
    c->p.out = out;
    c->p.lse = lse;
}

/* Blocks of one query each: what queries first .. first + count - 1 of a place see of its keys. */
static inline dotk_attention_blocks
blocks_of_part(struct attention_case *c, const struct place *place, size_t first, size_t count)
{
    const dotk_attention_blocks *const from = &c->blocks;
    const size_t lists = block_rows(&c->p) + 1, heads = from->per_head ? c->p.shape.heads : 1;
    const size_t most = (place->keys + from->cols - 1) / from->cols;
    size_t *const starts = own(c, heads * (count + 1), sizeof *starts);
    size_t *const columns = own(c, heads * count * most, sizeof *columns), next = 0;

    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i <= count; i++) {
            const size_t *const start = from->starts + h * lists + (first + i) / from->rows;
            starts[h * (count + 1) + i] = next;
            for (size_t n = start[0]; i < count && n < start[1]; n++) {
                if (from->columns[n] < most)
                    columns[next++] = from->columns[n];
            }
        }
    }
    return (dotk_attention_blocks){1, from->cols, starts, columns, from->per_head};
}

/* The scales of one entry's keys, (G, keys). */
static inline const float *
scales_of_part(struct attention_case *c, const float *scales, size_t b, const struct place *place)
{
    const size_t G = key_heads(&c->p);

    if (scales == NULL)
        return NULL;
    float *const part = own(c, G * place->keys, sizeof *part);
    for (size_t g = 0; g < G; g++)
        memcpy(part + g * place->keys, scales + (b * G + g) * c->p.shape.keys + place->key,
               place->keys * sizeof *part);
    return part;
}

/*
 * Attends from 'count' queries, from query i of batch entry b on, by themselves: one entry, or one
 * sequence that is not packed any more. The bits must be those of the whole call.
 */
static inline void
run_part(struct attention_case *c, size_t b, size_t i, size_t count, dotk_context *context)
{
    const struct problem *const p = &c->p;
    const struct place place = place_of(p, b, i);
    const size_t H = p->shape.heads, E = value_width(p), size = size_of(c->store);
    const size_t k_size = p->options.key_scales != NULL ? 1 : size;
    const size_t v_size = p->options.value_scales != NULL ? 1 : size;
    dotk_attention_options o = p->options;
    dotk_attention_shape shape = p->shape;

    if (i + count > place.query + place.queries)
        count = place.query + place.queries - i;
    shape.batch = 1;
    shape.queries = count;
    shape.keys = place.keys;
    o.stats = NULL;
    o.sequences = 0;
    o.query_starts = o.key_starts = NULL;
    o.query_offsets = NULL;
    o.query_offset = place.offset + (int64_t)(i - place.query);
    if (o.query_offset < -(int64_t)count || o.query_offset > (int64_t)place.keys)
        return; /* further than an offset may be */
    if (o.dropout > 0 && (b != 0 || i != 0))
        return; /* elsewhere other weights are dropped */
    o.key_lengths = p->options.key_lengths != NULL ? &place.length : NULL;
    if (o.mask != NULL)
        o.mask += b * o.mask_layout.batch + i * o.mask_layout.row + place.key;
    if (o.bias != NULL)
        o.bias += b * o.bias_layout.batch + i * o.bias_layout.row + place.key;
    o.key_scales = scales_of_part(c, o.key_scales, b, &place);
    o.value_scales = scales_of_part(c, o.value_scales, b, &place);
    dotk_attention_blocks blocks;
    if (o.blocks != NULL) {
        blocks = blocks_of_part(c, &place, i - place.query, count);
        o.blocks = &blocks;
    }
    char *const array = own(c, extent_of(&o.output, 1, H, count, E), size);
    float *const out = own(c, H * count * E, sizeof *out), *const lse = own(c, H * count, 4);
    const dotk_status status = dotk_attention_forward(
        context, &shape, (char *)c->q + (b * o.query.batch + i * o.query.row) * size,
        (char *)c->k + (b * o.key.batch + place.key * o.key.row) * k_size,
        (char *)c->v + (b * o.value.batch + place.key * o.value.row) * v_size, &o, array, lse);
    if (status != DOTK_OK) {
        report(c, "queries %zu .. of entry %zu alone: %s", i, place.entry, dotk_last_message());
        return;
    }
    take_output(c, &shape, array, out);
    for (size_t h = 0; h < H; h++) {
        const size_t row = (b * H + h) * p->shape.queries + i;
        if (!is_same(c, "a part alone", row, out + h * count * E, p->out + row * E, count * E) ||
            !is_same(c, "lse of a part alone", row, lse + h * count, p->lse + row, count))
            return;
    }
}

/* ------------------------------------------------------------------------- */
/*  What nobody sees                                                         */
/* ------------------------------------------------------------------------- */

static inline void
fill_nan(void *array, dotk_store store, size_t start, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_number(array, store, start + i, NAN);
}

/* Counts the pairs, and plants NaN in keys, values and biases that count for nobody. */
static inline void
plant_garbage(struct attention_case *c)
{
    struct problem *const p = &c->p;
    dotk_attention_options *const o = &p->options;
    const size_t B = p->shape.batch, H = p->shape.heads, G = key_heads(p), L = p->shape.queries;
    const size_t S = p->shape.keys,
                 bias_count = o->bias != NULL ? mask_count(c, &o->bias_layout) : 0;
    uint8_t *const key_seen = own(c, B * G * S, 1), *const bias_seen = own(c, bias_count, 1);
    uint64_t pairs = 0;

    memset(key_seen, 0, B * G * S);
    memset(bias_seen, 0, bias_count);
    for (size_t row = 0; row < B * H * L; row++) {
        const size_t b = row / L / H, h = row / L % H, i = row % L;
        const struct place place = place_of(p, b, i);
        for (size_t j = 0; j < S; j++) {
            const bool counts = key_counts(p, &place, b, h, i, j);
            pairs += counts;
            key_seen[(b * G + h / (H / G)) * S + j] |= counts;
            if (o->bias != NULL) {
                const size_t at = b * o->bias_layout.batch + h * o->bias_layout.head +
                                  i * o->bias_layout.row + j;
                bias_seen[at] |= counts || o->bias[at] == -INFINITY;
            }
        }
    }
    if (c->stats.pairs != pairs)
        report(c, "stats.pairs is %llu, want %llu", (unsigned long long)c->stats.pairs,
               (unsigned long long)pairs);
    for (size_t row = 0; row < B * G * S; row++) {
        const size_t b = row / S / G, g = row / S % G, j = row % S;
        if (key_seen[row])
            continue;
        if (o->key_scales != NULL)
            ((float *)(uintptr_t)o->key_scales)[row] = NAN;
        else
            fill_nan(c->k, c->store, b * o->key.batch + g * o->key.head + j * o->key.row,
                     p->shape.width);
        if (o->value_scales != NULL)
            ((float *)(uintptr_t)o->value_scales)[row] = NAN;
        else
            fill_nan(c->v, c->store, b * o->value.batch + g * o->value.head + j * o->value.row,
                     value_width(p));
    }
    for (size_t at = 0; at < bias_count; at++) {
        if (!bias_seen[at])
            ((float *)(uintptr_t)o->bias)[at] = NAN;
    }
}

/* ------------------------------------------------------------------------- */
/*  Weights and scores                                                       */
/* ------------------------------------------------------------------------- */

/* Compares the scores of a row at every stage with the reference. */
static inline bool
compare_scores(const struct attention_case *c, size_t row, float *const scores[3])
{
    const struct problem *const p = &c->p;
    const size_t D = p->shape.width, L = p->shape.queries, H = p->shape.heads, i = row % L;
    const size_t b = row / L / H, h = row / L % H;
    const struct place place = place_of(p, b, i);

    for (size_t j = 0; j < p->shape.keys; j++) {
        double want[3] = {-INFINITY, -INFINITY, -INFINITY}, magnitude = 0;
        if (j >= place.key && j < place.key + place.length) {
            want[0] = scale_of(p) *
                      test_dot(query_row(p, b, h, i), key_row(p, p->k, D, b, h, j), D, &magnitude);
            want[1] = softcapped(p, want[0]);
        }
        if (key_counts(p, &place, b, h, i, j))
            want[2] = want[1] + added(p, &place, b, h, i, j);
        const double rounding = (double)(D + 1) * 0x1p-24 * magnitude * fabs(scale_of(p));
        for (size_t stage = 0; stage < 3; stage++) {
            const double bound = rounding + 1e-6 * fmax(1, 0.3 * fabs(want[stage]));
            const double got = scores[stage][row * p->shape.keys + j];
            if (want[stage] == -INFINITY ? got != -INFINITY : !(fabs(got - want[stage]) <= bound)) {
                report(c, "score of row %zu and key %zu at stage %zu is %.9g, want %.9g", row, j,
                       stage, got, want[stage]);
                return false;
            }
        }
    }
    return true;
}

/* The weights of a row, which are added to those of its query in 'average'. */
static inline bool
compare_weights(const struct attention_case *c, size_t row, const float *weights, double *average)
{
    const struct problem *const p = &c->p;
    const size_t S = p->shape.keys, L = p->shape.queries, E = value_width(p);
    double *const want = malloc((S + E) * sizeof *want), largest = 20;

    test_require(want != NULL, "malloc");
    (void)reference_row(p, row / L, row % L, want + S, want, &largest);
    const struct place place = place_of(p, row / L / p->shape.heads, row % L);
    size_t wrong = S;
    for (size_t j = 0; j < S; j++) {
        if (want[j] != 0)
            want[j] *= dropout_in(p, &place, row / L, row % L, j);
        average[(row / L / p->shape.heads * L + row % L) * S + j] += want[j] /
                                                                     (double)p->shape.heads;
        if (!(fabs(weights[row * S + j] - want[j]) <=
              2e-6 * largest / 20 / (1 - p->options.dropout)))
            wrong = j;
    }
    if (wrong < S)
        report(c, "weight of row %zu and key %zu is %.9g, want %.9g", row, wrong,
               (double)weights[row * S + wrong], want[wrong]);
    free(want);
    return wrong == S;
}

/* Returns the weights. */
static inline float *
check_matrices(struct attention_case *c, dotk_context *context)
{
    const struct problem *const p = &c->p;
    const size_t S = p->shape.keys, rows = heads_of(p) * p->shape.queries, cells = rows * S;
    float *const arrays[4] = {own(c, cells, 4), own(c, cells, 4), own(c, cells, 4),
                              own(c, cells, 4)};
    double *const average = own(c, cells, sizeof *average);
    const size_t averaged = cells / p->shape.heads;

    for (size_t i = 0; i < cells; i++)
        average[i] = 0;
    for (int stage = 0; stage < 3; stage++)
        assert_ok(dotk_attention_scores(context, &p->shape, c->q, c->k, &p->options,
                                        (dotk_attention_stage)stage, arrays[stage]));
    assert_ok(dotk_attention_weights(context, &p->shape, c->q, c->k, &p->options, 0, arrays[3]));
    for (size_t row = 0; row < rows; row++) {
        if (!compare_scores(c, row, arrays) || !compare_weights(c, row, arrays[3], average))
            return arrays[3];
    }
    assert_ok(dotk_attention_weights(context, &p->shape, c->q, c->k, &p->options, 1, arrays[0]));
    for (size_t i = 0; i < averaged; i++) {
        if (!(fabs(arrays[0][i] - average[i]) <= 4e-6)) {
            report(c, "averaged weight %zu is %.9g, want %.9g", i, (double)arrays[0][i],
                   average[i]);
            break;
        }
    }
    return arrays[3];
}

#endif /* DOTK_TEST_ATTENTION_CHECK_H */
