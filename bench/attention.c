/*
 * attention.c - attention forward and backward, and the memory it takes
 *
 *     bench-attention [--threads T] [--batch B] [--heads H] [--length L] [--dim D] [--rounds R]
 *                     [--backward] [--memory] [--bf16]
 *
 * Times full and causal attention, with --backward its gradients instead, of which 10 flop are
 * counted where the forward pass has 4. --memory runs one call, through an allocator that counts,
 * and reports the most bytes held beyond inputs and outputs. With --bf16 all arrays are bf16, and
 * the peak is that of products of bf16.
 */
#include "bench.h"

#include <pthread.h>

struct attention {
    dotk_context *context;
    dotk_attention_shape shape;
    dotk_attention_options options;
    float *q, *k, *v, *out;
    float *lse, *d_out, *gradient; /* of --backward */
};

static dotk_status
run_attention(void *user)
{
    const struct attention *const attention = user;

    return dotk_attention_forward(attention->context, &attention->shape, attention->q, attention->k,
                                  attention->v, &attention->options, attention->out,
                                  attention->lse);
}

static dotk_status
run_backward(void *user)
{
    const struct attention *const a = user;
    const dotk_attention_shape *const shape = &a->shape;
    const size_t floats = shape->batch * shape->heads * shape->keys * shape->width;
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;

    gradients.q = a->gradient;
    gradients.k = a->gradient + floats;
    gradients.v = a->gradient + 2 * floats;
    return dotk_attention_backward(a->context, shape, a->q, a->k, a->v, &a->options, a->out, a->lse,
                                   a->d_out, &gradients);
}

/* 'count' floats to bf16 in their own place, cut off. */
static void
narrow(float *array, size_t count)
{
    uint16_t *const halves = (uint16_t *)(void *)array;

    for (size_t i = 0; i < count; i++) {
        uint16_t half[2]; /* the upper one is the number cut off */
        memcpy(half, &array[i], sizeof half);
        halves[i] = half[1];
    }
}

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t mutex;
    size_t held, most;
} counter = {.mutex = PTHREAD_MUTEX_INITIALIZER};

enum { HEADER = 64 };

static void
count_bytes(size_t more, size_t less)
{
    pthread_mutex_lock(&counter.mutex);
    counter.held += more - less;
    if (counter.held > counter.most)
        counter.most = counter.held;
    pthread_mutex_unlock(&counter.mutex);
}

static void *
allocate_counted(void *user, size_t size)
{
    char *const block = malloc(size + HEADER);

    (void)user;
    if (block == NULL)
        return NULL;
    memcpy(block, &size, sizeof size);
    count_bytes(size, 0);
    return block + HEADER;
}

static void
release_counted(void *user, void *pointer)
{
    char *const block = (char *)pointer - HEADER;
    size_t size;

    (void)user;
    memcpy(&size, block, sizeof size);
    count_bytes(0, size);
    free(block);
}

static void
print_memory(struct attention *attention, bool backward)
{
    const dotk_attention_shape *const shape = &attention->shape;

    bench_check(backward ? run_backward(attention) : run_attention(attention));
    printf("{\"bench\": \"attention-memory\", \"threads\": %u, \"isa\": \"%s\", \"results\": [\n"
           "  {\"batch\": %zu, \"heads\": %zu, \"length\": %zu, \"dim\": %zu, \"bytes\": %zu, "
           "\"allowed_bytes\": %zu}\n ]}\n",
           (unsigned)dotk_context_threads(attention->context), dotk_context_isa(attention->context),
           shape->batch, shape->heads, shape->keys, shape->width, counter.most,
           ((size_t)16 << 20) + 64 * shape->keys * shape->heads * shape->batch);
}

int
main(int argc, char **argv)
{
    static const struct bench_rival nobody = {.name = ""};
    static const dotk_allocator counting = {allocate_counted, release_counted, NULL};
    const bool memory = bench_flag(argc, argv, "--memory");
    const bool backward = bench_flag(argc, argv, "--backward");
    const bool bf16 = bench_flag(argc, argv, "--bf16");

    if (memory)
        bench_check(dotk_set_allocator(&counting));
    dotk_context *const context = bench_context(bench_size(argc, argv, "--threads", 1));
    const size_t batch = bench_size(argc, argv, "--batch", 1);
    const size_t heads = bench_size(argc, argv, "--heads", 12);
    const size_t length = bench_size(argc, argv, "--length", memory ? 32768 : 2048);
    const size_t dim = bench_size(argc, argv, "--dim", 64);
    const size_t rows = batch * heads * length;
    const float one = sqrtf((float)dim); /* makes values of variance 1 */
    struct attention full = {.context = context,
                             .shape = {batch, heads, length, length, dim, dim, 0},
                             .options = DOTK_ATTENTION_OPTIONS_INIT,
                             .q = bench_rows(context, rows, dim, one, 1),
                             .k = bench_rows(context, rows, dim, one, 2),
                             .v = bench_rows(context, rows, dim, one, 3),
                             .out = bench_array(rows * dim, sizeof(float))};
    if (bf16) {
        full.options.store = DOTK_STORE_BF16;
        narrow(full.q, rows * dim);
        narrow(full.k, rows * dim);
        narrow(full.v, rows * dim);
    }
    if (backward) {
        full.lse = bench_array(rows, sizeof(float));
        full.d_out = bench_rows(context, rows, dim, one, 4);
        if (bf16)
            narrow(full.d_out, rows * dim);
        full.gradient = bench_array(3 * rows * dim, sizeof(float));
        bench_check(run_attention(&full)); /* of the causal one only the time is looked at */
    }
    struct attention causal = full;
    causal.options.causal = 1;

    int code = 0;
    if (memory) {
        counter.most = counter.held; /* of inputs the generator's scratch is no part */
        print_memory(&full, backward);
    } else {
        const double bytes = (bf16 ? 6.0 : 12.0) * (double)rows * (double)dim;
        const double flop = (backward ? 10.0 : 4.0) * (double)dim * (double)rows;
        dotk_status (*const run)(void *) = backward ? run_backward : run_attention;
        struct bench_case cases[2] = {
            {.ours = {run, &full, flop * (double)length, bytes}, .bf16 = bf16},
            {.ours = {run, &causal, flop * ((double)length + 1) / 2, bytes}},
        };
        for (int i = 0; i < 2; i++)
            snprintf(cases[i].what, sizeof cases[i].what,
                     "\"batch\": %zu, \"heads\": %zu, \"length\": %zu, \"dim\": %zu, "
                     "\"causal\": %s%s",
                     batch, heads, length, dim, i == 1 ? "true" : "false",
                     bf16 ? ", \"store\": \"bf16\"" : "");
        code = bench_run(backward ? "attention-backward" : "attention", context, &nobody,
                         (size_t)bytes, bench_size(argc, argv, "--rounds", 7), cases, 2);
    }
    dotk_context_destroy(context);
    free(full.q);
    free(full.k);
    free(full.v);
    free(full.out);
    free(full.lse);
    free(full.d_out);
    free(full.gradient);
    return code;
}
