/*
 * shortlist.c - one query against any amount of text, in one pass and little memory
 *
 * Embedding every passage of a large collection to find ten of them would take minutes and
 * gigabytes. So each document is read once, by any thread, and what is kept of a passage is which
 * of the query's terms it has, and how often. When all has been read, document frequencies are
 * known, BM25 scores follow, and the best few thousand passages go on to be embedded. Beside
 * that every thread counts in how many stretches of text (bm25.h) each term occurs, in a table of
 * hashed counters, so that the embedder knows how rare a term is in everything that was read.
 *
 * The speed comes from looking at runs of bytes, not at words: a run that was seen before needs
 * its hash, one look into a cache, and a few additions. Only a run that was not is folded,
 * stemmed and compared with the query. Measured: 100 MB of source code pass at about 150 MB/s a
 * thread, where folding and stemming every word made 25 MB/s.
 *
 * Results do not depend on threads: counters are sums over passages, what a document gives
 * depends on it alone, and documents are taken over in the order in which they came.
 */
#include "text/shortlist.h"

#include "platform/memory.h"
#include "platform/status.h"
#include "text/bm25.h"
#include "text/grow.h"
#include "text/passages.h"
#include "tile/tile.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_SIZE = 4096,
    CACHE_BITS = 14,   /* 2^14 entries of 64 bytes: about as large as a second-level cache   */
    COUNTER_BITS = 18, /* 2^18 counters: 2 MiB a thread; 100 MB of source has some 300,000   */
                       /* terms, but those that matter here are in more than one passage     */
    ENTRY_TERMS = 4,
    ENTRY_MATCHES = 4,
    PRUNE_AT = 64, /* times 'size' */
    PRUNE_TO = 32,
};

/* What a run means to the query. */
struct entry {
    uint64_t hash;  /* of the run; 0: unused */
    uint8_t length; /* terms that count      */
    uint8_t terms, matches;
    uint8_t match[ENTRY_MATCHES];  /* which term of the query */
    float affinity[ENTRY_MATCHES]; /* how much the run counts for it */
    uint32_t counter[ENTRY_TERMS];
};

/* In how many stretches a term occurs, and the last one in which it did. */
struct counter {
    uint32_t stretches, last;
};

struct match {
    uint32_t term;
    float count;
};

/* A passage as it is kept: dotk_passage in half the space, its matches elsewhere. */
struct record {
    int64_t document;
    uint32_t begin, end, line, end_line, heading_begin, heading_end;
    uint32_t length;
    uint32_t matches;
    size_t first_match;
};

/* Growing arrays of records and matches. */
struct records {
    struct record *record;
    struct match *match;
    size_t count, capacity;
    size_t match_count, match_capacity;
};

/* What a thread has for itself. */
struct slot {
    struct entry *cache;
    struct counter *counters;
    uint32_t stretch;              /* number of the present one, from 1; never reset */
    float count[DK_QUERY_TERMS];   /* in the present passage            */
    uint32_t last[DK_QUERY_TERMS]; /* stretch in which the query's term last occurred */
    struct dk_terms terms;
};

struct dotk_shortlist {
    dotk_context *context;
    size_t size;
    struct dk_query query;
    struct slot **slots; /* one for each thread of the context */
    size_t slot_count;
    struct records kept;
    size_t unmatched;                           /* records among them without a match */
    uint64_t passages, stretches, total_length; /* of everything seen                  */
    uint64_t frequency[DK_QUERY_TERMS];         /* stretches with a form of that term  */
    dotk_candidate *candidates;
};

/* Makes room in both arrays; false when memory ran out. */
static bool
reserve_records(struct records *records, size_t more, size_t more_matches)
{
    return DK_GROW(records->record, records->count, more, &records->capacity) &&
           DK_GROW(records->match, records->match_count, more_matches, &records->match_capacity);
}

static void
release_records(struct records *records)
{
    dk_free(records->record);
    dk_free(records->match);
    *records = (struct records){0};
}

