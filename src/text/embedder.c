/*
 * embedder.c - passages and queries as vectors, learned from the passages themselves
 *
 * A vector is [sqrt(1 - a) lexical | sqrt(a) latent], a the latent share. The lexical parts'
 * product is BM25 divided by the most that the query could reach; the latent parts are unit
 * vectors of the LSA space.
 *
 * What differs from textbook LSA: passages enter with the presence of BM25 and idf^1.5 instead of
 * plain TF-IDF, and the latent part only adds to the lexical one, since by itself it blurs names
 * and numbers. nDCG@10 on two collections of abstracts (cranfield, cacm), measured while building:
 *
 *     lexical alone           0.529  0.488      both, with idf             0.537  0.493
 *     latent alone            0.492  0.435      both, with idf^1.5         0.549  0.515
 *     both, rows of U instead of x V, that is without the singular values  0.542  0.513
 *
 * A lexical dimension for every term would be exact and too wide. Terms that a query can need
 * get one of their own: the most frequent ones, or, where a shortlist tells the query, those that
 * resemble its terms (the others then get none, since nothing will ask for them). Without a
 * shortlist the rarer terms share what dimensions are left, each spread with signs over SPREAD of
 * them (Kane and Nelson 2014), so that two that meet disturb each other by 1 / SPREAD only.
 */
#include <dotk/dense.h>
#include <dotk/text.h>

#include "platform/memory.h"
#include "platform/status.h"
#include "text/bag.h"
#include "text/bm25.h"
#include "text/grow.h"
#include "text/latent.h"
#include "text/shortlist.h"
#include "tile/tile.h"

#include <math.h>
#include <stdlib.h>

enum {
    LEXICAL_DIM = 2048,
    LATENT_DIM = 256,
    PASSAGES_PER_DIRECTION = 6, /* more directions than that follow single passages */
    LATENT_TERMS = 32768,       /* at most, the most frequent ones                  */
    SPREAD = 8,
    TASK_TEXTS = 32,
};

#define LATENT_SHARE    0.3f /* from LATENT_PASSAGES on, less below */
#define LATENT_PASSAGES 1500.0f
#define NOWHERE         UINT32_MAX

/* What is known of a term. */
struct word {
    uint64_t hash;
    uint32_t bytes; /* where its bytes begin */
    uint32_t size;
    uint32_t passages;  /* that have it, of those fitted to  */
    uint32_t frequency; /* stretches (bm25.h) that have it   */
    uint32_t last;      /* stretch in which it last occurred */
    uint32_t dimension; /* of its own, or NOWHERE */
    uint32_t column;    /* of the latent matrix, or NOWHERE */
    float telling;
};

struct dotk_embedder {
    dotk_context *context;
    dotk_embedder_options options;
    struct word *word;
    size_t words, capacity;
    uint32_t *table; /* open addressing: word + 1, 0 is free */
    size_t table_size;
    char *bytes;
    size_t used, room;
    size_t passages;  /* fitted to */
    size_t stretches; /* of which frequencies speak */
    float mean_length;
    size_t own, shared; /* lexical dimensions; shared ones follow the own */
    struct dk_latent latent;
};

/* ------------------------------------------------------------------------- */
/*  Words                                                                    */
/* ------------------------------------------------------------------------- */

/* The word with this hash, or NULL. */
static struct word *
find_word(const dotk_embedder *e, uint64_t hash)
{
    if (e->table_size == 0)
        return NULL;
    for (size_t at = hash & (e->table_size - 1); e->table[at] != 0;
         at = (at + 1) & (e->table_size - 1))
        if (e->word[e->table[at] - 1].hash == hash)
            return &e->word[e->table[at] - 1];
    return NULL;
}

static bool
grow_table(dotk_embedder *e)
{
    const size_t size = dk_max(1024, 2 * e->table_size);
    uint32_t *const table = dk_alloc_array(size, sizeof *table);

    if (table == NULL)
        return false;
    memset(table, 0, size * sizeof *table);
    for (size_t i = 0; i < e->words; i++) {
        size_t at = e->word[i].hash & (size - 1);
        while (table[at] != 0)
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)(i + 1);
    }
    dk_free(e->table);
    e->table = table;
    e->table_size = size;
    return true;
}

