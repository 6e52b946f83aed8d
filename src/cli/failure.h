/* SPDX-License-Identifier: Apache-2.0 */
/* failure.h: messages of the program, and the library's in the program's words. */
#ifndef LDNQ_CLI_FAILURE_H
#define LDNQ_CLI_FAILURE_H

#include "ldnq.h"

/* Writes the message, which is flattened to one line; returns the status. */
enum ldnq_status cli_fail(struct ldnq_error *err, enum ldnq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes dashes before options that a message of the library names first, or first after a
 * file's name: "weights 'int5' is not known" becomes "--weights 'int5' is not known". */
void cli_add_dashes(struct ldnq_error *err);

/* Writes "COMMAND: " before the message. */
void cli_add_command(struct ldnq_error *err, const char *command);

#endif
