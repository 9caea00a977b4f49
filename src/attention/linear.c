/*
 * linear.c - linear attention: tokens through a state
 *
 *     for each wave of heads whose states fit 4 MiB
 *       for each stretch of tokens, long enough to share, short enough to cancel
 *         for each head of keys, or panel of 64 of its columns          (shared by threads)
 *           for each run of 16 tokens: widened, mapped, gates raised    (L1)
 *             for each panel of columns: the kernel                     (state in L1 or L2)
 *
 * Columns of a state never meet, so a head may be cut there, and a divisor (normalize) is one more
 * column, of values that are 1. The order of sums is the kernel's (kernel/linear.h); nothing here
 * changes a bit of it.
 */
#include <dotk/linear_attention.h>

#include <math.h>
#include <string.h>

#include "attention/problem.h"
#include "codec/store.h"
#include "tile/layout.h"

enum {
    RUN = 16,             /* tokens prepared at a time                                  */
    LANES = 16,           /* vectors over d are padded to this many                     */
    WAVE_BYTES = 4 << 20, /* of states that wait for their next stretch                 */
    TASK_MS = 15,         /* so that cancelling is prompt                               */
};

/* What one thread works in: vectors of the tokens of a run. */
struct room {
    float *query; /* (RUN, group) */
    float *key, *keep, *probe;
    float *beta;
    float *value; /* (panels, RUN, 64)        */
    float *out;   /* (panels, RUN, group, 64) */
};

struct work {
    struct dk_attention problem;
    dotk_linear_attention_options options; /* strides of 0 are gone */
    const struct dk_kernels *kernels;
    const float *past;
    float *present;
    void *out;
    size_t stride;        /* of vectors over d                                          */
    size_t columns;       /* of a state: E, and one more with normalize                 */
    size_t panels, parts; /* of 64 columns; tasks that share the panels of a head       */
    float *states;        /* of a wave: (head, panels, D, 64)                           */
    struct room *rooms;
    size_t first_head, first_token, token_count; /* of the stretch in work              */
    bool begins, ends;                           /* it is the first, the last           */
};

/* One task: a head of keys, panels first .. last - 1. */
struct part {
    size_t b, g, first, last;
    size_t tokens; /* that exist */
    float *state;  /* of panel 0 */
    size_t head;   /* among all, for past and present */
};

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

static dotk_status
check_rule(const dotk_linear_attention_options *options)
{
    static const char *const names[] = {"linear", "gated", "delta", "gated delta"};
    const unsigned rule = (unsigned)options->rule;

    if (rule > DOTK_LINEAR_GATED_DELTA)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->rule is %d: it goes from 0 (linear) to 3 (gated delta)",
                       (int)options->rule);
    const bool gated = rule & DOTK_LINEAR_GATED, delta = rule & DOTK_LINEAR_DELTA;
    if (gated != (options->decay != NULL))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->decay is %s, but options->rule is %u (%s): %s",
                       gated ? "NULL" : "given", rule, names[rule],
                       gated ? "pass the gates" : "it has no gates, leave it NULL");
    if (delta != (options->beta != NULL))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->beta is %s, but options->rule is %u (%s): %s",
                       delta ? "NULL" : "given", rule, names[rule],
                       delta ? "pass the step sizes" : "it has no step size, leave it NULL");
    if (options->feature_map != DOTK_FEATURE_NONE &&
        options->feature_map != DOTK_FEATURE_ELU_PLUS_1)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->feature_map is %d: DOTK_FEATURE_NONE or DOTK_FEATURE_ELU_PLUS_1",
                       (int)options->feature_map);
    if (options->normalize && delta)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->normalize is %d with options->rule %u (%s): a delta rule has no "
                       "sum of keys to divide by",
                       (int)options->normalize, rule, names[rule]);
    return DOTK_OK;
}

