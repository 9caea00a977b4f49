/* pair_body.h - the body of every ISA's pair kernels; see pair.h */
#include "kernel/kernel.h"

/* gcc 12 would turn four into lanes, gathered one by one: three times slower. */
enum { SIDE_BY_SIDE = 3 };

/* Dimensions from .. to - 1 of each of the first 'chains' chains. */
DK_INLINE PAIR_TARGET void
pair_steps(enum dk_score score, size_t chains, const float *a, const float *b, size_t from,
           size_t to, float sum[SIDE_BY_SIDE])
{
    for (size_t d = from; d < to; d++) {
        DK_UNROLL
        for (size_t c = 0; c < chains; c++) {
            const float x = a[c * DK_CHAIN + d], y = b[c * DK_CHAIN + d];
            if (score == DK_SCORE_DOT)
                sum[c] = PAIR_FMA(x, y, sum[c]);
            else
                sum[c] = PAIR_FMA(-(x - y), x - y, sum[c]);
        }
    }
}

/* pair_steps() with the number of chains known to the compiler. */
DK_INLINE PAIR_TARGET void
pair_chains(enum dk_score score, size_t chains, const float *a, const float *b, size_t from,
            size_t to, float sum[SIDE_BY_SIDE])
{
    switch (chains) {
    case 3: pair_steps(score, 3, a, b, from, to, sum); break;
    case 2: pair_steps(score, 2, a, b, from, to, sum); break;
    case 1: pair_steps(score, 1, a, b, from, to, sum); break;
    default: break;
    }
}

DK_INLINE PAIR_TARGET float
pair(enum dk_score score, const float *a, const float *b, size_t dim)
{
    float total = 0;

    for (size_t start = 0; start < dim; start += SIDE_BY_SIDE * DK_CHAIN) {
        const size_t left = dim - start;
        const size_t whole = left / DK_CHAIN < SIDE_BY_SIDE ? left / DK_CHAIN : SIDE_BY_SIDE;
        const size_t rest = whole < SIDE_BY_SIDE ? left % DK_CHAIN : 0; /* of one more chain */
        float sum[SIDE_BY_SIDE] = {0};

        if (rest > 0)
            pair_chains(score, whole + 1, a + start, b + start, 0, rest, sum);
        pair_chains(score, whole, a + start, b + start, rest, DK_CHAIN, sum);
        for (size_t c = 0; c < whole + (rest > 0); c++)
            total = start == 0 && c == 0 ? sum[0] : total + sum[c];
    }
    return total;
}
