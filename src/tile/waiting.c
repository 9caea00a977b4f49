/* waiting.c - scores in the defined order, 16 keys at a time */
#include "tile/waiting.h"

size_t
dk_waiting_score(struct dk_waiting *waiting, const struct dk_scan_job *job, size_t slot,
                 size_t first, size_t queries, const char *ahead, size_t ahead_lines)
{
    const struct dk_scan *const scan = job->scan;
    struct dk_scan_epilogue *const epilogue = scan->epilogue;
    const float *const threshold = epilogue->thresholds(epilogue, slot) + first;
    const float *query[DK_FEW_QUERIES], *row[DK_FEW_ROWS];
    _Alignas(DK_LINE) float score[DK_FEW_QUERIES][DK_FEW_ROWS];
    uint32_t taken = 0; /* by key */

    if (waiting->count == 0)
        return 0;
    for (size_t q = 0; q < queries; q++)
        query[q] = scan->queries + (first + q) * scan->query_stride;
    dk_scan_load_few(job, slot, waiting->position, waiting->count, row);
    for (size_t r = waiting->count; r < DK_FEW_ROWS; r++)
        row[r] = row[0];
    job->kernels->few_f32[scan->score](&(struct dk_few_f32){
        .query = query,
        .queries = queries,
        .dim = scan->dim,
        .row = row,
        .score = score,
        .ahead = ahead,
        .ahead_lines = ahead_lines,
    });
    for (size_t q = 0; q < queries; q++) {
        for (size_t r = 0; r < waiting->count; r++) {
            if (score[q][r] > threshold[q]) {
                epilogue->take(epilogue, slot, first + q, waiting->position[r], score[q][r]);
                taken |= 1u << r;
            }
        }
    }
    waiting->count = 0;
    return (size_t)__builtin_popcount(taken);
}
