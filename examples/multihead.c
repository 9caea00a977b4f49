/* multihead.c - a multi-head module learns to look at the last of four words */
#include <dotk/multihead.h>
#include <math.h>
#include <stdio.h>

enum { WORDS = 4, WIDTH = 8, SQUARE = WIDTH * WIDTH, STEPS = 100 };

int
main(void)
{
    const dotk_multihead_shape shape = {
        .batch = 1, .queries = WORDS, .keys = WORDS, .width = WIDTH, .heads = 2};
    static float in_proj[3 * SQUARE], out_proj[SQUARE], d_in_proj[3 * SQUARE];
    float words[WORDS * WIDTH], out[WORDS * WIDTH], d_out[WORDS * WIDTH];
    float saved[4 * WORDS * WIDTH + 2 * WORDS]; /* dotk_multihead_saved_count() says so */
    float weights[WORDS * WORDS];
    dotk_multihead_parameters parameters = DOTK_MULTIHEAD_PARAMETERS_INIT;
    dotk_multihead_gradients gradients = DOTK_MULTIHEAD_GRADIENTS_INIT;

    for (int i = 0; i < WORDS * WIDTH; i++)
        words[i] = (float)sin(7.0 * i * i + 1);
    for (int i = 0; i < 2 * SQUARE; i++) /* W_q and W_k are learned */
        in_proj[i] = 0.3f * (float)sin(5.0 * i * i + 2);
    for (int i = 0; i < WIDTH; i++) /* values are the words themselves */
        in_proj[2 * SQUARE + i * WIDTH + i] = out_proj[i * WIDTH + i] = 1;
    parameters.in_proj_weight = in_proj;
    parameters.out_proj_weight = out_proj;
    gradients.in_proj_weight = d_in_proj;

    for (int step = 0; step <= STEPS; step++) {
        double loss = 0;
        if (dotk_multihead_forward(NULL, &shape, &parameters, words, words, words, NULL, out,
                                   weights, saved) != DOTK_OK)
            goto failed;
        for (int i = 0; i < WORDS * WIDTH; i++) { /* each answer should be the last word */
            d_out[i] = out[i] - words[(WORDS - 1) * WIDTH + i % WIDTH];
            loss += 0.5 * d_out[i] * d_out[i];
        }
        if (step % 50 == 0)
            printf("step %3d: loss %6.3f, the first word looks at the last one by %3.0f %%\n", step,
                   loss, 100 * (double)weights[WORDS - 1]);
        if (dotk_multihead_backward(NULL, &shape, &parameters, words, words, words, NULL, saved,
                                    d_out, &gradients) != DOTK_OK)
            goto failed;
        for (int i = 0; i < 2 * SQUARE; i++)
            in_proj[i] -= 0.1f * d_in_proj[i];
    }
    return 0;
failed:
    fprintf(stderr, "%s\n", dotk_last_message());
    return 1;
}
