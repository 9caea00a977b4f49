/*
 * cache_sequence.c - sequences of a cache: created, forked, truncated, extended, read back
 *
 * Adding tokens takes all the memory it needs first, then cannot fail: what a page that others
 * share holds of this sequence is copied, and the tokens are packed, panel by panel, shared among
 * threads when there are many.
 */
#include "attention/cache.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "rotary/rotary.h"
#include "tile/layout.h"

enum { PAGES_FIRST = 8, ALONE = 1 << 18 /* numbers that one thread packs by itself */ };

static const float INT8_MOST = 1e38f;

static size_t
pages_of(const dotk_cache *cache, size_t count)
{
    return count / cache->page_keys + (count % cache->page_keys != 0);
}

/* ------------------------------------------------------------------------- */
/*  Beginning and end                                                        */
/* ------------------------------------------------------------------------- */

static dotk_status
make(dotk_cache *cache, size_t capacity, dotk_sequence **out)
{
    dotk_sequence *const sequence = dk_alloc(sizeof *sequence);
    struct dk_page **const pages = sequence == NULL ? NULL
                                                    : dk_alloc_array(capacity, sizeof *pages);

    if (pages == NULL) {
        dk_free(sequence);
        return dk_fail_memory(sizeof *sequence + capacity * sizeof *pages, "a sequence");
    }
    *sequence = (dotk_sequence){.cache = cache, .pages = pages, .capacity = capacity};
    *out = sequence;
    return DOTK_OK;
}

dotk_status
dotk_sequence_create(dotk_cache *cache, dotk_sequence **out)
{
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to put the sequence");
    *out = NULL;
    if (cache == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "cache is NULL: make one with dotk_cache_create()");
    return make(cache, PAGES_FIRST, out);
}

void
dotk_sequence_destroy(dotk_sequence *sequence)
{
    if (sequence == NULL)
        return;
    dk_cache_release(sequence->cache, sequence->page_count, sequence->pages);
    dk_free(sequence->pages);
    dk_free(sequence);
}

static dotk_status
check_count(const dotk_sequence *sequence, size_t count)
{
    if (sequence == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "sequence is NULL: make one with dotk_sequence_create()");
    if (count > sequence->count)
        return dk_fail(DOTK_BAD_ARGUMENT, "count is %zu, above the %zu tokens there are", count,
                       sequence->count);
    return DOTK_OK;
}

dotk_status
dotk_sequence_fork(const dotk_sequence *sequence, size_t count, dotk_sequence **out)
{
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to put the fork");
    *out = NULL;
    dotk_status status = check_count(sequence, count);
    if (status != DOTK_OK)
        return status;
    const size_t pages = pages_of(sequence->cache, count);
    status = make(sequence->cache, pages + PAGES_FIRST, out);
    if (status != DOTK_OK)
        return status;
    dk_cache_share(pages, sequence->pages);
    memcpy((*out)->pages, sequence->pages, pages * sizeof *sequence->pages);
    (*out)->page_count = pages;
    (*out)->count = count;
    return DOTK_OK;
}

dotk_status
dotk_sequence_truncate(dotk_sequence *sequence, size_t count)
{
    const dotk_status status = check_count(sequence, count);

    if (status != DOTK_OK)
        return status;
    const size_t pages = pages_of(sequence->cache, count);
    dk_cache_release(sequence->cache, sequence->page_count - pages, sequence->pages + pages);
    sequence->page_count = pages;
    sequence->count = count;
    return DOTK_OK;
}

size_t
dotk_sequence_count(const dotk_sequence *sequence)
{
    return sequence == NULL ? 0 : sequence->count;
}

/* ------------------------------------------------------------------------- */
/*  Adding: arguments                                                        */
/* ------------------------------------------------------------------------- */

