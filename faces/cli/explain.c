/*
 * explain.c - dotk explain attention: what the library does on a small case, as it does it
 *
 * Nothing here knows how attention works inside: the steps come from options.watch of
 * dotk_attention_forward(), called with the queries of one tile at a time, and the memory from an
 * allocator that counts.
 */
#include "cli.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 32,
    TILE_QUERIES = 6, /* what dotk/attention.h says of tiles and chunks */
    TILE_KEYS = 64,
    CHUNK = 1024,
    CELLS_MAX = 32 /* of the map, in each direction */
};

/* ------------------------------------------------------------------------- */
/*  Memory                                                                   */
/* ------------------------------------------------------------------------- */

enum { HEADER = 64 };

static atomic_size_t held, most_held;

static void *
allocate(void *user, size_t size)
{
    char *const block = size <= SIZE_MAX - HEADER ? malloc(size + HEADER) : NULL;

    (void)user;
    if (block == NULL)
        return NULL;
    memcpy(block, &size, sizeof(size));
    const size_t now = atomic_fetch_add(&held, size) + size;
    size_t most = atomic_load(&most_held);
    while (now > most && !atomic_compare_exchange_weak(&most_held, &most, now))
        continue;
    return block + HEADER;
}

static void
release(void *user, void *pointer)
{
    char *const block = (char *)pointer - HEADER;
    size_t size;

    (void)user;
    memcpy(&size, block, sizeof(size));
    atomic_fetch_sub(&held, size);
    free(block);
}

/* ------------------------------------------------------------------------- */
/*  A case                                                                   */
/* ------------------------------------------------------------------------- */

struct walk {
    const struct cli_args *args;
    dotk_context *context;
    size_t length, follow;
    float *q, *k, *v, *out; /* (length, WIDTH) */
    dotk_attention_options options;
    dotk_attention_step *steps;
    size_t blocks;
};

static int
make_rows(const struct walk *walk, size_t rows, uint64_t seed, float **out)
{
    dotk_generate_options options = DOTK_GENERATE_OPTIONS_INIT;

    options.seed = seed;
    *out = calloc(rows, WIDTH * sizeof(**out));
    return *out == NULL
               ? cli_out_of_memory(walk->args)
               : cli_report(walk->args, dotk_generate(walk->context, rows, WIDTH, &options, *out),
                            NULL);
}

/* Which keys a query sees: its own place and what comes before, or --window. */
static int
make_options(struct walk *walk)
{
    int64_t ends[2];

    walk->options = (dotk_attention_options)DOTK_ATTENTION_OPTIONS_INIT;
    walk->options.has_scale = 1;
    walk->options.scale = 2 * sqrtf(WIDTH); /* vectors have length 1: scores of some size */
    walk->options.causal = !walk->args->value[OPT_WINDOW].given;
    if (walk->options.causal)
        return CLI_OK;
    if (cli_integers(walk->args, OPT_WINDOW, 2, ends) != 2 || ends[0] < -1 || ends[1] < -1)
        return cli_fail(walk->args, CLI_USAGE,
                        "--window is '%s': give two numbers, as in 256,0: how many keys before the "
                        "query's place count and how many after it, -1 for all",
                        walk->args->value[OPT_WINDOW].text);
    walk->options.has_window = 1;
    walk->options.window_left = ends[0];
    walk->options.window_right = ends[1];
    return CLI_OK;
}

static int
make_walk(struct walk *walk)
{
    const struct cli_args *args = walk->args;

    walk->length = args->value[OPT_EXPLAIN_LENGTH].size;
    if (walk->length > (size_t)1 << 20)
        return cli_fail(args, CLI_USAGE, "--length is %zu: up to 1048576 are shown", walk->length);
    if (args->value[OPT_FOLLOW].given && args->value[OPT_FOLLOW].seed >= walk->length)
        return cli_fail(args, CLI_USAGE, "--follow is %llu: there are %zu queries, counted from 0",
                        (unsigned long long)args->value[OPT_FOLLOW].seed, walk->length);
    walk->follow = args->value[OPT_FOLLOW].given ? (size_t)args->value[OPT_FOLLOW].seed
                                                 : walk->length - 1;
    walk->blocks = walk->length / TILE_KEYS + 1;
    walk->steps = calloc(walk->blocks, sizeof(*walk->steps));
    walk->out = calloc(walk->length, WIDTH * sizeof(*walk->out));
    if (walk->steps == NULL || walk->out == NULL)
        return cli_out_of_memory(args);
    int code = make_options(walk);
    if (code == CLI_OK)
        code = make_rows(walk, walk->length, 1, &walk->q);
    if (code == CLI_OK)
        code = make_rows(walk, walk->length, 2, &walk->k);
    return code == CLI_OK ? make_rows(walk, walk->length, 3, &walk->v) : code;
}

