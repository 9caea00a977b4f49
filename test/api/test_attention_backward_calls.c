/*
 * test_attention_backward_calls.c - gradients of attention: halves, strides, dropout, arguments
 * that must be refused, memory, cancelling
 */
#include "backward_reference.h"
#include "calls.h"
#include "contexts.h"

static float *
normals(uint64_t seed, size_t count)
{
    float *const out = floats(count);

    test_random_normals(&seed, out, count);
    return out;
}

static float *
normal_d_out(const struct problem *p, uint64_t seed)
{
    return normals(seed, heads_of(p) * p->shape.queries * value_width(p));
}

/* ------------------------------------------------------------------------- */
/*  Halves                                                                   */
/* ------------------------------------------------------------------------- */

/* Halves with 8 bits or fewer, of which every one is exact in either type; their f32. */
static uint16_t *
halves(dotk_store store, float *x, size_t count)
{
    uint16_t *const out = malloc((count + 1) * sizeof *out);

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0xffff0000;
        const int exponent = (int)(bits >> 23 & 255);
        if (exponent < 127 - 14) /* denormal as f16 */
            bits = 0;
        memcpy(&x[i], &bits, sizeof bits);
        out[i] = (uint16_t)(bits >> 16);
        if (store == DOTK_STORE_F16 && bits != 0)
            out[i] = (uint16_t)((bits >> 16 & 0x8000) | (uint32_t)(exponent - 112) << 10 |
                                (bits >> 13 & 0x3ff));
        else if (store == DOTK_STORE_F16)
            out[i] = 0;
    }
    return out;
}

static double
of_half(dotk_store store, uint16_t half)
{
    if (store == DOTK_STORE_BF16) {
        const uint32_t bits = (uint32_t)half << 16;
        float x;
        memcpy(&x, &bits, sizeof x);
        return (double)x;
    }
    const int exponent = half >> 10 & 31;
    const double size = exponent == 0 ? ldexp(half & 0x3ff, -24)
                                      : ldexp(1024 + (half & 0x3ff), exponent - 25);
    return (half & 0x8000) != 0 ? -size : size;
}

/*
 * Gradients are within the rounding of what they are stored as, and of out, which is rounded: that
 * of a gradient of the scores is that of delta.
 */
static void
check_halves(dotk_store store, size_t batch, size_t heads, size_t L, size_t S,
             dotk_context *context)
{
    struct problem p = make(L, batch, heads, L, S, 40, 24);
    const double u = store == DOTK_STORE_BF16 ? 0x1p-8 : 0x1p-11;
    float *const d_out = normal_d_out(&p, 5);
    p.shape.key_heads = heads % 2 == 0 ? heads / 2 : heads;
    p.options.causal = S > 100;
    p.options.query_offset = (int64_t)S / 2;
    const struct parts parts = parts_of(&p);
    const size_t outputs = heads_of(&p) * L * 24;
    uint16_t *const q = halves(store, p.q, parts.k),
                    *const k = halves(store, p.k, parts.v - parts.k),
                    *const v = halves(store, p.v, parts.bias - parts.v),
                    *const d = halves(store, d_out, outputs);
    uint16_t *const out = malloc(outputs * sizeof *out);
    uint16_t *const got = malloc(parts.count * sizeof *got);
    dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
    p.options.store = store;
    memset(got, 0xff, parts.count * sizeof *got);
    g.q = got;
    g.k = got + parts.k;
    g.v = got + parts.v;
    assert_ok(dotk_attention_forward(context, &p.shape, q, k, v, &p.options, out, p.lse));
    assert_ok(dotk_attention_backward(context, &p.shape, q, k, v, &p.options, out, p.lse, d, &g));
    struct gradients want = reference_gradients(&p, d_out, NULL);
    for (size_t n = 0; n < parts.count; n++) {
        const double x = of_half(store, got[n]);
        const double bound = u * (fabs(want.value[n]) + want.magnitude[n]) +
                             4e-6 * want.magnitude[n] + 0x1p-25;
        if (!(fabs(x - want.value[n]) <= bound))
            fail_msg("type %d: L%zu S%zu: gradient %zu of all, of %s, is %.6g, want %.6g +- %.2g",
                     (int)store, L, S, n, part_name(&parts, n), x, want.value[n], bound);
    }
    uint16_t *const again = malloc(parts.count * sizeof *again);
    dotk_context *const contexts[] = {one, two, four};
    for (size_t c = 0; c < 3; c++) {
        g.q = again;
        g.k = again + parts.k;
        g.v = again + parts.v;
        memset(again, 0xff, parts.count * sizeof *again);
        assert_ok(
            dotk_attention_backward(contexts[c], &p.shape, q, k, v, &p.options, out, p.lse, d, &g));
        assert_memory_equal(again, got, parts.count * sizeof *again);
    }
    drop_gradients(&want);
    free(q);
    free(k);
    free(v);
    free(d);
    free(out);
    free(got);
    free(again);
    free(d_out);
    drop(&p);
}

