/*
 * convert.c - dotk convert: one format or element type of vector files into another
 */
#include "cli.h"

/* The exit code that belongs to a save that has ended so: what was wrong with what. */
static int
report_save(const struct cli_args *args, dotk_status status)
{
    switch (status) {
    case DOTK_UNSUPPORTED: return cli_report(args, status, args->operand[0]);
    case DOTK_BAD_ARGUMENT: return cli_fail(args, CLI_USAGE, "%s", dotk_last_message());
    default: return cli_report(args, status, NULL);
    }
}

int
verb_convert(const struct cli_args *args)
{
    const char *from = args->operand[0], *to = args->operand[1];
    dotk_context *context = NULL;
    dotk_vectors *vectors = NULL;
    int code = cli_context(args, &context);

    if (code == CLI_OK)
        code = cli_open_stream(args, from, &vectors);
    if (code == CLI_OK) {
        /* Nobody waits at the other end of a file; a pipe must be given up at once. */
        const bool beside = !cli_is_device(to);
        cli_stage("converting");
        cli_protect(beside);
        const dotk_status status = dotk_vectors_save(context, to, vectors,
                                                     cli_raw_type(args, OPT_TYPE));
        cli_protect(false);
        cli_stage(NULL);
        code = report_save(args, status);
    }
    dotk_vectors_close(vectors);
    dotk_context_destroy(context);
    return code;
}