/* ------------------------------------------------------------------------- */
/*  Reading a passage                                                        */
/* ------------------------------------------------------------------------- */

/* Takes a run's terms apart; false when it has more of them than an entry holds. */
static bool
fill_entry(const struct dk_query *query, const struct dk_terms *terms, struct entry *entry)
{
    for (size_t i = 0; i < terms->count; i++) {
        const struct dk_term *const term = &terms->term[i];
        if (entry->terms == ENTRY_TERMS)
            return false;
        entry->counter[entry->terms++] = (uint32_t)(term->hash >> (64 - COUNTER_BITS));
        entry->length += term->part;
        for (size_t q = 0; q < query->count; q++) {
            const float affinity = dk_query_affinity(&query->term[q], term->hash, term->bytes,
                                                     term->size);
            if (affinity == 0)
                continue;
            if (entry->matches == ENTRY_MATCHES)
                return false;
            entry->match[entry->matches] = (uint8_t)q;
            entry->affinity[entry->matches++] = affinity;
        }
    }
    return true;
}

static void
count_term(struct slot *slot, uint32_t counter)
{
    struct counter *const c = &slot->counters[counter];
    if (c->last != slot->stretch) {
        c->last = slot->stretch;
        c->stretches++;
    }
}

/* A run that no entry holds: the same as fill_entry() and apply(), without limits. */
static uint32_t
read_long_run(const struct dk_query *query, struct slot *slot)
{
    uint32_t length = 0;

    for (size_t i = 0; i < slot->terms.count; i++) {
        const struct dk_term *const term = &slot->terms.term[i];
        count_term(slot, (uint32_t)(term->hash >> (64 - COUNTER_BITS)));
        length += term->part;
        for (size_t q = 0; q < query->count; q++)
            slot->count[q] += dk_query_affinity(&query->term[q], term->hash, term->bytes,
                                                term->size);
    }
    return length;
}

/* Counts the terms of bytes begin .. end - 1; returns how many there are. */
static uint32_t
read_bytes(const struct dk_query *query, struct slot *slot, const char *text, size_t begin,
           size_t end)
{
    struct dk_run run = {.end = begin};
    uint32_t length = 0;

    while (dk_run_next(text, end, run.end, &run)) {
        struct entry *const entry = &slot->cache[run.hash & ((1u << CACHE_BITS) - 1)];
        if (entry->hash != run.hash) {
            struct entry fresh = {.hash = run.hash};
            dk_run_terms(text + run.begin, run.end - run.begin, false, &slot->terms);
            if (!fill_entry(query, &slot->terms, &fresh)) {
                length += read_long_run(query, slot);
                continue;
            }
            *entry = fresh;
        }
        length += entry->length;
        for (size_t i = 0; i < entry->terms; i++)
            count_term(slot, entry->counter[i]);
        for (size_t i = 0; i < entry->matches; i++)
            slot->count[entry->match[i]] += entry->affinity[i];
    }
    return length;
}

/* ------------------------------------------------------------------------- */
/*  Reading documents                                                        */
/* ------------------------------------------------------------------------- */

/* One call of dotk_shortlist_add(): a task for each document. */
struct reading {
    const dotk_shortlist *shortlist;
    const dotk_document *documents;
    struct result {
        struct records records;
        uint64_t passages, stretches, length;
        uint32_t frequency[DK_QUERY_TERMS];
        dotk_status status;
    } * results;
};

struct passage_reader {
    const dotk_shortlist *shortlist;
    struct slot *slot;
    const char *text;
    int64_t document;
    struct result *result;
};

