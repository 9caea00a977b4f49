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

/* One piece of a file to write. */
struct dk_piece {
    const void *bytes;
    size_t size;
};

/*
 * Writes the pieces, one after the other, as the file 'path': to a temporary file beside it
 * first, then fsync and rename. On failure nothing is left and an older 'path' stands. A new
 * file keeps the older one's mode. A pipe or device is written to directly.
 * Errors: DOTK_IO, DOTK_NO_MEMORY.
 */
dotk_status dk_write_file(const char *path, const struct dk_piece *pieces, size_t count);

#endif /* DOTK_PLATFORM_FILE_H */
