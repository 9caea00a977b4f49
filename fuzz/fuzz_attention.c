/*
 * fuzz_attention.c - bytes as the shape and options of attention
 *
 * The bytes choose sizes, strides, masks, lists and numbers, good and bad; the values of the arrays
 * come from a generator, and each array is exactly as large as its shape and strides say. Whatever
 * the bytes are: a refused call says why; an accepted one gives the same bits to one thread and to
 * two, the output that the weights give, and gradients of values that fit it. With the first bit of
 * the bytes set a member of the shape is 8 bytes of any value, and only a plan is asked for.
 */
#include <dotk/attention.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static void *
allocate(size_t size)
{
    void *const out = malloc(size + (size == 0));

    require(out != NULL);
    return out;
}

/* ------------------------------------------------------------------------- */
/*  Bytes                                                                    */
/* ------------------------------------------------------------------------- */

struct bytes {
    const uint8_t *at, *end;
};

/* The next byte, 0 behind the last. */
static size_t
take(struct bytes *bytes)
{
    return bytes->at < bytes->end ? *bytes->at++ : 0;
}

static size_t
below(struct bytes *bytes, size_t bound)
{
    return take(bytes) % bound;
}

static uint64_t
take_any(struct bytes *bytes)
{
    uint64_t out = 0;

    for (int i = 0; i < 8; i++)
        out = out << 8 | take(bytes);
    return out;
}

/* Mostly a small number, at times any. */
static int64_t
take_place(struct bytes *bytes)
{
    return below(bytes, 16) == 0 ? (int64_t)take_any(bytes) : (int64_t)take(bytes) - 40;
}

static float
take_float(struct bytes *bytes)
{
    const uint32_t bits = (uint32_t)take_any(bytes);
    float out;

    memcpy(&out, &bits, sizeof out);
    return out;
}

/* ------------------------------------------------------------------------- */
/*  A problem                                                                */
/* ------------------------------------------------------------------------- */

enum { ENTRIES = 4, HEADS = 6 };

struct problem {
    dotk_attention_shape shape;
    dotk_attention_options options;
    size_t key_heads, value_width, size; /* size: of a number of q */
    void *q, *k, *v;
    float *bias, *key_scales, *value_scales, slopes[HEADS], sinks[HEADS];
    uint8_t *mask;
    size_t lengths[ENTRIES], query_starts[ENTRIES], key_starts[ENTRIES];
    int64_t offsets[ENTRIES];
    dotk_attention_blocks blocks;
    size_t *block_starts, block_columns[64];
    int is_tame; /* no number in it that makes scores large */
    uint64_t random;
};

/* In [-1, 1]. */
static float
value_of(struct problem *p)
{
    p->random = p->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(p->random >> 40) / (float)(1 << 23) - 1.0f;
}

/* The numbers from the first to the last of an array whose strides are all there. */
static size_t
extent(const dotk_attention_shape *shape, size_t heads, size_t rows, size_t width,
       const dotk_layout *layout)
{
    if (shape->batch == 0 || heads == 0 || rows == 0)
        return 0;
    return (shape->batch - 1) * layout->batch + (heads - 1) * layout->head +
           (rows - 1) * layout->row + width;
}

/* Dense, (B, L, H, D), or odd strides. */
static void
take_layout(struct bytes *bytes, size_t heads, size_t rows, size_t width, dotk_layout *layout)
{
    switch (below(bytes, 8)) {
    case 1: *layout = (dotk_layout){rows * heads * width, width, heads * width}; break;
    case 2: *layout = (dotk_layout){take(bytes) * 16, take(bytes) * 4, take(bytes)}; break;
    case 3: layout->row = width + below(bytes, 20); break;
    default: break;
    }
}

/* As the library fills in strides of 0. */
static dotk_layout
resolved(const dotk_layout *layout, size_t heads, size_t rows, size_t width)
{
    dotk_layout out = *layout;

    out.row = out.row != 0 ? out.row : width;
    out.head = out.head != 0 ? out.head : rows * out.row;
    out.batch = out.batch != 0 ? out.batch : heads * out.head;
    return out;
}

