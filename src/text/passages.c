/*
 * passages.c - a text cut into pieces of the size of an answer
 *
 * The usual cutter takes windows of so many words with a fixed overlap. This one follows the
 * text: paragraphs are packed into a passage until it has about TARGET bytes, a heading opens a
 * new one, and only a paragraph that is too long by itself is cut inside, at line ends where it
 * has any; only there do pieces overlap, by one line, so that a sentence that straddles the cut
 * is whole in one of them.
 *
 * TARGET: with half as many bytes abstracts fall apart and retrieval suffers, with twice as many
 * a passage is more than a reader wants to see for an answer.
 */
#include "text/passages.h"

#include "platform/memory.h"
#include "platform/status.h"

#include <stdbool.h>
#include <string.h>

enum { TARGET = 800, MOST = 1200, OVERLAP = 160 };

struct line {
    size_t begin, end; /* without the line feed and a carriage return before it */
    size_t next;       /* where the next line begins */
};

struct cutter {
    const char *text;
    size_t size;
    bool headings, fences;
    dk_passage_fn *take;
    void *user;
    dotk_passage open;                 /* empty when end is 0 */
    bool bare;                         /* it is a heading and nothing else yet */
    size_t heading_begin, heading_end; /* of the present section */
};

static struct line
line_at(const struct cutter *c, size_t begin)
{
    const char *const feed = memchr(c->text + begin, '\n', c->size - begin);
    struct line line = {.begin = begin, .end = c->size, .next = c->size};

    if (feed != NULL) {
        line.end = (size_t)(feed - c->text);
        line.next = line.end + 1;
    }
    if (line.end > begin && c->text[line.end - 1] == '\r')
        line.end--;
    return line;
}

static bool
is_blank(const struct cutter *c, const struct line *line)
{
    for (size_t i = line->begin; i < line->end; i++)
        if (c->text[i] != ' ' && c->text[i] != '\t' && c->text[i] != '\f')
            return false;
    return true;
}

/* "## Heading": where its text begins; 0 when the line is none. */
static size_t
heading_at(const struct cutter *c, const struct line *line)
{
    size_t at = line->begin;

    while (at < line->end && at - line->begin < 6 && c->text[at] == '#')
        at++;
    if (at == line->begin || at == line->end || (c->text[at] != ' ' && c->text[at] != '\t'))
        return 0;
    while (at < line->end && (c->text[at] == ' ' || c->text[at] == '\t'))
        at++;
    return at;
}

/* ``` or ~~~, indented by at most three spaces. */
static bool
is_fence(const struct cutter *c, const struct line *line)
{
    size_t at = line->begin;

    while (at < line->end && at - line->begin < 3 && c->text[at] == ' ')
        at++;
    return line->end - at >= 3 && (c->text[at] == '`' || c->text[at] == '~') &&
           c->text[at + 1] == c->text[at] && c->text[at + 2] == c->text[at];
}

/* Hands on the open passage, if there is one. */
static dotk_status
flush(struct cutter *c)
{
    if (c->open.end == 0)
        return DOTK_OK;
    const dotk_status status = c->take(c->user, &c->open);
    c->open = (dotk_passage){0};
    return status;
}

/* Adds bytes begin .. end - 1 on the given lines to the open passage. */
static void
extend(struct cutter *c, size_t begin, size_t end, size_t line, size_t end_line)
{
    if (c->open.end == 0) {
        c->open = (dotk_passage){.begin = begin, .line = line};
        if (begin >= c->heading_end) {
            c->open.heading_begin = c->heading_begin;
            c->open.heading_end = c->heading_end;
        }
    }
    c->open.end = end;
    c->open.end_line = end_line;
    c->bare = begin < c->heading_begin && end == c->heading_end;
}

/* Where to cut a line that is too long: after a space not far before 'limit', or there. */
static size_t
cut_between_words(const struct cutter *c, size_t begin, size_t limit)
{
    for (size_t at = limit; at > begin + TARGET / 2; at--)
        if (c->text[at - 1] == ' ' || c->text[at - 1] == '\t')
            return at;
    while (limit > begin + TARGET / 2 && ((unsigned char)c->text[limit] & 0xc0) == 0x80)
        limit--;
    return limit;
}

/* A line of more than MOST bytes, as passages of its own. */
static dotk_status
cut_line(struct cutter *c, const struct line *line, size_t number)
{
    size_t begin = line->begin;
    dotk_status status = flush(c);

    while (status == DOTK_OK && line->end - begin > MOST) {
        const size_t end = cut_between_words(c, begin, begin + TARGET);
        extend(c, begin, end, number, number);
        status = flush(c);
        begin = end;
    }
    if (status == DOTK_OK)
        extend(c, begin, line->end, number, number);
    return status;
}

