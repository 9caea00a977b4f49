/*
 * save.c - writes vectors in any format and type, block by block
 *
 * All values are counted through, row after row, and a block is so many of them, whatever the rows
 * are like: a file of few long rows and one of many short ones take the same memory. For a block,
 * values are fetched as f32, encoded, and handed to the output.
 */
#include "io/write.h"
#include "platform/file.h"
#include "platform/memory.h"
#include "platform/status.h"
#include "tile/tile.h"

#include <stdio.h>
#include <string.h>

enum {
    BLOCK = 1 << 16, /* values: some 50 us of work, so that progress and cancelling are prompt */
    WORD = 4,        /* bytes of a size in a header */
    MOST_BYTES = 2 * WORD * BLOCK /* of a block: rows of one f32, each after its dimension */
};

/* How values are laid out in the file. */
enum layout {
    LAYOUT_NPY,
    LAYOUT_EACH,  /* every row after its dimension */
    LAYOUT_SIZES, /* rows and dimension, then all  */
    LAYOUT_BARE   /* no header                     */
};

#define F32  (1u << DK_ELEMENT_F32)
#define F16  (1u << DK_ELEMENT_F16)
#define BF16 (1u << DK_ELEMENT_BF16)
#define U8   (1u << DK_ELEMENT_U8)
#define I8   (1u << DK_ELEMENT_I8)

struct form {
    const char *ending;
    enum layout layout;
    unsigned held; /* bit e: it can hold element e */
};

static const struct form forms[] = {
    {".npy", LAYOUT_NPY, F32 | F16 | U8 | I8},
    {".fvecs", LAYOUT_EACH, F32},
    {".bvecs", LAYOUT_EACH, U8},
    {".fbin", LAYOUT_SIZES, F32},
    {".u8bin", LAYOUT_SIZES, U8},
    {".i8bin", LAYOUT_SIZES, I8},
    {".f32", LAYOUT_BARE, F32},
    {".f16", LAYOUT_BARE, F16},
    {".bf16", LAYOUT_BARE, BF16},
    {".u8", LAYOUT_BARE, U8},
    {".i8", LAYOUT_BARE, I8},
    {".raw", LAYOUT_BARE, F32 | F16 | BF16 | U8 | I8},
};

enum { FORMS = sizeof forms / sizeof forms[0] };

/* The elements that are written; of those that a form holds, the first is its default. */
static const struct {
    enum dk_element element;
    const char *descr; /* in .npy */
    const char *range; /* for messages */
} elements[] = {
    {DK_ELEMENT_F32, "<f4", ""},
    {DK_ELEMENT_F16, "<f2", "numbers below 65520"},
    {DK_ELEMENT_BF16, NULL, "numbers below 3.3961776e+38"},
    {DK_ELEMENT_U8, "|u1", "whole numbers from 0 to 255"},
    {DK_ELEMENT_I8, "|i1", "whole numbers from -128 to 127"},
};

enum { ELEMENTS = sizeof elements / sizeof elements[0] };

/* One public call. */
struct saving {
    const char *path;
    const dotk_vectors *vectors;
    const struct form *form;
    size_t element;              /* in elements[] */
    size_t stride, total, first; /* values; first: of the block */
    struct dk_output output;
    float *values;  /* BLOCK, for those that have to be converted first */
    uint8_t *bytes; /* MOST_BYTES */
    dotk_status status;
};

/* ------------------------------------------------------------------------- */
/*  What is asked for                                                        */
/* ------------------------------------------------------------------------- */

static dotk_status
find_form(struct saving *saving)
{
    const size_t length = strlen(saving->path);

    for (size_t i = 0; i < FORMS; i++) {
        const size_t ending = strlen(forms[i].ending);
        if (length > ending && strcmp(saving->path + length - ending, forms[i].ending) == 0) {
            saving->form = &forms[i];
            return DOTK_OK;
        }
    }
    return dk_fail(DOTK_BAD_ARGUMENT,
                   "%s: its ending names no format that is written: choose .npy, .fvecs, .bvecs, "
                   ".fbin, .u8bin, .i8bin, or without a header .f32, .f16, .bf16, .u8, .i8, .raw",
                   saving->path);
}

static bool
is_held(const struct form *form, size_t element)
{
    return (form->held >> elements[element].element & 1) != 0;
}

static const char *
element_name(size_t element)
{
    return dk_element_name(elements[element].element);
}

