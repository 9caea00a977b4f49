/* dense.c - a layer z = W x + b, with and without an activation, from prepared weights */
#include <dotk/dense.h>
#include <stdio.h>

int
main(void)
{
    const float w[2][3] = {{0.3f, 0.7f, -0.9f}, {-0.4f, 0.2f, 0.6f}}, bias[2] = {0.1f, -0.2f};
    const float x[2][3] = {{0.5f, -1.25f, 3}, {1, 0, -1}};
    dotk_dense_options options = DOTK_DENSE_OPTIONS_INIT;
    dotk_dense_weights *weights;
    float z[2][2], y[2][2];

    options.activation = DOTK_ACTIVATION_GELU;
    if (dotk_dense_prepare(2, 3, w[0], 0, bias, &weights) != DOTK_OK ||
        dotk_dense_forward(NULL, weights, 2, x[0], NULL, z[0]) != DOTK_OK ||
        dotk_dense_forward(NULL, weights, 2, x[0], &options, y[0]) != DOTK_OK) {
        fprintf(stderr, "%s\n", dotk_last_message());
        return 1;
    }
    for (int row = 0; row < 2; row++)
        printf("z = (%.3f, %.3f), gelu(z) = (%.3f, %.3f)\n", z[row][0], z[row][1], y[row][0],
               y[row][1]);
    dotk_dense_destroy(weights);
    return 0;
}
