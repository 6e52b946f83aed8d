/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cli/progress.h"

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/events.h"
#include "cli/interrupt.h"

#define BAR_CELLS ((size_t)24)
#define LEAST_CELLS 4
#define DEFAULT_COLUMNS 79
#define REDRAW_SECONDS 0.1
#define LINE_SECONDS 10.0
#define FIRST_LINE_SECONDS 1.0
/* With the first line's delay below 2 s. */
#define TIMER_NANOSECONDS 400000000L
/* A timer that only prints needs no more. */
#define TIMER_STACK_BYTES ((size_t)128 << 10)

static double read_monotonic_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- text ---------------------------------------------------------------------------------- */

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

/* Between two callbacks the time left is the one at the first of them, less what has passed. Where
 * that has run out, and before the first callback, only the time spent is known. */
static void format_estimate(const struct cli_progress *progress, double time, char *text,
                            size_t size)
{
    char number[32];
    const double rest = (double)(progress->total - progress->done);
    const double left =
        progress->done ? (progress->reported - progress->start) * rest / (double)progress->done : 0;
    const double passed = time - progress->reported;
    const bool is_known = progress->done && left >= passed;
    format_time(is_known ? left - passed : time - progress->start, number, sizeof number);
    snprintf(text, size, "%s %s", number, is_known ? "left" : "so far");
}

static size_t count_done(const struct cli_progress *progress, size_t all)
{
    return progress->total ? progress->done * all / progress->total : 0;
}

/* Percentage and time come first in a narrow terminal: the bar gets shorter for them, then goes,
 * and so does the stage. What is being done is cut at the end. */
static void draw_bar(const struct cli_progress *progress, const char *estimate)
{
    const size_t most = progress->width > 1 ? progress->width - 1 : DEFAULT_COLUMNS;
    char bar[BAR_CELLS + 4] = "", figures[64];
    snprintf(figures, sizeof figures, "%3zu %%  %s", count_done(progress, 100), estimate);
    const size_t needed = strlen(progress->stage) + 1 + strlen(figures);
    size_t cells = most > needed + strlen("[] ") ? most - needed - strlen("[] ") : 0;
    cells = cells < BAR_CELLS ? cells : BAR_CELLS;
    if (cells >= LEAST_CELLS) {
        const size_t full = count_done(progress, cells);
        bar[0] = '[';
        memset(bar + 1, '#', full);
        memset(bar + 1 + full, '.', cells - full);
        memcpy(bar + 1 + cells, "] ", sizeof "] ");
    }
    const bool has_stage = needed <= most;
    char line[CLI_PLAIN_SIZE + 128];
    const int length = snprintf(line, sizeof line, "%s%s%s%s  %s", has_stage ? progress->stage : "",
                                has_stage ? " " : "", bar, figures, progress->detail);
    if (length > 0 && (size_t)length > most && most < sizeof line)
        line[most] = '\0';
    fprintf(progress->stream, "\r\033[K%s", line);
    fflush(progress->stream);
}

static void erase_bar(struct cli_progress *progress)
{
    if (progress->bar_is_up)
        fprintf(progress->stream, "\r\033[K");
    progress->bar_is_up = false;
}

/* A layer may take minutes to its end. */
static void report_signal(struct cli_progress *progress)
{
    if (!progress->is_ending && !progress->is_quiet) {
        erase_bar(progress);
        fprintf(progress->stream,
                "ldnq: %s: it ends as soon as nothing is lost; a second one ends it now\n",
                cli_interrupt_name());
    }
    progress->is_ending = true;
}

static void show_when_due(struct cli_progress *progress, double time)
{
    const double wait = progress->is_terminal ? REDRAW_SECONDS : LINE_SECONDS;
    char estimate[48];
    if (cli_interrupt_signal())
        report_signal(progress);
    if (progress->is_quiet || progress->is_ending || time - progress->last_shown < wait)
        return;
    progress->last_shown = time;
    format_estimate(progress, time, estimate, sizeof estimate);
    if (progress->is_terminal) {
        draw_bar(progress, estimate);
        progress->bar_is_up = true;
    } else {
        fprintf(progress->stream, "%s: %zu %%, %s%s%s\n", progress->stage,
                count_done(progress, 100), estimate, progress->detail[0] ? ", at " : "",
                progress->detail);
    }
}

