/*
 * pool.c - threads that sleep until a job comes, then take its tasks one by one
 *
 * A job lives on the stack of the thread that brought it. That thread works on it too, so a
 * call makes progress even when every pool thread is busy with other callers' jobs. Tasks are
 * taken under one mutex: they last milliseconds, so nothing finer is needed.
 *
 * After fork() a child has none of the threads and may inherit a locked mutex: its first job
 * begins afresh (fork.h).
 */
#define _GNU_SOURCE
#include "platform/pool.h"

#include "platform/float_mode.h"
#include "platform/fork.h"
#include "platform/memory.h"

#include <pthread.h>
#include <signal.h>

struct job {
    struct job *next;
    dk_task_fn *run;
    void *arg;
    size_t tasks, taken, done;
    size_t slots; /* participants so far */
    bool cancelled;
    pthread_cond_t finished;
};

struct dk_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct job *jobs; /* those with tasks left to take, oldest first */
    uint32_t threads; /* the caller's included */
    uint32_t started;
    bool stopping;
    unsigned forks; /* fork.h */
    pthread_t *thread;
};

static void
start_afresh(void *object)
{
    struct dk_pool *const pool = object;

    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->jobs = NULL;
    pool->started = 0;
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
    pool->forks = dk_fork_count();
    start_afresh(pool);
    return pool;
}

uint32_t
dk_pool_threads(const struct dk_pool *pool)
{
    return pool == NULL ? 1 : pool->threads;
}

static bool
has_task(const struct job *job)
{
    return job->taken < job->tasks && !job->cancelled;
}

/* Takes the job off the list; it has no task left to take. */
static void
unlink_job(struct dk_pool *pool, const struct job *job)
{
    for (struct job **link = &pool->jobs; *link != NULL; link = &(*link)->next) {
        if (*link == job) {
            *link = job->next;
            return;
        }
    }
}

/* Runs one task; the mutex is held on entry and on return. */
static void
run_one(struct dk_pool *pool, struct job *job, size_t slot)
{
    const size_t task = job->taken++;

    if (!has_task(job))
        unlink_job(pool, job);
    pthread_mutex_unlock(&pool->mutex);
    job->run(job->arg, task, slot);
    pthread_mutex_lock(&pool->mutex);
    job->done++;
}

static void *
worker(void *arg)
{
    struct dk_pool *const pool = arg;

    dk_float_mode_default();
    pthread_mutex_lock(&pool->mutex);
    while (!pool->stopping) {
        struct job *const job = pool->jobs;
        if (job == NULL) {
            pthread_cond_wait(&pool->work, &pool->mutex);
            continue;
        }
        const size_t slot = job->slots++;
        size_t unfinished;
        do {
            run_one(pool, job, slot);
            unfinished = job->taken - job->done;
        } while (has_task(job));
        if (unfinished == 0)
            pthread_cond_signal(&job->finished);
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

bool
dk_pool_run(struct dk_pool *pool, size_t tasks, dk_task_fn *run, void *arg, dotk_progress *progress,
            void *progress_user)
{
    bool complete;

    if (pool == NULL || pool->threads == 1 || tasks < 2) {
        complete = run_alone(tasks, run, arg, progress, progress_user);
    } else {
        struct job job = {.run = run, .arg = arg, .tasks = tasks, .slots = 1};

        /* Before the others begin: they might be done before this thread gets to ask. */
        if (progress != NULL && progress(progress_user, 0, tasks) != 0)
            return false;
        dk_fork_refresh(&pool->forks, start_afresh, pool);
        pthread_cond_init(&job.finished, NULL);
        pthread_mutex_lock(&pool->mutex);
        start_threads(pool, dk_min(pool->threads, tasks) - 1);
        struct job **last = &pool->jobs;
        while (*last != NULL)
            last = &(*last)->next;
        *last = &job;
        pthread_cond_broadcast(&pool->work);
        while (has_task(&job)) {
            if (progress != NULL) {
                const size_t done = job.done;
                pthread_mutex_unlock(&pool->mutex);
                const bool cancel = progress(progress_user, done, tasks) != 0;
                pthread_mutex_lock(&pool->mutex);
                if (cancel && has_task(&job)) {
                    job.cancelled = true;
                    unlink_job(pool, &job);
                }
                if (!has_task(&job))
                    break;
            }
            run_one(pool, &job, 0);
        }
        while (job.done < job.taken)
            pthread_cond_wait(&job.finished, &pool->mutex);
        pthread_mutex_unlock(&pool->mutex);
        pthread_cond_destroy(&job.finished);
        complete = job.done == tasks;
    }
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
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
        for (uint32_t i = 0; i < pool->started; i++)
            pthread_join(pool->thread[i], NULL);
        pthread_mutex_destroy(&pool->mutex);
        pthread_cond_destroy(&pool->work);
    }
    dk_free(pool->thread);
    dk_free(pool);
}
