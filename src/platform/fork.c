/*
 * fork.c - counts fork()s on the child's side
 *
 * A child inherits memory but only the forking thread: mutexes may be locked for ever and pool
 * threads are gone. An object keeps the count of its making; where it differs, it starts afresh.
 */
#include "platform/fork.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned forks;

static void
in_child(void)
{
    forks++;
    pthread_mutex_init(&mutex, NULL);
}

static void
watch(void)
{
    pthread_atfork(NULL, NULL, in_child);
}

unsigned
dk_fork_count(void)
{
    pthread_once(&once, watch);
    return forks;
}

void
dk_fork_refresh(unsigned *stamp, void (*init)(void *object), void *object)
{
    const unsigned now = dk_fork_count();

    if (__atomic_load_n(stamp, __ATOMIC_ACQUIRE) == now)
        return;
    pthread_mutex_lock(&mutex);
    if (__atomic_load_n(stamp, __ATOMIC_RELAXED) != now) {
        init(object);
        __atomic_store_n(stamp, now, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&mutex);
}