/* ---- the job's callbacks ------------------------------------------------------------------- */

static void start_stage(struct cli_progress *progress, const char *stage, double time)
{
    snprintf(progress->stage, sizeof progress->stage, "%s", stage);
    progress->start = progress->reported = time;
    progress->last_shown =
        time + FIRST_LINE_SECONDS - (progress->is_terminal ? REDRAW_SECONDS : LINE_SECONDS);
    progress->done = progress->total = 0;
    progress->detail[0] = '\0';
}

int cli_progress_update(struct cli_progress *progress, const struct ldnq_progress *at)
{
    pthread_mutex_lock(&progress->mutex);
    const double time = progress->read_clock();
    const bool starts_again = at->total == progress->total && at->done < progress->done;
    if (starts_again || strncmp(progress->stage, at->stage, sizeof progress->stage - 1) != 0)
        start_stage(progress, at->stage, time);
    progress->reported = time;
    progress->total = at->total;
    progress->done = at->done < at->total ? at->done : at->total;
    cli_copy_printable(at->detail, progress->detail);
    show_when_due(progress, time);
    pthread_mutex_unlock(&progress->mutex);
    return cli_interrupt_signal() ? LDNQ_CANCEL_AFTER_LAYER : 0;
}

static int show_progress(void *ctx, const struct ldnq_progress *at)
{
    return cli_progress_update(ctx, at);
}

static void show_event(void *ctx, const char *json)
{
    struct cli_progress *progress = ctx;
    pthread_mutex_lock(&progress->mutex);
    erase_bar(progress);
    cli_print_event(json, progress->is_quiet);
    pthread_mutex_unlock(&progress->mutex);
}

/* ---- the timer ------------------------------------------------------------------------------ */

void cli_progress_tick(struct cli_progress *progress)
{
    show_when_due(progress, progress->read_clock());
}

static void *run_timer(void *ctx)
{
    struct cli_progress *progress = ctx;
    pthread_mutex_lock(&progress->mutex);
    while (!progress->timer_ends) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TIMER_NANOSECONDS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&progress->wake_timer, &progress->mutex, &until);
        if (!progress->timer_ends)
            cli_progress_tick(progress);
    }
    pthread_mutex_unlock(&progress->mutex);
    return NULL;
}

/* Without a timer the callbacks alone show the progress. */
static void start_timer(struct cli_progress *progress)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return;
    progress->has_timer = pthread_attr_setstacksize(&attributes, TIMER_STACK_BYTES) == 0 &&
                          pthread_create(&progress->timer, &attributes, run_timer, progress) == 0;
    pthread_attr_destroy(&attributes);
}

/* ---- the whole ------------------------------------------------------------------------------ */

void cli_progress_init(struct cli_progress *progress, bool is_quiet, FILE *stream,
                       double (*read_clock)(void))
{
    pthread_condattr_t attributes;
    *progress = (struct cli_progress){
        .is_quiet = is_quiet,
        .stream = stream,
        .read_clock = read_clock ? read_clock : read_monotonic_seconds,
    };
    pthread_mutex_init(&progress->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->wake_timer, &attributes);
    pthread_condattr_destroy(&attributes);
    start_stage(progress, "prepare", progress->read_clock());
}

void cli_progress_start(struct cli_progress *progress, const struct cli_line *line)
{
    struct winsize size;
    progress->is_terminal = isatty(STDERR_FILENO) != 0;
    if (progress->is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0)
        progress->width = size.ws_col;
    ldnq_options_on_progress(line->options, show_progress, progress);
    ldnq_options_on_event(line->options, show_event, progress);
    if (!progress->is_quiet)
        start_timer(progress);
}

void cli_progress_finish(struct cli_progress *progress)
{
    if (progress->has_timer) {
        pthread_mutex_lock(&progress->mutex);
        progress->timer_ends = true;
        pthread_cond_signal(&progress->wake_timer);
        pthread_mutex_unlock(&progress->mutex);
        pthread_join(progress->timer, NULL);
        progress->has_timer = false;
    }
    erase_bar(progress);
}
