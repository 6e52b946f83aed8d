#define _GNU_SOURCE
#include "cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/events.h"
#include "cli/interrupt.h"
#include "cli/plain.h"

#define BAR_CELLS 24
#define REDRAW_SECONDS 0.1
#define LINE_SECONDS 10.0
#define FIRST_LINE_SECONDS 1.0

static double read_monotonic_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void format_time(double seconds, char *text, size_t size)
{
    unsigned long whole = seconds > 0 ? (unsigned long)(seconds + 0.5) : 0;
    if (whole < 60)
        snprintf(text, size, "%lu s", whole);
    else if (whole < 3600)
        snprintf(text, size, "%lu:%02lu min", whole / 60, whole % 60);
    else
        snprintf(text, size, "%lu:%02lu h", whole / 3600, whole / 60 % 60);
}

static void draw_bar(const struct cli_progress *progress, const struct ldnq_progress *at,
                     const char *left)
{
    char bar[BAR_CELLS + 1];
    size_t full = at->done * BAR_CELLS / at->total;
    memset(bar, '#', full);
    memset(bar + full, '.', BAR_CELLS - full);
    bar[BAR_CELLS] = '\0';
    char line[CLI_PLAIN_SIZE + 128], detail[CLI_PLAIN_SIZE];
    int length = snprintf(line, sizeof line, "%s [%s] %3zu %%  %s left  %s", at->stage, bar,
                          at->done * 100 / at->total, left, cli_copy_printable(at->detail, detail));
    size_t most = progress->width > 1 ? progress->width - 1 : 79;
    if (length > 0 && (size_t)length > most && most < sizeof line)
        line[most] = '\0';
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
}

/* A layer may take minutes to its end. */
static int end_after_signal(struct cli_progress *progress)
{
    if (!progress->is_ending && !progress->is_quiet) {
        cli_progress_finish(progress);
        fprintf(stderr, "ldnq: %s: it ends as soon as nothing is lost; a second one ends it now\n",
                cli_interrupt_name());
    }
    progress->is_ending = true;
    return LDNQ_CANCEL_AFTER_LAYER;
}

static int show_progress(void *ctx, const struct ldnq_progress *at)
{
    struct cli_progress *progress = ctx;
    const double time = read_monotonic_seconds();
    if (cli_interrupt_signal())
        return end_after_signal(progress);
    if (progress->is_quiet)
        return 0;
    if (strncmp(progress->stage, at->stage, sizeof progress->stage - 1) != 0) {
        snprintf(progress->stage, sizeof progress->stage, "%s", at->stage);
        progress->start = time;
        progress->last_shown = time - LINE_SECONDS + FIRST_LINE_SECONDS;
    }
    double wait = progress->is_terminal ? REDRAW_SECONDS : LINE_SECONDS;
    if (at->total == 0 || at->done == 0 || time - progress->last_shown < wait)
        return 0;
    progress->last_shown = time;
    char left[32], detail[CLI_PLAIN_SIZE];
    double spent = time - progress->start;
    format_time(spent * (double)(at->total - at->done) / (double)at->done, left, sizeof left);
    if (progress->is_terminal) {
        draw_bar(progress, at, left);
        progress->bar_is_up = true;
    } else {
        fprintf(stderr, "%s: %zu %%, %s left%s%s\n", at->stage, at->done * 100 / at->total, left,
                at->detail ? ", at " : "", cli_copy_printable(at->detail, detail));
    }
    return 0;
}

static void show_event(void *ctx, const char *json)
{
    struct cli_progress *progress = ctx;
    cli_progress_finish(progress);
    cli_print_event(json, progress->is_quiet);
}

void cli_progress_init(struct cli_progress *progress, const struct cli_line *line)
{
    struct winsize size;
    *progress = (struct cli_progress){ .is_quiet = cli_line_has_flag(line, "quiet"),
                                       .is_terminal = isatty(STDERR_FILENO) != 0 };
    if (progress->is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0)
        progress->width = size.ws_col;
    ldnq_options_on_progress(line->options, show_progress, progress);
    ldnq_options_on_event(line->options, show_event, progress);
}

void cli_progress_finish(struct cli_progress *progress)
{
    if (progress->bar_is_up)
        fprintf(stderr, "\r\033[K");
    progress->bar_is_up = false;
}
