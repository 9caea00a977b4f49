/* half.h - arrays of f16 and bf16 as they lie in files; one half: kernel/half.h */
#ifndef DOTK_CODEC_HALF_H
#define DOTK_CODEC_HALF_H

#include <stddef.h>

#include "kernel/half.h"

/*
 * 'count' of them. Halves are 2 bytes each, little-endian, on any boundary, as they lie in files;
 * 'from' and 'out' do not overlap.
 */
void dk_f16_to_f32_array(const void *from, size_t count, float *out);
void dk_f32_to_f16_array(const float *from, size_t count, void *out);
void dk_bf16_to_f32_array(const void *from, size_t count, float *out);
void dk_f32_to_bf16_array(const float *from, size_t count, void *out);

#endif /* DOTK_CODEC_HALF_H */
