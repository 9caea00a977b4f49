/* status.c - status texts and the per-thread message of the last failure */
#include "platform/status.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_SIZE = 512 };

static _Thread_local char message[MESSAGE_SIZE];

dotk_status
dk_fail(dotk_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status;
}

dotk_status
dk_fail_memory(size_t bytes, const char *what)
{
    return dk_fail(DOTK_NO_MEMORY, "%zu bytes for %s could not be allocated", bytes, what);
}

const char *
dotk_last_message(void)
{
    return message;
}

const char *
dotk_status_text(dotk_status status)
{
    switch (status) {
#define DOTK_STATUS(name, value, meaning)                                                          \
    case DOTK_##name:                                                                              \
        return meaning;
#include <dotk/status.def>
#undef DOTK_STATUS
    default: return "unknown status";
    }
}

#define TEXT(x)    #x
#define TEXT_OF(x) TEXT(x)
#define VERSION_TEXT                                                                               \
    TEXT_OF(DOTK_VERSION_MAJOR) "." TEXT_OF(DOTK_VERSION_MINOR) "." TEXT_OF(DOTK_VERSION_PATCH)

const char *
dotk_version(void)
{
    return VERSION_TEXT;
}
