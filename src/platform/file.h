/* file.h - read-only mappings, and files that appear whole or not at all */
#ifndef DOTK_PLATFORM_FILE_H
#define DOTK_PLATFORM_FILE_H

#include <dotk/base.h>

struct dk_mapping {
    const void *bytes; /* NULL when size is 0 */
    size_t size;
};

/*
 * Maps a regular file. Nobody may shorten it while it is mapped.
 * Errors: DOTK_IO (the message names the path and the cause), DOTK_NO_MEMORY.
 */
dotk_status dk_map(const char *path, struct dk_mapping *out);

/* Ends the mapping; {NULL, 0} is fine. */
void dk_unmap(struct dk_mapping *mapping);

/*
 * A file that is being written: bytes go to a temporary file beside 'path', which takes its place
 * in the end. A pipe or device is written to directly.
 */
struct dk_output {
    const char *path;    /* borrowed, for messages */
    char *target;        /* what 'path' leads to; NULL: written to directly */
    char *temporary;     /* in the block of target */
    int file, mode;      /* mode of the older file, -1: there is none */
    size_t size, on_way; /* bytes written, and of them on their way to the disk */
};

/* Begins it. Errors: DOTK_IO, DOTK_NO_MEMORY; nothing is left then, and nothing is to be ended. */
dotk_status dk_output_begin(const char *path, struct dk_output *output);

/* Adds bytes at the end. Errors: DOTK_IO; dk_output_end() is still due. */
dotk_status dk_output_write(struct dk_output *output, const void *bytes, size_t size);

/*
 * Ends it. 'status' is how the writing went: DOTK_OK puts the file in place (fsync, rename; a new
 * file keeps the older one's mode), anything else removes what was written, and an older 'path'
 * stands. Returns 'status', or DOTK_IO when it was DOTK_OK and the file could not be put in place.
 */
dotk_status dk_output_end(struct dk_output *output, dotk_status status);

/* One piece of a file to write. */
struct dk_piece {
    const void *bytes;
    size_t size;
};

/*
 * Writes the pieces, one after the other, as the file 'path', all of the above in one call.
 * Errors: DOTK_IO, DOTK_NO_MEMORY; an older 'path' stands then.
 */
dotk_status dk_write_file(const char *path, const struct dk_piece *pieces, size_t count);

#endif /* DOTK_PLATFORM_FILE_H */
