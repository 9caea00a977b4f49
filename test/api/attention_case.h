/*
 * attention_case.h - one case of the grid: from a value of each parameter to arrays and options
 *
 * The numbers that the arrays hold lie in case.p, dense, for the reference; case.q .. case.out are
 * the arrays as the library gets them: of the case's type and strides, codes of int8 with scales.
 */
#ifndef DOTK_TEST_ATTENTION_CASE_H
#define DOTK_TEST_ATTENTION_CASE_H

#include "attention_reference.h"

/* ------------------------------------------------------------------------- */
/*  Parameters                                                               */
/* ------------------------------------------------------------------------- */

enum parameter {
    QUERIES,
    KEYS,
    WIDTH,
    VALUE_WIDTH,
    BATCH,
    HEADS,
    LAYOUT,
    STORE,
    CODES,
    SCALE,
    CAUSAL,
    OFFSET,
    WINDOW,
    LENGTHS,
    MASK,
    BIAS,
    BLOCKS,
    PACKED,
    SOFTCAP,
    SLOPES,
    SINKS,
    DROPOUT,
    THREADS,
    PARAMETERS
};

enum { VALUES_MAX = 8 };

static const struct {
    const char *name, *values[VALUES_MAX];
} parameters[PARAMETERS] = {
    [QUERIES] = {"L", {"1", "5", "63", "64", "65", "1000", "4097"}},
    [KEYS] = {"S", {"1", "5", "63", "64", "65", "1000", "4097"}},
    [WIDTH] = {"D", {"1", "31", "64", "80", "512"}},
    [VALUE_WIDTH] = {"E", {"D", "1", "48", "130"}},
    [BATCH] = {"B", {"1", "2", "3"}},
    [HEADS] = {"H/G", {"1/1", "3/3", "2/1", "6/2", "8/1"}},
    [LAYOUT] = {"layout", {"BHLD", "BLHD", "gaps"}},
    [STORE] = {"store", {"f32", "f16", "bf16"}},
    [CODES] = {"int8", {"none", "k", "v", "k+v"}},
    [SCALE] = {"scale", {"default", "double", "negative", "0"}},
    [CAUSAL] = {"causal", {"no", "yes"}},
    [OFFSET] = {"offset", {"0", "S-L", "S/3", "-L/3", "entries"}},
    [WINDOW] = {"window", {"none", "0,0", "40,all", "all,7", "100,30", "256,0"}},
    [LENGTHS] = {"lengths", {"none", "some", "few"}},
    [MASK] = {"mask", {"none", "S", "LS", "B1S", "HLS", "BHLS"}},
    [BIAS] = {"bias", {"none", "S", "LS", "B1S", "HLS", "BHLS"}},
    [BLOCKS] = {"blocks", {"none", "64x64", "17x100", "heads"}},
    [PACKED] = {"packed", {"no", "yes"}},
    [SOFTCAP] = {"softcap", {"none", "1.5", "30"}},
    [SLOPES] = {"slopes", {"none", "steep", "flat"}},
    [SINKS] = {"sinks", {"none", "some"}},
    [DROPOUT] = {"dropout", {"none", "0.125", "0.6"}},
    [THREADS] = {"threads", {"caller", "1", "2", "4"}},
};

static inline size_t
values_of(size_t parameter)
{
    size_t count = 0;

    while (count < VALUES_MAX && parameters[parameter].values[count] != NULL)
        count++;
    return count;
}

/* The value's text as a number. */
static inline size_t
number_of(const size_t *value, size_t parameter)
{
    return strtoul(parameters[parameter].values[value[parameter]], NULL, 10);
}

static inline bool
is_set(const size_t *value, size_t parameter)
{
    return value[parameter] != 0;
}

static inline size_t
heads_in(const size_t *value)
{
    return number_of(value, HEADS);
}

static inline size_t
key_heads_in(const size_t *value)
{
    return strtoul(strchr(parameters[HEADS].values[value[HEADS]], '/') + 1, NULL, 10);
}

static inline size_t
value_width_in(const size_t *value)
{
    return is_set(value, VALUE_WIDTH) ? number_of(value, VALUE_WIDTH) : number_of(value, WIDTH);
}

