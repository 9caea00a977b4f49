/*
 * bm25.h - the term weights that shortlist and embedder share
 *
 * Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with
 * the two customary constants; scaled so that a term's part runs from 0 to 1.
 */
#ifndef DOTK_TEXT_BM25_H
#define DOTK_TEXT_BM25_H

#include <math.h>

#define DK_BM25_K1 1.2f
#define DK_BM25_B  0.75f

/* How present a term is that occurs 'count' times in a passage of 'length' terms. */
static inline float
dk_bm25_presence(float count, float length, float mean_length)
{
    const float relative = mean_length > 0 ? length / mean_length : 1;
    return count / (count + DK_BM25_K1 * (1 - DK_BM25_B + DK_BM25_B * relative));
}

/* How telling a term is that occurs in 'frequency' of 'passages' passages. */
static inline float
dk_bm25_telling(double frequency, double passages)
{
    const double others = passages > frequency ? passages - frequency : 0;
    return (float)log(1 + (others + 0.5) / (frequency + 0.5));
}

#endif /* DOTK_TEXT_BM25_H */
