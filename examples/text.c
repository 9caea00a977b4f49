/* text.c - questions put to a few sentences, found by meaning */
#include <dotk/search.h>
#include <dotk/text.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const sentences[] = {
    "The harbour shelters ships from the waves.",
    "Knead the dough and let it rise before baking.",
    "A violin is tuned in fifths.",
    "Deleted files stay on the disk until they are overwritten.",
};

static void
check(dotk_status status)
{
    if (status == DOTK_OK)
        return;
    fprintf(stderr, "%s\n", dotk_last_message());
    exit(1);
}

int
main(void)
{
    enum { COUNT = sizeof sentences / sizeof *sentences };
    const dotk_text query = {.text = "how to remove a file", .size = 20};
    dotk_text texts[COUNT] = {{0}};
    dotk_embedder *embedder;
    dotk_index *index;
    int64_t id;
    float score;

    for (size_t i = 0; i < COUNT; i++)
        texts[i] = (dotk_text){.text = sentences[i], .size = strlen(sentences[i])};

    /* Learn from the sentences, then turn them into the rows of an index. */
    check(dotk_embedder_create(NULL, NULL, &embedder));
    check(dotk_embedder_fit(embedder, COUNT, texts));
    const size_t dim = dotk_embedder_dim(embedder);
    float *const rows = malloc((COUNT + 1) * dim * sizeof *rows);
    if (rows == NULL)
        return 1;
    check(dotk_embedder_transform(embedder, DOTK_ROLE_PASSAGE, COUNT, texts, rows, 0, NULL));
    check(dotk_index_create(NULL, dim, NULL, &index));
    check(dotk_index_add(index, COUNT, rows, 0, NULL));

    /* A question becomes a vector of the same space. */
    float *const asked = rows + COUNT * dim;
    check(dotk_embedder_transform(embedder, DOTK_ROLE_QUERY, 1, &query, asked, 0, NULL));
    check(dotk_index_search(index, 1, asked, 0, 1, NULL, &id, &score, NULL));
    printf("%s -> %s (%.2f)\n", query.text, sentences[id], (double)score);

    dotk_index_destroy(index);
    dotk_embedder_destroy(embedder);
    free(rows);
    return strstr(sentences[id], "Deleted") == NULL;
}
