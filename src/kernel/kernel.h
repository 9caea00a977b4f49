/*
 * kernel.h - the contract between the tile engine and every instruction set
 *
 * An ISA is one folder, one line in isa.def, and one table (struct dk_kernels) of functions.
 * A kernel is one file with the ISA as suffix and one line in that ISA's table. Tests and
 * benchmarks walk the tables, so a kernel that is in its table is tested.
 *
 * Panels
 * ------
 * One side of a score tile is packed: a *panel* holds 64 vectors, dimension after dimension,
 * so that one step of the inner loop is contiguous loads. Digits give the order in memory:
 *
 *              vector 0  vector 1  ...  vector 63
 *     d = 0        0         1              63
 *     d = 1       64        65             127
 *      ...
 *
 * Missing vectors are zeros. The other side stays as it is: rows anywhere in memory, each given
 * by a pointer, so that neighbouring rows, strided rows and gathered rows are one case.
 *
 * The bits of a score
 * -------------------
 * f32 scores are fused multiply-adds in chains of 256 dimensions, in order, each chain starting
 * at +0; the chain sums are added in order:
 *
 *     chain_c = fma(a[d], b[d], ...)        d = 256 c ... 256 c + 255
 *     score   = ((chain_0 + chain_1) + chain_2) + ...
 *
 * For l2 the score is the *negated* squared distance, so that bigger is better everywhere:
 * t = a[d] - b[d], chain = fma(-t, t, chain). Every kernel here gives exactly these bits;
 * portable/ is the definition. Error bounds, by induction over the roundings (Higham, Accuracy
 * and Stability of Numerical Algorithms, 2nd ed., section 3.1), u = 2^-24, n = dim:
 *
 *     |dot - exact| <= (n + 1) u sum |a b|           |l2 - exact| <= (n + 4) u l2
 *
 * (loose: chains of 256 make both about 256 + n / 256 rather than n), plus n 2^-150 each where
 * products underflow.
 */
#ifndef DOTK_KERNEL_KERNEL_H
#define DOTK_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DK_INLINE      static inline __attribute__((always_inline))
#define DK_TARGET(isa) __attribute__((target(isa)))

/* Each compiler ignores the other's pragma without a word; `make check-codegen` looks. */
#if defined(__clang__)
#define DK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define DK_UNROLL _Pragma("GCC unroll 24")
#endif

enum {
    DK_PANEL = 64,      /* vectors in a panel                                         */
    DK_CHAIN = 256,     /* dimensions in one chain of additions                       */
    DK_TILE_ROWS = 12,  /* most rows of any tile kernel                               */
    DK_FEW_ROWS = 16,   /* rows that one call of a "few" kernel scores                */
    DK_FEW_QUERIES = 8, /* most queries of a "few" kernel                             */
};

/* Roundings that a score in the defined order is the result of: of one chain, and of their sum. */
static inline double
dk_roundings(size_t dim)
{
    return DK_CHAIN + (double)dim / DK_CHAIN + 4;
}

/* Which score: the operation inside the chain. */
enum dk_score { DK_SCORE_DOT, DK_SCORE_L2, DK_SCORE_KINDS };

/*
 * tile[r][c] = score(row[r], panel[c]) for r < rows and c < cols.
 *
 * threshold NULL: stores the tile and returns all ones. Else a tile is stored only when some
 * score is above the threshold of its column (strictly), and the result has bit c set for
 * each such column (and possibly for others: look again). When it is 0, 'tile' is unspecified.
 *
 * Promises of the caller: panel, tile and threshold are 64-byte aligned; row[r] is readable for
 * exactly dim floats, panel for 64 * dim, threshold for 64; rows is 1 .. tile_rows(cols) of the
 * table; dim is at least 1; cols is 16, 32, 48 or 64. 'ahead' may point anywhere: memory that will
 * be wanted soon, of which the kernel prefetches ahead_lines cache lines as it goes. Promises of
 * the kernel: writes nothing but tile[r][0 .. cols - 1] (and may use all of tile[0 .. rows - 1][0
 * .. 63] as scratch); a score's bits do not depend on rows or cols.
 */
struct dk_tile_f32 {
    const float *const *row;
    size_t rows, dim, cols;
    const float *panel;
    const float *threshold;
    const char *ahead;
    size_t ahead_lines;
    float (*tile)[DK_PANEL];
};
typedef uint64_t dk_tile_f32_fn(const struct dk_tile_f32 *args);

/*
 * score[q][r] = score(query[q], row[r]) for up to 8 queries and exactly 16 rows, all row-major:
 * for batches too small to be worth packing. Callers with fewer rows repeat one. 'score' is
 * 64-byte aligned; 'ahead' as for tiles, but a hint only.
 */
struct dk_few_f32 {
    const float *const *query;
    size_t queries, dim;
    const float *const *row; /* DK_FEW_ROWS of them */
    float (*score)[DK_FEW_ROWS];
    const char *ahead;
    size_t ahead_lines;
};
typedef void dk_few_f32_fn(const struct dk_few_f32 *args);

/* What the rows are made of that a screen reads. Halves are widened as they are loaded: exactly. */
enum dk_row { DK_ROW_F32, DK_ROW_F16, DK_ROW_BF16, DK_ROW_KINDS };

DK_INLINE size_t
dk_row_bytes(enum dk_row kind, size_t dim)
{
    return dim * (kind == DK_ROW_F32 ? sizeof(float) : sizeof(uint16_t));
}

