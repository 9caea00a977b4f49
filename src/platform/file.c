/*
 * file.c - read-only mappings, and files that appear whole or not at all
 *
 * Writing is write to a temporary file in the same folder, fsync it, rename it over the target,
 * fsync the folder: at every moment, a power cut included, 'path' names the old file or the new
 * one. A target that is no regular file (a pipe, /dev/null) cannot be replaced so, and must not
 * be renamed over: it is written to directly.
 */
#define _GNU_SOURCE
#include "platform/file.h"

#include "platform/memory.h"
#include "platform/status.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Linux moves at most 0x7ffff000 bytes in one call anyway. */
#define MOST_AT_ONCE ((size_t)1 << 30)

enum { TEMPORARY_TRIES = 100, TEMPORARY_SUFFIX = 48 };

static dotk_status
fail_errno(const char *path, const char *what, int error)
{
    char text[128];

    return dk_fail(error == ENOMEM ? DOTK_NO_MEMORY : DOTK_IO, "%s: cannot %s: %s", path, what,
                   strerror_r(error, text, sizeof text));
}

static int
open_file(const char *path, int flags, mode_t mode)
{
    int file;

    do
        file = open(path, flags | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    return file;
}

/* ------------------------------------------------------------------------- */
/*  Mapping                                                                  */
/* ------------------------------------------------------------------------- */

static dotk_status
map_open_file(const char *path, int file, struct dk_mapping *out)
{
    struct stat about;

    if (fstat(file, &about) != 0)
        return fail_errno(path, "read", errno);
    if (S_ISDIR(about.st_mode))
        return fail_errno(path, "read", EISDIR);
    if (!S_ISREG(about.st_mode))
        return dk_fail(DOTK_IO, "%s: is a pipe or device: only a regular file can be mapped", path);
    if (about.st_size == 0)
        return DOTK_OK;
    void *const bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED)
        return fail_errno(path, "map", errno);
    *out = (struct dk_mapping){bytes, (size_t)about.st_size};
    return DOTK_OK;
}

dotk_status
dk_map(const char *path, struct dk_mapping *out)
{
    *out = (struct dk_mapping){NULL, 0};
    /* O_NONBLOCK: opening a pipe that nobody writes to would wait for ever. */
    const int file = open_file(path, O_RDONLY | O_NONBLOCK, 0);
    if (file < 0)
        return fail_errno(path, "open", errno);
    const dotk_status status = map_open_file(path, file, out);
    close(file);
    return status;
}

void
dk_unmap(struct dk_mapping *mapping)
{
    if (mapping->bytes != NULL)
        munmap((void *)(uintptr_t)mapping->bytes, mapping->size);
    *mapping = (struct dk_mapping){NULL, 0};
}

/* ------------------------------------------------------------------------- */
/*  Writing                                                                  */
/* ------------------------------------------------------------------------- */

/* Returns 0 or an errno. */
static int
write_bytes(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(file, bytes, dk_min(size, MOST_AT_ONCE));
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        } else if (written == 0) {
            return ENOSPC; /* a device that takes no more */
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

static int
write_pieces(int file, const struct dk_piece *pieces, size_t count)
{
    int error = 0;

    for (size_t i = 0; i < count && error == 0; i++)
        error = write_bytes(file, pieces[i].bytes, pieces[i].size);
    return error;
}

static int
sync_file(int file)
{
    int result;

    do
        result = fsync(file);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

/* close() reports what a network file system could not write; after it the descriptor is gone. */
static int
close_file(int file, int error)
{
    if (close(file) != 0 && error == 0 && errno != EINTR)
        error = errno;
    return error;
}

/* Makes the renaming last. A folder that cannot be opened or synced has to be trusted. */
static void
sync_folder_of(char *path)
{
    char *const slash = strrchr(path, '/');
    const char *folder = ".";

    if (slash != NULL) {
        slash[slash == path] = '\0'; /* keep the slash of "/name" */
        folder = path;
    }
    const int file = open_file(folder, O_RDONLY | O_DIRECTORY, 0);
    if (file >= 0) {
        (void)sync_file(file);
        close(file);
    }
}

static int
write_directly(const char *path, const struct dk_piece *pieces, size_t count)
{
    const int file = open_file(path, O_WRONLY, 0);

    if (file < 0)
        return errno;
    return close_file(file, write_pieces(file, pieces, count));
}

/* Creates "<path>.<pid>-<n>.tmp" and puts its name into 'temporary'. Returns a file or -1. */
static int
create_beside(const char *path, char *temporary, size_t capacity, mode_t mode)
{
    static unsigned serial; /* tells this process's threads apart */

    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        const unsigned number = __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
        snprintf(temporary, capacity, "%s.%ld-%u.tmp", path, (long)getpid(), number);
        const int file = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
        if (file >= 0 || errno != EEXIST)
            return file;
    }
    return -1;
}

/* 'old' is the file to be replaced, NULL when there is none. */
static dotk_status
replace_file(const char *path, const struct stat *old, const struct dk_piece *pieces, size_t count)
{
    const size_t capacity = strlen(path) + TEMPORARY_SUFFIX;
    char *const temporary = dk_alloc(capacity);

    if (temporary == NULL)
        return dk_fail_memory(capacity, "a file name");
    const int file = create_beside(path, temporary, capacity, 0666);
    if (file < 0) {
        const int error = errno;
        dk_free(temporary);
        return fail_errno(path, "create a file beside it", error);
    }
    int error = write_pieces(file, pieces, count);
    if (error == 0 && old != NULL && fchmod(file, old->st_mode & 07777) != 0)
        error = errno;
    if (error == 0)
        error = sync_file(file);
    error = close_file(file, error);
    if (error == 0 && rename(temporary, path) != 0)
        error = errno;
    if (error == 0)
        sync_folder_of(temporary);
    else
        unlink(temporary);
    dk_free(temporary);
    return error == 0 ? DOTK_OK : fail_errno(path, "write", error);
}

dotk_status
dk_write_file(const char *path, const struct dk_piece *pieces, size_t count)
{
    struct stat old;

    if (stat(path, &old) != 0)
        return errno == ENOENT ? replace_file(path, NULL, pieces, count)
                               : fail_errno(path, "write", errno);
    if (S_ISDIR(old.st_mode))
        return fail_errno(path, "write", EISDIR);
    if (!S_ISREG(old.st_mode)) {
        const int error = write_directly(path, pieces, count);
        return error == 0 ? DOTK_OK : fail_errno(path, "write", error);
    }
    /* A link goes on pointing to the file, which is replaced where it lies. */
    char target[PATH_MAX];
    if (realpath(path, target) == NULL)
        return fail_errno(path, "write", errno);
    return replace_file(target, &old, pieces, count);
}