/* Attends with the tile that holds a query; its steps, and its log-sum-exp. */
static int
attend_tile(struct walk *walk, size_t query, size_t *count, float *lse)
{
    const size_t first = query / TILE_QUERIES * TILE_QUERIES, left = walk->length - first;
    const size_t queries = left < TILE_QUERIES ? left : TILE_QUERIES;
    const dotk_attention_shape shape = {1, 1, queries, walk->length, WIDTH, WIDTH, 1};
    dotk_attention_watch watch = {0, 0, query - first, walk->blocks, walk->steps, 0};
    dotk_attention_options options = walk->options;
    float sums[TILE_QUERIES];

    options.query_offset = (int64_t)first;
    options.watch = &watch;
    const int code = cli_report(walk->args,
                                dotk_attention_forward(walk->context, &shape,
                                                       walk->q + first * WIDTH, walk->k, walk->v,
                                                       &options, walk->out + first * WIDTH, sums),
                                NULL);
    *count = watch.count;
    *lse = sums[query - first];
    return code;
}

/* ------------------------------------------------------------------------- */
/*  1. The map                                                               */
/* ------------------------------------------------------------------------- */

struct map {
    size_t side;                                                  /* queries, and keys, of a cell */
    size_t made[CELLS_MAX][CELLS_MAX], all[CELLS_MAX][CELLS_MAX]; /* tiles */
};

static void
count_tiles(const struct walk *walk, size_t query, size_t count, struct map *map)
{
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t * TILE_KEYS < walk->steps[i].keys; t++) {
            const size_t row = query / map->side;
            const size_t col = (walk->steps[i].key + t * TILE_KEYS) / map->side;
            map->all[row][col]++;
            map->made[row][col] += walk->steps[i].weighed >> t & 1;
        }
}

static int
show_map(struct walk *walk)
{
    struct map map = {.side = TILE_KEYS};
    size_t made = 0, all = 0;

    while (map.side * CELLS_MAX < walk->length)
        map.side *= 2;
    for (size_t query = 0; query < walk->length; query += TILE_QUERIES) {
        size_t count;
        float lse;
        const int code = attend_tile(walk, query, &count, &lse);
        if (code != CLI_OK)
            return code;
        count_tiles(walk, query, count, &map);
    }
    printf(
        "1. Tiles. Scores are made in tiles of %d queries by %d keys; a tile of which no query "
        "sees a key is\n   skipped. Below, a character stands for %zu queries (down) by %zu keys "
        "(across): # all of its\n   tiles were made, + some, . none.%s\n\n",
        TILE_QUERIES, TILE_KEYS, map.side, map.side,
        walk->options.causal ? " Where + stands right of the diagonal, a tile of queries\n   "
                               "straddles two rows of this picture, and counts in the upper one."
                             : "");
    for (size_t r = 0; r * map.side < walk->length; r++) {
        fputs("   ", stdout);
        for (size_t c = 0; c * map.side < walk->length; c++) {
            made += map.made[r][c];
            all += map.all[r][c];
            putchar(map.made[r][c] == 0 ? '.' : map.made[r][c] == map.all[r][c] ? '#' : '+');
        }
        putchar('\n');
    }
    printf("\n   %zu of %zu tiles were made, %zu (%.1f %%) were skipped.\n\n", made, all,
           all - made, 100.0 * (double)(all - made) / (double)all);
    return CLI_OK;
}

/* ------------------------------------------------------------------------- */
/*  2. The steps                                                             */
/* ------------------------------------------------------------------------- */

static void
print_step(const dotk_attention_step *step, double so_far)
{
    const size_t tiles = (step->keys + TILE_KEYS - 1) / TILE_KEYS;
    char maximum[24] = "-", sum[24] = "-", log_sum[24] = "-";
    size_t made = 0;

    for (size_t t = 0; t < tiles; t++)
        made += step->weighed >> t & 1;
    if (step->sum > 0) {
        snprintf(maximum, sizeof(maximum), "%.4f", (double)step->maximum);
        snprintf(sum, sizeof(sum), "%.4f", (double)step->sum);
    }
    if (so_far > -INFINITY)
        snprintf(log_sum, sizeof(log_sum), "%.4f", so_far);
    printf("   %8zu - %-8zu %2zu of %-2zu  %10s  %12s  %18s%s\n", step->key,
           step->key + step->keys - 1, made, tiles, maximum, sum, log_sum,
           made == 0 ? "  skipped" : "");
}