/* The word of a bag's entry, made if it is new; NULL when memory ran out. */
static struct word *
get_word(dotk_embedder *e, const struct dk_bag *bag, const struct dk_bag_entry *entry)
{
    struct word *const found = find_word(e, entry->hash);

    if (found != NULL)
        return found;
    if ((2 * (e->words + 1) > e->table_size && !grow_table(e)) ||
        !DK_GROW(e->word, e->words, 1, &e->capacity) ||
        !DK_GROW(e->bytes, e->used, entry->size, &e->room))
        return NULL;
    memcpy(e->bytes + e->used, bag->bytes + entry->bytes, entry->size);
    struct word *const word = &e->word[e->words++];
    *word = (struct word){
        .hash = entry->hash,
        .bytes = (uint32_t)e->used,
        .size = entry->size,
        .dimension = NOWHERE,
        .column = NOWHERE,
    };
    e->used += entry->size;
    size_t at = entry->hash & (e->table_size - 1);
    while (e->table[at] != 0)
        at = (at + 1) & (e->table_size - 1);
    e->table[at] = (uint32_t)e->words;
    return word;
}

static void
forget(dotk_embedder *e)
{
    dk_free(e->word);
    dk_free(e->table);
    dk_free(e->bytes);
    dk_latent_release(&e->latent);
    *e = (dotk_embedder){.context = e->context, .options = e->options};
}

/* ------------------------------------------------------------------------- */
/*  Fitting: counting                                                        */
/* ------------------------------------------------------------------------- */

/* A row for each passage, a column for each word, and how often it occurs as the value. */
struct counts {
    struct dk_sparse matrix;
    size_t entries, column_capacity, value_capacity;
    float *length; /* (rows) */
    uint32_t stretches;
    size_t in_stretch; /* passages in the present one */
};

static void
release_counts(struct counts *counts)
{
    dk_free(counts->matrix.start);
    dk_free(counts->matrix.column);
    dk_free(counts->matrix.value);
    dk_free(counts->length);
}

static bool
count_bag(dotk_embedder *e, const struct dk_bag *bag, bool continues, struct counts *counts)
{
    struct dk_sparse *const m = &counts->matrix;

    if (!continues || counts->in_stretch == DK_STRETCH || counts->stretches == 0) {
        counts->stretches++;
        counts->in_stretch = 0;
    }
    counts->in_stretch++;
    if (!DK_GROW(m->column, counts->entries, bag->count, &counts->column_capacity) ||
        !DK_GROW(m->value, counts->entries, bag->count, &counts->value_capacity))
        return false;
    for (size_t i = 0; i < bag->count; i++) {
        struct word *const word = get_word(e, bag, &bag->entry[i]);
        if (word == NULL)
            return false;
        word->passages++;
        word->frequency += word->last != counts->stretches;
        word->last = counts->stretches;
        m->column[counts->entries] = (uint32_t)(word - e->word);
        m->value[counts->entries++] = (float)bag->entry[i].count;
    }
    counts->length[m->rows++] = (float)bag->length;
    m->start[m->rows] = counts->entries;
    return true;
}

/* The bags of up to BATCH texts, filled by as many tasks. */
enum { BATCH = 256 };

struct bags {
    const dotk_text *texts;
    struct dk_bag bag[BATCH];
    dotk_status status[BATCH];
};

static void
fill_bag(void *arg, size_t task, size_t slot)
{
    struct bags *const bags = arg;
    (void)slot;
    bags->status[task] = dk_bag_fill(&bags->bag[task], &bags->texts[task]);
}

