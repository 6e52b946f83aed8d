/* gates.h: what a pipeline asks of a diff, and the exit code that says no. */
#ifndef LDNQ_CLI_GATES_H
#define LDNQ_CLI_GATES_H

#include "compare/comparison.h"

#include "cli/command.h"

/* Before any work. Errors: USAGE (a gate on outputs without samples). */
enum ldnq_status cli_gates_check(const struct cli_settings *settings, struct ldnq_error *err);

/* Errors: GATE, with all gates that the diff does not pass, and by how much. */
enum ldnq_status cli_gates_pass(const struct cli_settings *settings, const struct ldnq_diff *diff,
                                struct ldnq_error *err);

#endif