static dotk_status
read_passage(void *user, const dotk_passage *passage)
{
    const struct passage_reader *const reader = user;
    const struct dk_query *const query = &reader->shortlist->query;
    struct slot *const slot = reader->slot;
    struct result *const result = reader->result;
    struct records *const records = &result->records;

    if (result->passages % DK_STRETCH == 0)
        slot->stretch++;
    memset(slot->count, 0, query->count * sizeof *slot->count);
    uint32_t length = read_bytes(query, slot, reader->text, passage->heading_begin,
                                 passage->heading_end);
    length += read_bytes(query, slot, reader->text, passage->begin, passage->end);
    if (length == 0)
        return DOTK_OK;
    result->stretches += result->passages++ % DK_STRETCH == 0;
    result->length += length;
    if (!reserve_records(records, 1, query->count))
        return DOTK_NO_MEMORY;
    struct record *const record = &records->record[records->count++];
    *record = (struct record){
        .document = reader->document,
        .begin = (uint32_t)passage->begin,
        .end = (uint32_t)passage->end,
        .line = (uint32_t)passage->line,
        .end_line = (uint32_t)passage->end_line,
        .heading_begin = (uint32_t)passage->heading_begin,
        .heading_end = (uint32_t)passage->heading_end,
        .length = length,
        .first_match = records->match_count,
    };
    for (size_t q = 0; q < query->count; q++) {
        if (slot->count[q] == 0)
            continue;
        records->match[records->match_count++] = (struct match){(uint32_t)q, slot->count[q]};
        result->frequency[q] += slot->last[q] != slot->stretch;
        slot->last[q] = slot->stretch;
    }
    record->matches = (uint32_t)(records->match_count - record->first_match);
    return DOTK_OK;
}

static void
read_document(void *arg, size_t task, size_t slot)
{
    struct reading *const reading = arg;
    const dotk_document *const document = &reading->documents[task];
    struct result *const result = &reading->results[task];
    struct passage_reader reader = {
        .shortlist = reading->shortlist,
        .slot = reading->shortlist->slots[slot],
        .text = document->text,
        .document = document->id,
        .result = result,
    };
    size_t size = document->size;
    char *stripped = NULL;

    if (document->format == DOTK_TEXT_HTML && size > 0) {
        stripped = dk_alloc(size);
        if (stripped == NULL) {
            result->status = DOTK_NO_MEMORY;
            return;
        }
        dotk_html_strip(document->text, size, stripped, &size);
        reader.text = stripped;
    }
    result->status = dk_passages_cut(reader.text, size, document->format,
                                     dk_max(document->first_line, 1), read_passage, &reader);
    dk_free(stripped);
}

/* ------------------------------------------------------------------------- */
/*  Choosing                                                                 */
/* ------------------------------------------------------------------------- */

static float
score_of(const dotk_shortlist *shortlist, const struct record *record)
{
    const float mean = (float)dk_shortlist_mean_length(shortlist);
    float score = 0;

    for (size_t i = 0; i < record->matches; i++) {
        const struct match *const match = &shortlist->kept.match[record->first_match + i];
        score += shortlist->query.term[match->term].weight *
                 dk_bm25_telling((double)shortlist->frequency[match->term],
                                 (double)shortlist->stretches) *
                 dk_bm25_presence(match->count, (float)record->length, mean);
    }
    return score;
}

struct ranked {
    float score;
    size_t position;
};

