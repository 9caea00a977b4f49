/* texts.h - a made-up collection about three subjects, the same for every run */
#ifndef DOTK_TEST_TEXT_TEXTS_H
#define DOTK_TEST_TEXT_TEXTS_H

#include "support.h"

#include <dotk/text.h>

enum { MADE_TEXTS = 120, MADE_BYTES = 400 };

/* Words that occur with one another: a text takes them from one line, and some of anything. */
static const char *const made_subjects[3][12] = {
    {"ship", "harbour", "sail", "anchor", "captain", "wave", "crew", "mast", "tide", "deck", "port",
     "keel"},
    {"bread", "flour", "oven", "yeast", "baker", "crust", "dough", "loaf", "knead", "rye", "wheat",
     "bake"},
    {"violin", "string", "bow", "concert", "music", "melody", "tune", "orchestra", "note", "chord",
     "tempo", "score"},
};

struct made {
    char text[MADE_TEXTS][MADE_BYTES];
    dotk_text texts[MADE_TEXTS];
};

/* Text i is about subject i % 3; every tenth is an identifier that only it has. */
static inline void
make_texts(struct made *made)
{
    uint64_t seed = 42;

    for (size_t i = 0; i < MADE_TEXTS; i++) {
        size_t size = 0;
        for (size_t j = 0; j < 25; j++) {
            const size_t subject = test_random_below(&seed, 8) == 0 ? test_random_below(&seed, 3)
                                                                    : i % 3;
            size += (size_t)snprintf(made->text[i] + size, MADE_BYTES - size, "%s%s",
                                     made_subjects[subject][test_random_below(&seed, 12)],
                                     j % 5 == 4 ? "s.\n" : " ");
        }
        if (i % 10 == 0)
            size += (size_t)snprintf(made->text[i] + size, MADE_BYTES - size, "number_%zux\n", i);
        made->texts[i] = (dotk_text){.text = made->text[i], .size = size};
    }
}

#endif /* DOTK_TEST_TEXT_TEXTS_H */
