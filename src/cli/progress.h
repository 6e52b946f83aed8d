/* SPDX-License-Identifier: Apache-2.0 */
/* progress.h: reports a job's progress on stderr: a bar with an estimate on a terminal, a plain
 * line now and then elsewhere, nothing when quiet; also warnings and the tables of --verbose.
 *
 * Threads  the job's callbacks and a timer, which shows the state while no callback comes; both
 *          write under a mutex
 */
#ifndef LDNQ_CLI_PROGRESS_H
#define LDNQ_CLI_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/line.h"
#include "cli/plain.h"

struct cli_progress {
    bool is_quiet, is_terminal, bar_is_up, is_ending;
    size_t width; /* columns of the terminal; 0: unknown */
    FILE *stream;
    double (*read_clock)(void); /* seconds */
    char stage[32], detail[CLI_PLAIN_SIZE];
    size_t done, total;          /* of the last callback; total 0: no callback yet */
    double start;                /* when the stage began, in seconds */
    double reported, last_shown; /* the last callback, and the last line or bar */
    bool has_timer, timer_ends;
    pthread_t timer;
    pthread_mutex_t mutex;
    pthread_cond_t wake_timer;
};

/* Fills what the reports need; `read_clock` NULL is the monotonic clock. No timer yet. */
void cli_progress_init(struct cli_progress *progress, bool is_quiet, FILE *stream,
                       double (*read_clock)(void));
/* Registers `progress` as the callbacks of the options on the command line, and starts the timer.
 * It has to outlive the job. */
void cli_progress_start(struct cli_progress *progress, const struct cli_line *line);
/* Stores what the job has reported, and shows it when it is time. Returns what the job gets. */
int cli_progress_update(struct cli_progress *progress, const struct ldnq_progress *at);
/* What the timer does: shows the last state when it is time. */
void cli_progress_tick(struct cli_progress *progress);
/* Ends the timer and erases the bar. Accepts a zeroed struct, and a second call. */
void cli_progress_finish(struct cli_progress *progress);

#endif
