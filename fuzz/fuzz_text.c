/*
 * fuzz_text.c - bytes as documents and queries
 *
 * The first byte chooses the format (modulo 4; 3 is none, and refused) and the length of the
 * shortlist (the rest of it; 0 is the default); what follows up to a zero byte is the query, the
 * rest the document; without a zero byte all of it is the document. Whatever they are: stripping
 * keeps every line feed and does not grow, passages are in order, within the text and on the lines
 * they name, spans are apart, and a vector is finite.
 */
#include <dotk/text.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMATS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition)
{
    if (!condition)
        abort();
}

static size_t
count_feeds(const char *text, size_t size)
{
    size_t feeds = 0;
    for (size_t i = 0; i < size; i++)
        feeds += text[i] == '\n';
    return feeds;
}

static size_t
strip(const char *html, size_t size, char *out)
{
    size_t stripped;
    require(dotk_html_strip(html, size, out, &stripped) == DOTK_OK);
    require(stripped <= size && count_feeds(out, stripped) == count_feeds(html, size));
    return stripped;
}

static void
check_passages(const char *text, size_t size, const dotk_passages *passages)
{
    for (size_t i = 0; i < passages->count; i++) {
        const dotk_passage *const p = &passages->items[i];
        require(p->begin < p->end && p->end <= size);
        require(i == 0 || p->begin > passages->items[i - 1].begin);
        require(p->heading_begin <= p->heading_end && p->heading_end <= p->begin);
        require(p->line == 1 + count_feeds(text, p->begin));
        require(p->end_line == p->line + count_feeds(text + p->begin, p->end - p->begin));
    }
}

static void
check_spans(const dotk_shortlist *shortlist, const char *text, size_t size)
{
    dotk_span spans[16];
    size_t count;

    require(dotk_shortlist_spans(shortlist, text, size, spans, 16, &count) == DOTK_OK);
    for (size_t i = 0; i < count && i < 16; i++) {
        require(spans[i].begin < spans[i].end && spans[i].end <= size);
        require(i == 0 || spans[i].begin >= spans[i - 1].end);
    }
}

static void
check_embedding(const dotk_shortlist *shortlist, const char *text, const dotk_passages *passages)
{
    enum { MOST = 8 };
    const size_t n = passages->count < MOST ? passages->count : MOST;
    dotk_embedder_options options = DOTK_EMBEDDER_OPTIONS_INIT;
    dotk_text texts[MOST];
    dotk_embedder *embedder;

    for (size_t i = 0; i < n; i++) {
        const dotk_passage *const p = &passages->items[i];
        texts[i] = (dotk_text){
            .text = text + p->begin,
            .size = p->end - p->begin,
            .title = text + p->heading_begin,
            .title_size = p->heading_end - p->heading_begin,
            .continues = i > 0,
        };
    }
    options.shortlist = shortlist;
    options.latent_dim = 2;
    require(dotk_embedder_create(NULL, &options, &embedder) == DOTK_OK);
    if (n > 0 && dotk_embedder_fit(embedder, n, texts) == DOTK_OK) {
        const size_t dim = dotk_embedder_dim(embedder);
        float *const rows = malloc(n * dim * sizeof *rows);
        for (int role = 0; rows != NULL && role < 2; role++) {
            require(dotk_embedder_transform(embedder, (dotk_text_role)role, n, texts, rows, 0,
                                            NULL) == DOTK_OK);
            for (size_t i = 0; i < n * dim; i++)
                require(isfinite(rows[i]));
        }
        free(rows);
    }
    dotk_embedder_destroy(embedder);
}

static void
check_candidates(dotk_shortlist *shortlist, size_t size, size_t most)
{
    const dotk_candidate *candidates;
    size_t count, known;

    require(dotk_shortlist_get(shortlist, &candidates, &count, &known) == DOTK_OK);
    require(count <= most);
    for (size_t i = 0; i < count; i++) {
        require(isfinite(candidates[i].score) && candidates[i].passage.end <= size);
        require(i == 0 || candidates[i].passage.begin > candidates[i - 1].passage.begin);
    }
}

static void
check_search(const char *query, size_t query_size, size_t length, const dotk_document *document,
             const char *text, size_t size, const dotk_passages *passages)
{
    dotk_shortlist_options options = DOTK_SHORTLIST_OPTIONS_INIT;
    dotk_shortlist *shortlist;

    options.size = length;
    if (dotk_shortlist_create(NULL, query, query_size, &options, &shortlist) != DOTK_OK)
        return;
    if (document->format < FORMATS) {
        require(dotk_shortlist_add(shortlist, 1, document) == DOTK_OK);
        check_candidates(shortlist, size,
                         length > 0 && length < passages->count ? length : passages->count);
        check_spans(shortlist, text, size);
        check_embedding(shortlist, text, passages);
    } else {
        require(dotk_shortlist_add(shortlist, 1, document) == DOTK_BAD_ARGUMENT);
    }
    dotk_shortlist_destroy(shortlist);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dotk_passages *passages;

    if (size == 0)
        return 0;
    const dotk_text_format format = (dotk_text_format)(data[0] % (FORMATS + 1));
    const char *const query = (const char *)data + 1;
    const char *const zero = memchr(query, '\0', size - 1);
    const size_t query_size = zero != NULL ? (size_t)(zero - query) : 0;
    const size_t skipped = zero != NULL ? query_size + 2 : 1;
    /* Copies of their very size, so that a sanitizer sees a byte too many. */
    const size_t source_size = size - skipped;
    char *const source = malloc(source_size + 1), *const stripped = malloc(source_size + 1);
    require(source != NULL && stripped != NULL);
    char *const begin = source + 1; /* the block ends with the last byte */
    memcpy(begin, data + skipped, source_size);

    const dotk_document document = {.text = begin, .size = source_size, .format = format};
    const size_t stripped_size = strip(begin, source_size, stripped + 1);
    const char *const text = format == DOTK_TEXT_HTML ? stripped + 1 : begin;
    const size_t text_size = format == DOTK_TEXT_HTML ? stripped_size : source_size;
    if (format < FORMATS) {
        require(dotk_passages_cut(text, text_size, format, &passages) == DOTK_OK);
        check_passages(text, text_size, passages);
    } else {
        require(dotk_passages_cut(text, text_size, format, &passages) == DOTK_BAD_ARGUMENT);
        require(passages == NULL);
    }
    check_search(query, query_size, data[0] / (FORMATS + 1), &document, text, text_size, passages);
    dotk_passages_destroy(passages);
    free(source);
    free(stripped);
    return 0;
}
