/*
 * softmax_v.c - drives the softmax and value kernels over one tile, and joins chunks
 *
 * Differs from the textbook in what a masked key may do: nothing. Its weight is 0, but 0 times a
 * NaN or an infinity among its values would still be NaN. So where a mask cuts through a panel,
 * the panel's values are looked at (once, for all tiles of the group), and if they are not all
 * finite each row takes only the keys it sees. With finite values adding 0 * v leaves a sum as it
 * was, so both ways give the same bits.
 */
#include "epilogue/softmax_v/softmax_v.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/logarithm.h"

enum {
    BLOCK_PANELS = DK_ATTEND_BLOCK / DK_PANEL,
    SPARSE_KEYS = 16, /* not seen by all rows: from there on blending looks what it may leave out */
};

void
dk_attend_begin(struct dk_softmax_rows *softmax, size_t tiles, float *output, size_t floats)
{
    memset(softmax, 0, tiles * sizeof *softmax);
    for (size_t t = 0; t < tiles; t++) {
        for (size_t r = 0; r < DK_ATTEND_ROWS; r++)
            softmax[t].max[r] = -INFINITY;
    }
    memset(output, 0, floats * sizeof *output);
}

/* Columns of a strip of values from e on, and where it begins. */
static size_t
strip_at(const struct dk_attend_block *block, size_t e, const float **value)
{
    const size_t strip = block->strip != 0 ? block->strip : block->width;

    *value = block->value + (block->strip != 0 ? e / strip * block->strip_stride : 0);
    return dk_min(strip, block->width - e);
}

/* Whether 'count' words are numbers, of which 'exponent' is all ones in what is not finite. */
static bool
words_finite(const float *words, size_t count, uint32_t exponent)
{
    uint32_t bad = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &words[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad == 0;
}

/* Whether values first .. last - 1 of the block hold neither NaN nor infinity. */
static bool
values_finite(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_block *block,
              size_t first, size_t last)
{
    const size_t keys = kernels->pairs ? 2 : 1; /* of a row of words */
    const float *value;

    for (size_t e = 0, columns; e < block->width; e += columns) {
        columns = strip_at(block, e, &value);
        value += first / keys * block->value_stride;
        for (size_t k = first / keys; k * keys < last; k++, value += block->value_stride) {
            if (!words_finite(value, columns, 0x7f800000) ||
                (kernels->pairs && !words_finite(value, columns, 0x7f80)))
                return false;
        }
    }
    return true;
}

static void
blend(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
      const struct dk_attend_block *block, float (*weight)[DK_ATTEND_BLOCK], size_t row,
      size_t rows, size_t first, size_t last, const uint64_t (*keep)[DK_ATTEND_ROWS])
{
    struct dk_blend args = {
        .weight = weight + row,
        .rows = rows,
        .first = first,
        .last = last,
        .value_stride = block->value_stride,
        .output = tile->output + row * tile->output_stride,
        .output_stride = tile->output_stride,
        .keep = keep,
    };

    for (size_t e = 0; e < block->width && first < last; e += args.width) {
        args.width = strip_at(block, e, &args.value);
        kernels->blend(&args);
        args.output += args.width;
    }
}

/* Each row of the tile takes the values it sees of the panel at 'column'. */
static void
blend_seen(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
           const struct dk_attend_block *block, float (*weight)[DK_ATTEND_BLOCK], size_t column,
           size_t count, const uint64_t *keep)
{
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < count; c++) {
            const size_t first = c;
            while (c < count && (keep[r] >> c & 1) != 0)
                c++;
            blend(kernels, tile, block, weight, r, 1, column + first, column + c, NULL);
        }
    }
}

/* What the mask and the end of the keys leave of the panels of a block. */
struct view {
    uint64_t keep[BLOCK_PANELS][DK_ATTEND_ROWS]; /* for each row                      */
    uint64_t any[BLOCK_PANELS];                  /* for some row                      */
    bool cut[BLOCK_PANELS];   /* not 64 keys are left to each row                */
    bool holes[BLOCK_PANELS]; /* to some row the mask does not leave all that exist */
    bool sparse;              /* some panel, so much that blending may gain by it */
};

/* Keys up to the last that some row sees. */
static size_t
seen_of(const struct view *view, size_t panel)
{
    return 64 - (size_t)__builtin_clzll(view->any[panel]);
}

/* False: no row sees any of the block. */
static bool
view_block(const struct dk_attend_tile *tile, const struct dk_attend_block *block,
           struct view *view)
{
    const enum dk_cover cover = block->mask == NULL
                                    ? DK_COVER_ALL
                                    : block->mask->look(block->mask, tile->row, tile->rows,
                                                        block->key, block->count, view->keep);

