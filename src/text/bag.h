/* bag.h - the terms of a text and how often each occurs */
#ifndef DOTK_TEXT_BAG_H
#define DOTK_TEXT_BAG_H

#include <dotk/text.h>

#include "text/terms.h"

struct dk_bag_entry {
    uint64_t hash;
    uint32_t count;
    uint32_t bytes; /* where its bytes begin in the bag's */
    uint32_t size;
};

/* Zero it before the first use; a bag that is filled again reuses its memory. */
struct dk_bag {
    struct dk_bag_entry *entry; /* in the order of their first occurrence */
    size_t count, capacity;
    uint32_t *table; /* open addressing: entry + 1, 0 is free */
    size_t table_size;
    char *bytes;
    size_t used, room;
    size_t length; /* terms that count */
    struct dk_terms terms;
};

/* Fills the bag with a text and its title. Errors: DOTK_NO_MEMORY. */
dotk_status dk_bag_fill(struct dk_bag *bag, const dotk_text *text);

void dk_bag_release(struct dk_bag *bag);

#endif /* DOTK_TEXT_BAG_H */