/* Bags are filled on all threads and then counted in order, so that words have an order too. */
static dotk_status
count_passages(dotk_embedder *e, struct dk_call *call, size_t n, const dotk_text *passages,
               struct bags *bags, struct counts *counts)
{
    for (size_t first = 0; first < n; first += BATCH) {
        const size_t batch = dk_min(BATCH, n - first);
        bags->texts = passages + first;
        const dotk_status status = dk_call_run(call, batch, fill_bag, bags);
        if (status != DOTK_OK)
            return status;
        for (size_t i = 0; i < batch; i++)
            if (bags->status[i] != DOTK_OK ||
                !count_bag(e, &bags->bag[i], bags->texts[i].continues != 0, counts))
                return dk_fail_memory(bags->texts[i].size, "the terms of a passage");
    }
    return DOTK_OK;
}

static dotk_status
count(dotk_embedder *e, size_t n, const dotk_text *passages, struct counts *counts)
{
    struct dk_call call;

    counts->matrix.start = n < SIZE_MAX ? dk_alloc_array(n + 1, sizeof *counts->matrix.start)
                                        : NULL;
    counts->length = dk_alloc_array(n, sizeof *counts->length);
    struct bags *const bags = dk_alloc(sizeof *bags);
    if (counts->matrix.start == NULL || counts->length == NULL || bags == NULL) {
        dk_free(bags);
        return dk_fail_memory(sizeof *bags, "the terms of passages");
    }
    counts->matrix.start[0] = 0;
    memset(bags, 0, sizeof *bags);
    dotk_status status = dk_call_begin(e->context, &call);
    if (status == DOTK_OK) {
        status = count_passages(e, &call, n, passages, bags, counts);
        dk_call_end(&call);
    }
    for (size_t i = 0; i < BATCH; i++)
        dk_bag_release(&bags->bag[i]);
    dk_free(bags);
    return status;
}

/* ------------------------------------------------------------------------- */
/*  Fitting: weights, dimensions, the latent space                           */
/* ------------------------------------------------------------------------- */

/* How telling each word is, by the shortlist's frequencies where there is one. */
static void
weigh_words(dotk_embedder *e, const struct counts *counts)
{
    const dotk_shortlist *const shortlist = e->options.shortlist;
    const size_t n = counts->matrix.rows;
    double length = 0;

    for (size_t i = 0; i < n; i++)
        length += counts->length[i];
    e->passages = n;
    e->stretches = counts->stretches;
    e->mean_length = (float)(length / (double)n);
    const bool seen_more = shortlist != NULL && dotk_shortlist_count(shortlist) > n;
    if (seen_more) {
        e->stretches = (size_t)dk_shortlist_stretches(shortlist);
        e->mean_length = (float)dk_shortlist_mean_length(shortlist);
    }
    for (size_t i = 0; i < e->words; i++) {
        struct word *const word = &e->word[i];
        if (seen_more) {
            const uint32_t seen = dk_shortlist_frequency(shortlist, word->hash);
            word->frequency = seen > word->frequency ? seen : word->frequency;
        }
        word->telling = dk_bm25_telling(word->frequency, (double)e->stretches);
    }
}

struct frequent {
    uint64_t hash;
    uint32_t passages, word;
};

