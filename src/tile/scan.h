/* scan.h - one scan in progress, shared by its ways: scan.c and scan_i8.c */
#ifndef DOTK_TILE_SCAN_H
#define DOTK_TILE_SCAN_H

#include "tile/tile.h"

/* What all tasks share. */
struct dk_scan_job {
    const struct dk_scan *scan;
    const struct dk_kernels *kernels;
    size_t task_rows;
    double query_norm[DK_FEW_QUERIES]; /* few */
    const float *interleaved;          /* few: the queries as the screen wants them */
    const float *panels;               /* batch: query panels, one after the other */
    size_t block_rows;                 /* batch */
    /* Scores keys start .. end - 1 that the mask lets through, in f32, and offers them. */
    void (*rows)(const struct dk_scan_job *job, size_t slot, size_t start, size_t end);
};

static inline const float *
dk_scan_key(const struct dk_scan *scan, size_t position)
{
    const size_t row = scan->gather != NULL ? scan->gather[position] : position;
    return scan->keys + row * scan->key_stride;
}

/* Roundings of a score in the defined order: a chain of 256 and the sum of the chains. */
static inline double
dk_scan_roundings(size_t dim)
{
    return DK_CHAIN + (double)dim / DK_CHAIN + 4;
}

/* The scan of 'job' with its keys' codes before it. Errors: DOTK_NO_MEMORY, DOTK_CANCELLED. */
dotk_status dk_scan_i8_run(struct dk_call *call, const struct dk_scan_job *job);

#endif /* DOTK_TILE_SCAN_H */