    view->sparse = false;
    for (size_t p = 0; p * DK_PANEL < block->count && cover != DK_COVER_NONE; p++) {
        const size_t count = dk_min(DK_PANEL, block->count - p * DK_PANEL);
        const uint64_t exist = count == DK_PANEL ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1;
        uint64_t any = 0, all = exist;
        for (size_t r = 0; r < tile->rows; r++) {
            const uint64_t keep = cover == DK_COVER_ALL ? exist : view->keep[p][r] & exist;
            view->keep[p][r] = keep;
            any |= keep;
            all &= keep;
        }
        view->any[p] = any;
        view->cut[p] = ~all != 0;
        view->holes[p] = all != exist;
        if (any != 0 && ~all != 0)
            view->sparse |= seen_of(view, p) - (size_t)__builtin_popcountll(all) >= SPARSE_KEYS;
    }
    return cover != DK_COVER_NONE;
}

/* Whether the panel has to be blended row by row: what a mask hides in it may be no number. */
static bool
stands_alone(const struct dk_softmax_v_kernels *kernels, struct dk_attend_block *block,
             const struct view *view, size_t panel)
{
    signed char *const finite = &block->finite[panel];

    if (!view->holes[panel])
        return false;
    if (*finite < 0)
        *finite = values_finite(kernels, block, panel * DK_PANEL,
                                dk_min((panel + 1) * DK_PANEL, block->count));
    return *finite == 0;
}

/* How many panels from 'panel' on, which some row sees, can be weighed together. */
static size_t
run_of(const struct dk_softmax_v_kernels *kernels, struct dk_attend_block *block,
       const struct view *view, size_t panel)
{
    const size_t panels = (block->count + DK_PANEL - 1) / DK_PANEL;
    size_t end = panel;

    while (end < panels && view->any[end] != 0 && seen_of(view, end) > DK_PANEL - 16 &&
           !stands_alone(kernels, block, view, end))
        end++;
    return dk_max(1, end - panel);
}

/* Weights of the panel at 'column' that dropout does not leave become 0; sums have them already. */
static void
drop_weights(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
             const struct dk_attend_block *block, size_t column, float (*weight)[DK_ATTEND_BLOCK])
{
    const size_t size = kernels->pairs ? sizeof(uint16_t) : sizeof(float);

    for (size_t r = 0; r < tile->rows; r++) {
        uint64_t gone = ~block->dropout->stay(block->dropout, tile->row + r, block->key + column);
        for (; gone != 0; gone &= gone - 1)
            memset((char *)weight[r] + size * (column + (size_t)__builtin_ctzll(gone)), 0, size);
    }
}

/* Makes weights of 'panels' panels from 'panel' on. */
static void
weigh(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
      const struct dk_attend_block *block, float (*weight)[DK_ATTEND_BLOCK],
      const struct view *view, size_t panel, size_t panels)
{
    _Alignas(64) float bias[BLOCK_PANELS * DK_ATTEND_ROWS][DK_PANEL];
    const size_t column = panel * DK_PANEL;
    bool cut = false;

    for (size_t p = 0; p < panels; p++) {
        const size_t key = column + p * DK_PANEL, count = dk_min(DK_PANEL, block->count - key);
        cut = cut || view->cut[panel + p];
        for (size_t r = 0; r < tile->rows && block->bias != NULL; r++)
            block->bias->row(block->bias, tile->row + r, block->key + key, count,
                             bias[p * DK_ATTEND_ROWS + r]);
    }
    kernels->weigh(&(struct dk_weigh){
        .query = tile->query,
        .rows = tile->rows,
        .dim = block->dim,
        .cols = dk_round_up(seen_of(view, panel), 16),
        .panels = panels,
        .panel = block->panels + column * block->dim,
        .keep = cut ? view->keep[panel] : NULL,
        .bias = block->bias != NULL ? bias : NULL,
        .scale = block->scale,
        .softcap = block->softcap,
        .column = column,
        .weight = weight,
        .softmax = tile->softmax,
        .output = tile->output,
        .output_stride = tile->output_stride,
    });
    for (size_t p = panel; p < panel + panels && block->dropout != NULL; p++)
        drop_weights(kernels, tile, block, p * DK_PANEL, weight);
}

void
dk_attend_block(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
                struct dk_attend_block *block, float (*weight)[DK_ATTEND_BLOCK])
{
    const size_t columns = (block->count + DK_PANEL - 1) / DK_PANEL;
    struct view view;
    const uint64_t(*keep)[DK_ATTEND_ROWS]; /* what blending may leave out */
    size_t first = 0, last = 0;            /* columns weighed and not yet blended */

    if (!view_block(tile, block, &view))
        return;
    keep = view.sparse ? view.keep : NULL;
    for (size_t p = 0, panels = 1; p < columns; p += panels) {
        panels = 1;
        if (view.any[p] == 0) {
            blend(kernels, tile, block, weight, 0, tile->rows, first, last, keep);
            first = last = (p + 1) * DK_PANEL;
            continue;
        }
        panels = run_of(kernels, block, &view, p);
        weigh(kernels, tile, block, weight, &view, p, panels);
        const size_t end = (p + panels) * DK_PANEL, seen = seen_of(&view, p + panels - 1);
        if (stands_alone(kernels, block, &view, p)) {
            blend(kernels, tile, block, weight, 0, tile->rows, first, last, keep);
            blend_seen(kernels, tile, block, weight, p * DK_PANEL, seen, view.keep[p]);
            first = last = end;
            continue;
        }
        last = end - DK_PANEL + seen;
        if (seen < DK_PANEL) { /* a gap in front of the next panel */
            blend(kernels, tile, block, weight, 0, tile->rows, first, last, keep);
            first = last = end;
        }
    }
    blend(kernels, tile, block, weight, 0, tile->rows, first, last, keep);
}

