/*
 * half.h - numbers of 16 bits: f16 (IEEE binary16) and bf16 (the upper half of an f32)
 *
 *            sign  exponent  fraction   largest     smallest > 0
 *     f16      1       5        10      65504       2^-24
 *     bf16     1       8         7      3.39e38     2^-133
 *
 * The contract, which every faster form keeps bit by bit:
 *
 * To f32       Exact: every half has its own f32. Denormals are kept.
 * From f32     To the nearest half, of two equally near ones to the one whose last bit is 0.
 *              Denormals are kept, on either side (vcvtneps2bf16 does not do that). What rounds
 *              beyond the largest half becomes infinity: for f16 from 65520 on, for bf16 from
 *              0x1.ffp127 on.
 * NaN          Stays NaN, with its sign and the upper bits of its payload, and is quiet
 *              afterwards: what F16C does. bf16 to f32 changes nothing, not even that.
 * Mode         Integer arithmetic: the rounding mode and FTZ of the caller do not matter.
 */
#ifndef DOTK_CODEC_HALF_H
#define DOTK_CODEC_HALF_H

#include <stddef.h>
#include <stdint.h>

float dk_f16_to_f32(uint16_t half);
uint16_t dk_f32_to_f16(float value);
float dk_bf16_to_f32(uint16_t half);
uint16_t dk_f32_to_bf16(float value);

/*
 * 'count' of them. Halves are 2 bytes each, little-endian, on any boundary, as they lie in files;
 * 'from' and 'out' do not overlap.
 */
void dk_f16_to_f32_array(const void *from, size_t count, float *out);
void dk_f32_to_f16_array(const float *from, size_t count, void *out);
void dk_bf16_to_f32_array(const void *from, size_t count, float *out);
void dk_f32_to_bf16_array(const float *from, size_t count, void *out);

#endif /* DOTK_CODEC_HALF_H */
