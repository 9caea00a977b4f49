/*
 * grep.c - dotk grep: search by meaning without an index
 *
 * Two steps, so that a large tree costs little more than reading it (text.h): the shortlist looks
 * at every passage and keeps the most promising; these are embedded and searched exactly. Ends
 * like grep: 0 when something was found, 1 when not.
 */
#include "grep.h"

#include <stdlib.h>
#include <string.h>

/* One run; grep_free() releases whatever there is of it. */
struct grep {
    const struct cli_args *args;
    const char *query;
    dotk_context *context;
    dotk_shortlist *shortlist;
    struct grep_corpus corpus;
    const dotk_candidate *candidate;
    size_t candidates, known;
    char **text; /* of each candidate: heading, zero, passage, zero */
    dotk_text *embedded;
    dotk_embedder *embedder;
    dotk_index *index;
    float *rows;
    int64_t *ids; /* of the answer */
    float *scores;
    struct grep_hit *hits;
    size_t found;
};

static void
grep_free(struct grep *g)
{
    free(g->hits);
    free(g->scores);
    free(g->ids);
    free(g->rows);
    dotk_index_destroy(g->index);
    dotk_embedder_destroy(g->embedder);
    free(g->embedded);
    for (size_t i = 0; g->text != NULL && i < g->candidates; i++)
        free(g->text[i]);
    free(g->text);
    dotk_shortlist_destroy(g->shortlist);
    dotk_context_destroy(g->context);
    grep_corpus_free(&g->corpus);
}

/* ------------------------------------------------------------------------- */
/*  Candidates                                                               */
/* ------------------------------------------------------------------------- */

static int
read_everything(struct grep *g)
{
    const struct cli_args *args = g->args;

    int code = cli_context(args, &g->context);
    if (code == CLI_OK)
        code = cli_report(
            args,
            dotk_shortlist_create(g->context, g->query, strlen(g->query), NULL, &g->shortlist),
            NULL);
    if (code != CLI_OK)
        return code;
    cli_stage("reading");
    code = grep_collect(args, args->operand + 1, &g->corpus);
    if (code == CLI_OK)
        code = grep_read(args, &g->corpus, g->shortlist);
    cli_stage(NULL);
    if (code != CLI_OK)
        return code;
    return cli_report(
        args, dotk_shortlist_get(g->shortlist, &g->candidate, &g->candidates, &g->known), NULL);
}

/* Copies a candidate's heading and passage out of its document; false when memory ran out. */
static bool
copy_text(struct grep *g, size_t i, const char *text, size_t size)
{
    const dotk_passage p = g->candidate[i].passage;
    /* A file that has shrunk since it was read has less text than it had. */
    const size_t end = p.end < size ? p.end : size, begin = p.begin < end ? p.begin : end;
    const size_t heading_end = p.heading_end < size ? p.heading_end : size;
    const size_t heading = p.heading_begin < heading_end ? heading_end - p.heading_begin : 0;
    char *const copy = malloc(heading + end - begin + 2);

    if (copy == NULL)
        return false;
    if (heading > 0)
        memcpy(copy, text + p.heading_begin, heading);
    copy[heading] = '\0';
    memcpy(copy + heading + 1, text + begin, end - begin);
    copy[heading + 1 + end - begin] = '\0';
    g->text[i] = copy;
    g->embedded[i] = (dotk_text){
        .text = copy + heading + 1,
        .size = end - begin,
        .title = copy,
        .title_size = heading,
        .continues = i > 0 && g->candidate[i].document == g->candidate[i - 1].document,
    };
    return true;
}

