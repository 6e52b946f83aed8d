/* SPDX-License-Identifier: Apache-2.0 */
/* help.h: what --help prints. */
#ifndef LDNQ_CLI_HELP_H
#define LDNQ_CLI_HELP_H

#include "cli/command.h"

/* Usage, details, examples, and the command's options with their defaults, to stdout. */
void cli_print_help(const struct cli_command *command);

/* The commands and the table of options as JSON, to stdout. Errors: NOMEM. */
enum ldnq_status cli_print_help_json(struct ldnq_error *err);

#endif
