/*
 * example.c - attention over two words, told step by step
 *
 * The encoder has read "let's" and "go", the decoder is about to say its next word. The vectors are
 * those of a textbook example; the numbers are computed here, by the same calls that serve
 * arrays from files, and the context vector is computed twice: by hand and by the library.
 */
#include "example.h"

#include <math.h>

#define WORDS 2
#define DIM   2

static const char *const words[WORDS] = {"let's", "go"};
static const float encoder[WORDS * DIM] = {-0.76f, 0.75f, 0.01f, -0.01f};
static const float decoder[DIM] = {0.91f, 0.38f};

struct worked {
    float dot[WORDS], cosine[WORDS], weight[WORDS];
    float context[DIM]; /* what dotk_attention_forward() says */
};

static int
compute(const struct cli_args *args, struct worked *worked)
{
    const dotk_attention_shape shape = {1, 1, 1, WORDS, DIM, DIM, 0};
    dotk_attention_options options = DOTK_ATTENTION_OPTIONS_INIT;
    dotk_status status = DOTK_OK;

    for (int i = 0; i < WORDS && status == DOTK_OK; i++) {
        worked->dot[i] = dotk_dot(decoder, encoder + i * DIM, DIM);
        status = dotk_cosine(decoder, encoder + i * DIM, DIM, &worked->cosine[i]);
    }
    if (status == DOTK_OK)
        status = dotk_softmax(worked->dot, WORDS, 1.0f, worked->weight);
    options.has_scale = 1;
    options.scale = 1.0f;
    if (status == DOTK_OK)
        status = dotk_attention_forward(NULL, &shape, decoder, encoder, encoder, &options,
                                        worked->context, NULL);
    return cli_report(args, status, NULL);
}

static void
tell_vectors(void)
{
    printf("Attention, step by step\n\n"
           "A translator has read two words. Each became a vector, its state in the encoder:\n\n");
    for (int i = 0; i < WORDS; i++)
        printf("    %-6s [%5.2f, %5.2f]\n", words[i], (double)encoder[i * DIM],
               (double)encoder[i * DIM + 1]);
    printf("\nThe decoder, about to say its next word, is in the state\n\n"
           "    query  [%5.2f, %5.2f]\n\n"
           "Which word should it look at, and how much? (Here the states are both the keys, which "
           "are\ncompared, and the values, which are blended.)\n",
           (double)decoder[0], (double)decoder[1]);
}

static void
tell_scores(const struct worked *worked)
{
    printf("\n1. Compare: a dot product for each word. It is large where the two point the same "
           "way.\n\n");
    for (int i = 0; i < WORDS; i++)
        printf("    query . %-6s = %.2f * %5.2f + %.2f * %5.2f = %8.4f\n", words[i],
               (double)decoder[0], (double)encoder[i * DIM], (double)decoder[1],
               (double)encoder[i * DIM + 1], (double)worked->dot[i]);
    printf(
        "\n   Divided by both lengths it is the cosine of the angle, which knows the direction "
        "only:\n   %s %.3f, %s %.3f. The second vector is nearly as well aligned as the first is "
        "opposed;\n   its dot product is tiny because the vector is short.\n",
        words[0], (double)worked->cosine[0], words[1], (double)worked->cosine[1]);
}

static void
tell_weights(const struct worked *worked)
{
    const double e0 = exp((double)worked->dot[0]), e1 = exp((double)worked->dot[1]);

    printf("\n2. Turn scores into shares: softmax. e to the score is always positive, and dividing "
           "by the\n   sum makes the shares add up to 1.\n\n");
    printf("    %-6s e^%.4f = %.4f    %.4f / %.4f = %.1f %%\n", words[0], (double)worked->dot[0],
           e0, e0, e0 + e1, 100.0 * (double)worked->weight[0]);
    printf("    %-6s e^ %.4f = %.4f    %.4f / %.4f = %.1f %%\n", words[1], (double)worked->dot[1],
           e1, e1, e0 + e1, 100.0 * (double)worked->weight[1]);
    printf("\n   With wider vectors the scores are first multiplied by 1 / sqrt(dimension), which "
           "keeps\n   their spread, and so the softmax, from growing with the dimension.\n");
}

static void
tell_context(const struct worked *worked)
{
    const float *w = worked->weight;

    printf("\n3. Blend: the values, each by its share, added up. That is the context vector.\n\n");
    printf("    %.3f * [%5.2f, %5.2f] + %.3f * [%5.2f, %5.2f] = [%.4f, %.4f]\n", (double)w[0],
           (double)encoder[0], (double)encoder[1], (double)w[1], (double)encoder[2],
           (double)encoder[3], (double)(w[0] * encoder[0] + w[1] * encoder[2]),
           (double)(w[0] * encoder[1] + w[1] * encoder[3]));
    printf("    dotk_attention_forward() gives                       [%.4f, %.4f]\n\n",
           (double)worked->context[0], (double)worked->context[1]);
}

int
show_example(const struct cli_args *args)
{
    static const char *const query_name[] = {"query"};
    struct worked worked;
    const struct heatmap map = {.cells = worked.weight,
                                .rows = 1,
                                .cols = WORDS,
                                .stride = WORDS,
                                .title = "Where the query looks:",
                                .row_labels = query_name,
                                .col_labels = words};
    const int code = compute(args, &worked);

    if (code != CLI_OK)
        return code;
    tell_vectors();
    tell_scores(&worked);
    tell_weights(&worked);
    tell_context(&worked);
    heatmap_print(&map, cli_color(args, stdout), stdout);
    return args->value[OPT_SVG].given ? heatmap_save_svg(args, &map) : CLI_OK;
}