static void
test_halves(void **state)
{
    (void)state;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        const dotk_store store = bf16 != 0 ? DOTK_STORE_BF16 : DOTK_STORE_F16;
        check_halves(store, 1, 1, 7, 30, NULL);
        check_halves(store, 2, 4, 70, 90, two);
        check_halves(store, 1, 2, 230, 600, four);
        check_halves(store, 1, 1, 3, 0, one);
    }
}

/*
 * So many rows that tasks are cut, and sums go on from one to the next: f32 and halves, in either
 * path, against small pieces. A gradient of q is a matter of its row alone.
 */
static void
test_many_rows(void **state)
{
    enum { L = TEST_EMULATED ? 2500 : 9000, S = 260, D = 40, PIECE = 500 };
    struct problem p = make(1, 1, 2, L, S, D, D);
    float *const d_out = normal_d_out(&p, 2);
    const struct parts parts = parts_of(&p);
    uint16_t *const q = halves(DOTK_STORE_BF16, p.q, parts.k);
    uint16_t *const k = halves(DOTK_STORE_BF16, p.k, parts.v - parts.k);
    uint16_t *const v = halves(DOTK_STORE_BF16, p.v, parts.bias - parts.v);
    uint16_t *const d = halves(DOTK_STORE_BF16, d_out, parts.k);
    uint16_t *const out = malloc(parts.k * sizeof *out);
    uint16_t *const want = malloc(parts.count * sizeof *want);
    uint16_t *const got = malloc(parts.count * sizeof *got);
    dotk_context *const contexts[] = {one, two, four};
    size_t paths[2] = {0};

    (void)state;
    p.options.store = DOTK_STORE_BF16;
    assert_ok(dotk_attention_forward(two, &p.shape, q, k, v, &p.options, out, p.lse));
    for (size_t c = 0; c < 3; c++) {
        uint16_t *const to = c == 0 ? want : got;
        dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
        dotk_attention_stats stats;
        p.options.stats = &stats;
        memset(to, 0xff, parts.count * sizeof *to);
        g.q = to;
        g.k = to + parts.k;
        g.v = to + parts.v;
        assert_ok(
            dotk_attention_backward(contexts[c], &p.shape, q, k, v, &p.options, out, p.lse, d, &g));
        assert_memory_equal(to, want, parts.count * sizeof *to);
        paths[strcmp(stats.path, "heads") == 0]++;
    }
    assert_true(paths[0] > 0 && paths[1] > 0);
    for (size_t first = 0; first < L; first += PIECE) { /* rows of the last head */
        dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
        struct problem piece = p;
        const size_t row = L + first;
        piece.shape.heads = 1;
        piece.shape.queries = PIECE;
        piece.options.stats = NULL;
        g.q = got;
        assert_ok(dotk_attention_backward(one, &piece.shape, q + row * D, k + S * D, v + S * D,
                                          &piece.options, out + row * D, p.lse + row, d + row * D,
                                          &g));
        assert_memory_equal(got, want + row * D, PIECE * D * sizeof *got);
    }
    free(q);
    free(k);
    free(v);
    free(d);
    free(out);
    free(want);
    free(got);
    free(d_out);
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Strides                                                                  */
/* ------------------------------------------------------------------------- */

/* out[i][h] = in[h][i], rows of 'width', between rows of 'gap' more */
static float *
interleave(const float *in, size_t heads, size_t rows, size_t width, size_t gap)
{
    float *const out = floats(heads * rows * (width + gap));

    for (size_t i = 0; i < heads * rows * (width + gap); i++)
        out[i] = NAN;
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < rows; i++)
            memcpy(out + (i * heads + h) * (width + gap), in + (h * rows + i) * width,
                   width * sizeof *out);
    }
    return out;
}

static void
check_interleaved(const float *got, const float *want, size_t heads, size_t rows, size_t width,
                  size_t gap)
{
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < rows; i++) {
            const float *const row = got + (i * heads + h) * (width + gap);
            assert_same(row, want + (h * rows + i) * width, width);
            for (size_t e = width; e < width + gap; e++)
                assert_true(isnan(row[e]));
        }
    }
}

