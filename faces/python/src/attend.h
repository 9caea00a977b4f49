/*
 * attend.h - the arguments that functions of attention share
 *
 * Arrays of queries, keys and values have four axes, (B, H, L, D), or the last three or two of
 * them; inside they always have four. Options have the names of dotk_attention_options.
 *
 *     static struct py_args args = {"attention", 3, 3, {"q", "k", "v", PY_ATTEND_NAMES, ...}, ...};
 *     struct py_attend attend;
 *     if (py_attend_get(&attend, given[0], given[1], given[2], given + 3) == 0) {
 *         ... attend.shape, attend.options, attend.q.data ...
 *     }
 *     py_attend_release(&attend);
 */
#ifndef DOTK_PYTHON_ATTEND_H
#define DOTK_PYTHON_ATTEND_H

#include "array.h"

#include <dotk/attention.h>

/* The options in the order in which they are listed among a function's parameters. */
enum {
    PY_SCALE,
    PY_CAUSAL,
    PY_WINDOW_LEFT,
    PY_WINDOW_RIGHT,
    PY_QUERY_OFFSET,
    PY_QUERY_OFFSETS,
    PY_KEY_LENGTHS,
    PY_MASK,
    PY_BIAS,
    PY_BLOCKS,
    PY_SOFTCAP,
    PY_DROPOUT,
    PY_SEED,
    PY_SLOPES,
    PY_SINKS,
    PY_QUERY_STARTS,
    PY_KEY_STARTS,
    PY_KEY_SCALES,
    PY_KEY_OPTIONS, /* so many for functions that take no values */
    PY_VALUE_SCALES = PY_KEY_OPTIONS,
    PY_ATTEND_OPTIONS
};

#define PY_KEY_NAMES                                                                               \
    "scale", "causal", "window_left", "window_right", "query_offset", "query_offsets",             \
        "key_lengths", "mask", "bias", "blocks", "softcap", "dropout", "seed", "slopes", "sinks",  \
        "query_starts", "key_starts", "key_scales"

#define PY_ATTEND_NAMES PY_KEY_NAMES, "value_scales"

struct py_attend {
    dotk_attention_shape shape;
    dotk_attention_options options; /* points to what is below                           */
    size_t axes;                    /* how many q had: outputs have as many             */
    size_t bias_axes;               /* how many bias had                                */
    struct py_array q, k, v;        /* of four axes; v is empty where a function takes none */
    struct py_array mask, bias;     /* of four axes, if they were given                  */
    struct py_array slopes, sinks, key_scales, value_scales;
    struct py_array key_lengths, query_offsets, query_starts, key_starts, starts, columns;
    dotk_attention_blocks blocks;
};

/*
 * Looks at all of it; 'v' is NULL for a function that takes no values, of which 'options' has only
 * PY_KEY_OPTIONS. Returns 0, or -1 with an exception; release *out either way.
 */
int py_attend_get(struct py_attend *out, PyObject *q, PyObject *k, PyObject *v,
                  PyObject *const *options);

/* The same for keys and values that lie elsewhere: 'keys' of them, of 'entries' sequences. */
int py_attend_get_queries(struct py_attend *out, PyObject *q, size_t entries, size_t keys,
                          PyObject *const *options);

void py_attend_release(struct py_attend *attend);

/* Gives an array of fewer axes four: those in front have one place. */
void py_attend_pad(struct py_array *array);

/*
 * An output (B, H, L, width), or (B, H, L) for width 0, of as many axes (less one) as q; its rows
 * may lie apart if 'layout' is not NULL, which then receives how. Otherwise as py_array_out().
 */
PyObject *py_attend_out(const struct py_attend *attend, PyObject *given, const char *name,
                        enum py_type type, size_t width, dotk_layout *layout, struct py_array *out);

#endif /* DOTK_PYTHON_ATTEND_H */
