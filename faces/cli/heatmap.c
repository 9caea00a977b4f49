/*
 * heatmap.c - heat-maps for terminals and browsers; see heatmap.h
 */
#include "heatmap.h"
#include "labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------- */
/*  Colours                                                                  */
/* ------------------------------------------------------------------------- */

/*
 * Support points, equally spaced. Each is a blue-to-yellow mixture whose luminance
 * (0.2126 R + 0.7152 G + 0.0722 B) is about 40 above that of the one before: 31, 75, 117, 163, 214.
 */
static const unsigned char ramp[5][3] = {
    {10, 32, 88}, {66, 76, 106}, {118, 117, 113}, {176, 165, 104}, {246, 220, 62}};

void
heatmap_color(float value, unsigned char rgb[3])
{
    const float inside = value > 0.0f ? fminf(value, 1.0f) : 0.0f; /* NaN compares false: 0 */
    const float position = inside * 4.0f;
    const int left = position < 3.0f ? (int)position : 3;
    const float part = position - (float)left;

    for (int i = 0; i < 3; i++)
        rgb[i] = (unsigned char)lrintf((float)ramp[left][i] * (1.0f - part) +
                                       (float)ramp[left + 1][i] * part);
}

static bool
is_light(const unsigned char rgb[3])
{
    return 0.2126f * rgb[0] + 0.7152f * rgb[1] + 0.0722f * rgb[2] > 110.0f;
}

/* The nearest of the 6 x 6 x 6 colours that a 256-colour terminal has from number 16 on. */
static int
color_256(const unsigned char rgb[3])
{
    static const int levels[6] = {0, 95, 135, 175, 215, 255};
    int index = 16;

    for (int i = 0, weight = 36; i < 3; i++, weight /= 6) {
        int nearest = 0;
        for (int level = 1; level < 6; level++)
            if (abs(levels[level] - rgb[i]) < abs(levels[nearest] - rgb[i]))
                nearest = level;
        index += weight * nearest;
    }
    return index;
}

/* ------------------------------------------------------------------------- */
/*  Terminal                                                                 */
/* ------------------------------------------------------------------------- */

#define NUMBERED_COLS 8 /* up to here each cell shows its number */
#define NUMBER_WIDTH  10
#define LABEL_WIDTH   10

/* The share of the brightest colour. */
static float
shade_of(const struct heatmap *map, float value)
{
    return map->top > 0.0f ? value / map->top : value;
}

/*
 * What stands in a cell: its number, or spaces, or, for want of colours, a dark or light letter;
 * of NaN a question mark.
 */
static void
cell_text(float value, float share, bool numbered, bool shaded, char text[NUMBER_WIDTH + 2])
{
    static const char shades[] = " .:-=+*#%@";
    const float inside = share > 0.0f ? fminf(share, 1.0f) : 0.0f;
    const char shade = shaded ? shades[lrintf(inside * 9.0f)] : ' ';

    if (isnan(value))
        snprintf(text, NUMBER_WIDTH + 2, numbered ? "     ?    " : "??");
    else if (numbered)
        snprintf(text, NUMBER_WIDTH + 2, "%6.1f %% %c", 100.0 * (double)value, shade);
    else
        snprintf(text, NUMBER_WIDTH + 2, "%c%c", shade, shade);
}

static void
print_cell(float value, float share, bool numbered, enum cli_color color, FILE *out)
{
    char text[NUMBER_WIDTH + 2];
    unsigned char rgb[3];

    heatmap_color(share, rgb);
    cell_text(value, share, numbered, color < CLI_COLOR_256, text);
    const int ink = is_light(rgb) ? 16 : 231; /* black or white */
    if (color == CLI_COLOR_TRUE)
        fprintf(out, "\033[48;2;%d;%d;%dm\033[38;5;%dm%s\033[0m", rgb[0], rgb[1], rgb[2], ink,
                text);
    else if (color == CLI_COLOR_256)
        fprintf(out, "\033[48;5;%dm\033[38;5;%dm%s\033[0m", color_256(rgb), ink, text);
    else
        fputs(text, out);
}

static void
print_legend(const struct heatmap *map, enum cli_color color, FILE *out)
{
    fprintf(out, "%*s  0 ", LABEL_WIDTH, "");
    for (int i = 0; i <= 10; i++)
        print_cell((float)i / 10.0f, (float)i / 10.0f, false, color, out);
    fprintf(out, " %.3g\n", map->top > 0.0f ? (double)map->top : 1.0);
}

/* As much of the label as fits, with spaces before it. */
static void
print_label(const char *label, size_t width, FILE *out)
{
    size_t shown = 0, columns, end = 0;

    while (label[end] != '\0') {
        const size_t bytes = label_character(label + end, &columns);
        if (shown + columns > width)
            break;
        shown += columns;
        end += bytes;
    }
    fprintf(out, "%*s%.*s", (int)(width - shown), "", (int)end, label);
}

