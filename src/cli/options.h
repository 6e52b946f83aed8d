/* options.h: the command line, parsed by one table. */
#ifndef LDNQ_CLI_OPTIONS_H
#define LDNQ_CLI_OPTIONS_H

#include "cli/command.h"

/* argv behind the command's name. Lists are allocated; finish frees them.
 * Errors: USAGE, with the option and what it takes. */
enum ldnq_status cli_settings_parse(struct cli_settings *settings,
                                    const struct cli_command *command, int argc, char **argv,
                                    struct ldnq_error *err);
void cli_settings_finish(struct cli_settings *settings);

/* Usage, details, and the command's options with their defaults, to stdout. */
void cli_print_help(const struct cli_command *command);

/* "NAME=VALUE" cut at the '='; the name is copied to `name`. false without '='. */
bool cli_split(const char *text, char *name, size_t size, const char **value);
/* A whole non-negative number. */
bool cli_parse_size(const char *text, size_t *out);
/* A positive one, with K, M or G behind it or not. */
bool cli_parse_bytes(const char *text, size_t *out);

#endif
