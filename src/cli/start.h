/* SPDX-License-Identifier: Apache-2.0 */
/* start.h: what the program does before main, while its libraries load, and first in main.
 *
 * OpenBLAS maps memory and starts a thread for each further processor when it loads. Where it
 * gets none it tries again for ever, or ends the process by a signal. Functions in the
 * program's .preinit_array run before: they end the program when the memory is not there, and
 * let it have one processor until main begins, so that no thread is started; OpenBLAS's
 * threads would do nothing, as the products run in the library's own.
 */
#ifndef LDNQ_CLI_START_H
#define LDNQ_CLI_START_H

#include <stdbool.h>

/* Lets the program run on all its processors again. Called first in main. */
void cli_restore_processors(void);

/* Requests the stack that the program needs at most, and stays within it: a stack that can't
 * grow later is a crash. Returns false when it can't be had. */
bool cli_request_stack(void);

#endif
