/* write.h - what the writers of vector files share */
#ifndef DOTK_IO_WRITE_H
#define DOTK_IO_WRITE_H

#include "io/read.h"

/*
 * Stores values in the element's form, on any boundary; halves are rounded to nearest even. Returns
 * how many: fewer than 'count', and nothing is stored, when one cannot be held (not whole or out of
 * range in u8 and i8, where -0 is 0; finite and beyond the range of f16 and bf16), which is
 * then the number of the first such value. 'element' is F32, F16, BF16, U8 or I8.
 */
size_t dk_encode(enum dk_element element, const float *from, size_t count, uint8_t *out);

enum { DK_NPY_HEADER = 256 + 24 * DOTK_MAX_AXES };

/*
 * Writes a .npy header, version 1, into 'out' and returns its length. As NumPy has it, it is padded
 * with spaces so that the values start on a multiple of 64 bytes, where they can be mapped.
 */
size_t
dk_npy_header(const char *descr, size_t axes, const size_t *shape, uint8_t out[DK_NPY_HEADER]);

#endif /* DOTK_IO_WRITE_H */
