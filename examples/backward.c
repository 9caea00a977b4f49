/* backward.c - attention learns where to look: gradient steps on a query */
#include <dotk/attention.h>
#include <stdio.h>

int
main(void)
{
    const float keys[3][2] = {{1, 0}, {0, 1}, {-1, -1}};
    const float values[3][2] = {{1, 0}, {0, 1}, {0.5f, 0.5f}};
    const float wanted[2] = {0, 1}; /* the second value */
    const dotk_attention_shape shape = {
        .batch = 1, .heads = 1, .queries = 1, .keys = 3, .width = 2};
    float query[2] = {0.5f, 0}, out[2], lse, d_out[2], d_query[2];
    dotk_attention_gradients gradients = DOTK_ATTENTION_GRADIENTS_INIT;

    gradients.q = d_query; /* those of keys and values are not wanted */
    for (int step = 0; step <= 40; step++) {
        float loss = 0;
        if (dotk_attention_forward(NULL, &shape, query, keys, values, NULL, out, &lse) != DOTK_OK)
            break;
        for (int e = 0; e < 2; e++) { /* loss = |out - wanted|^2 */
            d_out[e] = 2 * (out[e] - wanted[e]);
            loss += (out[e] - wanted[e]) * (out[e] - wanted[e]);
        }
        if (dotk_attention_backward(NULL, &shape, query, keys, values, NULL, out, &lse, d_out,
                                    &gradients) != DOTK_OK)
            break;
        if (step % 20 == 0)
            printf("step %2d: out [%.2f, %.2f], loss %.3f\n", step, (double)out[0], (double)out[1],
                   (double)loss);
        for (int d = 0; d < 2; d++)
            query[d] -= 5 * d_query[d];
    }
    if (dotk_last_message()[0] != '\0')
        fprintf(stderr, "%s\n", dotk_last_message());
    return dotk_last_message()[0] != '\0';
}
