/*
 * dotk/rotary.h - rotary position embedding: queries and keys turned by their positions
 *
 *     dotk_rotary .............. turns the rows of an array, or turns them back
 *
 * A row's first rotary_width numbers are R / 2 pairs (x, y). At position p pair i becomes
 *
 *     (x cos a - y sin a, y cos a + x sin a),   a = p * frequency(i)
 *
 * with frequency(i) = theta^(-2 i / R), or the caller's frequencies, or the caller's tables of
 * cosines and sines. The numbers behind the first R stay as they are. Which numbers are a pair has
 * two conventions, and a model's weights fit one of them:
 *
 *     halves        number i and number i + R / 2    (GPT-NeoX, Hugging Face's Llama)
 *     interleaved   number 2 i and number 2 i + 1    (RoFormer, Meta's Llama, GPT-J)
 *
 * The product of a query and a key that were both turned depends on the distance of their
 * positions only. Turning back (inverse) is what a gradient of the turned array needs.
 *
 * Angles are worked out and reduced in double, so that large positions stay accurate:
 *
 *     |out - exact| <= 2^-24 |exact| + (2^-40 + 2^-50 f |p|) (|x| + |y|)
 *
 * where f is the largest frequency (1, unless the caller gave some): up to positions of some 60
 * million an f32's own rounding is the larger part. With tables 'exact' means the table's numbers,
 * and the 2^-50 does not apply. f16 and bf16 are that f32, rounded once more. The bits depend
 * neither on the threads nor on the instruction set.
 *
 * Su et al. 2021, "RoFormer", arXiv 2104.09864.
 */
#ifndef DOTK_ROTARY_H
#define DOTK_ROTARY_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dotk_rotary_shape {
    size_t batch, heads, tokens; /* B, H, T: any of them may be 0 */
    size_t width;                /* D, 1 .. 65536                 */
} dotk_rotary_shape;

typedef struct dotk_rotary_options {
    size_t struct_size;        /* set by DOTK_ROTARY_OPTIONS_INIT                             */
    dotk_store store;          /* of x and out: f32, f16 or bf16                              */
    dotk_layout input, output; /* of x and out; 0: dense                                      */
    size_t rotary_width;       /* R, even, at most D; 0: D                                    */
    int32_t interleaved;       /* 0: halves, 1: interleaved                                   */
    int32_t inverse;           /* 1: turned back                                              */
    double theta;              /* 0: 10000; else at least 1                                   */
    const float *frequencies;  /* NULL, or (R / 2), each at most 2^20 in size: radians from a */
                               /* position to the next, in theta's place: theta is then 0     */
    const int64_t *positions;  /* NULL, or (B, T), each at most 2^31 in size                  */
    int64_t offset;            /* without positions: that of the first token of every entry; */
                               /* beside them it is 0                                         */
    const float *cosines;      /* NULL, or (table_rows, R / 2): row p is for position p       */
    const float *sines;        /* the same; both or neither                                   */
    size_t table_rows;
} dotk_rotary_options;

/* clang-format off */
#define DOTK_ROTARY_OPTIONS_INIT                                                                   \
    {                                                                                              \
        sizeof(dotk_rotary_options), DOTK_STORE_F32, {0, 0, 0}, {0, 0, 0}, 0, 0, 0, 0, NULL, NULL, \
        0, NULL, NULL, 0                                                                           \
    }
/* clang-format on */

/*
 * out = x, its rows turned by their positions.
 *
 *     x    (B, H, T, D)     out  (B, H, T, D)     of options->store
 *
 * Memory:  borrows everything. out may be x, with the same layout; else it must not overlap it,
 *          and never the positions or tables. No allocation once the context has served a call
 *          of that size.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (NULL, a width of 0, rotary_width odd or above the width, a theta
 *          below 1, two of theta, frequencies and tables at once, an offset beside positions, a
 *          frequency or position out of range or outside the tables, a stride below the width,
 *          rows of out that overlap, overlap, sizes that overflow), DOTK_NO_MEMORY,
 *          DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_rotary(dotk_context *context, const dotk_rotary_shape *shape,
                                 const void *x, const dotk_rotary_options *options, void *out);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_ROTARY_H */
