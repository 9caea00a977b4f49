/* attention.c - one state of a decoder attends to two words of an encoder */
#include <dotk/attention.h>
#include <stdio.h>

int
main(void)
{
    const char *const words[2] = {"let's", "go"};
    const float encoder[2][2] = {{-0.76f, 0.75f}, {0.01f, -0.01f}}; /* keys, and values */
    const float decoder[2] = {0.91f, 0.38f};                        /* the query        */
    const dotk_attention_shape shape = {
        .batch = 1, .heads = 1, .queries = 1, .keys = 2, .width = 2};
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    float weights[2], context[2];

    options.has_scale = 1; /* no division by sqrt(width) here */
    options.scale = 1;
    if (dotk_attention_weights(NULL, &shape, decoder, encoder[0], &options, 0, weights) !=
            DOTK_OK ||
        dotk_attention_forward(NULL, &shape, decoder, encoder[0], encoder[0], &options, context,
                               NULL) != DOTK_OK) {
        fprintf(stderr, "%s\n", dotk_last_message());
        return 1;
    }
    for (int i = 0; i < 2; i++)
        printf("%-5s gets %.1f %% of the attention\n", words[i], 100 * (double)weights[i]);
    printf("context vector [%.3f, %.3f]\n", (double)context[0], (double)context[1]);
    return 0;
}