/* An array of q, k or v: f32, halves below 1 in size, or codes. */
static void *
make_array(struct problem *p, size_t heads, size_t rows, size_t width, size_t number,
           const dotk_layout *layout)
{
    const dotk_layout all = resolved(layout, heads, rows, width);
    const size_t count = extent(&p->shape, heads, rows, width, &all);
    uint8_t *const out = allocate(count * number);

    for (size_t i = 0; i < count; i++) {
        const float value = value_of(p);
        const uint16_t half = (uint16_t)((p->random >> 33 & 0x83ff) | 0x3800);
        const int8_t code = (int8_t)(value * 100.0f);
        if (number == 4)
            memcpy(out + i * number, &value, number);
        else if (number == 2)
            memcpy(out + i * number, &half, number);
        else
            memcpy(out + i * number, &code, number);
    }
    return out;
}

static float *
make_floats(struct problem *p, size_t count)
{
    float *const out = allocate(count * sizeof *out);

    for (size_t i = 0; i < count; i++)
        out[i] = value_of(p) / 32.0f;
    return out;
}

static void
take_masks(struct bytes *bytes, struct problem *p)
{
    const dotk_attention_shape *const shape = &p->shape;
    const size_t which = take(bytes), strides = take(bytes), L = shape->queries, S = shape->keys;
    const dotk_layout layout = {strides & 1 ? shape->heads * L * S : 0, strides & 2 ? L * S : 0,
                                strides & 4 ? S : 0};
    const size_t count = extent(shape, shape->heads, L, S, &layout);

    if (which & 1) {
        p->mask = allocate(count);
        for (size_t i = 0; i < count; i++)
            p->mask[i] = value_of(p) > 0.0f ? (uint8_t)(128 + i % 100) : 0;
        p->options.mask = p->mask;
        p->options.mask_layout = layout;
    }
    if (which & 2) {
        p->bias = make_floats(p, count);
        for (size_t i = 0; i < count; i += 1 + strides % 7)
            p->bias[i] = -INFINITY;
        p->options.bias = p->bias;
        p->options.bias_layout = layout;
    }
    if (which & 4) {
        p->options.has_window = 1;
        p->options.window_left = take_place(bytes);
        p->options.window_right = take_place(bytes);
    }
    p->options.causal = which >> 3 & 1;
    p->options.query_offset = which & 16 ? take_place(bytes) : 0;
    for (size_t e = 0; e < ENTRIES && (which & 32); e++) {
        p->offsets[e] = take_place(bytes);
        p->options.query_offsets = p->offsets;
    }
    for (size_t e = 0; e < ENTRIES && (which & 64); e++) {
        p->lengths[e] = take(bytes) * (S / 200 + 1);
        p->options.key_lengths = p->lengths;
    }
    if (which & 128) {
        const size_t rows = below(bytes, 20), starts = HEADS * (L + 2);
        const size_t room = sizeof p->block_columns / sizeof *p->block_columns;
        p->block_starts = allocate(starts * sizeof *p->block_starts);
        for (size_t i = 0, at = 0; i < starts; i++) {
            p->block_starts[i] = at;
            at += below(bytes, 3);
            at = at < room ? at : 0; /* falls: refused, if a list gets so far */
        }
        for (size_t i = 0; i < room; i++)
            p->block_columns[i] = i % 3 + below(bytes, 4);
        p->blocks = (dotk_attention_blocks){rows, below(bytes, 130), p->block_starts,
                                            p->block_columns, (int32_t)(rows & 1)};
        p->options.blocks = &p->blocks;
    }
}