/* Candidates come in the order of their documents: each document is read once more. */
static int
read_candidates(struct grep *g)
{
    char *text = NULL;
    size_t size = 0;

    g->text = calloc(g->candidates, sizeof(*g->text));
    g->embedded = calloc(g->candidates, sizeof(*g->embedded));
    bool fits = g->text != NULL && g->embedded != NULL;
    for (size_t i = 0; fits && i < g->candidates && !cli_interrupted(); i++) {
        const int64_t document = g->candidate[i].document;
        if (i == 0 || document != g->candidate[i - 1].document) {
            free(text);
            text = grep_read_slice(&g->corpus, (size_t)document, &size);
        }
        fits = text != NULL && copy_text(g, i, text, size);
    }
    free(text);
    if (!fits)
        return cli_out_of_memory(g->args);
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

/* ------------------------------------------------------------------------- */
/*  Searching                                                                */
/* ------------------------------------------------------------------------- */

/* Adds the passages in which the embedder knows a term; ids are their places. */
static int
fill_index(struct grep *g)
{
    const size_t dim = dotk_embedder_dim(g->embedder), n = g->candidates;
    size_t *const known = malloc(n * sizeof(*known));
    int64_t *const ids = malloc(n * sizeof(*ids));
    size_t rows = 0;
    int code = CLI_NO_MEMORY;

    g->rows = calloc(n, dim * sizeof(*g->rows));
    if (known != NULL && ids != NULL && g->rows != NULL) {
        dotk_status status = dotk_embedder_transform(g->embedder, DOTK_ROLE_PASSAGE, n, g->embedded,
                                                     g->rows, dim, known);
        for (size_t i = 0; status == DOTK_OK && i < n; i++) {
            if (known[i] == 0)
                continue;
            if (rows < i)
                memcpy(g->rows + rows * dim, g->rows + i * dim, dim * sizeof(*g->rows));
            ids[rows++] = (int64_t)i;
        }
        if (status == DOTK_OK)
            status = dotk_index_create(g->context, dim, NULL, &g->index);
        if (status == DOTK_OK)
            status = dotk_index_add(g->index, rows, g->rows, dim, ids);
        code = cli_report(g->args, status, NULL);
    } else {
        cli_out_of_memory(g->args);
    }
    free(ids);
    free(known);
    return code;
}

static int
search(struct grep *g)
{
    const struct cli_args *args = g->args;
    const size_t count = dotk_index_count(g->index);
    const size_t k = args->value[OPT_K].size < count ? args->value[OPT_K].size : count;
    const dotk_text query = {.text = g->query, .size = strlen(g->query)};
    size_t found = 0;

    if (k == 0)
        return CLI_OK;
    float *const vector = calloc(dotk_embedder_dim(g->embedder), sizeof(*vector));
    g->ids = malloc(k * sizeof(*g->ids));
    g->scores = malloc(k * sizeof(*g->scores));
    g->hits = malloc(k * sizeof(*g->hits));
    int code = CLI_OK;
    if (vector == NULL || g->ids == NULL || g->scores == NULL || g->hits == NULL)
        code = cli_out_of_memory(args);
    if (code == CLI_OK)
        code = cli_report(
            args, dotk_embedder_transform(g->embedder, DOTK_ROLE_QUERY, 1, &query, vector, 0, NULL),
            NULL);
    if (code == CLI_OK)
        code = cli_report(args,
                          dotk_index_search(g->index, 1, vector, dotk_embedder_dim(g->embedder), k,
                                            NULL, g->ids, g->scores, &found),
                          NULL);
    free(vector);
    for (size_t i = 0; code == CLI_OK && i < found && g->scores[i] > 0; i++) {
        const dotk_candidate *const from = &g->candidate[g->ids[i]];
        const dotk_text *const text = &g->embedded[g->ids[i]];
        const struct grep_slice *const slice = &g->corpus.slice[from->document];
        g->hits[g->found++] = (struct grep_hit){
            .id = g->ids[i],
            .score = g->scores[i],
            .path = g->corpus.file[slice->file].path,
            .text = text->text,
            .size = text->size,
            .line = from->passage.line,
            .end_line = from->passage.end_line,
        };
    }
    return code;
}

static int
embed_and_search(struct grep *g)
{
    dotk_embedder_options options = DOTK_EMBEDDER_OPTIONS_INIT;

    int code = read_candidates(g);
    if (code != CLI_OK)
        return code;
    options.shortlist = g->shortlist;
    cli_stage("searching");
    code = cli_report(g->args, dotk_embedder_create(g->context, &options, &g->embedder), NULL);
    if (code == CLI_OK)
        code = cli_report(g->args, dotk_embedder_fit(g->embedder, g->candidates, g->embedded),
                          NULL);
    if (code == CLI_OK)
        code = fill_index(g);
    if (code == CLI_OK)
        code = search(g);
    cli_stage(NULL);
    return code;
}

/* ------------------------------------------------------------------------- */
/*  The verb                                                                 */
/* ------------------------------------------------------------------------- */

static int
answer(struct grep *g)
{
    const struct cli_args *args = g->args;

    const int code = args->value[OPT_JSON].given
                         ? grep_print_json(args, g->hits, g->found)
                         : grep_print(args, g->shortlist, g->hits, g->found);
    if (code != CLI_OK || g->found > 0)
        return code;
    if (g->corpus.texts == 0)
        return cli_fail(args, CLI_FAILURE, "there is no text to search (%zu binary %s)",
                        g->corpus.binaries, g->corpus.binaries == 1 ? "file" : "files");
    return cli_fail(args, CLI_FAILURE,
                    "nothing found: no word of \"%s\", nor a form of one, is in the %zu %s read",
                    g->query, g->corpus.texts, g->corpus.texts == 1 ? "file" : "files");
}

int
verb_grep(const struct cli_args *args)
{
    struct grep g = {.args = args, .query = args->operand[0]};

    int code = read_everything(&g);
    if (code == CLI_OK && g.known > 0)
        code = embed_and_search(&g);
    if (code == CLI_OK)
        code = answer(&g);
    grep_free(&g);
    return code;
}