static float
sum_of_lanes(const float lanes[DK_ATTEND_LANES])
{
    float eight[8], four[4];

    for (size_t i = 0; i < 8; i++)
        eight[i] = lanes[i] + lanes[i + 8];
    for (size_t i = 0; i < 4; i++)
        four[i] = eight[i] + eight[i + 4];
    return (four[0] + four[2]) + (four[1] + four[3]);
}

void
dk_attend_take(const struct dk_softmax_v_kernels *kernels, const struct dk_attend_tile *tile,
               struct dk_attend_answer *answers)
{
    const struct dk_softmax_rows *const softmax = tile->softmax;

    for (size_t r = 0; r < tile->rows; r++) {
        const float sum = sum_of_lanes(softmax->sum[r]);
        answers[r] = (struct dk_attend_answer){
            .max = softmax->max[r],
            .sum = sum,
            .divisor = kernels->pairs ? sum_of_lanes(softmax->divisor[r]) : sum,
        };
    }
}

/* 2^n for n <= 0, whole or -infinity, 0 below the normal range; NaN stays NaN. */
static float
power_of_two(float n)
{
    if (!(n >= -126.0f))
        return n != n ? n : 0;
    const uint32_t bits = (uint32_t)((int)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

void
dk_attend_merge(struct dk_attend_answer *a, float *a_output, const struct dk_attend_answer *b,
                const float *b_output, size_t width)
{
    if (b->max == -INFINITY)
        return;
    const float max = a->max > b->max || a->max != a->max ? a->max : b->max;
    const float a_factor = power_of_two(a->max - max), b_factor = power_of_two(b->max - max);

    for (size_t e = 0; e < width; e++)
        a_output[e] = a_output[e] * a_factor + b_output[e] * b_factor;
    a->sum = a->sum * a_factor + b->sum * b_factor;
    a->divisor = a->divisor * a_factor + b->divisor * b_factor;
    a->max = max;
}

/*
 * log2(x) within 1e-11 of itself, which f32 does not show, in a third of the time: x = 2^n m with m
 * from sqrt(1/2) to sqrt(2), and log(m) = 2 artanh(s), s = (m - 1) / (m + 1), by its series to
 * s^13.
 */
static double
log2_of(double x)
{
    const uint64_t least = 0x3fe6a09e667f3bcd; /* sqrt(1/2) */
    uint64_t bits;
    double m;

    if (!(x >= DBL_MIN && x <= DBL_MAX))
        return log2(x);
    memcpy(&bits, &x, sizeof bits);
    const int64_t n = (int64_t)(bits - least) >> 52;
    bits -= (uint64_t)n << 52;
    memcpy(&m, &bits, sizeof m);
    const double s = (m - 1) / (m + 1), z = s * s, w = z * z;
    const double series = (1.0 + z * (1.0 / 3)) +
                          w * ((1.0 / 5 + z * (1.0 / 7)) +
                               w * ((1.0 / 9 + z * (1.0 / 11)) + w * (1.0 / 13)));
    return (double)n + s * series * (2 / DK_LN_2);
}

/* The score of a sink in base 2, and the larger of it and the highest other one. */
struct sink {
    double score, most;
};

static struct sink
sink_of(const struct dk_attend_answer *answer, float sink)
{
    const double score = sink / DK_LN_2;
    return (struct sink){score, score > answer->max ? score : answer->max};
}

void
dk_attend_finish(const struct dk_kernels *kernels, const struct dk_attend_answer *answer,
                 float sink, float boost, const float *output, size_t width, float *out)
{
    float factor = 1 / answer->divisor;

    if (answer->max == -INFINITY) {
        memset(out, 0, width * sizeof *out);
        return;
    }
    if (sink != -INFINITY) {
        const struct sink with = sink_of(answer, sink);
        const double seen = exp2(answer->max - with.most), unseen = exp2(with.score - with.most);
        factor = (float)(seen / (answer->divisor * seen + unseen));
    }
    /* + 0 makes +0 of -0: whether a masked key's 0 * v was added must not show. */
    kernels->scale_f32(output, width, factor * boost, out);
}

float
dk_attend_lse(const struct dk_attend_answer *answer, float sink)
{
    double most = answer->max, sum = answer->sum;

    if (answer->max == -INFINITY)
        return sink;
    if (sink != -INFINITY) {
        const struct sink with = sink_of(answer, sink);
        most = with.most;
        sum = answer->sum * exp2(answer->max - most) + exp2(with.score - most);
    }
    return (float)((most + log2_of(sum)) * DK_LN_2);
}
