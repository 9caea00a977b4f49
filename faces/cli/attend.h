/*
 * attend.h - what the files of dotk attend share
 *
 *     attend_input.c ... arrays, masks and options from the command line
 *     attend_show.c .... the weights of a head as a heat-map
 *     attend.c ......... the work, and the verb
 */
#ifndef DOTK_CLI_ATTEND_H
#define DOTK_CLI_ATTEND_H

#include "cli.h"

/* One of Q, K and V: a file read as (batch, heads, rows, width). */
struct attend_array {
    enum cli_option option;
    dotk_vectors *file;
    size_t batch, heads, rows, width;
    dotk_layout layout;
};

struct attend {
    const struct cli_args *args;
    struct attend_array query, key, value;
    dotk_vectors *bias;
    size_t *key_lengths;
    uint8_t *mask;
    dotk_attention_blocks blocks;
    size_t *starts, *columns; /* of blocks */
    float *slopes, *sinks;    /* one for each head */
    const void *q, *k, *v;    /* what is attended with, of options.store */
    void *narrow[3];          /* q, k and v where they are not those of the files */
    dotk_context *context;
    dotk_attention_shape shape;
    dotk_attention_options options;
};

/* Reads the arrays and fills in shape and options. Returns the exit code. */
int attend_prepare(struct attend *attend);

/* Releases what attend_prepare() opened and allocated, done or not. */
void attend_release(struct attend *attend);

/* Room for (B, H, L, width) floats; NULL when there is none. */
float *attend_room(const dotk_attention_shape *shape, size_t width);

/* The heat-map that the options ask for, in the terminal or as SVG. Returns the exit code. */
int attend_show(const struct attend *attend);

#endif /* DOTK_CLI_ATTEND_H */
