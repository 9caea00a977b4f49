/*
 * pool.c - threads that sleep until a job comes, then take its tasks one by one
 *
 * A job lives on the stack of the thread that brought it. That thread works on it too, so a
 * call makes progress even when every pool thread is busy with other callers' jobs. Tasks are
 * taken by counting; the mutex guards who comes and goes.
 *
 * Waking a thread that sleeps takes as long as a short call, so whoever runs out of work looks for
 * more for about that long before it sleeps: a worker for the next job, a caller for the end of
 * what others still work on. In a pool of more threads than CPUs nobody does: it would keep others
 * off.
 *
 * After fork() a child has none of the threads and may inherit a locked mutex: its first job
 * begins afresh (fork.h).
 */
#define _GNU_SOURCE
#include "platform/pool.h"

#include "platform/clock.h"
#include "platform/cpu.h"
#include "platform/float_mode.h"
#include "platform/fork.h"
#include "platform/memory.h"

#include <pthread.h>
#include <signal.h>

#define PATIENCE 50e-6 /* seconds: what waking takes */

enum { LOOKS = 16 /* between looks at the clock */ };

struct job {
    struct job *next;
    dk_task_fn *run;
    void *arg;
    size_t tasks;
    size_t slots;       /* participants so far */
    size_t taken, done; /* tasks: counted without the mutex, 'taken' beyond their number */
    size_t inside;      /* pool threads that may still touch the job */
};

struct dk_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work, finished;
    struct job *jobs; /* those that a caller still takes tasks of, oldest first */
    uint32_t threads; /* the caller's included */
    uint32_t started;
    size_t asleep, looking; /* workers: waiting for 'work'; or for another 'offers' */
    size_t offers;          /* jobs so far */
    size_t waiting;         /* callers, for 'finished' */
    bool stopping, patient;
    unsigned forks; /* fork.h */
    pthread_t *thread;
};

static void
start_afresh(void *object)
{
    struct dk_pool *const pool = object;

    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->finished, NULL);
    pool->jobs = NULL;
    pool->started = 0;
    pool->asleep = pool->looking = pool->offers = pool->waiting = 0;
    pool->stopping = false;
}

