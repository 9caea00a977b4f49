/*
 * rotary.c - dotk_rotary(): arguments checked, then tokens shared among threads
 *
 * A token's cosines and sines serve all of its heads, so a task is some tokens of one batch entry
 * with every head of theirs.
 */
#include "rotary/rotary.h"

#include "codec/store.h"
#include "tile/layout.h"
#include "tile/tile.h"

#include <string.h>

enum {
    WIDTH_MAX = 65536,
    TASK_NUMBERS = 1 << 16, /* some 50 us */
};

struct rotary {
    size_t batch, heads, tokens, width, pairs;
    dotk_rotary_options options; /* no stride of 0 stands for a default any more */
    const char *x;
    char *out;
    const struct dk_kernels *kernels;
    size_t size;         /* of a number */
    size_t task_tokens;  /* of a task, at most */
    size_t entry_tasks;  /* of a batch entry */
    const double *turns; /* (pairs), without tables */
    double *angles;      /* for each slot: (pairs) cosines, (pairs) sines */
    float *widened;      /* for each slot: (2 * pairs), for halves */
};

/* ------------------------------------------------------------------------- */
/*  Arguments                                                                */
/* ------------------------------------------------------------------------- */

static bool
is_empty(const struct rotary *rotary)
{
    return rotary->batch == 0 || rotary->heads == 0 || rotary->tokens == 0;
}

static struct dk_array
array_of(const struct rotary *rotary, const char *name)
{
    return (struct dk_array){name,           rotary->batch, rotary->heads,
                             rotary->tokens, rotary->width, rotary->size};
}

/* Fills in strides; *bytes = from the first to the last of the array. */
static dotk_status
check_layout(const struct rotary *rotary, const char *name, dotk_layout *layout, size_t *bytes)
{
    const struct dk_array array = array_of(rotary, name);
    const dotk_status status = dk_layout_resolve(&array, layout);

    if (status != DOTK_OK)
        return status;
    return dk_layout_extent(&array, layout, bytes) ? DOTK_OK : dk_layout_fail_extent(&array);
}

static dotk_status
check_arrays(const struct rotary *rotary, size_t x_bytes, size_t out_bytes)
{
    const dotk_rotary_options *const options = &rotary->options;
    const struct dk_array output = array_of(rotary, "output");
    const size_t table = options->table_rows * rotary->pairs * sizeof(float);
    const bool in_place = rotary->x == rotary->out &&
                          memcmp(&options->input, &options->output, sizeof(dotk_layout)) == 0;

    if (rotary->x == NULL || rotary->out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass %zu x %zu x %zu x %zu values",
                       rotary->x == NULL ? "x" : "out", rotary->batch, rotary->heads,
                       rotary->tokens, rotary->width);
    const dotk_status status = dk_layout_check_apart(&output, &options->output, "options->output");
    if (status != DOTK_OK)
        return status;
    const struct {
        const char *name;
        const void *start;
        size_t size;
    } inputs[] = {
        {"x", in_place ? NULL : rotary->x, x_bytes},
        {"options->frequencies", options->frequencies, rotary->pairs * sizeof(float)},
        {"options->positions", options->positions,
         rotary->batch * rotary->tokens * sizeof(int64_t)},
        {"options->cosines", options->cosines, table},
        {"options->sines", options->sines, table},
    };
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        if (dk_overlap(rotary->out, out_bytes, inputs[i].start, inputs[i].size))
            return dk_fail(
                DOTK_BAD_ARGUMENT,
                "out overlaps %s: give it memory of its own (or x itself, with its layout)",
                inputs[i].name);
    }
    return DOTK_OK;
}

/* The position of a token, which check_positions() has found in range. */
static int64_t
position_of(const struct rotary *rotary, size_t batch, size_t token)
{
    const dotk_rotary_options *const options = &rotary->options;
    return options->positions != NULL ? options->positions[batch * rotary->tokens + token]
                                      : options->offset + (int64_t)token;
}

