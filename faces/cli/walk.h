/*
 * walk.h - the files under a path, in a fixed order, less what .gitignore excludes
 */
#ifndef DOTK_CLI_WALK_H
#define DOTK_CLI_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Called for each regular file with its path (as the root was written, continued) and size;
 * non-zero ends the walk.
 */
typedef int walk_file_fn(void *user, const char *path, uint64_t size);

/* Called for each path that could not be read, with errno; non-zero ends the walk. */
typedef int walk_error_fn(void *user, const char *path, int error);

struct walk {
    walk_file_fn *file;
    walk_error_fn *error;
    void *user;
};

/*
 * Visits 'root': a regular file itself; of a folder all regular files below it, names in byte
 * order. Below a folder hidden files and folders (.name) are left out, symbolic links are not
 * followed (so that none can lead round in a circle), and what .gitignore files exclude is left
 * out: those met on the way and those above the root up to the top of its repository.
 *
 * Returns 0, what a function returned to end the walk, or -1 when memory ran out.
 */
int walk_visit(const struct walk *walk, const char *root);

/*
 * Whether a .gitignore with this text excludes 'path', relative to its folder. -1: no rule speaks
 * of it, 0: a rule includes it, 1: a rule excludes it, -2: memory ran out.
 */
int walk_ignores(const char *rules, size_t size, const char *path, bool is_folder);

#endif /* DOTK_CLI_WALK_H */
