/* SPDX-License-Identifier: Apache-2.0 */
/* line.h: the command line. The options, their values and their help are the library's table;
 * dashes, letters and usage are added here. */
#ifndef LDNQ_CLI_LINE_H
#define LDNQ_CLI_LINE_H

#include "cli/command.h"

/* Parses argv after the command's name; finish accepts what failed. Errors: USAGE, with the
 * option and the values that it takes, or with the nearest one. */
enum ldnq_status cli_line_parse(struct cli_line *line, const struct cli_command *command, int argc,
                                char **argv, struct ldnq_error *err);
void cli_line_finish(struct cli_line *line);

/* Whether a command has this option. */
bool cli_command_has_option(const struct cli_command *command, const struct ldnq_option *option);

bool cli_line_has_flag(const struct cli_line *line, const char *name);
/* The option's text, or its default; NULL without either. */
const char *cli_line_text(const struct cli_line *line, const char *name);
/* The option's number, with K, M or G for bytes; NaN without one. */
double cli_line_number(const struct cli_line *line, const char *name);

#endif
