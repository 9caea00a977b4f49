/*
 * cache.c - a cache's pages: allocated in slabs, handed out, shared, taken back
 *
 * Slabs grow with the cache, from one page to 16 MiB, so that a small cache is small and a large
 * one lies in huge pages. A page goes from sequence to sequence by its pointer alone.
 */
#include "attention/cache.h"

#include <string.h>

#include "platform/fork.h"

enum {
    WIDTH_MAX = 65536,
    HEADS_MAX = 65536,
    KEYS_MAX = 65536,
    PAGE_KEYS = 256,
    STRIP_MOST = 64, /* columns that kernels blend in one pass over the keys: they read a strip as
                        it lies, where they would come twice through rows of 128 */
};

static const size_t SLAB_BYTES = (size_t)16 << 20;

struct dk_slab {
    struct dk_slab *older;
    char *data;
    struct dk_page page[];
};

/* ------------------------------------------------------------------------- */
/*  Caches                                                                   */
/* ------------------------------------------------------------------------- */

static void
start_afresh(void *object)
{
    dotk_cache *const cache = object;

    pthread_mutex_init(&cache->mutex, NULL);
}

static void
lock(dotk_cache *cache)
{
    dk_fork_refresh(&cache->forks, start_afresh, cache);
    pthread_mutex_lock(&cache->mutex);
}

/* Where things lie in a page; false when that overflows. */
static bool
lay_out(dotk_cache *cache)
{
    const bool pairs = cache->store == DOTK_STORE_BF16, scaled = cache->store == DOTK_STORE_INT8;
    const size_t bytes = dk_store_bytes(cache->store), panels = cache->page_keys / DK_PANEL;
    const size_t scales = scaled ? 2 * cache->page_keys * sizeof(float) : 0;
    size_t value_bytes;

    cache->panel_bytes = (pairs ? dk_round_up(cache->dim, 2) : cache->dim) * DK_PANEL * bytes;
    cache->strips = (cache->width + STRIP_MOST - 1) / STRIP_MOST;
    cache->strip = dk_round_up((cache->width + cache->strips - 1) / cache->strips, DK_ATTEND_LANES);
    return dk_mul(panels, cache->panel_bytes, &cache->values_at) &&
           dk_mul(cache->page_keys, cache->strips * cache->strip * bytes, &value_bytes) &&
           dk_add(cache->values_at, value_bytes, &cache->scales_at) &&
           dk_add(cache->scales_at, scales, &cache->head_bytes) &&
           dk_mul(cache->head_bytes, cache->heads, &cache->page_bytes) &&
           cache->page_bytes <= PTRDIFF_MAX / 2;
}

static dotk_status
describe(size_t heads, size_t width, const dotk_cache_options *options, dotk_cache *cache)
{
    *cache = (dotk_cache){
        .heads = heads,
        .dim = width,
        .width = options->value_width != 0 ? options->value_width : width,
        .store = options->store,
        .page_keys = options->page_keys != 0 ? options->page_keys : PAGE_KEYS,
        .memory_limit = options->memory_limit != 0 ? options->memory_limit : SIZE_MAX,
    };
    if (heads == 0 || heads > HEADS_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "heads is %zu: 1 .. %d", heads, HEADS_MAX);
    if (width == 0 || width > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "width is %zu: 1 .. %d", width, WIDTH_MAX);
    if (cache->width > WIDTH_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->value_width is %zu: at most %d", cache->width,
                       WIDTH_MAX);
    if (dotk_store_name(cache->store) == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->store is %d: f32, f16, bf16 or int8",
                       (int)cache->store);
    if (cache->page_keys % DK_PANEL != 0 || cache->page_keys > KEYS_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->page_keys is %zu: a multiple of %d, up to %d",
                       cache->page_keys, DK_PANEL, KEYS_MAX);
    if (!lay_out(cache))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "a page of %zu keys of %zu heads of %zu and %zu overflows: use smaller ones",
                       cache->page_keys, heads, width, cache->width);
    if (cache->memory_limit < cache->page_bytes)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->memory_limit is %zu, below one page of %zu bytes",
                       cache->memory_limit, cache->page_bytes);
    return DOTK_OK;
}

dotk_status
dotk_cache_create(size_t heads, size_t width, const dotk_cache_options *options, dotk_cache **out)
{
    static const dotk_cache_options defaults = DOTK_CACHE_OPTIONS_INIT;
    dotk_cache made;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL: pass where to put the cache");
    *out = NULL;
    DK_CHECK_OPTIONS(options);
    const dotk_status status = describe(heads, width, options != NULL ? options : &defaults, &made);
    if (status != DOTK_OK)
        return status;
    dotk_cache *const cache = dk_alloc(sizeof *cache);
    if (cache == NULL)
        return dk_fail_memory(sizeof *cache, "a cache");
    *cache = made;
    cache->forks = dk_fork_count();
    start_afresh(cache);
    *out = cache;
    return DOTK_OK;
}

