/* help.h: what --help prints. */
#ifndef LDNQ_CLI_HELP_H
#define LDNQ_CLI_HELP_H

#include "cli/command.h"

/* Usage, details, and the command's options with their defaults, to stdout. */
void cli_print_help(const struct cli_command *command);

/* The commands and the table of options as JSON, to stdout: what man pages and completion are
 * made of. `commands` ends with NULL. Errors: NOMEM. */
enum ldnq_status cli_print_help_json(const struct cli_command *const *commands,
                                     struct ldnq_error *err);

#endif
