/*
 * weights.c - the matrix of weights itself, for someone who wants to look at it
 *
 * Two passes over each row, the textbook's way: scores into the caller's matrix, then their
 * maximum, exponentials in double precision and sum. Nothing here is fast or needs to be.
 */
#include <math.h>
#include <string.h>

#include "attention/source.h"
#include "attention/visible.h"

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

/* row[0 .. keys - 1]: scores of the span to weights; zeros where a key does not count. */
static void
softmax_row(const struct dk_visible *visible, size_t r, float *row, size_t keys)
{
    const struct dk_attention *const problem = visible->problem;
    const dotk_attention_options *const options = &problem->options;
    const struct dk_span span = dk_visible_span(visible, r, r);
    const size_t head = dk_attention_query_head(problem, visible->key_head, r);
    double most = -INFINITY, sum = 0;

    memset(row, 0, span.begin / DK_PANEL * DK_PANEL * sizeof *row);
    for (size_t key = span.begin / DK_PANEL * DK_PANEL; key < span.end; key += DK_PANEL) {
        const uint64_t bits = visible->mask.bits(&visible->mask, r, key);
        const size_t count = dk_min(DK_PANEL, visible->entry.window.length - key);
        float bias[DK_PANEL];
        dk_visible_bias(visible, r, key, count, bias);
        for (size_t j = 0; j < count; j++) {
            double score = row[key + j] * problem->scale;
            if (options->softcap > 0)
                score = options->softcap * tanh(score / options->softcap);
            score += bias[j] * 0.69314718055994530942;
            row[key + j] = (bits >> j & 1) != 0 ? (float)score : -INFINITY;
            most = row[key + j] > most || row[key + j] != row[key + j] ? row[key + j] : most;
        }
    }
    const size_t first = span.begin / DK_PANEL * DK_PANEL;
    const size_t end = dk_min(dk_round_up(span.end, DK_PANEL), visible->entry.window.length);
    memset(row + dk_max(end, first), 0, (keys - dk_max(end, first)) * sizeof *row);
    if (options->sinks != NULL) {
        most = fmax(most, options->sinks[head]);
        sum = exp(options->sinks[head] - most);
    }
    for (size_t j = first; j < end; j++)
        sum += most == -INFINITY ? 0 : exp(row[j] - most);
    for (size_t j = first; j < end; j++)
        row[j] = most == -INFINITY ? 0 : (float)(exp(row[j] - most) / sum);
}

static void
run_rows(void *arg, size_t task, size_t slot)
{
    const struct weights *const work = arg;
    const struct dk_attention *const problem = work->problem;
    const size_t head = task / work->groups, b = head / problem->heads, h = head % problem->heads;
    const size_t first = task % work->groups * TASK_ROWS;
    const size_t rows = dk_min(TASK_ROWS, problem->queries - first);
    const struct dk_attend_entry entry = dk_attention_entry(problem, b);
    const struct dk_visible visible = dk_visible(problem, &entry, h / problem->group);
    const size_t g = h % problem->group, step = problem->group;
    const float *const q = (const float *)problem->q +
                           dk_attention_head(&problem->options.query, b, h);
    const float *const k = (const float *)problem->k +
                           dk_attention_head(&problem->options.key, b, h / problem->group);
    float *const matrix = work->weights + (head * problem->queries + first) * problem->keys;
    const float *row[TASK_ROWS];

    for (size_t r = 0; r < rows; r++)
        row[r] = q + (first + r) * problem->options.query.row;
    const struct dk_span span = dk_visible_span(&visible, first * step + g,
                                                (first + rows - 1) * step + g);
    for (size_t key = span.begin / DK_PANEL * DK_PANEL; key < span.end; key += DK_PANEL) {
        const size_t count = dk_min(DK_PANEL, entry.window.length - key);
        work->kernels->pack_f32(k + key * problem->options.key.row, problem->options.key.row, count,
                                problem->dim, 1.0f, work->panel[slot]);
        score_panel(work, row, rows, work->panel[slot], key, count, matrix);
    }
    for (size_t r = 0; r < rows; r++)
        softmax_row(&visible, (first + r) * step + g, matrix + r * problem->keys, problem->keys);
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
    if (problem.options.store != DOTK_STORE_F32 || problem.options.key_scales != NULL ||
        problem.options.sequences != 0)
        return dk_fail(DOTK_UNSUPPORTED, "options: weights are of f32 without packed sequences");
    if (!dk_mul(problem.queries, problem.keys, &cells) || !dk_mul(cells, problem.heads, &total) ||
        !dk_mul(total, problem.batch, &total) || total > PTRDIFF_MAX / sizeof *weights)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape: weights of %zu x %zu x %zu x %zu overflow: ask for fewer queries",
                       problem.batch, problem.heads, problem.queries, problem.keys);
    const dotk_layout dense = {problem.heads * cells, cells, problem.keys};
    const struct dk_attention_array arrays[] = {
        {"q", q, problem.heads, problem.queries, problem.dim, problem.options.query, sizeof *q,
         false},
        {"k", k, problem.key_heads, problem.keys, problem.dim, problem.options.key, sizeof *k,
         false},
        {"weights", weights, problem.heads, problem.queries, problem.keys, dense, sizeof *weights,
         true},
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