void
dotk_cache_destroy(dotk_cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->slabs != NULL) {
        struct dk_slab *const older = cache->slabs->older;
        dk_free(cache->slabs->data);
        dk_free(cache->slabs);
        cache->slabs = older;
    }
    if (cache->forks == dk_fork_count())
        pthread_mutex_destroy(&cache->mutex);
    dk_free(cache);
}

dotk_status
dotk_cache_get_usage(const dotk_cache *cache, dotk_cache_usage *out)
{
    if (cache == NULL || out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL: pass one", cache == NULL ? "cache" : "out");
    dotk_cache *const locked = (dotk_cache *)(uintptr_t)cache; /* its mutex is no part of it */
    lock(locked);
    *out = (dotk_cache_usage){
        .page_keys = cache->page_keys,
        .page_bytes = cache->page_bytes,
        .pages = cache->pages,
        .pages_in_use = cache->in_use,
    };
    pthread_mutex_unlock(&locked->mutex);
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Pages                                                                    */
/* ------------------------------------------------------------------------- */

/* Makes some free pages; the mutex is held. Errors: DOTK_NO_MEMORY. */
static dotk_status
grow(dotk_cache *cache)
{
    const size_t allowed = cache->memory_limit / cache->page_bytes - cache->pages;
    const size_t fit = dk_max(1, SLAB_BYTES / cache->page_bytes);
    const size_t pages = dk_min(dk_min(dk_max(1, cache->pages), fit), allowed);

    if (pages == 0)
        return dk_fail(DOTK_NO_MEMORY,
                       "the cache has %zu pages of %zu bytes, as many as its memory_limit of %zu "
                       "allows: destroy or truncate sequences, or raise the limit",
                       cache->pages, cache->page_bytes, cache->memory_limit);
    struct dk_slab *const slab = dk_alloc(sizeof *slab + pages * sizeof *slab->page);
    char *const data = slab == NULL ? NULL : dk_alloc_array(pages, cache->page_bytes);
    if (data == NULL) {
        dk_free(slab);
        return dk_fail_memory(pages * cache->page_bytes, "pages of a cache");
    }
    slab->older = cache->slabs;
    slab->data = data;
    cache->slabs = slab;
    cache->pages += pages;
    for (size_t i = pages; i-- > 0;) {
        slab->page[i] = (struct dk_page){
            .next = cache->free,
            .data = data + i * cache->head_bytes,
            .head_stride = pages * cache->head_bytes,
        };
        cache->free = &slab->page[i];
    }
    return DOTK_OK;
}

static void
put_back(dotk_cache *cache, struct dk_page *page)
{
    page->next = cache->free;
    cache->free = page;
    cache->in_use--;
}

dotk_status
dk_cache_take(dotk_cache *cache, size_t n, struct dk_page **pages)
{
    dotk_status status = DOTK_OK;
    size_t taken = 0;

    if (n == 0)
        return DOTK_OK;
    lock(cache);
    while (taken < n && status == DOTK_OK) {
        if (cache->free == NULL)
            status = grow(cache);
        if (status == DOTK_OK) {
            pages[taken] = cache->free;
            cache->free = cache->free->next;
            cache->in_use++;
            __atomic_store_n(&pages[taken++]->users, 1, __ATOMIC_RELAXED);
        }
    }
    while (status != DOTK_OK && taken > 0)
        put_back(cache, pages[--taken]);
    pthread_mutex_unlock(&cache->mutex);
    return status;
}

void
dk_cache_release(dotk_cache *cache, size_t n, struct dk_page *const *pages)
{
    if (n == 0)
        return;
    lock(cache);
    for (size_t i = n; i-- > 0;) {
        if (__atomic_sub_fetch(&pages[i]->users, 1, __ATOMIC_ACQ_REL) == 0)
            put_back(cache, pages[i]);
    }
    pthread_mutex_unlock(&cache->mutex);
}

void
dk_cache_share(size_t n, struct dk_page *const *pages)
{
    for (size_t i = 0; i < n; i++)
        (void)__atomic_add_fetch(&pages[i]->users, 1, __ATOMIC_RELAXED);
}

bool
dk_page_alone(const struct dk_page *page)
{
    return __atomic_load_n(&page->users, __ATOMIC_ACQUIRE) == 1;
}
