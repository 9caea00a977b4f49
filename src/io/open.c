/*
 * open.c - tells formats apart, and turns what a reader found into a matrix
 *
 * First bytes decide before names do, because names lie. f32 values on a 4-byte boundary are
 * used where they are mapped; everything else is converted once.
 */
#include "io/read.h"
#include "platform/file.h"
#include "platform/float_mode.h"
#include "platform/memory.h"
#include "platform/status.h"

#include <string.h>

/* Whether 'name', less a ".gz" that somebody has already unpacked, ends so. */
static bool
ends_as(const char *name, const char *ending)
{
    const size_t ending_length = strlen(ending);
    size_t length = strlen(name);

    if (length >= 3 && strcmp(name + length - 3, ".gz") == 0)
        length -= 3;
    return length >= ending_length &&
           memcmp(name + length - ending_length, ending, ending_length) == 0;
}

static bool
starts_as(const struct dk_source *source, const char *bytes, size_t count)
{
    return source->size >= count && memcmp(source->bytes, bytes, count) == 0;
}

static bool
is_npy(const struct dk_source *source)
{
    return starts_as(source, "\x93NUMPY", 6);
}

/* Every type IDX knows, 1 to 255 axes. */
static bool
is_idx(const struct dk_source *source)
{
    return starts_as(source, "\0\0", 2) && source->size >= 4 && source->bytes[2] >= 0x08 &&
           source->bytes[2] <= 0x0e && source->bytes[3] != 0;
}

static bool
is_gzip(const struct dk_source *source)
{
    return starts_as(source, "\x1f\x8b", 2);
}

static dotk_status
refuse_gzip(const struct dk_source *source, struct dk_found *found)
{
    (void)found;
    return dk_fail(DOTK_UNSUPPORTED, "%s: is compressed by gzip: gunzip it first", source->name);
}

static bool
is_zip(const struct dk_source *source)
{
    return starts_as(source, "PK\3\4", 4);
}

static dotk_status
refuse_zip(const struct dk_source *source, struct dk_found *found)
{
    (void)found;
    return dk_fail(DOTK_UNSUPPORTED,
                   "%s: is a zip archive (.npz?): save the one array with numpy.save()",
                   source->name);
}

/*
 * These begin with a number of rows, which can be anything, the mark of another format included;
 * so their sizes, which fit to the byte, count as their mark.
 */
static bool
is_fbin(const struct dk_source *source)
{
    return ends_as(source->name, ".fbin") && dk_fits_bin(source, sizeof(float));
}

static bool
is_u8bin(const struct dk_source *source)
{
    return ends_as(source->name, ".u8bin") && dk_fits_bin(source, 1);
}

static bool
is_i8bin(const struct dk_source *source)
{
    return ends_as(source->name, ".i8bin") && dk_fits_bin(source, 1);
}

static const struct {
    bool (*starts)(const struct dk_source *source); /* NULL: has no mark of its own */
    const char *ending;                             /* NULL: told by its mark alone */
    dk_reader *read;
} formats[] = {
    {is_fbin, ".fbin", dk_read_fbin},    {is_u8bin, ".u8bin", dk_read_u8bin},
    {is_i8bin, ".i8bin", dk_read_i8bin}, {is_npy, ".npy", dk_read_npy},
    {is_idx, "-ubyte", dk_read_idx},     {NULL, ".idx", dk_read_idx},
    {NULL, ".fvecs", dk_read_fvecs},     {NULL, ".bvecs", dk_read_bvecs},
    {NULL, ".ivecs", dk_read_ivecs},     {NULL, ".ibin", dk_read_ibin},
    {is_gzip, NULL, refuse_gzip},        {is_zip, NULL, refuse_zip},
};

enum { FORMATS = sizeof formats / sizeof formats[0] };

static dotk_status
find_values(const struct dk_source *source, const dotk_vectors_options *options,
            struct dk_found *found)
{
    if (source->size == 0)
        return dk_fail(DOTK_CORRUPT, "%s: is empty", source->name);
    if (options != NULL && options->raw != DOTK_RAW_NONE)
        return dk_read_raw(source, options->raw, options->dim, found);
    for (size_t i = 0; i < FORMATS; i++) {
        if (formats[i].starts != NULL && formats[i].starts(source))
            return formats[i].read(source, found);
    }
    for (size_t i = 0; i < FORMATS; i++) {
        if (formats[i].ending != NULL && ends_as(source->name, formats[i].ending))
            return formats[i].read(source, found);
    }
    return dk_fail(DOTK_UNSUPPORTED,
                   "%s: is neither .npy, .fvecs, .bvecs, .fbin, .u8bin, .i8bin nor IDX: for values "
                   "without a header give raw and dim (dotk: --raw, --dim; Python: dtype, dim)",
                   source->name);
}

static dotk_status
check_options(const dotk_vectors_options *options)
{
    DK_CHECK_OPTIONS(options);
    if (options == NULL)
        return DOTK_OK;
    if ((unsigned)options->raw > DOTK_RAW_I8)
        return dk_fail(DOTK_BAD_ARGUMENT, "options->raw is %d: it is no dotk_raw_type",
                       (int)options->raw);
    if ((options->raw != DOTK_RAW_NONE) != (options->dim != 0))
        return dk_fail(DOTK_BAD_ARGUMENT,
                       "options->raw is %d and options->dim is %zu: a headerless file needs both, "
                       "any other neither",
                       (int)options->raw, options->dim);
    return DOTK_OK;
}

