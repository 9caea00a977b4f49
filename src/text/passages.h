/* passages.h - cutting a text, one passage at a time */
#ifndef DOTK_TEXT_PASSAGES_H
#define DOTK_TEXT_PASSAGES_H

#include <dotk/text.h>

/* Takes a passage; what it returns, unless DOTK_OK, ends the cutting. */
typedef dotk_status dk_passage_fn(void *user, const dotk_passage *passage);

/* Cuts as dotk_passages_cut() does; the first line is number 'first_line'. */
dotk_status dk_passages_cut(const char *text, size_t size, dotk_text_format format,
                            size_t first_line, dk_passage_fn *take, void *user);

#endif /* DOTK_TEXT_PASSAGES_H */