static void
take_numbers(struct bytes *bytes, struct problem *p)
{
    dotk_attention_options *const options = &p->options;
    const size_t which = take(bytes);

    options->store = (dotk_store)below(bytes, 4);
    options->softcap = which & 1 ? (float)take(bytes) / 16.0f : 0.0f;
    options->dropout = which & 2 ? (float)take(bytes) / 200.0f : 0.0f;
    options->seed = which;
    if (which & 4) {
        options->has_scale = 1;
        options->scale = take_float(bytes);
        options->softcap = take_float(bytes);
        p->is_tame = 0;
    }
    for (size_t h = 0; h < HEADS; h++) {
        p->slopes[h] = value_of(p) / 64.0f;
        p->sinks[h] = value_of(p);
    }
    options->slopes = which & 8 ? p->slopes : NULL;
    options->sinks = which & 16 ? p->sinks : NULL;
    if (which & 32) {
        options->sequences = 1 + below(bytes, ENTRIES - 1);
        for (size_t e = 1; e <= options->sequences; e++) {
            const int last = e == options->sequences && take(bytes) < 240;
            p->query_starts[e] = last ? p->shape.queries
                                      : p->query_starts[e - 1] + take(bytes) / 64;
            p->key_starts[e] = last ? p->shape.keys : p->key_starts[e - 1] + take(bytes);
        }
        options->query_starts = p->query_starts;
        options->key_starts = p->key_starts;
    }
    const size_t scales = p->shape.batch * p->key_heads * p->shape.keys;
    if (which & 64)
        options->key_scales = p->key_scales = make_floats(p, scales);
    if (which & 128)
        options->value_scales = p->value_scales = make_floats(p, scales);
}

static struct problem *
take_problem(struct bytes *bytes)
{
    struct problem *const p = allocate(sizeof *p);
    const dotk_attention_options defaults = DOTK_ATTENTION_OPTIONS_INIT;

    *p = (struct problem){.options = defaults, .is_tame = 1, .random = take(bytes)};
    p->shape = (dotk_attention_shape){
        .batch = below(bytes, 4),
        .heads = below(bytes, HEADS + 1),
        .queries = below(bytes, 24),
        .keys = take(bytes) * (below(bytes, 10) == 0 ? 5 : 1),
        .width = below(bytes, 40),
        .value_width = below(bytes, 40),
        .key_heads = below(bytes, 4),
    };
    p->key_heads = p->shape.key_heads != 0 ? p->shape.key_heads : p->shape.heads;
    p->value_width = p->shape.value_width != 0 ? p->shape.value_width : p->shape.width;
    take_numbers(bytes, p);
    take_masks(bytes, p);
    dotk_attention_options *const o = &p->options;
    const dotk_attention_shape *const s = &p->shape;
    p->size = o->store == DOTK_STORE_F32 ? 4 : 2;
    take_layout(bytes, s->heads, s->queries, s->width, &o->query);
    take_layout(bytes, p->key_heads, s->keys, s->width, &o->key);
    take_layout(bytes, p->key_heads, s->keys, p->value_width, &o->value);
    take_layout(bytes, s->heads, s->queries, p->value_width, &o->output);
    p->q = make_array(p, s->heads, s->queries, s->width, p->size, &o->query);
    p->k = make_array(p, p->key_heads, s->keys, s->width, o->key_scales ? 1 : p->size, &o->key);
    p->v = make_array(p, p->key_heads, s->keys, p->value_width, o->value_scales ? 1 : p->size,
                      &o->value);
    return p;
}

static void
free_problem(struct problem *p)
{
    free(p->q);
    free(p->k);
    free(p->v);
    free(p->mask);
    free(p->bias);
    free(p->key_scales);
    free(p->value_scales);
    free(p->block_starts);
    free(p);
}

/* ------------------------------------------------------------------------- */
/*  Calls                                                                    */
/* ------------------------------------------------------------------------- */

