/*
 * tile.h - THE score-tile engine: blocks Q K^T, shares it among threads, hands each tile on
 *
 * A *call* is one public call in progress: its context, kernels, scratch memory and
 * floating-point mode. Masks and epilogues are declared here and implemented one layer up.
 */
#ifndef DOTK_TILE_TILE_H
#define DOTK_TILE_TILE_H

#include <dotk/base.h>
#include <dotk/search.h>

#include "codec/i8.h"
#include "kernel/kernel.h"
#include "platform/memory.h"
#include "platform/pool.h"
#include "platform/status.h"

/* ------------------------------------------------------------------------- */
/*  Calls                                                                    */
/* ------------------------------------------------------------------------- */

struct dk_call {
    dotk_context *context; /* never NULL in here */
    const struct dk_kernels *kernels;
    size_t slots; /* most participants of dk_call_run() */
    struct dk_scratch *scratch;
    uint64_t float_mode;
    /*
     * Which of how many equal parts of the public call the next dk_call_run() is, so that the
     * progress function sees one steady count; parts 0: the whole. It may be 'weight' parts from
     * there on, as long as so many of the others; 0 is 1.
     */
    size_t part, parts, weight;
};

/* Begins a call on 'context' (NULL: the calling thread alone). Errors: DOTK_NO_MEMORY. */
dotk_status dk_call_begin(dotk_context *context, struct dk_call *call) DK_SHARED(call_begin);
void dk_call_end(struct dk_call *call) DK_SHARED(call_end);

/*
 * The context for a public call that this one makes: with the same threads and scratch, and as
 * progress it reports so many parts (part, weight) of this call, which call->parts is not 0 for.
 * NULL: out of memory. dk_call_next() goes on to the next 'weight' parts.
 */
dotk_context *dk_call_inner(struct dk_call *call);
void dk_call_next(struct dk_call *call, size_t weight);

/* Scratch memory until dk_call_end(), 64-byte aligned, or NULL. Calling thread only. */
void *dk_call_alloc(struct dk_call *call, size_t count, size_t size) DK_SHARED(call_alloc);

/* Runs the tasks (see dk_pool_run()). Returns DOTK_OK, or DOTK_CANCELLED with its message. */
dotk_status
dk_call_run(struct dk_call *call, size_t tasks, dk_task_fn *run, void *arg) DK_SHARED(call_run);

/*
 * The kernels a context would use; a NULL context: the default ones, and NULL where $DOTK_ISA names
 * none, of which dk_fail_kernels() tells. Errors: DOTK_BAD_ARGUMENT, always.
 */
const struct dk_kernels *dk_context_kernels(const dotk_context *context);
dotk_status dk_fail_kernels(void);

/* ------------------------------------------------------------------------- */
/*  Masks                                                                    */
/* ------------------------------------------------------------------------- */

/* How a mask covers a rectangle of the score matrix. */
enum dk_cover { DK_COVER_NONE, DK_COVER_ALL, DK_COVER_SOME };

/*
 * Which cells (row = query, col = key) count. One object serves causal attention and filtered
 * search. NULL stands for a mask that covers everything. Immutable while a call runs.
 */
struct dk_mask {
    /* Of rows x cols cells from (row, col): none, all, or some. "Some" is always allowed. */
    enum dk_cover (*cover)(const struct dk_mask *mask, size_t row, size_t rows, size_t col,
                           size_t cols);
    /* Cells (row, col .. col + 63) as bits, bit i for col + i; beyond the last key unspecified. */
    uint64_t (*bits)(const struct dk_mask *mask, size_t row, size_t col);
};

/* ------------------------------------------------------------------------- */
/*  Scanning: many rows, kept or dropped by their score                      */
/* ------------------------------------------------------------------------- */

/*
 * The epilogue of a scan. Each participant (slot) keeps its own state for every query of the
 * batch; the owner merges the slots afterwards.
 */
struct dk_scan_epilogue {
    /*
     * Thresholds of this slot, one for each query of the batch (64-byte aligned, a multiple of
     * 64 long): only a score strictly above its threshold is offered to take(). A score
     * below the threshold of some slot is of no use to the others either.
     */
    float *(*thresholds)(struct dk_scan_epilogue *epilogue, size_t slot);
    /* Offers 'score' of key 'position' to 'query'; may raise that query's threshold. */
    void (*take)(struct dk_scan_epilogue *epilogue, size_t slot, size_t query, size_t position,
                 float score);
};

/*
 * Scores a batch of queries against row-major keys and offers what is above the thresholds.
 * Scores are "bigger is better" (l2: negated). Masked pairs are never offered. Keys that are not
 * f32 are widened before they are scored (kernel/widen.h), so that all types have one score.
 */
struct dk_scan {
    enum dk_score score;
    size_t dim;
    dotk_store store;
    const void *keys; /* (count, dim) of that type, rows key_stride elements apart; int8: NULL */
    size_t count, key_stride;
    const size_t *gather;            /* NULL, or 'count' positions: key i is row gather[i] */
    double key_norm_max;             /* for dot: no key is longer, to within a relative 1e-3 */
    const struct dk_codes_i8 *codes; /* NULL, or of the whole panels of the same rows, to screen */
                                     /* by unless gathered; int8: the rows themselves            */
    const float *queries;            /* (query_count, dim) */
    size_t query_count, query_stride;
    const struct dk_mask *mask; /* NULL: everything; asked with row 0, the same for all queries; */
                                /* cols are positions 0 .. count - 1, not gather[i]            */
    struct dk_scan_epilogue *epilogue;
    uint64_t *rescored; /* with codes: incremented by the scores computed in f32 */
};

/* The most queries one scan takes at a time: callers cut larger batches. */
size_t dk_scan_batch(size_t dim);

/* Which way dk_scan_run() goes for this many queries: "few" or "batch"; see scan.c. */
const char *dk_scan_path(size_t query_count);

/* The kernel that path runs, as static text: "screen_f32_avx512", "tile_f32_avx512", ... */
const char *dk_scan_kernel(const struct dk_kernels *kernels, size_t query_count, dotk_store store);

/*
 * One dk_call_run(); with codes, and nothing gathered, one of weight 1 before it, for the codes of
 * the queries, and call->part is then that of the second. Errors: DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
dotk_status dk_scan_run(struct dk_call *call, const struct dk_scan *scan);

#endif /* DOTK_TILE_TILE_H */