/* Fills in strides, and checks that the last number has an address. */
static dotk_status
check_tokens(const char *name, const char *option, const dotk_cache *cache, size_t n, size_t width,
             const void *start, dotk_layout layout, dotk_store store, struct dk_tokens *tokens)
{
    const struct dk_array array = {option, 1, cache->heads, n, width, sizeof(float)};
    size_t extent;

    if (start == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass its %zu x %zu x %zu values", name,
                       cache->heads, n, width);
    layout.batch = 0;
    const dotk_status status = dk_layout_resolve(&array, &layout);
    if (status != DOTK_OK)
        return status;
    if (!dk_layout_extent(&array, &layout, &extent))
        return dk_layout_fail_extent(&array);
    *tokens = (struct dk_tokens){
        .start = start, .head = layout.head, .row = layout.row, .width = width, .store = store};
    return DOTK_OK;
}

/* int8: codes are of numbers. */
static dotk_status
check_numbers(const char *name, const dotk_cache *cache, size_t n, const struct dk_tokens *tokens,
              const struct dk_kernels *kernels, float *room)
{
    for (size_t h = 0; h < cache->heads; h++) {
        for (size_t i = 0; i < n; i++) {
            const float *const row = dk_tokens_row(tokens, kernels, h, i, room);
            bool fine = true;
            for (size_t d = 0; d < tokens->width; d++)
                fine &= fabsf(row[d]) <= INT8_MOST;
            if (!fine)
                return dk_fail(DOTK_BAD_ARGUMENT,
                               "%s: token %zu of head %zu has a value that is not finite or beyond "
                               "1e38: int8 cannot hold it",
                               name, i, h);
        }
    }
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Adding                                                                   */
/* ------------------------------------------------------------------------- */

struct add {
    dotk_sequence *sequence;
    size_t n;
    struct dk_tokens key, value;
    struct dk_turn turn;
    const struct dk_kernels *kernels;
    struct dk_cache_room *rooms; /* of each slot */
};

/* Packs those of the tokens, of all heads, that come to lie in one panel: the first is number 0. */
static void
pack_panel(void *arg, size_t task, size_t slot)
{
    const struct add *const add = arg;
    const dotk_sequence *const sequence = add->sequence;
    const dotk_cache *const cache = sequence->cache;
    const size_t before = sequence->count % DK_PANEL, end = (task + 1) * DK_PANEL - before;
    const size_t token = task == 0 ? 0 : task * DK_PANEL - before;
    const size_t place = sequence->count + token;
    struct dk_put put = {
        .cache = cache,
        .kernels = add->kernels,
        .room = &add->rooms[slot],
        .turn = &add->turn,
        .token = token,
        .n = dk_min(end, add->n) - token,
        .first = place % cache->page_keys,
    };

    if (add->key.turned)
        dk_cache_angles(&add->turn, token, put.n, &add->rooms[slot]);
    for (put.h = 0; put.h < cache->heads; put.h++) {
        put.head = dk_page_head(sequence->pages[place / cache->page_keys], put.h);
        put.tokens = &add->key;
        dk_cache_put_keys(&put);
        put.tokens = &add->value;
        dk_cache_put_values(&put);
    }
}

/* Panels that the new tokens touch. */
static size_t
panels_of(const struct add *add)
{
    return (add->sequence->count % DK_PANEL + add->n + DK_PANEL - 1) / DK_PANEL;
}

static bool
alloc_rooms(struct dk_call *call, struct add *add)
{
    const size_t numbers = dk_max(dk_cache_room_rows(add->key.width) * add->key.width,
                                  dk_cache_room_rows(add->value.width) * add->value.width);

    add->rooms = dk_call_alloc(call, call->slots, sizeof *add->rooms);
    for (size_t slot = 0; add->rooms != NULL && slot < call->slots; slot++) {
        struct dk_cache_room *const room = &add->rooms[slot];
        room->rows = dk_call_alloc(call, numbers, sizeof *room->rows);
        room->codes = dk_call_alloc(call, numbers, sizeof *room->codes);
        const size_t angles = DK_PANEL * add->turn.pairs;
        room->cosines = dk_call_alloc(call, angles, sizeof *room->cosines);
        room->sines = dk_call_alloc(call, angles, sizeof *room->sines);
        if (room->rows == NULL || room->codes == NULL || room->cosines == NULL ||
            room->sines == NULL)
            return false;
    }
    return add->rooms != NULL;
}

/* The options of turning keys. Errors: DOTK_BAD_ARGUMENT. */
static dotk_status
check_rotary(struct add *add, const dotk_sequence_add_options *options)
{
    const size_t first = add->sequence->count;
    const dotk_status status = dk_rotary_check(add->key.width, options->rotary_width,
                                               options->theta, options->frequencies,
                                               &add->turn.pairs);

    if (status != DOTK_OK)
        return status;
    for (size_t i = 0; options->positions != NULL && i < add->n; i++) {
        const int64_t position = options->positions[i];
        if (position < -DK_ROTARY_POSITIONS || position > DK_ROTARY_POSITIONS)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "options->positions[%zu] is %lld: at most %lld in size", i,
                           (long long)position, (long long)DK_ROTARY_POSITIONS);
    }
    if (options->positions == NULL && first + add->n > (size_t)DK_ROTARY_POSITIONS)
        return dk_fail(DOTK_BAD_ARGUMENT, "token %zu stands beyond position %lld: pass positions",
                       first + add->n, (long long)DK_ROTARY_POSITIONS);
    add->key.turned = true;
    add->turn.interleaved = options->interleaved != 0;
    add->turn.positions = options->positions;
    add->turn.first = first;
    return DOTK_OK;
}

