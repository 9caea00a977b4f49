/*
 * attend_show.c - the weights of a head, token by token; see attend.h
 *
 * Only the rows that are shown are computed, so that a picture of the beginning of a long text
 * takes no more memory than that.
 */
#include "attend.h"
#include "heatmap.h"
#include "labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_ROWS 40 /* of a heat-map in the terminal */
#define SHOWN_COLS 36
#define DRAWN_MAX  256 /* rows and columns of an SVG picture */
#define NUMBERED   8   /* up to so many columns have numbers, which speak for themselves */

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* (rows, S) weights of one head of the first batch entry, or the mean of all. */
static int
weigh(const struct attend *attend, size_t head, bool all, size_t rows, float *weights)
{
    const size_t group = attend->shape.heads / attend->shape.key_heads;
    dotk_attention_shape shape = attend->shape;
    dotk_attention_options options = attend->options;
    const size_t size = options.store == DOTK_STORE_F32 ? 4 : 2; /* bytes of a number */
    const char *q = attend->q, *k = attend->k;

    shape.batch = 1;
    shape.queries = rows;
    options.dropout = 0; /* what is looked at is where the query looks */
    if (!all) {
        shape.heads = shape.key_heads = 1;
        q += size * head * options.query.head;
        k += size * (head / group) * options.key.head;
        if (options.mask != NULL)
            options.mask += head * options.mask_layout.head;
        if (options.bias != NULL)
            options.bias += head * options.bias_layout.head;
        if (options.slopes != NULL)
            options.slopes += head;
        if (options.sinks != NULL)
            options.sinks += head;
    }
    return cli_report(attend->args,
                      dotk_attention_weights(attend->context, &shape, q, k, &options, all, weights),
                      NULL);
}

struct names {
    struct labels keys, queries;
    const char *const *rows, *const *cols;
    const char *cut[DRAWN_MAX]; /* names of the queries, where they are those of keys */
};

static int
check_names(const struct attend *attend, enum cli_option option, const struct labels *labels,
            const struct attend_array *array)
{
    if (labels->label == NULL || labels->count == array->rows)
        return CLI_OK;
    return cli_fail(attend->args, CLI_BAD_INPUT, "%s %s has %zu lines, %s %s has %zu rows",
                    cli_option_name(option), attend->args->value[option].text, labels->count,
                    cli_option_name(array->option), attend->args->value[array->option].text,
                    array->rows);
}

/* Labels of keys are those of the queries at the same places. */
static void
share_names(const struct attend *attend, size_t rows, struct names *names)
{
    const int64_t offset = attend->options.query_offset, keys = (int64_t)attend->key.rows;
    const bool placed = attend->args->value[OPT_QUERY_OFFSET].given;

    if (attend->query.rows != attend->key.rows && !placed)
        return;
    for (size_t r = 0; r < rows; r++) {
        const int64_t at = (int64_t)r + offset;
        names->cut[r] = at >= 0 && at < keys ? names->keys.label[at] : "";
    }
    names->rows = names->cut;
}

static int
read_names(const struct attend *attend, size_t rows, struct names *names)
{
    int code = labels_read(attend->args, OPT_LABELS, &names->keys);

    if (code == CLI_OK)
        code = labels_read(attend->args, OPT_QUERY_LABELS, &names->queries);
    if (code == CLI_OK)
        code = check_names(attend, OPT_LABELS, &names->keys, &attend->key);
    if (code == CLI_OK)
        code = check_names(attend, OPT_QUERY_LABELS, &names->queries, &attend->query);
    if (code != CLI_OK)
        return code;
    names->cols = names->keys.label;
    if (names->queries.label != NULL)
        names->rows = names->queries.label;
    else if (names->keys.label != NULL)
        share_names(attend, rows, names);
    return CLI_OK;
}

/* The largest weight that is shown. */
static float
largest(const struct heatmap *map)
{
    float top = 0;

    for (size_t r = 0; r < map->rows; r++)
        for (size_t c = 0; c < map->cols; c++)
            top = fmaxf(top, map->cells[r * map->stride + c]);
    return top;
}

static int
draw(const struct attend *attend, const struct heatmap *map)
{
    const struct cli_args *args = attend->args;

    if (args->value[OPT_SVG].given) {
        const int code = heatmap_save_svg(args, map);
        if (code != CLI_OK || !args->value[OPT_HEAT].given)
            return code;
    }
    struct heatmap shown = *map;
    shown.rows = smaller(map->rows, SHOWN_ROWS);
    shown.cols = smaller(map->cols, SHOWN_COLS);
    heatmap_print(&shown, cli_color(args, stdout), stdout);
    return CLI_OK;
}

int
attend_show(const struct attend *attend)
{
    const struct cli_args *args = attend->args;
    const bool svg = args->value[OPT_SVG].given, all = args->value[OPT_AVERAGE_HEADS].given;
    const uint64_t head = args->value[OPT_HEAD].seed;
    const size_t queries = attend->shape.queries, keys = attend->shape.keys;
    const int64_t before = -attend->options.query_offset; /* queries before the first key */
    char title[160], which[48] = "all heads, averaged";
    struct names names = {0};
    struct heatmap map = {.rows = smaller(queries, svg ? DRAWN_MAX : SHOWN_ROWS),
                          .cols = smaller(keys, svg ? DRAWN_MAX : SHOWN_COLS),
                          .stride = keys,
                          .title = title};

    if (attend->shape.batch == 0 || head >= attend->shape.heads)
        return cli_fail(args, CLI_USAGE, "--head is %llu: --query %s has %zu heads, counted from 0",
                        (unsigned long long)head, args->value[OPT_QUERY].text, attend->shape.heads);
    dotk_attention_shape room = attend->shape;
    room.batch = room.heads = 1;
    room.queries = map.rows;
    if (before > (int64_t)map.rows) /* an offset has to lie within the queries of its call */
        room.queries = (size_t)before;
    float *const weights = attend_room(&room, keys);
    int code = weights == NULL ? cli_out_of_memory(args) : read_names(attend, map.rows, &names);
    cli_stage("weighing");
    if (code == CLI_OK)
        code = weigh(attend, (size_t)head, all, room.queries, weights);
    cli_stage(NULL);
    if (!all)
        snprintf(which, sizeof(which), "head %llu", (unsigned long long)head);
    snprintf(title, sizeof(title),
             "weights of %s: %zu of %zu queries (down), %zu of %zu keys (across)", which, map.rows,
             queries, map.cols, keys);
    map.cells = weights;
    map.row_labels = names.rows;
    map.col_labels = names.cols;
    if (code == CLI_OK) {
        map.top = map.cols > NUMBERED ? largest(&map) : 0;
        code = draw(attend, &map);
    }
    labels_free(&names.keys);
    labels_free(&names.queries);
    free(weights);
    return code;
}
