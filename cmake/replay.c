/*
 * replay.c - a fuzz target over the files of a folder, without libFuzzer
 *
 *     fuzz_WHAT FILE_OR_FOLDER...
 *
 * Each input lies in a block of exactly its size, so that a sanitizer sees a byte too far.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs;

static int
replay_file(const char *path, size_t size)
{
    FILE *const file = fopen(path, "rb");
    uint8_t *const data = malloc(size > 0 ? size : 1);
    const int good = file != NULL && data != NULL && fread(data, 1, size, file) == size;

    if (good) {
        LLVMFuzzerTestOneInput(data, size);
        inputs++;
    } else {
        perror(path);
    }
    free(data);
    if (file != NULL)
        fclose(file);
    return good ? 0 : 1;
}

static int
replay(const char *path)
{
    struct stat about;

    if (stat(path, &about) != 0) {
        perror(path);
        return 1;
    }
    if (!S_ISDIR(about.st_mode))
        return replay_file(path, (size_t)about.st_size);

    DIR *const folder = opendir(path);
    int failed = folder == NULL;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        char *inside;
        if (entry->d_name[0] == '.')
            continue;
        if (asprintf(&inside, "%s/%s", path, entry->d_name) < 0)
            return 1;
        failed |= replay(inside);
        free(inside);
    }
    if (folder != NULL)
        closedir(folder);
    return failed;
}

int
main(int argc, char **argv)
{
    int failed = 0;

    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("%zu inputs\n", inputs);
    return failed != 0 || inputs == 0;
}
