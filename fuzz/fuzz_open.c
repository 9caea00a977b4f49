/*
 * fuzz_open.c - the first byte chooses the name's ending; the rest is the file
 *
 * The file on the disk, mapped where that can be, the same file read in parts, and the same bytes
 * in memory must come to the same answer.
 */
#define _GNU_SOURCE
#include "vectors.h"

#include <stdio.h>
#include <unistd.h>

static const char *const endings[] = {"",     ".npy",      ".fvecs", ".bvecs", ".ivecs", "-ubyte",
                                      ".idx", ".fvecs.gz", ".fbin",  ".u8bin", ".i8bin", ".ibin"};

static char folder[64], path[128];

static void
remove_files(void)
{
    unlink(path);
    rmdir(folder);
}

/* Writes the bytes as folder/x<ending>. */
static void
write_input(const uint8_t *data, size_t size, const char *ending)
{
    if (folder[0] == '\0') {
        strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/dotk-fuzz-XXXXXX"
                                                     : "/tmp/dotk-fuzz-XXXXXX");
        require(mkdtemp(folder) != NULL);
        atexit(remove_files);
    }
    snprintf(path, sizeof path, "%s/x%s", folder, ending);
    FILE *const file = fopen(path, "wb");
    require(file != NULL);
    require(fwrite(data, 1, size, file) == size);
    require(fclose(file) == 0);
}

static void
require_equal(const dotk_vectors *a, const dotk_vectors *b)
{
    require(a->rows == b->rows && a->dim == b->dim && a->axes == b->axes);
    require(memcmp(a->shape, b->shape, sizeof a->shape) == 0);
    require(strcmp(a->format, b->format) == 0 && strcmp(a->type, b->type) == 0);
    for (size_t row = 0; a->dim > 0 && row < a->rows; row++)
        require(memcmp(a->data + row * a->stride, b->data + row * b->stride,
                       a->dim * sizeof(float)) == 0);
}

/* The file, opened to be read in parts, has the same rows and no others. */
static void
require_equal_parts(const dotk_vectors *whole)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    dotk_vectors *stream;
    float *const row = malloc((whole->rows > 0 ? whole->dim : 0) * sizeof(float) + 1);

    options.stream = 1;
    require(row != NULL);
    require(dotk_vectors_open(path, &options, &stream) == DOTK_OK);
    require(stream->data == NULL || stream->mapped);
    require(stream->rows == whole->rows && stream->dim == whole->dim);
    for (size_t i = 0; whole->dim > 0 && i < whole->rows; i++) {
        require(dotk_vectors_read(stream, i, 1, row) == DOTK_OK);
        require(memcmp(row, whole->data + i * whole->stride, whole->dim * sizeof(float)) == 0);
    }
    require(dotk_vectors_read(stream, whole->rows, 1, row) == DOTK_BAD_ARGUMENT);
    require(dotk_vectors_read(stream, 0, 0, NULL) == DOTK_BAD_ARGUMENT);
    dotk_vectors_close(stream);
    free(row);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dotk_vectors *mapped, *parsed;

    if (size == 0)
        return 0;
    const char *const ending = endings[data[0] % (sizeof endings / sizeof endings[0])];
    limit_allocations(size);
    write_input(data + 1, size - 1, ending);
    const dotk_status status = dotk_vectors_open(path, NULL, &mapped);
    if (status == DOTK_OK)
        require_equal_parts(mapped);
    unlink(path);
    check_vectors(status, mapped, size);
    require(dotk_vectors_parse(data + 1, size - 1, path, NULL, &parsed) == status);
    check_vectors(status, parsed, size);
    if (status == DOTK_OK)
        require_equal(mapped, parsed);
    dotk_vectors_close(mapped);
    dotk_vectors_close(parsed);
    return 0;
}
