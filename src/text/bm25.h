/*
 * bm25.h - the term weights that shortlist and embedder share
 *
 * Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with
 * two constants, K1 the customary one and B somewhat lower, since passages are of a size by
 * design; scaled so that a term's part runs from 0 to 1.
 *
 * What the book counts in documents is counted in *stretches* here: up to DK_STRETCH passages in
 * a row of one document. Counted in passages, a term that a document is about, and therefore has in
 * each of its passages, would seem more common than one that two documents mention (nDCG@10 on
 * CACM 0.481 and 0.511); counted in documents, nothing would be rare in a folder of five files.
 */
#ifndef DOTK_TEXT_BM25_H
#define DOTK_TEXT_BM25_H

#include <math.h>

#define DK_BM25_K1 1.2f
#define DK_BM25_B  0.5f

enum { DK_STRETCH = 4 };

/* How present a term is that occurs 'count' times in a passage of 'length' terms. */
static inline float
dk_bm25_presence(float count, float length, float mean_length)
{
    const float relative = mean_length > 0 ? length / mean_length : 1;
    return count / (count + DK_BM25_K1 * (1 - DK_BM25_B + DK_BM25_B * relative));
}

/* How telling a term is that occurs in 'frequency' of 'stretches'. */
static inline float
dk_bm25_telling(double frequency, double stretches)
{
    const double others = stretches > frequency ? stretches - frequency : 0;
    return (float)log(1 + (others + 0.5) / (frequency + 0.5));
}

#endif /* DOTK_TEXT_BM25_H */
