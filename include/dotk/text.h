/*
 * dotk/text.h - from text to vectors, without a model file (libdotk-text)
 *
 *     dotk_html_strip .......... HTML as plain text, line for line
 *     dotk_passages_cut ........ a text as passages
 *     dotk_embedder_create ..... _fit, _transform, _dim, _destroy: passages and queries as vectors
 *     dotk_shortlist_create .... _add, _get, _destroy: the passages of a large collection that
 *                                are worth embedding for one query
 *     dotk_shortlist_spans ..... where the words of the query stand in a text
 *
 * The way of a search: every document goes through dotk_shortlist_add() once; the passages that
 * dotk_shortlist_get() names are embedded, added to a dotk_index (metric dot), and searched.
 *
 * Text is UTF-8. A byte that is not counts as a character that belongs to no word. A *term* is
 * what is compared: a word, case-folded and in Unicode form NFKC without combining accents, with
 * English inflections taken off; a part of an identifier (get_itemName: get, item, name, and the
 * whole); one or two neighbouring characters of a script that is written without spaces. Words
 * such as "the" and "how" are no terms.
 *
 * Everything is deterministic: the same input gives the same bits for any number of threads and
 * any instruction set.
 */
#ifndef DOTK_TEXT_H
#define DOTK_TEXT_H

#include <dotk/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------- */
/*  Documents and passages                                                   */
/* ------------------------------------------------------------------------- */

typedef enum dotk_text_format {
    DOTK_TEXT_PLAIN = 0,    /* also source code                                            */
    DOTK_TEXT_MARKDOWN = 1, /* headings (# ...) open sections, fenced code stays together  */
    DOTK_TEXT_HTML = 2
} dotk_text_format;

/*
 * Writes the text of an HTML document to 'out': tags, comments, scripts and styles are left out,
 * entities are decoded, <h1> .. <h6> at the start of a line become Markdown headings, and every
 * line feed stays, so that line numbers are those of the document.
 *
 *     out        size bytes; may be html itself
 *     out_size   receives how many were written, never more than size
 *
 * Memory:  borrows everything. Threads: pure. Errors: DOTK_BAD_ARGUMENT (a NULL).
 */
DOTK_API dotk_status dotk_html_strip(const char *html, size_t size, char *out, size_t *out_size);

/*
 * A part of a text: bytes begin .. end - 1, on lines line .. end_line (counted from 1). Where a
 * Markdown passage does not itself contain the heading of its section, the heading's text is
 * bytes heading_begin .. heading_end - 1; otherwise both are 0.
 */
typedef struct dotk_passage {
    size_t begin, end;
    size_t line, end_line;
    size_t heading_begin, heading_end;
} dotk_passage;

typedef struct dotk_passages {
    size_t count;
    dotk_passage *items; /* in the order of the text */
} dotk_passages;

/*
 * Cuts a text (HTML: stripped before) into passages: whole paragraphs, as many as fit into about
 * 800 bytes, never across a Markdown heading. A paragraph of more than 1,200 bytes is cut at
 * line ends, or else between words, and its pieces share a line of at most 160 bytes.
 *
 * Memory:  *out is the caller's: release it with dotk_passages_destroy().
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT (a NULL, an unknown format), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_passages_cut(const char *text, size_t size, dotk_text_format format,
                                       dotk_passages **out);

DOTK_API void dotk_passages_destroy(dotk_passages *passages);

/* ------------------------------------------------------------------------- */
/*  Shortlists                                                               */
/* ------------------------------------------------------------------------- */

/* A document, or a slice of one that begins at the start of a line. */
typedef struct dotk_document {
    const char *text; /* HTML unstripped */
    size_t size;      /* below 2^32      */
    dotk_text_format format;
    int64_t id;        /* the caller's, for dotk_candidate */
    size_t first_line; /* 0: 1 */
} dotk_document;

