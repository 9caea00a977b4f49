/* grow.h - arrays that grow */
#ifndef DOTK_TEXT_GROW_H
#define DOTK_TEXT_GROW_H

#include "platform/memory.h"

#include <string.h>

/*
 * Makes room for 'more' elements behind the first 'count' of *block, doubling its capacity where
 * it has to move. Returns false, with everything as it was, when memory ran out.
 */
static inline bool
dk_grow(void **block, size_t element, size_t count, size_t more, size_t *capacity)
{
    size_t wanted, doubled;

    if (!dk_add(count, more, &wanted))
        return false;
    if (wanted <= *capacity)
        return true;
    if (!dk_mul(*capacity, 2, &doubled))
        return false;
    const size_t room = dk_max(dk_max(wanted, doubled), 16);
    void *const grown = dk_alloc_array(room, element);
    if (grown == NULL)
        return false;
    if (count > 0)
        memcpy(grown, *block, count * element);
    dk_free(*block);
    *block = grown;
    *capacity = room;
    return true;
}

/* dk_grow() for a pointer of any type. */
#define DK_GROW(pointer, count, more, capacity)                                                    \
    dk_grow_pointer(&(pointer), sizeof *(pointer), count, more, capacity)

static inline bool
dk_grow_pointer(void *pointer, size_t element, size_t count, size_t more, size_t *capacity)
{
    void *block;
    memcpy(&block, pointer, sizeof block);
    const bool grown = dk_grow(&block, element, count, more, capacity);
    memcpy(pointer, &block, sizeof block);
    return grown;
}

#endif /* DOTK_TEXT_GROW_H */