static int
better_first(const void *a, const void *b)
{
    const struct ranked *const x = a, *const y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static int
position_first(const void *a, const void *b)
{
    const struct ranked *const x = a, *const y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

/*
 * Chooses the best 'limit' records, in the order in which they came: room for all in 'ranked'.
 * Returns how many there are.
 */
static size_t
choose(const dotk_shortlist *shortlist, size_t limit, struct ranked *ranked)
{
    const size_t count = shortlist->kept.count;

    for (size_t i = 0; i < count; i++)
        ranked[i] = (struct ranked){score_of(shortlist, &shortlist->kept.record[i]), i};
    if (count <= limit)
        return count;
    qsort(ranked, count, sizeof *ranked, better_first);
    qsort(ranked, limit, sizeof *ranked, position_first);
    return limit;
}

/* Forgets all but the best records, when there are far more than can be needed. */
static dotk_status
prune(dotk_shortlist *shortlist)
{
    struct records *const kept = &shortlist->kept;
    struct records fewer = {0};

    if (kept->count - shortlist->unmatched < PRUNE_AT * shortlist->size)
        return DOTK_OK;
    struct ranked *const ranked = dk_alloc_array(kept->count, sizeof *ranked);
    if (ranked == NULL)
        return dk_fail_memory(kept->count * sizeof *ranked, "a shortlist");
    const size_t count = choose(shortlist, PRUNE_TO * shortlist->size, ranked);
    bool fits = true;
    for (size_t i = 0; fits && i < count; i++) {
        struct record record = kept->record[ranked[i].position];
        fits = reserve_records(&fewer, 1, record.matches);
        if (!fits)
            break;
        memcpy(fewer.match + fewer.match_count, kept->match + record.first_match,
               record.matches * sizeof *fewer.match);
        record.first_match = fewer.match_count;
        fewer.match_count += record.matches;
        fewer.record[fewer.count++] = record;
    }
    dk_free(ranked);
    if (!fits) {
        release_records(&fewer);
        return dk_fail_memory(count * sizeof *fewer.record, "a shortlist");
    }
    release_records(kept);
    *kept = fewer;
    shortlist->unmatched = 0; /* the best tens of thousands all have a match */
    return DOTK_OK;
}

/* Takes over what one document gave. */
static bool
take_over(dotk_shortlist *shortlist, const struct result *result)
{
    struct records *const kept = &shortlist->kept;
    const struct records *const found = &result->records;

    shortlist->passages += result->passages;
    shortlist->stretches += result->stretches;
    for (size_t q = 0; q < shortlist->query.count; q++)
        shortlist->frequency[q] += result->frequency[q];
    shortlist->total_length += result->length;
    if (!reserve_records(kept, found->count, found->match_count))
        return false;
    for (size_t i = 0; i < found->count; i++) {
        struct record record = found->record[i];
        if (record.matches == 0) {
            if (shortlist->unmatched == shortlist->size)
                continue;
            shortlist->unmatched++;
        }
        if (record.matches > 0)
            memcpy(kept->match + kept->match_count, found->match + record.first_match,
                   record.matches * sizeof *kept->match);
        record.first_match = kept->match_count;
        kept->match_count += record.matches;
        kept->record[kept->count++] = record;
    }
    return true;
}

/* ------------------------------------------------------------------------- */
/*  The public side                                                          */
/* ------------------------------------------------------------------------- */

static struct slot *
create_slot(void)
{
    struct slot *const slot = dk_alloc(sizeof *slot);
    if (slot == NULL)
        return NULL;
    slot->stretch = 0;
    memset(slot->last, 0, sizeof slot->last);
    slot->cache = dk_alloc_array((size_t)1 << CACHE_BITS, sizeof *slot->cache);
    slot->counters = dk_alloc_array((size_t)1 << COUNTER_BITS, sizeof *slot->counters);
    if (slot->cache == NULL || slot->counters == NULL) {
        dk_free(slot->cache);
        dk_free(slot->counters);
        dk_free(slot);
        return NULL;
    }
    memset(slot->cache, 0, sizeof *slot->cache << CACHE_BITS);
    memset(slot->counters, 0, sizeof *slot->counters << COUNTER_BITS);
    return slot;
}

dotk_status
dotk_shortlist_create(dotk_context *context, const char *query, size_t size,
                      const dotk_shortlist_options *options, dotk_shortlist **out)
{
    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to store the shortlist");
    *out = NULL;
    DK_CHECK_OPTIONS(options);
    if (query == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "query is NULL: pass a text");
    dotk_shortlist *const shortlist = dk_alloc(sizeof *shortlist);
    if (shortlist == NULL)
        return dk_fail_memory(sizeof *shortlist, "a shortlist");
    memset(shortlist, 0, sizeof *shortlist);
    shortlist->context = context;
    shortlist->size = options != NULL && options->size > 0 ? options->size : DEFAULT_SIZE;
    dk_query_parse(query, size, &shortlist->query);
    if (shortlist->query.count == 0) {
        dk_free(shortlist);
        return dk_fail(DOTK_BAD_ARGUMENT, "query \"%.*s\" has no word: ask with at least one",
                       (int)dk_min(size, 80), query);
    }
    const size_t slots = dotk_context_threads(context);
    shortlist->slots = dk_alloc_array(slots, sizeof *shortlist->slots);
    bool fits = shortlist->slots != NULL;
    for (; fits && shortlist->slot_count < slots; shortlist->slot_count += fits) {
        shortlist->slots[shortlist->slot_count] = create_slot();
        fits = shortlist->slots[shortlist->slot_count] != NULL;
    }
    if (!fits) {
        dotk_shortlist_destroy(shortlist);
        return dk_fail_memory(sizeof(struct slot), "a shortlist");
    }
    *out = shortlist;
    return DOTK_OK;
}

void
dotk_shortlist_destroy(dotk_shortlist *shortlist)
{
    if (shortlist == NULL)
        return;
    for (size_t i = 0; i < shortlist->slot_count; i++) {
        dk_free(shortlist->slots[i]->cache);
        dk_free(shortlist->slots[i]->counters);
        dk_free(shortlist->slots[i]);
    }
    dk_free(shortlist->slots);
    release_records(&shortlist->kept);
    dk_free(shortlist->candidates);
    dk_free(shortlist);
}

static dotk_status
check_documents(size_t n, const dotk_document *documents)
{
    if (documents == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "documents is NULL: pass %zu of them", n);
    for (size_t i = 0; i < n; i++) {
        const dotk_document *const d = &documents[i];
        if (d->text == NULL && d->size > 0)
            return dk_fail(DOTK_BAD_ARGUMENT, "documents[%zu].text is NULL: pass %zu bytes", i,
                           d->size);
        if (d->size > UINT32_MAX)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "documents[%zu].size is %zu: hand over slices of less than 4 GiB", i,
                           d->size);
        if (d->format != DOTK_TEXT_PLAIN && d->format != DOTK_TEXT_MARKDOWN &&
            d->format != DOTK_TEXT_HTML)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "documents[%zu].format is %d: use a DOTK_TEXT_ constant", i,
                           (int)d->format);
    }
    return DOTK_OK;
}