/*
 * One query, and the passages seen so far that are most worth embedding for it: those with the
 * best lexical scores (BM25 over the query's terms, their inflections and near-synonyms), and
 * where there are too few of them, the first others. Memory grows by about 4 MB a thread, 40
 * bytes for every passage that shares a term with the query, and not beyond 64 times 'size'
 * such passages.
 */
typedef struct dotk_shortlist dotk_shortlist;

typedef struct dotk_shortlist_options {
    size_t struct_size; /* set by DOTK_SHORTLIST_OPTIONS_INIT */
    size_t size;        /* 0: 4,096 passages                  */
} dotk_shortlist_options;

#define DOTK_SHORTLIST_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(dotk_shortlist_options), 0                                                          \
    }

/*
 * Memory:  copies the query (size bytes) and the options, borrows 'context' (NULL allowed) until
 *          destroyed.
 * Threads: pure.
 * Errors:  DOTK_BAD_ARGUMENT (a NULL, a query without a word), DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_shortlist_create(dotk_context *context, const char *query, size_t size,
                                           const dotk_shortlist_options *options,
                                           dotk_shortlist **out);

DOTK_API void dotk_shortlist_destroy(dotk_shortlist *shortlist);

/*
 * Cuts n documents into passages and looks at each once; documents are shared out to the
 * context's threads, so hand over several megabytes of them at a time.
 *
 * Memory:  borrows the documents during the call.
 * Threads: exclusive.
 * Errors:  DOTK_BAD_ARGUMENT, DOTK_NO_MEMORY, DOTK_CANCELLED; the shortlist is then good only
 *          for being destroyed.
 */
DOTK_API dotk_status dotk_shortlist_add(dotk_shortlist *shortlist, size_t n,
                                        const dotk_document *documents);

/* A passage on the list; its offsets count from the start of the (stripped) document or slice. */
typedef struct dotk_candidate {
    int64_t document; /* the id it was added with */
    float score;      /* lexical, 0: shares no term with the query */
    dotk_passage passage;
} dotk_candidate;

/*
 * The candidates, in the order in which they were added.
 *
 *     candidates   borrowed from the shortlist until the next call on it
 *     count        how many; at most the shortlist's size
 *     known        how many terms of the query, in some form, were seen at all; or NULL
 *
 * Threads: exclusive. Errors: DOTK_BAD_ARGUMENT, DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_shortlist_get(dotk_shortlist *shortlist,
                                        const dotk_candidate **candidates, size_t *count,
                                        size_t *known);

/* Passages seen, and bytes of the documents. Threads: shared-read. */
DOTK_API uint64_t dotk_shortlist_count(const dotk_shortlist *shortlist);

typedef struct dotk_span {
    size_t begin, end; /* bytes */
} dotk_span;

/*
 * Finds where a text has a term of the query, or an inflection or near-synonym of one.
 *
 *     out     room for 'capacity' spans: the first ones, in ascending order, apart
 *     count   how many there are, which may be more than capacity
 *
 * Memory:  borrows everything. Threads: shared-read. Errors: DOTK_BAD_ARGUMENT (a NULL).
 */
DOTK_API dotk_status dotk_shortlist_spans(const dotk_shortlist *shortlist, const char *text,
                                          size_t size, dotk_span *out, size_t capacity,
                                          size_t *count);

/* ------------------------------------------------------------------------- */
/*  Embedders                                                                */
/* ------------------------------------------------------------------------- */

/*
 * Turns texts into vectors whose dot product says how near a passage is to a query. This one
 * learns its space from the passages it is fitted to. A vector has two parts, scaled so that a
 * dot product is a weighted mean of two scores, each at most 1:
 *
 *     lexical   the share of the query's weight (inverse document frequencies) that the passage
 *               has, each term saturating as in BM25 (Robertson and Zaragoza 2009); terms
 *               that resemble one of the query in their trigrams count in part
 *     latent    the cosine in a space of the strongest directions of the passages' TF-IDF
 *               matrix (latent semantic analysis, Deerwester et al. 1990; by randomised
 *               projection, Halko, Martinsson and Tropp 2011)
 */
