/*
 * gate.c - a mutex around a few counters; see gate.h
 *
 * Entering, settling and leaving lock it for a few instructions each, 50 ns together when nobody
 * else does. A reader-writer lock would not do: what a search may not share with a writer is its
 * first microseconds, and what it shares is the rest.
 */
#include "platform/gate.h"

#include "platform/fork.h"
#include "platform/memory.h"

#include <pthread.h>

struct dk_gate {
    pthread_mutex_t writing; /* held from begin to end */
    pthread_mutex_t mutex;   /* guards what follows    */
    pthread_cond_t opened, quiet;
    bool closed;
    size_t waiting;          /* readers in front of the closed gate        */
    size_t entering, inside; /* readers not yet settled; not yet gone      */
    uint64_t openings;
    unsigned forks; /* fork.h */
};

static void
start_afresh(void *object)
{
    struct dk_gate *const gate = object;

    pthread_mutex_init(&gate->writing, NULL);
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->opened, NULL);
    pthread_cond_init(&gate->quiet, NULL);
    gate->closed = false;
    gate->waiting = gate->entering = gate->inside = 0;
    gate->openings = 0;
}

struct dk_gate *
dk_gate_create(void)
{
    struct dk_gate *const gate = dk_alloc(sizeof *gate);

    if (gate != NULL) {
        gate->forks = dk_fork_count();
        start_afresh(gate);
    }
    return gate;
}

void
dk_gate_destroy(struct dk_gate *gate)
{
    if (gate == NULL)
        return;
    if (gate->forks == dk_fork_count()) {
        pthread_mutex_destroy(&gate->writing);
        pthread_mutex_destroy(&gate->mutex);
        pthread_cond_destroy(&gate->opened);
        pthread_cond_destroy(&gate->quiet);
    }
    dk_free(gate);
}

static void
lock(struct dk_gate *gate)
{
    dk_fork_refresh(&gate->forks, start_afresh, gate);
    pthread_mutex_lock(&gate->mutex);
}

/* ------------------------------------------------------------------------- */
/*  Readers                                                                  */
/* ------------------------------------------------------------------------- */

void
dk_gate_enter(struct dk_gate *gate)
{
    lock(gate);
    if (gate->closed) {
        const uint64_t now = gate->openings;
        gate->waiting++;
        while (gate->openings == now) /* whoever opens it counts those that waited */
            pthread_cond_wait(&gate->opened, &gate->mutex);
    } else {
        gate->entering++;
        gate->inside++;
    }
    pthread_mutex_unlock(&gate->mutex);
}

/* One less; a child that was forked inside counts no one. Wakes the writer it was the last for. */
static void
count_down(struct dk_gate *gate, size_t *readers)
{
    lock(gate);
    if (*readers > 0)
        --*readers;
    if (*readers == 0 && gate->closed)
        pthread_cond_signal(&gate->quiet);
    pthread_mutex_unlock(&gate->mutex);
}

void
dk_gate_settle(struct dk_gate *gate)
{
    count_down(gate, &gate->entering);
}

void
dk_gate_leave(struct dk_gate *gate)
{
    count_down(gate, &gate->inside);
}

/* ------------------------------------------------------------------------- */
/*  Writers                                                                  */
/* ------------------------------------------------------------------------- */

void
dk_gate_begin(struct dk_gate *gate)
{
    dk_fork_refresh(&gate->forks, start_afresh, gate);
    pthread_mutex_lock(&gate->writing);
}

void
dk_gate_end(struct dk_gate *gate)
{
    pthread_mutex_unlock(&gate->writing);
}

/* Keeps readers out and waits until so many of them are gone. */
static void
close_until(struct dk_gate *gate, const size_t *readers)
{
    lock(gate);
    gate->closed = true;
    while (*readers > 0)
        pthread_cond_wait(&gate->quiet, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
}

void
dk_gate_stop(struct dk_gate *gate)
{
    close_until(gate, &gate->entering);
}

void
dk_gate_clear(struct dk_gate *gate)
{
    close_until(gate, &gate->inside);
}

bool
dk_gate_try_clear(struct dk_gate *gate)
{
    lock(gate);
    const bool clear = gate->inside == 0;
    gate->closed = gate->closed || clear;
    pthread_mutex_unlock(&gate->mutex);
    return clear;
}

void
dk_gate_open(struct dk_gate *gate)
{
    lock(gate);
    gate->closed = false;
    gate->openings++;
    gate->entering += gate->waiting;
    gate->inside += gate->waiting;
    if (gate->waiting > 0)
        pthread_cond_broadcast(&gate->opened);
    gate->waiting = 0;
    pthread_mutex_unlock(&gate->mutex);
}
