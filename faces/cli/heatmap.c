/*
 * heatmap.c - heat-maps for terminals and browsers; see heatmap.h
 */
#include "heatmap.h"

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

/*
 * What stands in a cell: its number, or spaces, or, for want of colours, a dark or light letter;
 * of NaN a question mark.
 */
static void
cell_text(float value, bool numbered, bool shaded, char text[NUMBER_WIDTH + 2])
{
    static const char shades[] = " .:-=+*#%@";
    const float inside = value > 0.0f ? fminf(value, 1.0f) : 0.0f;
    const char shade = shaded ? shades[lrintf(inside * 9.0f)] : ' ';

    if (isnan(value))
        snprintf(text, NUMBER_WIDTH + 2, numbered ? "     ?    " : "??");
    else if (numbered)
        snprintf(text, NUMBER_WIDTH + 2, "%6.1f %% %c", 100.0 * (double)value, shade);
    else
        snprintf(text, NUMBER_WIDTH + 2, "%c%c", shade, shade);
}

static void
print_cell(float value, bool numbered, enum cli_color color, FILE *out)
{
    char text[NUMBER_WIDTH + 2];
    unsigned char rgb[3];

    heatmap_color(value, rgb);
    cell_text(value, numbered, color < CLI_COLOR_256, text);
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
print_legend(enum cli_color color, FILE *out)
{
    fprintf(out, "%*s  0 ", LABEL_WIDTH, "");
    for (int i = 0; i <= 10; i++)
        print_cell((float)i / 10.0f, false, color, out);
    fputs(" 1\n", out);
}

static void
print_column_names(const struct heatmap *map, FILE *out)
{
    fprintf(out, "%*s  ", LABEL_WIDTH, "");
    for (size_t c = 0; c < map->cols; c++)
        if (map->col_labels != NULL)
            fprintf(out, "%*.*s", NUMBER_WIDTH - 1, NUMBER_WIDTH - 1, map->col_labels[c]);
        else
            fprintf(out, "%*zu ", NUMBER_WIDTH - 2, c);
    fputc('\n', out);
}

void
heatmap_print(const struct heatmap *map, enum cli_color color, FILE *out)
{
    const bool numbered = map->cols <= NUMBERED_COLS;

    fprintf(out, "%s\n", map->title);
    if (numbered)
        print_column_names(map, out);
    for (size_t r = 0; r < map->rows; r++) {
        if (map->row_labels != NULL)
            fprintf(out, "%*.*s  ", LABEL_WIDTH, LABEL_WIDTH, map->row_labels[r]);
        else
            fprintf(out, "%*zu  ", LABEL_WIDTH, r);
        for (size_t c = 0; c < map->cols; c++)
            print_cell(map->cells[r * map->stride + c], numbered, color, out);
        fputc('\n', out);
    }
    print_legend(color, out);
}

/* ------------------------------------------------------------------------- */
/*  SVG                                                                      */
/* ------------------------------------------------------------------------- */

/* Pixels. A small map has cells with a number in them, a large one plain squares. */
#define MARGIN_LEFT 110
#define MARGIN_TOP  70
#define LEGEND      60

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
svg_text(size_t x, size_t y, const char *anchor, const char *fill, const char *text, FILE *out)
{
    fprintf(out, "<text x=\"%zu\" y=\"%zu\" text-anchor=\"%s\" fill=\"%s\">", x, y, anchor, fill);
    svg_escape(text, out);
    fputs("</text>\n", out);
}

static void
svg_label(const char *const *labels, size_t i, size_t x, size_t y, const char *anchor, FILE *out)
{
    char number[24];

    snprintf(number, sizeof(number), "%zu", i);
    svg_text(x, y, anchor, "#222", labels != NULL ? labels[i] : number, out);
}

static void
svg_cell(float value, size_t x, size_t y, size_t width, size_t height, bool numbered, FILE *out)
{
    unsigned char rgb[3];
    char text[NUMBER_WIDTH + 2], title[24] = "NaN";

    heatmap_color(value, rgb);
    if (!isnan(value))
        snprintf(title, sizeof(title), "%.6g", (double)value);
    fprintf(out,
            "<rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%zu\" fill=\"#%02x%02x%02x\">"
            "<title>%s</title></rect>\n",
            x, y, width, height, rgb[0], rgb[1], rgb[2], title);
    if (isnan(value))
        snprintf(text, sizeof(text), "?");
    else if (numbered)
        snprintf(text, sizeof(text), "%.1f %%", 100.0 * (double)value);
    else
        return;
    svg_text(x + width / 2, y + height / 2 + 5, "middle", is_light(rgb) ? "#000" : "#fff", text,
             out);
}

static void
svg_body(const struct heatmap *map, FILE *out)
{
    const bool numbered = map->cols <= NUMBERED_COLS;
    const size_t cell_width = numbered ? 90 : 14, cell_height = numbered ? 44 : 14;
    const size_t every = numbered ? 1 : 8; /* labels would overlap */
    const size_t wide = map->cols * cell_width > 240 ? map->cols * cell_width : 240;
    const size_t width = MARGIN_LEFT + wide + 20;
    const size_t bottom = MARGIN_TOP + map->rows * cell_height;

    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" "
            "viewBox=\"0 0 %zu %zu\" font-family=\"sans-serif\" font-size=\"13\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            width, bottom + LEGEND, width, bottom + LEGEND);
    svg_text(20, 26, "start", "#000", map->title, out);
    for (size_t c = 0; c < map->cols; c += every)
        svg_label(map->col_labels, c, MARGIN_LEFT + c * cell_width + cell_width / 2,
                  MARGIN_TOP - 10, "middle", out);
    for (size_t r = 0; r < map->rows; r++) {
        const size_t y = MARGIN_TOP + r * cell_height;
        if (r % every == 0)
            svg_label(map->row_labels, r, MARGIN_LEFT - 10, y + cell_height / 2 + 5, "end", out);
        for (size_t c = 0; c < map->cols; c++)
            svg_cell(map->cells[r * map->stride + c], MARGIN_LEFT + c * cell_width, y, cell_width,
                     cell_height, numbered, out);
    }
    svg_text(MARGIN_LEFT - 10, bottom + 37, "end", "#222", "0", out);
    for (size_t i = 0; i <= 20; i++)
        svg_cell((float)i / 20.0f, MARGIN_LEFT + 10 * i, bottom + 24, 10, 18, false, out);
    svg_text(MARGIN_LEFT + 220, bottom + 37, "start", "#222", "1", out);
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
