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

/* How far a file that is being written may be ahead of the disk, twice. */
#define FLUSH_BYTES ((size_t)32 << 20)

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

/* 'target' is a regular file, or nothing yet. */
static dotk_status
begin_beside(const char *target, struct dk_output *output)
{
    const size_t length = strlen(target) + 1, capacity = 2 * length + TEMPORARY_SUFFIX;

    output->target = dk_alloc(capacity);
    if (output->target == NULL)
        return dk_fail_memory(capacity, "a file name");
    memcpy(output->target, target, length);
    output->temporary = output->target + length;
    output->file = create_beside(target, output->temporary, capacity - length, 0666);
    if (output->file >= 0)
        return DOTK_OK;
    const int error = errno;
    dk_free(output->target);
    return fail_errno(target, "create a file beside it", error);
}

dotk_status
dk_output_begin(const char *path, struct dk_output *output)
{
    struct stat old;

    *output = (struct dk_output){.path = path, .mode = -1};
    if (stat(path, &old) != 0)
        return errno == ENOENT ? begin_beside(path, output) : fail_errno(path, "write", errno);
    if (S_ISDIR(old.st_mode))
        return fail_errno(path, "write", EISDIR);
    if (!S_ISREG(old.st_mode)) {
        output->file = open_file(path, O_WRONLY, 0);
        return output->file >= 0 ? DOTK_OK : fail_errno(path, "write", errno);
    }
    /* A link goes on pointing to the file, which is replaced where it lies. */
    char target[PATH_MAX];
    if (realpath(path, target) == NULL)
        return fail_errno(path, "write", errno);
    output->mode = (int)(old.st_mode & 07777);
    return begin_beside(target, output);
}

/* Returns 0 or an errno; a file system that cannot do this has done nothing wrong. */
static int
flush_range(int file, size_t offset, unsigned how)
{
    if (sync_file_range(file, (off_t)offset, (off_t)FLUSH_BYTES, how) == 0 || errno == EINVAL ||
        errno == ENOSYS || errno == ESPIPE)
        return 0;
    return errno;
}

/*
 * Sends each piece that is complete to the disk, and waits for the one before it. Otherwise a long
 * file would gather in memory, and the fsync at its end would take as long as all the writing: too
 * long for somebody who has pressed Ctrl-C. Returns 0 or an errno.
 */
static int
flush_behind(struct dk_output *output)
{
    int error = 0;

    while (error == 0 && output->size - output->on_way >= FLUSH_BYTES) {
        error = flush_range(output->file, output->on_way, SYNC_FILE_RANGE_WRITE);
        if (error == 0 && output->on_way >= FLUSH_BYTES)
            error = flush_range(output->file, output->on_way - FLUSH_BYTES,
                                SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                    SYNC_FILE_RANGE_WAIT_AFTER);
        output->on_way += FLUSH_BYTES;
    }
    return error;
}

dotk_status
dk_output_write(struct dk_output *output, const void *bytes, size_t size)
{
    int error = write_bytes(output->file, bytes, size);

    output->size += size;
    if (error == 0 && output->target != NULL)
        error = flush_behind(output);
    return error == 0 ? DOTK_OK : fail_errno(output->path, "write", error);
}

/* Puts the temporary file, written and closed, in the target's place. Returns 0 or an errno. */
static int
put_in_place(const struct dk_output *output)
{
    if (rename(output->temporary, output->target) != 0)
        return errno;
    sync_folder_of(output->temporary);
    return 0;
}

dotk_status
dk_output_end(struct dk_output *output, dotk_status status)
{
    const bool beside = output->target != NULL;
    int error = 0;

    if (beside && status == DOTK_OK) {
        if (output->mode >= 0 && fchmod(output->file, (mode_t)output->mode) != 0)
            error = errno;
        if (error == 0)
            error = sync_file(output->file);
    }
    error = close_file(output->file, error);
    if (beside && status == DOTK_OK && error == 0)
        error = put_in_place(output);
    if (beside && (status != DOTK_OK || error != 0))
        unlink(output->temporary);
    dk_free(output->target);
    return status != DOTK_OK || error == 0 ? status : fail_errno(output->path, "write", error);
}

dotk_status
dk_write_file(const char *path, const struct dk_piece *pieces, size_t count)
{
    struct dk_output output;

    dotk_status status = dk_output_begin(path, &output);
    if (status != DOTK_OK)
        return status;
    for (size_t i = 0; i < count && status == DOTK_OK; i++)
        status = dk_output_write(&output, pieces[i].bytes, pieces[i].size);
    return dk_output_end(&output, status);
}