/* (L, H, D) with gaps: the bits of dense arrays, and nothing written between rows. */
static void
test_strides(void **state)
{
    enum { H = 4, G = 2, L = 50, S = 70, D = 12, E = 20 };
    struct problem p = make(1, 1, H, L, S, D, E);
    float *const d_out = normal_d_out(&p, 5);

    (void)state;
    p.shape.key_heads = G;
    const struct parts parts = parts_of(&p);
    float *const want = floats(parts.count);
    assert_ok(forward(NULL, &p));
    assert_ok(backward(NULL, &p, d_out, want));
    float *const q = interleave(p.q, H, L, D, 3), *const k = interleave(p.k, G, S, D, 2);
    float *const v = interleave(p.v, G, S, E, 1), *const out = interleave(p.out, H, L, E, 5);
    float *const d = interleave(d_out, H, L, E, 5);
    float *const d_q = interleave(p.q, H, L, D, 3), *const d_k = interleave(p.k, G, S, D, 2);
    float *const d_v = interleave(p.v, G, S, E, 1);
    dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
    p.options.query = (dotk_layout){0, D + 3, H * (D + 3)};
    p.options.key = (dotk_layout){0, D + 2, G * (D + 2)};
    p.options.value = (dotk_layout){0, E + 1, G * (E + 1)};
    p.options.output = (dotk_layout){0, E + 5, H * (E + 5)};
    g.q = d_q;
    g.k = d_k;
    g.v = d_v;
    assert_ok(dotk_attention_backward(two, &p.shape, q, k, v, &p.options, out, p.lse, d, &g));
    check_interleaved(d_q, want + parts.q, H, L, D, 3);
    check_interleaved(d_k, want + parts.k, G, S, D, 2);
    check_interleaved(d_v, want + parts.v, G, S, E, 1);
    free(q);
    free(k);
    free(v);
    free(out);
    free(d);
    free(d_q);
    free(d_k);
    free(d_v);
    free(want);
    free(d_out);
    drop(&p);
}

/* ------------------------------------------------------------------------- */
/*  Dropout                                                                  */
/* ------------------------------------------------------------------------- */

/* Philox4x32-10 as the paper has it. */
static void
philox(uint64_t seed, uint32_t x[4])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    for (int round = 0; round < 10; round++) {
        const uint64_t left = UINT64_C(0xD2511F53) * x[0], right = UINT64_C(0xCD9E8D57) * x[2];
        const uint32_t next[4] = {(uint32_t)(right >> 32) ^ x[1] ^ key[0], (uint32_t)right,
                                  (uint32_t)(left >> 32) ^ x[3] ^ key[1], (uint32_t)left};
        memcpy(x, next, sizeof next);
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
}

/* What the weights of all pairs are multiplied by. */
static double *
drops_of(const struct problem *p)
{
    const size_t S = p->shape.keys, L = p->shape.queries;
    double *const drop = malloc(heads_of(p) * L * S * sizeof *drop);

    for (size_t i = 0; i < heads_of(p) * L * S; i++) {
        const size_t head = i / S / L, query = i / S % L;
        const struct place place = place_of(p, head / p->shape.heads, query);
        const size_t key = i % S - place.key; /* of its sequence, if it is */
        uint32_t x[4] = {(uint32_t)(key / 4), (uint32_t)query, (uint32_t)head, 0};
        philox(p->options.seed, x);
        const bool stays = (double)x[key % 4] >= floor((double)p->options.dropout * 0x1p32);
        drop[i] = stays ? 1 / (1 - (double)p->options.dropout) : 0;
    }
    return drop;
}

