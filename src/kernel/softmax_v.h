/*
 * softmax_v.h - kernels: scores to weights to a weighted sum of values
 *
 * A tile is up to 6 queries. Its keys come in panels of 64 (kernel.h), its values as they lie in
 * memory. weigh() turns the scores of panels into weights, and for each *block* of up to 256
 * keys blend() adds weights times values to the output sums:
 *
 *              64 keys  64 keys  64 keys  64 keys                 width
 *            +--------+--------+--------+--------+              +-------+
 *    6 rows  | weigh()  weigh()  ...             |  x  256 keys | value |  +-> output, 6 rows
 *            +--------+--------+--------+--------+              |  ...  |
 *                                                               +-------+
 *
 * Online softmax, in base 2
 * -------------------------
 * Queries are multiplied by scale * log2(e) beforehand, so weights are 2^(score - m). A row's m
 * is always an *integer* (or "nothing seen yet", or NaN), so moving it multiplies what has been
 * summed by a power of two, which is exact. It moves only when it must: weights may grow to 2^8
 * before it does. For each row and panel:
 *
 *     1. nothing seen yet: m = ceil(highest score)
 *     2. w[c] = 2^(score[c] - m); where a lane's sum of its weights (of the panel's 64) exceeds
 *        256: m moves up to ceil(highest score), sums, outputs and earlier weights of the block
 *        follow, and w is computed again
 *     3. sum[lane] += the lane's weights
 *
 * Every step looks at one row alone, so a row's bits do not depend on its neighbours in a tile;
 * and a panel of which a row sees nothing leaves that row as it was.
 *
 * Error: a score has that of dk_tile_f32; 2^x is within 4e-7 of itself (see the kernels).
 */
#ifndef DOTK_KERNEL_SOFTMAX_V_H
#define DOTK_KERNEL_SOFTMAX_V_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DK_ATTEND_ROWS = 6,    /* most rows of a tile                          */
    DK_ATTEND_BLOCK = 256, /* keys of a block                              */
    DK_ATTEND_LANES = 16,  /* partial sums of a row; output rows are padded */
};

/*
 * 2^f on [-1/2, 1/2], ascending powers of f from f^1 on: minimax of degree 5, relative error 1.7e-7
 * in f32 coefficients (with five roundings 2.3e-7). For those ISAs that have no better way.
 */
#define DK_EXP2_C1 0x1.62e428p-1f
#define DK_EXP2_C2 0x1.ebf914p-3f
#define DK_EXP2_C3 0x1.c6b6e2p-5f
#define DK_EXP2_C4 0x1.3d0c52p-7f
#define DK_EXP2_C5 0x1.5c08e4p-10f

/*
 * c tanh(s / c), x = s / c: below DK_TANH_LIMIT it is s - s x^2 h(x^2), so that small scores keep
 * their digits, h being minimax of degree 4 (3.3e-8 of tanh); above, |c - 2 c / (e^(2 |x|) + 1)|.
 * Within 3e-7 of itself on every ISA. DK_TANH_MOST is a 2 |x| log2(e) from which on it is c.
 */
#define DK_TANH_LIMIT     0.75f
#define DK_TANH_H0        0x1.5554a4p-2f
#define DK_TANH_H1        -0x1.10ed5ap-3f
#define DK_TANH_H2        0x1.b55f7cp-5f
#define DK_TANH_H3        -0x1.4230a0p-6f
#define DK_TANH_H4        0x1.3892c6p-8f
#define DK_TANH_TWO_LOG2E 0x1.715476p+1f
#define DK_TANH_MOST      64.0f

/* A lane's weights of one panel may sum to this before m moves. */
#define DK_WEIGHT_LIMIT 256.0f

/*
 * The softmax so far, of the rows of a tile; 64-byte aligned. Begins as {0}, {0}, {-INFINITY}. A
 * row's sum is that of its lanes. Pairs have two, of the weights before they were rounded and
 * after: output sums are divided by the latter, so that a row that sees one key has exactly its
 * value. Floats have the first alone.
 */
struct dk_softmax_rows {
    _Alignas(64) float sum[DK_ATTEND_ROWS][DK_ATTEND_LANES];
    float divisor[DK_ATTEND_ROWS][DK_ATTEND_LANES];
    float max[16]; /* m; -INFINITY: nothing seen; NaN: out is NaN */
};

