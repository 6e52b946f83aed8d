/* SPDX-License-Identifier: Apache-2.0 */
/* diff_table.h: a comparison for people at a terminal, in 80 columns. */
#ifndef LDNQ_CLI_DIFF_TABLE_H
#define LDNQ_CLI_DIFF_TABLE_H

#include <cJSON.h>

#include "ldnq.h"

/* Prints summary, layers (the first `top` by the key that --sort has; 0: all), quantized
 * activations, outputs, and all other differences. Errors: NOMEM. */
enum ldnq_status cli_print_diff(const cJSON *diff, const char *sort, size_t top,
                                struct ldnq_error *err);
/* Prints one line for each of several quantized files. */
void cli_print_candidates(const cJSON *root);

#endif
