/*
 * context.c - contexts, and the calls that run on them
 *
 * A context keeps the scratch memory of finished calls for the next ones, so that a call that
 * was made before allocates nothing. NULL contexts share one that has no threads.
 */
#include "platform/cpu.h"
#include "platform/float_mode.h"
#include "platform/fork.h"
#include "tile/tile.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    MAX_THREADS = 1024,
    PART_STEPS = 1000, /* of progress */
};

struct dk_scratch {
    struct dk_scratch *next;
    struct dk_arena arena;
};

struct dotk_context {
    struct dk_pool *pool; /* NULL: no threads */
    const struct dk_kernels *kernels;
    dotk_progress *progress;
    void *progress_user;
    pthread_mutex_t mutex;   /* guards idle */
    struct dk_scratch *idle; /* scratch of finished calls */
    unsigned forks;          /* fork.h */
    dotk_context *outer;     /* whose scratch it is; NULL: its own */
};

static struct dotk_context alone = {.mutex = PTHREAD_MUTEX_INITIALIZER};

const struct dk_kernels *
dk_context_kernels(const dotk_context *context)
{
    return context != NULL && context->kernels != NULL ? context->kernels : dk_kernels_select(NULL);
}

dotk_status
dk_fail_kernels(void)
{
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "$DOTK_ISA is \"%s\", which this CPU or build does not have: choose from %s",
                   dk_kernels_environment(), dk_kernels_names());
}

static dotk_status
threads_wanted(uint32_t asked, uint32_t *out)
{
    const char *source = "options->threads";
    unsigned long threads = asked;

    if (threads == 0) {
        const char *const text = getenv("DOTK_THREADS");
        if (text != NULL && *text != '\0') {
            char *end;
            source = "$DOTK_THREADS";
            threads = strtoul(text, &end, 10);
            if (*end != '\0' || threads == 0)
                return dk_fail(DOTK_BAD_ARGUMENT,
                               "$DOTK_THREADS is \"%s\": make it a number from 1 to %d", text,
                               MAX_THREADS);
        } else {
            threads = dk_min(dk_cpu_count(), MAX_THREADS);
        }
    }
    if (threads > MAX_THREADS)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is %lu: at most %d threads", source, threads,
                       MAX_THREADS);
    *out = (uint32_t)threads;
    return DOTK_OK;
}

dotk_status
dotk_context_create(const dotk_context_options *options, dotk_context **out)
{
    static const dotk_context_options defaults = DOTK_CONTEXT_OPTIONS_INIT;
    uint32_t threads = 0;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the context");
    *out = NULL;
    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        options = &defaults;
    const dotk_status status = threads_wanted(options->threads, &threads);
    if (status != DOTK_OK)
        return status;
    const struct dk_kernels *const kernels = dk_kernels_select(options->isa);
    if (kernels == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s is \"%s\", which this CPU or build does not have: choose from %s",
                       options->isa != NULL ? "options->isa" : "$DOTK_ISA",
                       options->isa != NULL ? options->isa : dk_kernels_environment(),
                       dk_kernels_names());

    dotk_context *const context = dk_alloc(sizeof *context);
    if (context == NULL)
        return dk_fail_memory(sizeof *context, "a context");
    *context = (struct dotk_context){
        .kernels = kernels,
        .progress = options->progress,
        .progress_user = options->progress_user,
        .forks = dk_fork_count(),
    };
    context->pool = dk_pool_create(threads);
    if (context->pool == NULL) {
        dk_free(context);
        return dk_fail_memory(threads * sizeof(pthread_t), "a thread pool");
    }
    pthread_mutex_init(&context->mutex, NULL);
    *out = context;
    return DOTK_OK;
}

void
dotk_context_destroy(dotk_context *context)
{
    if (context == NULL)
        return;
    dk_pool_destroy(context->pool);
    while (context->idle != NULL) {
        struct dk_scratch *const scratch = context->idle;
        context->idle = scratch->next;
        dk_arena_release(&scratch->arena);
        dk_free(scratch);
    }
    pthread_mutex_destroy(&context->mutex);
    dk_free(context);
}

