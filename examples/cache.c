/* cache.c - two drafts of one text: the beginning is kept once, each draft adds its own tokens */
#include <dotk/cache.h>
#include <math.h>
#include <stdio.h>

enum { HEADS = 4, KEY_HEADS = 2, WIDTH = 16, PROMPT = 300, DRAFTS = 2, TOKENS = 5 };

/* What a model would compute for a token: keys, values and queries, here just some numbers. */
static void
compute(int token, int numbers, float *out)
{
    for (int i = 0; i < numbers; i++)
        out[i] = (float)sin(0.37 * token * (i + 1));
}

static int
fail(void)
{
    fprintf(stderr, "%s\n", dotk_last_message());
    return 1;
}

int
main(void)
{
    static float k[PROMPT * KEY_HEADS * WIDTH], v[PROMPT * KEY_HEADS * WIDTH];
    float q[DRAFTS * HEADS * WIDTH], out[DRAFTS * HEADS * WIDTH];
    dotk_cache_options cache_options = DOTK_CACHE_OPTIONS_INIT;
    dotk_sequence_add_options add = DOTK_SEQUENCE_ADD_OPTIONS_INIT;
    dotk_attention_options attention = DOTK_ATTENTION_OPTIONS_INIT;
    const dotk_rotary_shape one_query = {1, HEADS, 1, WIDTH};
    dotk_rotary_options place = DOTK_ROTARY_OPTIONS_INIT;
    dotk_sequence *draft[DRAFTS];
    dotk_cache_usage usage;
    dotk_cache *cache;

    cache_options.store = DOTK_STORE_BF16;
    attention.query = attention.output = (dotk_layout){0, WIDTH, HEADS * WIDTH};
    add.rotary = 1; /* of keys; queries are turned below */
    add.key = add.value = (dotk_layout){0, WIDTH, KEY_HEADS * WIDTH}; /* token after token  */
    for (int i = 0; i < PROMPT; i++) {
        compute(i, KEY_HEADS * WIDTH, k + i * KEY_HEADS * WIDTH);
        compute(i + 1, KEY_HEADS * WIDTH, v + i * KEY_HEADS * WIDTH);
    }
    if (dotk_cache_create(KEY_HEADS, WIDTH, &cache_options, &cache) != DOTK_OK ||
        dotk_sequence_create(cache, &draft[0]) != DOTK_OK ||
        dotk_sequence_add(NULL, draft[0], PROMPT, k, v, &add) != DOTK_OK ||
        dotk_sequence_fork(draft[0], PROMPT, &draft[1]) != DOTK_OK)
        return fail();
    for (int step = 0; step < TOKENS; step++) {
        for (int d = 0; d < DRAFTS; d++) {
            const int token = PROMPT + step + 1000 * d;
            compute(token, KEY_HEADS * WIDTH, k);
            compute(token + 1, KEY_HEADS * WIDTH, v);
            float *const query = q + d * HEADS * WIDTH;
            compute(token + 2, HEADS * WIDTH, query);
            if (dotk_sequence_add(NULL, draft[d], 1, k, v, &add) != DOTK_OK)
                return fail();
            place.offset = (int64_t)dotk_sequence_count(draft[d]) - 1; /* that of the new token */
            if (dotk_rotary(NULL, &one_query, query, &place, query) != DOTK_OK)
                return fail();
        }
        /* both drafts in one call; queries and outputs are f32, the cache is bf16 */
        if (dotk_cache_forward(NULL, DRAFTS, (const dotk_sequence *const *)draft, NULL, HEADS, q,
                               &attention, out, NULL) != DOTK_OK)
            return fail();
    }
    if (dotk_cache_get_usage(cache, &usage) != DOTK_OK)
        return fail();
    printf("%zu and %zu tokens in %zu pages of %zu\n", dotk_sequence_count(draft[0]),
           dotk_sequence_count(draft[1]), usage.pages_in_use, usage.page_keys);
    printf("outputs begin %.3f and %.3f\n", (double)out[0], (double)out[HEADS * WIDTH]);
    for (int d = 0; d < DRAFTS; d++)
        dotk_sequence_destroy(draft[d]);
    dotk_cache_destroy(cache);
    return 0;
}