/* Fills in the strides of decay or beta, (B, heads, T, width). */
static dotk_status
resolve(const struct work *work, const char *name, size_t heads, size_t width, dotk_layout *layout)
{
    const struct dk_array array = {name,  work->problem.batch, heads, work->problem.keys,
                                   width, sizeof(float)};
    const dotk_status status = dk_layout_resolve(&array, layout);
    size_t extent;

    if (status != DOTK_OK)
        return status;
    return dk_layout_extent(&array, layout, &extent) ? DOTK_OK : dk_layout_fail_extent(&array);
}

static size_t
decay_width(const struct work *work)
{
    return work->options.decay_per_head ? 1 : work->problem.dim;
}

static size_t
beta_heads(const struct work *work)
{
    return work->options.beta_per_token ? 1 : work->problem.key_heads;
}

/* What attention has too: shape, scale, store, and the layouts of q, k, v and out. */
static dotk_status
describe(const dotk_linear_attention_shape *shape, struct work *work)
{
    dotk_linear_attention_options *const options = &work->options;
    const dotk_attention_shape attention = {.batch = shape->batch,
                                            .heads = shape->heads,
                                            .queries = shape->tokens,
                                            .keys = shape->tokens,
                                            .width = shape->width,
                                            .value_width = shape->value_width,
                                            .key_heads = shape->key_heads};
    dotk_attention_options same = DOTK_ATTENTION_OPTIONS_INIT;
    size_t floats;

    same.scale = options->scale;
    same.has_scale = options->has_scale;
    same.query = options->query;
    same.key = options->key;
    same.value = options->value;
    same.output = options->output;
    same.store = options->store;
    dotk_status status = dk_attention_describe(&attention, &same, &work->problem);
    if (status != DOTK_OK)
        return status;
    const struct dk_attention *const problem = &work->problem;
    for (size_t b = 0; options->lengths != NULL && b < problem->batch; b++) {
        if (options->lengths[b] > problem->keys)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->lengths[%zu] is %zu, above the %zu tokens there are", b,
                           options->lengths[b], problem->keys);
    }
    work->columns = problem->width + (options->normalize ? 1 : 0);
    work->panels = (work->columns + DK_PANEL - 1) / DK_PANEL;
    work->stride = dk_round_up(problem->dim, LANES);
    if (!dk_mul(work->panels * DK_PANEL, problem->dim, &floats) ||
        !dk_mul(floats, dk_max(problem->key_heads, 1), &floats) ||
        !dk_mul(floats, dk_max(problem->batch, 1), &floats) || floats > PTRDIFF_MAX / sizeof(float))
        return dk_fail(DOTK_BAD_ARGUMENT, "shape: states of %zu x %zu x %zu x %zu overflow",
                       problem->batch, problem->key_heads, problem->dim, work->columns);
    if (options->decay != NULL)
        status = resolve(work, "decay_layout", problem->key_heads, decay_width(work),
                         &options->decay_layout);
    if (status == DOTK_OK && options->beta != NULL)
        status = resolve(work, "beta_layout", beta_heads(work), 1, &options->beta_layout);
    return status;
}

static dotk_status
check_arrays(struct work *work, const void *q, const void *k, const void *v, const float *past,
             float *present, void *out)
{
    const struct dk_attention *const problem = &work->problem;
    const dotk_linear_attention_options *const options = &work->options;
    const size_t size = dk_attention_size(problem), T = problem->keys;
    const size_t rows = problem->dim, state = rows * work->columns;
    const dotk_layout dense = {problem->key_heads * state, state, work->columns};
    const bool apart = past != present; /* in place is fine */
    const struct dk_attention_array arrays[] = {
        {"q", q, problem->heads, T, problem->dim, problem->options.query, size, false},
        {"k", k, problem->key_heads, T, problem->dim, problem->options.key, size, false},
        {"v", v, problem->key_heads, T, problem->width, problem->options.value, size, false},
        {"out", out, problem->heads, T, problem->width, problem->options.output, size, true},
        {"present", present, problem->key_heads, rows, present != NULL ? work->columns : 0, dense,
         sizeof(float), true},
        {"past", apart ? past : NULL, problem->key_heads, rows,
         apart && past != NULL ? work->columns : 0, dense, sizeof(float), false},
        {"options->decay", options->decay, problem->key_heads, T,
         options->decay != NULL ? decay_width(work) : 0, options->decay_layout, size, false},
        {"options->beta", options->beta, beta_heads(work), T, options->beta != NULL,
         options->beta_layout, size, false},
    };

    work->past = past;
    work->present = present;
    work->problem.q = q;
    work->problem.k = k;
    work->problem.v = v;
    work->out = out;
    return dk_attention_check_arrays(problem, arrays, sizeof arrays / sizeof *arrays);
}

