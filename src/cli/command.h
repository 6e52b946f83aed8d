/* command.h: what a subcommand is, and the settings that options fill in.
 *
 * One table (options.c) drives parsing, defaults and help; a subcommand is one
 * file, one record, and one line in main.c.
 */
#ifndef LDNQ_CLI_COMMAND_H
#define LDNQ_CLI_COMMAND_H

#include <stdint.h>

#include "calib/calib.h"
#include "emit/emit.h"
#include "quant/quant.h"

struct cli_list {
    const char **items; /* point into argv */
    size_t count;
};

/* Of a number that the line does not give. */
#define CLI_UNSET SIZE_MAX

struct cli_settings {
    struct cli_list models; /* what stands on the line without an option */
    const char *output, *calib, *data, *log, *report;
    struct cli_list inputs, dims, skip, only;
    const char *weights; /* NULL: ternary, or with a budget all integers */
    const char *solver, *granularity, *storage, *rho_from, *budget, *plan;
    size_t opset, threads, seed, max_samples, max_bytes, block_size, cascade;
    const char *effort;
    size_t augment; /* CLI_UNSET: by the effort */
    size_t distill;
    bool refine;
    double rho, time_limit, lambda;
    const char *html, *sort;
    size_t top;                         /* layers that diff prints; 0: all */
    double least_sqnr, least_agreement; /* dB, percent; NaN, 0: not asked for */
    size_t most_bytes;
    struct ldnq_preprocess preprocess;
    const char *mean, *std; /* as given, for the metadata */
    bool json, quiet, verbose, help;
};

struct cli_command {
    const char *name;
    const char *arguments;      /* for the usage line */
    const char *summary;        /* one line, for the list of commands */
    const char *details;        /* for the command's own help; examples among them */
    const char *const *options; /* names of the options it takes, ended by NULL */
    size_t models_min, models_max;
    enum ldnq_status (*run)(const struct cli_settings *settings, struct ldnq_error *err);
};

extern const struct cli_command cli_cmd_quantize, cli_cmd_diff, cli_cmd_eval, cli_cmd_run,
    cli_cmd_inspect;

#endif
