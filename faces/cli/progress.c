/*
 * progress.c - the context a verb works in: its threads, its progress bar, and interruption
 *
 * An interrupt has two ways to end the command. While a library call runs that reports progress
 * (between cli_stage("...") and cli_stage(NULL)), the handler only makes a note, the progress
 * function returns non-zero, and the call comes back with DOTK_CANCELLED. At any other time the
 * handler ends the process itself, at once: nothing can be left behind, because an output file is
 * put in place only under cli_protect().
 */
#include "cli.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS   1024 /* of a context */

#define BAR_WIDTH     32
#define FIRST_SHOW_MS 300 /* what ends sooner than this needs no bar */
#define NEXT_SHOW_MS  100
#define CLEAR_LINE    "\r\033[K"

/* What the handler reads and writes. */
static volatile sig_atomic_t interrupted, in_stage, protecting, bar_on_screen;

static struct {
    const char *what;
    bool wanted; /* stderr is a terminal that can clear a line, and --quiet was not given */
    int64_t started_ms, shown_ms;
} bar;

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Only async-signal-safe calls: write() and _exit(). */
static void
on_signal(int signal_number)
{
    (void)signal_number;
    const bool again = interrupted != 0;
    interrupted = 1;
    if (protecting || (in_stage && !again))
        return;
    if (bar_on_screen && write(STDERR_FILENO, CLEAR_LINE, strlen(CLEAR_LINE)) < 0)
        _exit(CLI_INTERRUPTED);
    _exit(CLI_INTERRUPTED);
}

void
cli_catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction before;
        /* Ignored by the parent (nohup, a background job): it stays ignored. */
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

bool
cli_interrupted(void)
{
    return interrupted != 0;
}

void
cli_protect(bool on)
{
    protecting = on;
}

static void
clear_bar(void)
{
    if (!bar_on_screen)
        return;
    fputs(CLEAR_LINE, stderr);
    fflush(stderr);
    bar_on_screen = 0;
}

void
cli_stage(const char *what)
{
    clear_bar();
    bar.what = what;
    bar.started_ms = now_ms();
    bar.shown_ms = bar.started_ms + FIRST_SHOW_MS - NEXT_SHOW_MS;
    in_stage = what != NULL;
}

void
cli_progress(uint64_t done, uint64_t total)
{
    if (!bar.wanted || bar.what == NULL || total == 0)
        return;
    const int64_t now = now_ms();
    if (now - bar.shown_ms < NEXT_SHOW_MS)
        return;
    bar.shown_ms = now;

    const double share = done < total ? (double)done / (double)total : 1.0;
    const int filled = (int)(share * BAR_WIDTH);
    char cells[BAR_WIDTH + 1];
    memset(cells, '#', (size_t)filled);
    memset(cells + filled, '.', (size_t)(BAR_WIDTH - filled));
    cells[BAR_WIDTH] = '\0';
    fprintf(stderr, CLEAR_LINE "%s [%s] %3.0f %%", bar.what, cells, 100 * share);
    if (share > 0.02)
        fprintf(stderr, ", %.0f s left",
                (double)(now - bar.started_ms) / 1000 * (1 - share) / share);
    fflush(stderr);
    bar_on_screen = 1;
}

static int
on_progress(void *user, uint64_t done, uint64_t total)
{
    (void)user;
    cli_progress(done, total);
    return cli_interrupted();
}

int
cli_context(const struct cli_args *args, dotk_context **out)
{
    dotk_context_options options = DOTK_CONTEXT_OPTIONS_INIT;

    bar.wanted = !args->value[OPT_QUIET].given && cli_color(args, stderr) != CLI_COLOR_NONE;
    if (args->value[OPT_THREADS].size > MAX_THREADS)
        return cli_fail(args, CLI_USAGE, "--threads is %s: it has to be 1 to %d",
                        args->value[OPT_THREADS].text, MAX_THREADS);
    options.threads = (uint32_t)args->value[OPT_THREADS].size;
    options.progress = on_progress;
    return cli_report(args, dotk_context_create(&options, out), NULL);
}