/* A paragraph too long for one passage: its lines begin at 'begin' and end before 'end'. */
static dotk_status
cut_paragraph(struct cutter *c, size_t begin, size_t end, size_t number)
{
    struct line before = {0};
    dotk_status status = flush(c);

    for (size_t at = begin; status == DOTK_OK && at < end; number++) {
        const struct line line = line_at(c, at);
        at = line.next;
        if (line.end - line.begin > MOST) {
            status = cut_line(c, &line, number);
            before = (struct line){0};
            continue;
        }
        const bool share = before.end > before.begin && before.end - before.begin <= OVERLAP;
        /* A passage that is the shared line and no more would be said twice: it goes on. */
        if (c->open.end != 0 && line.end - c->open.begin > TARGET &&
            !(share && c->open.begin == before.begin)) {
            status = flush(c);
            if (share)
                extend(c, before.begin, before.end, number - 1, number - 1);
        }
        extend(c, line.begin, line.end, number, number);
        before = line;
    }
    return status;
}

/*
 * A paragraph of lines number .. last. A heading stays with what follows it, or is left out
 * where that is too long: those passages will name it as theirs.
 */
static dotk_status
add_paragraph(struct cutter *c, size_t begin, size_t end, size_t number, size_t last)
{
    const size_t size = end - begin;

    if (c->bare && end - c->open.begin > MOST)
        c->open = (dotk_passage){0};
    if (c->open.end != 0 && !c->bare && end - c->open.begin > TARGET) {
        const dotk_status status = flush(c);
        if (status != DOTK_OK)
            return status;
    }
    if (size > MOST)
        return cut_paragraph(c, begin, end, number);
    extend(c, begin, end, number, last);
    return DOTK_OK;
}

dotk_status
dk_passages_cut(const char *text, size_t size, dotk_text_format format, size_t first_line,
                dk_passage_fn *take, void *user)
{
    struct cutter c = {
        .text = text,
        .size = size,
        .headings = format != DOTK_TEXT_PLAIN,
        .fences = format == DOTK_TEXT_MARKDOWN,
        .take = take,
        .user = user,
    };
    size_t begin = 0, end = 0, begin_line = 0; /* the present paragraph; none when end is 0 */
    size_t number = first_line;
    bool fenced = false;
    dotk_status status = DOTK_OK;

    for (size_t at = 0; at < size && status == DOTK_OK; number++) {
        const struct line line = line_at(&c, at);
        const size_t heading = c.headings && !fenced ? heading_at(&c, &line) : 0;
        at = line.next;
        if (c.fences && is_fence(&c, &line))
            fenced = !fenced;
        const bool blank = !fenced && is_blank(&c, &line);
        if ((blank || heading != 0) && end != 0) {
            status = add_paragraph(&c, begin, end, begin_line, number - 1);
            end = 0;
        }
        if (blank || status != DOTK_OK)
            continue;
        if (heading != 0) {
            status = flush(&c);
            c.heading_begin = heading;
            c.heading_end = line.end;
        }
        if (end == 0) {
            begin = line.begin;
            begin_line = number;
        }
        end = line.end;
    }
    if (status == DOTK_OK && end != 0)
        status = add_paragraph(&c, begin, end, begin_line, number - 1);
    return status == DOTK_OK ? flush(&c) : status;
}

/* ------------------------------------------------------------------------- */
/*  As a list                                                                */
/* ------------------------------------------------------------------------- */

struct list {
    dotk_passages *passages;
    size_t capacity;
};

static dotk_status
append(void *user, const dotk_passage *passage)
{
    struct list *const list = user;
    dotk_passages *const passages = list->passages;

    if (passages->count == list->capacity) {
        const size_t capacity = dk_max(16, 2 * list->capacity);
        dotk_passage *const items = dk_alloc_array(capacity, sizeof *items);
        if (items == NULL)
            return dk_fail_memory(capacity * sizeof *items, "passages");
        if (passages->count > 0)
            memcpy(items, passages->items, passages->count * sizeof *items);
        dk_free(passages->items);
        passages->items = items;
        list->capacity = capacity;
    }
    passages->items[passages->count++] = *passage;
    return DOTK_OK;
}

dotk_status
dotk_passages_cut(const char *text, size_t size, dotk_text_format format, dotk_passages **out)
{
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the passages");
    *out = NULL;
    if (text == NULL && size > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "text is NULL: pass %zu bytes", size);
    if (format != DOTK_TEXT_PLAIN && format != DOTK_TEXT_MARKDOWN && format != DOTK_TEXT_HTML)
        return dk_fail(DOTK_BAD_ARGUMENT, "format is %d: use a DOTK_TEXT_ constant", (int)format);
    struct list list = {.passages = dk_alloc(sizeof *list.passages)};
    if (list.passages == NULL)
        return dk_fail_memory(sizeof *list.passages, "passages");
    *list.passages = (dotk_passages){0};
    const dotk_status status = dk_passages_cut(text, size, format, 1, append, &list);
    if (status != DOTK_OK) {
        dotk_passages_destroy(list.passages);
        return status;
    }
    *out = list.passages;
    return DOTK_OK;
}

void
dotk_passages_destroy(dotk_passages *passages)
{
    if (passages == NULL)
        return;
    dk_free(passages->items);
    dk_free(passages);
}
