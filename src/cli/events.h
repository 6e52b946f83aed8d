/* SPDX-License-Identifier: Apache-2.0 */
/* events.h: events of a job as text on stderr. */
#ifndef LDNQ_CLI_EVENTS_H
#define LDNQ_CLI_EVENTS_H

#include <stdbool.h>

/* Prints a warning; unless quiet also a layer's start, iterations and figures. */
void cli_print_event(const char *json, bool is_quiet);

#endif