/* What the vectors are, if the form holds that. */
static size_t
default_element(const struct form *form, const char *stored)
{
    size_t element = 0;

    for (size_t i = 0; stored != NULL && i < ELEMENTS; i++) {
        if (is_held(form, i) && strcmp(stored, element_name(i)) == 0)
            return i;
    }
    while (!is_held(form, element))
        element++;
    return element;
}

static dotk_status
find_element(struct saving *saving, dotk_raw_type type)
{
    char held[40];
    size_t length = 0;

    if (type == DOTK_RAW_NONE) {
        saving->element = default_element(saving->form, saving->vectors->type);
        return DOTK_OK;
    }
    while (elements[saving->element].element != dk_raw_element(type))
        saving->element++;
    if (is_held(saving->form, saving->element))
        return DOTK_OK;
    for (size_t i = 0; i < ELEMENTS; i++) {
        if (is_held(saving->form, i))
            length += (size_t)snprintf(held + length, sizeof held - length, "%s%s",
                                       length > 0 ? ", " : "", element_name(i));
    }
    return dk_fail(DOTK_BAD_ARGUMENT, "%s: type is %s, and %s holds %s: choose another ending",
                   saving->path, element_name(saving->element), saving->form->ending, held);
}

/* The sizes of vectors that a caller may have made up. */
static dotk_status
check_vectors(struct saving *saving)
{
    const dotk_vectors *const vectors = saving->vectors;
    size_t count = 1, bytes;

    saving->stride = vectors->stride != 0 ? vectors->stride : vectors->dim;
    if (saving->stride < vectors->dim)
        return dk_fail(DOTK_BAD_ARGUMENT, "vectors->stride is %zu: rows are %zu long",
                       vectors->stride, vectors->dim);
    if (!dk_mul(vectors->rows, vectors->dim, &saving->total) ||
        !dk_mul(saving->total, 2 * WORD, &bytes))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "vectors->rows is %zu and vectors->dim is %zu: the size overflows",
                       vectors->rows, vectors->dim);
    if (vectors->data == NULL && vectors->format == NULL && saving->total > 0)
        return dk_fail(DOTK_BAD_ARGUMENT, "vectors->data is NULL");
    if (vectors->axes > DOTK_MAX_AXES)
        return dk_fail(DOTK_BAD_ARGUMENT, "vectors->axes is %zu: at most %d", vectors->axes,
                       DOTK_MAX_AXES);
    for (size_t axis = 0; axis < vectors->axes; axis++) {
        if (!dk_mul(count, vectors->shape[axis], &count))
            count = SIZE_MAX;
    }
    if (vectors->axes > 0 && count != saving->total)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "vectors->shape has %zu values, rows and dim make %zu: they have to agree",
                       count, saving->total);
    return DOTK_OK;
}

/* The sizes that a form cannot express. */
static dotk_status
check_form(const struct saving *saving)
{
    const size_t rows = saving->vectors->rows, dim = saving->vectors->dim;
    const char *const ending = saving->form->ending;

    if (saving->form->layout == LAYOUT_NPY)
        return DOTK_OK;
    if (saving->form->layout == LAYOUT_SIZES) {
        if (rows > UINT32_MAX || dim > UINT32_MAX)
            return dk_fail(DOTK_BAD_ARGUMENT,
                           "%s: %s holds up to 4294967295 rows of up to 4294967295 values, not %zu "
                           "of %zu: use .npy",
                           saving->path, ending, rows, dim);
        return DOTK_OK;
    }
    if (saving->total == 0)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s: %s cannot say that there are %zu rows of %zu values: use .npy",
                       saving->path, ending, rows, dim);
    if (saving->form->layout == LAYOUT_EACH && dim > INT32_MAX)
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "%s: rows of %s have up to 2147483647 values, not %zu: use .npy",
                       saving->path, ending, dim);
    return DOTK_OK;
}

/* ------------------------------------------------------------------------- */
/*  Writing                                                                  */
/* ------------------------------------------------------------------------- */

static uint8_t *
put_u32(uint8_t *to, size_t value)
{
    for (size_t i = 0; i < WORD; i++)
        to[i] = (uint8_t)(value >> 8 * i);
    return to + WORD;
}