/* Column names that are written downwards: this line of the characters, of 'lines' in all. */
static void
print_downwards(const struct heatmap *map, size_t line, size_t lines, FILE *out)
{
    fprintf(out, "%*s  ", LABEL_WIDTH, "");
    for (size_t c = 0; c < map->cols; c++) {
        const char *label = map->col_labels[c];
        size_t characters = 0, columns = 0, bytes = 0;
        for (const char *at = label; *at != '\0'; characters++)
            at += label_character(at, &columns);
        const size_t shown = characters < lines ? characters : lines;
        columns = 0;
        if (line + shown >= lines) {
            for (size_t i = 0; i < line + shown - lines; i++)
                label += label_character(label, &columns);
            bytes = label_character(label, &columns);
        }
        fprintf(out, "%.*s%*s", (int)bytes, label, (int)(2 - columns), "");
    }
    fputc('\n', out);
}

static void
print_column_names(const struct heatmap *map, bool numbered, FILE *out)
{
    size_t lines = 0;

    if (numbered) {
        fprintf(out, "%*s  ", LABEL_WIDTH, "");
        for (size_t c = 0; c < map->cols; c++)
            if (map->col_labels != NULL)
                print_label(map->col_labels[c], NUMBER_WIDTH - 1, out);
            else
                fprintf(out, "%*zu ", NUMBER_WIDTH - 2, c);
        fputc('\n', out);
        return;
    }
    for (size_t c = 0; map->col_labels != NULL && c < map->cols; c++) {
        const size_t columns = label_columns(map->col_labels[c]);
        lines = columns > lines ? columns : lines;
    }
    if (lines > LABEL_WIDTH)
        lines = LABEL_WIDTH;
    for (size_t line = 0; line < lines; line++)
        print_downwards(map, line, lines, out);
}

void
heatmap_print(const struct heatmap *map, enum cli_color color, FILE *out)
{
    const bool numbered = map->cols <= NUMBERED_COLS;

    fprintf(out, "%s\n", map->title);
    print_column_names(map, numbered, out);
    for (size_t r = 0; r < map->rows; r++) {
        if (map->row_labels != NULL)
            print_label(map->row_labels[r], LABEL_WIDTH, out);
        else
            fprintf(out, "%*zu", LABEL_WIDTH, r);
        fputs("  ", out);
        for (size_t c = 0; c < map->cols; c++) {
            const float value = map->cells[r * map->stride + c];
            print_cell(value, shade_of(map, value), numbered, color, out);
        }
        fputc('\n', out);
    }
    print_legend(map, color, out);
}

/* ------------------------------------------------------------------------- */
/*  SVG                                                                      */
/* ------------------------------------------------------------------------- */

/* Pixels. A small map has cells with a number in them, a large one plain squares. */
#define MARGIN_LEFT 110
#define MARGIN_TOP  70
#define TITLE       40
#define LEGEND      60
#define CHARACTER   8  /* of a label: more than most are wide */
#define LABEL_MOST  24 /* characters of a label that are shown */

static void
svg_escape(const char *text, FILE *out)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&': fputs("&amp;", out); break;
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
}

static void
svg_text(size_t x, size_t y, const char *more, const char *fill, const char *text, FILE *out)
{
    fprintf(out, "<text x=\"%zu\" y=\"%zu\" %s fill=\"%s\">", x, y, more, fill);
    svg_escape(text, out);
    fputs("</text>\n", out);
}

/* Label i, or the number i, cut short, into 'out'. */
static const char *
svg_label(const char *const *labels, size_t i, char out[4 * LABEL_MOST + 4])
{
    size_t used = 0, columns;

    if (labels == NULL) {
        snprintf(out, 4 * LABEL_MOST + 4, "%zu", i);
        return out;
    }
    for (size_t count = 0; labels[i][used] != '\0' && count < LABEL_MOST; count++)
        used += label_character(labels[i] + used, &columns);
    snprintf(out, 4 * LABEL_MOST + 4, "%.*s%s", (int)used, labels[i],
             labels[i][used] != '\0' ? "…" : "");
    return out;
}

/* The pixels that the longest label takes, at least 'least'. */
static size_t
svg_margin(const char *const *labels, size_t count, size_t least)
{
    char text[4 * LABEL_MOST + 4];
    size_t most = least;

    for (size_t i = 0; labels != NULL && i < count; i++) {
        const size_t pixels = 20 + CHARACTER * label_columns(svg_label(labels, i, text));
        most = pixels > most ? pixels : most;
    }
    return most;
}

struct svg_cell {
    size_t x, y, width, height;
};

