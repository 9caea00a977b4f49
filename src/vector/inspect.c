/*
 * inspect.c - describes a set of vectors: lengths, bad rows, duplicates, the metric that fits
 *
 * One pass over the rows, shared among threads in blocks of about 1 MiB: each row gets its norm
 * and a hash of its bytes, which is looked up at once in an open-addressed table of row numbers.
 * Threads put rows in by compare-and-swap, and nothing is ever taken out, so equal rows meet on
 * the same slots whoever comes first: the count of distinct rows does not depend on the order.
 * Quantiles are exact order statistics (nearest rank), found digit by digit by counting the bits
 * of the norms as a radix sort would, which needs no memory and can be cancelled.
 *
 * Memory a row: 4 bytes of norm, 8 of hash, 12 of table.
 */
#include <dotk/vector.h>

#include "codec/norm.h"
#include "tile/tile.h"

#include <math.h>
#include <string.h>

enum {
    QUANTILES = 5,
    DIGIT_BITS = 8,
    DIGITS = 32 / DIGIT_BITS,
    DIGIT_VALUES = 1 << DIGIT_BITS,
    VALUES_A_BLOCK = 1 << 18,
};

/* "Unit length" leaves room for vectors that were stored as 16-bit floats. */
#define UNIT_TOLERANCE 1e-3
#define NEAR_TOLERANCE 1e-2

/* The norm of a row that has none. As bits it is above every finite norm. */
#define NO_NORM    ((float)NAN)

#define EMPTY_SLOT SIZE_MAX

static const double quantile_at[QUANTILES] = {0.01, 0.25, 0.50, 0.75, 0.99};

/* What one block of rows came to; sums are per block, so that threads cannot change them. */
struct block {
    size_t nan_rows, infinite_rows, zero_rows, duplicate_rows, unit_rows;
    size_t near_rows;     /* within NEAR_TOLERANCE of unit length, but not within UNIT_TOLERANCE */
    size_t negative_rows; /* with some value below 0 */
    double norm_min, norm_max, norm_sum;
};

struct inspector {
    const float *vectors;
    size_t rows, dim, stride;
    size_t rows_a_block;
    struct block *blocks;
    float *norms;
    uint64_t *hashes;
    size_t *table; /* of row numbers */
    size_t table_size;

    /* The search for quantiles: digits found so far, and what is counted for the next. */
    int shift;
    uint32_t prefix[QUANTILES];
    size_t (*counts)[QUANTILES][DIGIT_VALUES]; /* one for each slot */
};

/* ------------------------------------------------------------------------- */
/*  One row                                                                  */
/* ------------------------------------------------------------------------- */

static bool
has_negative(const float *row, size_t dim)
{
    bool found = false;

    for (size_t d = 0; d < dim; d++)
        found |= row[d] < 0; /* no early end: this way it is done in lanes */
    return found;
}

