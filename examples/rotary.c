/* rotary.c - a key at every position against one query: the score depends on the distance */
#include <dotk/rotary.h>
#include <dotk/vector.h>
#include <stdio.h>

enum { LENGTH = 6, WIDTH = 8 };

int
main(void)
{
    const dotk_rotary_shape shape = {.batch = 1, .heads = 1, .tokens = LENGTH, .width = WIDTH};
    dotk_rotary_options options = DOTK_ROTARY_OPTIONS_INIT;
    float keys[LENGTH][WIDTH], queries[LENGTH][WIDTH];

    for (int t = 0; t < LENGTH; t++) { /* the same word over and over */
        for (int d = 0; d < WIDTH; d++)
            keys[t][d] = queries[t][d] = d < 4 ? 0.5f : -0.25f;
    }
    options.theta = 100; /* such short sequences want faster turns than 10,000 gives */
    if (dotk_rotary(NULL, &shape, keys, &options, keys) != DOTK_OK ||
        dotk_rotary(NULL, &shape, queries, &options, queries) != DOTK_OK) {
        fprintf(stderr, "%s\n", dotk_last_message());
        return 1;
    }
    for (int i = 0; i < LENGTH; i++) {
        for (int j = 0; j < LENGTH; j++)
            printf("%7.3f", (double)dotk_dot(queries[i], keys[j], WIDTH));
        printf("\n");
    }
    return 0;
}
