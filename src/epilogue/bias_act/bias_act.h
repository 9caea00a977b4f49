/* bias_act.h - the epilogue of a dense layer: add the bias, activate, store */
#ifndef DOTK_EPILOGUE_BIAS_ACT_H
#define DOTK_EPILOGUE_BIAS_ACT_H

#include "tile/grid.h"

struct dk_bias_act {
    struct dk_grid_epilogue epilogue; /* first member: what dk_grid_run() is given */
    const float *bias;                /* col_count of them, or NULL                */
    enum dk_activation activation;
    float *out; /* (row_count, col_count), out_stride apart */
    size_t out_stride;
};

/* The epilogue that stores activation(score + bias). Borrows 'bias' and 'out'. */
struct dk_bias_act
dk_bias_act(const float *bias, enum dk_activation activation, float *out, size_t out_stride);

#endif /* DOTK_EPILOGUE_BIAS_ACT_H */
