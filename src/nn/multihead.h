/* multihead.h - one call of the multi-head module, its arguments checked; masks and layouts */
#ifndef DOTK_NN_MULTIHEAD_H
#define DOTK_NN_MULTIHEAD_H

#include <dotk/attention.h>
#include <dotk/multihead.h>

#include "tile/tile.h"

/* One of the projections of query, key and value. */
struct dk_multihead_projection {
    const char *name;
    const float *input;  /* (rows, width)    */
    const float *weight; /* (M, width)       */
    const float *bias;   /* (M) or NULL      */
    size_t rows, width;  /* B times L or S   */
    size_t added;        /* keys before it   */
    const float *first;  /* bias_k or bias_v */
    float *output;       /* (rows and the added ones, M) */
};

enum { DK_QUERY, DK_KEY, DK_VALUE, DK_PROJECTIONS };

struct dk_multihead {
    size_t batch, queries, keys, width, heads;
    size_t added;    /* keys that the module adds: bias_k, zeros                           */
    size_t all_keys; /* S', with these; they come first, so that causal masks let them be   */
    dotk_multihead_parameters parameters;
    dotk_multihead_options options;
    struct dk_multihead_projection projection[DK_PROJECTIONS];
    float *attended; /* (B L, M), rows as in query */
    float *lse;      /* (B, H, L)                  */
    dotk_attention_shape shape;
    dotk_attention_options attention; /* masks are missing until dk_multihead_masks() */
};

/* Checks everything but what is written. Inputs may be NULL where 'sizes_only'. */
dotk_status
dk_multihead_describe(const dotk_multihead_shape *shape,
                      const dotk_multihead_parameters *parameters, const float *query,
                      const float *key, const float *value, const dotk_multihead_options *options,
                      bool sizes_only, struct dk_multihead *out);

/* Floats that are kept between forward and backward, and where in them everything lies. */
size_t dk_multihead_saved(const struct dk_multihead *module);
void dk_multihead_place(struct dk_multihead *module, float *saved);

/* Puts the masks into module->attention, as copies in scratch where they have to be turned. */
dotk_status dk_multihead_masks(struct dk_call *call, struct dk_multihead *module);

/* Where row j of batch entry n lies, in an array of 'rows' rows an entry. */
static inline size_t
dk_multihead_row(const struct dk_multihead *module, size_t rows, size_t n, size_t j)
{
    return (module->options.batch_first ? n * rows + j : j * module->batch + n) * module->width;
}

/*
 * Deals the parts of a call, of which its progress tells, out to its steps: share[i] parts for
 * work[i] multiply-adds, DK_STEP_LEAST at least, and none for a step that is not taken, whose work
 * is below 0.
 */
enum { DK_STEP_LEAST = 3 };
void dk_multihead_deal(struct dk_call *call, size_t steps, const double *work, size_t *share);

/* An array that is read or written, for dk_multihead_overlaps(). */
struct dk_multihead_array {
    const char *name;
    const void *start; /* NULL: not given */
    size_t bytes;
};

/*
 * Checks that none of the 'written' arrays overlaps another of them, an input, a parameter, a mask
 * or one that is read 'also'.
 */
dotk_status
dk_multihead_overlaps(const struct dk_multihead *module, const struct dk_multihead_array *written,
                      size_t count, const struct dk_multihead_array *also, size_t also_count);

#endif /* DOTK_NN_MULTIHEAD_H */
