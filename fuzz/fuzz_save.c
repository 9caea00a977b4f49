/*
 * fuzz_save.c - bytes as values that are saved and read again
 *
 * Byte 0 chooses the ending, byte 1 the type of the new file, byte 2 the type of the bytes, byte 3
 * the dimension; the rest are the values. What was saved has to come back as f32: the same, but for
 * rounding to 16 bits, which has to come back from a second time around unchanged.
 */
#define _GNU_SOURCE
#include "vectors.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const char *const endings[] = {".npy",   ".fvecs", ".bvecs", ".fbin", ".u8bin",
                                      ".i8bin", ".f32",   ".f16",   ".bf16", ".u8",
                                      ".i8",    ".raw",   ".other"};

static char folder[64], paths[2][128];

static void
remove_files(void)
{
    unlink(paths[0]);
    unlink(paths[1]);
    rmdir(folder);
}

static void
name_files(const char *ending)
{
    if (folder[0] == '\0') {
        strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/dotk-fuzz-XXXXXX"
                                                     : "/tmp/dotk-fuzz-XXXXXX");
        require(mkdtemp(folder) != NULL);
        atexit(remove_files);
    }
    snprintf(paths[0], sizeof paths[0], "%s/a%s", folder, ending);
    snprintf(paths[1], sizeof paths[1], "%s/b%s", folder, ending);
}

static dotk_raw_type
type_of(const char *name)
{
    static const char *const names[] = {"", "f32", "u8", "f16", "bf16", "i8"};
    int type = 5;

    while (type > 0 && strcmp(name, names[type]) != 0)
        type--;
    return (dotk_raw_type)type;
}

/* Opens what was saved; 'type' is what it was asked to be, DOTK_RAW_NONE where that was open. */
static dotk_vectors *
open_again(const char *path, const char *ending, dotk_raw_type type, const dotk_vectors *saved,
           int stream)
{
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    dotk_vectors *found;

    options.stream = stream;
    if (strcmp(ending, ".raw") == 0)
        options.raw = type != DOTK_RAW_NONE ? type : type_of(saved->type);
    else if (strlen(ending) <= 5)
        options.raw = type_of(ending + 1);
    options.dim = options.raw != DOTK_RAW_NONE ? saved->dim : 0;
    require(dotk_vectors_open(path, &options, &found) == DOTK_OK);
    require(found->rows == saved->rows && found->dim == saved->dim);
    return found;
}

static int
is_near(float a, float b, const char *type)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (strcmp(type, "f16") == 0)
        return a == b || fabsf(a - b) <= fmaxf(ldexpf(fabsf(a), -11), 0x1p-25f);
    if (strcmp(type, "bf16") == 0)
        return a == b || fabs((double)a - b) <= fmax(ldexp(fabs((double)a), -8), 0x1p-134);
    return a == b;
}

static void
check_near(const dotk_vectors *a, const dotk_vectors *b)
{
    for (size_t row = 0; row < a->rows; row++) {
        for (size_t d = 0; d < a->dim; d++)
            require(is_near(a->data[row * a->stride + d], b->data[row * b->stride + d], b->type));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEADER = 4, FORMS = sizeof endings / sizeof endings[0] };
    dotk_vectors_options options = DOTK_VECTORS_OPTIONS_INIT;
    dotk_vectors *vectors;

    if (size < HEADER)
        return 0;
    const char *const ending = endings[data[0] % FORMS];
    const dotk_raw_type type = (dotk_raw_type)(data[1] % 7); /* 6 is none */
    options.raw = (dotk_raw_type)(1 + data[2] % 5);
    options.dim = data[3];
    name_files(ending);
    if (dotk_vectors_parse(data + HEADER, size - HEADER, "x", &options, &vectors) != DOTK_OK)
        return 0;
    if (dotk_vectors_save(NULL, paths[0], vectors, type) == DOTK_OK) {
        dotk_vectors *const found = open_again(paths[0], ending, type, vectors, 0);
        check_near(vectors, found);
        dotk_vectors *const stream = open_again(paths[0], ending, type, vectors, 1);
        require(dotk_vectors_save(NULL, paths[1], stream, type) == DOTK_OK);
        dotk_vectors *const twice = open_again(paths[1], ending, type, vectors, 0);
        for (size_t row = 0; row < found->rows; row++)
            require(memcmp(found->data + row * found->stride, twice->data + row * twice->stride,
                           found->dim * sizeof(float)) == 0);
        dotk_vectors_close(twice);
        dotk_vectors_close(stream);
        dotk_vectors_close(found);
    } else {
        require(dotk_last_message()[0] != '\0' && access(paths[0], F_OK) != 0);
    }
    unlink(paths[0]);
    unlink(paths[1]);
    dotk_vectors_close(vectors);
    return 0;
}