/*
 * Of count (1 .. 16) rows, those that may score above a threshold: bit r of the result is set
 * when, for some q < queries (1 .. 8), a sum ~ score(query q, row[r]) is above threshold[q]. The
 * sum is in whatever order reads memory fastest. With u = 2^-24, and at least 16 partial sums,
 *
 *     |sum - exact| <= DK_SCREEN_ROUNDINGS(dim) u sum |q r|       (l2: u times the distance)
 *
 * plus dim 2^-148 where products underflow. So this is a *screen*: the caller lowers the
 * thresholds by the bound and scores again what passes.
 *
 *     query      interleaved: 16 dimensions of query 0, the same of query 1, ...; then the next
 *                16; zeros beyond dim; 64-byte aligned
 *     row        each readable for exactly dim numbers, and aligned as one of them
 *     threshold  8 of them, 32-byte aligned, INFINITY from 'queries' on
 *     later      count rows that will be wanted soon, prefetched meanwhile; any readable rows
 */
#define DK_SCREEN_ROUNDINGS(dim) ((dim) / 16 + 24)
enum { DK_SCREEN_LANES = 16 };
struct dk_screen {
    const float *query;
    size_t queries, dim;
    const void *const *row;
    const void *const *later;
    size_t count;
    const float *threshold;
};
typedef uint32_t dk_screen_fn(const struct dk_screen *args);

/* For tables: the screens of one kind of row on one instruction set, such as f16_avx2. */
#define DK_SCREENS(name)                                                                           \
    {                                                                                              \
        [DK_SCORE_DOT] = dk_screen_dot_##name, [DK_SCORE_L2] = dk_screen_l2_##name                 \
    }

/* Whether the 'later' rows lie apart: neighbours the hardware finds by itself. */
DK_INLINE bool
dk_rows_lie_apart(enum dk_row kind, const struct dk_screen *args)
{
    const char *const first = args->later[0];
    return args->later[args->count - 1] !=
           first + (args->count - 1) * dk_row_bytes(kind, args->dim);
}

/* panel = 'count' (1 .. 64) rows, each times 'factor', transposed; missing vectors zero. */
typedef void dk_pack_f32_fn(const float *rows, size_t stride, size_t count, size_t dim,
                            float factor, float *panel);

/* out[i] = from[i] * factor + 0, which makes +0 of -0. Nothing else is read or written. */
typedef void dk_scale_f32_fn(const float *from, size_t count, float factor, float *out);

#include "kernel/bias_act.h"
#include "kernel/dropout.h"
#include "kernel/gradient.h"
#include "kernel/linear.h"
#include "kernel/pair.h"
#include "kernel/screen_i8.h"
#include "kernel/softmax_v.h"
#include "kernel/widen.h"
#include "kernel/yardstick.h"

/* What rows that are not f32 are widened as. */
DK_INLINE enum dk_half
dk_half_of(enum dk_row kind)
{
    return kind == DK_ROW_F16 ? DK_HALF_F16 : DK_HALF_BF16;
}

/* Everything one instruction set offers. No member is NULL. */
struct dk_kernels {
    const char *isa; /* as in isa.def */
    double pace;     /* roughly, in flop a second: how much work makes a short task */

    dk_tile_f32_fn *tile_f32[DK_SCORE_KINDS];
    const char *tile_f32_name; /* "tile_f32_<isa>", for plans and statistics */
    uint8_t tile_rows[5];      /* most rows by cols / 16 */
    dk_few_f32_fn *few_f32[DK_SCORE_KINDS];
    const char *few_f32_name;
    dk_screen_fn *screen[DK_ROW_KINDS][DK_SCORE_KINDS];
    const char *screen_name[DK_ROW_KINDS]; /* "screen_f32_<isa>", ... */
    dk_screen_i8_fn *screen_i8;
    const char *screen_i8_name;
    dk_screen_i8_fn *screen_i4; /* the same of codes of four bits */
    const char *screen_i4_name;
    dk_pair_f32_fn *pair_f32[DK_SCORE_KINDS];
    dk_pack_f32_fn *pack_f32;
    dk_scale_f32_fn *scale_f32;
    const struct dk_widen_kernels *widen;

    const struct dk_softmax_v_kernels *softmax_v;
    const struct dk_softmax_v_kernels *softmax_v_bf16; /* of pairs; of f32 where those are faster */
    const struct dk_pairs_kernels *pairs;
    dk_flags_fn *flags;
    dk_dropout_fn *dropout;
    const struct dk_gradient_kernels *gradient;
    const struct dk_gradient_kernels *gradient_bf16; /* of pairs; else those of f32 */
    dk_bias_act_f32_fn *bias_act_f32;
    dk_linear_f32_fn *linear_f32;
    dk_exp_f32_fn *exp_f32;

    const struct dk_yardstick_kernels *yardstick;
};

/*
 * The table for 'isa': NULL means $DOTK_ISA (read once per process) or else the best this CPU
 * has. Returns NULL when the name is unknown or the CPU lacks it.
 */
const struct dk_kernels *dk_kernels_select(const char *isa);

/* $DOTK_ISA as it was when the library first looked, "" when unset: for messages. */
const char *dk_kernels_environment(void);

/* Table i of those this CPU can run, weakest first; NULL past the end. For tests. */
const struct dk_kernels *dk_kernels_at(size_t i);

/* The names in isa.def, for messages: "portable, avx2, avx512, avx512vnni, avx512bf16". */
const char *dk_kernels_names(void);

#endif /* DOTK_KERNEL_KERNEL_H */