/*
 * What kernels multiply is a *word*: a float, or with 'pairs' a pair of bf16 numbers in the place
 * of one, the first in the lower half. A key's dimensions make such pairs (the last one with a
 * zero, when they are odd), and so do the values of neighbouring keys, and their weights:
 *
 *     key panel    (dim, 64)        dim counts words
 *     query        (rows, dim)
 *     weight       (rows, 256)      of pairs the first 128
 *     value        (256, width)     of pairs 128 rows
 *
 * Products of pairs are added in f32, denormals being taken for zeros. Weights are rounded to bf16,
 * to nearest even.
 */

/*
 * Scores of 'rows' queries and the first 'cols' keys of a panel, and their weights; the same for
 * the next panels, if there are more, as if each had a call of its own.
 *
 *     query    (rows, dim), dense; floats multiplied by scale * log2(e)
 *     scale    of pairs: what scores are multiplied by, first of all
 *     softcap  0: none; else every score s becomes softcap * tanh(s / softcap), which is finite
 *              for an infinite s
 *     bias     NULL, or bias[6 p + r][c] is added to the score of panel p's key c for row r, after
 *              softcap
 *     keep     NULL: every key counts; else key c of panel p counts for row r when bit c of
 *              keep[6 p + r] is set
 *     weight   receives weight[r][column .. column + cols - 1], 0 for keys that do not count;
 *              columns before that hold the weights of the block's earlier panels
 *     output   (rows, output_stride): sums so far, which follow m
 *
 * Promises of the caller: rows is 1 .. 6, cols is 16, 32, 48 or 64, column a multiple of 64;
 * panels is 1, or up to what is left of the block when cols is 64; softcap is 0 or in 2^-126 ..
 * 2^126; panel, bias, weight and output are 64-byte aligned, output_stride is a multiple of 16;
 * query and panel are readable for exactly what the shapes say. Keys that do not count may hold
 * anything, and their biases too. A score, capped and biased, that counts and is NaN or +infinity
 * makes the row's max and sums NaN; one of -infinity has weight 0.
 */
struct dk_weigh {
    const float *query;
    size_t rows, dim, cols, panels;
    const float *panel;
    float scale, softcap;
    const float (*bias)[DK_PANEL];
    const uint64_t *keep;
    size_t column;
    float (*weight)[DK_ATTEND_BLOCK];
    struct dk_softmax_rows *softmax;
    float *output;
    size_t output_stride;
};
typedef void dk_weigh_fn(const struct dk_weigh *args);

/*
 * output[r][e] = fma(weight[r][k], value[k][e], output[r][e]) for k = first .. last - 1 in order
 * (one ISA may round between product and sum; it then always does). Two keys of a pair are added
 * at once; where the range ends within a pair, whatever the other value is counts as zero.
 *
 *     value    (last, width), rows value_stride words apart, of which rows first .. last - 1 are
 *              read, and the other rows of their pairs
 *     output   as above; columns from width on are unspecified
 *     keep     NULL, or key k may be passed over for row r when bit k % 64 of keep[k / 64][r] is
 *              not set. Promises of the caller: then its weight is 0 and its value finite, 'first'
 *              is a multiple of 64, and no bit from 'last' on is set
 */
struct dk_blend {
    float (*weight)[DK_ATTEND_BLOCK];
    size_t rows, first, last;
    const float *value;
    size_t value_stride, width;
    float *output;
    size_t output_stride;
    const uint64_t (*keep)[DK_ATTEND_ROWS];
};
typedef void dk_blend_fn(const struct dk_blend *args);

struct dk_softmax_v_kernels {
    const char *name; /* for plans: "softmax_v_avx512" */
    bool pairs;       /* words are pairs of bf16, or floats                               */
    dk_weigh_fn *weigh;
    dk_blend_fn *blend;
    double flop_per_ms; /* roughly, to cut work into tasks of some milliseconds */
};

/*
 * Rows of bf16 numbers to words, 'rows' aligned to 2 bytes, 'stride' in numbers:
 *
 *     panel    of 'count' (1 .. 64) keys; missing ones zero. 64-byte aligned
 *     values   (ceil(count / 2), width) dense; a missing one zero. 64-byte aligned
 */
typedef void
dk_pack_pairs_fn(const uint16_t *rows, size_t stride, size_t count, size_t width, float *out);

struct dk_pairs_kernels {
    dk_pack_pairs_fn *panel, *values;
};

/*
 * What a boolean mask says of 'rows' (1 .. 6) rows and 'count' (1 .. 256) keys: bit c of keep[p][r]
 * is flags[r][64 p + c] != 0, and 0 from 'count' on. Exactly 'count' bytes of each row are read.
 */
typedef void dk_flags_fn(const uint8_t *const *flags, size_t rows, size_t count,
                         uint64_t (*keep)[DK_ATTEND_ROWS]);

#endif /* DOTK_KERNEL_SOFTMAX_V_H */
