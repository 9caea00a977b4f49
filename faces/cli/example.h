/* example.h - attention over two words, told step by step: dotk attend --example */
#ifndef DOTK_CLI_EXAMPLE_H
#define DOTK_CLI_EXAMPLE_H

#include "heatmap.h"

/*
 * Prints the walk through, every number of it computed by the library, and the heat-map; with
 * --svg it also draws the map. Returns the exit code.
 */
int show_example(const struct cli_args *args);

#endif /* DOTK_CLI_EXAMPLE_H */
