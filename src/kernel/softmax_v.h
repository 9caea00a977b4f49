/* softmax_v.h - kernels: scores to weights to a weighted sum of values */
#ifndef DOTK_KERNEL_SOFTMAX_V_H
#define DOTK_KERNEL_SOFTMAX_V_H

#include <stddef.h>
#include <stdint.h>

struct dk_softmax_v_kernels {
    int unused;
};

#endif /* DOTK_KERNEL_SOFTMAX_V_H */
