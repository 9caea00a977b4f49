/* kernels_neondot.h - what neondot/ offers to its table */
#ifndef DOTK_KERNEL_KERNELS_NEONDOT_H
#define DOTK_KERNEL_KERNELS_NEONDOT_H

#include "kernel/kernel.h"

dk_screen_i8_fn dk_screen_i8_neondot;
extern const struct dk_kernels dk_kernels_neondot;

#endif /* DOTK_KERNEL_KERNELS_NEONDOT_H */