/* ------------------------------------------------------------------------- */
/*  Types                                                                    */
/* ------------------------------------------------------------------------- */

/* To the nearest number of a type: 11 or 8 bits, the last of which is at least 2^least. */
static inline double
rounded(dotk_store store, double x)
{
    int exponent;

    if (store == DOTK_STORE_F32)
        return (float)x;
    if (x == 0 || !isfinite(x))
        return x;
    (void)frexp(x, &exponent);
    const int digits = store == DOTK_STORE_F16 ? 11 : 8;
    const int least = store == DOTK_STORE_F16 ? -24 : -133;
    const double unit = ldexp(1, exponent - digits > least ? exponent - digits : least);
    const double nearest = rint(x / unit) * unit; /* ties to even */
    return store == DOTK_STORE_F16 && fabs(nearest) > 65504 ? copysign(INFINITY, x) : nearest;
}

static inline size_t
size_of(dotk_store store)
{
    return store == DOTK_STORE_F32 ? 4 : 2;
}

static inline void
put_number(void *array, dotk_store store, size_t at, float x)
{
    uint16_t half = 0;
    uint32_t bits;
    int exponent;

    if (store == DOTK_STORE_F32) {
        ((float *)array)[at] = x;
        return;
    }
    memcpy(&bits, &x, sizeof bits);
    if (store == DOTK_STORE_BF16) {
        half = (uint16_t)(bits >> 16);
    } else if (isnan(x)) {
        half = 0x7e00;
    } else {
        const double fraction = frexp(fabs((double)x), &exponent);
        half = x == 0 || exponent < -13
                   ? (uint16_t)ldexp(fabs((double)x), 24)
                   : (uint16_t)((exponent + 14) * 1024 + (int)(fraction * 2048) - 1024);
        half |= (uint16_t)(bits >> 16 & 0x8000);
    }
    ((uint16_t *)array)[at] = half;
}

