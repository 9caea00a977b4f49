/*
 * main.c - the dotk command: finds the verb, runs it, and sees that its output arrived
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static int
without_verb(const struct cli_args *args)
{
    if (args->value[OPT_VERSION].given) {
        printf("dotk %s\n", dotk_version());
        return CLI_OK;
    }
    if (args->value[OPT_GENERATE].given) {
        cli_generate(args->value[OPT_GENERATE].choice, stdout);
        return CLI_OK;
    }
    return cli_fail(args, CLI_USAGE, "it needs a verb; see 'dotk --help'");
}

static int
run(const struct cli_args *args)
{
    if (args->value[OPT_HELP].given) {
        cli_print_help(args->verb, stdout);
        return CLI_OK;
    }
    return args->verb == CLI_VERB_NONE ? without_verb(args) : cli_verbs[args->verb].run(args);
}

/* A full disk often shows only when the last buffer is written, so success waits for that. */
static int
close_output(const struct cli_args *args, int code)
{
    const bool failed = ferror(stdout) != 0;

    if ((fclose(stdout) != 0 || failed) && code == CLI_OK)
        return cli_fail(args, CLI_FAILURE, "standard output: %s", strerror(errno));
    return code;
}

int
main(int argc, char **argv)
{
    struct cli_args args;

    /* Some parents hand on an ignored SIGPIPE; by default it ends a filter without a word. */
    signal(SIGPIPE, SIG_DFL);
    cli_catch_signals();
    int code = cli_parse(argc, argv, &args);
    if (code == CLI_OK)
        code = run(&args);
    cli_stage(NULL);
    code = close_output(&args, code);
    cli_args_free(&args);
    return code;
}
