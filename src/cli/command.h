/* command.h: what a subcommand is: one file, one record, and one line in main.c. Its options
 * are those of the library's table that are for its job. */
#ifndef LDNQ_CLI_COMMAND_H
#define LDNQ_CLI_COMMAND_H

#include <stdbool.h>

#include "ldnq.h"

/* A command line, parsed. */
struct cli_line {
    struct ldnq_options *options;
    const char **models; /* (model_count), point into argv */
    size_t model_count;
};

struct cli_command {
    const char *name;
    unsigned job;          /* LDNQ_JOB_ bit, which selects the options */
    const char *arguments; /* for the usage line */
    const char *summary;   /* one line, for the list of commands */
    const char *details;   /* for the command's own help; examples among them */
    size_t models_min, models_max;
    enum ldnq_status (*run)(const struct cli_line *line, struct ldnq_error *err);
};

extern const struct cli_command cli_cmd_quantize, cli_cmd_diff, cli_cmd_eval, cli_cmd_run,
    cli_cmd_inspect;

#endif