/* ------------------------------------------------------------------------- */
/*  States                                                                   */
/* ------------------------------------------------------------------------- */

static size_t
columns_of(const struct work *work, size_t panel)
{
    return dk_min(DK_PANEL, work->columns - panel * DK_PANEL);
}

static void
load_states(const struct work *work, const struct part *part)
{
    const size_t dim = work->problem.dim;

    for (size_t p = part->first; p < part->last; p++) {
        const size_t bytes = columns_of(work, p) * sizeof(float);
        for (size_t d = 0; d < dim; d++) {
            float *const to = part->state + (p * dim + d) * DK_PANEL;
            memset(to, 0, DK_PANEL * sizeof *to);
            if (work->past != NULL)
                memcpy(to, work->past + (part->head * dim + d) * work->columns + p * DK_PANEL,
                       bytes);
        }
    }
}

static void
store_states(const struct work *work, const struct part *part)
{
    const size_t dim = work->problem.dim;

    for (size_t p = part->first; work->present != NULL && p < part->last; p++) {
        for (size_t d = 0; d < dim; d++)
            memcpy(work->present + (part->head * dim + d) * work->columns + p * DK_PANEL,
                   part->state + (p * dim + d) * DK_PANEL, columns_of(work, p) * sizeof(float));
    }
}

/* ------------------------------------------------------------------------- */
/*  Runs of tokens                                                           */
/* ------------------------------------------------------------------------- */

/* out = 'count' numbers from number 'at' of an array of options->store. */
static void
widen(const struct work *work, const void *array, size_t at, size_t count, float *out)
{
    dk_widen_store(work->kernels, work->options.store,
                   (const char *)array + at * dk_attention_size(&work->problem), count, out);
}

/* x = elu(x) + 1; 'spare' has room for as many. */
static void
elu_plus_1(const struct work *work, float *x, float *spare)
{
    for (size_t d = 0; d < work->stride; d++)
        spare[d] = x[d] > 0 ? 0 : x[d];
    work->kernels->exp_f32(spare, work->stride, spare);
    for (size_t d = 0; d < work->stride; d++)
        x[d] = x[d] > 0 ? x[d] + 1 : spare[d];
}

/* One vector of queries or keys. */
static void
prepare_vector(const struct work *work, const void *array, size_t at, float *out, float *spare)
{
    const size_t dim = work->problem.dim;

    widen(work, array, at, dim, out);
    memset(out + dim, 0, (work->stride - dim) * sizeof *out);
    if (work->options.feature_map == DOTK_FEATURE_ELU_PLUS_1)
        elu_plus_1(work, out, spare);
}

static void
prepare_gate(const struct work *work, size_t at, float *keep)
{
    const size_t dim = work->problem.dim, width = decay_width(work);

    memset(keep, 0, work->stride * sizeof *keep);
    widen(work, work->options.decay, at, width, keep);
    if (width == 1) {
        work->kernels->exp_f32(keep, LANES, keep);
        for (size_t d = 1; d < dim; d++)
            keep[d] = keep[0];
    } else {
        work->kernels->exp_f32(keep, work->stride, keep);
    }
}

