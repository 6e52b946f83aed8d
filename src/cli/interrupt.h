/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt.h: SIGINT and SIGTERM end a job at its next good place; a second one ends the program
 * at once. Signals that were ignored when the program started stay ignored. */
#ifndef LDNQ_CLI_INTERRUPT_H
#define LDNQ_CLI_INTERRUPT_H

/* Ends the program with a message when a mapped file became shorter. */
void cli_interrupt_catch_bus_error(void);
/* From here on both signals are caught. */
void cli_interrupt_catch(void);

/* The signal that came; 0: none. */
int cli_interrupt_signal(void);

/* "SIGINT" or "SIGTERM", and the exit code by convention: 128 and the signal's number. */
const char *cli_interrupt_name(void);
int cli_interrupt_exit_code(void);

#endif