static dotk_status
check_position(const struct rotary *rotary, const char *name, size_t index, int64_t position)
{
    const dotk_rotary_options *const options = &rotary->options;

    if (options->cosines != NULL &&
        (position < 0 || (uint64_t)position >= (uint64_t)options->table_rows))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s of token %zu is %lld: the tables have %zu rows", name,
                       index, (long long)position, options->table_rows);
    if (position < -DK_ROTARY_POSITIONS || position > DK_ROTARY_POSITIONS)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s of token %zu is %lld: at most %lld in size", name,
                       index, (long long)position, (long long)DK_ROTARY_POSITIONS);
    return DOTK_OK;
}

static dotk_status
check_positions(const struct rotary *rotary)
{
    const dotk_rotary_options *const options = &rotary->options;
    dotk_status status = DOTK_OK;

    if (options->positions == NULL) {
        const int64_t last = (int64_t)rotary->tokens - 1; /* the extent fits ptrdiff_t */
        status = check_position(rotary, "options->offset", 0, options->offset);
        if (status == DOTK_OK)
            status = check_position(rotary, "options->offset", (size_t)last,
                                    options->offset + last);
        return status;
    }
    if (options->offset != 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->offset is %lld beside options->positions: they say it all, leave "
                       "it 0",
                       (long long)options->offset);
    for (size_t i = 0; i < rotary->batch * rotary->tokens && status == DOTK_OK; i++)
        status = check_position(rotary, "options->positions", i, options->positions[i]);
    return status;
}

static dotk_status
check_tables(const struct rotary *rotary)
{
    const dotk_rotary_options *const options = &rotary->options;
    size_t table;

    if ((options->cosines == NULL) != (options->sines == NULL))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->%s is NULL: pass both tables or neither",
                       options->cosines == NULL ? "cosines" : "sines");
    if (options->cosines != NULL && (options->theta != 0 || options->frequencies != NULL))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->%s is set beside options->cosines: tables say it all, leave it 0",
                       options->theta != 0 ? "theta" : "frequencies");
    if (!dk_mul(options->table_rows, rotary->pairs * sizeof(float), &table))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->table_rows is %zu: rows of %zu overflow",
                       options->table_rows, rotary->pairs);
    return DOTK_OK;
}

static dotk_status
describe(const dotk_rotary_shape *shape, const void *x, const dotk_rotary_options *options,
         void *out, struct rotary *rotary)
{
    static const dotk_rotary_options defaults = DOTK_ROTARY_OPTIONS_INIT;
    dotk_status status;
    size_t x_bytes, out_bytes;

    if (shape == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape is NULL: say how large the arrays are");
    DK_CHECK_OPTIONS(options);
    *rotary = (struct rotary){
        .batch = shape->batch,
        .heads = shape->heads,
        .tokens = shape->tokens,
        .width = shape->width,
        .options = options != NULL ? *options : defaults,
        .x = x,
        .out = out,
    };
    options = &rotary->options;
    if (rotary->width == 0 || rotary->width > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "shape->width is %zu: 1 .. %d", rotary->width, WIDTH_MAX);
    if (options->store != DOTK_STORE_F32 && options->store != DOTK_STORE_F16 &&
        options->store != DOTK_STORE_BF16)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->store is %d: f32, f16 or bf16",
                       (int)options->store);
    rotary->size = dk_store_bytes(options->store);
    if ((status = dk_rotary_check(rotary->width, options->rotary_width, options->theta,
                                  options->frequencies, &rotary->pairs)) != DOTK_OK ||
        (status = check_tables(rotary)) != DOTK_OK ||
        (status = check_layout(rotary, "input", &rotary->options.input, &x_bytes)) != DOTK_OK ||
        (status = check_layout(rotary, "output", &rotary->options.output, &out_bytes)) != DOTK_OK)
        return status;
    if (is_empty(rotary))
        return DOTK_OK;
    status = check_arrays(rotary, x_bytes, out_bytes);
    return status == DOTK_OK ? check_positions(rotary) : status;
}

/* ------------------------------------------------------------------------- */
/*  Work                                                                     */
/* ------------------------------------------------------------------------- */