/* Queries, key and gate of token t as number i of the run. */
static void
prepare_token(const struct work *work, const struct room *room, const struct part *part, size_t t,
              size_t i)
{
    const struct dk_attention *const problem = &work->problem;
    const dotk_linear_attention_options *const options = &work->options;
    const size_t stride = work->stride, group = problem->group;
    const float scale = (float)problem->scale;
    float *const key = room->key + i * stride, *const probe = room->probe + i * stride;
    float *const keep = room->keep + i * stride;

    for (size_t h = 0; h < group; h++) {
        const dotk_layout *const layout = &problem->options.query;
        float *const query = room->query + (i * group + h) * stride;
        prepare_vector(work, problem->q,
                       dk_attention_head(layout, part->b, part->g * group + h) + t * layout->row,
                       query, probe);
        for (size_t d = 0; d < stride; d++)
            query[d] *= scale;
    }
    prepare_vector(work, problem->k,
                   dk_attention_head(&problem->options.key, part->b, part->g) +
                       t * problem->options.key.row,
                   key, probe);
    if (options->decay != NULL)
        prepare_gate(work,
                     dk_attention_head(&options->decay_layout, part->b, part->g) +
                         t * options->decay_layout.row,
                     keep);
    if (options->beta != NULL) {
        const size_t g = options->beta_per_token ? 0 : part->g;
        widen(work, options->beta,
              dk_attention_head(&options->beta_layout, part->b, g) + t * options->beta_layout.row,
              1, &room->beta[i]);
        for (size_t d = 0; d < stride; d++)
            probe[d] = options->decay != NULL ? key[d] * keep[d] : key[d];
    }
}

static float *
run_values(const struct room *room, size_t panel, size_t i)
{
    return room->value + (panel * RUN + i) * DK_PANEL;
}

/* Value row t as number i of the run, and a 1 behind it for the divisor. */
static void
prepare_value(const struct work *work, const struct room *room, const struct part *part, size_t t,
              size_t i)
{
    const struct dk_attention *const problem = &work->problem;
    const dotk_layout *const layout = &problem->options.value;
    const size_t at = dk_attention_head(layout, part->b, part->g) + t * layout->row;

    for (size_t p = part->first; p < part->last; p++) {
        float *const value = run_values(room, p, i);
        const size_t count = dk_min(DK_PANEL,
                                    problem->width - dk_min(problem->width, p * DK_PANEL));
        memset(value, 0, DK_PANEL * sizeof *value);
        widen(work, problem->v, at + p * DK_PANEL, count, value);
        if (work->options.normalize && count < DK_PANEL)
            value[count] = 1;
    }
}

static float *
run_outputs(const struct work *work, const struct room *room, size_t panel, size_t i, size_t h)
{
    return room->out + ((panel * RUN + i) * work->problem.group + h) * DK_PANEL;
}

/* Divides and stores what the kernel left for token t, number i of the run. */
static void
store_outputs(const struct work *work, const struct room *room, const struct part *part, size_t t,
              size_t i)
{
    const struct dk_attention *const problem = &work->problem;
    const dotk_layout *const layout = &problem->options.output;
    const size_t width = problem->width;

    for (size_t h = 0; h < problem->group; h++) {
        const size_t at = dk_attention_head(layout, part->b, part->g * problem->group + h) +
                          t * layout->row;
        float divisor = 1;
        if (work->options.normalize)
            divisor = run_outputs(work, room, width / DK_PANEL, i, h)[width % DK_PANEL];
        for (size_t p = part->first; p < part->last && p * DK_PANEL < width; p++) {
            const size_t count = dk_min(DK_PANEL, width - p * DK_PANEL);
            float *const out = run_outputs(work, room, p, i, h);
            for (size_t c = 0; work->options.normalize && c < count; c++)
                out[c] = divisor != 0 ? out[c] / divisor : 0;
            dk_narrow_store(work->kernels, work->options.store, out, count,
                            (char *)work->out + (at + p * DK_PANEL) * dk_attention_size(problem));
        }
    }
}

