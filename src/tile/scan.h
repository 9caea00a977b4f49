/* scan.h - one scan in progress, shared by its ways: scan.c, scan_i8.c and waiting.c */
#ifndef DOTK_TILE_SCAN_H
#define DOTK_TILE_SCAN_H

#include "kernel/ahead.h"
#include "tile/tile.h"

/* What all tasks share. */
struct dk_scan_job {
    const struct dk_scan *scan;
    const struct dk_kernels *kernels;
    size_t tasks;
    const size_t *task_start;          /* tasks + 1: the first key of each, and where they end */
    double query_norm[DK_FEW_QUERIES]; /* few */
    const float *interleaved;          /* few: the queries as the screen wants them */
    const float *panels;               /* batch: query panels, one after the other */
    size_t block_rows;                 /* batch */
    float *room;                       /* keys that are not f32: where each slot widens them     */
    size_t room_rows;                  /* of a slot: DK_FEW_ROWS that wait, then a block of them */
    /* Scores keys start .. end - 1 that the mask lets through, in f32, and offers them. */
    void (*rows)(const struct dk_scan_job *job, size_t slot, size_t start, size_t end);
};

/* The row that key 'position' is. */
static inline size_t
dk_scan_row(const struct dk_scan *scan, size_t position)
{
    return scan->gather != NULL ? scan->gather[position] : position;
}

/* Where key 'position' begins, of whatever type it is; int8: the first group of its codes. */
static inline const void *
dk_scan_key(const struct dk_scan *scan, size_t position)
{
    const size_t row = dk_scan_row(scan, position);

    switch (scan->store) {
    case DOTK_STORE_F32: return (const float *)scan->keys + row * scan->key_stride;
    case DOTK_STORE_F16:
    case DOTK_STORE_BF16: return (const uint16_t *)scan->keys + row * scan->key_stride;
    case DOTK_STORE_INT8: break;
    }
    return dk_i8_key(scan->codes, row);
}

/* Bytes of a key that lie in a row. */
static inline size_t
dk_scan_key_bytes(const struct dk_scan *scan)
{
    return scan->dim * (scan->store == DOTK_STORE_F32    ? sizeof(float)
                        : scan->store == DOTK_STORE_INT8 ? sizeof(uint8_t)
                                                         : sizeof(uint16_t));
}

/* Row i of a slot's room. */
static inline float *
dk_scan_room(const struct dk_scan_job *job, size_t slot, size_t i)
{
    const size_t wide = dk_round_up(job->scan->dim, DK_LINE / sizeof(float));
    return job->room + (slot * job->room_rows + i) * wide;
}

/* Key 'position' as f32: where it lies, or widened into 'room'. */
const float *dk_scan_load(const struct dk_scan_job *job, size_t position, float *room);

/* row[i] = key position[i] as f32, for up to DK_FEW_ROWS keys: widened into the slot's room. */
void dk_scan_load_few(const struct dk_scan_job *job, size_t slot, const size_t *position,
                      size_t count, const float **row);

/* Which of the 64 keys from 'position' on lie before 'end' and pass the mask, as bits. */
static inline uint64_t
dk_scan_keys(const struct dk_scan *scan, size_t position, size_t end)
{
    const size_t count = dk_min(64, end - position);
    const uint64_t there = count < 64 ? (UINT64_C(1) << count) - 1 : ~UINT64_C(0);

    return scan->mask == NULL ? there : there & scan->mask->bits(scan->mask, 0, position);
}

/*
 * Cuts the keys into tasks that take equally long, of at most 'most' keys without a mask; the
 * first key of each task is a multiple of 'unit', or of 64 with a mask. Of 64 keys that the mask
 * lets some of through, more than 'dense' cost no more than 'dense'. Errors: DOTK_NO_MEMORY.
 */
dotk_status
dk_scan_cut(struct dk_call *call, struct dk_scan_job *job, double most, size_t unit, size_t dense);

/* The scan of 'job' with its keys' codes before it. Errors: DOTK_NO_MEMORY, DOTK_CANCELLED. */
dotk_status dk_scan_i8_run(struct dk_call *call, struct dk_scan_job *job);

#endif /* DOTK_TILE_SCAN_H */
