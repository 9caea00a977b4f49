/* status.h - how internal code reports a failure */
#ifndef DOTK_PLATFORM_STATUS_H
#define DOTK_PLATFORM_STATUS_H

#include <dotk/base.h>

#include "platform/shared.h"

/*
 * Stores the message that dotk_last_message() returns on this thread and returns 'status',
 * so that a failure is one line:
 *
 *     return dk_fail(DOTK_BAD_ARGUMENT, "k is 0: ask for at least 1 neighbour");
 *
 * The text names the argument, its value and the remedy.
 */
__attribute__((format(printf, 2, 3))) dotk_status
dk_fail(dotk_status status, const char *format, ...) DK_SHARED(fail);

/* dk_fail() for a failed allocation of 'bytes' for 'what'. */
dotk_status dk_fail_memory(size_t bytes, const char *what) DK_SHARED(fail_memory);

/* The options struct of a public call: NULL or one whose struct_size this build knows. */
#define DK_CHECK_OPTIONS(options)                                                                  \
    do {                                                                                           \
        if ((options) != NULL && (options)->struct_size != sizeof *(options))                      \
            return dk_fail(DOTK_BAD_ARGUMENT,                                                      \
                           "%s->struct_size is %zu, this library knows %zu: start from the _INIT " \
                           "macro and compile against the header of this library",                 \
                           #options, (options)->struct_size, sizeof *(options));                   \
    } while (0)

#endif /* DOTK_PLATFORM_STATUS_H */
