/* linear_attention.c - a memory of fixed size: the delta rule stores, recalls and replaces */
#include <dotk/linear_attention.h>
#include <stdio.h>

int
main(void)
{
    const char *const names[2] = {"colour", "size"};
    const float keys[3][2] = {{1, 0}, {0, 1}, {1, 0}}; /* colour, size, colour again      */
    const float values[3] = {3, 7, 5};                 /* colour is 3, size 7, colour 5   */
    const float beta[3] = {1, 1, 1};                   /* each value replaces the old one */
    dotk_linear_attention_shape shape = {
        .batch = 1, .heads = 1, .tokens = 3, .width = 2, .value_width = 1};
    dotk_linear_attention_options options = DOTK_LINEAR_ATTENTION_OPTIONS_INIT;
    float state[2], recalled[3];

    options.rule = DOTK_LINEAR_DELTA;
    options.beta = beta;
    options.has_scale = 1; /* no division by sqrt(width) here */
    options.scale = 1;
    if (dotk_linear_attention(NULL, &shape, keys, keys, values, &options, NULL, state, recalled) !=
        DOTK_OK) {
        fprintf(stderr, "%s\n", dotk_last_message());
        return 1;
    }
    for (int i = 0; i < 2; i++)
        printf("%s is %.0f\n", names[i], (double)state[i]);

    /* One token more, from the state alone: size is asked for, and nothing new is stored. */
    const float size[2] = {0, 1}, nothing[2] = {0, 0}, no_value = 0;
    shape.tokens = 1;
    if (dotk_linear_attention(NULL, &shape, size, nothing, &no_value, &options, state, state,
                              recalled) != DOTK_OK) {
        fprintf(stderr, "%s\n", dotk_last_message());
        return 1;
    }
    printf("recalled size: %.0f\n", (double)recalled[0]);
    return 0;
}
