/* SPDX-License-Identifier: Apache-2.0 */
/* man_page.h: manual pages in roff, for man(7). They have no date, so that two builds of one
 * version give the same bytes. */
#ifndef LDNQ_CLI_MANUAL_MAN_PAGE_H
#define LDNQ_CLI_MANUAL_MAN_PAGE_H

#include "cli/command.h"

/* Writes the page ldnq(1) to stdout. */
void man_page_write_overview(void);

/* Writes the page ldnq-COMMAND(1) to stdout. */
void man_page_write_command(const struct cli_command *command);

#endif
