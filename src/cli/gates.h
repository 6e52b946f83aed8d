/* SPDX-License-Identifier: Apache-2.0 */
/* gates.h: limits that a comparison has to keep, and the exit code that says it does not. */
#ifndef LDNQ_CLI_GATES_H
#define LDNQ_CLI_GATES_H

#include <cJSON.h>

#include "cli/line.h"

/* Checks the options before any work. Errors: USAGE (a gate on outputs without samples). */
enum ldnq_status cli_gates_check(const struct cli_line *line, struct ldnq_error *err);

/* Errors: GATE, with the file's path, all limits that it exceeds, and by how much. */
enum ldnq_status cli_gates_pass(const cJSON *diff, const char *path, struct ldnq_error *err);

#endif
