/* progress.h: reports a job's progress on stderr: a bar with an estimate on a terminal, a plain
 * line now and then elsewhere, nothing when quiet; also warnings and the tables of --verbose. */
#ifndef LDNQ_CLI_PROGRESS_H
#define LDNQ_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/line.h"

struct cli_progress {
    bool is_quiet, is_terminal, bar_is_up, is_ending;
    double start, last_shown; /* seconds */
    size_t width;             /* columns of the terminal */
    char stage[32];
};

/* Registers `progress` as the callbacks of the options on the command line. It has to outlive
 * the job. */
void cli_progress_init(struct cli_progress *progress, const struct cli_line *line);
/* Erases the progress bar from the terminal. */
void cli_progress_finish(struct cli_progress *progress);

#endif