/* Multiply and fold, 8 bytes at a time; spread over the table by its high bits. */
static uint64_t
hash_bytes(const float *row, size_t dim)
{
    const unsigned char *const bytes = (const unsigned char *)row;
    const size_t size = dim * sizeof *row;
    uint64_t hash = 0, word = 0;

    for (size_t at = 0; at < size; at += sizeof word) {
        word = 0;
        memcpy(&word, bytes + at, dk_min(sizeof word, size - at));
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
        hash ^= hash >> 32;
    }
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

/* Enters the row into the table. Returns true when an equal row was there already. */
static bool
is_duplicate(struct inspector *in, size_t row)
{
    const float *const values = in->vectors + row * in->stride;
    const uint64_t hash = in->hashes[row];
    size_t slot = (size_t)(((unsigned __int128)hash * in->table_size) >> 64);

    for (;;) {
        size_t other = __atomic_load_n(&in->table[slot], __ATOMIC_ACQUIRE);
        if (other == EMPTY_SLOT && __atomic_compare_exchange_n(&in->table[slot], &other, row, false,
                                                               __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return false;
        if (in->hashes[other] == hash &&
            memcmp(in->vectors + other * in->stride, values, in->dim * sizeof *values) == 0)
            return true;
        slot = slot + 1 < in->table_size ? slot + 1 : 0;
    }
}

static void
inspect_row(struct inspector *in, size_t row, struct block *block)
{
    const float *const values = in->vectors + row * in->stride;
    const double squared = dk_sum_of_squares(values, in->dim); /* NaN if any value is */
    const double norm = sqrt(squared);

    in->hashes[row] = hash_bytes(values, in->dim);
    block->duplicate_rows += is_duplicate(in, row);
    block->negative_rows += has_negative(values, in->dim);
    in->norms[row] = NO_NORM;
    if (isnan(squared)) {
        block->nan_rows++;
    } else if (isinf(squared)) {
        block->infinite_rows++;
    } else {
        in->norms[row] = (float)norm;
        block->zero_rows += squared == 0;
        block->unit_rows += fabs(norm - 1) <= UNIT_TOLERANCE;
        block->near_rows += fabs(norm - 1) > UNIT_TOLERANCE && fabs(norm - 1) <= NEAR_TOLERANCE;
        block->norm_min = fmin(block->norm_min, norm);
        block->norm_max = fmax(block->norm_max, norm);
        block->norm_sum += norm;
    }
}

static void
inspect_block(void *arg, size_t task, size_t slot)
{
    struct inspector *const in = arg;
    const size_t end = dk_min(in->rows, (task + 1) * in->rows_a_block);

    (void)slot;
    in->blocks[task] = (struct block){.norm_min = INFINITY, .norm_max = -INFINITY};
    for (size_t row = task * in->rows_a_block; row < end; row++)
        inspect_row(in, row, &in->blocks[task]);
}

/* ------------------------------------------------------------------------- */
/*  Quantiles                                                                */
/* ------------------------------------------------------------------------- */

/* The bits of a float that is not negative order as it does; NaN comes last. */
static uint32_t
bits_of(float norm)
{
    uint32_t bits;
    memcpy(&bits, &norm, sizeof bits);
    return bits;
}

/* Counts the next digit of the norms that share the digits found so far. */
static void
count_digits(void *arg, size_t task, size_t slot)
{
    struct inspector *const in = arg;
    const size_t end = dk_min(in->rows, (task + 1) * VALUES_A_BLOCK);

    for (size_t row = task * VALUES_A_BLOCK; row < end; row++) {
        const uint64_t bits = bits_of(in->norms[row]); /* 64 bits: shifted by 32 at first */
        const size_t digit = (bits >> in->shift) % DIGIT_VALUES;
        for (size_t q = 0; q < QUANTILES; q++)
            in->counts[slot][q][digit] += bits >> (in->shift + DIGIT_BITS) == in->prefix[q];
    }
}

/* The digit that the norm of rank *rank (among those counted) has; makes *rank relative to it. */
static uint32_t
find_digit(const struct inspector *in, size_t slots, size_t q, size_t *rank)
{
    for (uint32_t digit = 0;; digit++) {
        size_t count = 0;
        for (size_t slot = 0; slot < slots; slot++)
            count += in->counts[slot][q][digit];
        if (*rank < count)
            return digit;
        *rank -= count;
    }
}

/* The quantiles of the first 'finite' (at least 1) of the norms in ascending order. */
static dotk_status
find_quantiles(struct dk_call *call, struct inspector *in, size_t finite,
               double quantile[QUANTILES])
{
    const size_t tasks = (in->rows + VALUES_A_BLOCK - 1) / VALUES_A_BLOCK;
    size_t rank[QUANTILES];

    for (size_t q = 0; q < QUANTILES; q++)
        rank[q] = (size_t)(quantile_at[q] * (double)(finite - 1) + 0.5);
    for (in->shift = (DIGITS - 1) * DIGIT_BITS; in->shift >= 0; in->shift -= DIGIT_BITS) {
        memset(in->counts, 0, call->slots * sizeof *in->counts);
        const dotk_status status = dk_call_run(call, tasks, count_digits, in);
        if (status != DOTK_OK)
            return status;
        for (size_t q = 0; q < QUANTILES; q++)
            in->prefix[q] = in->prefix[q] << DIGIT_BITS | find_digit(in, call->slots, q, &rank[q]);
    }
    for (size_t q = 0; q < QUANTILES; q++) {
        float norm;
        memcpy(&norm, &in->prefix[q], sizeof norm);
        quantile[q] = norm;
    }
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  The whole                                                                */
/* ------------------------------------------------------------------------- */

static void
advise(dotk_inspection *out, size_t directed, size_t negative)
{
    if (directed == 0) {
        out->metric = "l2";
        out->why = "No row has a direction, so only distances mean anything.";
    } else if (out->unit) {
        out->metric = "dot";
        out->why = "Every row has length 1, so dot is the cosine, without a division, and l2 "
                   "ranks the same.";
    } else if (out->mixed) {
        out->metric = "cosine";
        out->why = "Some rows are normalised and some are not: cosine compares directions only, "
                   "whereas dot would favour the long ones.";
    } else if (negative == 0) {
        out->metric = "l2";
        out->why = "No value is negative, as in pixels, counts and histograms, where size carries "
                   "meaning and distance compares it.";
    } else {
        out->metric = "cosine";
        out->why = "Lengths differ, and in most embeddings only the direction carries meaning; "
                   "take dot if a longer row is meant to score higher.";
    }
}

static void
summarize(const struct inspector *in, size_t blocks, dotk_inspection *out)
{
    size_t near = 0, negative = 0;
    double sum = 0;

    *out = (dotk_inspection){.rows = in->rows, .dim = in->dim, .norm_min = INFINITY};
    for (size_t i = 0; i < blocks; i++) {
        const struct block *const block = &in->blocks[i];
        out->nan_rows += block->nan_rows;
        out->infinite_rows += block->infinite_rows;
        out->zero_rows += block->zero_rows;
        out->duplicate_rows += block->duplicate_rows;
        out->unit_rows += block->unit_rows;
        out->norm_min = fmin(out->norm_min, block->norm_min);
        out->norm_max = fmax(out->norm_max, block->norm_max);
        near += block->near_rows;
        negative += block->negative_rows;
        sum += block->norm_sum;
    }
    const size_t finite = in->rows - out->nan_rows - out->infinite_rows;
    const size_t directed = finite - out->zero_rows;
    if (finite == 0)
        out->norm_min = 0;
    else
        out->norm_mean = sum / (double)finite;
    out->unit = in->rows > 0 && out->unit_rows == in->rows;
    /* Lengths that happen to lie around 1 have 9 times as many rows near it as at it. */
    out->mixed = out->unit_rows < directed && out->unit_rows >= directed / 100.0 &&
                 out->unit_rows > near;
    advise(out, directed, negative);
}

static dotk_status
inspect(struct dk_call *call, struct inspector *in, struct dk_arena *arena, dotk_inspection *out)
{
    in->rows_a_block = dk_max(1, VALUES_A_BLOCK / in->dim);
    in->table_size = in->rows + in->rows / 2 + 1;
    const size_t blocks = (in->rows + in->rows_a_block - 1) / in->rows_a_block;

    in->blocks = dk_arena_array(arena, blocks, sizeof *in->blocks);
    in->norms = dk_arena_array(arena, in->rows, sizeof *in->norms);
    in->hashes = dk_arena_array(arena, in->rows, sizeof *in->hashes);
    in->table = dk_arena_array(arena, in->table_size, sizeof *in->table);
    in->counts = dk_arena_array(arena, call->slots, sizeof *in->counts);
    if (in->blocks == NULL || in->norms == NULL || in->hashes == NULL || in->table == NULL ||
        in->counts == NULL)
        return dk_fail(DOTK_NO_MEMORY, "about 24 bytes for each of %zu rows could not be allocated",
                       in->rows);
    memset(in->table, 0xff, in->table_size * sizeof *in->table);
    const dotk_status status = dk_call_run(call, blocks, inspect_block, in);
    if (status != DOTK_OK)
        return status;
    summarize(in, blocks, out);
    const size_t finite = in->rows - out->nan_rows - out->infinite_rows;
    return finite == 0 ? DOTK_OK : find_quantiles(call, in, finite, out->norm_quantile);
}

dotk_status
dotk_inspect(dotk_context *context, const float *vectors, size_t rows, size_t dim, size_t stride,
             dotk_inspection *out)
{
    struct dk_call call;

    if (out == NULL || (vectors == NULL && rows > 0))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", out == NULL ? "out" : "vectors");
    if (stride == 0)
        stride = dim;
    if (dim == 0 || stride < dim)
        return dk_fail(DOTK_BAD_ARGUMENT, "dim is %zu and stride is %zu: 1 <= dim <= stride", dim,
                       stride);
    struct inspector in = {.vectors = vectors, .rows = rows, .dim = dim, .stride = stride};
    size_t bytes;
    if (!dk_mul(rows, stride, &bytes) || !dk_mul(bytes, sizeof *vectors, &bytes))
        return dk_fail(DOTK_BAD_ARGUMENT, "rows is %zu and stride is %zu: their product overflows",
                       rows, stride);
    dotk_status status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    struct dk_arena arena = {0}; /* the call's own memory would stay with the context */
    status = inspect(&call, &in, &arena, out);
    dk_arena_release(&arena);
    dk_call_end(&call);
    return status;
}