static int
most_frequent_first(const void *a, const void *b)
{
    const struct frequent *const x = a, *const y = b;
    if (x->passages != y->passages)
        return x->passages > y->passages ? -1 : 1;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static bool
resembles_query(const dotk_embedder *e, const struct dk_query *query, const struct word *word)
{
    for (size_t q = 0; q < query->count; q++)
        if (dk_query_affinity(&query->term[q], word->hash, e->bytes + word->bytes, word->size) > 0)
            return true;
    return false;
}

/* Lexical dimensions and latent columns; returns how many columns there are. */
static size_t
place_words(dotk_embedder *e, const struct frequent *order)
{
    const dotk_shortlist *const shortlist = e->options.shortlist;
    const size_t most = e->options.lexical_dim > 0 ? e->options.lexical_dim : LEXICAL_DIM;
    const size_t own = e->words <= most ? e->words : most - most / 2;
    size_t columns = 0;

    for (size_t i = 0; i < e->words; i++) {
        struct word *const word = &e->word[order[i].word];
        if (shortlist != NULL ? resembles_query(e, dk_shortlist_query(shortlist), word)
                              : e->own < own)
            word->dimension = (uint32_t)e->own++;
        if (columns < LATENT_TERMS)
            word->column = (uint32_t)columns++;
    }
    e->shared = shortlist == NULL && e->words > most ? most - own : 0;
    if (e->own == 0)
        e->own = 1; /* a vector has a length, even if nothing resembles the query */
    return columns;
}

/*
 * Steeper than in the lexical part: what is everywhere would take the strongest directions, which
 * are to be about subjects.
 */
static float
latent_weight(const struct word *word)
{
    return word->telling * sqrtf(word->telling);
}

/* Turns counts into the rows of the latent matrix: weights, unit length, its columns only. */
static void
make_latent_rows(const dotk_embedder *e, struct counts *counts, size_t columns)
{
    struct dk_sparse *const m = &counts->matrix;
    size_t to = 0, from = 0;

    for (size_t row = 0; row < m->rows; row++) {
        const size_t first = to;
        double square = 0;
        for (; from < m->start[row + 1]; from++) {
            const struct word *const word = &e->word[m->column[from]];
            if (word->column == NOWHERE)
                continue;
            const float weight = latent_weight(word) * dk_bm25_presence(m->value[from],
                                                                        counts->length[row],
                                                                        e->mean_length);
            square += (double)weight * weight;
            m->column[to] = word->column;
            m->value[to++] = weight;
        }
        m->start[row + 1] = to;
        for (size_t i = first; i < to; i++)
            m->value[i] = (float)(m->value[i] / sqrt(square));
    }
    m->columns = columns;
}

static dotk_status
learn(dotk_embedder *e, size_t n, const dotk_text *passages, struct counts *counts)
{
    dotk_status status = count(e, n, passages, counts);

    if (status != DOTK_OK)
        return status;
    if (e->words == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "none of the %zu passages has a term: nothing to learn",
                       n);
    weigh_words(e, counts);
    struct frequent *const order = dk_alloc_array(e->words, sizeof *order);
    if (order == NULL)
        return dk_fail_memory(e->words * sizeof *order, "the order of words");
    for (size_t i = 0; i < e->words; i++)
        order[i] = (struct frequent){e->word[i].hash, e->word[i].passages, (uint32_t)i};
    qsort(order, e->words, sizeof *order, most_frequent_first);
    const size_t columns = place_words(e, order);
    dk_free(order);
    make_latent_rows(e, counts, columns);
    size_t dim = e->options.latent_dim;
    if (dim == 0)
        dim = dk_min(LATENT_DIM, n / PASSAGES_PER_DIRECTION);
    return dk_latent_fit(e->context, &counts->matrix, dim, e->options.seed, &e->latent);
}

/* ------------------------------------------------------------------------- */
/*  Transforming                                                             */
/* ------------------------------------------------------------------------- */

/* What a thread works with. */
struct scratch {
    struct dk_bag bag;
    struct dk_query query;
    float *sketch; /* (TASK_TEXTS, latent.width) */
    float *latent; /* (TASK_TEXTS, latent.dim)   */
};

struct transformation {
    const dotk_embedder *embedder;
    dotk_text_role role;
    size_t n;
    const dotk_text *texts;
    float *out;
    size_t stride;
    size_t *known;
    struct scratch *scratch; /* (slots) */
    dotk_status *status;     /* (tasks) */
};

/* lexical += weight in the dimensions of a word */
static void
add_lexical(const dotk_embedder *e, const struct word *word, float weight, float *lexical)
{
    if (word->dimension != NOWHERE) {
        lexical[word->dimension] += weight;
        return;
    }
    if (e->shared == 0)
        return;
    const float part = weight / sqrtf(SPREAD);
    for (uint64_t i = 0, bits = word->hash; i < SPREAD; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const size_t at = e->own + (size_t)((bits >> 33) % e->shared);
        lexical[at] += bits >> 32 & 1 ? part : -part;
    }
}

/* sketch += weight times a word's row of the latent sketch */
static void
add_latent(const dotk_embedder *e, const struct word *word, float weight, float *restrict sketch)
{
    const size_t width = e->latent.width;

    if (word->column == NOWHERE || width == 0)
        return;
    const float *restrict const row = e->latent.sketch + word->column * width;
    for (size_t i = 0; i < width; i++)
        sketch[i] += weight * row[i];
}

static dotk_status
embed_passage(const dotk_embedder *e, const dotk_text *text, struct dk_bag *bag, float *lexical,
              float *sketch, size_t *known)
{
    const dotk_status status = dk_bag_fill(bag, text);

    if (status != DOTK_OK)
        return status;
    for (size_t i = 0; i < bag->count; i++) {
        const struct word *const word = find_word(e, bag->entry[i].hash);
        if (word == NULL)
            continue;
        const float presence = dk_bm25_presence((float)bag->entry[i].count, (float)bag->length,
                                                e->mean_length);
        add_lexical(e, word, presence * sqrtf(word->telling), lexical);
        add_latent(e, word, presence * latent_weight(word), sketch);
        ++*known;
    }
    return DOTK_OK;
}

/* How telling a term of a query is: as the word it is, or as one that was never seen. */
static float
telling_of(const dotk_embedder *e, const struct dk_query_term *term, bool *known)
{
    const struct word *const word = find_word(e, term->hash);

    *known = word != NULL;
    return word != NULL ? word->telling : dk_bm25_telling(0, (double)e->stretches);
}

static void
embed_query(const dotk_embedder *e, const dotk_text *text, struct dk_query *query, float *lexical,
            float *sketch, size_t *known)
{
    float telling[DK_QUERY_TERMS], whole = 0;
    bool same[DK_QUERY_TERMS], found[DK_QUERY_TERMS] = {false};

    dk_query_parse(text->text, text->size, query);
    for (size_t q = 0; q < query->count; q++) {
        telling[q] = telling_of(e, &query->term[q], &same[q]);
        whole += query->term[q].weight * telling[q];
    }
    for (size_t i = 0; i < e->words; i++) {
        const struct word *const word = &e->word[i];
        float weight = 0;
        for (size_t q = 0; q < query->count; q++) {
            const float affinity = dk_query_affinity(&query->term[q], word->hash,
                                                     e->bytes + word->bytes, word->size);
            if (affinity == 0)
                continue;
            found[q] = true;
            /* A rare form of a frequent word is not more telling than the word. */
            const float most = same[q] ? fminf(telling[q], word->telling) : word->telling;
            weight += query->term[q].weight * affinity * most;
        }
        if (weight == 0)
            continue;
        add_lexical(e, word, weight / (whole * sqrtf(word->telling)), lexical);
        add_latent(e, word, weight * latent_weight(word) / word->telling, sketch);
    }
    for (size_t q = 0; q < query->count; q++)
        *known += found[q];
}

/* out (dim) = scale * x / |x|, or zeros */
static void
put_unit(const float *x, size_t dim, float scale, float *out)
{
    double square = 0;

    for (size_t i = 0; i < dim; i++)
        square += (double)x[i] * x[i];
    const double factor = square > 0 ? scale / sqrt(square) : 0;
    for (size_t i = 0; i < dim; i++)
        out[i] = (float)(x[i] * factor);
}

/*
 * The latent part's share of a score, unless it was set: what words occur with one another can be
 * learned from a thousand passages, and hardly from fifty.
 */
static float
latent_share(const dotk_embedder *e)
{
    if (e->options.has_latent_share)
        return e->options.latent_share;
    return LATENT_SHARE * sqrtf(fminf(1, (float)e->passages / LATENT_PASSAGES));
}

static dotk_status
embed_texts(const struct transformation *t, size_t first, size_t count, struct scratch *scratch)
{
    const dotk_embedder *const e = t->embedder;
    const size_t lexical_dim = e->own + e->shared, width = e->latent.width, dim = e->latent.dim;
    const float share = latent_share(e);
    const bool query = t->role == DOTK_ROLE_QUERY;

    if (dim > 0)
        memset(scratch->sketch, 0, count * width * sizeof *scratch->sketch);
    for (size_t i = 0; i < count; i++) {
        const dotk_text *const text = &t->texts[first + i];
        float *const lexical = t->out + (first + i) * t->stride;
        float *const sketch = dim > 0 ? scratch->sketch + i * width : NULL;
        size_t known = 0;
        dotk_status status = DOTK_OK;
        memset(lexical, 0, lexical_dim * sizeof *lexical);
        if (query)
            embed_query(e, text, &scratch->query, lexical, sketch, &known);
        else
            status = embed_passage(e, text, &scratch->bag, lexical, sketch, &known);
        if (status != DOTK_OK)
            return status;
        for (size_t j = 0; j < lexical_dim; j++)
            lexical[j] *= sqrtf(1 - (dim > 0 ? share : 0));
        if (t->known != NULL)
            t->known[first + i] = known;
    }
    if (dim == 0)
        return DOTK_OK;
    const dotk_status status = dotk_dense(NULL, count, dim, width, scratch->sketch,
                                          e->latent.directions, NULL, NULL, scratch->latent);
    for (size_t i = 0; status == DOTK_OK && i < count; i++)
        put_unit(scratch->latent + i * dim, dim, sqrtf(share),
                 t->out + (first + i) * t->stride + lexical_dim);
    return status;
}

static void
transform_task(void *arg, size_t task, size_t slot)
{
    const struct transformation *const t = arg;
    const size_t first = task * TASK_TEXTS;

    t->status[task] = embed_texts(t, first, dk_min(TASK_TEXTS, t->n - first), &t->scratch[slot]);
}

static bool
allocate_scratch(const dotk_embedder *e, size_t slots, struct scratch *scratch)
{
    if (scratch == NULL)
        return false;
    memset(scratch, 0, slots * sizeof *scratch);
    if (e->latent.dim == 0)
        return true;
    for (size_t i = 0; i < slots; i++) {
        scratch[i].sketch = dk_alloc_array(TASK_TEXTS * e->latent.width, sizeof(float));
        scratch[i].latent = dk_alloc_array(TASK_TEXTS * e->latent.dim, sizeof(float));
        if (scratch[i].sketch == NULL || scratch[i].latent == NULL)
            return false;
    }
    return true;
}

static void
release_scratch(size_t slots, struct scratch *scratch)
{
    for (size_t i = 0; scratch != NULL && i < slots; i++) {
        dk_bag_release(&scratch[i].bag);
        dk_free(scratch[i].sketch);
        dk_free(scratch[i].latent);
    }
    dk_free(scratch);
}

static dotk_status
transform(struct dk_call *call, struct transformation *t)
{
    const size_t tasks = (t->n + TASK_TEXTS - 1) / TASK_TEXTS, slots = call->slots;

    t->status = dk_call_alloc(call, tasks, sizeof *t->status);
    t->scratch = dk_alloc_array(slots, sizeof *t->scratch);
    dotk_status status;
    if (!allocate_scratch(t->embedder, slots, t->scratch) || t->status == NULL)
        status = dk_fail_memory(slots * sizeof *t->scratch, "embedding");
    else
        status = dk_call_run(call, tasks, transform_task, t);
    for (size_t i = 0; status == DOTK_OK && i < tasks; i++)
        if (t->status[i] != DOTK_OK)
            status = dk_fail_memory(sizeof *t->scratch, "embedding");
    release_scratch(slots, t->scratch);
    return status;
}

/* ------------------------------------------------------------------------- */
/*  The public side                                                          */
/* ------------------------------------------------------------------------- */

dotk_status
dotk_embedder_create(dotk_context *context, const dotk_embedder_options *options,
                     dotk_embedder **out)
{
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the embedder");
    *out = NULL;
    DK_CHECK_OPTIONS(options);
    if (options != NULL && options->has_latent_share &&
        !(options->latent_share >= 0 && options->latent_share <= 1))
        return dk_fail(DOTK_BAD_ARGUMENT, "options->latent_share is %g: take one from 0 to 1",
                       (double)options->latent_share);
    if (options != NULL && (options->lexical_dim > 32768 || options->latent_dim > 32768))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->lexical_dim is %zu and latent_dim %zu: at most 32768 each",
                       options->lexical_dim, options->latent_dim);
    dotk_embedder *const e = dk_alloc(sizeof *e);
    if (e == NULL)
        return dk_fail_memory(sizeof *e, "an embedder");
    *e = (dotk_embedder){.context = context};
    if (options != NULL)
        e->options = *options;
    *out = e;
    return DOTK_OK;
}