/* The output that the weights give, for f32 values. */
static void
check_weights(const struct problem *p, const float *weights, const float *out)
{
    const dotk_attention_shape *const s = &p->shape;
    const dotk_layout to = resolved(&p->options.output, s->heads, s->queries, p->value_width);
    const dotk_layout from = resolved(&p->options.value, p->key_heads, s->keys, p->value_width);

    for (size_t row = 0; row < s->batch * s->heads * s->queries; row++) {
        const size_t i = row % s->queries, h = row / s->queries % s->heads;
        const size_t b = row / s->queries / s->heads, g = h / (s->heads / p->key_heads);
        const float *const value = (const float *)p->v + b * from.batch + g * from.head;
        const float *const got = out + b * to.batch + h * to.head + i * to.row;
        double total = 0;
        for (size_t j = 0; j < s->keys; j++)
            total += (double)weights[row * s->keys + j];
        require(total <= 1 + 1e-5 || p->options.dropout > 0);
        for (size_t e = 0; e < p->value_width; e++) {
            double sum = 0;
            for (size_t j = 0; j < s->keys; j++)
                sum += (double)weights[row * s->keys + j] * (double)value[j * from.row + e];
            require(fabs(sum - (double)got[e]) <= 2e-5 / (1 - (double)p->options.dropout));
        }
    }
}

/* A context of two threads. */
static dotk_context *
two(void)
{
    static dotk_context *context;
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    options.threads = 2;
    require(context != NULL || dotk_context_create(&options, &context) == DOTK_OK);
    return context;
}

/* The sum of products of two (B, heads, rows, width) arrays of one layout, and of their sizes. */
static double
dot(const dotk_attention_shape *shape, size_t heads, size_t rows, size_t width,
    const dotk_layout *layout, const void *a, const void *b, double *size)
{
    double sum = 0;

    for (size_t i = 0; i < shape->batch * heads * rows * width; i++) {
        const size_t e = i % width, row = i / width % rows, head = i / width / rows % heads;
        const size_t at = i / width / rows / heads * layout->batch + head * layout->head +
                          row * layout->row + e;
        const double product = (double)((const float *)a)[at] * (double)((const float *)b)[at];
        sum += product;
        *size += fabs(product);
    }
    return sum;
}

enum { OF_Q, OF_K, OF_V, OF_BIAS, OF_SINKS, ARRAYS };

/*
 * Gradients from an output of 'bytes' bytes. An output is linear in the values, so the values times
 * their gradients are the output times its own.
 */
static void
check_gradients(const struct problem *p, const void *out, size_t bytes, const float *lse)
{
    const dotk_attention_shape *const s = &p->shape;
    const dotk_attention_options *const o = &p->options;
    const dotk_layout q = resolved(&o->query, s->heads, s->queries, s->width);
    const dotk_layout k = resolved(&o->key, p->key_heads, s->keys, s->width);
    const dotk_layout v = resolved(&o->value, p->key_heads, s->keys, p->value_width);
    const dotk_layout to = resolved(&o->output, s->heads, s->queries, p->value_width);
    const size_t sizes[ARRAYS] = {
        p->size * extent(s, s->heads, s->queries, s->width, &q),
        p->size * extent(s, p->key_heads, s->keys, s->width, &k),
        p->size * extent(s, p->key_heads, s->keys, p->value_width, &v),
        o->bias == NULL ? 0 : 4 * extent(s, s->heads, s->queries, s->keys, &o->bias_layout),
        o->sinks == NULL ? 0 : 4 * s->heads,
    };
    void *const d_out = allocate(bytes), *found[2][ARRAYS];
    dotk_status status[2];

    memset(d_out, 0x38, bytes); /* 4.4e-5 as f32, 0.53 as f16, 4.4e-5 as bf16 */
    for (int n = 0; n < 2; n++) {
        dotk_attention_gradients to_where = DOTK_ATTENTION_GRADIENTS_INIT;
        for (size_t i = 0; i < ARRAYS; i++) {
            found[n][i] = allocate(sizes[i]);
            memset(found[n][i], 0, sizes[i]);
        }
        to_where.q = found[n][OF_Q];
        to_where.k = found[n][OF_K];
        to_where.v = found[n][OF_V];
        to_where.bias = o->bias != NULL ? found[n][OF_BIAS] : NULL;
        to_where.sinks = o->sinks != NULL ? found[n][OF_SINKS] : NULL;
        status[n] = dotk_attention_backward(n == 0 ? NULL : two(), s, p->q, p->k, p->v, o, out, lse,
                                            d_out, &to_where);
        require(status[n] == DOTK_OK || dotk_last_message()[0] != '\0');
    }
    require(status[0] == status[1]);
    for (size_t i = 0; i < ARRAYS; i++) {
        require(status[0] != DOTK_OK || memcmp(found[0][i], found[1][i], sizes[i]) == 0);
        free(found[1][i]);
    }
    if (status[0] == DOTK_OK && p->is_tame && p->size == 4) {
        double size = 0;
        const double values = dot(s, p->key_heads, s->keys, p->value_width, &v, p->v,
                                  found[0][OF_V], &size);
        const double outputs = dot(s, s->heads, s->queries, p->value_width, &to, out, d_out, &size);
        require(fabs(values - outputs) <= 1e-5 * size);
    }
    for (size_t i = 0; i < ARRAYS; i++)
        free(found[0][i]);
    free(d_out);
}

