/* SPDX-License-Identifier: Apache-2.0 */
/* command.h: what a subcommand is: one file, one record, and one line in commands.c. Its options
 * are those of the library's table that are for its job. Help, manual pages and completion are
 * made of these records. */
#ifndef LDNQ_CLI_COMMAND_H
#define LDNQ_CLI_COMMAND_H

#include <stdbool.h>

#include "ldnq.h"

/* A command line, parsed. */
struct cli_line {
    struct ldnq_options *options;
    const char **models; /* (model_count), point into argv */
    size_t model_count;
    const char *streamed; /* the part of the result that goes to standard output in place of a
                             summary, "model" or "html"; NULL for none */
    bool has_result;      /* a result was printed as JSON: a failure after it prints no other one */
};

struct cli_command {
    const char *name;
    unsigned job;          /* LDNQ_JOB_ bit, which selects the options */
    const char *arguments; /* the arguments in the usage line */
    const char *summary;   /* one line, for the list of commands */
    const char *details;   /* paragraphs, with an empty line between two */
    const char *examples;  /* command lines, one each, that may continue after a backslash */
    size_t models_min, models_max;
    enum ldnq_status (*run)(struct cli_line *line, struct ldnq_error *err);
};

extern const struct cli_command cli_cmd_quantize, cli_cmd_diff, cli_cmd_eval, cli_cmd_run,
    cli_cmd_inspect, cli_cmd_lint;

/* In the order of the help; ends with NULL. */
extern const struct cli_command *const cli_commands[];

/* An option of the program without a command. */
struct cli_general_option {
    const char *name, *help;
};

/* Ends with a name that is NULL. */
extern const struct cli_general_option cli_general_options[];

struct cli_exit_code {
    int code; /* an enum ldnq_status, or 128 and a signal */
    const char *meaning;
};

/* In rising order; ends with a meaning that is NULL. */
extern const struct cli_exit_code cli_exit_codes[];

#endif