typedef struct dotk_embedder dotk_embedder;

/* What a text is to be compared as. */
typedef enum dotk_text_role { DOTK_ROLE_PASSAGE = 0, DOTK_ROLE_QUERY = 1 } dotk_text_role;

/* A text to embed; a title (the heading of its section, say) counts as part of it. */
typedef struct dotk_text {
    const char *text;
    size_t size;
    const char *title; /* NULL: none */
    size_t title_size;
    int32_t continues; /* 1: it is of the same document as the text before it */
} dotk_text;

typedef struct dotk_embedder_options {
    size_t struct_size;              /* set by DOTK_EMBEDDER_OPTIONS_INIT                  */
    size_t lexical_dim;              /* 0: 2,048; at most that many, fewer for few terms   */
    size_t latent_dim;               /* 0: a sixth of the passages, at most 256            */
    float latent_share;              /* used when has_latent_share, 0 .. 1; default 0.3,   */
                                     /* less where there are fewer than 1,500 passages     */
    int32_t has_latent_share;        /* 1: latent_share is set                             */
    uint64_t seed;                   /* of the random projection                           */
    const dotk_shortlist *shortlist; /* NULL, or whose document frequencies to use: a      */
                                     /* shortlist has seen more than the passages on it    */
} dotk_embedder_options;

#define DOTK_EMBEDDER_OPTIONS_INIT                                                                 \
    {                                                                                              \
        sizeof(dotk_embedder_options), 0, 0, 0, 0, 0, NULL                                         \
    }

/*
 * Makes an embedder that knows nothing yet.
 * Memory:  copies the options, borrows options->shortlist until dotk_embedder_fit() returns and
 *          'context' (NULL allowed) until destroyed.
 * Threads: pure. Errors: DOTK_BAD_ARGUMENT, DOTK_NO_MEMORY.
 */
DOTK_API dotk_status dotk_embedder_create(dotk_context *context,
                                          const dotk_embedder_options *options,
                                          dotk_embedder **out);

/* Threads: exclusive. */
DOTK_API void dotk_embedder_destroy(dotk_embedder *embedder);

/*
 * Learns terms, weights and the latent space from n passages; forgets what it knew.
 * Memory:  copies what it needs: about 4 * (latent_dim + 32) bytes for each term that occurs in
 *          several passages, 40 for each other one.
 * Threads: exclusive.
 * Errors:  DOTK_BAD_ARGUMENT (a NULL, n = 0, no term in any passage), DOTK_NO_MEMORY,
 *          DOTK_CANCELLED; the embedder then knows nothing.
 */
DOTK_API dotk_status dotk_embedder_fit(dotk_embedder *embedder, size_t n,
                                       const dotk_text *passages);

/* The length of a vector, known after dotk_embedder_fit(), 0 before. Threads: shared-read. */
DOTK_API size_t dotk_embedder_dim(const dotk_embedder *embedder);

/*
 * Embeds n texts, as passages or as queries.
 *
 *     out     (n, dim), rows 'stride' apart (0: dim)
 *     known   (n): how many different terms of the text the embedder knows; or NULL. A text
 *             without any gives a row of zeros.
 *
 * Memory:  borrows everything. Threads: shared-read.
 * Errors:  DOTK_BAD_ARGUMENT (a NULL, stride < dim, an unknown role, not fitted yet),
 *          DOTK_NO_MEMORY, DOTK_CANCELLED.
 */
DOTK_API dotk_status dotk_embedder_transform(const dotk_embedder *embedder, dotk_text_role role,
                                             size_t n, const dotk_text *texts, float *out,
                                             size_t stride, size_t *known);

#ifdef __cplusplus
}
#endif

#endif /* DOTK_TEXT_H */
