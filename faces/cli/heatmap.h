/*
 * heatmap.h - a matrix of numbers in 0 .. 1 as coloured cells
 *
 * In the terminal and as an SVG picture. The colours run from dark blue over grey to yellow:
 * lightness rises evenly, and blue against yellow is what the common kinds of colour blindness
 * leave apart, so the picture also works in grey.
 */
#ifndef DOTK_CLI_HEATMAP_H
#define DOTK_CLI_HEATMAP_H

#include "cli.h"

struct heatmap {
    const float *cells; /* (rows, cols), rows 'stride' apart; drawn as if within 0 .. 1 */
    size_t rows, cols, stride;
    float top; /* the value that the brightest colour stands for; 0: 1 */
    const char *title;
    const char *const *row_labels; /* (rows), or NULL: numbers */
    const char *const *col_labels; /* (cols), or NULL: numbers */
};

/* Red, green and blue, 0 .. 255, of a value in 0 .. 1 (others, and NaN, are moved inside). */
void heatmap_color(float value, unsigned char rgb[3]);

/*
 * Prints the map: with few columns each cell has its number in it, with many it is two characters
 * wide and labels of columns are written downwards. Without colours a cell is a character that is
 * the darker the larger the value. NaN is a question mark, here and in SVG.
 */
void heatmap_print(const struct heatmap *map, enum cli_color color, FILE *out);

/* Draws the map as SVG into the file that --svg names. Returns the exit code. */
int heatmap_save_svg(const struct cli_args *args, const struct heatmap *map);

#endif /* DOTK_CLI_HEATMAP_H */