static void
test_dropout(void **state)
{
    static const size_t query_starts[] = {0, 20, 90}, key_starts[] = {0, 100, 170};

    (void)state;
    for (int round = 0; round < 4; round++) {
        struct problem p = make(3, round == 2 ? 1 : 2, 4, 90, 170, 16, 24);
        float *const d_out = normal_d_out(&p, 5);
        p.shape.key_heads = round == 1 ? 2 : 4;
        p.options.dropout = round == 3 ? 0.9f : 0.25f;
        p.options.seed = UINT64_C(0x123456789abcdef) + (uint64_t)round;
        p.options.causal = round == 3;
        p.options.query_offset = 40;
        if (round == 2) {
            p.options.sequences = 2;
            p.options.query_starts = query_starts;
            p.options.key_starts = key_starts;
            p.options.query_offset = 0;
        }
        double *const drops = drops_of(&p);
        const struct parts parts = parts_of(&p);
        float *const got = floats(parts.count), *const again = floats(parts.count);
        assert_ok(forward(two, &p));
        for (size_t row = 0; row < heads_of(&p) * 90; row += 7) { /* forward drops the same */
            const size_t head = row / 90, b = head / 4, h = head % 4;
            double out[24], weight[170], want = 0, size = 0;
            (void)reference(&p, head, row % 90, out, weight);
            for (size_t j = 0; j < 170; j++) {
                if (weight[j] == 0)
                    continue;
                const double v = (double)key_row(&p, p.v, 24, b, h, j)[1];
                want += weight[j] * drops[row * 170 + j] * v;
                size += weight[j] * drops[row * 170 + j] * fabs(v);
            }
            assert_true(fabs((double)p.out[row * 24 + 1] - want) <= 4e-6 * size + 1e-7);
        }
        assert_ok(backward(two, &p, d_out, got));
        struct gradients want = reference_gradients(&p, d_out, drops);
        check_gradients(&p, got, &want, 4e-6);
        assert_ok(backward(four, &p, d_out, again));
        assert_same(got, again, parts.count);
        drop_gradients(&want);
        free(drops);
        free(got);
        free(again);
        free(d_out);
        drop(&p);
    }
}

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

#define refused(p, part)                                                                           \
    do {                                                                                           \
        assert_status(backward(NULL, &(p), d_out, got), DOTK_BAD_ARGUMENT);                        \
        assert_message(part);                                                                      \
    } while (0)

static void
test_arguments(void **state)
{
    const struct problem good = make(1, 2, 2, 3, 4, 5, 6);
    const float bias[4] = {0}, sinks[2] = {0}, scales[16] = {0};
    float *const d_out = normal_d_out(&good, 1);
    float got[2000];
    dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
    struct problem p;

    (void)state;
    assert_ok(forward(NULL, &good));
    assert_ok(backward(NULL, &good, d_out, got));
    p = good, p.q = NULL;
    refused(p, "q is NULL");
    p = good, p.k = NULL;
    refused(p, "k is NULL");
    p = good, p.v = NULL;
    refused(p, "v is NULL");
    p = good, p.out = NULL;
    refused(p, "out is NULL");
    p = good, p.lse = NULL;
    refused(p, "lse is NULL");
    p = good, p.shape.width = 0;
    refused(p, "shape->width is 0");
    p = good, p.q = got;
    refused(p, "gradients->q overlaps q");
    p = good, p.v = got + 10;
    refused(p, "gradients->q overlaps v");
    p = good, p.lse = got + 10;
    refused(p, "gradients->q overlaps lse");
    p = good, p.options.query = (dotk_layout){12, 6, 5};
    refused(p, "gradients->q has strides 12, 6, 5: rows of 5 would overlap");
    p = good, p.options.key = (dotk_layout){10, 5, 9};
    refused(p, "gradients->k has strides");
    p = good, p.options.bias = bias, p.options.bias_layout = (dotk_layout){2, 0, 0};
    refused(p, "gradients->bias has strides 2, 0, 0: rows of 4 would overlap");
    p = good, p.options.key_scales = scales;
    assert_status(backward(NULL, &p, d_out, got), DOTK_UNSUPPORTED);
    assert_message("options->key_scales is given");
    p = good, p.options.value_scales = scales;
    assert_status(backward(NULL, &p, d_out, got), DOTK_UNSUPPORTED);
    assert_message("options->value_scales is given");
    p = good, p.options.sinks = sinks;
    assert_ok(backward(NULL, &p, d_out, got));
    g.bias = got;
    p = good;
    assert_status(
        dotk_attention_backward(NULL, &p.shape, p.q, p.k, p.v, NULL, p.out, p.lse, d_out, &g),
        DOTK_BAD_ARGUMENT);
    assert_message("gradients->bias is given and options->bias is NULL");
    g.bias = NULL;
    g.sinks = got;
    assert_status(
        dotk_attention_backward(NULL, &p.shape, p.q, p.k, p.v, NULL, p.out, p.lse, d_out, &g),
        DOTK_BAD_ARGUMENT);
    assert_message("gradients->sinks is given");
    g.sinks = NULL;
    g.struct_size = 8;
    assert_status(
        dotk_attention_backward(NULL, &p.shape, p.q, p.k, p.v, NULL, p.out, p.lse, d_out, &g),
        DOTK_BAD_ARGUMENT);
    assert_message("gradients->struct_size is 8");
    assert_status(
        dotk_attention_backward(NULL, &p.shape, p.q, p.k, p.v, NULL, p.out, p.lse, d_out, NULL),
        DOTK_BAD_ARGUMENT);
    assert_message("gradients is NULL");
    g = (dotk_attention_gradients)DOTK_ATTENTION_GRADIENTS_INIT;
    assert_status(
        dotk_attention_backward(NULL, &p.shape, p.q, p.k, p.v, NULL, p.out, p.lse, NULL, &g),
        DOTK_BAD_ARGUMENT);
    assert_message("d_out is NULL");
    assert_ok(
        dotk_attention_backward(NULL, &p.shape, p.q, p.k, p.v, NULL, p.out, p.lse, d_out, &g));
    free(d_out);
    drop(&p);
}