void
dotk_embedder_destroy(dotk_embedder *embedder)
{
    if (embedder == NULL)
        return;
    forget(embedder);
    dk_free(embedder);
}

static dotk_status
check_texts(size_t n, const dotk_text *texts, const char *name)
{
    if (texts == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass %zu of them", name, n);
    for (size_t i = 0; i < n; i++) {
        if (texts[i].text == NULL && texts[i].size > 0)
            return dk_fail(DOTK_BAD_ARGUMENT, "%s[%zu].text is NULL: pass %zu bytes", name, i,
                           texts[i].size);
        if (texts[i].size > UINT32_MAX / 8)
            return dk_fail(DOTK_BAD_ARGUMENT, "%s[%zu].size is %zu: cut it into passages", name, i,
                           texts[i].size);
    }
    return DOTK_OK;
}

dotk_status
dotk_embedder_fit(dotk_embedder *embedder, size_t n, const dotk_text *passages)
{
    struct counts counts = {0};

    if (embedder == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "embedder is NULL: create one first");
    if (n == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "n is 0: pass at least 1 passage to learn from");
    dotk_status status = check_texts(n, passages, "passages");
    if (status != DOTK_OK)
        return status;
    forget(embedder);
    status = learn(embedder, n, passages, &counts);
    release_counts(&counts);
    if (status != DOTK_OK)
        forget(embedder);
    return status;
}

size_t
dotk_embedder_dim(const dotk_embedder *embedder)
{
    return embedder != NULL ? embedder->own + embedder->shared + embedder->latent.dim : 0;
}

dotk_status
dotk_embedder_transform(const dotk_embedder *embedder, dotk_text_role role, size_t n,
                        const dotk_text *texts, float *out, size_t stride, size_t *known)
{
    const size_t dim = dotk_embedder_dim(embedder);
    struct dk_call call;
    size_t cells;

    if (embedder == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "embedder is NULL: create one first");
    if (dim == 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "the embedder knows nothing: call dotk_embedder_fit()");
    if (role != DOTK_ROLE_PASSAGE && role != DOTK_ROLE_QUERY)
        return dk_fail(DOTK_BAD_ARGUMENT, "role is %d: use DOTK_ROLE_PASSAGE or DOTK_ROLE_QUERY",
                       (int)role);
    if (n == 0)
        return DOTK_OK;
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass room for %zu vectors", n);
    if (stride == 0)
        stride = dim;
    if (stride < dim || !dk_mul(n, stride, &cells))
        return dk_fail(DOTK_BAD_ARGUMENT, "stride is %zu for %zu vectors of %zu values", stride, n,
                       dim);
    dotk_status status = check_texts(n, texts, "texts");
    if (status == DOTK_OK)
        status = dk_call_begin(embedder->context, &call);
    if (status != DOTK_OK)
        return status;
    struct transformation t = {embedder, role, n, texts, out, stride, known, NULL, NULL};
    status = transform(&call, &t);
    dk_call_end(&call);
    return status;
}
