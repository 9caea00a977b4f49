/*
 * temp.h - a folder of its own for each test of a program that writes files
 *
 *     temp_set_up, temp_tear_down .. for cmocka_unit_test_setup_teardown()
 *     folder ....................... where it is
 *     path ......................... for the name of a file in it
 *     files_in_folder .............. how many there are
 *
 * The folder is in memory where the system has such a place (and TMPDIR names no other): these
 * programs have hundreds of files flushed, which a disk takes seconds for.
 */
#ifndef DOTK_TEST_TEMP_H
#define DOTK_TEST_TEMP_H

#include "support.h"

#include <dirent.h>

#define TEMP_IN_MEMORY "/dev/shm"

static char folder[TEST_PATH], path[TEST_PATH];

static inline int
temp_set_up(void **state)
{
    (void)state;
    if (getenv("TMPDIR") == NULL && access(TEMP_IN_MEMORY, W_OK | X_OK) == 0)
        test_require(setenv("TMPDIR", TEMP_IN_MEMORY, 0) == 0, "setenv");
    test_temp_folder(folder);
    return 0;
}

static inline int
temp_tear_down(void **state)
{
    (void)state;
    test_temp_remove(folder);
    return 0;
}

static inline size_t
files_in_folder(void)
{
    DIR *const handle = opendir(folder);
    size_t count = 0;

    test_require(handle != NULL, "opendir");
    while (readdir(handle) != NULL)
        count++;
    closedir(handle);
    return count - 2; /* . and .. */
}

#endif /* DOTK_TEST_TEMP_H */
