/*
 * grep_print.c - hits as text and as JSON
 *
 * As text, a hit is a line with file, line and score, and the passage below it. Of a long passage
 * the lines are shown where most of the query's words are; JSON has it whole.
 */
#include "grep.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHOWN_LINES = 8,
    SHOWN_SPANS = 256, /* of a passage: it has some 800 bytes */
};

/* Escape sequences, all empty where there is no colour. */
struct palette {
    const char *path, *line, *score, *lit, *plain;
};

static struct palette
palette_for(enum cli_color color)
{
    if (color == CLI_COLOR_NONE)
        return (struct palette){"", "", "", "", ""};
    return (struct palette){"\033[35m", "\033[32m", "\033[36m", "\033[1;31m", "\033[0m"};
}

/* Bytes that could move the cursor or colour the terminal become '?'. */
static void
put_bytes(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i];
        const bool control = (c < 0x20 && c != '\t') || c == 0x7f;
        /* C1 controls are U+0080 - U+009F: two bytes in UTF-8. */
        const bool wide_control = c == 0xc2 && i + 1 < size && (unsigned char)text[i + 1] >= 0x80 &&
                                  (unsigned char)text[i + 1] < 0xa0;
        putchar(control || wide_control ? '?' : c);
        i += wide_control;
    }
}

/* Prints bytes begin .. end - 1 of a text, the spans in it lit. */
static void
put_lit(const char *text, size_t begin, size_t end, const dotk_span *spans, size_t count,
        const struct palette *colors)
{
    for (size_t i = 0; i < count && begin < end; i++) {
        if (spans[i].end <= begin || spans[i].begin >= end)
            continue;
        const size_t from = spans[i].begin > begin ? spans[i].begin : begin;
        const size_t to = spans[i].end < end ? spans[i].end : end;
        put_bytes(text + begin, from - begin);
        fputs(colors->lit, stdout);
        put_bytes(text + from, to - from);
        fputs(colors->plain, stdout);
        begin = to;
    }
    put_bytes(text + begin, end - begin);
}

/* Where the line that begins at 'begin' ends. */
static size_t
line_end(const struct grep_hit *hit, size_t begin)
{
    const char *const feed = memchr(hit->text + begin, '\n', hit->size - begin);

    return feed != NULL ? (size_t)(feed - hit->text) : hit->size;
}

static size_t
spans_before(const dotk_span *spans, size_t count, size_t end)
{
    size_t before = 0;

    while (before < count && spans[before].begin < end)
        before++;
    return before;
}

/* The first of the SHOWN_LINES lines that have the most spans; 0 when all are shown. */
static size_t
first_shown(const struct grep_hit *hit, const dotk_span *spans, size_t count)
{
    size_t ends[SHOWN_LINES] = {0}; /* spans up to the end of the last lines */
    size_t best = 0, most = 0, line = 0;

    for (size_t begin = 0; begin <= hit->size; line++) {
        const size_t end = line_end(hit, begin);
        const size_t up_to = spans_before(spans, count, end);
        const size_t left_out = line >= SHOWN_LINES ? ends[line % SHOWN_LINES] : 0;
        if (up_to - left_out > most) {
            most = up_to - left_out;
            best = line >= SHOWN_LINES ? line + 1 - SHOWN_LINES : 0;
        }
        ends[line % SHOWN_LINES] = up_to;
        begin = end + 1;
    }
    return best;
}

static void
print_passage(const struct grep_hit *hit, const dotk_span *spans, size_t count,
              const struct palette *colors)
{
    const size_t first = first_shown(hit, spans, count);
    size_t line = 0, begin = 0;

    for (; begin <= hit->size && line < first + SHOWN_LINES; line++) {
        const size_t end = line_end(hit, begin);
        if (line >= first) {
            printf("%s%6zu%s  ", colors->line, hit->line + line, colors->plain);
            const size_t size = end > begin && hit->text[end - 1] == '\r' ? end - 1 : end;
            put_lit(hit->text, begin, size, spans, count, colors);
            putchar('\n');
        }
        begin = end + 1;
    }
    if (begin <= hit->size)
        printf("%8s...\n", "");
}

int
grep_print(const struct cli_args *args, const dotk_shortlist *shortlist,
           const struct grep_hit *hits, size_t count)
{
    const struct palette colors = palette_for(cli_color(args, stdout));
    dotk_span spans[SHOWN_SPANS];

    for (size_t i = 0; i < count; i++) {
        const struct grep_hit *const hit = &hits[i];
        size_t found;
        const dotk_status status = dotk_shortlist_spans(shortlist, hit->text, hit->size, spans,
                                                        SHOWN_SPANS, &found);
        if (status != DOTK_OK)
            return cli_report(args, status, NULL);
        if (i > 0)
            putchar('\n');
        fputs(colors.path, stdout);
        put_bytes(hit->path, strlen(hit->path));
        printf("%s:%s%zu%s  %s%.3f%s\n", colors.plain, colors.line, hit->line, colors.plain,
               colors.score, (double)hit->score, colors.plain);
        print_passage(hit, spans, found < SHOWN_SPANS ? found : SHOWN_SPANS, &colors);
    }
    return CLI_OK;
}

/* ------------------------------------------------------------------------- */
/*  JSON                                                                     */
/* ------------------------------------------------------------------------- */

static json_t *
hit_json(size_t rank, const struct grep_hit *hit)
{
    json_t *const json = cli_json_hit(rank, hit->id, hit->score);
    json_t *const source = json_pack("{s:o, s:I, s:I}", "path", cli_json_text(hit->path), "line",
                                     (json_int_t)hit->line, "end_line", (json_int_t)hit->end_line);

    if (json_object_set_new(json, "text", cli_json_text(hit->text)) != 0 ||
        json_object_set_new(json, "source", source) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}

int
grep_print_json(const struct cli_args *args, const struct grep_hit *hits, size_t count)
{
    json_t *const list = json_array();

    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, hit_json(i + 1, &hits[i])) != 0) {
            json_decref(list);
            return cli_out_of_memory(args);
        }
    return cli_json_print(args,
                          json_pack("{s:s, s:[{s:o, s:o}]}", "schema", CLI_SCHEMA_SEARCH, "results",
                                    "query", cli_json_text(args->operand[0]), "hits", list));
}
