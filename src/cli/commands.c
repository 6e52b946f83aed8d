/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c: the tables that help, manual pages and completion are made of, beside the table
 * of options. */
#include "cli/command.h"

#include <stddef.h>

const struct cli_command *const cli_commands[] = {
    &cli_cmd_quantize, &cli_cmd_diff, &cli_cmd_eval, &cli_cmd_run,
    &cli_cmd_inspect,  &cli_cmd_lint, NULL,
};

const struct cli_general_option cli_general_options[] = {
    { "--help", "print the commands and the exit codes" },
    { "--help-json", "print all commands and their options as JSON" },
    { "--version", "print the version, the BLAS and the processor's features in use" },
    { NULL, NULL },
};

const struct cli_exit_code cli_exit_codes[] = {
    { LDNQ_OK, "success" },
    { LDNQ_USAGE, "an option or an argument is wrong" },
    { LDNQ_IO, "a file can't be read, written or created" },
    { LDNQ_MODEL, "a model is damaged or not valid ONNX" },
    { LDNQ_UNSUPPORTED, "a model is valid, but ldnq does not handle it" },
    { LDNQ_DATA, "a sample is missing, damaged or does not fit the model" },
    { LDNQ_NUMERIC, "NaN or infinity was computed, or a factorization failed" },
    { LDNQ_NOMEM, "out of memory" },
    { LDNQ_GATE, "a limit of a --fail- option is exceeded" },
    { 130, "quantize was ended by SIGINT" },
    { 143, "quantize was ended by SIGTERM" },
    { LDNQ_OK, NULL },
};
