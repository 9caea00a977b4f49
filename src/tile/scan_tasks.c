/*
 * scan_tasks.c - which keys make one task of a scan
 *
 * Without a mask tasks are equal ranges. Under a mask ranges differ: a filter may keep one key in a
 * hundred here and all of them there, and tasks should take equally long for threads to share them
 * well and for cancelling to be prompt. So the mask is read twice before the scan, 64 keys at a
 * time, which takes some 5 ns.
 */
#include "tile/scan.h"

enum { ROWS_MOST = 1 << 30 }; /* of a task that the mask leaves little of */

/* What 64 keys cost, of which these pass: keys scored one by one. */
static size_t
cost_of(uint64_t keys, size_t dense)
{
    return dk_min(dense, (size_t)__builtin_popcountll(keys));
}

/* Tasks by what the mask lets through: elsewhere there is nothing to do. */
static size_t
cut_masked(const struct dk_scan *scan, size_t most, size_t dense, size_t *start)
{
    size_t tasks = 0, cost = 0;

    start[0] = 0;
    for (size_t at = 0; at < scan->count; at += dk_min(64, scan->count - at)) {
        if (cost >= most || at - start[tasks] >= ROWS_MOST) {
            start[++tasks] = at;
            cost = 0;
        }
        cost += cost_of(dk_scan_keys(scan, at, scan->count), dense);
    }
    start[++tasks] = scan->count;
    return tasks;
}

dotk_status
dk_scan_cut(struct dk_call *call, struct dk_scan_job *job, double most, size_t unit, size_t dense)
{
    const struct dk_scan *const scan = job->scan;
    size_t total = scan->count;

    if (scan->mask != NULL) {
        total = 0;
        for (size_t at = 0; at < scan->count; at += dk_min(64, scan->count - at))
            total += cost_of(dk_scan_keys(scan, at, scan->count), dense);
    }
    const size_t even = total / (4 * call->slots) + 1; /* enough tasks for every thread */
    const size_t task = dk_round_up(dk_min((size_t)most + 1, even), scan->mask != NULL ? 1 : unit);
    const size_t tasks = scan->count / task + scan->count / ROWS_MOST + 1;
    size_t *const start = dk_call_alloc(call, tasks + 1, sizeof *start);
    if (start == NULL)
        return dk_fail_memory((tasks + 1) * sizeof *start, "tasks");
    if (scan->mask != NULL) {
        job->tasks = cut_masked(scan, task, dense, start);
    } else {
        job->tasks = (scan->count - 1) / task + 1;
        for (size_t i = 0; i <= job->tasks; i++)
            start[i] = dk_min(scan->count, i * task);
    }
    job->task_start = start;
    return DOTK_OK;
}