/* What says how keys are turned says nothing where they are not. Errors: DOTK_BAD_ARGUMENT. */
static dotk_status
check_unturned(const dotk_sequence_add_options *options)
{
    const char *name = NULL;

    if (options->theta != 0)
        return dk_fail(
            DOTK_BAD_ARGUMENT,
            "options->theta is %g without rotary, which turns keys: set both, or neither",
            options->theta);
    if (options->interleaved != 0)
        name = "interleaved";
    else if (options->rotary_width != 0)
        name = "rotary_width";
    else if (options->frequencies != NULL)
        name = "frequencies";
    else if (options->positions != NULL)
        name = "positions";
    if (name == NULL)
        return DOTK_OK;
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "options->%s is set without rotary, which turns keys: set both, or neither",
                   name);
}

/* Room for 'pages' in the list. Errors: DOTK_NO_MEMORY. */
static dotk_status
reserve(dotk_sequence *sequence, size_t pages)
{
    if (pages <= sequence->capacity)
        return DOTK_OK;
    const size_t capacity = dk_max(pages, 2 * sequence->capacity);
    struct dk_page **const list = dk_alloc_array(capacity, sizeof *list);
    if (list == NULL)
        return dk_fail_memory(capacity * sizeof *list, "the pages of a sequence");
    memcpy(list, sequence->pages, sequence->page_count * sizeof *list);
    dk_free(sequence->pages);
    sequence->pages = list;
    sequence->capacity = capacity;
    return DOTK_OK;
}

/*
 * Takes the pages that are missing, and one in place of a last page that others have too. What is
 * behind page_count, and a page replaced, can be given back until the tokens are packed.
 */
static dotk_status
add_tokens(struct dk_call *call, struct add *add)
{
    dotk_sequence *const sequence = add->sequence;
    dotk_cache *const cache = sequence->cache;
    const size_t held = sequence->page_count, filled = sequence->count % cache->page_keys;
    const size_t pages = pages_of(cache, sequence->count + add->n);
    struct dk_page **const last = sequence->pages + (filled != 0 ? held - 1 : 0);
    struct dk_page *shared = NULL, *copy = NULL;
    dotk_status status = DOTK_OK;

    if (filled != 0 && !dk_page_alone(*last)) {
        status = dk_cache_take(cache, 1, &copy);
        if (status != DOTK_OK)
            return status;
        dk_cache_copy(cache, *last, filled, copy);
        shared = *last;
        *last = copy;
    }
    status = dk_cache_take(cache, pages - held, sequence->pages + held);
    if (status == DOTK_OK) {
        const double numbers = (double)add->n * (double)cache->heads *
                               (double)(cache->dim + cache->width);
        const size_t panels = panels_of(add);
        if (numbers > ALONE)
            status = dk_call_run(call, panels, pack_panel, add);
        for (size_t task = 0; numbers <= ALONE && task < panels; task++)
            pack_panel(add, task, 0);
        if (status != DOTK_OK) /* cancelled */
            dk_cache_release(cache, pages - held, sequence->pages + held);
    }
    if (shared != NULL) {
        if (status != DOTK_OK)
            *last = shared;
        dk_cache_release(cache, 1, status == DOTK_OK ? &shared : &copy);
    }
    if (status == DOTK_OK) {
        sequence->page_count = pages;
        sequence->count += add->n;
    }
    return status;
}

