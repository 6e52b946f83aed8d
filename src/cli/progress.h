/* progress.h: how long work is shown on stderr: a bar with an estimate on a
 * terminal, a plain line now and then elsewhere, nothing when quiet.
 */
#ifndef LDNQ_CLI_PROGRESS_H
#define LDNQ_CLI_PROGRESS_H

#include "base/base.h"

struct cli_progress {
    struct ldnq_sink sink; /* give its address to the library */
    bool quiet, is_terminal, bar_is_up;
    double start, last_shown; /* seconds */
    size_t width;             /* columns of the terminal */
    char stage[32];
};

void cli_progress_init(struct cli_progress *progress, bool quiet);
/* Takes the bar off the terminal. */
void cli_progress_finish(struct cli_progress *progress);

#endif