struct dk_pool *
dk_pool_create(uint32_t threads)
{
    struct dk_pool *const pool = dk_alloc(sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->threads = threads;
    pool->thread = dk_alloc_array(threads, sizeof *pool->thread);
    if (pool->thread == NULL) {
        dk_free(pool);
        return NULL;
    }
    pool->patient = threads <= dk_cpu_count();
    pool->forks = dk_fork_count();
    start_afresh(pool);
    return pool;
}

uint32_t
dk_pool_threads(const struct dk_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

/* ------------------------------------------------------------------------- */
/*  Waiting                                                                  */
/* ------------------------------------------------------------------------- */

static inline void
relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb");
#endif
}

/* Waits for *number to be another than 'from'; false when patience is at its end. */
static bool
changes_soon(const size_t *number, size_t from)
{
    const double end = dk_seconds() + PATIENCE;

    do {
        for (int i = 0; i < LOOKS; i++) {
            if (__atomic_load_n(number, __ATOMIC_ACQUIRE) != from)
                return true;
            relax();
        }
    } while (dk_seconds() < end);
    return false;
}

/* Whoever holds the mutex gives it back at once, unless it has lost its CPU. */
static void
lock(struct dk_pool *pool)
{
    for (int i = 0; i < LOOKS; i++) {
        if (pthread_mutex_trylock(&pool->mutex) == 0)
            return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
}

/* ------------------------------------------------------------------------- */
/*  Workers                                                                  */
/* ------------------------------------------------------------------------- */

static bool
has_task(const struct job *job)
{
    return __atomic_load_n(&job->taken, __ATOMIC_RELAXED) < job->tasks;
}

/* Runs the next task, if there is one. */
static bool
run_one(struct job *job, size_t slot)
{
    const size_t task = __atomic_fetch_add(&job->taken, 1, __ATOMIC_RELAXED);

    if (task >= job->tasks)
        return false;
    job->run(job->arg, task, slot);
    __atomic_add_fetch(&job->done, 1, __ATOMIC_RELAXED);
    return true;
}

/* Works on a job; the mutex is held on entry and on return. */
static void
work_on(struct dk_pool *pool, struct job *job)
{
    const size_t slot = job->slots++;

    __atomic_add_fetch(&job->inside, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&pool->mutex);
    while (run_one(job, slot))
        continue;
    const size_t inside = __atomic_sub_fetch(&job->inside, 1, __ATOMIC_SEQ_CST);
    lock(pool); /* the job may be gone */
    if (inside == 0 && pool->waiting != 0)
        pthread_cond_broadcast(&pool->finished);
}

/* Looks out for another job for a while: whether there was one. The mutex is held as above. */
static bool
look_out(struct dk_pool *pool)
{
    const size_t seen = pool->offers;

    pool->looking++;
    pthread_mutex_unlock(&pool->mutex);
    (void)changes_soon(&pool->offers, seen);
    lock(pool);
    if (pool->offers == seen) /* nobody has counted on this thread */
        pool->looking--;
    return pool->offers != seen;
}

static void *
worker(void *arg)
{
    struct dk_pool *const pool = arg;
    bool patient = false;

    dk_float_mode_default();
    lock(pool);
    while (!pool->stopping) {
        struct job *job = pool->jobs;
        while (job != NULL && !has_task(job))
            job = job->next;
        if (job != NULL) {
            work_on(pool, job);
            patient = pool->patient;
        } else if (patient) {
            patient = look_out(pool);
        } else {
            pool->asleep++;
            pthread_cond_wait(&pool->work, &pool->mutex);
            pool->asleep--;
        }
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Threads that cannot be started are done without. Signals are the caller's threads' business. */
static void
start_threads(struct dk_pool *pool, size_t wanted)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started < wanted) {
        if (pthread_create(&pool->thread[pool->started], NULL, worker, pool) != 0)
            break;
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ------------------------------------------------------------------------- */
/*  Callers                                                                  */
/* ------------------------------------------------------------------------- */

/* Makes a job known, and wakes as many workers as it needs beyond those that look out. */
static void
offer(struct dk_pool *pool, struct job *job)
{
    size_t wanted = dk_min(pool->threads, job->tasks) - 1;

    lock(pool);
    start_threads(pool, wanted);
    struct job **last = &pool->jobs;
    while (*last != NULL)
        last = &(*last)->next;
    *last = job;
    wanted -= dk_min(wanted, pool->looking);
    wanted = dk_min(wanted, pool->asleep);
    const bool everybody = wanted == pool->asleep;
    pool->looking = 0;
    __atomic_store_n(&pool->offers, pool->offers + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&pool->mutex);
    if (everybody && wanted > 0)
        pthread_cond_broadcast(&pool->work);
    for (; !everybody && wanted > 0; wanted--)
        pthread_cond_signal(&pool->work);
}

/* Nobody comes to the job any more; waits until all who came have left. */
static void
close_job(struct dk_pool *pool, struct job *job)
{
    size_t inside;

    lock(pool);
    struct job **link = &pool->jobs;
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    pthread_mutex_unlock(&pool->mutex);
    do
        inside = __atomic_load_n(&job->inside, __ATOMIC_ACQUIRE);
    while (inside != 0 && pool->patient && changes_soon(&job->inside, inside));
    if (inside == 0)
        return;
    lock(pool);
    pool->waiting++;
    while (__atomic_load_n(&job->inside, __ATOMIC_SEQ_CST) != 0)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    pool->waiting--;
    pthread_mutex_unlock(&pool->mutex);
}

static bool
run_alone(size_t tasks, dk_task_fn *run, void *arg, dotk_progress *progress, void *progress_user)
{
    for (size_t task = 0; task < tasks; task++) {
        if (progress != NULL && progress(progress_user, task, tasks) != 0)
            return false;
        run(arg, task, 0);
    }
    return true;
}

static bool
run_shared(struct dk_pool *pool, size_t tasks, dk_task_fn *run, void *arg, dotk_progress *progress,
           void *progress_user)
{
    struct job job = {.run = run, .arg = arg, .tasks = tasks, .slots = 1};

    /* Before the others begin: they might be done before this thread gets to ask. */
    if (progress != NULL && progress(progress_user, 0, tasks) != 0)
        return false;
    dk_fork_refresh(&pool->forks, start_afresh, pool);
    offer(pool, &job);
    do {
        if (progress != NULL && has_task(&job) &&
            progress(progress_user, __atomic_load_n(&job.done, __ATOMIC_RELAXED), tasks) != 0)
            __atomic_store_n(&job.taken, tasks, __ATOMIC_RELAXED);
    } while (run_one(&job, 0));
    close_job(pool, &job);
    return job.done == tasks;
}

bool
dk_pool_run(struct dk_pool *pool, size_t tasks, dk_task_fn *run, void *arg, dotk_progress *progress,
            void *progress_user)
{
    const bool alone = pool == NULL || pool->threads == 1 || tasks < 2;
    const bool complete = alone ? run_alone(tasks, run, arg, progress, progress_user)
                                : run_shared(pool, tasks, run, arg, progress, progress_user);

    if (complete && progress != NULL)
        (void)progress(progress_user, tasks, tasks);
    return complete;
}

void
dk_pool_destroy(struct dk_pool *pool)
{
    if (pool == NULL)
        return;
    if (pool->forks == dk_fork_count()) {
        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        __atomic_store_n(&pool->offers, pool->offers + 1, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
        for (uint32_t i = 0; i < pool->started; i++)
            pthread_join(pool->thread[i], NULL);
        pthread_mutex_destroy(&pool->mutex);
        pthread_cond_destroy(&pool->work);
        pthread_cond_destroy(&pool->finished);
    }
    dk_free(pool->thread);
    dk_free(pool);
}
