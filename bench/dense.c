/*
 * dense.c - a dense layer beside an sgemm that adds no bias and applies no activation
 *
 *     bench-dense [--threads T] [--m M] [--n N] [--inner K] [--rounds R]
 *
 * Times plain and prepared weights, with bias and gelu. That both multiply to the same sums is
 * checked first.
 */
#include "bench.h"

struct dense {
    dotk_context *context;
    size_t m, n, inner;
    dotk_dense_options options;
    const dotk_dense_weights *weights; /* NULL: plain */
    const float *x, *w, *bias;
    float *y;
    const struct bench_rival *rival;
};

static dotk_status
run_dense(void *user)
{
    const struct dense *const dense = user;

    if (dense->weights != NULL)
        return dotk_dense_forward(dense->context, dense->weights, dense->m, dense->x,
                                  &dense->options, dense->y);
    return dotk_dense(dense->context, dense->m, dense->n, dense->inner, dense->x, dense->w,
                      dense->bias, &dense->options, dense->y);
}

static dotk_status
run_sgemm(void *user)
{
    const struct dense *const dense = user;

    bench_sgemm(dense->rival, dense->m, dense->n, dense->inner, dense->x, dense->w, dense->y);
    return DOTK_OK;
}

/* Products without bias and activation, by both. Sums of unit variance: 1e-4 is generous. */
static void
compare_products(const struct dense *dense)
{
    struct dense bare = *dense, theirs = *dense;
    const size_t count = dense->m * dense->n;

    bare.weights = NULL;
    bare.bias = NULL;
    bare.options.activation = DOTK_ACTIVATION_NONE;
    theirs.y = bench_array(count, sizeof(float));
    bench_check(run_dense(&bare));
    run_sgemm(&theirs);
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(bare.y[i] - theirs.y[i]) < 1e-4f))
            bench_die("product %zu is %.9g here and %.9g there", i, (double)bare.y[i],
                      (double)theirs.y[i]);
    }
    free(theirs.y);
}

int
main(int argc, char **argv)
{
    dotk_context *const context = bench_context(bench_size(argc, argv, "--threads", 1));
    const struct bench_rival rival = bench_load_rival(context);
    const size_t m = bench_size(argc, argv, "--m", 1024), n = bench_size(argc, argv, "--n", 1024);
    const size_t inner = bench_size(argc, argv, "--inner", 1024);
    float *const x = bench_rows(context, m, inner, sqrtf((float)inner), 1);
    float *const w = bench_rows(context, n, inner, 1, 2);
    float *const bias = bench_rows(context, n, 1, 1, 3);
    float *const y = bench_array(m * n, sizeof *y);
    const double flop = 2.0 * (double)m * (double)n * (double)inner;
    const double bytes = 4.0 * (double)(m * inner + n * inner + n);
    dotk_dense_weights *weights;

    struct dense plain = {context, m,    n, inner, DOTK_DENSE_OPTIONS_INIT, NULL, x,
                          w,       bias, y, &rival};
    plain.options.activation = DOTK_ACTIVATION_GELU;
    bench_check(dotk_dense_prepare(n, inner, w, 0, bias, &weights));
    struct dense prepared = plain;
    prepared.weights = weights;
    if (rival.name[0] != '\0')
        compare_products(&plain);

    struct bench_case cases[2];
    for (int i = 0; i < 2; i++) {
        cases[i] = (struct bench_case){
            .ours = {run_dense, i == 0 ? &plain : &prepared, flop, bytes}, .other_name = "sgemm"};
        if (rival.name[0] != '\0')
            cases[i].other = (dotk_timed){run_sgemm, &plain, flop, bytes};
        snprintf(cases[i].what, sizeof cases[i].what,
                 "\"m\": %zu, \"n\": %zu, \"inner\": %zu, \"activation\": \"gelu\", "
                 "\"prepared\": %s",
                 m, n, inner, i == 1 ? "true" : "false");
    }
    const int code = bench_run("dense", context, &rival, (size_t)bytes,
                               bench_size(argc, argv, "--rounds", 7), cases, 2);
    dotk_dense_destroy(weights);
    dotk_context_destroy(context);
    free(x);
    free(w);
    free(bias);
    free(y);
    return code;
}
