/*
 * dropout.h - kernel: which weights of a row dropout keeps
 *
 * Drawn from Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy
 * as 1, 2, 3"), a function of a counter of 128 bits and a key of 64, so that forward and backward
 * passes, in whatever order and on whatever threads, draw the same:
 *
 *     key      the seed, low word first
 *     counter  low word of key / 4, query, head, high word of key / 4
 *     key      4 i + w is dropped when word w of the answer for key / 4 = i is below 'threshold'
 *
 * Every instruction set draws the same bits.
 */
#ifndef DOTK_KERNEL_DROPOUT_H
#define DOTK_KERNEL_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

enum { DK_PHILOX_ROUNDS = 10 };

/* The multipliers of a round, and what is added to the key after it. */
#define DK_PHILOX_M0 UINT32_C(0xd2511f53)
#define DK_PHILOX_M1 UINT32_C(0xcd9e8d57)
#define DK_PHILOX_W0 UINT32_C(0x9e3779b9)
#define DK_PHILOX_W1 UINT32_C(0xbb67ae85)

/* word = philox4x32-10 of the counter that it holds */
static inline void
dk_philox(uint64_t key, uint32_t word[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);

    for (int round = 0; round < DK_PHILOX_ROUNDS; round++) {
        const uint64_t a = (uint64_t)DK_PHILOX_M0 * word[0];
        const uint64_t b = (uint64_t)DK_PHILOX_M1 * word[2];
        word[0] = (uint32_t)(b >> 32) ^ word[1] ^ k0;
        word[1] = (uint32_t)b;
        word[2] = (uint32_t)(a >> 32) ^ word[3] ^ k1;
        word[3] = (uint32_t)a;
        k0 += DK_PHILOX_W0;
        k1 += DK_PHILOX_W1;
    }
}

struct dk_dropout {
    uint64_t seed;
    uint32_t threshold; /* rate * 2^32 */
    float factor;       /* 1 / (1 - rate): what weights that stay are multiplied by */
};

/* For a rate in [0, 1); the chance to be dropped is within 2^-32 of it. */
static inline struct dk_dropout
dk_dropout(uint64_t seed, float rate)
{
    return (struct dk_dropout){
        .seed = seed,
        .threshold = (uint32_t)((double)rate * 4294967296.0),
        .factor = (float)(1 / (1 - (double)rate)),
    };
}

/*
 * Bit c of the result: the weight of 'query' and key + c stays. key is a multiple of 64; head is
 * batch entry * H + head. Queries and heads count modulo 2^32.
 */
typedef uint64_t
dk_dropout_fn(const struct dk_dropout *dropout, size_t head, size_t query, size_t key);

#endif /* DOTK_KERNEL_DROPOUT_H */