/* No queries, no keys, no heads, no batch, no key that exists: all gradients are zeros. */
static void
test_empty(void **state)
{
    static const size_t shapes[][4] = {
        {2, 2, 0, 5}, {2, 2, 5, 0}, {0, 2, 5, 5}, {2, 0, 5, 5}, {2, 2, 5, 5}};
    const size_t none[2] = {0, 0};
    const float sinks[2] = {1, 2};
    dotk_attention_stats stats;

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct problem p = make(i, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], 4, 4);
        float *const d_out = normal_d_out(&p, 1);
        float got[500];
        p.options.sinks = sinks;
        p.options.stats = &stats;
        if (i == 4)
            p.options.key_lengths = none;
        memset(got, 0xff, sizeof got);
        assert_ok(forward(two, &p));
        assert_string_equal(stats.path, "empty");
        stats.path = "none";
        assert_ok(backward(two, &p, d_out, got));
        assert_string_equal(stats.path, "empty");
        for (size_t n = 0; n < parts_of(&p).count; n++)
            assert_true(got[n] == 0);
        free(d_out);
        drop(&p);
    }
}

/* Keys that no head asks for have gradients, zeros; the empty gradient of q is left alone. */
static void
test_no_query_heads(void **state)
{
    const dotk_attention_shape shape = {
        .batch = 2, .heads = 0, .queries = 5, .keys = 3, .width = 4, .key_heads = 1};
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;
    float k[24] = {0}, v[24] = {0}, d_k[24], d_v[24];
    struct test_guarded guarded;
    float *const nothing = test_guarded_floats(&guarded, 0);

    (void)state;
    memset(d_k, 0xff, sizeof d_k);
    memset(d_v, 0xff, sizeof d_v);
    gradients.q = nothing;
    gradients.k = d_k;
    gradients.v = d_v;
    assert_ok(dotk_attention_backward(two, &shape, nothing, k, v, NULL, nothing, nothing, nothing,
                                      &gradients));
    for (size_t i = 0; i < 24; i++)
        assert_true(d_k[i] == 0 && d_v[i] == 0);
    test_guarded_free(&guarded);
}

/* ------------------------------------------------------------------------- */
/*  Memory, cancelling                                                       */
/* ------------------------------------------------------------------------- */

struct task {
    struct problem p;
    void *q, *k, *v, *out;
    float *d_out, *gradient;
};

static dotk_status
run_task(dotk_context *context, const struct task *task)
{
    const struct problem *const p = &task->p;
    const struct parts parts = parts_of(p);
    dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;

    g.q = task->gradient + parts.q; /* room enough for halves, too */
    g.k = task->gradient + parts.k;
    g.v = task->gradient + parts.v;
    g.bias = p->options.bias != NULL ? task->gradient + parts.bias : NULL;
    g.sinks = p->options.sinks != NULL ? task->gradient + parts.sinks : NULL;
    return dotk_attention_backward(context, &p->shape, p->q, p->k, p->v, &p->options, p->out,
                                   p->lse, task->d_out, &g);
}

static dotk_status
call_task(dotk_context *context, void *user)
{
    return run_task(context, user);
}

static struct task
make_task(size_t heads, size_t L, size_t S, bool halved, float *bias, const float *sinks)
{
    struct task task = {.p = make(1, 1, heads, L, S, 16, 16)};

    task.p.options.store = halved ? DOTK_STORE_BF16 : DOTK_STORE_F32;
    task.p.options.bias = bias;
    task.p.options.bias_layout.row = S;
    task.p.options.sinks = sinks;
    task.d_out = normal_d_out(&task.p, 3);
    task.gradient = floats(parts_of(&task.p).count);
    memset(task.p.out, 0, heads * L * 16 * sizeof(float));
    memset(task.p.lse, 0, heads * L * sizeof(float));
    return task;
}