/* Reads all documents and takes over what they gave; results are zeroed. */
static dotk_status
read_documents(dotk_shortlist *shortlist, size_t n, const dotk_document *documents,
               struct result *results)
{
    struct reading reading = {shortlist, documents, results};
    struct dk_call call;

    dotk_status status = dk_call_begin(shortlist->context, &call);
    if (status != DOTK_OK)
        return status;
    status = dk_call_run(&call, n, read_document, &reading);
    dk_call_end(&call);
    for (size_t i = 0; status == DOTK_OK && i < n; i++)
        if (results[i].status != DOTK_OK || !take_over(shortlist, &results[i]))
            status = dk_fail_memory(documents[i].size, "the passages of a document");
    return status == DOTK_OK ? prune(shortlist) : status;
}

dotk_status
dotk_shortlist_add(dotk_shortlist *shortlist, size_t n, const dotk_document *documents)
{
    if (shortlist == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "shortlist is NULL: create one first");
    if (n == 0)
        return DOTK_OK;
    dotk_status status = check_documents(n, documents);
    if (status != DOTK_OK)
        return status;
    struct result *const results = dk_alloc_array(n, sizeof *results);
    if (results == NULL)
        return dk_fail_memory(n * sizeof *results, "documents");
    memset(results, 0, n * sizeof *results);
    status = read_documents(shortlist, n, documents, results);
    for (size_t i = 0; i < n; i++)
        release_records(&results[i].records);
    dk_free(results);
    return status;
}

