/* SPDX-License-Identifier: Apache-2.0 */
/* dry_run_table.h: what a quantization would do, as text. */
#ifndef LDNQ_CLI_DRY_RUN_TABLE_H
#define LDNQ_CLI_DRY_RUN_TABLE_H

#include "cli/command.h"

/* Prints the layers and the predictions, or the JSON with the option for it. Errors: NOMEM. */
enum ldnq_status cli_print_dry_run(struct cli_line *line, const struct ldnq_result *result,
                                   struct ldnq_error *err);

#endif