static void
drop_task(struct task *task)
{
    free(task->d_out);
    free(task->gradient);
    drop(&task->p);
}

static void
test_allocation_failures(void **state)
{
    const float sinks[3] = {0};

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        const size_t heads = kind < 2 ? 1 : 3;
        float *const bias = normals(1, 30 * 300);
        struct task task = make_task(heads, 30, 300, kind % 2 == 1, bias, sinks);
        assert_true(test_call_fail_each(call_task, &task) > 5);
        drop_task(&task);
        free(bias);
    }
}

static void
test_warm_calls_allocate_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct task task = make_task(kind < 2 ? 1 : 5, 300, 500, kind % 2 == 1, NULL, NULL);
        test_call_warm(2, call_task, &task);
        drop_task(&task);
    }
}

/* Of memory as of time: 32,768 queries and keys, in f32 and in halves, with every gradient. */
static void
test_memory(void **state)
{
    enum { H = 12, L = 32768, D = 64 };

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct problem p = {
            {1, H, L, L, D, 0, kind % 2 == 0 ? H : 2}, DOTK_ATTENTION_OPTIONS_INIT, 0, 0, 0, 0, 0};
        dotk_attention_gradients g = DOTK_ATTENTION_GRADIENTS_INIT;
        const size_t floats_of = (size_t)H * L * D;
        float *const arrays = calloc(8 * floats_of, sizeof *arrays);
        test_require(arrays != NULL, "calloc");
        p.options.store = kind >= 2 ? DOTK_STORE_BF16 : DOTK_STORE_F32;
        p.lse = calloc((size_t)H * L, sizeof *p.lse);
        g.q = arrays + 5 * floats_of;
        g.k = arrays + 6 * floats_of;
        g.v = arrays + 7 * floats_of;
        for (uint32_t threads = 1; threads <= 8; threads *= 2) {
            struct test_alloc alloc;
            int calls = 2;
            test_alloc_install(&alloc);
            dotk_context *const context = test_context(threads, test_cancel_at_third, &calls);
            assert_status(dotk_attention_backward(context, &p.shape, arrays, arrays + floats_of,
                                                  arrays + 2 * floats_of, &p.options,
                                                  arrays + 3 * floats_of, p.lse,
                                                  arrays + 4 * floats_of, &g),
                          DOTK_CANCELLED);
            dotk_context_destroy(context);
            test_alloc_remove();
            assert_true(alloc.most_bytes > 50000);
            assert_true(alloc.most_bytes <= (16u << 20) + (size_t)64 * L * H);
        }
        free(arrays);
        free(p.lse);
    }
}

static void
test_progress(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        float *const bias = normals(1, 900 * 600);
        struct task task = make_task(3, 900, 600, threads == 2, bias, NULL);
        struct test_watch watch = {0};
        dotk_context *const context = test_context(threads, test_follow, &watch);
        assert_ok(run_task(context, &task));
        assert_true(watch.calls > 2 && watch.done == watch.total);
        dotk_context_destroy(context);
        test_call_cancel(threads, call_task, &task);
        drop_task(&task);
        free(bias);
    }
}

/* A sink that outweighs the only key by e^20: its share is tiny, and not nothing. */
static void
test_dominating_sink(void **state)
{
    const dotk_attention_shape shape = {
        .batch = 1, .heads = 1, .queries = 1, .keys = 1, .width = 1};
    const float q = -10, k = 1, v = 2, d_out = 3, sink = 10;
    const double out_wanted = 2 * exp(-20) / (1 + exp(-20));
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;
    float out, lse, d_sink;

    (void)state;
    options.sinks = &sink;
    gradients.sinks = &d_sink;
    assert_ok(dotk_attention_forward(NULL, &shape, &q, &k, &v, &options, &out, &lse));
    assert_ok(dotk_attention_backward(NULL, &shape, &q, &k, &v, &options, &out, &lse, &d_out,
                                      &gradients));
    assert_true(fabs(d_sink + 3 * out_wanted) <= 1e-5 * 3 * out_wanted);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dominating_sink),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_no_query_heads),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_warm_calls_allocate_nothing),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, make_contexts, drop_contexts);
}