/* 'name': what the number is of, NULL: nothing. */
static void
svg_cell(float value, float share, const char *name, struct svg_cell at, bool numbered, FILE *out)
{
    unsigned char rgb[3];
    char text[NUMBER_WIDTH + 2], title[24] = "NaN";

    heatmap_color(share, rgb);
    if (!isnan(value))
        snprintf(title, sizeof(title), "%.6g", (double)value);
    fprintf(out,
            "<rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%zu\" fill=\"#%02x%02x%02x\">"
            "<title>",
            at.x, at.y, at.width, at.height, rgb[0], rgb[1], rgb[2]);
    if (name != NULL)
        svg_escape(name, out);
    fprintf(out, "%s</title></rect>\n", title);
    if (isnan(value))
        snprintf(text, sizeof(text), "?");
    else if (numbered)
        snprintf(text, sizeof(text), "%.1f %%", 100.0 * (double)value);
    else
        return;
    svg_text(at.x + at.width / 2, at.y + at.height / 2 + 5, "text-anchor=\"middle\"",
             is_light(rgb) ? "#000" : "#fff", text, out);
}

/* One row of cells; each says what it is when pointed at, where there are labels. */
static void
svg_row(const struct heatmap *map, size_t r, struct svg_cell first, bool numbered, FILE *out)
{
    for (size_t c = 0; c < map->cols; c++) {
        char row[4 * LABEL_MOST + 4], col[4 * LABEL_MOST + 4], name[sizeof(row) + sizeof(col) + 8];
        const float value = map->cells[r * map->stride + c];
        const struct svg_cell at = {first.x + c * first.width, first.y, first.width, first.height};
        snprintf(name, sizeof(name), "%s → %s: ", svg_label(map->row_labels, r, row),
                 svg_label(map->col_labels, c, col));
        svg_cell(value, shade_of(map, value), map->col_labels != NULL ? name : NULL, at, numbered,
                 out);
    }
}

static void
svg_column_names(const struct heatmap *map, size_t left, size_t top, size_t cell_width,
                 size_t every, FILE *out)
{
    const bool upright = map->col_labels != NULL && map->cols > NUMBERED_COLS;

    for (size_t c = 0; c < map->cols; c += every) {
        char text[4 * LABEL_MOST + 4], more[64] = "text-anchor=\"middle\"";
        const size_t x = left + c * cell_width + cell_width / 2 + (upright ? 5 : 0), y = top - 10;
        if (upright)
            snprintf(more, sizeof(more), "transform=\"rotate(-90 %zu %zu)\"", x, y);
        svg_text(x, y, more, "#222", svg_label(map->col_labels, c, text), out);
    }
}

static void
svg_body(const struct heatmap *map, FILE *out)
{
    const bool numbered = map->cols <= NUMBERED_COLS;
    const size_t cell_width = numbered ? 90 : 14, cell_height = numbered ? 44 : 14;
    const size_t every = numbered ? 1 : 8; /* numbers would overlap */
    const size_t left = svg_margin(map->row_labels, map->rows, MARGIN_LEFT);
    const size_t top = numbered
                           ? MARGIN_TOP
                           : TITLE + svg_margin(map->col_labels, map->cols, MARGIN_TOP - TITLE);
    const size_t wide = map->cols * cell_width > 240 ? map->cols * cell_width : 240;
    const size_t titled = 40 + CHARACTER * label_columns(map->title), drawn = left + wide + 20;
    const size_t width = drawn > titled ? drawn : titled, bottom = top + map->rows * cell_height;
    char text[4 * LABEL_MOST + 4];

    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" "
            "viewBox=\"0 0 %zu %zu\" font-family=\"sans-serif\" font-size=\"13\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            width, bottom + LEGEND, width, bottom + LEGEND);
    svg_text(20, 26, "text-anchor=\"start\"", "#000", map->title, out);
    svg_column_names(map, left, top, cell_width, map->col_labels != NULL ? 1 : every, out);
    for (size_t r = 0; r < map->rows; r++) {
        const struct svg_cell first = {left, top + r * cell_height, cell_width, cell_height};
        if (r % every == 0 || map->row_labels != NULL)
            svg_text(left - 10, first.y + cell_height / 2 + 5, "text-anchor=\"end\"", "#222",
                     svg_label(map->row_labels, r, text), out);
        svg_row(map, r, first, numbered, out);
    }
    svg_text(left - 10, bottom + 37, "text-anchor=\"end\"", "#222", "0", out);
    for (size_t i = 0; i <= 20; i++)
        svg_cell((float)i / 20.0f, (float)i / 20.0f, NULL,
                 (struct svg_cell){left + 10 * i, bottom + 24, 10, 18}, false, out);
    snprintf(text, sizeof(text), "%.3g", map->top > 0.0f ? (double)map->top : 1.0);
    svg_text(left + 220, bottom + 37, "text-anchor=\"start\"", "#222", text, out);
    fputs("</svg>\n", out);
}

int
heatmap_save_svg(const struct cli_args *args, const struct heatmap *map)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return cli_out_of_memory(args);
    svg_body(map, out);
    const int code = fclose(out) == 0 ? cli_save_text(args, OPT_SVG, text, size)
                                      : cli_out_of_memory(args);
    free(text);
    return code;
}