static int
show_steps(struct walk *walk)
{
    size_t count;
    float lse;
    double chunks = 0; /* the sum of e^score over the chunks that are done */
    const int code = attend_tile(walk, walk->follow, &count, &lse);

    if (code != CLI_OK)
        return code;
    printf(
        "2. Query %zu, one block of keys after the other. Of all its scores no more is kept than "
        "two\n   numbers, a maximum and the sum of e^(score - maximum), beside the output itself, "
        "%d numbers.\n   The maximum moves by multiples of log 2 = 0.6931, and only when a score "
        "leaves it far below.\n   Every %d keys the sums begin anew, so that work can be cut there "
        "without "
        "changing a bit.\n\n"
        "        keys            tiles     maximum           sum  log-sum-exp so far\n",
        walk->follow, WIDTH, CHUNK);
    for (size_t i = 0; i < count; i++) {
        const dotk_attention_step *step = &walk->steps[i];
        const double now = (double)step->sum * exp((double)step->maximum);
        print_step(step, log(chunks + now));
        if (step->key + step->keys >= walk->length || (step->key + step->keys) % CHUNK == 0)
            chunks += now;
    }
    printf("\n   The chunks together give %.4f; the log-sum-exp that dotk_attention_forward() "
           "returns is %.4f.\n\n",
           log(chunks), (double)lse);
    return CLI_OK;
}

/* ------------------------------------------------------------------------- */
/*  3. Memory                                                                */
/* ------------------------------------------------------------------------- */

/* Bytes that a causal call of this length takes at its most, beyond inputs and outputs. */
static int
measure_memory(struct walk *walk, size_t length, size_t *bytes)
{
    const dotk_attention_shape shape = {1, 1, length, length, WIDTH, WIDTH, 1};
    float *q = NULL, *out = NULL;
    dotk_context *context = NULL; /* a new one, which holds no memory of calls before */
    int code = cli_context(walk->args, &context);

    if (code == CLI_OK)
        code = make_rows(walk, length, 4, &q);
    if (code == CLI_OK)
        out = calloc(length, WIDTH * sizeof(*out));
    if (code == CLI_OK && out == NULL)
        code = cli_out_of_memory(walk->args);
    const size_t before = atomic_load(&held);
    atomic_store(&most_held, before);
    if (code == CLI_OK)
        code = cli_report(
            walk->args, dotk_attention_forward(context, &shape, q, q, q, &walk->options, out, NULL),
            NULL);
    *bytes = atomic_load(&most_held) - before;
    free(out);
    free(q);
    dotk_context_destroy(context);
    return code;
}

static int
show_memory(struct walk *walk)
{
    printf(
        "3. Memory, measured: what one head takes at its most beyond inputs and outputs, and what "
        "the matrix\n   of its weights would.\n\n"
        "   queries and keys    dotk, KiB    the matrix, KiB\n");
    for (size_t length = 512; length <= 4096; length *= 2) {
        size_t bytes;
        const int code = measure_memory(walk, length, &bytes);
        if (code != CLI_OK)
            return code;
        printf("   %16zu  %11.0f  %17.0f\n", length, (double)bytes / 1024,
               (double)length * (double)length * sizeof(float) / 1024);
    }
    return CLI_OK;
}

int
verb_explain(const struct cli_args *args)
{
    static const dotk_allocator counting = {allocate, release, NULL};
    struct walk walk = {.args = args};

    if (strcmp(args->operand[0], "attention") != 0)
        return cli_fail(args, CLI_USAGE, "'%s' is not explained: it has to be attention",
                        args->operand[0]);
    int code = cli_report(args, dotk_set_allocator(&counting), NULL);
    if (code == CLI_OK)
        code = cli_context(args, &walk.context);
    if (code == CLI_OK)
        code = make_walk(&walk);
    if (code == CLI_OK)
        printf("Attention of %zu queries to %zu keys, %d values each: %s.\n\n", walk.length,
               walk.length, WIDTH,
               walk.options.causal ? "a query sees its own place and what comes before"
                                   : "a query sees a window around its place");
    if (code == CLI_OK)
        code = show_map(&walk);
    if (code == CLI_OK)
        code = show_steps(&walk);
    if (code == CLI_OK)
        code = show_memory(&walk);
    free(walk.v);
    free(walk.k);
    free(walk.q);
    free(walk.out);
    free(walk.steps);
    dotk_context_destroy(walk.context);
    return code;
}
