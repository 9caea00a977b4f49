/*
 * weights.c - the matrix of weights itself, for someone who wants to look at it
 *
 * Two passes over each row, the textbook's way: scores into the caller's matrix, then their
 * maximum, exponentials in double precision and sum. Nothing here is fast or needs to be.
 */
#include <math.h>
#include <string.h>

#include "attention/problem.h"

enum { TASK_ROWS = 48 }; /* queries for which keys are packed once */

struct weights {
    const struct dk_attention *problem;
    const struct dk_kernels *kernels;
    float *weights;
    size_t groups; /* of TASK_ROWS queries, in a head */
    float **panel; /* for each slot */
};

/* Scores of one panel of keys, for the rows of a task, into the matrix. */
static void
score_panel(const struct weights *work, const float *const *row, size_t rows, const float *panel,
            size_t key, size_t count, float *matrix)
{
    const size_t most = work->kernels->tile_rows[4];
    _Alignas(64) float tile[DK_TILE_ROWS][DK_PANEL];

    for (size_t first = 0; first < rows; first += most) {
        const size_t height = dk_min(most, rows - first);
        (void)work->kernels->tile_f32[DK_SCORE_DOT](&(struct dk_tile_f32){
            .row = row + first,
            .rows = height,
            .dim = work->problem->dim,
            .cols = DK_PANEL,
            .panel = panel,
            .tile = tile,
        });
        for (size_t r = 0; r < height; r++)
            memcpy(matrix + (first + r) * work->problem->keys + key, tile[r],
                   count * sizeof(float));
    }
}

/* row[0 .. keys - 1]: scores to weights; from 'end' on zeros. */
static void
softmax_row(float *row, size_t end, size_t keys, double scale)
{
    double most = -INFINITY, sum = 0;

    for (size_t j = 0; j < end; j++)
        most = row[j] * scale > most || row[j] != row[j] ? row[j] * scale : most;
    memset(row + end, 0, (keys - end) * sizeof *row);
    if (most == -INFINITY) {
        memset(row, 0, end * sizeof *row);
        return;
    }
    for (size_t j = 0; j < end; j++)
        sum += exp(row[j] * scale - most);
    for (size_t j = 0; j < end; j++)
        row[j] = (float)(exp(row[j] * scale - most) / sum);
}

static void
run_rows(void *arg, size_t task, size_t slot)
{
    const struct weights *const work = arg;
    const struct dk_attention *const problem = work->problem;
    const size_t head = task / work->groups, b = head / problem->heads, h = head % problem->heads;
    const size_t first = task % work->groups * TASK_ROWS;
    const size_t rows = dk_min(TASK_ROWS, problem->queries - first);
    const struct dk_prefix_mask mask = dk_attention_mask(problem, b);
    const float *const q = problem->q + dk_attention_head(&problem->query, b, h);
    const float *const k = problem->k + dk_attention_head(&problem->key, b, h);
    float *const matrix = work->weights + (head * problem->queries + first) * problem->keys;
    const float *row[TASK_ROWS];

    for (size_t r = 0; r < rows; r++)
        row[r] = q + (first + r) * problem->query.row;
    const size_t end = dk_prefix_mask_end(&mask, first + rows - 1);
    for (size_t key = 0; key < end; key += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, end - key);
        work->kernels->pack_f32(k + key * problem->key.row, problem->key.row, count, problem->dim,
                                1.0f, work->panel[slot]);
        score_panel(work, row, rows, work->panel[slot], key, count, matrix);
    }
    for (size_t r = 0; r < rows; r++)
        softmax_row(matrix + r * problem->keys, dk_prefix_mask_end(&mask, first + r), problem->keys,
                    problem->scale);
}

static dotk_status
run(struct dk_call *call, struct weights *work)
{
    const struct dk_attention *const problem = work->problem;

    work->kernels = call->kernels;
    work->panel = dk_call_alloc(call, call->slots, sizeof *work->panel);
    if (work->panel == NULL)
        return dk_fail_memory(call->slots * sizeof *work->panel, "attention weights");
    for (size_t slot = 0; slot < call->slots; slot++) {
        work->panel[slot] = dk_call_alloc(call, DK_PANEL * problem->dim, sizeof(float));
        if (work->panel[slot] == NULL)
            return dk_fail_memory(DK_PANEL * problem->dim * sizeof(float), "attention weights");
    }
    return dk_call_run(call, problem->batch * problem->heads * work->groups, run_rows, work);
}

dotk_status
dotk_attention_weights(dotk_context *context, const dotk_attention_shape *shape, const float *q,
                       const float *k, const dotk_attention_options *options, float *weights)
{
    struct dk_attention problem;
    struct dk_call call;
    size_t cells, total;

    dotk_status status = dk_attention_describe(shape, options, &problem);
    if (status != DOTK_OK)
        return status;
    if (!dk_mul(problem.queries, problem.keys, &cells) || !dk_mul(cells, problem.heads, &total) ||
        !dk_mul(total, problem.batch, &total) || total > PTRDIFF_MAX / sizeof *weights)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape: weights of %zu x %zu x %zu x %zu overflow: ask for fewer queries",
                       problem.batch, problem.heads, problem.queries, problem.keys);
    const dotk_layout dense = {problem.heads * cells, cells, problem.keys};
    const struct dk_attention_array arrays[] = {
        {"q", q, problem.queries, problem.dim, problem.query, false},
        {"k", k, problem.keys, problem.dim, problem.key, false},
        {"weights", weights, problem.queries, problem.keys, dense, true},
    };
    problem.q = q;
    problem.k = k;
    status = dk_attention_check_arrays(&problem, arrays, sizeof arrays / sizeof *arrays);
    if (status != DOTK_OK || total == 0)
        return status;
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    struct weights work = {
        .problem = &problem,
        .weights = weights,
        .groups = (problem.queries + TASK_ROWS - 1) / TASK_ROWS,
    };
    status = run(&call, &work);
    dk_call_end(&call);
    return status;
}
