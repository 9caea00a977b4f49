/* table_neondot.c - the neon column with integer products of its own */
#include "kernel/neon/kernels_neon.h"
#include "kernel/neondot/kernels_neondot.h"
#include "kernel/portable/kernels_portable.h"

const struct dk_kernels dk_kernels_neondot = {
    .isa = "neondot",
    DK_NEON_LINES,
    .screen_i8 = dk_screen_i8_neondot,
    .screen_i8_name = "screen_i8_neondot",
    .screen_i4 = dk_screen_i4_portable,
    .screen_i4_name = "screen_i4_portable",
};
