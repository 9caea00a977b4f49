/*
 * bias_act.c - add the bias, activate, store
 *
 * Works on a tile while it is in L1, so a sum goes to memory once, finished. Every tile copies its
 * 64 biases to aligned memory, with zeros behind the last: 4 lines beside the some hundred of the
 * tile's panel.
 */
#include "epilogue/bias_act/bias_act.h"

#include <string.h>

static void
take(const struct dk_grid_epilogue *epilogue, const struct dk_kernels *kernels, size_t row,
     size_t rows, size_t col, size_t cols, float (*tile)[DK_PANEL])
{
    const struct dk_bias_act *const self = (const struct dk_bias_act *)epilogue;
    _Alignas(DK_LINE) float bias[DK_PANEL] = {0};

    if (self->bias != NULL)
        memcpy(bias, self->bias + col, cols * sizeof *bias);
    kernels->bias_act_f32(tile, rows, cols, bias, self->activation,
                          self->out + row * self->out_stride + col, self->out_stride);
}

struct dk_bias_act
dk_bias_act(const float *bias, enum dk_activation activation, float *out, size_t out_stride)
{
    return (struct dk_bias_act){
        .epilogue = {.take = take},
        .bias = bias,
        .activation = activation,
        .out = out,
        .out_stride = out_stride,
    };
}