/* Tokens t .. t + count - 1. */
static void
run_tokens(const struct work *work, const struct room *room, const struct part *part, size_t t,
           size_t count)
{
    const size_t group = work->problem.group;

    for (size_t i = 0; i < count; i++) {
        prepare_token(work, room, part, t + i, i);
        prepare_value(work, room, part, t + i, i);
    }
    for (size_t p = part->first; p < part->last; p++)
        work->kernels->linear_f32(&(struct dk_linear_f32){
            .dim = work->problem.dim,
            .stride = work->stride,
            .cols = dk_round_up(columns_of(work, p), LANES),
            .tokens = count,
            .heads = group,
            .state = part->state + p * work->problem.dim * DK_PANEL,
            .key = room->key,
            .keep = work->options.decay != NULL ? room->keep : NULL,
            .probe = work->options.beta != NULL ? room->probe : NULL,
            .beta = room->beta,
            .value = run_values(room, p, 0),
            .query = room->query,
            .out = run_outputs(work, room, p, 0, 0),
        });
    for (size_t i = 0; i < count; i++)
        store_outputs(work, room, part, t + i, i);
}

/* Zeros for tokens beyond a length. */
static void
store_zeros(const struct work *work, const struct part *part, size_t first, size_t last)
{
    const struct dk_attention *const problem = &work->problem;
    const dotk_layout *const layout = &problem->options.output;
    const size_t size = dk_attention_size(problem), from = part->first * DK_PANEL;
    const size_t to = dk_min(part->last * DK_PANEL, problem->width);

    for (size_t h = part->g * problem->group; h < (part->g + 1) * problem->group; h++) {
        for (size_t t = first; t < last && from < to; t++)
            memset((char *)work->out +
                       (dk_attention_head(layout, part->b, h) + t * layout->row + from) * size,
                   0, (to - from) * size);
    }
}

/* ------------------------------------------------------------------------- */
/*  Tasks                                                                    */
/* ------------------------------------------------------------------------- */

static struct part
part_at(const struct work *work, size_t task)
{
    const struct dk_attention *const problem = &work->problem;
    const size_t i = task / work->parts, part = task % work->parts;
    const size_t head = work->first_head + i;

    return (struct part){
        .b = head / problem->key_heads,
        .g = head % problem->key_heads,
        .first = work->panels * part / work->parts,
        .last = work->panels * (part + 1) / work->parts,
        .tokens = work->options.lengths != NULL ? work->options.lengths[head / problem->key_heads]
                                                : problem->keys,
        .state = work->states + i * work->panels * problem->dim * DK_PANEL,
        .head = head,
    };
}

static void
run_part(void *arg, size_t task, size_t slot)
{
    const struct work *const work = arg;
    const struct part part = part_at(work, task);
    const size_t end = work->first_token + work->token_count;
    const size_t last = dk_max(dk_min(end, part.tokens), work->first_token);

    if (work->begins)
        load_states(work, &part);
    for (size_t t = work->first_token; t < last; t += RUN)
        run_tokens(work, &work->rooms[slot], &part, t, dk_min(RUN, last - t));
    store_zeros(work, &part, last, end);
    if (work->ends)
        store_states(work, &part);
}

static bool
alloc_room(struct dk_call *call, const struct work *work, struct room *room)
{
    const size_t group = work->problem.group, row = RUN * work->stride;
    size_t query, out;

    if (!dk_mul(row, group, &query) || !dk_mul(work->panels * RUN * DK_PANEL, group, &out))
        return false;
    room->query = dk_call_alloc(call, query, sizeof *room->query);
    room->key = dk_call_alloc(call, row, sizeof *room->key);
    room->keep = dk_call_alloc(call, row, sizeof *room->keep);
    room->probe = dk_call_alloc(call, row, sizeof *room->probe);
    room->beta = dk_call_alloc(call, RUN, sizeof *room->beta);
    room->value = dk_call_alloc(call, work->panels * RUN * DK_PANEL, sizeof *room->value);
    room->out = dk_call_alloc(call, out, sizeof *room->out);
    return room->query != NULL && room->key != NULL && room->keep != NULL && room->probe != NULL &&
           room->beta != NULL && room->value != NULL && room->out != NULL;
}

