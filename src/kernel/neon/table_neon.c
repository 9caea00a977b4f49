/* table_neon.c - the neon column of struct dk_kernels */
#include "kernel/neon/kernels_neon.h"
#include "kernel/portable/kernels_portable.h"

const struct dk_kernels dk_kernels_neon = {
    .isa = "neon",
    DK_NEON_LINES,
    .screen_i8 = dk_screen_i8_neon,
    .screen_i8_name = "screen_i8_neon",
    .screen_i4 = dk_screen_i4_portable,
    .screen_i4_name = "screen_i4_portable",
};