/* How far each pair turns from a position to the next. */
static bool
alloc_turns(struct dk_call *call, struct add *add, const dotk_sequence_add_options *options)
{
    double *const turns = dk_call_alloc(call, add->turn.pairs, sizeof *turns);

    if (turns == NULL)
        return false;
    if (options->rotary)
        dk_rotary_turns(options->theta, options->frequencies, add->turn.pairs, turns);
    add->turn.turns = turns;
    return true;
}

static dotk_status
begin_add(struct dk_call *call, struct add *add, const dotk_sequence_add_options *options)
{
    dotk_sequence *const sequence = add->sequence;
    const dotk_cache *const cache = sequence->cache;
    dotk_status status = DOTK_OK;

    add->kernels = call->kernels;
    if (!alloc_rooms(call, add) || !alloc_turns(call, add, options))
        return dk_fail_memory(dk_max(cache->dim, cache->width) * sizeof(float), "packing keys");
    if (cache->store == DOTK_STORE_INT8) {
        float *const room = add->rooms[0].rows;
        status = check_numbers("k", cache, add->n, &add->key, call->kernels, room);
        if (status == DOTK_OK)
            status = check_numbers("v", cache, add->n, &add->value, call->kernels, room);
    }
    if (status == DOTK_OK)
        status = reserve(sequence, pages_of(cache, sequence->count + add->n));
    return status;
}

dotk_status
dotk_sequence_add(dotk_context *context, dotk_sequence *sequence, size_t n, const void *k,
                  const void *v, const dotk_sequence_add_options *options)
{
    static const dotk_sequence_add_options defaults = DOTK_SEQUENCE_ADD_OPTIONS_INIT;
    struct add add = {.sequence = sequence, .n = n};
    struct dk_call call;

    dotk_status status = check_count(sequence, 0);
    if (status != DOTK_OK)
        return status;
    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &defaults;
    if (dotk_store_name(options->store) == NULL || options->store == DOTK_STORE_INT8)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->store is %d: k and v are f32, f16 or bf16",
                       (int)options->store);
    if (n == 0)
        return DOTK_OK;
    const dotk_cache *const cache = sequence->cache;
    status = check_tokens("k", "key", cache, n, cache->dim, k, options->key, options->store,
                          &add.key);
    if (status == DOTK_OK)
        status = check_tokens("v", "value", cache, n, cache->width, v, options->value,
                              options->store, &add.value);
    if (status == DOTK_OK)
        status = options->rotary ? check_rotary(&add, options) : check_unturned(options);
    if (status == DOTK_OK)
        status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    status = begin_add(&call, &add, options);
    if (status == DOTK_OK)
        status = add_tokens(&call, &add);
    dk_call_end(&call);
    return status;
}

/* ------------------------------------------------------------------------- */
/*  Reading back                                                             */
/* ------------------------------------------------------------------------- */

dotk_status
dotk_sequence_get(const dotk_sequence *sequence, size_t first, size_t n, float *k, float *v)
{
    const dotk_status status = check_count(sequence, 0);

    if (status != DOTK_OK)
        return status;
    const dotk_cache *const cache = sequence->cache;
    if (first > sequence->count || n > sequence->count - first)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "tokens %zu .. %zu + %zu of a sequence of %zu: ask for "
                       "some that are there",
                       first, first, n, sequence->count);
    for (size_t h = 0; h < cache->heads; h++) {
        for (size_t i = 0; i < n; i++) {
            const size_t place = first + i, at = place % cache->page_keys;
            char *const head = dk_page_head(sequence->pages[place / cache->page_keys], h);
            if (k != NULL)
                dk_cache_get_key(cache, head, at, k + (h * n + i) * cache->dim);
            if (v != NULL)
                dk_cache_get_value(cache, head, at, v + (h * n + i) * cache->width);
        }
    }
    return DOTK_OK;
}
