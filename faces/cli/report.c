/*
 * report.c - messages on stderr, and which exit code belongs to which end of a call
 */
#include "cli.h"

#include <stdarg.h>
#include <string.h>

/* One call to vfprintf a message would let other writers in between its parts. */
static void
say(const struct cli_args *args, const char *format, va_list list)
{
    char message[1024];
    const char *verb = cli_verbs[args->verb].name;

    vsnprintf(message, sizeof(message), format, list);
    fprintf(stderr, "dotk%s%s: %s\n", verb != NULL ? " " : "", verb != NULL ? verb : "", message);
}

int
cli_fail(const struct cli_args *args, enum cli_exit code, const char *format, ...)
{
    va_list list;

    cli_stage(NULL);
    va_start(list, format);
    say(args, format, list);
    va_end(list);
    return code;
}

void
cli_note(const struct cli_args *args, const char *format, ...)
{
    va_list list;

    if (args->value[OPT_QUIET].given)
        return;
    cli_stage(NULL);
    va_start(list, format);
    say(args, format, list);
    va_end(list);
}

int
cli_check_screen(const struct cli_args *args, const char *source, size_t dim)
{
    enum { MOST = 4096 };
    const struct cli_value *store = &args->value[OPT_STORE];

    if (args->value[OPT_SCREEN].choice != DOTK_SCREEN_INT4)
        return CLI_OK;
    if (store->choice != DOTK_STORE_F32)
        return cli_fail(args, CLI_USAGE,
                        "--store is %s: --screen int4 takes f32 only; use --screen int8 (or none)",
                        store->text);
    if (dim > MOST)
        return cli_fail(args, CLI_USAGE,
                        "--screen int4 takes up to %d dimensions, %s %zu: use --screen int8", MOST,
                        source, dim);
    return CLI_OK;
}

int
cli_out_of_memory(const struct cli_args *args)
{
    return cli_fail(args, CLI_NO_MEMORY, "out of memory");
}

int
cli_report(const struct cli_args *args, dotk_status status, const char *path)
{
    const char *message = dotk_last_message();

    if (status == DOTK_OK)
        return CLI_OK;
    if (status == DOTK_CANCELLED) {
        cli_stage(NULL);
        return CLI_INTERRUPTED;
    }
    if (status == DOTK_NO_MEMORY)
        return cli_fail(args, CLI_NO_MEMORY, "out of memory: %s", message);
    if (path == NULL)
        return cli_fail(args, status == DOTK_BAD_ARGUMENT ? CLI_USAGE : CLI_FAILURE, "%s", message);
    /* The readers' messages start with the path already. */
    if (strncmp(message, path, strlen(path)) == 0)
        return cli_fail(args, CLI_BAD_INPUT, "%s", message);
    return cli_fail(args, CLI_BAD_INPUT, "%s: %s", path, message);
}
