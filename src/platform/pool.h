/* pool.h - a small pool of threads that share out the tasks of a job */
#ifndef DOTK_PLATFORM_POOL_H
#define DOTK_PLATFORM_POOL_H

#include <dotk/base.h>
#include <stdbool.h>

struct dk_pool;

/* 'threads' counts the caller's: a pool of 1 never starts a thread. NULL: out of memory. */
struct dk_pool *dk_pool_create(uint32_t threads);
void dk_pool_destroy(struct dk_pool *pool);
uint32_t dk_pool_threads(const struct dk_pool *pool);

/*
 * One task of a job: 'task' counts from 0, 'slot' (below the number of threads) names the
 * participant, so that arg may hold one scratch area for each. Two tasks with one slot never
 * overlap. Tasks should take less than about 20 ms, so that cancelling is prompt.
 */
typedef void dk_task_fn(void *arg, size_t task, size_t slot);

/*
 * Runs task 0 .. tasks - 1, each once, on the calling thread and idle pool threads, and
 * returns when all have ended: true, or false if progress() cancelled and some never ran.
 * Several threads may do so at once on one pool. pool NULL: the calling thread alone.
 */
bool dk_pool_run(struct dk_pool *pool, size_t tasks, dk_task_fn *run, void *arg,
                 dotk_progress *progress, void *progress_user);

#endif /* DOTK_PLATFORM_POOL_H */