dotk_status
dotk_shortlist_get(dotk_shortlist *shortlist, const dotk_candidate **candidates, size_t *count,
                   size_t *known)
{
    if (shortlist == NULL || candidates == NULL || count == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL",
                       shortlist == NULL    ? "shortlist"
                       : candidates == NULL ? "candidates"
                                            : "count");
    const struct records *const kept = &shortlist->kept;
    struct ranked *const ranked = dk_alloc_array(kept->count, sizeof *ranked);
    dk_free(shortlist->candidates);
    shortlist->candidates = dk_alloc_array(dk_min(kept->count, shortlist->size),
                                           sizeof *shortlist->candidates);
    if (ranked == NULL || shortlist->candidates == NULL) {
        dk_free(ranked);
        return dk_fail_memory(kept->count * sizeof *ranked, "candidates");
    }
    *count = choose(shortlist, shortlist->size, ranked);
    for (size_t i = 0; i < *count; i++) {
        const struct record *const r = &kept->record[ranked[i].position];
        shortlist->candidates[i] = (dotk_candidate){
            .document = r->document,
            .score = ranked[i].score,
            .passage = {r->begin, r->end, r->line, r->end_line, r->heading_begin, r->heading_end},
        };
    }
    dk_free(ranked);
    *candidates = shortlist->candidates;
    if (known != NULL) {
        *known = 0;
        for (size_t q = 0; q < shortlist->query.count; q++)
            *known += shortlist->frequency[q] > 0;
    }
    return DOTK_OK;
}

uint64_t
dotk_shortlist_count(const dotk_shortlist *shortlist)
{
    return shortlist != NULL ? shortlist->passages : 0;
}

const struct dk_query *
dk_shortlist_query(const dotk_shortlist *shortlist)
{
    return &shortlist->query;
}

uint32_t
dk_shortlist_frequency(const dotk_shortlist *shortlist, uint64_t term)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < shortlist->slot_count; i++)
        sum += shortlist->slots[i]->counters[term >> (64 - COUNTER_BITS)].stretches;
    return sum;
}

uint64_t
dk_shortlist_stretches(const dotk_shortlist *shortlist)
{
    return shortlist->stretches;
}

double
dk_shortlist_mean_length(const dotk_shortlist *shortlist)
{
    return shortlist->passages > 0 ? (double)shortlist->total_length / (double)shortlist->passages
                                   : 0;
}

/* ------------------------------------------------------------------------- */
/*  Where the query's terms stand                                            */
/* ------------------------------------------------------------------------- */

static bool
resembles(const struct dk_query *query, const struct dk_term *term)
{
    for (size_t q = 0; q < query->count; q++)
        if (dk_query_affinity(&query->term[q], term->hash, term->bytes, term->size) > 0)
            return true;
    return false;
}

/* Appends the stretches of lit bytes of a run that begins at 'from'. */
static void
add_spans(const bool lit[DK_RUN_BYTES], size_t size, size_t from, dotk_span *out, size_t capacity,
          size_t *count)
{
    for (size_t begin = 0; begin < size; begin++) {
        size_t end = begin;
        while (end < size && lit[end])
            end++;
        if (end == begin)
            continue;
        if (*count < capacity)
            out[*count] = (dotk_span){from + begin, from + end};
        ++*count;
        begin = end;
    }
}

dotk_status
dotk_shortlist_spans(const dotk_shortlist *shortlist, const char *text, size_t size, dotk_span *out,
                     size_t capacity, size_t *count)
{
    if (shortlist == NULL || (text == NULL && size > 0) || (out == NULL && capacity > 0) ||
        count == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL",
                       shortlist == NULL ? "shortlist"
                       : count == NULL   ? "count"
                       : out == NULL     ? "out"
                                         : "text");
    struct dk_run run = {0};
    struct dk_terms terms;

    *count = 0;
    while (dk_run_next(text, size, run.end, &run)) {
        bool lit[DK_RUN_BYTES] = {false};
        dk_run_terms(text + run.begin, run.end - run.begin, false, &terms);
        for (size_t i = 0; i < terms.count; i++) {
            const struct dk_term *const term = &terms.term[i];
            if (resembles(&shortlist->query, term))
                memset(lit + term->begin, true, (size_t)(term->end - term->begin));
        }
        add_spans(lit, run.end - run.begin, run.begin, out, capacity, count);
    }
    return DOTK_OK;
}
