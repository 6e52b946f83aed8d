/* SPDX-License-Identifier: Apache-2.0 */
/* plain.h: names from a model, as they may be shown on a terminal. */
#ifndef LDNQ_CLI_PLAIN_H
#define LDNQ_CLI_PLAIN_H

#define CLI_PLAIN_SIZE 512

/* Replaces control characters by '?'. */
void cli_replace_control_chars(char *text);

/* A copy of the text, cut to fit and flattened; returns `buffer`. NULL is "". */
const char *cli_copy_printable(const char *text, char buffer[CLI_PLAIN_SIZE]);

#endif
