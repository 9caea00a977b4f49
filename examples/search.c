/* search.c - three sentences as vectors, and the two nearest to a question */
#include <dotk/search.h>
#include <stdio.h>

int
main(void)
{
    const float rows[3][4] = {
        {0.9f, 0.3f, 0.1f, 0}, {0.8f, 0.4f, 0.15f, 0}, {-0.1f, 0.2f, 0.9f, 0}};
    const float query[4] = {1, 0.4f, 0.1f, 0};
    dotk_index_options options = DOTK_INDEX_OPTIONS_INIT;
    dotk_index *index;
    int64_t ids[2];
    float scores[2];

    options.metric = DOTK_METRIC_COSINE;
    if (dotk_index_create(NULL, 4, &options, &index) != DOTK_OK ||
        dotk_index_add(index, 3, rows[0], 0, NULL) != DOTK_OK ||
        dotk_index_search(index, 1, query, 0, 2, NULL, ids, scores, NULL) != DOTK_OK) {
        fprintf(stderr, "%s\n", dotk_last_message());
        return 1;
    }
    for (int i = 0; i < 2; i++)
        printf("row %d, cosine %.3f\n", (int)ids[i], scores[i]);
    dotk_index_destroy(index);
    return 0;
}
