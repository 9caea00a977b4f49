/* attend.h - how an attention call is cut into tasks, and running them */
#ifndef DOTK_ATTENTION_ATTEND_H
#define DOTK_ATTENTION_ATTEND_H

#include "attention/problem.h"

/*
 * A *unit* is a group of rows of one entry and key head. On path "rows" a task is a unit with all
 * its keys; on path "chunks" it is a unit with one chunk of keys, and the answers of the chunks are
 * merged afterwards. Bits do not depend on any of this.
 */
struct dk_attend_plan {
    const char *path;   /* "rows", "chunks", "empty" */
    const char *kernel; /* "-" for "empty"           */
    const char *why;
    size_t rows;  /* of a unit, at most              */
    size_t units; /* of the whole call               */
    size_t chunks;
    bool split; /* path "chunks" */
    bool watch; /* options->watch is wanted */
};

/* The plan for up to 'slots' threads. */
struct dk_attend_plan
dk_attend_plan(const struct dk_attention *problem, const struct dk_kernels *kernels, size_t slots);

/* Errors: DOTK_NO_MEMORY, DOTK_CANCELLED. */
dotk_status dk_attend_run(struct dk_call *call, const struct dk_attention *problem,
                          const struct dk_attend_plan *plan);

/*
 * Plans and runs a problem whose arrays are set, and fills in its statistics, the time being
 * counted from 'start'. Errors: as dk_attend_run().
 */
dotk_status
dk_attention_run(struct dk_call *call, const struct dk_attention *problem, double start);

#endif /* DOTK_ATTENTION_ATTEND_H */
