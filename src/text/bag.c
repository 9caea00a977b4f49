/* bag.c - the terms of a text and how often each occurs */
#include "text/bag.h"

#include "platform/status.h"
#include "text/grow.h"

/* Doubles the table and puts every entry in again. */
static bool
grow_table(struct dk_bag *bag)
{
    const size_t size = dk_max(256, 2 * bag->table_size);
    uint32_t *const table = dk_alloc_array(size, sizeof *table);

    if (table == NULL)
        return false;
    memset(table, 0, size * sizeof *table);
    for (size_t i = 0; i < bag->count; i++) {
        size_t at = bag->entry[i].hash & (size - 1);
        while (table[at] != 0)
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)(i + 1);
    }
    dk_free(bag->table);
    bag->table = table;
    bag->table_size = size;
    return true;
}

static bool
add_term(struct dk_bag *bag, const struct dk_term *term)
{
    if (2 * (bag->count + 1) > bag->table_size && !grow_table(bag))
        return false;
    size_t at = term->hash & (bag->table_size - 1);
    for (; bag->table[at] != 0; at = (at + 1) & (bag->table_size - 1)) {
        struct dk_bag_entry *const entry = &bag->entry[bag->table[at] - 1];
        if (entry->hash == term->hash) {
            entry->count++;
            return true;
        }
    }
    if (!DK_GROW(bag->entry, bag->count, 1, &bag->capacity) ||
        !DK_GROW(bag->bytes, bag->used, term->size, &bag->room))
        return false;
    memcpy(bag->bytes + bag->used, term->bytes, term->size);
    bag->entry[bag->count++] = (struct dk_bag_entry){term->hash, 1, (uint32_t)bag->used,
                                                     term->size};
    bag->table[at] = (uint32_t)bag->count;
    bag->used += term->size;
    return true;
}

static bool
add_text(struct dk_bag *bag, const char *text, size_t size)
{
    struct dk_run run = {0};

    while (dk_run_next(text, size, run.end, &run)) {
        dk_run_terms(text + run.begin, run.end - run.begin, false, &bag->terms);
        for (size_t i = 0; i < bag->terms.count; i++) {
            bag->length += bag->terms.term[i].part;
            if (!add_term(bag, &bag->terms.term[i]))
                return false;
        }
    }
    return true;
}

dotk_status
dk_bag_fill(struct dk_bag *bag, const dotk_text *text)
{
    bag->count = bag->used = bag->length = 0;
    if (bag->table != NULL)
        memset(bag->table, 0, bag->table_size * sizeof *bag->table);
    if ((text->title != NULL && !add_text(bag, text->title, text->title_size)) ||
        !add_text(bag, text->text, text->size))
        return dk_fail_memory(text->size, "the terms of a text");
    return DOTK_OK;
}

void
dk_bag_release(struct dk_bag *bag)
{
    dk_free(bag->entry);
    dk_free(bag->table);
    dk_free(bag->bytes);
    bag->entry = NULL;
    bag->table = NULL;
    bag->bytes = NULL;
    bag->count = bag->capacity = bag->table_size = bag->used = bag->room = 0;
}
