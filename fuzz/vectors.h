/*
 * vectors.h - what the fuzz targets of vector files share
 *
 * Whatever the bytes are: a failure leaves no handle and says why, a success describes values
 * that are all there, nothing leaks, and nothing is allocated beyond what the bytes can fill.
 */
#ifndef DOTK_FUZZ_VECTORS_H
#define DOTK_FUZZ_VECTORS_H

#include <dotk/io.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t allocation_limit;

static inline void
require(int condition)
{
    if (!condition)
        abort();
}

static inline void *
limited_allocate(void *user, size_t size)
{
    (void)user;
    require(size <= allocation_limit);
    return malloc(size);
}

static inline void
limited_release(void *user, void *pointer)
{
    (void)user;
    free(pointer);
}

/* From now on no single allocation may be larger than a file of 'size' bytes can need. */
static inline void
limit_allocations(size_t size)
{
    const dotk_allocator hooks = {limited_allocate, limited_release, NULL};
    allocation_limit = 4096 + 4 * size;
    require(dotk_set_allocator(&hooks) == DOTK_OK);
}

/* Reads every value, so that a sanitizer sees one that is not there. */
static inline void
check_vectors(dotk_status status, const dotk_vectors *vectors, size_t size)
{
    static volatile float sink;

    require((status == DOTK_OK) == (vectors != NULL));
    if (vectors == NULL) {
        require(dotk_last_message()[0] != '\0');
        return;
    }
    require(vectors->axes <= DOTK_MAX_AXES && vectors->format != NULL && vectors->type != NULL);
    require(vectors->stride >= vectors->dim);
    if (vectors->dim == 0)
        return; /* any number of empty rows */
    require(vectors->rows <= size / vectors->dim);
    for (size_t row = 0; row < vectors->rows; row++) {
        for (size_t d = 0; d < vectors->dim; d++)
            sink = vectors->data[row * vectors->stride + d];
    }
    (void)sink;
}

/* dotk_vectors_parse() and a look at the result. */
static inline void
fuzz_parse(const uint8_t *data, size_t size, const char *name, const dotk_vectors_options *options)
{
    dotk_vectors *vectors;

    limit_allocations(size);
    const dotk_status status = dotk_vectors_parse(data, size, name, options, &vectors);
    check_vectors(status, vectors, size);
    dotk_vectors_close(vectors);
}

#endif /* DOTK_FUZZ_VECTORS_H */
