/*
 * softmax_v.h - the epilogue of attention: tiles of scores become sums of values
 *
 * begin / block / take, and then merge and finish: a *chunk* of 1,024 keys is summed block by
 * block from nothing, its answers are merged into those of the chunks before it, and the last
 * answer is divided by its sum. Kernels and method: kernel/softmax_v.h.
 */
#ifndef DOTK_EPILOGUE_SOFTMAX_V_H
#define DOTK_EPILOGUE_SOFTMAX_V_H

#include "tile/tile.h"

/* Keys whose sums stand alone: the unit in which work may be cut without changing a bit. */
enum { DK_ATTEND_CHUNK = 1024 };

/* Up to 6 queries. */
struct dk_attend_tile {
    const float *query; /* (rows, dim) words, dense; floats multiplied by scale * log2(e) */
    size_t row, rows;   /* which queries: for the mask                */
    struct dk_softmax_rows *softmax;
    float *output; /* (rows, output_stride), 64-byte aligned     */
    size_t output_stride;
};

/* Which keys count for the rows of a tile. */
struct dk_score_mask {
    /*
     * Of 'rows' (1 .. 6) rows from 'row' on and 'count' (1 .. 256) keys from 'key' on, a multiple
     * of 64: none, all or some. With some, which is always allowed, bit c of keep[p][r] says
     * that key + 64 p + c counts for row + r; it is unspecified from 'count' on.
     */
    enum dk_cover (*look)(const struct dk_score_mask *mask, size_t row, size_t rows, size_t key,
                          size_t count, uint64_t (*keep)[DK_ATTEND_ROWS]);
};

/* What is added to scores, as kernels take it: base 2. */
struct dk_score_bias {
    /* out[c] = what is added to the score of 'row' and key + c, c < count <= 64, 0 from there on.
     */
    void (*row)(const struct dk_score_bias *bias, size_t row, size_t key, size_t count,
                float out[DK_PANEL]);
};

/* Which weights dropout leaves. */
struct dk_score_dropout {
    /* Bit c of the result: the weight of 'row' and key + c stays; key is a multiple of 64. */
    uint64_t (*stay)(const struct dk_score_dropout *dropout, size_t row, size_t key);
};

/* Up to DK_ATTEND_BLOCK keys, from 'key' on, a multiple of it; in words (kernel/softmax_v.h). */
struct dk_attend_block {
    const struct dk_score_mask *mask;       /* NULL: all   */
    const struct dk_score_bias *bias;       /* NULL: none */
    float scale;                            /* scale * log2(e), for pairs */
    float softcap;                          /* 0: none; in base 2 */
    const struct dk_score_dropout *dropout; /* NULL: none */
    size_t key, count;
    const float *panels; /* those the mask leaves, each in its place */
    size_t dim;
    const float *value; /* (count, width), or of pairs half as many rows */
    size_t value_stride, width;
    size_t strip, strip_stride; /* 0, or values lie in strips of so many columns, so far apart */
    signed char finite[DK_ATTEND_BLOCK / DK_PANEL]; /* values of a panel: -1 not looked yet */
};

/* The answer of one row over some keys. max -INFINITY: none; NaN: the output is NaN. */
struct dk_attend_answer {
    float max, sum; /* in base 2: the log-sum-exp is log(sum) + max * log(2) */
    float divisor;  /* of output sums: the sum of weights as they were multiplied */
};

/* Makes tiles ready for the first block of a chunk, whose outputs are 'floats' from 'output' on. */
void dk_attend_begin(struct dk_softmax_rows *softmax, size_t tiles, float *output, size_t floats);

/* Adds a block to a tile. 'weight' is scratch, DK_ATTEND_ROWS rows, 64-byte aligned. */
void dk_attend_block(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
                     struct dk_attend_block *block, float (*weight)[DK_ATTEND_BLOCK]);

/* The answers of the tile's rows; their outputs are where they are. */
void dk_attend_take(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
                    struct dk_attend_answer *answers);

/*
 * Merges (b, b_output) into (a, a_output), a being of earlier keys. Scaling is by powers of two,
 * so an output is rounded once. 'width' values are merged.
 */
void dk_attend_merge(struct dk_attend_answer *a, float *a_output, const struct dk_attend_answer *b,
                     const float *b_output, size_t width);

/*
 * out = output / sum, zeros when nothing was seen. 'sink' (a natural logarithm, -INFINITY for none)
 * is the score of a key without a value: it has its share of the sum. 'boost' is what dropout
 * multiplies the weights by that stay, 1 without it.
 */
void dk_attend_finish(const struct dk_kernels *kernels, const struct dk_attend_answer *answer,
                      float sink, float boost, const float *output, size_t width, float *out);

/* The log-sum-exp, natural; 'sink' as above. */
float dk_attend_lse(const struct dk_attend_answer *answer, float sink);

#endif /* DOTK_EPILOGUE_SOFTMAX_V_H */