static void
run(const struct problem *p)
{
    const dotk_attention_shape *const s = &p->shape;
    const dotk_layout layout = resolved(&p->options.output, s->heads, s->queries, p->value_width);
    const size_t bytes = p->size * extent(s, s->heads, s->queries, p->value_width, &layout);
    const size_t rows = s->batch * s->heads * s->queries;
    uint8_t *const out = allocate(bytes), *const again = allocate(bytes);
    float *const lse = allocate(rows * sizeof *lse), *const lse2 = allocate(rows * sizeof *lse);
    float *const weights = allocate(rows * s->keys * sizeof *weights);

    memset(out, 0, bytes);
    memset(again, 0, bytes);
    const dotk_status status = dotk_attention_forward(NULL, s, p->q, p->k, p->v, &p->options, out,
                                                      lse);
    require(status == DOTK_OK || dotk_last_message()[0] != '\0');
    require(dotk_attention_forward(two(), s, p->q, p->k, p->v, &p->options, again, lse2) == status);
    require(status != DOTK_OK ||
            (memcmp(out, again, bytes) == 0 && memcmp(lse, lse2, rows * sizeof *lse) == 0));
    if (status == DOTK_OK) {
        require(dotk_attention_scores(two(), s, p->q, p->k, &p->options,
                                      (dotk_attention_stage)(p->random % 3), weights) == DOTK_OK);
        require(dotk_attention_weights(NULL, s, p->q, p->k, &p->options, 0, weights) == DOTK_OK);
        if (p->is_tame && p->size == 4 && p->options.value_scales == NULL)
            check_weights(p, weights, (const float *)(const void *)out);
        check_gradients(p, out, bytes, lse);
    }
    free(out);
    free(again);
    free(lse);
    free(lse2);
    free(weights);
}

/* Sizes and strides of any value; no array is looked at. */
static void
plan(struct bytes *bytes)
{
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    dotk_attention_shape shape = {1, 2, 3, 4, 5, 6, 0};
    size_t *const numbers[] = {&shape.batch,       &shape.heads,         &shape.queries,
                               &shape.keys,        &shape.width,         &shape.value_width,
                               &shape.key_heads,   &options.query.batch, &options.query.row,
                               &options.key.head,  &options.value.row,   &options.output.head,
                               &options.output.row};
    char text[200];

    for (int i = 0; i < 3; i++)
        *numbers[below(bytes, sizeof numbers / sizeof *numbers)] = (size_t)take_any(bytes);
    options.has_window = 1;
    options.window_left = (int64_t)take_any(bytes);
    options.window_right = (int64_t)take_any(bytes);
    options.query_offset = take_place(bytes);
    if (shape.batch > 1000)
        return; /* an entry of the batch takes time to look at */
    const dotk_status status = dotk_attention_plan(NULL, &shape, &options, text, sizeof text);
    require(status == DOTK_OK ? strlen(text) > 0 : dotk_last_message()[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes bytes = {data, data + size};

    if (take(&bytes) & 1) {
        plan(&bytes);
    } else {
        struct problem *const p = take_problem(&bytes);
        run(p);
        free_problem(p);
    }
    return 0;
}