static dotk_status
write_header(struct saving *saving)
{
    const dotk_vectors *const vectors = saving->vectors;
    const size_t matrix[] = {vectors->rows, vectors->dim};
    uint8_t header[DK_NPY_HEADER];
    size_t length = 0;

    if (saving->form->layout == LAYOUT_NPY)
        length = dk_npy_header(elements[saving->element].descr,
                               vectors->axes > 0 ? vectors->axes : 2,
                               vectors->axes > 0 ? vectors->shape : matrix, header);
    else if (saving->form->layout == LAYOUT_SIZES)
        length = (size_t)(put_u32(put_u32(header, vectors->rows), vectors->dim) - header);
    return dk_output_write(&saving->output, header, length);
}

/* *out = part of a row as f32: where it lies, or in saving->values. */
static dotk_status
fetch(const struct saving *saving, size_t row, size_t column, size_t count, const float **out)
{
    const dotk_vectors *const vectors = saving->vectors;

    if (vectors->data != NULL) {
        *out = vectors->data + row * saving->stride + column;
        return DOTK_OK;
    }
    const struct dk_opened *const opened = (const struct dk_opened *)(const void *)vectors;
    *out = saving->values;
    return dk_convert_part(&opened->source, &opened->found, row, column, count, saving->values);
}

static dotk_status
write_block(struct saving *saving, size_t first, size_t count)
{
    const enum dk_element element = elements[saving->element].element;
    const size_t dim = saving->vectors->dim;
    size_t row = first / dim, column = first % dim;
    uint8_t *to = saving->bytes;

    while (count > 0) {
        const size_t part = dk_min(count, dim - column);
        const float *from;
        if (saving->form->layout == LAYOUT_EACH && column == 0)
            to = put_u32(to, dim);
        const dotk_status status = fetch(saving, row, column, part, &from);
        if (status != DOTK_OK)
            return status;
        const size_t done = dk_encode(element, from, part, to);
        if (done < part)
            return dk_fail(DOTK_UNSUPPORTED,
                           "row %zu, column %zu is %.9g: %s holds %s only: choose a wider type "
                           "(f32 holds all), or scale the values first",
                           row, column + done, (double)from[done], element_name(saving->element),
                           elements[saving->element].range);
        to += part * dk_element_size(element);
        count -= part;
        column = 0;
        row++;
    }
    return dk_output_write(&saving->output, saving->bytes, (size_t)(to - saving->bytes));
}

static void
write_task(void *arg, size_t task, size_t slot)
{
    struct saving *const saving = arg;

    (void)task;
    (void)slot;
    saving->status = write_block(saving, saving->first,
                                 dk_min(BLOCK, saving->total - saving->first));
}

static dotk_status
write_values(struct saving *saving, struct dk_call *call)
{
    call->parts = saving->total / BLOCK + (saving->total % BLOCK != 0);
    for (call->part = 0; call->part < call->parts; call->part++) {
        saving->first = call->part * BLOCK;
        const dotk_status status = dk_call_run(call, 1, write_task, saving);
        if (status != DOTK_OK || saving->status != DOTK_OK)
            return status != DOTK_OK ? status : saving->status;
    }
    return DOTK_OK;
}

static dotk_status
write_file(struct saving *saving, struct dk_call *call)
{
    saving->values = dk_call_alloc(call, BLOCK, sizeof *saving->values);
    saving->bytes = dk_call_alloc(call, MOST_BYTES, 1);
    if (saving->values == NULL || saving->bytes == NULL)
        return dk_fail_memory(BLOCK * sizeof *saving->values + MOST_BYTES, "a block of values");
    dotk_status status = dk_output_begin(saving->path, &saving->output);
    if (status != DOTK_OK)
        return status;
    status = write_header(saving);
    if (status == DOTK_OK)
        status = write_values(saving, call);
    return dk_output_end(&saving->output, status);
}

dotk_status
dotk_vectors_save(dotk_context *context, const char *path, const dotk_vectors *vectors,
                  dotk_raw_type type)
{
    struct saving saving = {.path = path, .vectors = vectors};
    struct dk_call call;

    if (path == NULL || vectors == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", path == NULL ? "path" : "vectors");
    if ((unsigned)type > DOTK_RAW_I8)
        return dk_fail(DOTK_BAD_ARGUMENT, "type is %d: it is no dotk_raw_type", (int)type);
    dotk_status status = find_form(&saving);
    if (status == DOTK_OK)
        status = find_element(&saving, type);
    if (status == DOTK_OK)
        status = check_vectors(&saving);
    if (status == DOTK_OK)
        status = check_form(&saving);
    if (status == DOTK_OK)
        status = dk_call_begin(context, &call);
    if (status != DOTK_OK)
        return status;
    status = write_file(&saving, &call);
    dk_call_end(&call);
    return status;
}
