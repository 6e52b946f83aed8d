/* SPDX-License-Identifier: Apache-2.0 */
/* output_paths.h: refuses results where the summary goes. */
#ifndef LDNQ_CLI_OUTPUT_PATHS_H
#define LDNQ_CLI_OUTPUT_PATHS_H

#include "cli/command.h"

/* Checks the paths of all files that the command writes. Errors: USAGE ("-", and paths that lead to
 * standard output or standard error, where text would be mixed with the file). */
enum ldnq_status cli_check_output_paths(const struct cli_line *line, const char *command,
                                        struct ldnq_error *err);

#endif