uint32_t
dotk_context_threads(const dotk_context *context)
{
    return context == NULL ? 1 : dk_pool_threads(context->pool);
}

const char *
dotk_context_isa(const dotk_context *context)
{
    const struct dk_kernels *const kernels = dk_context_kernels(context);
    return kernels != NULL ? kernels->isa : "none";
}

const char *
dotk_store_name(dotk_store store)
{
    switch (store) {
    case DOTK_STORE_F32: return "f32";
    case DOTK_STORE_F16: return "f16";
    case DOTK_STORE_BF16: return "bf16";
    case DOTK_STORE_INT8: return "int8";
    }
    return NULL;
}

static void
start_afresh(void *object)
{
    pthread_mutex_init(&((dotk_context *)object)->mutex, NULL);
}

static void
lock_scratch(dotk_context *context)
{
    dk_fork_refresh(&context->forks, start_afresh, context);
    pthread_mutex_lock(&context->mutex);
}

static dotk_context *
owner_of(dotk_context *context)
{
    return context->outer != NULL ? owner_of(context->outer) : context;
}

dotk_status
dk_call_begin(dotk_context *context, struct dk_call *call)
{
    if (context == NULL)
        context = &alone;
    *call = (struct dk_call){
        .context = context,
        .kernels = dk_context_kernels(context),
        .slots = dk_pool_threads(context->pool),
    };
    if (call->kernels == NULL)
        return dk_fail_kernels();
    dotk_context *const owner = owner_of(context);
    lock_scratch(owner);
    call->scratch = owner->idle;
    if (call->scratch != NULL)
        owner->idle = call->scratch->next;
    pthread_mutex_unlock(&owner->mutex);
    if (call->scratch == NULL) {
        call->scratch = dk_alloc(sizeof *call->scratch);
        if (call->scratch == NULL)
            return dk_fail_memory(sizeof *call->scratch, "scratch");
        *call->scratch = (struct dk_scratch){0};
    }
    call->float_mode = dk_float_mode_enter();
    return DOTK_OK;
}

void
dk_call_end(struct dk_call *call)
{
    dk_float_mode_leave(call->float_mode);
    dk_arena_reset(&call->scratch->arena);
    dotk_context *const owner = owner_of(call->context);
    lock_scratch(owner);
    call->scratch->next = owner->idle;
    owner->idle = call->scratch;
    pthread_mutex_unlock(&owner->mutex);
}

void *
dk_call_alloc(struct dk_call *call, size_t count, size_t size)
{
    return dk_arena_array(&call->scratch->arena, count, size);
}

/* Progress of one part of a call among others. */
static int
report_part(void *user, uint64_t done, uint64_t total)
{
    const struct dk_call *const call = user;
    const dotk_context *const context = call->context;
    const uint64_t steps = PART_STEPS * (uint64_t)dk_max(1, call->weight);

    return context->progress(context->progress_user,
                             PART_STEPS * call->part + (total > 0 ? steps * done / total : steps),
                             PART_STEPS * (uint64_t)call->parts);
}

dotk_context *
dk_call_inner(struct dk_call *call)
{
    dotk_context *const context = call->context;

    if (context->progress == NULL)
        return context;
    dotk_context *const inner = dk_call_alloc(call, 1, sizeof *inner);
    if (inner != NULL)
        *inner = (struct dotk_context){
            .pool = context->pool,
            .kernels = context->kernels,
            .progress = report_part,
            .progress_user = call,
            .outer = context,
        };
    return inner;
}

void
dk_call_next(struct dk_call *call, size_t weight)
{
    call->part += call->weight;
    call->weight = weight;
}

dotk_status
dk_call_run(struct dk_call *call, size_t tasks, dk_task_fn *run, void *arg)
{
    dotk_context *const context = call->context;
    const bool whole = context->progress == NULL || call->parts == 0 || tasks == 0;
    dotk_progress *const progress = whole ? context->progress : report_part;
    void *const user = whole ? context->progress_user : call;

    if (!dk_pool_run(context->pool, tasks, run, arg, progress, user))
        return dk_fail(DOTK_CANCELLED, "cancelled by the progress function");
    return DOTK_OK;
}
