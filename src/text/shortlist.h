/* shortlist.h - what the embedder asks a shortlist */
#ifndef DOTK_TEXT_SHORTLIST_H
#define DOTK_TEXT_SHORTLIST_H

#include <dotk/text.h>

#include "text/query.h"

/* The shortlist's query. */
const struct dk_query *dk_shortlist_query(const dotk_shortlist *shortlist);

/* How many stretches of text (bm25.h) were seen. */
uint64_t dk_shortlist_stretches(const dotk_shortlist *shortlist);

/* In how many of them a term occurs; a few too many where hashes collide. */
uint32_t dk_shortlist_frequency(const dotk_shortlist *shortlist, uint64_t term);

/* The mean number of terms in a passage; 0 before the first one. */
double dk_shortlist_mean_length(const dotk_shortlist *shortlist);

#endif /* DOTK_TEXT_SHORTLIST_H */