static dotk_status
run_waves(struct dk_call *call, struct work *work, size_t heads, size_t wave, size_t stretch)
{
    const size_t tokens = work->problem.keys;
    const size_t stretches = dk_max(1, (tokens + stretch - 1) / stretch);

    call->parts = (heads + wave - 1) / wave * stretches;
    for (size_t head = 0; head < heads; head += wave) {
        for (size_t i = 0; i < stretches; i++, call->part++) {
            work->first_head = head;
            work->first_token = i * stretch;
            work->token_count = dk_min(stretch, tokens - work->first_token);
            work->begins = i == 0;
            work->ends = i + 1 == stretches;
            const dotk_status status = dk_call_run(call, dk_min(wave, heads - head) * work->parts,
                                                   run_part, work);
            if (status != DOTK_OK)
                return status;
        }
    }
    return DOTK_OK;
}

static dotk_status
run(struct dk_call *call, struct work *work)
{
    const struct dk_attention *const problem = &work->problem;
    const size_t heads = problem->batch * problem->key_heads;
    const size_t floats = work->panels * DK_PANEL * problem->dim;
    const double token_flop = (double)floats * (double)(2 * problem->group + 5);
    const double pace = call->kernels->pace / 1000 * TASK_MS / token_flop; /* tokens of a task */
    const size_t stretch = pace < 1e9 ? dk_round_up((size_t)pace + 1, RUN) : (size_t)1e9;
    const size_t wave = dk_min(heads, dk_max(call->slots, WAVE_BYTES / sizeof(float) / floats));

    work->kernels = call->kernels;
    /* a divisor is wanted wherever a column is stored */
    work->parts = heads < 2 * call->slots && !work->options.normalize ? work->panels : 1;
    work->states = dk_call_alloc(call, wave * floats, sizeof *work->states);
    work->rooms = dk_call_alloc(call, call->slots, sizeof *work->rooms);
    if (work->states == NULL || work->rooms == NULL)
        return dk_fail_memory(wave * floats * sizeof *work->states, "states of linear attention");
    for (size_t slot = 0; slot < call->slots; slot++) {
        if (!alloc_room(call, work, &work->rooms[slot]))
            return dk_fail_memory(RUN * work->stride * problem->group * sizeof(float),
                                  "linear attention");
    }
    return run_waves(call, work, heads, wave, stretch);
}

dotk_status
dotk_linear_attention(dotk_context *context, const dotk_linear_attention_shape *shape,
                      const void *q, const void *k, const void *v,
                      const dotk_linear_attention_options *options, const float *past,
                      float *present, void *out)
{
    static const dotk_linear_attention_options defaults = DOTK_LINEAR_ATTENTION_OPTIONS_INIT;
    struct work work;
    struct dk_call call;

    if (shape == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape is NULL: say how large the arrays are");
    DK_CHECK_OPTIONS(options);
    work = (struct work){.options = options != NULL ? *options : defaults};
    dotk_status status = check_rule(&work.options);
    if (status == DOTK_OK)
        status = describe(shape, &work);
    if (status == DOTK_OK)
        status = check_arrays(&work, q, k, v, past, present, out);
    if (status == DOTK_OK && work.problem.heads == 0 && work.problem.key_heads != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "shape->heads is 0 with shape->key_heads %zu: states are taken further for "
                       "queries, so there has to be a head of them",
                       work.problem.key_heads);
    if (status != DOTK_OK || work.problem.batch == 0 || work.problem.heads == 0)
        return status;
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    status = run(&call, &work);
    dk_call_end(&call);
    return status;
}