/* The cosines and sines of a position, from the tables or worked out. */
static void
find_angles(const struct rotary *rotary, int64_t position, double *cosines, double *sines)
{
    const dotk_rotary_options *const options = &rotary->options;
    const size_t pairs = rotary->pairs;

    if (options->cosines == NULL) {
        dk_rotary_angles(rotary->turns, pairs, position, cosines, sines);
    } else {
        for (size_t i = 0; i < pairs; i++) {
            cosines[i] = (double)options->cosines[(size_t)position * pairs + i];
            sines[i] = (double)options->sines[(size_t)position * pairs + i];
        }
    }
    for (size_t i = 0; options->inverse && i < pairs; i++)
        sines[i] = -sines[i];
}

/* out holds a copy of the row already. */
static void
turn_row(const struct rotary *rotary, void *out, const double *cosines, const double *sines,
         float *widened)
{
    const size_t pairs = rotary->pairs;
    const bool interleaved = rotary->options.interleaved != 0;
    const dotk_store store = rotary->options.store;

    if (store == DOTK_STORE_F32) {
        dk_rotary_row(out, pairs, interleaved, cosines, sines);
        return;
    }
    dk_widen_store(rotary->kernels, store, out, 2 * pairs, widened);
    dk_rotary_row(widened, pairs, interleaved, cosines, sines);
    dk_narrow_store(rotary->kernels, store, widened, 2 * pairs, out);
}

static void
turn_task(void *arg, size_t task, size_t slot)
{
    const struct rotary *const rotary = arg;
    const dotk_layout *const in = &rotary->options.input, *const to = &rotary->options.output;
    const size_t b = task / rotary->entry_tasks;
    const size_t first = task % rotary->entry_tasks * rotary->task_tokens;
    const size_t end = dk_min(first + rotary->task_tokens, rotary->tokens);
    double *const cosines = rotary->angles + slot * 2 * rotary->pairs;
    double *const sines = cosines + rotary->pairs;

    for (size_t t = first; t < end; t++) {
        find_angles(rotary, position_of(rotary, b, t), cosines, sines);
        for (size_t h = 0; h < rotary->heads; h++) {
            const char *const x = rotary->x +
                                  (b * in->batch + h * in->head + t * in->row) * rotary->size;
            char *const out = rotary->out +
                              (b * to->batch + h * to->head + t * to->row) * rotary->size;
            if (out != x)
                memcpy(out, x, rotary->width * rotary->size);
            turn_row(rotary, out, cosines, sines, rotary->widened + slot * 2 * rotary->pairs);
        }
    }
}

static dotk_status
run(struct dk_call *call, struct rotary *rotary)
{
    const size_t numbers = dk_max(rotary->pairs, 1);
    double *const turns = dk_call_alloc(call, numbers, sizeof *turns);

    rotary->angles = dk_call_alloc(call, call->slots * 2 * numbers, sizeof *rotary->angles);
    rotary->widened = dk_call_alloc(call, call->slots * 2 * numbers, sizeof *rotary->widened);
    if (turns == NULL || rotary->angles == NULL || rotary->widened == NULL)
        return dk_fail_memory((call->slots * 6 + 2) * numbers * sizeof *turns / 2, "angles");
    if (rotary->options.cosines == NULL)
        dk_rotary_turns(rotary->options.theta, rotary->options.frequencies, rotary->pairs, turns);
    rotary->turns = turns;
    rotary->kernels = call->kernels;
    rotary->task_tokens = dk_max(TASK_NUMBERS / rotary->width / rotary->heads, 1);
    rotary->entry_tasks = (rotary->tokens - 1) / rotary->task_tokens + 1;
    return dk_call_run(call, rotary->batch * rotary->entry_tasks, turn_task, rotary);
}

dotk_status
dotk_rotary(dotk_context *context, const dotk_rotary_shape *shape, const void *x,
            const dotk_rotary_options *options, void *out)
{
    struct rotary rotary;
    struct dk_call call;

    dotk_status status = describe(shape, x, options, out, &rotary);
    if (status != DOTK_OK || is_empty(&rotary))
        return status;
    status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    status = run(&call, &rotary);
    dk_call_end(&call);
    return status;
}