/* How values may stay where they are. */
enum keep {
    KEEP_NONE,   /* the source is gone after the call          */
    KEEP_F32,    /* a mapping: f32 values are used in it       */
    KEEP_STREAM, /* a mapping: and others are converted later  */
};

/* Fills opened->view. */
static dotk_status
fill_view(struct dk_opened *opened, enum keep keep)
{
    const struct dk_found *const found = &opened->found;
    dotk_vectors *const view = &opened->view;

    *view = (dotk_vectors){
        .rows = found->rows,
        .dim = found->dim,
        .stride = found->dim,
        .axes = found->axes,
        .format = found->format,
        .type = dk_element_name(found->element),
    };
    memcpy(view->shape, found->shape, found->axes * sizeof found->shape[0]);
    if (keep != KEEP_NONE && found->element == DK_ELEMENT_F32 &&
        found->offset % sizeof(float) == 0 && found->row_bytes % sizeof(float) == 0) {
        view->data = (const float *)(const void *)(opened->source.bytes + found->offset);
        view->stride = found->row_bytes / sizeof(float);
        view->mapped = 1;
        return DOTK_OK;
    }
    if (keep == KEEP_STREAM)
        return DOTK_OK;
    /* Not more than 4 bytes for each byte of the source, so nothing here can overflow. */
    const size_t bytes = found->rows * found->dim * sizeof(float);
    opened->copy = dk_alloc(bytes);
    if (opened->copy == NULL)
        return dk_fail_memory(bytes, opened->name);
    view->data = opened->copy;
    return dk_convert(&opened->source, found, 0, found->rows, opened->copy);
}

/* *out is set only on success. */
static dotk_status
make_vectors(const struct dk_source *source, const dotk_vectors_options *options, enum keep keep,
             struct dk_opened **out)
{
    struct dk_found found = {0};

    dotk_status status = find_values(source, options, &found);
    if (status != DOTK_OK)
        return status;
    const size_t name_size = strlen(source->name) + 1, size = sizeof **out + name_size;
    struct dk_opened *const opened = dk_alloc(size);
    if (opened == NULL)
        return dk_fail_memory(size, source->name);
    *opened = (struct dk_opened){.source = *source, .found = found};
    memcpy(opened->name, source->name, name_size);
    opened->source.name = opened->name;
    const uint64_t float_mode = dk_float_mode_enter();
    status = fill_view(opened, keep);
    dk_float_mode_leave(float_mode);
    if (status != DOTK_OK) {
        dk_free(opened->copy);
        dk_free(opened);
        return status;
    }
    *out = opened;
    return DOTK_OK;
}

dotk_status
dotk_vectors_open(const char *path, const dotk_vectors_options *options, dotk_vectors **out)
{
    struct dk_opened *opened;
    struct dk_mapping mapping;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL");
    *out = NULL;
    if (path == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "path is NULL");
    dotk_status status = check_options(options);
    if (status == DOTK_OK)
        status = dk_map(path, &mapping);
    if (status != DOTK_OK)
        return status;
    const struct dk_source source = {mapping.bytes, mapping.size, path};
    const bool stream = options != NULL && options->stream != 0;
    status = make_vectors(&source, options, stream ? KEEP_STREAM : KEEP_F32, &opened);
    if (status != DOTK_OK) {
        dk_unmap(&mapping);
        return status;
    }
    if (opened->copy == NULL)
        opened->mapping = mapping;
    else
        dk_unmap(&mapping);
    *out = &opened->view;
    return DOTK_OK;
}

dotk_status
dotk_vectors_parse(const void *bytes, size_t size, const char *name,
                   const dotk_vectors_options *options, dotk_vectors **out)
{
    struct dk_opened *opened;

    if (out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "out is NULL");
    *out = NULL;
    if (name == NULL || (bytes == NULL && size > 0))
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", name == NULL ? "name" : "bytes");
    dotk_status status = check_options(options);
    if (status != DOTK_OK)
        return status;
    const struct dk_source source = {bytes, size, name};
    status = make_vectors(&source, options, KEEP_NONE, &opened);
    if (status == DOTK_OK)
        *out = &opened->view;
    return status;
}

dotk_status
dotk_vectors_read(const dotk_vectors *vectors, size_t first, size_t count, float *out)
{
    if (vectors == NULL || out == NULL)
        return dk_fail(DOTK_BAD_ARGUMENT, "%s is NULL", vectors == NULL ? "vectors" : "out");
    if (first > vectors->rows || count > vectors->rows - first)
        return dk_fail(DOTK_BAD_ARGUMENT, "first is %zu and count is %zu: there are %zu rows",
                       first, count, vectors->rows);
    if (vectors->data != NULL) {
        const size_t rows = vectors->dim > 0 ? count : 0;
        for (size_t row = 0; row < rows; row++)
            memcpy(out + row * vectors->dim, vectors->data + (first + row) * vectors->stride,
                   vectors->dim * sizeof *out);
        return DOTK_OK;
    }
    const struct dk_opened *const opened = (const struct dk_opened *)(const void *)vectors;
    const uint64_t float_mode = dk_float_mode_enter();
    const dotk_status status = dk_convert(&opened->source, &opened->found, first, count, out);
    dk_float_mode_leave(float_mode);
    return status;
}

void
dotk_vectors_close(dotk_vectors *vectors)
{
    if (vectors == NULL)
        return;
    struct dk_opened *const opened = (struct dk_opened *)(void *)vectors;
    dk_unmap(&opened->mapping);
    dk_free(opened->copy);
    dk_free(opened);
}