static inline float
get_number(const void *array, dotk_store store, size_t at)
{
    if (store == DOTK_STORE_F32)
        return ((const float *)array)[at];
    const uint16_t half = ((const uint16_t *)array)[at];
    if (store == DOTK_STORE_BF16) {
        const uint32_t bits = (uint32_t)half << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double size = exponent == 31  ? (fraction != 0 ? (double)NAN : (double)INFINITY)
                        : exponent == 0 ? ldexp(fraction, -24)
                                        : ldexp(1024 + fraction, exponent - 25);
    return (float)(half & 0x8000 ? -size : size);
}

/* ------------------------------------------------------------------------- */
/*  A case                                                                   */
/* ------------------------------------------------------------------------- */

enum { OWNED_MAX = 64, UNTOUCHED = 0xa5 };

struct attention_case {
    size_t value[PARAMETERS], number;
    uint64_t seed;
    struct problem p;
    dotk_store store;
    void *q, *k, *v, *out;
    size_t out_bytes;
    dotk_attention_stats stats;
    dotk_attention_blocks blocks;
    void *owned[OWNED_MAX];
    size_t owned_count;
};

static inline void *
own(struct attention_case *c, size_t count, size_t size)
{
    test_require(c->owned_count < OWNED_MAX, "a case with too many arrays");
    void *const array = malloc((count + 1) * size);
    test_require(array != NULL, "malloc");
    return c->owned[c->owned_count++] = array;
}

static inline void
drop_case(struct attention_case *c)
{
    for (size_t i = 0; i < c->owned_count; i++)
        free(c->owned[i]);
    c->owned_count = 0;
}

/* Strides of (heads, rows, width) arrays in the case's layout, none of them 0. */
static inline dotk_layout
layout_of(const struct attention_case *c, size_t heads, size_t rows, size_t width)
{
    if (c->value[LAYOUT] == 1) /* (B, rows, heads, width) */
        return (dotk_layout){rows * heads * width, width, heads * width};
    const size_t gap = c->value[LAYOUT] == 2 ? 3 : 0;
    const size_t row = width + gap, head = rows * row + 2 * gap;
    return (dotk_layout){heads * head + gap, head, row};
}

/* Elements from the first to the last. */
static inline size_t
extent_of(const dotk_layout *at, size_t batch, size_t heads, size_t rows, size_t width)
{
    return rows == 0
               ? 0
               : (batch - 1) * at->batch + (heads - 1) * at->head + (rows - 1) * at->row + width;
}

/* Makes dense numbers, those of the case's type, and the array that holds them. */
static inline float *
make_numbers(struct attention_case *c, size_t heads, size_t rows, size_t width,
             const dotk_layout *at, void **array)
{
    const size_t batch = c->p.shape.batch, size = size_of(c->store);
    float *const dense = own(c, batch * heads * rows * width, sizeof *dense);
    float *next = dense;

    *array = own(c, extent_of(at, batch, heads, rows, width), size);
    memset(*array, UNTOUCHED, extent_of(at, batch, heads, rows, width) * size);
    for (size_t row = 0; row < batch * heads * rows; row++) {
        const size_t b = row / rows / heads, h = row / rows % heads;
        const size_t start = b * at->batch + h * at->head + row % rows * at->row;
        for (size_t i = 0; i < width; i++, next++) {
            /* of variance 1, and quicker to make than normal ones */
            const double x = 1.7320508 * test_random_float(&c->seed);
            *next = (float)rounded(c->store, x);
            put_number(*array, c->store, start + i, *next);
        }
    }
    return dense;
}

/* The same with codes and scales; a product of the two is exact in f32. */
static inline float *
make_codes(struct attention_case *c, size_t heads, size_t rows, size_t width, const dotk_layout *at,
           void **array, const float **scales)
{
    const size_t batch = c->p.shape.batch;
    float *const dense = own(c, batch * heads * rows * width, sizeof *dense);
    float *const scale = own(c, batch * heads * rows, sizeof *scale);
    int8_t *const codes = own(c, extent_of(at, batch, heads, rows, width), 1);
    float *next = dense;

    memset(codes, UNTOUCHED, extent_of(at, batch, heads, rows, width));
    for (size_t row = 0; row < batch * heads * rows; row++) {
        const size_t b = row / rows / heads, h = row / rows % heads;
        const size_t start = b * at->batch + h * at->head + row % rows * at->row;
        scale[row] = (float)(32 + test_random_below(&c->seed, 32)) * 0x1p-12f;
        for (size_t i = 0; i < width; i++) {
            codes[start + i] = (int8_t)((int)test_random_below(&c->seed, 255) - 127);
            *next++ = (float)codes[start + i] * scale[row];
        }
    }
    *array = codes;
    *scales = scale;
    return dense;
}

/* Strides of a mask or bias in the form that MASK and BIAS list. */
static inline dotk_layout
mask_layout_of(const struct attention_case *c, size_t form)
{
    const dotk_attention_shape *const shape = &c->p.shape;
    const size_t row = shape->keys + (c->value[LAYOUT] == 2 ? 5 : 0), head = shape->queries * row;
    const dotk_layout forms[] = {{0, 0, 0},   {0, 0, 0},      {0, 0, row},
                                 {row, 0, 0}, {0, head, row}, {shape->heads * head, head, row}};
    return forms[form];
}

static inline size_t
mask_count(const struct attention_case *c, const dotk_layout *at)
{
    return extent_of(at, c->p.shape.batch, c->p.shape.heads, c->p.shape.queries, c->p.shape.keys);
}

static inline void
make_masks(struct attention_case *c)
{
    dotk_attention_options *const o = &c->p.options;

    if (is_set(c->value, MASK)) {
        o->mask_layout = mask_layout_of(c, c->value[MASK]);
        const size_t count = mask_count(c, &o->mask_layout);
        uint8_t *const mask = own(c, count, 1);
        const size_t one_in = 2 + test_random_below(&c->seed, 6); /* is 0 */
        for (size_t i = 0; i < count; i++) {
            const uint64_t random = test_random(&c->seed);
            mask[i] = random % one_in == 0 ? 0 : (uint8_t)(1 + (random >> 32) % 255);
        }
        /* and whole rows see nothing */
        for (size_t row = 3; o->mask_layout.row != 0 && row < c->p.shape.queries; row += 11)
            memset(mask + row * o->mask_layout.row, 0, c->p.shape.keys);
        o->mask = mask;
    }
    if (is_set(c->value, BIAS)) {
        o->bias_layout = mask_layout_of(c, c->value[BIAS]);
        const size_t count = mask_count(c, &o->bias_layout);
        float *const bias = own(c, count, sizeof *bias);
        for (size_t i = 0; i < count; i++)
            bias[i] = 3 * test_random_float(&c->seed);
        for (size_t i = 0; i < count; i += 1 + test_random_below(&c->seed, 30))
            bias[i] = -INFINITY;
        o->bias = bias;
    }
}

static inline void
make_blocks(struct attention_case *c)
{
    static const size_t sizes[][2] = {{0, 0}, {64, 64}, {17, 100}, {32, 40}};
    const size_t form = c->value[BLOCKS];

    if (form == 0)
        return;
    c->blocks = (dotk_attention_blocks){sizes[form][0], sizes[form][1], NULL, NULL, form == 3};
    c->p.options.blocks = &c->blocks;
    const size_t rows = block_rows(&c->p), lists = form == 3 ? c->p.shape.heads : 1;
    const size_t cols = (c->p.shape.keys + sizes[form][1] - 1) / sizes[form][1];
    size_t *const starts = own(c, lists * (rows + 1), sizeof *starts);
    size_t *const columns = own(c, lists * rows * cols, sizeof *columns);
    size_t count = 0;
    for (size_t list = 0; list < lists; list++) {
        for (size_t row = 0; row < rows; row++) {
            starts[list * (rows + 1) + row] = count;
            for (size_t col = 0; col < cols; col++) {
                if (test_random_below(&c->seed, 5) < 3)
                    columns[count++] = col;
            }
        }
        starts[list * (rows + 1) + rows] = count;
    }
    c->blocks.starts = starts;
    c->blocks.columns = columns;
}

/* 'count' + 1 starts from 0 to 'total'; some sequences are empty. */
static inline size_t *
make_starts(struct attention_case *c, size_t count, size_t total)
{
    size_t *const starts = own(c, count + 1, sizeof *starts);

    starts[0] = 0;
    starts[count] = total;
    for (size_t i = 1; i < count; i++) { /* between its share and the one before */
        starts[i] = total * i / count - test_random_below(&c->seed, total / count + 1);
        starts[i] = starts[i] < starts[i - 1] ? starts[i - 1] : starts[i];
    }
    return starts;
}

static inline void
make_positions(struct attention_case *c)
{
    dotk_attention_options *const o = &c->p.options;
    const int64_t L = (int64_t)c->p.shape.queries, S = (int64_t)c->p.shape.keys;
    const int64_t offsets[] = {0, S - L, S / 3, -(L / 3), 0};
    static const int64_t windows[][2] = {{0, 0}, {0, 0}, {40, -1}, {-1, 7}, {100, 30}, {256, 0}};
    const size_t entries = is_set(c->value, PACKED) ? 2 * number_of(c->value, BATCH) + 1
                                                    : c->p.shape.batch;

    if (is_set(c->value, PACKED)) {
        o->sequences = entries;
        o->query_starts = make_starts(c, entries, (size_t)L);
        o->key_starts = make_starts(c, entries, (size_t)S);
    }
    o->causal = is_set(c->value, CAUSAL);
    o->query_offset = offsets[c->value[OFFSET]];
    int64_t *const each = own(c, entries, sizeof *each);
    size_t *const lengths = own(c, entries, sizeof *lengths);
    for (size_t n = 0; n < entries; n++) {
        const size_t queries = o->sequences > 0 ? o->query_starts[n + 1] - o->query_starts[n]
                                                : (size_t)L;
        const size_t keys = o->sequences > 0 ? o->key_starts[n + 1] - o->key_starts[n] : (size_t)S;
        each[n] = (int64_t)test_random_below(&c->seed, queries + keys + 1) - (int64_t)queries;
        lengths[n] = test_random_below(&c->seed, (c->value[LENGTHS] == 2 ? keys / 8 : keys) + 1);
    }
    o->query_offsets = c->value[OFFSET] == 4 ? each : NULL;
    o->key_lengths = is_set(c->value, LENGTHS) ? lengths : NULL;
    o->has_window = is_set(c->value, WINDOW);
    o->window_left = windows[c->value[WINDOW]][0];
    o->window_right = windows[c->value[WINDOW]][1];
}

static inline void
make_heads(struct attention_case *c)
{
    dotk_attention_options *const o = &c->p.options;
    const size_t H = c->p.shape.heads;
    float *const slopes = own(c, H, sizeof *slopes), *const sinks = own(c, H, sizeof *sinks);
    /* Scores beyond 20 or so are more than f32 can tell apart. */
    const float reach = (float)(c->p.shape.queries + c->p.shape.keys);

    for (size_t h = 0; h < H; h++) {
        slopes[h] = (c->value[SLOPES] == 1 ? 12.0f : 1.0f) / reach / (float)(1 + h);
        sinks[h] = 4 * test_random_float(&c->seed);
    }
    o->slopes = is_set(c->value, SLOPES) ? slopes : NULL;
    o->sinks = is_set(c->value, SINKS) ? sinks : NULL;
    o->softcap = strtof(parameters[SOFTCAP].values[c->value[SOFTCAP]], NULL); /* "none" is 0 */
    o->dropout = strtof(parameters[DROPOUT].values[c->value[DROPOUT]], NULL);
    o->seed = test_random(&c->seed);
    o->has_scale = is_set(c->value, SCALE);
    static const float factors[] = {0, 2, -1.25f, 0};
    o->scale = factors[c->value[SCALE]] / sqrtf((float)c->p.shape.width);
}

/* Makes *c the case of these values; 'seed' is what its numbers come from. */
static inline void
make_case(struct attention_case *c, const size_t *value, size_t number, uint64_t seed)
{
    static const dotk_store stores[] = {DOTK_STORE_F32, DOTK_STORE_F16, DOTK_STORE_BF16};
    dotk_attention_options *const o = &c->p.options;

    *c = (struct attention_case){.number = number, .seed = seed, .store = stores[value[STORE]]};
    memcpy(c->value, value, sizeof c->value);
    *o = (dotk_attention_options)DOTK_ATTENTION_OPTIONS_INIT;
    c->p.shape = (dotk_attention_shape){
        .batch = is_set(value, PACKED) ? 1 : number_of(value, BATCH),
        .heads = heads_in(value),
        .queries = number_of(value, QUERIES),
        .keys = number_of(value, KEYS),
        .width = number_of(value, WIDTH),
        .value_width = is_set(value, VALUE_WIDTH) ? number_of(value, VALUE_WIDTH) : 0,
        .key_heads = key_heads_in(value),
    };
    const size_t H = c->p.shape.heads, G = c->p.shape.key_heads, L = c->p.shape.queries;
    const size_t S = c->p.shape.keys, D = c->p.shape.width, E = value_width(&c->p);
    o->store = c->store;
    o->stats = &c->stats;
    o->query = layout_of(c, H, L, D);
    o->key = layout_of(c, G, S, D);
    o->value = layout_of(c, G, S, E);
    o->output = layout_of(c, H, L, E);
    c->p.q = make_numbers(c, H, L, D, &o->query, &c->q);
    c->p.k = value[CODES] & 1 ? make_codes(c, G, S, D, &o->key, &c->k, &o->key_scales)
                              : make_numbers(c, G, S, D, &o->key, &c->k);
    c->p.v = value[CODES] & 2 ? make_codes(c, G, S, E, &o->value, &c->v, &o->value_scales)
                              : make_numbers(c, G, S, E, &o->value, &c->v);
    c->out_bytes = extent_of(&o->output, c->p.shape.batch, H, L, E) * size_of(c->store);
    c->out = own(c, c->out_bytes, 1);
    c->p.out = own(c, c->p.shape.batch * H * L * E, sizeof *c->p.out);
    c->p.lse = own(c, c->p.shape.batch * H * L, sizeof *c->p.lse);
    make_masks(c);
    make_positions(c);
    make_heads(c);
    make_blocks(c);
}

static inline void
describe_case(const struct attention_case *c, char *text, size_t capacity)
{
    size_t length = (size_t)snprintf(text, capacity, "case %zu:", c->number);

    for (size_t i = 0; i < PARAMETERS && length < capacity; i++)
        length += (size_t)snprintf(text + length, capacity - length, " %s=%s", parameters[i].name,
                                   parameters[i].values[c->value[i]]);
}

#endif /* DOTK_TEST_ATTENTION_CASE_H */
